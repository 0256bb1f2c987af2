"""The layout of a WepyHDF5 file, and appending to it in blocks of cycles.

Written through h5py's low-level interface with dataset identifiers that stay
open: at a few atoms a walker the time goes into the calls, not into the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from wepystore.engine.record_tables import TABLES, RecordField
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

_FLOAT = np.dtype(np.float64)
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


class RunWriter:
    """Run 0 of a WepyHDF5 file that is open for writing.

    Parameters
    ----------
    file : h5py.File
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._trajectories: list[dict[str, _Column]] = []
        #: The cycle of the first frame of each.
        self._first_cycles: list[int] = []
        self._tables: dict[str, dict[str, _Column]] = {}
        self._fields: dict[str, tuple[RecordField, ...]] = {}
        self.n_cycles = 0

    def create(
        self,
        *,
        topology: str,
        n_atoms: int,
        n_dims: int,
        main_rep_idxs: Sequence[int] | None,
        extra_fields: Mapping[str, tuple[int, ...]],
        decisions: Mapping[str, int],
        tables: Mapping[str, tuple[RecordField, ...]],
        record_names: Mapping[str, Sequence[str]],
    ) -> None:
        """Write everything that is known before the first cycle.

        Parameters
        ----------
        topology : JSON of the whole system
        n_atoms : number of atoms saved; n_dims : columns of positions
        main_rep_idxs : the atoms saved; None for all
        extra_fields : shapes of fields saved beyond the well-known ones
        decisions : number of each decision
        tables, record_names : columns of each record table, and those worth a summary
        """
        file = self._file
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
            self._describe(name, shape)
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
        run = file.create_group("runs/0")
        run.attrs["run_idx"] = np.int64(0)
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
        run = self._file["runs/0"]
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

    def _describe(self, name: str, shape: tuple[int, ...]) -> None:
        settings = self._file["_settings"]
        settings[f"field_feature_shapes/{name}"] = np.array(shape, dtype=np.int64)
        settings[f"field_feature_dtypes/{name}"] = json.dumps(_FLOAT.descr)

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
        groups = self._file["runs/0/init_walkers"]
        written: dict[int, Any] = {}
        for walker, (state, weight) in enumerate(zip(states, weights, strict=True)):
            group = groups.create_group(str(walker))
            group["weights"] = np.array([[weight]])
            for name, array in state.items():
                known = written.get(id(array))
                if known is None:
                    # A hard link under the next walker's name is, to a reader, the same.
                    written[id(array)] = group.create_dataset(name, data=feature(array)[None])
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
        walker = len(self._trajectories)
        group = self._file["runs/0/trajectories"].create_group(str(walker))
        group.attrs["run_idx"] = np.int64(0)
        group.attrs["traj_idx"] = np.int64(walker)
        group.attrs["cycle_idx"] = np.int64(cycle)
        columns = {}
        for name, shape in {**shapes, "weights": (1,)}.items():
            frames = max(1, _CHUNK_BYTES // max(1, 8 * int(np.prod(shape))))
            columns[name] = _extendable(group, name, shape, _FLOAT, frames)
            if name != "weights" and name not in self._file["_settings/field_feature_shapes"]:
                self._describe(name, shape)
        self._trajectories.append(columns)
        self._first_cycles.append(cycle)

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
        attributes = self._file["runs/0"].attrs
        for name, value in facts.items():
            attributes[name] = value


def _stacked(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One array of all frames, of rank 2 at least."""
    first = arrays[0]
    if first.ndim == 0:
        return np.array(arrays, dtype=np.float64)[:, None]
    # np.stack does the same and spends its time on checking shapes in Python.
    return np.concatenate(arrays).reshape(len(arrays), *first.shape)


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
