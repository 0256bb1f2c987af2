"""The weight that went from bin to bin along a coordinate, and the steady states of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.columns import Ints
from wepystore.answers.edges import Edges
from wepystore.answers.segments import Segments
from wepystore.estimates.ratios import FEWEST_UNITS, N_BATCHES
from wepystore.estimates.steady_state import SteadyState, steady_state

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Placed(NamedTuple):
    """The segments of a chain, and where they end.

    Attributes
    ----------
    values : ndarray of float, shape (number of walkers in all cycles,)
    segments : Segments
    counted : ndarray of bool, shape (n_cycles,)
        The cycles that count.
    """

    values: Floats
    segments: Segments
    counted: Bools


class BinCounts:
    """What the segments of units tell in bins.

    Parameters
    ----------
    units : sequence of sequences of Placed
    edges : Edges

    Attributes
    ----------
    finest : ndarray of float, shape (n_finer + 2, n_finer + 2)
        Of all units, in the finest bins, as Segments.matrix.
    parts : ndarray of float, shape (n_parts, n_bins + 2, n_bins + 2)
        Of each unit, or of each batch of one or two, in those that were chosen.
    lengths : ndarray of float, shape (n_parts,)
        Their cycles.
    between : bool
        Whether the parts are units.
    arrived : list of ndarray of float
        Weights of those who arrived.
    """

    def __init__(self, units: Sequence[Sequence[Placed]], edges: Edges) -> None:
        self.edges = edges
        n_finest, n_bins = len(edges.finer) + 3, len(edges.chosen) + 3
        self.finest: Floats = np.zeros((n_finest, n_finest))
        self.between = len(units) >= FEWEST_UNITS
        n_parts = 1 if self.between else N_BATCHES
        self.parts: Floats = np.zeros((len(units) * n_parts, n_bins, n_bins))
        self.lengths: Floats = np.zeros(len(self.parts))
        self.arrived: list[Floats] = []
        for place, unit in enumerate(units):
            self._add(unit, slice(place * n_parts, (place + 1) * n_parts))

    def _add(self, unit: Sequence[Placed], places: slice) -> None:
        """Count the segments of a unit into its parts."""
        parts, lengths = self.parts[places], self.lengths[places]
        counted: Bools = np.concatenate([each.counted for each in unit])
        rank: Ints = np.cumsum(counted) - counted
        part: Ints = rank * len(parts) // int(counted.sum())
        lengths += np.bincount(part[counted], minlength=len(parts))
        first = 0
        for values, segments, cycles in unit:
            bins = np.searchsorted(self.edges.finer, values, "right")
            of_segment = part[first + segments.cycle]
            first += len(cycles)
            self.arrived.append(segments.weight[segments.arrived])
            for k in range(len(parts)):
                found = segments.matrix(bins, len(self.edges.finer) + 1, of_segment == k)
                self.finest += found
                parts[k] += self.edges.merged(found, self.edges.chosen)

    def together(self, edges: Floats) -> Floats:
        """Of all units in bins with these edges, of `edges`."""
        return self.edges.merged(self.finest, edges)

    def fluxes(self, parts: Floats) -> Floats:
        """The flux of each part a cycle; 0 where the target is not reached.

        Where walkers go on to from the target is taken from all: few of the segments tell of it,
        and in a part in which none arrived none do.
        """
        begins = self.together(self.edges.chosen)[-2]
        found = [steady(part, begins) for part in parts]
        return np.array([0.0 if each is None else each.flux for each in found])


def steady(counts: Floats, begins: Floats | None = None) -> SteadyState | None:
    """The steady state in which walkers go on from the target as they do from the initial state.

    Parameters
    ----------
    counts : ndarray of float, shape (n_bins + 2, n_bins + 2)
        As of Segments.matrix.
    begins : ndarray of float, shape (n_bins + 2,), or None
        Where they go on to from the target; None for the row of the initial state.
    """
    closed = counts.copy()
    closed[-1] = counts[-2] if begins is None else begins
    if counts[:, -2].any():
        # What arrives goes on; the row says only where to.
        closed[-1] *= counts[:, -1].sum() / (closed[-1].sum() or 1.0)
    else:
        # Nobody comes back to it, so it is no state but the place where all begin.
        closed[-2] = 0.0
    return steady_state(closed)
