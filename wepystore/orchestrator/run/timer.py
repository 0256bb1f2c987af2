"""Notes how long the cycles of a run take, for its record to name (records/times.py)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.orchestrator.run.series import Object, Put, Series
from wepystore.records.recording import Columns, Part, buffers_of
from wepystore.records.times import COLUMNS, SPENT, Times, joined
from wepystore.records.values import Sink
from wepystore.store.names import Ref

#: What a manager's report calls the parts of a cycle.
_REPORTED = {
    "runner_s": "cycle_runner_time",
    "bc_s": "cycle_bc_time",
    "resampling_s": "cycle_resampling_time",
}


class _Form:
    """How times become objects (series.Form)."""

    joined = staticmethod(joined)

    def objects(self, stretch: Columns) -> list[Object]:
        return [buffers_of(stretch)]

    def part(self, n_cycles: int, stretch: Columns, refs: Sequence[Ref]) -> Part:
        return Part(n_cycles, refs[0])


class Timer:
    """The times of a run while it goes on.

    Parameters
    ----------
    times : Times
        Of what earlier sessions have kept.
    pieces : sequence of Columns
        Those of its parts that are no full blocks.
    """

    def __init__(self, times: Times, pieces: Sequence[Columns] = ()) -> None:
        rest = times.parts[times.n_full :]
        counts = [part.n_cycles for part in rest]
        self._series: Series[Columns, Part] = Series(
            _Form(),
            times.block_cycles,
            times.parts[: times.n_full],
            list(zip(counts, pieces, rest, strict=True)),
        )
        self._seconds = dict(times.seconds)
        self._checkpoint_s = 0.0
        # One dict a cycle, of the columns as lists.
        self._new: list[dict[str, Any]] = []

    def put_with(self, put: Put[Columns]) -> None:
        """Where full blocks go."""
        self._series.put = put

    @staticmethod
    def objects(stretch: Columns) -> list[Object]:
        """What is to be written of a block."""
        return _Form().objects(stretch)

    def add(self, report: Mapping[str, Any]) -> None:
        """A cycle is about to be reported."""
        spent = {name: [float(report[key])] for name, key in _REPORTED.items()}
        self._added = {"cycle_idx": [report["cycle_idx"]], **spent, **_segments(report)}
        self._begun = time.perf_counter()

    def keep(self) -> None:
        """It is whole, and all have been told of it."""
        self._new.append(
            {
                **self._added,
                "reporting_s": [time.perf_counter() - self._begun],
                "checkpoint_s": [self._checkpoint_s],
                "ended": [time.time()],
            }
        )
        self._checkpoint_s = 0.0
        self._series.settle(wait=False)
        if self._series.is_full_with(len(self._new)):
            self._gather()
            self._series.close()

    def note_checkpoint(self, seconds: float) -> None:
        """One has been written since the last cycle."""
        self._checkpoint_s += seconds

    def state(self) -> tuple[Any, ...]:
        """What `restore` takes back."""
        return self._series.state(), dict(self._seconds), self._checkpoint_s, self._new[:]

    def restore(self, state: tuple[Any, ...]) -> None:
        """As it was when this was its state."""
        series, self._seconds, self._checkpoint_s, self._new = state
        self._series.restore(series)

    def settle(self) -> None:
        """Wait for what is on its way."""
        self._series.settle()

    def write(self, sink: Sink, last: bool) -> Times:
        """Put what is new; all that there is then."""
        self._gather()
        parts = tuple(self._series.write(sink, last))
        return Times(self._series.block_cycles, parts, dict(self._seconds))

    def _gather(self) -> None:
        if not self._new:
            return
        columns: dict[str, NDArray[Any]] = {
            name: np.concatenate([np.asarray(each[name], dtype) for each in self._new])
            for name, dtype in COLUMNS.items()
        }
        self._series.add(len(self._new), columns)
        for name in SPENT:
            self._seconds[name] += float(columns[name].sum())
        self._new = []


def _segments(report: Mapping[str, Any]) -> dict[str, Any]:
    """Which worker ran which walker's segment, and how long, as far as the mapper tells."""
    times: Any = report.get("worker_segment_times") or {}
    walkers: Any = report.get("worker_segment_walkers") or {}
    workers: list[int] = []
    seconds: list[float] = []
    idxs: list[int] = []
    try:
        for worker, each in times.items():
            of = walkers.get(worker, ())
            workers += [int(worker)] * len(each)
            seconds += map(float, each)
            idxs += map(int, of) if len(of) == len(each) else [-1] * len(each)
        numbers = {"worker": np.array(workers, np.int64), "walker_idx": np.array(idxs, np.int64)}
    except (TypeError, ValueError, AttributeError, OverflowError):
        # Anybody's mapper: what is no number there ends no run.
        return {"n_segments": [0], "segment_s": (), "walker_idx": (), "worker": ()}
    order = np.argsort(numbers["walker_idx"], kind="stable")
    return {
        "n_segments": [len(seconds)],
        "segment_s": np.array(seconds, np.float64)[order],
        **{name: column[order] for name, column in numbers.items()},
    }
