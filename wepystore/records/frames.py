"""Frames: what of the walkers' states is kept of the cycles of a run, as arrays.

They are an entry of their own, which a recording names and which alone of all that it names may be
elsewhere. It says which objects hold them; what is in these, records/frame_rows.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

#: A full block is in so many, about: each is hashed in a thread of its own. Where they would hold
#: fewer cycles than this it is in one, since memory holds it beside the walkers.
_PARTS, _LEAST_CYCLES = 2, 8

#: Of tiny systems: so that what is written at a checkpoint of a block stays little.
_MOST_BLOCK_FRAMES = 1 << 14

#: More than there are cycles, walkers, atoms or axes.
_MOST = 1 << 32

#: Where nothing moves the same object comes again. What is left over is read as a whole, so of a
#: stranger's lines that name one again and again so many bytes, or times what there is, are enough.
_MOST_AGAIN, _TIMES = 1 << 28, 8


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
    cycle_bytes = max(1, n_walkers * frame_bytes)
    fitting = _PARTS * PART_BYTES // cycle_bytes
    if fitting < _LEAST_CYCLES:
        fitting = PART_BYTES // cycle_bytes
    # The way of one walker is in one object.
    fitting = min(fitting, PART_BYTES // max(1, frame_bytes))
    return every << max(0, min(fitting, _MOST_BLOCK_FRAMES).bit_length() - 1)


def kept_cycles(first_cycle: int, n_cycles: int, every: int) -> range:
    """The cycles of a stretch of which frames are kept."""
    return range(-(-first_cycle // every) * every, first_cycle + n_cycles, every)


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
        of_atoms = (f.shape[0] for f in frames.fields if f.name in OF_ATOMS and f.shape)
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
    check_blocks([block.n_cycles for block in frames.blocks], frames.block_cycles)
    check_left_over([part.ref for block in frames.blocks[frames.n_full :] for part in block.parts])
    first = 0
    for block in frames.blocks:
        if bool(block.parts) != bool(kept_cycles(first, block.n_cycles, frames.every)):
            raise ValueError("it has frames of cycles of which none are kept, or lacks some")
        first += block.n_cycles


def check_blocks(counts: Sequence[int], size: int) -> list[int]:
    """What is left over, of parts of so many cycles. Raise ValueError unless those before are full
    blocks of this size, and these together none."""
    n_full = counts.count(size)
    rest = list(counts[n_full:])
    if any(n_cycles != size for n_cycles in counts[:n_full]) or sum(rest) >= size:
        raise ValueError("its parts are not full blocks, and what is left over")
    return rest


def check_left_over(refs: Sequence[Ref]) -> None:
    """Raise ValueError for the objects of what is no full block, if they are a few again and
    again."""
    every, once = sum(ref.size for ref in refs), sum(ref.size for ref in set(refs))
    if every > max(_MOST_AGAIN, _TIMES * once):
        raise ValueError(f"what is left over would have {every} bytes, of {once} that there are")


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
