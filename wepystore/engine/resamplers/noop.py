"""The resampler that leaves every walker as it is: plain parallel simulations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.clone_merge import assign_slots


class NoResampler(Resampler):
    """Keeps every walker and its weight."""

    def __init__(self) -> None:
        """Takes no parameters."""

    def resample(
        self, walkers: Sequence[Any]
    ) -> tuple[list[Any], list[dict[str, Any]], list[dict[str, Any]]]:
        """The same walkers, one NOTHING record each, and no resampler records."""
        return list(walkers), assign_slots(len(walkers), {}, {}), []
