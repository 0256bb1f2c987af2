"""Recordings: what happened in a run, cycle by cycle, as tables of arrays.

A recording is a manifest and the objects that it names. All tables of a stretch of cycles are in
one object: an array for each column, as .npy files one after the other, in the order of the names
of the columns. Which columns there are follows from what the components of the run declare
(engine/record_tables.py):

- `n_walkers`: one number a cycle; `weights`: one for each walker of each cycle, after the segments;
- `TABLE/cycle_idx`: the cycle of each record of a table, but for progress, which has one row a
  cycle;
- `TABLE/FIELD`: the values of a field, one row a record; of a field of any length all values one
  after the other, and in `TABLE/FIELD/lengths` how many belong to each record. Texts are the bytes
  of their UTF-8;
- `missing`: (number of the column, row) of what a record had no value for, which is 0, NaN or
  empty in the column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.component import Text
from wepystore.engine.record_fields import RecordColumns, ragged, together
from wepystore.engine.record_tables import (
    TABLES,
    RecordField,
    column,
    table_fields,
    table_record_names,
)
from wepystore.records import npy
from wepystore.records.errors import CannotRecordError, MalformedRecordError
from wepystore.records.frames import FramesSummary, check_blocks, check_left_over
from wepystore.records.snapshot import check_type
from wepystore.records.values import MISSHAPEN, Sink, only
from wepystore.store import canonical
from wepystore.store.names import EntryRef, Ref

FORMAT = 1

#: Of a recording that names frames and facts of the system, as far as there are any.
WITH_FRAMES = 2

#: Of one that does not know how long its segments are: of a file of wepy's.
IMPORTED = 3

#: The table with one row a cycle.
CONTINUAL = "progress"

N_WALKERS = "n_walkers"
WEIGHTS = "weights"
CYCLE_IDX = "cycle_idx"
LENGTHS = "lengths"
MISSING = "missing"

#: Bytes of all tables of a full block, about, if a record takes what those of bins and REVO do.
_BLOCK_BYTES = 1 << 24
_WALKER_BYTES = 64
_MOST_BLOCK_CYCLES = 1 << 14

#: Pieces that are no full block: more than come about however checkpoints are written. Those of
#: more than a thirty-second of a block are less than 33, and of the others each is shorter than the
#: one before.
_MOST_PIECES = 256

#: More than there are cycles in any part, steps in a segment, or decisions.
_MOST = 1 << 32

#: A stretch of cycles: the array of each column.
Columns = Mapping[str, NDArray[Any]]

#: A column whose values need not be read.
Column = NDArray[Any] | npy.Placed


def block_cycles_for(n_walkers: int) -> int:
    """The cycles of a full block: a power of two that the walkers at the start decide (D2)."""
    fitting = _BLOCK_BYTES // (_WALKER_BYTES * max(1, n_walkers))
    return 1 << max(0, min(fitting, _MOST_BLOCK_CYCLES).bit_length() - 1)


@dataclass(frozen=True)
class Layout:
    """Which columns the tables of a run have.

    Attributes
    ----------
    fields : {table: its fields}
    summaries : {table: names of those fields that belong into a summary}
    """

    fields: Mapping[str, Sequence[RecordField]]
    summaries: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table, fields in self.fields.items():
            for each in fields:
                if each.dtype.kind not in "fiubUSO" or (each.dtype.kind == "O" and each.shape):
                    problem = f"it is declared as {each.dtype}, and no number or text"
                    raise CannotRecordError(where=f"{table} field {each.name!r}", problem=problem)

    @classmethod
    def of(cls, resampler: Any, boundary_conditions: Any) -> Layout:
        """The one that the components of a run declare."""
        owners = {
            table: resampler if table.startswith("resampl") else boundary_conditions
            for table in TABLES
        }
        return cls(
            {table: table_fields(owner, table) for table, owner in owners.items()},
            {table: table_record_names(owner, table) for table, owner in owners.items()},
        )

    def names(self) -> list[str]:
        """The columns, sorted."""
        found = [MISSING, N_WALKERS, WEIGHTS]
        for table, fields in self.fields.items():
            if not fields:
                continue
            if table != CONTINUAL:
                found.append(f"{table}/{CYCLE_IDX}")
            for each in fields:
                found.append(f"{table}/{each.name}")
                if is_ragged(each):
                    found.append(f"{table}/{each.name}/{LENGTHS}")
        return sorted(found)

    def columns(
        self,
        first_cycle: int,
        weights: Sequence[NDArray[np.float64]],
        records: Sequence[Mapping[str, Any]],
    ) -> dict[str, NDArray[Any]]:
        """The columns of a stretch of cycles.

        Parameters
        ----------
        first_cycle : int
        weights : for each cycle those of its walkers, after the segments
        records : for each cycle {table: its records}; of progress {field: values}

        Raises
        ------
        CannotRecordError : a value has not the shape or type that its component declares.
        """
        names = self.names()
        found = {
            N_WALKERS: np.array([len(each) for each in weights], np.int64),
            WEIGHTS: np.concatenate(weights) if weights else np.empty(0),
        }
        missing: list[tuple[int, int]] = []
        for table, fields in self.fields.items():
            if not fields:
                continue
            parts = [[held[table]] if table == CONTINUAL else held[table] for held in records]
            if table != CONTINUAL:
                cycles = np.arange(first_cycle, first_cycle + len(parts))
                lengths = np.array([len(part) for part in parts], np.int64)
                found[f"{table}/{CYCLE_IDX}"] = np.repeat(cycles, lengths)
            rows = together(parts, [each.name for each in fields])
            for each in fields:
                columns, without = _columns(table, each, rows)
                found.update(columns)
                if without:
                    place = names.index(f"{table}/{each.name}")
                    missing += [(place, row) for row in without]
        found[MISSING] = np.array(sorted(missing), np.int64).reshape(-1, 2)
        return {name: _canonical(found[name]) for name in names}


def is_ragged(field: RecordField) -> bool:
    """Whether records have any number of values of it: then their lengths are a column too."""
    return field.shape is None or field.dtype.kind in "USO"


def _blank(field: RecordField) -> Any:
    """What stands for a value that is missing."""
    if field.dtype.kind in "USO":
        return ""
    if field.shape is None:
        return ()
    return np.full(field.shape, np.nan if field.dtype.kind == "f" else 0, field.dtype)


def _columns(
    table: str, field: RecordField, rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, NDArray[Any]], list[int]]:
    """The columns of a field, and the rows that lack it. Raises CannotRecordError."""
    # As columns they have all fields.
    listed = () if isinstance(rows, RecordColumns) else rows
    without = [k for k, row in enumerate(listed) if field.name not in row]
    if without:
        blank = {field.name: _blank(field)}
        rows = [blank | dict(row) for row in rows]
    try:
        return dict(_column(table, field, rows)), without
    except (ValueError, TypeError) as problem:
        where = f"{table} field {field.name!r}"
        raise CannotRecordError(where=where, problem=problem) from problem


def _column(
    table: str, field: RecordField, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    name = f"{table}/{field.name}"
    if field.dtype.kind in "USO":
        texts = [_text_of(row.get(field.name), name).encode() for row in rows]
        yield name, np.frombuffer(b"".join(texts), np.uint8)
        yield f"{name}/{LENGTHS}", np.array([len(text) for text in texts], np.int64)
        return
    if isinstance(rows, RecordColumns) and rows.columns and field.shape is None:
        held = ragged(rows.columns[field.name])
        yield name, held.values.astype(field.dtype)
        yield f"{name}/{LENGTHS}", held.lengths
        return
    values = column(rows, field, table) if rows else np.empty((0, *(field.shape or ())))
    if field.shape is not None:
        yield name, np.asarray(values, field.dtype)
        return
    yield name, np.concatenate([*values]) if len(values) else np.empty(0, field.dtype)
    yield f"{name}/{LENGTHS}", np.array([len(each) for each in values], np.int64)


def _text_of(value: Any, where: str) -> str:
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise CannotRecordError(where=where, problem=f"{type(value).__name__} is no text")
    return value


def _canonical(array: NDArray[Any]) -> NDArray[Any]:
    """As it is stored: the same values have the same bytes."""
    if array.dtype == np.uint8:
        return array
    held = npy.storable(array, "recording")
    if held.dtype.kind == "f":
        unknown = np.isnan(held)
        if unknown.any():
            held = np.where(unknown, np.nan, held)
    return held


def buffers_of(columns: Columns) -> list[Any]:
    """The object with the tables of a stretch of cycles, as buffers."""
    found: list[Any] = []
    for array in columns.values():
        found += npy.buffers(array)
    return found


def joined(stretches: Sequence[Columns]) -> Columns:
    """The columns of stretches that follow each other."""
    if len(stretches) == 1:
        return stretches[0]
    found = {name: np.concatenate([each[name] for each in stretches]) for name in stretches[0]}
    if len(found[MISSING]):
        found[MISSING] = missing_of((each[MISSING], n_rows_of(each)) for each in stretches)
    return found


def n_rows_of(columns: Mapping[str, Column]) -> list[int]:
    """How many rows each column has: records, or cycles, not values."""
    return [columns.get(f"{name}/{LENGTHS}", columns[name]).shape[0] for name in columns]


def missing_of(stretches: Iterable[tuple[NDArray[Any], Sequence[int]]]) -> NDArray[Any]:
    """What is missing in stretches that follow each other, of what is in each, and the rows of its
    columns."""
    n_rows: NDArray[Any] = np.zeros(1, np.int64)
    shifted: list[NDArray[Any]] = [np.empty((0, 2), np.int64)]
    for missing, counts in stretches:
        places, rows = missing.T
        before = np.broadcast_to(n_rows, len(counts))
        shifted.append(np.stack([places, rows + before[places]], axis=1))
        n_rows = before + counts
    every = np.concatenate(shifted)
    return every[np.lexsort(every.T[::-1])]


def forms_of(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Type and shape of one row of each column."""
    return {name: (values.dtype, values.shape[1:]) for name, values in columns.items()}


@dataclass(frozen=True)
class Part:
    """An object with the tables of some cycles.

    Attributes
    ----------
    n_cycles : int
    ref : Ref
    """

    n_cycles: int
    ref: Ref

    def to_json(self) -> dict[str, Any]:
        return {"n_cycles": self.n_cycles, "object": self.ref.to_json()}


@dataclass(frozen=True)
class Recording:
    """What happened in the cycles of one run.

    Attributes
    ----------
    n_steps : int or None
        Of each segment; None where nobody knows.
    block_cycles : int
        Cycles of a full block.
    columns : tuple of str
        Sorted.
    tables : tuple of Part
        In the order of the cycles: full blocks, then what is left over.
    decisions : {name: number}
    summaries : {table: names of fields}
    topology : Text or None
        As the snapshot has it.
    frames : FramesSummary or None
        None for a run without frames.
    masses : array of float, shape (n_atoms,), Ref or None
        Of the atoms, Da; None where the runner knows none.
    step_size_ps : float or None
        Length of a step, ps.
    """

    n_steps: int | None
    block_cycles: int
    columns: tuple[str, ...]
    tables: tuple[Part, ...] = ()
    decisions: Mapping[str, int] = field(default_factory=dict)
    summaries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    topology: Text | Ref | None = None
    frames: FramesSummary | None = None
    # Of no account when recordings are compared: they follow from the start.
    masses: NDArray[np.float64] | Ref | None = field(default=None, compare=False, repr=False)
    step_size_ps: float | None = None

    def __repr__(self) -> str:
        made = f"{self.n_cycles} cycles of {self.n_steps} steps, {self.n_bytes} bytes"
        return f"Recording({made}, {len(self.columns)} columns)"

    @property
    def n_cycles(self) -> int:
        """Cycles that are recorded."""
        return sum(part.n_cycles for part in self.tables)

    @property
    def n_bytes(self) -> int:
        """The size of the objects with its tables."""
        return sum(part.ref.size for part in self.tables)

    @property
    def total_bytes(self) -> int:
        """The size of the objects with its tables and frames."""
        return self.n_bytes + (self.frames.n_bytes if self.frames is not None else 0)

    @property
    def n_full(self) -> int:
        """How many of the parts are full blocks."""
        return sum(part.n_cycles == self.block_cycles for part in self.tables)


def encode_recording(recording: Recording, sink: Sink) -> EntryRef:
    """Put a recording's manifest into `sink`; its objects are there."""
    topology = recording.topology
    if isinstance(topology, Text):
        topology = sink.put_text(topology)
    manifest: dict[str, Any] = {
        "type": "recording",
        "format": FORMAT,
        "n_cycles": recording.n_cycles,
        "n_steps": recording.n_steps,
        "block_cycles": recording.block_cycles,
        "columns": list(recording.columns),
        "tables": [part.to_json() for part in recording.tables],
        "decisions": dict(recording.decisions),
        "summaries": {table: list(names) for table, names in recording.summaries.items()},
        "topology": topology.to_json() if topology is not None else None,
    }
    frames, masses, step_size = recording.frames, recording.masses, recording.step_size_ps
    if any(each is not None for each in (frames, masses, step_size)) or recording.n_steps is None:
        if isinstance(masses, np.ndarray):
            masses = sink.put("objects", npy.array_buffers(masses, "masses"))
        manifest |= {
            "format": WITH_FRAMES if recording.n_steps is not None else IMPORTED,
            "frames": frames.to_json() if frames is not None else None,
            "masses": masses.to_json() if masses is not None else None,
            "step_size_ps": step_size,
        }
    return EntryRef("recordings", sink.put("recordings", canonical.dumps(manifest)))


def decode_recording(manifest: Any, where: str) -> Recording:
    """The recording of a manifest. Raises MalformedRecordError."""
    check_type(manifest, "recording", where)
    try:
        tables = tuple(part_of(each, where) for each in manifest["tables"])
        topology, columns = manifest["topology"], manifest["columns"]
        version, n_steps = manifest["format"], manifest["n_steps"]
        if (n_steps is None) != (version == IMPORTED):
            raise ValueError(f"no recording of format {version} has segments of {n_steps!r} steps")
        found = Recording(
            n_steps=None if n_steps is None else _number(n_steps),
            block_cycles=_number(manifest["block_cycles"], 1, _MOST_BLOCK_CYCLES + 1),
            columns=tuple(columns),
            tables=tables,
            decisions={str(n): _number(k) for n, k in manifest["decisions"].items()},
            summaries={t: [str(n) for n in names] for t, names in manifest["summaries"].items()},
            topology=None if topology is None else Ref.from_json(topology, where),
            **(_more_of(manifest, where) if version != FORMAT else {}),
        )
        if columns != sorted(set(columns)) or not {MISSING, N_WALKERS, WEIGHTS} <= set(columns):
            raise ValueError("its columns are not sorted, or there are no weights among them")
        if found.n_cycles != manifest["n_cycles"]:
            raise ValueError("its tables have not as many cycles as it says")
        rest = check_blocks([part.n_cycles for part in tables], found.block_cycles)
        if len(rest) > _MOST_PIECES:
            raise ValueError(f"it has {len(rest)} pieces that are no full blocks")
        check_left_over([part.ref for part in tables[found.n_full :]])
        return found
    except MISSHAPEN as problem:
        raise MalformedRecordError(
            where=where, what="recording", problem=f"{type(problem).__name__}: {problem}"
        ) from problem


def _more_of(manifest: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a manifest of a later format than the first has besides."""
    frames, masses, size = (manifest[key] for key in ("frames", "masses", "step_size_ps"))
    if size is not None and not (type(size) in (int, float) and 0 < size < _MOST):
        raise ValueError(f"{size!r:.40} is no length of a step")
    return {
        "frames": None if frames is None else FramesSummary.from_json(frames, where),
        "masses": None if masses is None else Ref.from_json(masses, where),
        "step_size_ps": size,
    }


def part_of(value: Any, where: str) -> Part:
    """The Part in a JSON value read from `where`. Raises one of MISSHAPEN, or BadJSONError."""
    only(value, "n_cycles", "object")
    return Part(_number(value["n_cycles"], 1), Ref.from_json(value["object"], where))


def _number(value: Any, least: int = 0, most: int = _MOST) -> int:
    # type(), not isinstance: True is an int.
    if type(value) is not int or not least <= value < most:
        raise ValueError(f"{value!r:.40} is not a number of cycles, steps or decisions")
    return value
