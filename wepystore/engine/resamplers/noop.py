"""The resampler that leaves every walker as it is: plain parallel simulations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.record_fields import RecordColumns
from wepystore.engine.resamplers.base import Resampled, Resampler
from wepystore.engine.resamplers.decision import Decision


class NoResampler(Resampler):
    """Keeps every walker and its weight."""

    def __init__(self) -> None:
        """Takes no parameters."""

    def resample(self, walkers: Sequence[Any]) -> Resampled:
        """The walkers as they are, one NOTHING record each, and no resampler records."""
        kept = walkers if isinstance(walkers, Ensemble) else list(walkers)
        return kept, _nothings(len(walkers)), []


def _nothings(n_walkers: int) -> RecordColumns:
    """What `assign_slots` says of walkers that all stay, without a dict for each."""
    own = np.arange(n_walkers, dtype=np.int64)[:, np.newaxis]
    decisions = np.full((n_walkers, 1), int(Decision.NOTHING), dtype=np.int64)
    return RecordColumns(
        decision_id=decisions, target_idxs=own, step_idx=np.zeros_like(own), walker_idx=own
    )
