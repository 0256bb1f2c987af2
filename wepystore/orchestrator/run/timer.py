"""Notes how long the cycles of a run take, for its record to name (records/times.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.orchestrator.run.series import Object, Series
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

    def gathered(self, first_cycle: int, cycles: Sequence[Mapping[str, Any]]) -> Columns:
        return {
            name: np.concatenate([np.asarray(each[name], dtype) for each in cycles])
            for name, dtype in COLUMNS.items()
        }

    def n_bytes(self, stretch: Columns) -> int:
        return sum(array.nbytes for array in stretch.values())

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
        self.series: Series[Mapping[str, Any], Columns, Part] = Series(
            _Form(),
            times.block_cycles,
            times.parts[: times.n_full],
            list(zip(counts, pieces, rest, strict=True)),
        )
        self._seconds = dict(times.seconds)
        self._checkpoint_s = 0.0

    def add(self, report: Mapping[str, Any]) -> None:
        """A cycle is about to be reported."""
        spent = {name: [float(report[key])] for name, key in _REPORTED.items()}
        self._added = {"cycle_idx": [report["cycle_idx"]], **spent, **_segments(report)}
        self._begun = time.perf_counter()

    def keep(self) -> None:
        """It is whole, and all have been told of it; there is room for it."""
        cycle = {
            **self._added,
            "reporting_s": [time.perf_counter() - self._begun],
            "checkpoint_s": [self._checkpoint_s],
            "ended": [time.time()],
        }
        self._checkpoint_s = 0.0
        for name in SPENT:
            self._seconds[name] += cycle[name][0]
        self.series.add(cycle)

    def note_checkpoint(self, seconds: float) -> None:
        """For one the run has waited so long since the last cycle."""
        self._checkpoint_s += seconds

    def so_far(self, last: bool) -> Callable[[Sink], Times]:
        """What puts all that is new, and gives all that there is (see Series.so_far)."""
        parts, seconds = self.series.so_far(last), dict(self._seconds)
        return lambda sink: Times(self.series.block_cycles, tuple(parts(sink)), seconds)


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
