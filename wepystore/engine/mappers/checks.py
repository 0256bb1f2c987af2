"""Arguments that several mappers take."""

from __future__ import annotations

import numbers
import reprlib

from wepystore.engine.errors import ComponentError

#: No machine has so many cores, and each worker is a process.
MOST_WORKERS = 10_000


def checked_number(component: str, n_workers: int | None) -> int | None:
    """`n_workers`, or ComponentError if it is less than one, or more than any machine can have."""
    if n_workers is None:
        return None
    whole = isinstance(n_workers, numbers.Integral) and not isinstance(n_workers, bool)
    if not whole or not 1 <= n_workers <= MOST_WORKERS:
        bound = f"most {MOST_WORKERS:,}" if whole and n_workers > 1 else "least 1"
        raise ComponentError(
            component=component,
            problem=f"n_workers must be a whole number, at {bound}, not {reprlib.repr(n_workers)}",
        )
    return int(n_workers)


def checked_timeout(component: str, seconds: float | None) -> float | None:
    """`seconds`, or ComponentError unless they are more than 0."""
    if seconds is not None and not seconds > 0:
        raise ComponentError(
            component=component, problem=f"segment_timeout must be more than 0 s, not {seconds}"
        )
    return None if seconds is None else float(seconds)
