"""What figures are made of: the tables of one run, read once, by cycle and by walker."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.lineages import Lineages
from wepystore.errors import WepystoreError
from wepystore.records.recording import CONTINUAL, LENGTHS, N_WALKERS, WEIGHTS
from wepystore.records.tables import RunTables
from wepystore.report.errors import NothingToShowError
from wepystore.report.pedigree import Pedigree, pedigree_of
from wepystore.report.thinning import Floats, Ints, Stretches

#: So many letters of a stranger's name are shown.
_LONGEST_NAME = 60


def plain(text: str, longest: int = _LONGEST_NAME) -> str:
    """A stranger's text in one line of at most so many letters, without what steers a display."""
    shown = "".join(each if each.isprintable() else " " for each in text[: 4 * longest])
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


class Shown:
    """A run, or runs that continue each other, as a report shows it.

    Parameters
    ----------
    label : str
        What it is called in figures.
    tables : RunTables
    most_stretches : int
        So many has a figure.

    Attributes
    ----------
    n_walkers : ndarray of int, shape (n_cycles,)
    columns : frozenset of str
        What is recorded.
    weights : ndarray of float, shape (n_rows,)
        Of each walker of each cycle, one cycle after the other.
    """

    def __init__(self, label: str, tables: RunTables, most_stretches: int = 200) -> None:
        self.label, self.tables, self._most = label, tables, most_stretches
        # A mapping's own `in` would read the column.
        self.columns = frozenset(tables.recording.columns)
        self._held: dict[str, tuple[Floats, bool]] = {}
        held = tables.read([N_WALKERS, WEIGHTS])
        self.n_walkers: Ints = held[N_WALKERS].astype(np.int64)
        self.weights: Floats = held[WEIGHTS].astype(np.float64)

    @property
    def n_cycles(self) -> int:
        """Cycles that there are."""
        return len(self.n_walkers)

    @cached_property
    def first(self) -> Ints:
        """Where the rows of each cycle begin, and where those of the last end."""
        return np.append(0, np.cumsum(self.n_walkers))

    @cached_property
    def cycle_of(self) -> Ints:
        """The cycle of each row."""
        return np.repeat(np.arange(self.n_cycles), self.n_walkers)

    @cached_property
    def lineages(self) -> Lineages:
        """Who descends from whom. Raises NothingToShowError where that is not recorded."""
        try:
            return Lineages(self.tables)
        except WepystoreError as error:
            raise NothingToShowError(why=str(error)) from None

    @cached_property
    def pedigree(self) -> Pedigree:
        """The pruned family tree. Raises NothingToShowError."""
        if not self.n_cycles:
            raise NothingToShowError(why="it has no cycles")
        return pedigree_of(self.lineages)

    @property
    def cycle_time(self) -> float | None:
        """Length of a cycle in ps; None where the length of a step is not recorded."""
        recording = self.tables.recording
        if recording.step_size_ps is None or not recording.n_steps:
            return None
        return recording.step_size_ps * recording.n_steps

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """The names of what is recorded as progress, one number for each walker."""
        prefix = f"{CONTINUAL}/"
        names = [name.removeprefix(prefix) for name in self.tables if name.startswith(prefix)]
        return tuple(n for n in names if not n.endswith(f"/{LENGTHS}") and self._progress(n)[1])

    def progress(self, name: str) -> Floats:
        """A coordinate of each row. Raises NothingToShowError."""
        values, is_one = self._progress(name)
        if not is_one:
            raise NothingToShowError(why=f"no progress called {plain(name)} is recorded of it")
        return values

    def _progress(self, name: str) -> tuple[Floats, bool]:
        column = f"{CONTINUAL}/{name}"
        if name not in self._held:
            has_it = column in self.columns
            values: NDArray[Any] = self.tables[column] if has_it else np.empty(0)
            is_one = values.size == len(self.weights) > 0 and values.dtype.kind in "fiu"
            self._held[name] = values.ravel().astype(np.float64, copy=False), bool(is_one)
        return self._held[name]

    def stretches(self, most: int | None = None) -> Stretches:
        """Its cycles in stretches. Raises NothingToShowError where there are none."""
        if not self.n_cycles:
            raise NothingToShowError(why="it has no cycles")
        return Stretches(self.n_cycles, most or self._most)
