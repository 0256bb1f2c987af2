"""Which work mapper a run uses: the configuration's, or what was asked for instead."""

from __future__ import annotations

from typing import Any

from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper


def choose_mapper(configured: Any, n_workers: int | None) -> Any:
    """The configured mapper, or one that can have as many workers as were asked for."""
    if n_workers is None:
        return configured
    if n_workers == 1 and isinstance(configured, (SerialMapper, ProcessMapper)):
        return SerialMapper()
    return ProcessMapper(n_workers) if isinstance(configured, SerialMapper) else configured


def workers_of(mapper: Any, override: int | None) -> int | None:
    """How many workers a mapper has, for the run record; None if it does not say."""
    if isinstance(mapper, SerialMapper):
        return 1
    return override or getattr(mapper, "n_workers", None)
