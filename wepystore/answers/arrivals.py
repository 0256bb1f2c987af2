"""Who arrived in a chain of runs, with which weight: at a target, from where they were warped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.columns import Ints, Records, read_columns
from wepystore.answers.errors import UnusableWeightsError
from wepystore.answers.study import Chain
from wepystore.records.recording import WEIGHTS

Floats = NDArray[np.float64]

#: How far the weights of a cycle may be from 1 altogether.
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Who arrived in a chain, in the order of the cycles.

    Attributes
    ----------
    chain : Chain
    cycle, walker : ndarray of int, shape (n,)
        Who arrived, and when, as the chain counts.
    weight : ndarray of float, shape (n,)
    first : ndarray of int, shape (n_cycles + 1,)
        Where the walkers of each cycle begin in columns that have one row for each.
    target : ndarray of int, shape (n,), or None
        `target_idx` of warps; None where the boundary conditions do not record it.
    exposure : ndarray of float, shape (n_cycles,), or 1
        The weight that could arrive in each cycle.
    are_warps : bool
    goes_on : ndarray of bool, shape (n,), or None
        Of warps, whether the walker went on as it was, as its record says: then it does not begin
        anew. None where no record says so of any.
    """

    chain: Chain
    cycle: Ints
    walker: Ints
    weight: Floats
    first: Ints
    target: Ints | None = None
    exposure: Floats | float = 1.0
    are_warps: bool = True
    goes_on: NDArray[np.bool_] | None = None

    @property
    def rows(self) -> Ints:
        """Of those who arrived, in columns that have one row for each walker of each cycle."""
        found: Ints = self.first[self.cycle] + self.walker
        return found

    @property
    def ended_rows(self) -> Ints:
        """The rows of those whose children begin anew."""
        return self.rows if self.goes_on is None else self.rows[~self.goes_on]

    def per_cycle(self, target: int | None = None) -> Floats:
        """The weight that arrived in each cycle, shape (n_cycles,): at one target, or at all."""
        inside = slice(None) if target is None or self.target is None else self.target == target
        n_cycles = self.chain.n_cycles
        return np.bincount(self.cycle[inside], self.weight[inside], n_cycles).astype(np.float64)


def warps_of(chain: Chain) -> Arrivals:
    """The warps of a chain. Raises UnusableWeightsError where weights are no probabilities;
    DamagedError."""
    columns = read_columns(chain.tables, ["warping"])
    warping = Records(columns, "warping", chain.run)
    first: Ints = np.concatenate([[0], np.cumsum(warping.n_walkers)])
    weights: Floats = columns[WEIGHTS].astype(np.float64, copy=False)
    check_weights(chain, weights, first)
    cycle, walker = warping.cycle, warping.walkers_that_are_there()
    target = warping.numbers("target_idx") if warping.has("target_idx") else None
    goes_on = warping.numbers("continuous") != 0 if warping.has("continuous") else None
    weight = weights[first[cycle] + walker]
    return Arrivals(chain, cycle, walker, weight, first, target, goes_on=goes_on)


def check_weights(chain: Chain, weights: Floats, first: Ints) -> None:
    """Raise UnusableWeightsError unless the weights of each cycle are probabilities."""
    sums = np.add.reduceat(np.append(weights, 0.0), first[:-1])
    sums[np.diff(first) == 0] = 0.0
    wrong = ~(np.abs(sums - 1) <= _TOLERANCE)
    below = np.flatnonzero(~(weights >= 0))
    wrong[np.searchsorted(first, below, "right") - 1] = True
    for cycle in np.flatnonzero(wrong).tolist():
        span = next(s for s in reversed(chain.runs) if s.first_cycle <= cycle)
        raise UnusableWeightsError(
            run=span.run, cycle=cycle - span.first_cycle, total=f"{sums[cycle]:.6g}"
        )
