"""HDF5Reporter: every walker of every cycle in a WepyHDF5 file."""

from __future__ import annotations

import errno
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import weights_of
from wepystore.engine.protocols import StructureCapabilities
from wepystore.engine.record_tables import (
    REPORT_KEYS,
    TABLES,
    column,
    table_fields,
    table_record_names,
)
from wepystore.engine.resamplers.decision import decision_numbers
from wepystore.engine.walker import BOX_FIELDS, Walker, WalkerState
from wepystore.errors import FailedError
from wepystore.reporters.base import Reporter, named_errors
from wepystore.reporters.hdf5.journal import JournaledHDF5
from wepystore.reporters.hdf5.layout import ATOM_FIELDS, RunWriter, create_file, topology_of

# A block is written when any of these is reached: so much memory, so many
# cycles, so long since the last one. So the file of a running job is never much
# behind, and where cycles take long, each is written when it is done.
_MAX_BYTES = 64 * 1024 * 1024
_MAX_CYCLES = 512
_MAX_AGE_S = 10.0

#: The box that OpenMM gives a system that has none, nm.
_OPENMM_BOX = np.eye(3) * 2.0

#: What one small array costs besides its numbers.
_ARRAY_OVERHEAD = 200


class FieldError(FailedError):
    """the state of walker {walker} in cycle {cycle} has no {field!r}, which other states have;
    let the runner give every state the same fields, or leave this one out of save_fields
    """


class HDF5Reporter(Reporter):
    """Writes `JOB.wepy.h5`, which wepy's WepyHDF5 and its analysis classes read.

    The states are those after dynamics, before warping and resampling. Cycles
    are gathered in memory (64 MiB, 512 cycles or 10 s of them at most) and
    written in blocks.

    Parameters
    ----------
    save_fields : sequence of str
        State fields to save; those that no walker has after the first cycle are left
        out, and the box of a system that is not periodic: readers would fold
        distances by it. Fields of rank 0 (time, energies) become shape (n_cycles, 1).
    main_rep_idxs : sequence of int, or None
        Save only these atoms of positions, velocities and forces; None for all.
    """

    suffix: ClassVar[str] = ".wepy.h5"
    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("main_rep_idxs",)

    def __init__(
        self,
        save_fields: Sequence[str] = ("positions", "box_vectors", "velocities"),
        main_rep_idxs: Sequence[int] | None = None,
    ) -> None:
        self.save_fields = tuple(save_fields)
        self.main_rep_idxs = None if main_rep_idxs is None else [int(i) for i in main_rep_idxs]
        self._facts: dict[str, Any] = {}
        self._hdf5: JournaledHDF5 | None = None
        self._has_box = True
        self._forget()

    def _forget(self) -> None:
        self._walkers: list[list[Any]] = []
        self._weights: list[list[float]] = []
        self._data: list[dict[str, Any]] = []
        self._first_cycle = 0
        self._bytes = 0
        self._written = time.monotonic()

    def bind(self, base: str | os.PathLike[str]) -> None:
        """Take the path prefix, and forget the facts of an earlier job."""
        super().bind(base)
        self._facts = {}

    def annotate(self, **facts: Any) -> None:
        """Keep facts (hashes, seed) as attributes of the run in the file."""
        kept = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in facts.items()
            if value is not None
        }
        self._facts.update(kept)
        if self._hdf5 is not None:
            with named_errors(self.path):
                self._writer.annotate(kept)

    def init(self, *, init_walkers: Sequence[Walker], **parts: Any) -> None:
        """Create the file with everything that is known before the first cycle."""
        self._forget()
        self._started = False
        self._names: list[str] | None = None
        system = StructureCapabilities(parts.get("runner"))
        self._has_box = bool(system.has_box)
        resampler, boundaries = parts.get("resampler"), parts.get("boundary_conditions")
        owners = {t: resampler if t.startswith("resampl") else boundaries for t in TABLES}
        tables = {table: table_fields(owner, table) for table, owner in owners.items()}
        states = [self._selected(_unchanging(walker.state)) for walker in init_walkers]
        with named_errors(self.path):
            try:
                if self._resume_at:
                    self._open(create=False)
                    self._adopt(tables, self._resume_at)
                    self._names = [n for n in self.save_fields if n in self._writer.frame_fields()]
                    self._started = True
                else:
                    self._open(create=True)
                    decisions = decision_numbers(resampler)
                    self._create(states, system.topology, decisions, tables, owners)
                    weights = weights_of(init_walkers).tolist()
                    self._writer.write_init_walkers(states, weights)
                self._writer.annotate(self._facts)
                assert self._hdf5 is not None
                self._hdf5.commit()
            except BaseException:
                self._abandon()
                raise

    def _open(self, create: bool) -> None:
        self._hdf5 = JournaledHDF5(self.path, create)
        self._writer = RunWriter(self._hdf5.file)

    def _adopt(self, tables: Mapping[str, Any], n_cycles: int) -> None:
        try:
            self._writer.adopt(tables, n_cycles)
        except (ValueError, KeyError) as error:
            why = "is not one of these files" if isinstance(error, KeyError) else str(error)
            message = f"cannot be continued: it {why}"
            raise OSError(errno.EINVAL, message, self.path) from error

    def _create(
        self,
        states: Sequence[Mapping[str, Any]],
        topology: str | None,
        decisions: Mapping[str, int],
        tables: Mapping[str, Any],
        owners: Mapping[str, Any],
    ) -> None:
        assert self._hdf5 is not None
        positions = np.atleast_2d(states[0].get("positions", np.zeros((1, 3))))
        n_atoms, n_dims = positions.shape
        create_file(
            self._hdf5.file,
            topology=topology_of(topology, n_atoms),
            n_atoms=n_atoms,
            n_dims=n_dims,
            main_rep_idxs=self.main_rep_idxs,
            extra_fields={
                name: np.atleast_1d(array).shape
                for name, array in states[0].items()
                if name not in ATOM_FIELDS
            },
            record_names={
                table: table_record_names(owner, table) for table, owner in owners.items()
            },
        )
        self._writer.create(decisions, tables)

    def report(self, **report: Any) -> None:
        """Hold on to one cycle, and write what is held when it is much or old."""
        walkers: Sequence[Any] = report["new_walkers"]
        now = time.monotonic()
        if not self._walkers:
            self._first_cycle = int(report["cycle_idx"])
        # States of this package cannot change, so holding on to one is as good
        # as copying it; of another's, nobody knows.
        self._walkers.append([_unchanging(walker.state) for walker in walkers])
        self._weights.append(weights_of(walkers).tolist())
        # The lists are copied, since a component may use one again; the records are not.
        self._data.append({table: _kept(report.get(key)) for table, key in REPORT_KEYS.items()})
        size = sum(array.nbytes + _ARRAY_OVERHEAD for array in self._walkers[-1][0].values())
        self._bytes += len(walkers) * size
        if (
            not self._started
            or self._bytes >= _MAX_BYTES
            or len(self._walkers) >= _MAX_CYCLES
            or now - self._written >= _MAX_AGE_S
        ):
            # The first cycle goes out at once: what is wrong shows up at once.
            self._started = True
            self.flush()

    def flush(self) -> None:
        """Write every cycle held; afterwards the file is complete and valid."""
        if self._hdf5 is None:
            return
        with named_errors(self.path):
            try:
                if self._walkers:
                    self._write_frames()
                    self._write_records()
                    self._forget()
                self._hdf5.commit()
            except BaseException:
                # What is on the disk stays as the last commit left it.
                self._abandon()
                raise

    def cleanup(self, **parts: Any) -> None:
        """Write what is left and close the file."""
        self.flush()
        hdf5, self._hdf5 = self._hdf5, None
        if hdf5 is not None:
            with named_errors(self.path):
                hdf5.close()

    def _abandon(self) -> None:
        hdf5, self._hdf5 = self._hdf5, None
        if hdf5 is not None:
            hdf5.abandon()

    def _selected(self, state: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """The fields of a state that are saved, with the atoms that are saved."""
        names = [name for name in self._wanted() if name in state]
        return {name: self._pick(name)(state[name]) for name in names}

    def _wanted(self) -> list[str]:
        """The fields to save, of the system that is run."""
        return [name for name in self.save_fields if self._has_box or name not in BOX_FIELDS]

    def _pick(self, name: str) -> Callable[[Any], NDArray[np.float64]]:
        if self.main_rep_idxs is not None and name in ATOM_FIELDS:
            return lambda array: np.asarray(array)[self.main_rep_idxs]
        return lambda array: array

    def _write_frames(self) -> None:
        """Write the trajectories, one block for each stretch of equally many walkers."""
        first = self._first_cycle
        for _, alike in itertools.groupby(self._walkers, len):
            block = list(alike)
            if self._names is None:
                # Frames are told apart by their place alone: a field is in every one or in none.
                held = {name for state in block[0] for name in state}
                self._names = [name for name in self._wanted() if name in held]
            fields = {name: self._collected(name, block, first) for name in self._names}
            start = first - self._first_cycle
            weights = np.array(self._weights[start : start + len(block)], dtype=np.float64)
            self._writer.append_frames(first, weights, fields)
            first += len(block)

    def _collected(
        self, name: str, block: Sequence[Sequence[Any]], first_cycle: int
    ) -> list[list[NDArray[np.float64]]]:
        """A field of every walker of a block: first by walker, then by cycle."""
        pick = self._pick(name)
        if name == "box_vectors" and not self._has_box:
            # A file that an older version began: it goes on as that would have gone on with it.
            return [
                [states[walker].get(name, _OPENMM_BOX) for states in block]
                for walker in range(len(block[0]))
            ]
        try:
            return [
                [pick(states[walker][name]) for states in block] for walker in range(len(block[0]))
            ]
        except KeyError:
            cycle, walker = next(
                (first_cycle + place, walker)
                for place, states in enumerate(block)
                for walker, state in enumerate(states)
                if name not in state
            )
            raise FieldError(field=name, walker=walker, cycle=cycle) from None

    def _write_records(self) -> None:
        for table in TABLES:
            fields = self._writer.fields(table)
            records: list[Mapping[str, Any]] = []
            cycles: list[int] = []
            # Progress has one row in every cycle: {name: a number for each walker}.
            blank = {field.name: () for field in fields if field.shape is None}
            for cycle, data in enumerate(self._data, start=self._first_cycle):
                found = [blank | (data[table] or {})] if table == "progress" else data[table] or ()
                records += found
                cycles += [cycle] * len(found)
            if records:
                values = {field.name: column(records, field, table) for field in fields}
                self._writer.append_records(table, cycles, values)


def _kept(data: Any) -> Any:
    """A copy of a list of records, or of the dict of progress."""
    return dict(data) if isinstance(data, Mapping) else list(data or ())


def _unchanging(state: Any) -> Any:
    if isinstance(state, WalkerState):
        return state
    return {name: np.array(value) for name, value in state.dict().items() if value is not None}
