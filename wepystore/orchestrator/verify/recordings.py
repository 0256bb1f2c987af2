"""Where two recordings of one run part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.records.parts import read_parts
from wepystore.records.recording import (
    CONTINUAL,
    CYCLE_IDX,
    LENGTHS,
    MISSING,
    N_WALKERS,
    WEIGHTS,
    Columns,
    Part,
    Recording,
    buffers_of,
    joined,
)
from wepystore.store.names import Ref
from wepystore.store.store import Store


@dataclass(frozen=True)
class Parting:
    """The first thing in which two recordings of one run differ.

    Attributes
    ----------
    cycle_idx : int
    column : str
        Of the table, such as "weights" or "resampling/decision_id".
    walker_idx : int or None
        None where the column is not of walkers.
    """

    cycle_idx: int
    column: str
    walker_idx: int | None = None


class Recorded:
    """A recording in a store, beside which another one of the same run comes to be.

    Parameters
    ----------
    store : Store
    recording : Recording
    """

    def __init__(self, store: Store, recording: Recording) -> None:
        self._store, self._recording = store, recording
        self._place = self._first = 0
        self.parting: Parting | None = None

    def take_block(self, columns: Columns) -> Ref:
        """Compare a full block; the Ref that it has now."""
        ref = Ref.of(*buffers_of(columns))
        tables = self._recording.tables
        if self._place >= len(tables) or tables[self._place].ref != ref:
            self._compare(columns, tables[self._place : self._place + 1])
        self._place += 1
        self._first += self._recording.block_cycles
        return ref

    def take_rest(self, columns: Columns | None) -> None:
        """Compare what came after the last full block."""
        if columns is not None:
            self._compare(columns, self._recording.tables[self._place :])

    def _compare(self, columns: Columns, parts: Sequence[Part]) -> None:
        if self.parting is not None:
            return
        names = self._recording.columns
        then = read_parts(parts, names, self._store.object, "a recording")
        if then:
            self.parting = first_difference(joined(then), columns, self._first)
        else:
            self.parting = Parting(self._first, N_WALKERS)


def first_difference(then: Columns, now: Columns, first_cycle: int) -> Parting | None:
    """Where two stretches of the same cycles part; None if they have the same bits.

    Of several columns that differ in one cycle the first by its place in a cycle: weights, then
    the others by name.
    """
    found: list[tuple[int, bool, str, int | None]] = []
    for name in then.keys() | now.keys():
        if name not in then or name not in now:
            found.append((first_cycle, True, name, None))
            continue
        a, b = then[name], now[name]
        row = _first_other(a, b)
        if row is not None and name != MISSING:
            cycle, walker = _whose(then if row < len(a) else now, name, row, first_cycle)
            found.append((cycle, name != WEIGHTS, name, walker))
    if not found:
        return None
    cycle, _, name, walker = min(found, key=lambda each: each[:3])
    return Parting(cycle, name.removesuffix(f"/{LENGTHS}"), walker)


def _first_other(a: NDArray[np.generic], b: NDArray[np.generic]) -> int | None:
    """The first row that differs in a bit; the first that one has not."""
    n_rows = min(len(a), len(b))
    if a.dtype != b.dtype or a.shape[1:] != b.shape[1:]:
        return 0
    if a[:n_rows].tobytes() != b[:n_rows].tobytes():
        same = a[:n_rows].reshape(n_rows, -1).view(np.uint8) == b[:n_rows].reshape(n_rows, -1).view(
            np.uint8
        )
        return int(np.argmin(same.all(axis=1)))
    return n_rows if len(a) != len(b) else None


def _whose(columns: Columns, name: str, row: int, first_cycle: int) -> tuple[int, int | None]:
    """The cycle of a row, and the walker that it is of, as far as a recording tells, which may be
    a stranger's."""
    try:
        return _told(columns, name, row, first_cycle)
    except (KeyError, IndexError):
        return first_cycle, None


def _told(columns: Columns, name: str, row: int, first_cycle: int) -> tuple[int, int | None]:
    if name == N_WALKERS:
        return first_cycle + row, None
    if name == WEIGHTS:
        ends = np.cumsum(columns[N_WALKERS])
        cycle = int(np.searchsorted(ends, row, side="right"))
        return first_cycle + cycle, row - int(ends[cycle] - columns[N_WALKERS][cycle])
    table = name.split("/")[0]
    lengths = columns.get(f"{name}/{LENGTHS}")
    walker = None
    if lengths is not None:
        ends = np.cumsum(lengths)
        value, row = row, int(np.searchsorted(ends, row, side="right"))
        # Of progress there is a value for each walker.
        walker = value - int(ends[row] - lengths[row]) if table == CONTINUAL else None
    if table == CONTINUAL:
        return first_cycle + row, walker
    of = columns.get(f"{table}/walker_idx")
    if of is not None and of.dtype.kind == "i" and row < len(of):
        walker = int(of.reshape(len(of), -1)[row, 0])
    return int(columns[f"{table}/{CYCLE_IDX}"][row]), walker
