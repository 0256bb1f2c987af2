"""The layout of a WepyHDF5 file, and appending to it in blocks of cycles.

Written through h5py's low-level interface with dataset identifiers that stay
open: at a few atoms a walker the time goes into the calls, not into the bytes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t
from numpy.typing import NDArray

from wepystore.engine.record_tables import TABLES, RecordField
from wepystore.engine.topology import hdf5_topology_json
from wepystore.engine.walker import UNITS
from wepystore.errors import FailedError

#: Fields with one row for each atom: what `main_rep_idxs` selects from.
ATOM_FIELDS = ("positions", "velocities", "forces")

#: Fields that every file describes, saved or not.
_KNOWN_FIELDS: dict[str, tuple[int, ...]] = {
    "box_vectors": (3, 3),
    "box_volume": (1,),
    "kinetic_energy": (1,),
    "potential_energy": (1,),
    "time": (1,),
}

#: The table whose rows are one a cycle, and so name no cycle.
_CONTINUAL = "progress"

# Small frames share a chunk: one chunk of 48 bytes costs more in the index
# than in itself. Large ones get one each, so that one frame reads alone.
_CHUNK_BYTES = 4096
_RECORD_CHUNK = 512
_VLEN_CHUNK = 256

FLOAT = np.dtype(np.float64)
_INT = np.dtype(np.int64)


def feature(array: Any) -> NDArray[np.float64]:
    """A state field as readers expect it: of rank 1 at least."""
    return np.atleast_1d(np.asarray(array, dtype=np.float64))


class GapError(FailedError):
    """walker {walker} is there in cycle {cycle} and was not in the one before, as it was earlier:
    frames of a trajectory name no cycle, so a WepyHDF5 file cannot hold it; leave HDF5Reporter
    out, or let the resampler keep the number of walkers"""


class _Column:
    """An extendable dataset, appended to along its first axis."""

    __slots__ = ("_dataset", "_memory", "length", "shape")

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset.id
        self.length = int(dataset.shape[0])
        self.shape = tuple(dataset.shape[1:])
        vlen = h5py.check_vlen_dtype(dataset.dtype)
        self._memory = h5t.py_create(dataset.dtype) if vlen is not None else None

    def append(self, rows: NDArray[Any]) -> None:
        n_rows = len(rows)
        if not n_rows:
            return
        total = self.length + n_rows
        self._dataset.set_extent((total, *self.shape))
        where = self._dataset.get_space()
        where.select_hyperslab((self.length, *(0,) * len(self.shape)), (n_rows, *self.shape))
        self._dataset.write(h5s.create_simple(rows.shape), where, rows, self._memory)
        self.length = total

    def truncate(self, length: int) -> None:
        if length < self.length:
            self._dataset.set_extent((length, *self.shape))
            self.length = length

    def read(self) -> NDArray[Any]:
        rows: NDArray[Any] = h5py.Dataset(self._dataset)[...]
        return rows


def topology_of(text: str | None, n_atoms: int) -> str:
    """A topology (JSON) as readers want it; bare particles where there is none."""
    if text:
        return hdf5_topology_json(text)
    residue = {
        "index": 0,
        "name": "SYS",
        "resSeq": 1,
        "segmentID": "",
        "atoms": [{"index": i, "name": f"P{i}", "element": ""} for i in range(n_atoms)],
    }
    return json.dumps({"chains": [{"index": 0, "residues": [residue]}], "bonds": []})


def create_file(
    file: h5py.File,
    *,
    topology: str,
    n_atoms: int,
    n_dims: int,
    main_rep_idxs: Sequence[int] | NDArray[np.int64] | None,
    extra_fields: Mapping[str, tuple[int, ...]],
    record_names: Mapping[str, Sequence[str]],
    dtype: np.dtype[Any] = FLOAT,
) -> None:
    """Write what is true of all runs of a file, before any of them.

    Parameters
    ----------
    file : open for writing, empty
    topology : JSON of the whole system
    n_atoms : number of atoms saved; n_dims : columns of positions
    main_rep_idxs : the atoms saved; None for all
    extra_fields : shapes of fields saved beyond the well-known ones
    record_names : columns of each record table that are worth a summary
    dtype : of all fields
    """
    text = h5py.string_dtype()
    file.create_dataset("topology", data=topology, dtype=text)
    settings = file.create_group("_settings")
    settings["n_atoms"] = np.int64(n_atoms)
    settings["n_dims"] = np.int64(n_dims)
    kept = np.arange(n_atoms) if main_rep_idxs is None else np.asarray(main_rep_idxs)
    settings["main_rep_idxs"] = kept.astype(np.int64)
    settings.create_group("alt_reps_idxs")
    settings.create_dataset("sparse_fields", (0,), dtype=text, maxshape=(None,), chunks=(16,))
    settings.create_dataset(
        "continuations", (0, 2), dtype=np.int64, maxshape=(None, 2), chunks=(16, 2)
    )
    settings.create_group("field_feature_shapes")
    settings.create_group("field_feature_dtypes")
    file.create_group("units/units")
    shapes = dict.fromkeys(ATOM_FIELDS, (n_atoms, n_dims)) | _KNOWN_FIELDS
    for name, shape in (shapes | dict(extra_fields)).items():
        _describe(file, name, shape, dtype)
    for name, unit in UNITS.items():
        file["units/units"].create_dataset(f"{name}_unit", data=unit, dtype=text)
    for table, names in record_names.items():
        settings.create_dataset(
            f"record_fields/{table}",
            data=np.array(names, dtype=object),
            dtype=text,
            maxshape=(None,),
            chunks=(max(1, len(names)),),
        )
    file.create_group("runs")


def _describe(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    settings = file["_settings"]
    settings[f"field_feature_shapes/{name}"] = np.array(shape, dtype=np.int64)
    settings[f"field_feature_dtypes/{name}"] = json.dumps(dtype.descr)


class RunWriter:
    """A run of a WepyHDF5 file that is open for writing.

    Parameters
    ----------
    file : h5py.File
        What create_file has begun.
    run_idx : int
        Number of the run in it.
    """

    def __init__(self, file: h5py.File, run_idx: int = 0) -> None:
        self._file = file
        self._run_idx = run_idx
        self._trajectories: list[dict[str, _Column]] = []
        #: The cycle of the first frame of each.
        self._first_cycles: list[int] = []
        self._tables: dict[str, dict[str, _Column]] = {}
        self._fields: dict[str, tuple[RecordField, ...]] = {}
        self.n_cycles = 0

    @functools.cached_property
    def _run(self) -> h5py.Group:
        return self._file[f"runs/{self._run_idx}"]

    def create(
        self, decisions: Mapping[str, int], tables: Mapping[str, tuple[RecordField, ...]]
    ) -> None:
        """Write everything that is known of the run before its first cycle.

        Parameters
        ----------
        decisions : number of each decision
        tables : columns of each record table
        """
        run = self._file.create_group(f"runs/{self._run_idx}")
        run.attrs["run_idx"] = np.int64(self._run_idx)
        run.create_group("init_walkers")
        run.create_group("trajectories")
        for name, number in decisions.items():
            run[f"decision/{name}"] = np.int64(number)
        for table in TABLES:
            self._create_table(run.create_group(table), table, tables[table])

    def adopt(self, tables: Mapping[str, tuple[RecordField, ...]], n_cycles: int) -> None:
        """Take over a file written earlier, and drop what it holds past `n_cycles`.

        Raises
        ------
        ValueError
            The file holds fewer cycles than that, or other tables.
        """
        run = self._run
        groups = run["trajectories"]
        for walker in range(len(groups)):
            group = groups[str(walker)]
            born = int(group.attrs["cycle_idx"])
            if walker and born >= n_cycles:
                # It may come in another cycle this time.
                del groups[str(walker)]
                continue
            columns = {name: _Column(group[name]) for name in group}
            for each in columns.values():
                if walker == 0 and each.length < n_cycles:
                    raise ValueError(f"holds {each.length} cycles where {n_cycles} are expected")
                each.truncate(max(0, n_cycles - born))
            self._trajectories.append(columns)
            self._first_cycles.append(born)
        for table in TABLES:
            group = run[table]
            self._fields[table] = tables[table]
            columns = self._tables[table] = {name: _Column(group[name]) for name in group}
            missing = {field.name for field in tables[table]} - columns.keys()
            if missing:
                raise ValueError(f"has no {', '.join(sorted(missing))} among its {table} records")
            if table == _CONTINUAL:
                length = n_cycles
            else:
                length = int(np.searchsorted(columns["_cycle_idxs"].read(), n_cycles))
            for each in columns.values():
                each.truncate(length)
        # What an earlier end said of itself holds no more.
        run.attrs.pop("end_snapshot_hash", None)
        self.n_cycles = n_cycles

    def _create_table(self, group: Any, table: str, fields: tuple[RecordField, ...]) -> None:
        self._fields[table] = fields
        columns = self._tables[table] = {}
        if table != _CONTINUAL:
            columns["_cycle_idxs"] = _extendable(group, "_cycle_idxs", (), _INT, _RECORD_CHUNK)
        for field in fields:
            kind, shape, rows = h5py.vlen_dtype(field.dtype), field.shape or (), _VLEN_CHUNK
            if field.shape is not None:
                kind = field.dtype
                row_bytes = max(1, field.dtype.itemsize * int(np.prod(shape)))
                rows = max(1, min(_RECORD_CHUNK, 16 * _CHUNK_BYTES // row_bytes))
            columns[field.name] = _extendable(group, field.name, shape, kind, rows)

    def write_init_walkers(
        self, states: Sequence[Mapping[str, NDArray[np.float64]]], weights: Sequence[float]
    ) -> None:
        """Write the walkers a run starts from; arrays that walkers share are written once.

        Parameters
        ----------
        states : for each walker, the fields to save
        weights : one for each walker
        """
        groups = self._run["init_walkers"]
        written: dict[int, Any] = {}
        for walker, (state, weight) in enumerate(zip(states, weights, strict=True)):
            group = h5py.Group(h5g.create(groups.id, b"%d" % walker))
            put_dataset(group, "weights", np.array([[weight]], FLOAT))
            for name, array in state.items():
                known = written.get(id(array))
                if known is None:
                    # A hard link under the next walker's name is, to a reader, the same.
                    written[id(array)] = put_dataset(group, name, feature(array)[None])
                else:
                    group[name] = known

    def append_frames(
        self,
        first_cycle: int,
        weights: NDArray[np.float64],
        fields: Mapping[str, Sequence[Sequence[NDArray[np.float64]]]],
    ) -> None:
        """Append a block of cycles to the trajectories.

        Parameters
        ----------
        first_cycle : index of the first cycle of the block
        weights : shape (n_cycles, n_walkers)
        fields : {name: for each walker, its array of every cycle}

        Raises
        ------
        GapError : a walker was away for some cycles.
        """
        n_cycles, n_walkers = weights.shape
        known = zip(self._trajectories[:n_walkers], self._first_cycles, strict=False)
        for walker, (trajectory, born) in enumerate(known):
            if trajectory["weights"].length != first_cycle - born:
                raise GapError(walker=walker, cycle=first_cycle)
        stacks = {name: [_stacked(arrays) for arrays in each] for name, each in fields.items()}
        while len(self._trajectories) < n_walkers:
            walker = len(self._trajectories)
            shapes = {name: each[walker].shape[1:] for name, each in stacks.items()}
            self._add_trajectory(first_cycle, shapes)
        columns = np.ascontiguousarray(weights.T)
        for walker in range(n_walkers):
            trajectory = self._trajectories[walker]
            for name, each in stacks.items():
                trajectory[name].append(each[walker])
            trajectory["weights"].append(columns[walker, :, None])
        self.n_cycles = first_cycle + n_cycles

    def _add_trajectory(self, cycle: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        group = self.begin_trajectory(len(self._trajectories), cycle)
        columns = {}
        for name, shape in {**shapes, "weights": (1,)}.items():
            frames = max(1, _CHUNK_BYTES // max(1, 8 * int(np.prod(shape))))
            columns[name] = _extendable(group, name, shape, FLOAT, frames)
            if name != "weights" and name not in self._file["_settings/field_feature_shapes"]:
                _describe(self._file, name, shape, FLOAT)
        self._trajectories.append(columns)
        self._first_cycles.append(cycle)

    def begin_trajectory(self, walker: int, cycle: int) -> h5py.Group:
        """The group of a walker's trajectory, whose first frame is of this cycle: for datasets of
        its fields, shape (n_frames, *shape), and "weights", shape (n_frames, 1)."""
        group = h5g.create(self._run["trajectories"].id, b"%d" % walker)
        scalar = h5s.create(h5s.SCALAR)
        for name, number in ((b"run_idx", self._run_idx), (b"traj_idx", walker)):
            h5a.create(group, name, h5t.STD_I64LE, scalar).write(np.array(number, _INT))
        h5a.create(group, b"cycle_idx", h5t.STD_I64LE, scalar).write(np.array(cycle, _INT))
        return h5py.Group(group)

    def append_records(self, table: str, cycles: Sequence[int], values: Mapping[str, Any]) -> None:
        """Append records to a table.

        Parameters
        ----------
        table : one of `records.TABLES`
        cycles : the cycle of each record
        values : {column: what `records.column` gives for these records}
        """
        if not len(cycles):
            return
        columns = self._tables[table]
        if table != _CONTINUAL:
            columns["_cycle_idxs"].append(np.asarray(cycles, dtype=np.int64))
        for name, rows in values.items():
            if isinstance(rows, list):
                held = np.empty(len(rows), dtype=object)
                held[:] = rows
                rows = held
            columns[name].append(rows)

    def frame_fields(self) -> frozenset[str]:
        """The state fields that the trajectories have; none before the first cycle."""
        first = self._trajectories[0] if self._trajectories else {}
        return frozenset(first) - {"weights"}

    def fields(self, table: str) -> tuple[RecordField, ...]:
        """The columns of a table."""
        return self._fields[table]

    def annotate(self, facts: Mapping[str, Any]) -> None:
        """Keep facts as attributes of the run."""
        attributes = self._run.attrs
        for name, value in facts.items():
            attributes[name] = value


def _stacked(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One array of all frames, of rank 2 at least."""
    first = arrays[0]
    if first.ndim == 0:
        return np.array(arrays, dtype=np.float64)[:, None]
    # np.stack does the same and spends its time on checking shapes in Python.
    return np.concatenate(arrays).reshape(len(arrays), *first.shape)


def put_dataset(group: h5py.Group, name: str, array: NDArray[Any]) -> h5py.Dataset:
    """A dataset of a group with these numbers."""
    space, kind = h5s.create_simple(array.shape), h5t.py_create(array.dtype)
    made = h5d.create(group.id, name.encode(), kind, space)
    made.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(array))
    return h5py.Dataset(made)


def _extendable(group: Any, name: str, shape: tuple[int, ...], dtype: Any, rows: int) -> _Column:
    """A dataset of no rows that can grow, `rows` to a chunk."""
    access = h5p.create(h5p.DATASET_ACCESS)
    # HDF5 would keep up to a megabyte of chunks for every one of the many
    # datasets; only the last, unfinished chunk is ever needed again.
    access.set_chunk_cache(17, 64 * 1024, 1.0)
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_chunk((rows, *(max(1, length) for length in shape)))
    creation.set_fill_time(h5d.FILL_TIME_IFSET)
    space = h5s.create_simple((0, *shape), (h5s.UNLIMITED, *shape))
    kind = h5t.py_create(np.dtype(dtype), logical=True)
    dataset = h5d.create(group.id, name.encode(), kind, space, creation, None, access)
    return _Column(h5py.Dataset(dataset))
