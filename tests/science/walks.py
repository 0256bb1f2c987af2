"""The random walk under every resampler: what the tests of its laws and times share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.science.ensembles import Experiment, biased
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    PositionCoordinate,
    RandomWalkRunner,
    RandomWalkTargetBC,
    REVOResampler,
    WExploreResampler,
)
from wepystore.engine.ensemble import stacked, weights_of

#: A law is looked at on 0 … this.
N_POSITIONS = 40
RESAMPLERS = ("wexplore", "revo", "bins")
POSITION = PositionCoordinate()
RUNNER = RandomWalkRunner(probability=0.25)


def resampler(kind: str, width: float, exponent: float = 1.0) -> Callable[[], Any]:
    """Makes resamplers that put `width` neighbouring positions together.

    With a width of 1 only equal positions are merged, which is efficient, but
    then it does not matter which survives: nothing is tested of the draw.

    Parameters
    ----------
    exponent : 1 draws survivors by weight, as is right; see `ensembles.biased`
    """
    if kind == "wexplore":
        # Images come to lie at least half a width and 1 apart: 2 apart for a width of 2.
        return lambda: biased(WExploreResampler, exponent)(
            CoordinateDistance(POSITION), (N_POSITIONS,), (width / 2,), pmax=0.1
        )
    if kind == "revo":
        # A low exponent spreads walkers evenly; a high one puts all at the two ends.
        return lambda: biased(REVOResampler, exponent)(
            CoordinateDistance(POSITION),
            merge_dist=width - 0.5,
            char_dist=1.0,
            dist_exponent=0.5,
            pmax=0.1,
        )
    edges = np.arange(width, N_POSITIONS, width) - 0.5
    return lambda: biased(BinResampler, exponent)(POSITION, edges=edges, pmax=0.1)


def experiment(
    make_resampler: Callable[[], Any],
    n_walkers: int,
    n_cycles: int,
    n_steps: int = 1,
    target: int | None = None,
) -> Experiment:
    """Walks from 0, which go back there from `target` if there is one."""
    start = RUNNER.initial_state()
    return Experiment(
        RUNNER,
        None if target is None else RandomWalkTargetBC(target, [start]),
        make_resampler,
        start,
        n_walkers=n_walkers,
        n_steps=n_steps,
        n_cycles=n_cycles,
    )


def position(walkers: Any) -> NDArray[np.float64]:
    """Of each walker, shape (n,)."""
    return stacked(walkers, "positions")[:, 0, 0]


def law(walkers: Any) -> NDArray[np.float64]:
    """The weight at each position, shape (N_POSITIONS,)."""
    where = position(walkers).astype(np.int64)
    return np.bincount(where, weights_of(walkers), N_POSITIONS)[:N_POSITIONS]
