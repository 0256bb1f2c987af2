"""The tables of a run's recording, to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.errors import FailedError
from wepystore.records.recording import MISSING, Columns, Recording, joined, read_part
from wepystore.records.values import Fetch

#: Of a stranger's recording a few numbers could ask for any amount of memory.
_MOST_EMPTY = 1000


class NotRecordedError(FailedError):
    """nothing is recorded of run {run}: it was made by an older version, or by wepy 1.x"""


class RunTables(Mapping[str, NDArray[Any]]):
    """What is recorded of a run: a mapping from the name of a column to its array.

    Nothing is read before it is asked for; then all parts are, and verified.

    Attributes
    ----------
    recording : Recording
        Cycles, steps of a segment, numbers of decisions, fields for a summary.
    """

    def __init__(self, recording: Recording, fetch: Fetch, what: str) -> None:
        self.recording = recording
        self._fetch, self._what = fetch, what
        self._parts: list[Columns] | None = None

    @property
    def parts(self) -> list[Columns]:
        """The columns of each stretch of cycles, read-only views of what was read."""
        if self._parts is None:
            self._parts = [
                read_part(part, self.recording.columns, self._fetch, self._what)
                for part in self.recording.tables
            ]
        return self._parts

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column, of all cycles.

        Raises KeyError where there is none, DamagedError for what cannot be read.
        """
        if name not in self.recording.columns:
            raise KeyError(name)
        if name == MISSING:
            return joined(self.parts)[name]
        return np.concatenate([part[name] for part in self.parts])

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns of one table by the names of its fields.

        Parameters
        ----------
        name : str
            resampling, resampler, warping, progress or boundary_conditions.
        """
        prefix = f"{name}/"
        return {each.removeprefix(prefix): self[each] for each in self if each.startswith(prefix)}

    def by_walker(self, name: str) -> NDArray[np.float64]:
        """A column that has one number for each walker of each cycle, such as "weights" or
        "progress/distances"; shape (n_cycles, n_walkers), NaN where a walker was not there."""
        counts, held = self["n_walkers"], self[name]
        shape = (len(counts), int(counts.max(initial=0)))
        if held.shape != (int(counts.sum()),):
            raise ValueError(f"{name} has not one number for each walker of each cycle")
        if shape[0] * shape[1] > _MOST_EMPTY * (len(held) + len(counts)):
            raise ValueError(f"nearly all of an array of shape {shape} would be empty")
        values = np.full(shape, np.nan)
        values[np.arange(values.shape[1]) < counts[:, None]] = held
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.recording.columns)

    def __len__(self) -> int:
        return len(self.recording.columns)

    def __repr__(self) -> str:
        return f"<RunTables of {self.recording.n_cycles} cycles: {', '.join(self)}>"
