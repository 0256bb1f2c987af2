"""Frames: what of the walkers' states is kept of the cycles of a run, as arrays.

They are an entry of their own, which a recording names and which alone of all that it names may be
elsewhere. An object holds the frames of some walkers in the cycles of a block: for each field one
array with a row for each frame, walker after walker, of each its cycles in their order, so that
the way of one walker is one stretch of the file; then `missing`, as (number of the field, row) of
what a state did not have, which is NaN there. A walker is there in a cycle if its number is below
that of the walkers in it, which the tables of the recording tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.kept_frames import OF_ATOMS, PRECISIONS
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.snapshot import check_type
from wepystore.records.values import MISSHAPEN, Sink, only
from wepystore.store import canonical
from wepystore.store.names import EntryRef, Ref

FORMAT = 1

#: An object has at most so many bytes, unless a single frame has more.
PART_BYTES = 1 << 25

#: Of tiny systems: so that what is written at a checkpoint of a block stays little.
_MOST_BLOCK_FRAMES = 1 << 14

#: More than there are cycles, walkers, atoms or axes.
_MOST = 1 << 32

#: Numbers of walkers in some cycles.
Counts = Sequence[int] | NDArray[np.int64]

#: A cycle: of each field an array with a row for each walker; and what is missing, as (field, row).
CycleFrames = tuple[Mapping[str, NDArray[Any]], Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class FrameField:
    """One field of the states.

    Attributes
    ----------
    name : str
    shape : tuple of int
        In one frame.
    dtype : str
        "<f4" or "<f8".
    unit : str or None
        Such as "nanometer"; None where nobody says.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str | None = None

    @property
    def n_bytes(self) -> int:
        """Of one frame."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Part:
    """An object with frames of some walkers.

    Attributes
    ----------
    n_walkers : int
        Those that follow the walkers of the part before.
    ref : Ref
    """

    n_walkers: int
    ref: Ref


@dataclass(frozen=True)
class Block:
    """The frames of some cycles, of all walkers.

    Attributes
    ----------
    n_cycles : int
    parts : tuple of Part
        Empty where no frame of these cycles is kept.
    """

    n_cycles: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Frames:
    """Which frames there are of a run, and where.

    Attributes
    ----------
    fields : tuple of FrameField
        Sorted by name.
    every : int
        Kept are those of each cycle whose number is a multiple of this.
    block_cycles : int
        Cycles of a full block.
    blocks : tuple of Block
        In the order of the cycles: full blocks, then what is left over.
    atoms : array of int, shape (n,), Ref or None
        Which atoms the fields with a value for each are of; None for all.
    """

    fields: tuple[FrameField, ...]
    every: int
    block_cycles: int
    blocks: tuple[Block, ...] = ()
    atoms: NDArray[np.int64] | Ref | None = None

    def __repr__(self) -> str:
        names = ", ".join(field.name for field in self.fields)
        return (
            f"Frames({names} of {self.n_cycles} cycles, every {self.every}, {self.n_bytes} bytes)"
        )

    @property
    def n_cycles(self) -> int:
        """Cycles that were recorded, also those of which no frame is kept."""
        return sum(block.n_cycles for block in self.blocks)

    @property
    def n_bytes(self) -> int:
        """The size of the objects with its frames."""
        return sum(part.ref.size for block in self.blocks for part in block.parts)

    @property
    def frame_bytes(self) -> int:
        """Of one frame of one walker."""
        return sum(field.n_bytes for field in self.fields)

    @property
    def n_full(self) -> int:
        """How many of the blocks are full."""
        return sum(block.n_cycles == self.block_cycles for block in self.blocks)


def block_cycles_for(n_walkers: int, frame_bytes: int, every: int) -> int:
    """The cycles of a full block: of a power of two of them frames are kept, which the walkers at
    the start decide (D2)."""
    fitting = PART_BYTES // max(1, n_walkers * frame_bytes)
    return every << max(0, min(fitting, _MOST_BLOCK_FRAMES).bit_length() - 1)


def kept_cycles(first_cycle: int, n_cycles: int, every: int) -> range:
    """The cycles of a stretch of which frames are kept."""
    return range(-(-first_cycle // every) * every, first_cycle + n_cycles, every)


def grouped(n_walkers: int, n_kept: int, frame_bytes: int) -> list[int]:
    """How many walkers are in each object of a stretch of which so many cycles are kept."""
    most = max(1, PART_BYTES // max(1, n_kept * frame_bytes))
    return [min(most, n_walkers - first) for first in range(0, n_walkers, most)]


@dataclass(frozen=True)
class Group:
    """Frames of some walkers in some cycles, as they are in an object.

    Attributes
    ----------
    n_walkers : int
    arrays : {field: array of shape (n_frames, *shape)}
    missing : array of int, shape (n, 2)
    """

    n_walkers: int
    arrays: Mapping[str, NDArray[Any]]
    missing: NDArray[np.int64]

    def buffers(self) -> list[Any]:
        """The object, as buffers."""
        found: list[Any] = []
        for array in (*self.arrays.values(), self.missing):
            found += npy.buffers(array)
        return found


def groups_of(frames: Frames, cycles: Sequence[CycleFrames]) -> Iterator[Group]:
    """What the objects of a stretch of cycles hold, of those of which frames are kept."""
    counts = [len(next(iter(arrays.values()))) for arrays, _ in cycles]
    first = 0
    for n_walkers in grouped(max(counts, default=0), len(cycles), frames.frame_bytes):
        here = counts_of(counts, first, n_walkers)
        starts = row_starts(counts, first, n_walkers)
        arrays = {f.name: np.empty((int(here.sum()), *f.shape), f.dtype) for f in frames.fields}
        missing: list[tuple[int, int]] = []
        for place, ((values, lacking), n_here) in enumerate(zip(cycles, here, strict=True)):
            # A walker of a number that has not been there throughout has fewer rows before.
            rows = starts[:n_here] + _present(counts[:place], first, int(n_here))
            for name, array in arrays.items():
                array[rows] = values[name][first : first + n_here]
            missing += [
                (k, int(rows[w - first])) for k, w in lacking if first <= w < first + n_here
            ]
        table = np.array(sorted(missing), np.int64).reshape(-1, 2)
        yield Group(n_walkers, arrays, table)
        first += n_walkers


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
        for place, n_here in enumerate(here):
            rows = starts[:n_here] + _present(counts[:place], first, int(n_here))
            arrays, missing = found[place]
            for name, array in group.arrays.items():
                arrays.setdefault(name, []).append(array[rows])
            for walker, row in enumerate(rows.tolist()):
                missing += [(number, first + walker) for number in lacking.get(row, ())]
        first += group.n_walkers
    return [({n: np.concatenate(a) for n, a in arrays.items()}, m) for arrays, m in found]


@dataclass(frozen=True)
class FramesSummary:
    """What a recording says of its frames, which may be elsewhere.

    Attributes
    ----------
    entry : EntryRef
        Of their manifest.
    fields : tuple of str
    n_atoms : int or None
        Of how many atoms; None where no field has a value for each.
    every : int
        Kept are those of each cycle whose number is a multiple of this.
    precision : str
        "float32" or "float64".
    n_bytes : int
        Of the objects with them.
    """

    entry: EntryRef
    fields: tuple[str, ...]
    n_atoms: int | None
    every: int
    precision: str
    n_bytes: int

    @property
    def settings(self) -> tuple[Any, ...]:
        """What was asked for, and not what came of it."""
        return self.fields, self.n_atoms, self.every, self.precision

    @classmethod
    def of(cls, frames: Frames, entry: EntryRef) -> FramesSummary:
        """What is said of frames that are an entry."""
        of_atoms = (field.shape[0] for field in frames.fields if field.name in OF_ATOMS)
        return cls(
            entry=entry,
            fields=tuple(field.name for field in frames.fields),
            n_atoms=next(of_atoms, None),
            every=frames.every,
            precision=next(p for p, d in PRECISIONS.items() if d == frames.fields[0].dtype),
            n_bytes=frames.n_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"entry": self.entry.to_json(), "fields": list(self.fields)}

    @classmethod
    def from_json(cls, value: Any, where: str) -> FramesSummary:
        """The summary in a manifest. Raises ValueError and the like."""
        only(value, *cls.__dataclass_fields__)
        entry = EntryRef.from_json(value["entry"], where)
        fields, n_atoms, precision = value["fields"], value["n_atoms"], value["precision"]
        if entry.kind != "frames" or precision not in PRECISIONS:
            raise ValueError("its frames are no entry of some precision")
        if type(fields) is not list or not all(type(name) is str for name in fields):
            raise ValueError("the fields of its frames are no names")
        if n_atoms is not None:
            _number(n_atoms)
        every, n_bytes = _number(value["every"], 1), _number(value["n_bytes"], most=1 << 63)
        return cls(entry, tuple(fields), n_atoms, every, precision, n_bytes)


def encode_frames(frames: Frames, sink: Sink) -> EntryRef:
    """Put the manifest of frames into `sink`; its objects are there."""
    atoms = frames.atoms
    if isinstance(atoms, np.ndarray):
        atoms = sink.put("objects", npy.array_buffers(atoms, "atoms"))
    manifest = {
        "type": "frames",
        "format": FORMAT,
        "n_cycles": frames.n_cycles,
        "every": frames.every,
        "block_cycles": frames.block_cycles,
        "fields": [
            {
                "name": field.name,
                "shape": list(field.shape),
                "dtype": field.dtype,
                "unit": field.unit,
            }
            for field in frames.fields
        ],
        "atoms": atoms.to_json() if atoms is not None else None,
        "blocks": [
            {
                "n_cycles": block.n_cycles,
                "parts": [
                    {"n_walkers": part.n_walkers, "object": part.ref.to_json()}
                    for part in block.parts
                ],
            }
            for block in frames.blocks
        ],
    }
    return EntryRef("frames", sink.put("frames", canonical.dumps(manifest)))


def decode_frames(manifest: Any, where: str) -> Frames:
    """The frames of a manifest. Raises MalformedRecordError."""
    check_type(manifest, "frames", where)
    try:
        atoms = manifest["atoms"]
        found = Frames(
            fields=tuple(_field(each) for each in manifest["fields"]),
            every=_number(manifest["every"], 1),
            block_cycles=_number(manifest["block_cycles"], 1),
            blocks=tuple(_block(each, where) for each in manifest["blocks"]),
            atoms=None if atoms is None else Ref.from_json(atoms, where),
        )
        names = [field.name for field in found.fields]
        if not names or names != sorted(set(names)):
            raise ValueError("its fields are none, or not sorted")
        if found.n_cycles != manifest["n_cycles"]:
            raise ValueError("its blocks have not as many cycles as it says")
        if found.block_cycles % found.every:
            raise ValueError("its blocks are not of whole intervals")
        _check_order(found)
        return found
    except MISSHAPEN as problem:
        raise MalformedRecordError(
            where=where, what="frames", problem=f"{type(problem).__name__}: {problem}"
        ) from problem


def _check_order(frames: Frames) -> None:
    """Raise ValueError unless there are full blocks, then what is left over, and objects for just
    those of which frames are kept."""
    counts, size = [block.n_cycles for block in frames.blocks], frames.block_cycles
    rest = counts[frames.n_full :]
    if counts[: frames.n_full] != [size] * frames.n_full or sum(rest) >= size:
        raise ValueError("its blocks are not full ones, and what is left over")
    first = 0
    for block in frames.blocks:
        if bool(block.parts) != bool(kept_cycles(first, block.n_cycles, frames.every)):
            raise ValueError("it has frames of cycles of which none are kept, or lacks some")
        first += block.n_cycles


def _field(value: Any) -> FrameField:
    only(value, "name", "shape", "dtype", "unit")
    name, shape, dtype, unit = (value[key] for key in ("name", "shape", "dtype", "unit"))
    if unit is not None and type(unit) is not str:
        raise ValueError(f"{unit!r:.40} is no unit")
    if type(name) is not str or type(shape) is not list or dtype not in PRECISIONS.values():
        raise ValueError(f"{name!r:.40} is no field of some shape in single or double precision")
    field = FrameField(name, tuple(_number(each) for each in shape), dtype, unit)
    if len(shape) > 8 or field.n_bytes >= 1 << 40:
        raise ValueError(f"no frame has a field of shape {shape!r:.60}")
    return field


def _block(value: Any, where: str) -> Block:
    only(value, "n_cycles", "parts")
    return Block(_number(value["n_cycles"], 1), tuple(_part(e, where) for e in value["parts"]))


def _part(value: Any, where: str) -> Part:
    only(value, "n_walkers", "object")
    return Part(_number(value["n_walkers"], 1), Ref.from_json(value["object"], where))


def _number(value: Any, least: int = 0, most: int = _MOST) -> int:
    # type(), not isinstance: True is an int.
    if type(value) is not int or not least <= value < most:
        raise ValueError(f"{value!r:.40} is not a number of cycles, walkers or atoms")
    return value


def checked(frames: Frames, arrays: Sequence[NDArray[Any]], n_walkers: int, where: str) -> Group:
    """The group that an object's arrays are. Raises as check_arrays."""
    check_arrays(frames, arrays, where)
    *found, missing = arrays
    names = [field.name for field in frames.fields]
    return Group(n_walkers, dict(zip(names, found, strict=True)), missing)


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
