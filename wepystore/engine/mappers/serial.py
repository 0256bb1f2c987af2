"""One segment after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wepystore.engine.errors import SegmentError
from wepystore.engine.mappers.base import WorkMapper, tasks
from wepystore.errors import WepystoreError


class SerialMapper(WorkMapper):
    """Runs every segment in the calling process."""

    def __init__(self) -> None:
        self.worker_segment_times = {0: []}
        self._segment_func: Callable[..., Any] | None = None

    def init(
        self,
        segment_func: Callable[..., Any],
        num_workers: int | None = None,
        dumps: Callable[[Any], bytes] | None = None,
    ) -> None:
        self._segment_func = segment_func

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        assert self._segment_func is not None, "map before init"
        times: list[float] = []
        results = []
        for index, (walker, length, keywords) in enumerate(tasks(walkers, lengths, kwargs)):
            begun = time.perf_counter()
            try:
                results.append(self._segment_func(walker, length, **keywords))
            except WepystoreError:
                raise
            except Exception as problem:
                raise SegmentError(
                    cycle_idx=keywords.get("cycle_idx"),
                    walker_idx=keywords.get("walker_idx", index),
                    worker="this process",
                    problem=f"{type(problem).__name__}: {problem}",
                ) from problem
            times.append(time.perf_counter() - begun)
        self.worker_segment_times = {0: times}
        return results
