"""The rows of frames in an object: walker after walker, of each its cycles.

An object holds the frames of some walkers in the cycles of a block: for each field one array with a
row for each frame; then `missing`, as (number of the field, row) of what a state did not have,
which is NaN there. A walker is there in a cycle if its number is below that of the walkers in it,
which the tables of the recording tell.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records import frames as manifests
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.frames import Frames

#: Frames of so many bytes are written from where they are.
_LARGE = 1 << 14

#: Numbers of walkers in some cycles.
Counts = Sequence[int] | NDArray[np.int64]

#: A cycle: of each field an array with a row for each walker; and what is missing, as (field, row).
CycleFrames = tuple[Mapping[str, NDArray[Any]], Sequence[tuple[int, int]]]


def grouped(n_walkers: int, n_kept: int, frame_bytes: int) -> list[int]:
    """How many walkers are in each object of a stretch of which so many cycles are kept."""
    most = max(1, manifests.PART_BYTES // max(1, n_kept * frame_bytes))
    # All of about one size.
    even = -(-n_walkers // max(1, -(-n_walkers // most)))
    return [min(even, n_walkers - first) for first in range(0, n_walkers, max(1, even))]


@dataclass(frozen=True)
class Group:
    """Frames of some walkers in some cycles, as they are in an object.

    Attributes
    ----------
    n_walkers : int
    rows : {field: arrays of shape (n, *shape), to be put one after the other}
    missing : array of int, shape (n, 2)
    """

    n_walkers: int
    rows: Mapping[str, Sequence[NDArray[Any]]]
    missing: NDArray[np.int64]

    @functools.cached_property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Of each field one, of shape (n_frames, *shape)."""
        return {
            name: rows[0] if len(rows) == 1 else np.concatenate(rows)
            for name, rows in self.rows.items()
        }

    def buffers(self) -> list[Any]:
        """The object, as buffers."""
        found: list[Any] = []
        for rows in (*self.rows.values(), [self.missing]):
            found += npy.concatenation_buffers(rows)
        return found


def groups_of(frames: Frames, cycles: Sequence[CycleFrames]) -> Iterator[Group]:
    """What the objects of a stretch of cycles hold, of those of which frames are kept."""
    counts = [len(next(iter(arrays.values()))) for arrays, _ in cycles]
    first = 0
    for n_walkers in grouped(max(counts, default=0), len(cycles), frames.frame_bytes):
        arrays, missing = (_alike if min(counts) == max(counts) else _unlike)(
            frames, cycles, counts, first, n_walkers
        )
        table = np.array(sorted(missing), np.int64).reshape(-1, 2)
        yield Group(n_walkers, arrays, table)
        first += n_walkers


_Rows = tuple[dict[str, Sequence[NDArray[Any]]], list[tuple[int, int]]]


def _alike(
    frames: Frames, cycles: Sequence[CycleFrames], counts: Sequence[int], first: int, n_walkers: int
) -> _Rows:
    """Arrays, and what is missing, of walkers that are there in all cycles."""
    arrays: dict[str, Sequence[NDArray[Any]]] = {}
    for field in frames.fields:
        every = [values[field.name][first : first + n_walkers] for values, _ in cycles]
        # Of a large system they are as they are to be, row by row: a copy takes memory and time.
        if len(every) == 1:
            arrays[field.name] = [every[0].reshape(-1, *field.shape)]
        elif field.n_bytes >= _LARGE:
            places = range(min(n_walkers, len(every[0])))
            arrays[field.name] = [values[k : k + 1] for k in places for values in every]
        else:
            arrays[field.name] = [np.stack(every, axis=1).reshape(-1, *field.shape)]
    missing = [
        (number, (walker - first) * len(cycles) + place)
        for place, (_, lacking) in enumerate(cycles)
        for number, walker in lacking
        if first <= walker < first + n_walkers
    ]
    return arrays, missing


def _unlike(
    frames: Frames, cycles: Sequence[CycleFrames], counts: Sequence[int], first: int, n_walkers: int
) -> _Rows:
    """As _alike, where walkers come and go: some have fewer rows than others."""
    here = counts_of(counts, first, n_walkers)
    rows = row_starts(counts, first, n_walkers)
    arrays = {f.name: np.empty((int(here.sum()), *f.shape), f.dtype) for f in frames.fields}
    missing: list[tuple[int, int]] = []
    for (values, lacking), n_here in zip(cycles, here.tolist(), strict=True):
        for name, array in arrays.items():
            array[rows[:n_here]] = values[name][first : first + n_here]
        missing += [(k, int(rows[w - first])) for k, w in lacking if first <= w < first + n_here]
        rows[:n_here] += 1
    return {name: [array] for name, array in arrays.items()}, missing


def counts_of(counts: Counts, first: int, n_walkers: int) -> NDArray[np.int64]:
    """How many of the walkers from `first` on are there in each cycle, of so many in all."""
    return np.clip(np.asarray(counts, np.int64) - first, 0, n_walkers)


def row_starts(counts: Counts, first: int, n_walkers: int) -> NDArray[np.int64]:
    """The row with which each of these walkers begins, and the number of all; shape
    (n_walkers + 1,)."""
    present = _present(counts, first, n_walkers)
    return np.concatenate([[0], np.cumsum(present)])


def _present(counts: Counts, first: int, n_walkers: int) -> NDArray[np.int64]:
    """In how many of these cycles each of the walkers is there."""
    # Walkers are numbered from 0: one is there where there are more than its number.
    ordered = np.sort(np.asarray(counts, np.int64))
    numbers = np.arange(first, first + n_walkers)
    return len(ordered) - np.searchsorted(ordered, numbers, side="right")


def rows_before(
    counts: NDArray[np.int64], first: int, walkers: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rows of walkers, in an object that begins with walker `first`, each in one of the kept
    cycles, of which these are the places in `counts`."""
    if not len(walkers):
        return walkers
    last = int(walkers.max())
    if counts.min() > last:
        # All are there throughout.
        return (walkers - first) * len(counts) + places
    starts = row_starts(counts, first, last - first + 1)
    found = starts[walkers - first]
    for walker in np.unique(walkers):
        mine = walkers == walker
        present = np.concatenate([[0], np.cumsum(counts > walker)])
        found[mine] += present[places[mine]]
    return found


def cycles_of(groups: Sequence[Group], counts: Sequence[int]) -> list[CycleFrames]:
    """The cycles of which these are the objects: what groups_of was given."""
    found: list[tuple[dict[str, list[NDArray[Any]]], list[tuple[int, int]]]] = [
        ({}, []) for _ in counts
    ]
    first, n_walkers = 0, sum(group.n_walkers for group in groups)
    # Of more there are no rows, and to count those of any number takes any memory.
    if n_walkers != max(counts, default=0):
        raise ValueError(f"it is of {n_walkers} walkers, and not of {max(counts, default=0)}")
    for group in groups:
        here = counts_of(counts, first, group.n_walkers)
        starts = row_starts(counts, first, group.n_walkers)
        if any(len(array) != starts[-1] for array in group.arrays.values()):
            raise ValueError(f"it has not {starts[-1]} rows for walkers and cycles that it is of")
        lacking: dict[int, list[int]] = {}
        for number, row in group.missing.tolist():
            lacking.setdefault(row, []).append(number)
        for (arrays, missing), n_here in zip(found, here.tolist(), strict=True):
            rows = starts[:n_here]
            for name, array in group.arrays.items():
                arrays.setdefault(name, []).append(array[rows])
            for walker, row in enumerate(rows.tolist() if lacking else ()):
                missing += [(number, first + walker) for number in lacking.get(row, ())]
            rows += 1
        first += group.n_walkers
    return [({n: np.concatenate(a) for n, a in arrays.items()}, m) for arrays, m in found]


def checked(frames: Frames, arrays: Sequence[NDArray[Any]], n_walkers: int, where: str) -> Group:
    """The group that an object's arrays are. Raises as check_arrays."""
    check_arrays(frames, arrays, where)
    *found, missing = arrays
    names = [field.name for field in frames.fields]
    return Group(n_walkers, {n: [array] for n, array in zip(names, found, strict=True)}, missing)


def check_arrays(frames: Frames, arrays: Sequence[NDArray[Any] | npy.Placed], where: str) -> None:
    """Raise MalformedRecordError unless an object's arrays, of which the last at least is read, are
    of the fields and types of these frames."""
    *found, missing = arrays or [np.empty(0)]
    forms = [(array.shape[1:], array.dtype.str) for array in found if array.shape]
    wanted = [(field.shape, field.dtype) for field in frames.fields]
    n_rows = {array.shape[0] for array in found if array.shape}
    problem = None
    if forms != wanted or len(n_rows) != 1:
        problem = "its arrays are not those of its fields"
    elif missing.shape[1:] != (2,) or missing.dtype != np.int64:
        problem = "what is missing is not given by field and row"
    elif isinstance(missing, npy.Placed) or (
        ((missing < 0) | (missing >= [len(wanted), *n_rows])).any()
    ):
        problem = "what is missing is in no frame"
    if problem is not None:
        raise MalformedRecordError(where=where, what="frames", problem=problem)
