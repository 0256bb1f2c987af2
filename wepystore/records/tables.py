"""The tables of a run's recording, or of those of runs that continue each other, to be read."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.record_tables import TABLES
from wepystore.errors import FailedError
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.parts import cut, needed_for, read_columns, read_part
from wepystore.records.recording import (
    CONTINUAL,
    CYCLE_IDX,
    LENGTHS,
    MISSING,
    N_WALKERS,
    Column,
    Columns,
    Part,
    Recording,
    decode_recording,
    forms_of,
    joined,
    missing_of,
    n_rows_of,
)
from wepystore.records.run import RunRecord
from wepystore.records.values import Fetch, reading
from wepystore.store.store import Store

#: Of a stranger's recording a few numbers could ask for any amount of memory: so many times what
#: there is, or so much at least, is not too much.
_MOST_EMPTY, _LITTLE = 64, 1 << 24


class NotRecordedError(FailedError):
    """nothing is recorded of run {run}: it was made by an older version, or by wepy 1.x; if there
    is a WepyHDF5 file of it, '{to_attach}' puts that in place"""


class NotJoinableError(FailedError):
    """the history of run {run} cannot be joined: {why}"""


def read_recording(store: Store, record: RunRecord) -> Recording | None:
    """The recording of a run, verified; its tables are not read. None for a run without. Raises
    DamagedError."""
    if record.recording is None:
        return None
    md5, ref = record.recording.md5, record.recording.ref
    found = decode_recording(store.manifest("recordings", md5, ref), f"recording {md5}")
    if (found.n_cycles, found.n_steps) != (record.n_cycles, record.n_steps):
        problem = (
            f"it has {found.n_cycles} cycles of {found.n_steps} steps, and the run "
            f"{record.n_cycles} of {record.n_steps}"
        )
        raise MalformedRecordError(where=f"recording {md5}", what="recording", problem=problem)
    return found


class RunSpan(NamedTuple):
    """Where the cycles of one run are in tables.

    Attributes
    ----------
    run : str
        Hash of its record.
    first_cycle : int
    n_cycles : int
    n_steps : int or None
        Of each segment.
    """

    run: str
    first_cycle: int
    n_cycles: int
    n_steps: int | None


class _Part(NamedTuple):
    """One of the objects of one of the runs."""

    run: str
    part: Part
    first_cycle: int
    #: As many of its cycles count.
    n_cycles: int
    #: Cycles before those of its run.
    shift: int


def _read_of(columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    """Those of the columns that were read."""
    return {name: array for name, array in columns.items() if isinstance(array, np.ndarray)}


def _joined(name: str, parts: Sequence[Mapping[str, Column]]) -> NDArray[Any]:
    """One column of all of these."""
    if name == MISSING:
        return missing_of((np.asarray(part[MISSING]), n_rows_of(part)) for part in parts)
    return np.concatenate([np.asarray(part[name]) for part in parts]) if parts else np.empty(0)


class RunTables(Mapping[str, NDArray[Any]]):
    """What is recorded of a run: a mapping from the name of a column to its array.

    Nothing is read before it is asked for, and then only that.

    Parameters
    ----------
    runs : sequence of (hash of a record, its Recording, cycles)
        Those that follow each other, and how many of the cycles of each.
    source : Store or callable
        Of a store the bytes of an object are not verified, but its name, its size, and that what is
        read goes together. What a callable gives for a Ref is a whole object, verified; the last
        one, 16 MiB or so, is kept in memory.

    Attributes
    ----------
    recording : Recording
        Cycles, numbers of decisions, fields for a summary. Where runs continue each other, as if
        they were one; steps of a segment are those of the last.
    runs : list of RunSpan
        Whose cycles these are.
    """

    def __init__(self, runs: Sequence[tuple[str, Recording, int]], source: Store | Fetch) -> None:
        self._source = source
        self._parts: list[_Part] = []
        self.runs: list[RunSpan] = []
        first = 0
        last_run, last, _ = runs[-1]
        for run, recording, n_cycles in runs:
            if (recording.columns, recording.decisions) != (last.columns, last.decisions):
                why = f"run {run} has other columns or decisions recorded"
                raise NotJoinableError(run=last_run, why=why)
            self.runs.append(RunSpan(run, first, n_cycles, recording.n_steps))
            done = 0
            for part in recording.tables:
                kept = min(part.n_cycles, n_cycles - done)
                if kept > 0:
                    self._parts.append(_Part(run, part, first + done, kept, first))
                done += part.n_cycles
            first += n_cycles
        tables = tuple(Part(each.n_cycles, each.part.ref) for each in self._parts)
        self.recording = replace(last, tables=tables)
        self._forms: dict[str, Any] = {}
        self._verified: tuple[int, Columns] = (-1, {})

    def _columns(self, place: int, wanted: Container[str]) -> dict[str, Column]:
        """The columns of one of the parts as they are stored; those that are wanted are read."""
        part, where = self._parts[place].part, f"the recording of {self._parts[place].run}"
        names = self.recording.columns
        if isinstance(self._source, Store):
            return read_columns(part, names, wanted, self._source, where)
        if self._verified[0] != place:
            self._verified = (-1, {})
            self._verified = (place, read_part(part, names, self._source, where))
        # A view would keep all of what was read.
        return {
            name: array.copy() if name in wanted else npy.Placed(array.dtype, array.shape)
            for name, array in self._verified[1].items()
        }

    def _part(self, place: int, names: Collection[str]) -> dict[str, Column]:
        """The columns of one of the parts, of which those of these names are read, as they are in
        these tables."""
        each = self._parts[place]
        to_cut = each.n_cycles < each.part.n_cycles
        found = self._columns(place, needed_for(names, self.recording.columns, to_cut))
        self._forms = self._forms or forms_of(found)
        if forms_of(found) != self._forms:
            problem = "its columns are not of the types and shapes of those before"
            where = f"the recording of {each.run}"
            raise MalformedRecordError(where=where, what="table", problem=problem)
        read = _read_of(found)
        for name in read if each.shift else ():
            table, _, field = name.partition("/")
            if field == CYCLE_IDX and table != CONTINUAL:
                read[name] = read[name] + each.shift
        if to_cut:
            with reading("table", f"the recording of {each.run}"):
                stop = each.first_cycle + each.n_cycles
                read = dict(cut(read, each.first_cycle, each.first_cycle, stop))
        return found | read

    def _every(self, names: Collection[str]) -> list[dict[str, Column]]:
        """All parts, as `_part`."""
        # Blocks in which the same happened are one object.
        read: dict[tuple[Part, int, int], dict[str, Column]] = {}
        found = []
        for place, each in enumerate(self._parts):
            key = (each.part, each.n_cycles, each.shift)
            if key not in read:
                read[key] = self._part(place, names)
            found.append(read[key])
        return found

    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Several columns, of all cycles; each object is opened once.

        Raises KeyError for a name that there is not, DamagedError for what cannot be read.
        """
        for name in names:
            if name not in self.recording.columns:
                raise KeyError(name)
        parts = self._every(names)
        try:
            return {name: _joined(name, parts) for name in names}
        except MemoryError as problem:
            where = f"the recording of {self.runs[-1].run}"
            raise MalformedRecordError(where=where, what="table", problem=problem) from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column, of all cycles. Raises as read."""
        return self.read([name])[name]

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns of one table by the names of its fields.

        Parameters
        ----------
        name : str
            resampling, resampler, warping, progress or boundary_conditions.

        Raises KeyError for any other. What a run's components record nothing in has no columns.
        """
        if name not in TABLES:
            raise KeyError(f"{name!r} is no table; there are {', '.join(TABLES)}")
        prefix = f"{name}/"
        found = self.read([each for each in self if each.startswith(prefix)])
        return {each.removeprefix(prefix): column for each, column in found.items()}

    def by_walker(self, name: str) -> NDArray[np.float64]:
        """A column that has one number for each walker of each cycle, such as "weights" or
        "progress/distances"; shape (n_cycles, n_walkers), NaN where a walker was not there.

        Raises ValueError for a column that has not, and as read.
        """
        lengths = f"{name}/{LENGTHS}"
        found = self.read([N_WALKERS, name, *[each for each in self if each == lengths]])
        counts, held = found[N_WALKERS], found[name]
        shape = (len(counts), int(counts.max(initial=0)))
        fits = held.shape == (int(counts.sum()),)
        # As many in all may be more of one cycle, and fewer of another.
        if not fits or not np.array_equal(found.get(lengths, counts), counts):
            raise ValueError(f"{name} has not one number for each walker of each cycle")
        if shape[0] * shape[1] > max(_LITTLE, _MOST_EMPTY * (len(held) + len(counts))):
            raise ValueError(f"nearly all of an array of shape {shape} would be empty")
        values = np.full(shape, np.nan)
        values[np.arange(values.shape[1]) < counts[:, None]] = held
        return values

    def cycles(self, start: int, stop: int) -> Columns:
        """All columns of the cycles from `start` to before `stop`, of which there is one at least.
        Raises DamagedError."""
        found = []
        for place, each in enumerate(self._parts):
            first = each.first_cycle
            begin, end = max(start, first), min(stop, first + each.n_cycles)
            if begin < end:
                columns = _read_of(self._part(place, self.recording.columns))
                with reading("table", f"the recording of {each.run}"):
                    found.append(cut(columns, first, begin, end))
        return joined(found)

    def __contains__(self, name: object) -> bool:
        # A Mapping would read the column to find out.
        return name in self.recording.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.recording.columns)

    def __len__(self) -> int:
        return len(self.recording.columns)

    def _fields(self) -> dict[str, list[str]]:
        """The names of the columns, by table."""
        found: dict[str, list[str]] = {}
        for name in self:
            table, _, column = name.partition("/")
            found.setdefault(table, []).extend([column] if column else [])
        return found

    def __repr__(self) -> str:
        runs = f" of {len(self.runs)} runs" if len(self.runs) > 1 else ""
        # The names may be a stranger's.
        tables = ascii(", ".join(self._fields()))[1:-1]
        return f"<RunTables: {self.recording.n_cycles} cycles{runs}; {tables}>"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{escape(table)}</th><td>{escape(', '.join(fields))}</td></tr>"
            for table, fields in self._fields().items()
        )
        return f"<table><caption>{escape(repr(self))}</caption>{''.join(rows)}</table>"
