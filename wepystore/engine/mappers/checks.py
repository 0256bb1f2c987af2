"""Arguments that several mappers take."""

from __future__ import annotations

import numbers

from wepystore.engine.errors import ComponentError


def checked_number(component: str, n_workers: int | None) -> int | None:
    """`n_workers`, or ComponentError if it is less than one."""
    if n_workers is None:
        return None
    if isinstance(n_workers, bool) or not isinstance(n_workers, numbers.Integral) or n_workers < 1:
        raise ComponentError(
            component=component,
            problem=f"n_workers must be a whole number, at least 1, not {n_workers!r}",
        )
    return int(n_workers)


def checked_timeout(component: str, seconds: float | None) -> float | None:
    """`seconds`, or ComponentError unless they are more than 0."""
    if seconds is not None and not seconds > 0:
        raise ComponentError(
            component=component, problem=f"segment_timeout must be more than 0 s, not {seconds}"
        )
    return None if seconds is None else float(seconds)
