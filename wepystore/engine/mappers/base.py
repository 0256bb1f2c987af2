"""What the cycle manager asks of a work mapper."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from wepystore.engine.component import Component
from wepystore.engine.mappers.segment import runner_of
from wepystore.engine.runners.base import AdaptedRunner

#: Makes bytes that `pickle.loads` understands of functions that plain pickle cannot take.
Dumps = Callable[[Any], bytes] | None


class WorkMapper(Component):
    """Runs a segment for every walker and gives the results back in order.

    A segment that fails is run once more, with the same state and seed, in
    another worker; if it fails there too `map` raises. An exception that a
    signal handler raises into `map` drops the whole call: it must be no
    `Exception`, or it would be taken for the segment's own. What is left to do
    then is `cleanup`, which ends busy workers at once.

    Attributes
    ----------
    worker_segment_times : dict of int to list of float
        Seconds each worker spent on each segment of the last `map`.
    worker_segment_walkers : dict of int to list of int
        Whose segments those were, by their places.
    remark : callable or None
        Told, in a line, what the user should know and what is no error.
    """

    worker_segment_times: dict[int, list[float]]
    worker_segment_walkers: dict[int, list[int]]
    remark: Callable[[str], None] | None = None

    def init(
        self, segment_func: Callable[..., Any], num_workers: int | None = None, dumps: Dumps = None
    ) -> None:
        """Get ready to call `segment_func(walker, length, **kwargs)`.

        `num_workers` overrides the mapper's own number.
        """
        raise NotImplementedError

    def would_start(self) -> int | None:
        """How many workers `init` starts if it is not told; None if it starts none."""
        return None

    def map(
        self, walkers: Sequence[Any], lengths: Iterable[int], **kwargs: Iterable[Any]
    ) -> list[Any]:
        """The walkers after their segments; every keyword holds one value a walker."""
        raise NotImplementedError

    def cleanup(self, **kwargs: Any) -> None:
        """Let go of what `init` took."""


def tasks(
    walkers: Sequence[Any], lengths: Iterable[int], kwargs: dict[str, Iterable[Any]]
) -> list[tuple[Any, int, dict[str, Any]]]:
    """One (walker, length, keywords) for every walker."""
    # No line of Python for each walker: that would be a tenth of a short segment.
    rows = zip(*kwargs.values(), strict=True) if kwargs else repeat((), len(walkers))
    keywords = map(dict, map(zip, repeat(kwargs), rows))
    return list(zip(walkers, lengths, keywords, strict=True))


def portable(segment_func: Callable[..., Any], dumps: Dumps) -> bytes:
    """`segment_func` as bytes that a fresh interpreter can load."""
    runner = runner_of(segment_func)
    # What stands for a runner is this package's, the runner need not be.
    owner = type(runner.original if isinstance(runner, AdaptedRunner) else runner)
    # What this package defines is importable anywhere; a user's class may live in a
    # script that no worker can import, so it must travel by value.
    if owner.__module__.startswith("wepystore.") or dumps is None:
        return pickle.dumps(segment_func)
    return dumps(segment_func)
