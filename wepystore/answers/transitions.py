"""From where to where the walkers of a run went in each segment, along a coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.columns import Ints
from wepystore.answers.lineages import Lineages

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Transitions:
    """One row a segment, of those whose beginning is known.

    Attributes
    ----------
    cycle : ndarray of int, shape (n,)
        It never falls.
    weight : ndarray of float, shape (n,)
        Of the walker during the segment.
    origin : ndarray of int, shape (n,)
        The row of `values` at which the segment began: where its parent had ended. -1 where it
        began in the initial state.
    end : ndarray of int, shape (n,)
        The row of `values` at which it ended.
    arrived : ndarray of bool, shape (n,)
        Whether that was at the target, and the walker was warped.
    """

    cycle: Ints
    weight: Floats
    origin: Ints
    end: Ints
    arrived: Bools

    def matrix(self, bins: Ints, n_bins: int, chosen: Bools | slice = slice(None)) -> Floats:
        """The weight that went from bin to bin, shape (n_bins + 1, n_bins + 1).

        Parameters
        ----------
        bins : ndarray of int, shape (number of walkers in all cycles,)
            The bin at the end of each segment.
        chosen : of the transitions those that count

        The last row is the initial state's, the last column the target's.
        """
        origin, end = self.origin[chosen], self.end[chosen]
        begins = np.where(origin < 0, n_bins, bins[origin])
        ends = np.where(self.arrived[chosen], n_bins, bins[end])
        n = n_bins + 1
        found = np.bincount(begins * n + ends, self.weight[chosen], n * n)
        return found.reshape(n, n).astype(np.float64)


def transitions_of(lineages: Lineages, starts_anew: bool, counted: Bools) -> Transitions:
    """The segments of a run, or of runs that continue each other.

    Parameters
    ----------
    lineages : Lineages
    starts_anew : bool
        Whether all walkers of the first cycle began where warped walkers begin anew. If not,
        their first segments do not count, since nobody knows where they began.
    counted : ndarray of bool, shape (n_cycles,)
        The cycles that count.
    """
    n_walkers = lineages.n_walkers
    first = np.cumsum(n_walkers) - n_walkers
    cycle = np.repeat(np.arange(len(n_walkers)), n_walkers)
    known = lineages.parents >= 0
    origin = np.where(known, np.where(cycle > 0, first[cycle - 1], 0) + lineages.parents, 0)
    in_initial = known & lineages.warped[origin]
    if starts_anew:
        in_initial |= cycle == 0
    end = np.flatnonzero((known | in_initial) & counted[cycle])
    return Transitions(
        cycle=cycle[end],
        weight=lineages.weights[end],
        origin=np.where(in_initial, -1, origin)[end],
        end=end,
        arrived=lineages.warped[end],
    )
