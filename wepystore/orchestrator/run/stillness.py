"""Whether resampling does anything: a run that never clones nor merges is plain dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.adapt import plug_of
from wepystore.engine.ensemble import weights_of
from wepystore.engine.errors import NeverResamplesError
from wepystore.engine.manager import CycleResult, named
from wepystore.engine.resamplers.base import Resampler

#: Cycles without a clone or a merge after which a run is looked at; then after twice as many, …
_FIRST_LOOK = 100
#: Fields of resampling records that say where among regions or bins a walker is.
_PLACES = ("region_assignment", "bin_idx")


class Stillness:
    """Watches one session of a run, and says once why nothing is cloned or merged.

    Parameters
    ----------
    resampler : of the apparatus, ours or anybody's
    """

    def __init__(self, resampler: Any) -> None:
        self._resampler = resampler
        self._n_still = 0
        self._next_look = _FIRST_LOOK
        self._said = False

    def at_start(self, walkers: Sequence[Any]) -> str | None:
        """What is certain before the first cycle: old snapshots are not refused for it."""
        why = None
        if isinstance(self._resampler, Resampler):
            try:
                with named(self._resampler, 0):
                    self._resampler.check_start(weights_of(walkers))
            except NeverResamplesError as error:
                why = str(error)
        else:
            why = self._bound(walkers)
        return self._say(why)

    def after(self, result: CycleResult, cycle_idx: int) -> str | None:
        """What there is to say after a cycle, at most once; most often nothing."""
        if result.n_cloned is None or result.n_cloned or result.n_merged:
            self._n_still, self._next_look = 0, _FIRST_LOOK
            return None
        self._n_still += 1
        if self._said or self._n_still < self._next_look:
            return None
        self._next_look *= 2
        with named(self._resampler, cycle_idx):
            why = self._why(result)
        return self._say(why and f"{self._n_still} cycles without a clone or a merge: {why}")

    def _say(self, why: str | None) -> str | None:
        self._said = self._said or why is not None
        return why

    def _why(self, result: CycleResult) -> str | None:
        if isinstance(self._resampler, Resampler):
            return self._resampler.why_still(result.walkers)
        why = self._bound(result.walkers)
        if why is not None:
            return why
        places = {_place(record) for record in result.resampling_data}
        if len(places) < 2:
            return None
        return (
            f"the walkers are in {len(places)} regions of {type(self._resampler).__name__}; look "
            "at its bounds on weights"
        )

    def _bound(self, walkers: Sequence[Any]) -> str | None:
        """What is known of a resampler of another program's."""
        plug = plug_of(self._resampler)
        return None if plug is None else plug.why_still(self._resampler, weights_of(walkers))


def _place(record: Any) -> tuple[int, ...] | None:
    for name in _PLACES:
        if name in record:
            return tuple(np.ravel(record[name]).tolist())
    return None
