"""Runs in one WepyHDF5 file: what wepy 1.x and its analysis read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from wepystore.engine.kept_frames import OF_ATOMS
from wepystore.engine.record_tables import TABLES, RecordField
from wepystore.records.frames import FrameField
from wepystore.records.recording import CONTINUAL, CYCLE_IDX, LENGTHS, N_WALKERS, WEIGHTS, Columns
from wepystore.records.run_frames import Integers, RunFrames
from wepystore.records.tables import RunTables
from wepystore.reporters.base import named_errors
from wepystore.reporters.hdf5.layout import RunWriter, create_file, put_dataset
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.frame_places import FramePlaces, Segment, copy_segments
from wepystore.trajectories.hdf5_file import new_hdf5
from wepystore.trajectories.molecular import Trajectory
from wepystore.trajectories.moving import Moves

#: So much of the frames is read at a time, in bytes, where they are not one stretch of a file.
_STRETCH_BYTES = 1 << 25
#: So many cycles of the tables.
_TABLE_CYCLES = 4096
#: Small frames share a chunk, where some are left out.
_CHUNK_BYTES = 4096

#: A dataset can name so many stretches of other files, about: they have to be in 64 kB. One of more
#: is put together out of several, which are here.
_MOST_STRETCHES = 2048
_PARTS = "_stretches"


@dataclass(frozen=True)
class Piece:
    """Cycles that become one run of a file.

    Attributes
    ----------
    tables : RunTables
    frames : RunFrames
        Of the same run, or of the same that continue each other.
    places : FramePlaces
        Where these are.
    start, stop : int
        The cycles from `start` to before `stop`; one at least.
    init_walkers : sequence of (state, weight)
        Where they begin, if that is known.
    attributes : {name: value}
        Of the run in the file.
    continues : int or None
        Number of the piece from whose end it goes on.
    """

    tables: RunTables
    frames: RunFrames
    places: FramePlaces
    start: int
    stop: int
    init_walkers: Sequence[tuple[Mapping[str, Any], float]] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    continues: int | None = None


@dataclass(frozen=True)
class Choice:
    """What of the frames is written. Of the others a file has NaN, which takes no room in it.

    Attributes
    ----------
    walkers : sequence of int, or None
        None for all.
    every : int
        Those of each so-manieth cycle that there are frames of, counted from the first.
    atoms : array of int, or None
        Which of the atoms, by their places in the frames; None for all.
    moves : Moves or None
        What is done to the frames before.
    link : bool
        Whether frames stay in the objects that they are in, and the file only names these.
    """

    walkers: Sequence[int] | None = None
    every: int = 1
    atoms: Integers | None = None
    moves: Moves | None = None
    link: bool = False

    def changes(self, name: str) -> bool:
        """Whether a field is another one in the file."""
        moved = self.moves is not None and self.moves.changes(name)
        return moved or (self.atoms is not None and name in OF_ATOMS)

    def cycles(self, piece: Piece) -> Integers:
        """The cycles of which frames are written."""
        kept = piece.frames.cycles
        inside: Integers = kept[slice(*np.searchsorted(kept, [piece.start, piece.stop]))]
        return inside[:: self.every]


def write_hdf5(
    draft: str,
    file: str,
    pieces: Iterable[Piece],
    atoms: KeptAtoms,
    choice: Choice,
) -> None:
    """Write pieces, of which equal fields and tables are recorded, as the runs of a file.

    Parameters
    ----------
    draft : str
        Where.
    file : str
        Its name in errors.
    pieces : iterable of Piece
        One at least.
    atoms : KeptAtoms
    choice : Choice
    """
    copies: list[tuple[Segment, int]] = []
    store = None
    with new_hdf5(draft, file) as new:
        made, continued = new.file, []
        for number, piece in enumerate(pieces):
            store = piece.places.store
            if number == 0:
                summaries = piece.tables.recording.summaries
                _create(made, piece.frames.fields, atoms, choice, summaries)
            run = _Run(made, number, piece, choice)
            for _ in run.written():
                new.check()
            copies += run.copies
            if piece.continues is not None:
                continued.append((number, piece.continues))
        if continued:
            continuations = made["_settings/continuations"]
            continuations.resize((len(continued), 2))
            continuations[...] = np.array(continued, np.int64)
    if store is not None:
        with named_errors(file), open(draft, "r+b") as target:
            copy_segments(store, copies, target.fileno())


def write_hdf5_of(
    draft: str,
    file: str,
    trajectories: Sequence[Trajectory],
    atoms: KeptAtoms,
    places: Integers | None,
    moves: Moves | None,
) -> None:
    """Write trajectories, of which equal fields are kept, as those of one run, without its records.

    Parameters
    ----------
    draft, file, atoms : as of write_hdf5
    trajectories : sequence of Trajectory
    places : array of int, or None
        Which of the atoms; None for all.
    moves : Moves or None
        What is done to the frames before.
    """
    choice, fields = Choice(atoms=places), trajectories[0].frames.fields
    with new_hdf5(draft, file) as new:
        made = new.file
        _create(made, fields, atoms, choice, {})
        writer = RunWriter(made)
        writer.create({}, dict.fromkeys(TABLES, ()))
        for number, each in enumerate(trajectories):
            group = writer.begin_trajectory(number, 0)
            put_dataset(group, "weights", each.weights[:, None])
            for of in fields:
                shape = (len(each.cycles), *_shape(of, choice))
                dataset = _dataset(group, of, shape, dense=True)
                for some in each.stretches(of.n_bytes):
                    if moves is None:
                        values = each.of(of.name, some)
                    else:
                        values = moves.of(each.cycles[some], each.walkers[some], of.name)
                    if places is not None and of.name in OF_ATOMS:
                        values = values[:, places]
                    _put(dataset, slice(some.start, some.start + len(values)), values)
                    new.check()


def _create(
    made: h5py.File,
    fields: Sequence[FrameField],
    atoms: KeptAtoms,
    choice: Choice,
    summaries: Mapping[str, Sequence[str]],
) -> None:
    shapes = {each.name: _shape(each, choice) for each in fields}
    numbers = atoms.numbers if choice.atoms is None else atoms.numbers[choice.atoms]
    create_file(
        made,
        topology=atoms.topology,
        n_atoms=len(numbers),
        n_dims=shapes["positions"][-1] if len(shapes["positions"]) > 1 else 1,
        main_rep_idxs=numbers,
        extra_fields={name: shape for name, shape in shapes.items() if name not in OF_ATOMS},
        record_names={table: list(summaries.get(table, ())) for table in TABLES},
        dtype=np.dtype(fields[0].dtype),
    )


def _shape(of: FrameField, choice: Choice) -> tuple[int, ...]:
    """Of a field in the file: of rank 1 at least."""
    shape = of.shape or (1,)
    if choice.atoms is not None and of.name in OF_ATOMS:
        return (len(choice.atoms), *shape[1:])
    return shape


class _Run:
    """One piece on its way into a file."""

    def __init__(self, made: h5py.File, number: int, piece: Piece, choice: Choice) -> None:
        self._writer = RunWriter(made, number)
        self._piece, self._choice = piece, choice
        #: What is still to be copied, when HDF5 has let go of the file, and where it belongs.
        self.copies: list[tuple[Segment, int]] = []
        self._cycles = choice.cycles(piece)
        span = slice(piece.start, piece.stop)
        found = piece.tables.read([N_WALKERS, WEIGHTS])
        ends = np.cumsum(found[N_WALKERS])
        self._n_walkers = found[N_WALKERS][span]
        self._begin = (ends - found[N_WALKERS])[span]
        self._weights = found[WEIGHTS]

    def written(self) -> Iterator[None]:
        """Write it, a trajectory after the other."""
        self._write_tables()
        self._writer.annotate(self._piece.attributes)
        states = [_init_fields(s, self._piece, self._choice) for s, _ in self._piece.init_walkers]
        self._writer.write_init_walkers(states, [weight for _, weight in self._piece.init_walkers])
        for walker in range(int(self._n_walkers.max())):
            self._write_trajectory(walker)
            yield

    def _write_trajectory(self, walker: int) -> None:
        present = np.flatnonzero(self._n_walkers > walker)
        first, stop = int(present[0]), int(present[-1]) + 1
        group = self._writer.begin_trajectory(walker, first)
        # A walker that was away is one of no weight.
        weights = np.zeros((stop - first, 1))
        weights[present - first, 0] = self._weights[self._begin[present] + walker]
        put_dataset(group, "weights", weights)
        first, stop = first + self._piece.start, stop + self._piece.start
        chosen = self._choice.walkers is None or walker in self._choice.walkers
        inside = slice(*np.searchsorted(self._cycles, [first, stop]))
        cycles = self._cycles[inside] if chosen else self._cycles[:0]
        if len(present) < stop - first:
            cycles = cycles[self._piece.frames.n_walkers[cycles] > walker]
        is_dense = len(cycles) == stop - first
        for each in self._piece.frames.fields:
            shape = (stop - first, *_shape(each, self._choice))
            as_kept = not self._choice.changes(each.name)
            if is_dense and as_kept and self._piece.places.are_of_each:
                self._place(group, each, shape, walker, first)
                continue
            dataset = _dataset(group, each, shape, is_dense)
            for rows, values in self._frames(each, walker, cycles, first):
                _put(dataset, rows, values)

    def _place(
        self, group: h5py.Group, of: FrameField, shape: tuple[int, ...], walker: int, first: int
    ) -> None:
        """The dataset of a field whose bytes are those of objects, stretch after stretch."""
        segments = self._piece.places.segments(of, walker, first, first + shape[0])
        if self._choice.link:
            _link(group, of, shape, self._piece.places.linked(segments))
            return
        place = _dataset(group, of, shape, dense=True).id.get_offset()
        if place is None:
            return  # Of no bytes.
        for segment in segments:
            self.copies.append((segment, place))
            place += segment.size

    def _frames(
        self, of: FrameField, walker: int, cycles: Integers, first: int
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """The rows of a dataset, and what belongs there."""
        most = max(1, _STRETCH_BYTES // max(1, of.n_bytes))
        source = self._choice.moves or self._piece.frames
        places = self._choice.atoms if of.name in OF_ATOMS else None
        # Where there are frames of each cycle, as nearly always, one stretch after the other.
        edges = np.flatnonzero(np.diff(cycles, prepend=-2) != 1)
        for alike in np.split(cycles, edges[1:]):
            for begin in range(0, len(alike), most):
                part = alike[begin : begin + most]
                values = source.of(part, np.full(len(part), walker), of.name)
                if places is not None:
                    values = values[:, places]
                row = int(part[0]) - first
                yield slice(row, row + len(part)), values

    def _write_tables(self) -> None:
        piece = self._piece
        for start in range(piece.start, piece.stop, _TABLE_CYCLES):
            stop = min(start + _TABLE_CYCLES, piece.stop)
            columns = piece.tables.cycles(start, stop)
            if start == piece.start:
                fields = {table: tuple(_fields(columns, table)) for table in TABLES}
                self._writer.create(piece.tables.recording.decisions, fields)
            for table in TABLES:
                values = {f.name: _values(columns, table, f) for f in self._writer.fields(table)}
                if table == CONTINUAL:
                    cycles = np.arange(start, stop)
                else:
                    cycles = columns.get(f"{table}/{CYCLE_IDX}", np.empty(0, np.int64))
                self._writer.append_records(table, (cycles - piece.start).tolist(), values)


def _fields(columns: Columns, table: str) -> Iterator[RecordField]:
    """The columns of a table in the file."""
    for name, values in columns.items():
        of, _, field_name = name.partition("/")
        is_lengths = name.endswith(f"/{LENGTHS}") and name.removesuffix(f"/{LENGTHS}") in columns
        if of != table or not field_name or is_lengths:
            continue
        if field_name == CYCLE_IDX and table != CONTINUAL:
            continue
        if f"{name}/{LENGTHS}" not in columns:
            yield RecordField(field_name, values.shape[1:], values.dtype)
        elif values.dtype == np.uint8:
            yield RecordField(field_name, (), h5py.string_dtype())
        else:
            yield RecordField(field_name, None, values.dtype)


def _values(columns: Columns, table: str, of: RecordField) -> Any:
    """The values of one of them, as RunWriter takes them."""
    values = columns[f"{table}/{of.name}"]
    lengths = columns.get(f"{table}/{of.name}/{LENGTHS}")
    if lengths is None:
        return values
    ends = np.cumsum(lengths).tolist()
    rows = [values[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    if of.shape is None:
        return rows
    return [row.tobytes().decode(errors="replace").replace("\0", "") for row in rows]


def _init_fields(state: Mapping[str, Any], piece: Piece, choice: Choice) -> dict[str, Any]:
    """The fields of a state that frames have, with the atoms that are written."""
    found = {each.name: state[each.name] for each in piece.frames.fields if each.name in state}
    atoms, moves = piece.frames.atoms, choice.moves
    if atoms is not None:
        found |= {name: found[name][atoms] for name in OF_ATOMS if name in found}
    if moves is not None and found.keys() >= set(moves.needs):
        held = {name: value[None] for name, value in found.items()}
        found = {name: moves.moved(held, name)[0] for name in found}
    if choice.atoms is not None:
        found |= {name: found[name][choice.atoms] for name in OF_ATOMS if name in found}
    return found


def _dataset(
    group: h5py.Group, of: FrameField, shape: tuple[int, ...], dense: bool
) -> h5py.Dataset:
    """Room for the frames of a trajectory: all of them, or some, and NaN for the others."""
    if not dense:
        frames = max(1, _CHUNK_BYTES // max(1, of.n_bytes))
        chunks = (min(frames, shape[0]), *(max(1, length) for length in shape[1:]))
        return group.create_dataset(
            of.name, shape, of.dtype, chunks=chunks, maxshape=(None, *shape[1:]), fillvalue=np.nan
        )
    creation = h5p.create(h5p.DATASET_CREATE)
    # Every row will be written: to fill them in before would take as long again.
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    space, kind = h5s.create_simple(shape), h5t.py_create(np.dtype(of.dtype))
    return h5py.Dataset(h5d.create(group.id, of.name.encode(), kind, space, creation))


def _link(
    group: h5py.Group,
    of: FrameField,
    shape: tuple[int, ...],
    stretches: Sequence[tuple[str, int, int]],
) -> None:
    """A dataset that is stretches of other files."""
    if len(stretches) <= _MOST_STRETCHES:
        group.create_dataset(of.name, shape, of.dtype, external=stretches)
        return
    layout, row = h5py.VirtualLayout(shape, of.dtype), 0
    parts = group.file.create_group(f"{_PARTS}{group.name}/{of.name}")
    for number, begin in enumerate(range(0, len(stretches), _MOST_STRETCHES)):
        some = stretches[begin : begin + _MOST_STRETCHES]
        rows = sum(size for _, _, size in some) // of.n_bytes
        part = parts.create_dataset(str(number), (rows, *shape[1:]), of.dtype, external=some)
        layout[row : row + rows] = h5py.VirtualSource(".", part.name, part.shape, of.dtype)
        row += rows
    group.create_virtual_dataset(of.name, layout)


def _put(dataset: h5py.Dataset, rows: slice, values: NDArray[Any]) -> None:
    # Through the low level: what takes time is to be the bytes.
    shape = (len(values), *dataset.shape[1:])
    where = dataset.id.get_space()
    where.select_hyperslab((rows.start, *(0 for _ in shape[1:])), shape)
    held = np.ascontiguousarray(values).reshape(shape)
    dataset.id.write(h5s.create_simple(shape), where, held)
