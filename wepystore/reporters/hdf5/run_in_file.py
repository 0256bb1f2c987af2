"""Reading WepyHDF5 files, of this package and of wepy's, that may be anybody's.

Nothing but what the layout says is looked at, and that with care (members.py).
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from wepystore.engine.kept_frames import OF_ATOMS
from wepystore.engine.record_fields import Ragged, RecordColumns
from wepystore.engine.record_tables import TABLES, RecordField
from wepystore.engine.topology import TopologyError, hdf5_topology_json
from wepystore.errors import FailedError
from wepystore.reporters.hdf5.journal import journal_name
from wepystore.reporters.hdf5.members import Members, is_packed, plain_name, understood

#: So much is read at once, about.
_BLOCK_BYTES = 1 << 24

#: The table with one row a cycle.
_CONTINUAL = "progress"
_CYCLES = "_cycle_idxs"
_WEIGHTS = "weights"
#: What is in the group of a field that is there in some cycles.
_SPARSE_DATA, _SPARSE_CYCLES = "data", "_sparse_idxs"

#: Attributes of a run in the file.
_FACTS = ("start_snapshot_hash", "end_snapshot_hash", "config_hash", "seed", "n_segment_steps")


class NoSuchRunInFileError(FailedError):
    """{file} has no run {run}: it has {there}"""


class SeveralRunsInFileError(FailedError):
    """{file} has the runs {there}: say which one"""


class WepyHDF5File:
    """A file that is open for reading; use as `with WepyHDF5File(path) as held`.

    Raises
    ------
    OSError : there is no such file.
    UnreadableHDF5Error : it is none of these files; also later, when more of it is read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        facts = os.stat(self.path)
        with understood(self.path):
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError("it is no plain file")
            if os.path.lexists(journal_name(self.path)):
                raise ValueError("its job was killed while writing, and has to be resumed first")
            self._file = h5py.File(self.path, "r")
        self._members = Members(facts.st_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def run(self, run_idx: int | None = None) -> RunInFile:
        """One of its runs; the only one if None. Raises NoSuchRunInFileError,
        SeveralRunsInFileError."""
        with understood(self.path):
            runs = self._members.group(self._file, "runs")
            numbers = sorted(int(name) for name in runs if name.isdecimal())
        there = ", ".join(map(str, numbers[:20])) + (", …" if len(numbers) > 20 else "")
        if run_idx is None and len(numbers) > 1:
            raise SeveralRunsInFileError(file=self.path, there=there)
        number = run_idx if run_idx is not None else next(iter(numbers), 0)
        if number not in numbers:
            raise NoSuchRunInFileError(file=self.path, run=number, there=there or "none")
        with understood(self.path):
            return RunInFile(
                self.path, self._members, self._file, self._members.group(runs, str(number))
            )


@dataclass(frozen=True)
class Stretch:
    """Some cycles of a run.

    Attributes
    ----------
    first_cycle : int
    weights : list of array, shape (n_walkers,)
        Of each cycle.
    states : list of {field: array, shape (n_walkers, …)}
        Of each cycle, those that are there in it.
    records : list of {table: records}
        Of each cycle; of progress {field: values}.
    """

    first_cycle: int
    weights: list[NDArray[np.float64]]
    states: list[dict[str, NDArray[Any]]]
    records: list[dict[str, Any]]


class RunInFile:
    """One run of a file: its walkers after the segments of each cycle, and what was recorded.

    Attributes
    ----------
    facts : dict
        What the file says of the run: start_snapshot_hash, end_snapshot_hash, config_hash, seed,
        n_segment_steps, as far as it does.
    n_walkers : array of int, shape (n_cycles,)
    shapes : {field: shape in one frame}
        Of the fields that all walkers have, in all cycles or in some.
    sparse : {field: array of int}
        The cycles that those fields are there in that are not there in all.
    atoms : array of int, shape (n,), or None
        Which atoms positions, velocities and forces are of, perhaps all; None for all.
    fields : {table: tuple of RecordField}
    """

    def __init__(self, path: str, members: Members, file: Any, run: Any) -> None:
        self._path, self._members, self._file, self._run = path, members, file, run
        self.facts = _facts(run)
        self._walkers = self._trajectories()
        self._columns: dict[str, list[Any]] = {}
        self.sparse: dict[str, NDArray[np.int64]] = {}
        self._sparse_cycles: dict[str, list[NDArray[np.int64]]] = {}
        self.shapes = self._shapes()
        self.atoms = self._chosen_atoms()
        self._tables: dict[str, dict[str, Any]] = {}
        self._starts: dict[str, NDArray[np.int64]] = {}
        self._seen: set[Any] = set()
        self.fields = {table: self._table(table) for table in TABLES}

    # ---- what there is

    def _trajectories(self) -> list[Any]:
        """The group of each walker; and from when to when each is there."""
        group = self._members.group(self._run, "trajectories")
        found = [self._members.group(group, str(number)) for number in range(len(group))]
        first = [int(each.attrs.get("cycle_idx", 0)) for each in found]
        weights = [self._members.dataset(each, _WEIGHTS) for each in found]
        # Of rows that hold nothing a file of any size may have any number.
        if any(each.shape[1:] not in ((1,), ()) for each in weights):
            raise ValueError("weights are not one number for each walker")
        lengths = [len(each) for each in weights]
        last = [start + length for start, length in zip(first, lengths, strict=True)]
        if sorted(first) != first or sorted(last, reverse=True) != last or any(first[:1]):
            raise ValueError("its walkers are not there one after the other")
        n_cycles = last[0] if last else 0
        counts = np.zeros(n_cycles + 1, np.int64)
        np.add.at(counts, first, 1)
        np.add.at(counts, last, -1)
        self.n_walkers = np.cumsum(counts)[:n_cycles]
        self._spans = list(zip(first, last, strict=True))
        return found

    @property
    def n_cycles(self) -> int:
        return len(self.n_walkers)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        if not self._walkers:
            return {}
        first = self._walkers[0]
        groups = [n for n in first if isinstance(self._members.member(first, n), h5py.Group)]
        shapes: dict[str, tuple[int, ...]] = {}
        for name in (*(name for name in first if name not in (_WEIGHTS, *groups)), _WEIGHTS):
            held = [self._members.dataset(each, name) for each in self._walkers]
            for (start, stop), each in zip(self._spans, held, strict=True):
                if len(each) != stop - start:
                    raise ValueError(f"{each.name} is no number for each cycle")
            shapes[plain_name(name)] = self._column(name, held)
        for name in groups:
            # wepy's other representations of atoms are groups of groups.
            if first[name].keys() == {_SPARSE_DATA, _SPARSE_CYCLES}:
                shapes[plain_name(name)] = self._sparse_column(name)
        held = [each for column in self._columns.values() for each in column]
        total = sum(each.nbytes for each in held)
        # Several names may stand for one dataset.
        if total > self._members.most(any(map(is_packed, held))):
            raise ValueError(f"its walkers would have {total} bytes, more than the file can hold")
        del shapes[_WEIGHTS]
        return shapes

    def _column(self, name: str, held: list[Any]) -> tuple[int, ...]:
        """Take in a field of all walkers; its shape."""
        for each in held:
            if each.dtype.kind not in "fiu" or each.ndim < 1:
                raise ValueError(f"{each.name} is no number for each cycle")
            if each.shape[1:] != held[0].shape[1:]:
                raise ValueError(f"{each.name} has another shape than that of walker 0")
        self._columns[name] = held
        shape: tuple[int, ...] = held[0].shape[1:]
        return shape

    def _sparse_column(self, name: str) -> tuple[int, ...]:
        """Take in a field that walkers have in some cycles; its shape."""
        groups = [self._members.group(each, name) for each in self._walkers]
        shape = self._column(name, [self._members.dataset(e, _SPARSE_DATA) for e in groups])
        found = self._sparse_cycles[name] = []
        for (start, stop), group, data in zip(
            self._spans, groups, self._columns[name], strict=True
        ):
            listed = self._members.dataset(group, _SPARSE_CYCLES)
            if listed.ndim != 1 or listed.dtype.kind not in "iu" or len(listed) != len(data):
                raise ValueError(f"{listed.name} are no numbers of frames")
            cycles = listed[:].astype(np.int64) + start
            found.append(cycles)
            theirs = found[0][(found[0] >= start) & (found[0] < stop)]
            if (np.diff(cycles) <= 0).any() or not np.array_equal(cycles, theirs):
                raise ValueError(f"{listed.name} are not those of its cycles that walker 0 has")
        self.sparse[name] = found[0]
        return shape

    def _chosen_atoms(self) -> NDArray[np.int64] | None:
        settings = self._members.group(self._file, "_settings")
        if not self._members.has(settings, "main_rep_idxs"):
            return None
        chosen = self._members.dataset(settings, "main_rep_idxs")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise ValueError(f"{chosen.name} are no numbers of atoms")
        found: NDArray[np.int64] = chosen[:].astype(np.int64)
        if not len(found) or found.min() < 0 or len(np.unique(found)) < len(found):
            raise ValueError(f"{chosen.name} are no numbers of atoms")
        for name in OF_ATOMS:
            shape = self.shapes.get(name)
            if shape is not None and shape[:1] != found.shape:
                raise ValueError(f"its {name} are not of as many atoms as {chosen.name}")
        return found

    def _table(self, table: str) -> tuple[RecordField, ...]:
        self._tables[table] = {}
        if not self._members.has(self._run, table):
            return ()
        group = self._members.group(self._run, table)
        names = [name for name in group if name != _CYCLES]
        held = {plain_name(name): self._members.dataset(group, name) for name in names}
        if "cycle_idx" in held:
            raise ValueError(f"{group.name} has a field of a name that is taken")
        n_rows = self.n_cycles
        if table != _CONTINUAL and held:
            numbers = self._cycles_of_records(group)
            n_rows = len(numbers)
            self._starts[table] = np.searchsorted(numbers, np.arange(self.n_cycles + 1))
        for each in held.values():
            if each.ndim < 1 or len(each) != n_rows:
                raise ValueError(f"{each.name} has not a row for each of {n_rows} records")
            place = h5py.h5o.get_info(each.id).addr
            if place in self._seen:
                raise ValueError(f"{each.name} has another name, too")
            self._seen.add(place)
        self._tables[table] = held
        return tuple(_field(name, each) for name, each in held.items())

    def _cycles_of_records(self, group: Any) -> NDArray[np.int64]:
        """The cycle of each record of a table."""
        cycles = self._members.dataset(group, _CYCLES)
        if cycles.ndim != 1 or cycles.dtype.kind not in "iu":
            raise ValueError(f"{cycles.name} are no numbers of cycles")
        numbers: NDArray[np.int64] = cycles[:].astype(np.int64)
        inside = (numbers >= 0) & (numbers < self.n_cycles)
        if not inside.all() or (np.diff(numbers) < 0).any():
            raise ValueError(f"{cycles.name} are not its cycles, one after the other")
        return numbers

    @cached_property
    def summaries(self) -> dict[str, list[str]]:
        """The names of those fields of each table that belong into a summary."""
        with understood(self._path):
            settings = self._members.group(self._file, "_settings")
            if not self._members.has(settings, "record_fields"):
                return {table: [] for table in TABLES}
            listed = self._members.group(settings, "record_fields")
            found = {}
            for table in TABLES:
                names: Sequence[Any] = ()
                if self._members.has(listed, table):
                    names = self._members.dataset(listed, table).asstr()[:].ravel().tolist()
                there = {each.name for each in self.fields[table]}
                found[table] = [name for name in names if name in there]
            return found

    @cached_property
    def decisions(self) -> dict[str, int]:
        """The number of each decision of its resampler."""
        with understood(self._path):
            if not self._members.has(self._run, "decision"):
                return {}
            group = self._members.group(self._run, "decision")
            return {plain_name(n): int(self._members.dataset(group, n)[()]) for n in group}

    @cached_property
    def topology(self) -> str | None:
        """As canonical JSON (engine.topology.hdf5_topology_json)."""
        with understood(self._path):
            if not self._members.has(self._file, "topology"):
                return None
            try:
                return hdf5_topology_json(self._members.text(self._file, "topology"))
            except TopologyError as problem:
                raise ValueError(problem) from problem

    def beginning(self) -> Iterator[tuple[float, NDArray[Any] | None]]:
        """Weight and positions of each walker that the run began with; positions are of `atoms`,
        or None. Nothing where the file does not tell."""
        with understood(self._path):
            if not self._members.has(self._run, "init_walkers"):
                return
            group = self._members.group(self._run, "init_walkers")
            numbers = range(len(group))
        for number in numbers:
            with understood(self._path):
                walker = self._members.group(group, str(number))
                weight = float(self._members.dataset(walker, _WEIGHTS)[()].reshape(()))
                positions = None
                if self._members.has(walker, "positions"):
                    positions = self._members.dataset(walker, "positions")[0].astype(np.float64)
                    atoms = self.atoms
                    # wepy keeps all atoms of these, whichever it keeps of the rest.
                    if atoms is not None and atoms.max() < len(positions) != len(atoms):
                        positions = positions[atoms]
            yield weight, positions

    # ---- what happened

    def stretches(self, names: Sequence[str]) -> Iterator[Stretch]:
        """All cycles, some at a time; of the states these fields."""
        frame = 8 * (1 + sum(math.prod(self.shapes[name]) for name in names))
        start = 0
        while start < self.n_cycles:
            # As many as are no more than that with the most walkers that there are.
            most = max(1, _BLOCK_BYTES // (frame * int(self.n_walkers.max())))
            stop = min(self.n_cycles, start + most)
            yield self.stretch(start, stop, names)
            start = stop

    def stretch(self, start: int, stop: int, names: Sequence[str]) -> Stretch:
        """The cycles from `start` to before `stop`."""
        with understood(self._path):
            counts = self.n_walkers[start:stop].tolist()
            arrays = {name: self._states(name, start, stop, max(counts)) for name in names}
            there = {n: np.isin(np.arange(start, stop), self.sparse[n]) for n in self.sparse}
            weights = self._states(_WEIGHTS, start, stop, max(counts)).reshape(len(counts), -1)
            return Stretch(
                start,
                [weights[k, :n].copy() for k, n in enumerate(counts)],
                [
                    {f: e[k, :n] for f, e in arrays.items() if f not in there or there[f][k]}
                    for k, n in enumerate(counts)
                ],
                self._records(start, stop),
            )

    def _states(self, name: str, start: int, stop: int, n_walkers: int) -> NDArray[np.float64]:
        """A field of all walkers; shape (n_cycles, n_walkers, …)."""
        columns = self._columns[name][:n_walkers]
        found = np.full((stop - start, n_walkers, *columns[0].shape[1:]), np.nan)
        for walker, column in enumerate(columns):
            first, last = self._spans[walker]
            begin, end = max(start, first), min(stop, last)
            if name in self.sparse:
                cycles = self._sparse_cycles[name][walker]
                rows = slice(*np.searchsorted(cycles, [begin, end]))
                found[cycles[rows] - start, walker] = column[rows]
            elif begin < end:
                found[begin - start : end - start, walker] = column[begin - first : end - first]
        return found

    def _records(self, start: int, stop: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{} for _ in range(start, stop)]
        for table, columns in self._tables.items():
            edges = self._starts.get(table)
            rows = np.arange(start, stop + 1) if edges is None else edges[start : stop + 1]
            first, last = int(rows[0]), int(rows[-1])
            read = {n: self._members.rows(each, first, last) for n, each in columns.items()}
            cut = {name: _cutter(each) for name, each in read.items()}
            for place, each in enumerate(found):
                begin, end = int(rows[place]) - first, int(rows[place + 1]) - first
                held = {name: of(begin, end) for name, of in cut.items()}
                if table == _CONTINUAL:
                    each[table] = {
                        n: v.values if isinstance(v, Ragged) else v[0] for n, v in held.items()
                    }
                else:
                    each[table] = RecordColumns(**held) if held else []
        return found


def _cutter(column: NDArray[Any] | Ragged) -> Callable[[int, int], NDArray[Any] | Ragged]:
    """What gives the rows of a column from one to before another."""
    if not isinstance(column, Ragged):
        return lambda begin, end: column[begin:end]
    edges = np.concatenate([[0], np.cumsum(column.lengths)])
    return lambda begin, end: Ragged(
        column.values[edges[begin] : edges[end]], column.lengths[begin:end]
    )


def _field(name: str, dataset: Any) -> RecordField:
    """What a column of records is. Raises ValueError for one that holds no numbers or texts."""
    base = h5py.check_vlen_dtype(dataset.dtype)
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if is_text:
        shape, dtype = (), np.dtype(object)
        if dataset.ndim != 1 and dataset.shape[1:] != (1,):
            raise ValueError(f"{dataset.name} has not one text for each record")
    elif base is not None:
        shape, dtype = None, np.dtype(base)
        if dataset.ndim != 1:
            raise ValueError(f"{dataset.name} has several rows of any length for each record")
    else:
        shape, dtype = dataset.shape[1:], dataset.dtype
    if not is_text and dtype.kind not in "fiub":
        raise ValueError(f"{dataset.name} holds neither numbers nor texts")
    return RecordField(name, shape, dtype)


def _facts(run: Any) -> Mapping[str, str | int]:
    found: dict[str, str | int] = {}
    for name in _FACTS:
        value = run.attrs.get(name)
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str | int | np.integer):
            found[name] = value if isinstance(value, str) else int(value)
    return found
