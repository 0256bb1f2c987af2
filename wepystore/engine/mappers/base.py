"""What the cycle manager asks of a work mapper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wepystore.engine.component import Component


class WorkMapper(Component):
    """Runs a segment for every walker and gives the results back in order.

    Attributes
    ----------
    worker_segment_times : dict of int to list of float
        Seconds each worker spent on each segment of the last `map`.
    """

    worker_segment_times: dict[int, list[float]]

    def init(
        self,
        segment_func: Callable[..., Any],
        num_workers: int | None = None,
        dumps: Callable[[Any], bytes] | None = None,
    ) -> None:
        """Get ready to call `segment_func(walker, length, **kwargs)`.

        `num_workers` overrides the mapper's own number; `dumps` makes bytes that
        `pickle.loads` understands of functions that plain pickle cannot take.
        """
        raise NotImplementedError

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
    columns = [list(values) for values in kwargs.values()]
    return [
        (walker, length, dict(zip(kwargs, row, strict=True)))
        for walker, length, *row in zip(walkers, lengths, *columns, strict=True)
    ]
