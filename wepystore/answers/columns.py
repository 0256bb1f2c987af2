"""What tables tell of resampling and of warps, read once, whatever components have declared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.errors import UntraceableError
from wepystore.records.errors import MalformedRecordError
from wepystore.records.recording import CYCLE_IDX, LENGTHS, MISSING, N_WALKERS, WEIGHTS
from wepystore.records.tables import RunTables

Ints = NDArray[np.int64]

_TARGETS = "target_idxs"
_FIELDS = {
    "resampling": ("decision_id", _TARGETS, f"{_TARGETS}/{LENGTHS}", "step_idx"),
    "warping": ("target_idx", "continuous"),
}
#: No number of a walker, a step or a slot is larger.
_MOST = 1 << 52


def read_columns(
    tables: RunTables, of: Collection[str] = tuple(_FIELDS), more: Collection[str] = (WEIGHTS,)
) -> dict[str, NDArray[Any]]:
    """Of all cycles who was resampled and warped, and the weights, as they are recorded; a
    `walker_idx` that is missing is -1.

    Nothing else is read. Raises DamagedError.

    Parameters
    ----------
    tables : RunTables
    of : "resampling", "warping", or both
    more : names of other columns
    """
    wanted = {MISSING, N_WALKERS, *more}
    for table in of:
        fields = (CYCLE_IDX, "walker_idx", *_FIELDS[table])
        wanted.update(f"{table}/{field}" for field in fields)
    found = tables.read([name for name in tables if name in wanted])
    missing, rows = found[MISSING].T
    for name, column in found.items():
        if name.endswith("/walker_idx") and column.dtype.kind in "if":
            column[rows[missing == tables.recording.columns.index(name)]] = -1
    return found


class Records:
    """The records of one table.

    Parameters
    ----------
    columns : as read_columns gives them
    table : str
        resampling or warping.
    run : str
        Whose they are, for messages.

    Attributes
    ----------
    cycle : ndarray of int, shape (n,)
        Of each record; it never falls.
    n_walkers : ndarray of int, shape (n_cycles,)

    Raises
    ------
    MalformedRecordError : a record is of no cycle of the tables, or they are not in order.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], table: str, run: str) -> None:
        self._columns, self._table, self._run = columns, table, run
        self.n_walkers: Ints = columns[N_WALKERS].astype(np.int64, copy=False)
        cycle = columns.get(f"{table}/{CYCLE_IDX}", np.empty(0))
        self.cycle: Ints = cycle.astype(np.int64, copy=False)
        n_cycles, ends = len(self.n_walkers), self.cycle[[0, -1]] if len(self.cycle) else ()
        if any(not 0 <= end < n_cycles for end in ends) or (self.cycle[1:] < self.cycle[:-1]).any():
            raise self._malformed("are not of its cycles, one after the other")

    def __len__(self) -> int:
        return len(self.cycle)

    def has(self, field: str) -> bool:
        """Whether a field is recorded."""
        return f"{self._table}/{field}" in self._columns

    def numbers(self, field: str) -> Ints:
        """A field of one whole number a record. Raises UntraceableError where it is not that."""
        if not len(self):
            return np.empty(0, np.int64)
        values = self._values(field)
        if values.size != len(self) or self.has(f"{field}/{LENGTHS}"):
            raise self._untraceable(f"the {field} of a {self._table} record is not one number")
        return values.ravel()

    def slots(self) -> tuple[Ints, Ints]:
        """All slots in which walkers go on, and for each the number of its record."""
        slots = self._values(_TARGETS).ravel()
        lengths = self._columns.get(f"{self._table}/{_TARGETS}/{LENGTHS}")
        if lengths is None:
            lengths = np.full(len(self), slots.size // max(1, len(self)))
        records = np.arange(len(self))
        return slots, records if (lengths == 1).all() else np.repeat(records, lengths)

    def walkers(self) -> Ints:
        """Whose each record is: of the walker in its place in the cycle where it does not say."""
        found = self.numbers("walker_idx") if self.has("walker_idx") else np.full(len(self), -1)
        if not (found < 0).any():
            return found
        places = np.arange(len(self)) - np.searchsorted(self.cycle, self.cycle)
        return np.where(found < 0, places, found)

    def walkers_that_are_there(self) -> Ints:
        """Whose each record is, one of the walkers of its cycle. Raises MalformedRecordError."""
        found = self.numbers("walker_idx")
        if not ((found >= 0) & (found < self.n_walkers[self.cycle])).all():
            raise self._malformed("are of walkers that are not there")
        return found

    def _values(self, field: str) -> Ints:
        if not self.has(field):
            raise self._untraceable(f"its components record no {field} in {self._table}")
        column = self._columns[f"{self._table}/{field}"]
        # Somebody's own component may declare anything.
        if column.dtype.kind not in "iu" and not np.isfinite(column).all():
            raise self._untraceable(f"a {field} in {self._table} is no number")
        most = max(int(column.max(initial=0)), -int(column.min(initial=0)))
        if column.dtype == np.int64 and most <= _MOST:
            return column
        whole: Ints = np.clip(column, -_MOST, _MOST).astype(np.int64)
        return whole

    def _malformed(self, problem: str) -> MalformedRecordError:
        where, said = f"the recording of {self._run}", f"its {self._table} records {problem}"
        return MalformedRecordError(where=where, what="table", problem=said)

    def _untraceable(self, why: str) -> UntraceableError:
        return UntraceableError(run=self._run, why=why)
