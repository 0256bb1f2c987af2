"""The frames of a run, or of runs that continue each other, to be read."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.errors import FailedError
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.frame_rows import (
    CycleFrames,
    check_arrays,
    checked,
    cycles_of,
    row_starts,
    rows_before,
)
from wepystore.records.frames import (
    Block,
    FrameField,
    Frames,
    FramesSummary,
    decode_frames,
    kept_cycles,
)
from wepystore.records.mapped import arrays_of, rows_of
from wepystore.records.recording import Recording
from wepystore.records.tables import NotJoinableError, RunSpan
from wepystore.store import whereabouts
from wepystore.store.names import Ref
from wepystore.store.store import Store

Integers = NDArray[np.int64]

#: Some frames that are asked for, an array that has them, and in which rows.
_Place = tuple[Integers, NDArray[Any], Integers]

#: So many objects stay mapped; of those that are verified so many stay in memory.
_MAPPED, _VERIFIED = 64, 2


class NoFramesError(FailedError):
    """no frames were kept of run {run}"""


class FramesElsewhereError(FailedError):
    """the frames of run {run} are not in {store}: it was brought without them, or they were
    removed; {way}"""

    @classmethod
    def of(cls, store: Store, run: str, recording: Recording) -> FramesElsewhereError:
        """With what brings the frames of this recording, as far as the store knows."""
        assert recording.frames is not None
        way = whereabouts.way(store, [recording.frames.entry.md5])
        return cls(run=run, store=store.path, way=way)


def read_frames(store: Store, recording: Recording, where: str) -> Frames:
    """The frames of a recording that are here: their manifest, verified, and which atoms they are
    of. Raises DamagedError."""
    summary = recording.frames
    assert summary is not None
    md5, ref = summary.entry.md5, summary.entry.ref
    found = decode_frames(store.manifest("frames", md5, ref), f"frames {md5}")
    problem = None
    if found.n_cycles != recording.n_cycles:
        problem = f"they are of {found.n_cycles} cycles, and the run has {recording.n_cycles}"
    elif FramesSummary.of(found, summary.entry) != summary:
        problem = "they are not those that their recording tells of"
    atoms = None
    if isinstance(found.atoms, Ref):
        atoms = npy.load(store.object(found.atoms), f"the atoms of {where}")
        if not _are_atoms(atoms, summary.n_atoms):
            problem = f"their atoms are not {summary.n_atoms} different numbers from 0 on"
    if problem is not None:
        raise MalformedRecordError(where=f"frames {md5}", what="frames", problem=problem)
    return Frames(found.fields, found.every, found.block_cycles, found.blocks, atoms)


def _are_atoms(atoms: NDArray[Any], n_atoms: int | None) -> bool:
    """Whether these are the numbers of so many atoms; of any where no field has a value for
    each."""
    is_list = atoms.dtype == np.int64 and atoms.ndim == 1 and len(atoms) > 0
    if not is_list or atoms.min() < 0 or len(np.unique(atoms)) != len(atoms):
        return False
    return n_atoms is None or len(atoms) == n_atoms


def read_left_over(
    store: Store, frames: Frames, counts: Integers, where: str
) -> list[list[CycleFrames]]:
    """The frames of those blocks that are not full, verified: for each block, for each cycle of
    which they are kept.

    Parameters
    ----------
    counts : array of int, shape (n_cycles,)
        Walkers in each cycle.
    """
    found, first = [], frames.n_full * frames.block_cycles
    for block in frames.blocks[frames.n_full :]:
        kept = kept_cycles(first, block.n_cycles, frames.every)
        here = counts[kept.start : kept.stop : kept.step].tolist()
        found.append(read_block(store, frames, block, here, where))
        first += block.n_cycles
    return found


def read_block(
    store: Store, frames: Frames, block: Block, counts: Sequence[int], where: str
) -> list[CycleFrames]:
    """The frames of a block, verified, for each cycle of which they are kept; `counts` are the
    walkers in each of these."""
    groups = []
    for part in block.parts:
        arrays = npy.load_several(store.object(part.ref), where)
        groups.append(checked(frames, arrays, part.n_walkers, where))
    try:
        return cycles_of(groups, counts)
    except ValueError as problem:
        raise MalformedRecordError(where=where, what="frames", problem=problem) from None


def read_cycles(
    store: Store,
    frames: Frames,
    counts: Integers,
    start: int,
    stop: int,
    where: str,
    last: dict[int, list[CycleFrames]] | None = None,
) -> list[CycleFrames]:
    """The frames of the cycles from `start` to before `stop` of which they are kept, verified;
    `counts` are the walkers in each cycle. The block that was read last stays in `last`, for who
    asks for more of it."""
    found: list[CycleFrames] = []
    first, last = 0, {} if last is None else last
    for number, block in enumerate(frames.blocks):
        kept = kept_cycles(first, block.n_cycles, frames.every)
        if first < stop and start < first + block.n_cycles and kept:
            if number not in last:
                here = counts[kept.start : kept.stop : kept.step].tolist()
                last.clear()
                last[number] = read_block(store, frames, block, here, where)
            each = zip(kept, last[number], strict=True)
            found += [shot for cycle_idx, shot in each if start <= cycle_idx < stop]
        first += block.n_cycles
    return found


class FramesOfRun(NamedTuple):
    """What RunFrames takes of one run.

    Attributes
    ----------
    run : str
        Hash of its record.
    frames : Frames
    counts : array of int, shape (n_cycles,)
        Walkers in each of its cycles.
    n_cycles : int
        As many of them count.
    n_steps : int or None
    """

    run: str
    frames: Frames
    counts: Integers
    n_cycles: int
    n_steps: int | None


class RunFrames:
    """The frames that are kept of a run: arrays that are read where they are looked at.

    Nothing is read before it is asked for; of what is asked for the name, the size and the shapes
    of objects are checked, not their bytes.

    Parameters
    ----------
    store : Store
    runs : sequence of FramesOfRun
        Those that follow each other.
    verify : bool
        Whether objects are read whole and verified instead.

    Attributes
    ----------
    fields : tuple of FrameField
        Sorted by name.
    atoms : array of int, shape (n_atoms,), or None
        Which atoms positions, velocities and forces are of; None for all.
    runs : list of RunSpan
        Whose cycles these are.
    n_walkers : array of int, shape (n_cycles,)
        In each cycle.
    cycles : array of int, shape (n_kept,)
        Those of which frames are kept.
    """

    def __init__(self, store: Store, runs: Sequence[FramesOfRun], verify: bool = False) -> None:
        last = runs[-1].frames
        self.fields: tuple[FrameField, ...] = last.fields
        self.atoms = last.atoms if isinstance(last.atoms, np.ndarray) else None
        self.runs: list[RunSpan] = []
        self._reels: list[_Reel] = []
        self._objects = _Objects(store, verify)
        cycles, first = [], 0
        for each in runs:
            same = each.frames.fields == last.fields
            if not same or not np.array_equal(each.frames.atoms, last.atoms):  # type: ignore[arg-type]
                why = f"of run {each.run} other frames are kept"
                raise NotJoinableError(run=runs[-1].run, why=why)
            self.runs.append(RunSpan(each.run, first, each.n_cycles, each.n_steps))
            self._reels.append(_Reel(each, self._objects))
            kept = kept_cycles(0, each.n_cycles, each.frames.every)
            cycles.append(np.arange(kept.start, kept.stop, kept.step) + first)
            first += each.n_cycles
        self.n_walkers: Integers = np.concatenate([e.counts[: e.n_cycles] for e in runs])
        self.cycles: Integers = np.concatenate(cycles)

    def field(self, name: str) -> FrameField:
        """What is known of a field. Raises KeyError where there is none of that name."""
        for found in self.fields:
            if found.name == name:
                return found
        raise KeyError(name)

    def cycles_of(self, walker_idx: int, start: int = 0, stop: int | None = None) -> Integers:
        """The cycles from `start` to before `stop` of which there are frames of a walker."""
        cycles = self.cycles[slice(*np.searchsorted(self.cycles, [start, self._stop(stop)]))]
        return cycles[self.n_walkers[cycles] > walker_idx]

    def _stop(self, stop: int | None) -> int:
        return len(self.n_walkers) if stop is None else stop

    def walker(
        self, walker_idx: int, name: str = "positions", start: int = 0, stop: int | None = None
    ) -> NDArray[Any]:
        """A field of one walker in the cycles of `cycles_of`.

        Returns an array of shape (n_frames, *shape); a read-only view of the store's file where all
        frames are in one. Walkers of one number in two cycles are not one trajectory.
        """
        cycles = self.cycles_of(walker_idx, start, stop)
        return self.of(cycles, np.full(len(cycles), walker_idx), name)

    def cycle(self, cycle_idx: int, name: str = "positions") -> NDArray[Any]:
        """A field of all walkers in one cycle; shape (n_walkers, *shape)."""
        n_walkers = int(self.n_walkers[cycle_idx])
        return self.of(np.full(n_walkers, cycle_idx), np.arange(n_walkers), name)

    def in_order(self) -> Iterator[tuple[Integers, Integers]]:
        """All frames as they lie: for each object the cycles and the walkers of its rows, with
        which `of` copies nothing."""
        for span, reel in zip(self.runs, self._reels, strict=True):
            for cycles, walkers in reel.in_order():
                yield cycles + span.first_cycle, walkers

    def of(self, cycles: Integers, walkers: Integers, name: str = "positions") -> NDArray[Any]:
        """A field of pairs of a cycle and a walker.

        Parameters
        ----------
        cycles, walkers : array of int, shape (n,)
            Of cycles of which frames are kept.

        Returns
        -------
        ndarray, shape (n, *shape), NaN where a state had no such field. Read-only.

        Raises KeyError for a field, and IndexError for a cycle or walker, that there is none of;
        DamagedError.
        """
        field = self.field(name)
        cycles, walkers = np.asarray(cycles, np.int64), np.asarray(walkers, np.int64)
        inside = (cycles >= 0) & (cycles < len(self.n_walkers)) & (walkers >= 0)
        if not inside.all() or (walkers >= self.n_walkers[cycles]).any():
            raise IndexError("there is no such walker in one of these cycles")
        if not np.isin(cycles, self.cycles).all():
            raise IndexError("no frame is kept of one of these cycles")
        places = self._find(cycles, walkers, field.name)
        begun = [*itertools.islice(places, 2)]
        if len(begun) == 1:
            # All in one object: what is one stretch of it needs no copy.
            _, array, rows = begun[0]
            if len(rows) and (np.diff(rows) == 1).all():
                view: NDArray[Any] = array[rows[0] : rows[-1] + 1]
                return view
        found = np.empty((len(cycles), *field.shape), field.dtype)
        # One after the other: no more stay open than the objects that are kept.
        for index, array, rows in itertools.chain(begun, places):
            first, stop = int(index[0]), int(index[-1]) + 1
            if stop - first == len(index):
                # Copied once. (With "raise" it would be twice; rows are known to be there.)
                np.take(array, rows, axis=0, out=found[first:stop], mode="clip")
            else:
                found[index] = array[rows]
        found.flags.writeable = False
        return found

    def _find(self, cycles: Integers, walkers: Integers, name: str) -> Iterator[_Place]:
        """Where frames are; as _Reel.find, of all runs."""
        firsts = np.array([span.first_cycle for span in self.runs])
        of_run = np.searchsorted(firsts, cycles, side="right") - 1
        for number in np.unique(of_run).tolist():
            index = np.flatnonzero(of_run == number)
            found = self._reels[number].find(cycles[index] - firsts[number], walkers[index], name)
            for inner, array, rows in found:
                yield index[inner], array, rows

    def __repr__(self) -> str:
        # The names may be a stranger's.
        names = ascii(", ".join(field.name for field in self.fields))[1:-1]
        return f"<RunFrames: {len(self.cycles)} of {len(self.n_walkers)} cycles; {names}>"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{escape(field.name)}</th><td>{field.shape}</td><td>{escape(field.dtype)}</td>"
            f"<td>{escape(field.unit or '')}</td></tr>"
            for field in self.fields
        )
        return f"<table><caption>{escape(repr(self))}</caption>{''.join(rows)}</table>"


class _Objects:
    """Objects with frames, those of full blocks mapped where that can be done; those that were
    looked at last stay so."""

    def __init__(self, store: Store, verify: bool) -> None:
        self._store, self._verify = store, verify
        self._held: OrderedDict[Ref, list[NDArray[Any] | npy.Placed]] = OrderedDict()

    def arrays(
        self, ref: Ref, n_fields: int, where: str, to_map: bool
    ) -> list[NDArray[Any] | npy.Placed]:
        """Those of the fields, and what is missing, which alone is read if it is not mapped."""
        found = self._held.pop(ref, None)
        if found is None:
            while len(self._held) >= (_VERIFIED if self._verify else _MAPPED):
                self._held.popitem(last=False)
            if self._verify:
                found = [*npy.load_several(self._store.object(ref), where)]
            else:
                found = arrays_of(self._store, ref, {n_fields}, where, to_map)
        self._held[ref] = found
        return found

    def rows(self, ref: Ref, array: npy.Placed, rows: Integers, where: str) -> NDArray[Any]:
        """Those of an array that is not mapped."""
        found = rows_of(self._store, ref, array, rows, where)
        found.flags.writeable = False
        return found


class _Reel:
    """The frames of one run."""

    def __init__(self, of: FramesOfRun, objects: _Objects) -> None:
        self._of, self._objects, self._where = of, objects, f"the frames of {of.run}"
        self._firsts = list(accumulate((b.n_cycles for b in of.frames.blocks), initial=0))

    def find(self, cycles: Integers, walkers: Integers, name: str) -> Iterator[_Place]:
        """Where frames are: for each object some of the places in `cycles`, its array of the field,
        and the rows of it."""
        blocks = np.searchsorted(self._firsts, cycles, side="right") - 1
        for number in np.unique(blocks).tolist():
            here = np.flatnonzero(blocks == number)
            yield from self._find_in(number, here, cycles[here], walkers[here], name)

    def in_order(self) -> Iterator[tuple[Integers, Integers]]:
        """For each object the cycles and the walkers of its rows; of those that count."""
        for first, block in zip(self._firsts, self._of.frames.blocks, strict=False):
            kept = kept_cycles(first, block.n_cycles, self._of.frames.every)
            counts = self._of.counts[kept.start : kept.stop : kept.step]
            cycles, begin = np.arange(kept.start, kept.stop, kept.step), 0
            for part in block.parts:
                # No more than there are rows for, whatever a part says.
                numbers = np.arange(begin, min(begin + part.n_walkers, int(counts.max(initial=0))))
                there = (counts > numbers[:, None]) & (cycles < self._of.n_cycles)
                places, times = np.nonzero(there)
                yield cycles[times], numbers[places]
                begin += part.n_walkers

    def _find_in(
        self, number: int, places: Integers, cycles: Integers, walkers: Integers, name: str
    ) -> Iterator[_Place]:
        frames, block = self._of.frames, self._of.frames.blocks[number]
        kept = kept_cycles(self._firsts[number], block.n_cycles, frames.every)
        counts = self._of.counts[kept.start : kept.stop : kept.step]
        starts = list(accumulate((part.n_walkers for part in block.parts), initial=0))
        # Of more there are no rows, and to count those of any number takes any memory.
        if starts[-1] != counts.max():
            problem = f"they are of {starts[-1]} walkers, and there were {counts.max()}"
            raise MalformedRecordError(where=self._where, what="frames", problem=problem)
        groups = np.searchsorted(starts, walkers, side="right") - 1
        for place in np.unique(groups).tolist():
            here = np.flatnonzero(groups == place)
            array = self._array(block, place, counts, starts[place], name)
            times = (cycles[here] - kept.start) // frames.every
            rows = rows_before(counts, starts[place], walkers[here], times)
            if isinstance(array, npy.Placed):
                array = self._objects.rows(block.parts[place].ref, array, rows, self._where)
                rows = np.arange(len(rows))
            yield places[here], array, rows

    def _array(
        self, block: Block, place: int, counts: Integers, first: int, name: str
    ) -> NDArray[Any] | npy.Placed:
        """That of a field, in the object of the walkers from `first` on."""
        part, frames = block.parts[place], self._of.frames
        # A job that is running supersedes what is no full block, perhaps from another host.
        to_map = block.n_cycles == frames.block_cycles
        arrays = self._objects.arrays(part.ref, len(frames.fields), self._where, to_map)
        check_arrays(frames, arrays, self._where)
        n_rows = row_starts(counts, first, part.n_walkers)[-1]
        if arrays[0].shape[0] != n_rows:
            problem = f"it has not {n_rows} frames for the walkers and cycles that it is of"
            raise MalformedRecordError(where=self._where, what="frames", problem=problem)
        return arrays[[field.name for field in frames.fields].index(name)]
