"""From where to where the walkers of a run went in each segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.between_states import Colours
from wepystore.answers.columns import Ints
from wepystore.answers.lineages import Lineages
from wepystore.records.recording import WEIGHTS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Segments:
    """One row a segment, of those that begin in the initial state or come from there.

    Attributes
    ----------
    cycle : ndarray of int, shape (n,)
        It never falls.
    weight : ndarray of float, shape (n,)
        Of the walker during the segment.
    origin : ndarray of int, shape (n,)
        Where it began: where its parent had ended, a row of columns with one for each walker of
        each cycle; -1 in the initial state.
    end : ndarray of int, shape (n,)
        The row of its own end.
    arrived : ndarray of bool, shape (n,)
        Whether that is at the target.
    returned : ndarray of bool, shape (n,)
        Whether it is in the initial state, where that is one.
    """

    cycle: Ints
    weight: Floats
    origin: Ints
    end: Ints
    arrived: Bools
    returned: Bools

    def matrix(self, bins: Ints, n_bins: int, chosen: Bools | slice = slice(None)) -> Floats:
        """The weight that went from bin to bin, shape (n_bins + 2, n_bins + 2).

        Parameters
        ----------
        bins : ndarray of int
            The bin of each row of columns.
        n_bins : int
        chosen : of the segments those that count

        After the bins come the initial state and the target, from which nothing goes.
        """
        origin, end = self.origin[chosen], self.end[chosen]
        begins = np.where(origin < 0, n_bins, bins[origin])
        ends = np.where(self.returned[chosen], n_bins, bins[end])
        ends[self.arrived[chosen]] = n_bins + 1
        n = n_bins + 2
        found = np.bincount(begins * n + ends, self.weight[chosen], n * n)
        return found.reshape(n, n).astype(np.float64)


def segments_to_warps(lineages: Lineages, starts_anew: bool, counted: Bools) -> Segments:
    """The segments of a run, or of runs that continue each other, from where warped walkers begin
    anew to where they arrive.

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
    anew = known & lineages.warped[origin]
    if starts_anew:
        anew |= cycle == 0
    end = np.flatnonzero((known | anew) & counted[cycle])
    return Segments(
        cycle=cycle[end],
        weight=lineages.weights[end],
        origin=np.where(anew, -1, origin)[end],
        end=end,
        arrived=lineages.warped[end],
        returned=np.zeros(len(end), bool),
    )


def segments_between(colours: Colours, counted: Bools) -> Segments:
    """The segments of walkers that were last in the first of two states, to the second one.

    Parameters
    ----------
    colours : Colours
    counted : ndarray of bool, shape (n_cycles,)
        The cycles that count.
    """
    first = colours.warps.first
    cycle = np.repeat(np.arange(len(first) - 1), np.diff(first))
    end = np.flatnonzero((colours.before == 0) & counted[cycle])
    origin = colours.parents[end]
    in_state = colours.anew[end] | colours.in_a[origin]
    return Segments(
        cycle=cycle[end],
        weight=colours.warps.chain.tables[WEIGHTS][end],
        origin=np.where(in_state, -1, origin),
        end=end,
        arrived=colours.in_b[end],
        returned=colours.in_a[end],
    )
