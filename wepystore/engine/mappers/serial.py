"""One segment after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wepystore.engine.mappers.base import Dumps, WorkMapper, tasks
from wepystore.engine.mappers.ledger import Ledger
from wepystore.engine.mappers.segment import Done, Failed, Task, drop_contexts, failed, run_task
from wepystore.engine.mappers.timeouts import Pace


class SerialMapper(WorkMapper):
    """Runs every segment in the calling process.

    A segment that raises is run once more, in new contexts if the runner can
    drop its old ones. A hang cannot be noticed: there is nobody to notice it.
    """

    def __init__(self) -> None:
        self.worker_segment_times = {0: []}
        self.worker_segment_walkers = {0: []}
        self._segment_func: Callable[..., Any] | None = None

    def init(
        self, segment_func: Callable[..., Any], num_workers: int | None = None, dumps: Dumps = None
    ) -> None:
        self._segment_func = segment_func

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        assert self._segment_func is not None, "map before init"
        segment_func = self._segment_func
        results: list[Any] = []
        times: list[float] = []
        self.worker_segment_times = {0: times}
        work = tasks(walkers, lengths, kwargs)
        self.worker_segment_walkers = {0: list(range(len(work)))}
        # Nothing is kept of segments that go well: for two particles that would cost more than
        # the segments.
        clock = time.perf_counter
        for index, (walker, length, keywords) in enumerate(work):
            begun = clock()
            try:
                results.append(segment_func(walker, length, **keywords))
            except Exception as problem:
                results.append(self._again(index, work, failed(index, problem)))
            times.append(clock() - begun)
        return results

    def _again(self, index: int, work: list[Any], failure: Failed) -> Any:
        """The result of a segment that failed once."""
        ledger = Ledger([Task(k, *task) for k, task in enumerate(work)], Pace())
        ledger.failed(failure, 0, "this process")
        assert self._segment_func is not None
        drop_contexts(self._segment_func)
        answer = run_task(self._segment_func, ledger.tasks[index], {}, Exception)
        if not isinstance(answer, Done):
            ledger.failed(answer, 0, "this process")  # It raises.
            raise AssertionError("a segment cannot fail for the first time twice")
        return answer.result
