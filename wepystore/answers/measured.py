"""A coordinate of every walker of every cycle of a chain: from tables, or from frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.arrivals import check_weights
from wepystore.answers.errors import (
    AtomsNotKeptError,
    NoSuchProgressError,
    NotANumberError,
    NotFromFileError,
)
from wepystore.answers.study import Chain, Study
from wepystore.coordinates.base import Coordinate
from wepystore.coordinates.composed import OwnCoordinate
from wepystore.coordinates.errors import nearest
from wepystore.coordinates.language import FromFile, Progress, read
from wepystore.coordinates.systems import System
from wepystore.records import npy
from wepystore.records.mapped import arrays_of, rows_of
from wepystore.records.recording import LENGTHS, N_WALKERS, WEIGHTS
from wepystore.records.run_frames import RunFrames
from wepystore.records.values import reading
from wepystore.store.errors import MissingError
from wepystore.store.formats import stands_for
from wepystore.store.names import Ref
from wepystore.store.store import Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What can be measured: a text, a coordinate, or a function of positions and box vectors.
Along = str | Coordinate | Progress | Callable[[Any, Any], Any]

#: So much of the positions is in memory at a time, in bytes.
_STRETCH_BYTES = 1 << 21
_PROGRESS = "progress/"


@dataclass(frozen=True, eq=False)
class Measured:
    """A coordinate of walkers after the segments of some cycles of a chain.

    Attributes
    ----------
    cycles : ndarray of int, shape (n_cycles,)
        As the chain counts them; those in which it is known.
    n_walkers : ndarray of int, shape (n_cycles,)
        In each of these.
    values : ndarray of float, shape (n,) or (n, k)
        Of each walker, one cycle after the other.
    weights : ndarray of float, shape (n,)
    n_left_out : int
        Cycles that were asked for, and of which no frames are kept.
    """

    cycles: Ints
    n_walkers: Ints
    values: Floats
    weights: Floats
    n_left_out: int

    @property
    def starts(self) -> Ints:
        """Where in the values each cycle begins; shape (n_cycles + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_walkers)])


class Measure(NamedTuple):
    """A coordinate of a study.

    Attributes
    ----------
    label : str
        As it was asked for.
    unit : str
        "" where nobody says.
    period : float or None
    of : Coordinate or str
        The column of tables, where it is recorded.
    """

    label: str
    unit: str
    period: float | None
    of: Coordinate | str


def measure_of(study: Study, along: Along) -> Measure:
    """What is to be measured, of the system of a study.

    Parameters
    ----------
    study : Study
    along : str, Coordinate, Progress or callable
        A text is as of wepystore.coordinates.language; a callable is as of OwnCoordinate.

    Raises
    ------
    WepystoreError : CoordinateTextError, SelectionTextError, UnknownSystemError;
        NoSuchProgressError; NotFromFileError for a function that is not loaded.
    """
    asked = read(along) if isinstance(along, str) else along
    if isinstance(asked, FromFile):
        raise NotFromFileError(file=asked.file, function=asked.function)
    if isinstance(asked, Progress):
        name = _progress(study, asked)
        return Measure(name, "", None, name)
    if isinstance(asked, Coordinate):
        found = asked
    elif callable(asked):
        found = OwnCoordinate.of(asked)
    else:
        found = asked.of(system_of(study))
    label = along.strip() if isinstance(along, str) else found.name
    return Measure(label, found.unit, found.period, found)


def _progress(study: Study, asked: Progress) -> str:
    """The column. Raises NoSuchProgressError."""
    label = _PROGRESS + asked.field if asked.field else "progress"
    for chain in study.chains:
        fields = [
            name.removeprefix(_PROGRESS) for name in chain.tables if name.startswith(_PROGRESS)
        ]
        fields = [name for name in fields if not name.endswith(f"/{LENGTHS}")]
        if not fields:
            why = f"the boundary conditions of run {chain.run} record no progress"
            raise NoSuchProgressError(asked=label, why=why)
        if asked.field is None and len(fields) > 1:
            there = ", ".join(_PROGRESS + name for name in fields)
            raise NoSuchProgressError(asked=label, why=f"there are several: {there}")
        if asked.field is not None and asked.field not in fields:
            near = nearest(asked.field, fields)
            why = f"of run {chain.run} no {asked.field!r} is recorded{near}"
            raise NoSuchProgressError(asked=label, why=why)
        label = _PROGRESS + (asked.field or fields[0])
    return label


def system_of(study: Study) -> System:
    """What is recorded of the system of a study, with the first state of the first unit's first
    run as the reference. Raises DamagedError."""
    first = next(study.chains).recorded[0]
    store, recording = study.store, first.recording
    topology: str | None = None
    if isinstance(recording.topology, Ref):
        topology = store.object(recording.topology).decode(errors="replace")
    masses, at_least = None, 0
    if isinstance(recording.masses, Ref):
        masses = npy.load(store.object(recording.masses), f"the masses of run {first.run}")
    positions, box = _first_state(store, first.record.start.md5)
    if positions is not None:
        at_least = len(positions)
    if recording.frames is None or "box_vectors" not in recording.frames.fields:
        # Of a system that is not periodic a state may have one all the same.
        box = None
    return System.recorded(topology, masses, at_least, reference=positions, reference_box=box)


def _first_state(store: Store, snapshot: str) -> tuple[Floats | None, Floats | None]:
    """Positions (n_atoms, n_axes) and box vectors of a snapshot's first walker; None where it is
    not there, is of wepy 1.x, or its states have no such field. Loads no pickle. Raises
    DamagedError."""
    where = f"snapshot {snapshot}"
    try:
        manifest = store.manifest("snapshots", snapshot)
        if not stands_for(manifest):
            with reading("snapshot", where):
                return _state_in(store, manifest["walkers"], where)
    except MissingError:
        pass
    return None, None


def _state_in(store: Store, walkers: Any, where: str) -> tuple[Floats | None, Floats | None]:
    row = int(walkers["states"][0])
    for group in walkers["groups"]:
        if row < group["n_states"]:
            positions, box = (
                _row(store, group, n, row, where) for n in ("positions", "box_vectors")
            )
            if positions is not None and positions.ndim == 1:
                positions = positions[None]
            return positions, box
        row -= group["n_states"]
    return None, None


def _row(store: Store, group: Any, name: str, row: int, where: str) -> Floats | None:
    if name not in group["fields"]:
        return None
    ref = Ref.from_json(group["fields"][name], where)
    (placed,) = arrays_of(store, ref, (), f"{where}.{name}")
    if not isinstance(placed, npy.Placed) or not row < placed.shape[0]:
        return None
    return np.asarray(rows_of(store, ref, placed, np.array([row]), where)[0], np.float64)


def measured(chain: Chain, measure: Measure, wanted: NDArray[np.bool_] | None = None) -> Measured:
    """A coordinate of all walkers in some cycles of a chain.

    Parameters
    ----------
    chain : Chain
    measure : Measure
    wanted : ndarray of bool, shape (n_cycles,), or None
        Which of its cycles; None for those that count.

    Raises
    ------
    WepystoreError : NotANumberError for a walker of which it is none; UnusableWeightsError;
        UnfitCoordinateError; of what is not recorded NoFramesError, FramesElsewhereError,
        AtomsNotKeptError; DamagedError.
    """
    wanted = chain.counted if wanted is None else wanted
    found = chain.tables.read([N_WALKERS, WEIGHTS])
    counts = found[N_WALKERS].astype(np.int64)
    if isinstance(measure.of, str):
        known, values = _from_tables(chain, measure.of, counts, wanted)
    else:
        known, values = _from_frames(chain.frames(), chain.run, measure.of, wanted)
    weights = found[WEIGHTS].astype(np.float64, copy=False)
    check_weights(chain, weights, np.concatenate([[0], np.cumsum(counts)]))
    if not known.all():
        weights = weights[np.repeat(known, counts)]
    n_left_out = int(wanted.sum() - known.sum())
    result = Measured(np.flatnonzero(known), counts[known], values, weights, n_left_out)
    _check(result, chain, measure.label)
    return result


def _from_tables(
    chain: Chain, name: str, counts: Ints, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Floats]:
    """In which of the cycles that are wanted a column has values, and these."""
    lengths = counts
    if f"{name}/{LENGTHS}" in chain.tables:
        lengths = chain.tables[f"{name}/{LENGTHS}"].astype(np.int64)
    column = chain.tables[name]
    # Of a cycle that was not measured there are none.
    known = lengths > 0
    if (lengths[known] != counts[known]).any() or column.size != lengths.sum():
        why = f"it has not one number for each walker of each cycle of run {chain.run}"
        raise NoSuchProgressError(asked=name, why=why)
    known &= wanted
    values = column.reshape(-1)
    if not known.all():
        values = values[np.repeat(known, lengths)]
    return known, np.asarray(values, np.float64)


def _from_frames(
    frames: RunFrames, run: str, coordinate: Coordinate, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Floats]:
    """In which of the cycles that are wanted there are frames, and the values in these."""
    kept = np.zeros(len(frames.n_walkers), bool)
    kept[frames.cycles] = True
    kept &= wanted
    here = np.where(kept, frames.n_walkers, 0)
    firsts = np.cumsum(here) - here
    values: Floats | None = None
    taking = _Taking(frames, run, coordinate)
    for cycles, walkers in frames.in_order():
        inside = kept[cycles]
        if not inside.all():
            cycles, walkers = cycles[inside], walkers[inside]
        for begin in range(0, len(cycles), taking.n_rows):
            some = slice(begin, begin + taking.n_rows)
            part = taking.values(cycles[some], walkers[some])
            if values is None:
                values = np.empty((int(here.sum()), *part.shape[1:]))
            values[firsts[cycles[some]] + walkers[some]] = part
    return kept, np.empty(0) if values is None else values


class _Taking:
    """Takes positions out of frames, as a coordinate needs them."""

    def __init__(self, frames: RunFrames, run: str, coordinate: Coordinate) -> None:
        self._frames, self._run = frames, run
        shapes = {field.name: field.shape for field in frames.fields}
        if len(shapes.get("positions", ())) not in (1, 2):
            held = (
                "no positions" if "positions" not in shapes else "positions that are not of atoms"
            )
            raise AtomsNotKeptError(
                coordinate=coordinate.name, atom=min(coordinate.atoms or (0,)), run=run, held=held
            )
        self._has_box = shapes.get("box_vectors") == (3, 3)
        shape = shapes["positions"]
        self._n_kept, self._n_axes = (shape[0] if len(shape) == 2 else 1), shape[-1]
        self._whole: tuple[int, Ints] | None = None
        if frames.atoms is not None and coordinate.atoms is None:
            # A function counts the atoms of the system: those that are not kept are not known.
            self._whole = int(frames.atoms.max()) + 1, frames.atoms
        elif coordinate.atoms is not None:
            coordinate = self._at_places(coordinate, coordinate.atoms)
        self._coordinate = coordinate
        n_atoms = self._whole[0] if self._whole else self._n_kept
        looked_at = n_atoms if coordinate.atoms is None else len(coordinate.atoms)
        #: So many frames are looked at in one go.
        self.n_rows = max(1, _STRETCH_BYTES // (8 * self._n_axes * looked_at))

    def _at_places(self, coordinate: Coordinate, atoms: tuple[int, ...]) -> Coordinate:
        """With its atoms where the frames have them. Raises AtomsNotKeptError."""
        kept = self._frames.atoms
        if kept is None:
            if max(atoms) < self._n_kept:
                return coordinate
            places = dict.fromkeys(range(self._n_kept), 0)
        else:
            places = {atom: place for place, atom in enumerate(kept.tolist())}
        for atom in atoms:
            if atom not in places:
                held = f"{self._n_kept} of them, {min(places)} to {max(places)}"
                raise AtomsNotKeptError(
                    coordinate=coordinate.name, atom=atom, run=self._run, held=held
                )
        return coordinate.at(places)

    def values(self, cycles: Ints, walkers: Ints) -> Floats:
        """Of these frames."""
        positions = self._frames.of(cycles, walkers, "positions")
        positions = positions.reshape(len(cycles), self._n_kept, self._n_axes)
        if self._whole is not None:
            n_atoms, atoms = self._whole
            spread = np.full((len(cycles), n_atoms, self._n_axes), np.nan)
            spread[:, atoms] = positions
            positions = spread
        if not self._has_box:
            return self._coordinate.values(positions)
        boxes = self._frames.of(cycles, walkers, "box_vectors").astype(np.float64)
        unknown = ~np.all(np.isfinite(boxes), axis=(1, 2))
        if not unknown.any():
            return self._coordinate.values(positions, boxes)
        found = self._coordinate.values(
            positions, np.where(unknown[:, None, None], np.eye(3), boxes)
        )
        found[unknown] = np.nan
        return found


def _check(found: Measured, chain: Chain, label: str) -> None:
    """Raise NotANumberError."""
    known = np.isfinite(found.values)
    wrong = ~(known if known.ndim == 1 else known.all(axis=1))
    if not wrong.any():
        return
    place = int(np.flatnonzero(wrong)[0])
    number = int(np.searchsorted(found.starts, place, "right")) - 1
    cycle = int(found.cycles[number])
    span = next(s for s in reversed(chain.runs) if s.first_cycle <= cycle)
    value = found.values[place]
    more = int(wrong.sum()) - 1
    raise NotANumberError(
        coordinate=label,
        value="not a number" if np.isnan(value).any() else "infinite",
        walker=place - int(found.starts[number]),
        cycle=cycle - span.first_cycle,
        run=span.run,
        why=f", and for {more} more" if more else "",
    )
