"""Who arrived at a target in a chain of runs: the warps, with their weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.columns import Ints, Records, read_columns
from wepystore.answers.errors import UnusableWeightsError
from wepystore.answers.study import Chain
from wepystore.records.recording import WEIGHTS

Floats = NDArray[np.float64]

#: How far the weights of a cycle may be from 1 altogether.
_TOLERANCE = 1e-6


class Arrivals:
    """The warps of a chain, in their order.

    Parameters
    ----------
    chain : Chain

    Attributes
    ----------
    chain : Chain
    cycle, walker : ndarray of int, shape (n,)
        Who arrived, and when, as the chain counts.
    weight : ndarray of float, shape (n,)
    target : ndarray of int, shape (n,), or None
        `target_idx`; None where the boundary conditions do not record it.
    first : ndarray of int, shape (n_cycles + 1,)
        Where the walkers of each cycle begin in columns that have one row for each.

    Raises
    ------
    WepystoreError : UnusableWeightsError where weights are no probabilities; DamagedError.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        columns = read_columns(chain.tables, ["warping"])
        warping = Records(columns, "warping", chain.run)
        self.first: Ints = np.concatenate([[0], np.cumsum(warping.n_walkers)])
        weights: Floats = columns[WEIGHTS].astype(np.float64, copy=False)
        check_weights(chain, weights, self.first)
        self.cycle, self.walker = warping.cycle, warping.walkers_that_are_there()
        self.weight = weights[self.rows]
        self.target = warping.numbers("target_idx") if warping.has("target_idx") else None

    @property
    def rows(self) -> Ints:
        """Of those who arrived, in columns that have one row for each walker of each cycle."""
        found: Ints = self.first[self.cycle] + self.walker
        return found

    def per_cycle(self, target: int | None = None) -> Floats:
        """The weight that arrived in each cycle, shape (n_cycles,): at one target, or at all."""
        inside = slice(None) if target is None or self.target is None else self.target == target
        n_cycles = self.chain.n_cycles
        return np.bincount(self.cycle[inside], self.weight[inside], n_cycles).astype(np.float64)


def check_weights(chain: Chain, weights: Floats, first: Ints) -> None:
    """Raise UnusableWeightsError unless those of each cycle are probabilities.

    Parameters
    ----------
    chain : Chain
    weights : ndarray, shape (n,)
        Of all of its walkers, one cycle after the other.
    first : ndarray of int, shape (n_cycles + 1,)
        Where in these each cycle begins.
    """
    sums = np.add.reduceat(np.append(weights, 0.0), first[:-1])
    sums[np.diff(first) == 0] = 0.0
    wrong = ~(np.abs(sums - 1) <= _TOLERANCE)
    below = ~(weights >= 0)
    if below.any():
        wrong[np.searchsorted(first, np.flatnonzero(below), "right") - 1] = True
    for cycle in np.flatnonzero(wrong).tolist():
        span = next(s for s in reversed(chain.runs) if s.first_cycle <= cycle)
        raise UnusableWeightsError(
            run=span.run, cycle=cycle - span.first_cycle, total=f"{sums[cycle]:.6g}"
        )
