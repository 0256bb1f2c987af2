"""What every resampler is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.adapt import counterpart
from wepystore.engine.component import Component
from wepystore.engine.record_fields import ResamplerRecords, Shape
from wepystore.engine.resamplers.decision import Decision
from wepystore.engine.rng import Drawing

#: Walkers, resampling records, resampler records.
Resampled = tuple[Sequence[Any], Sequence[dict[str, Any]], Sequence[dict[str, Any]]]


class Resampler(ResamplerRecords, Drawing, Component):
    """Base of the resamplers: random numbers and the fields common to all records."""

    DECISION: ClassVar[type[Decision]] = Decision

    RESAMPLING_FIELDS: ClassVar[tuple[str, ...]] = (
        "decision_id",
        "target_idxs",
        "step_idx",
        "walker_idx",
    )
    RESAMPLING_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,), Ellipsis, (1,), (1,))
    RESAMPLING_DTYPES: ClassVar[tuple[type, ...]] = (int, int, int, int)
    RESAMPLING_RECORD_FIELDS: ClassVar[tuple[str, ...]] = RESAMPLING_FIELDS

    @property
    def decision(self) -> Any:
        """The decisions as reporters want them, another program's too: its own class, of the same
        numbers, if it is installed."""
        return counterpart(self.DECISION)

    def check_start(self, weights: NDArray[np.float64]) -> None:
        """Refuse walkers of which none could ever be cloned or merged.

        Called when a snapshot is built, never when one is read.

        Parameters
        ----------
        weights : ndarray, shape (n_walkers,)

        Raises
        ------
        NeverResamplesError : says why, and what to change.
        """

    def why_still(self, walkers: Sequence[Any]) -> str | None:
        """Why nothing was cloned or merged for a long time, in words; None if that is as it should
        be, or not known.

        Parameters
        ----------
        walkers : as the last resampling left them
        """
        return None

    def resample(self, walkers: Sequence[Any]) -> Resampled:
        """Decide what becomes of each walker and carry it out.

        Returns
        -------
        walkers : as many walkers, the sum of weights conserved (W3)
        resampling_data : sequence of dict, one record per walker
        resampler_data : sequence of dict, one record per change of the resampler itself
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to resample")
