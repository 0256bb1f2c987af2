"""Bins along a coordinate: their edges, once more with half as many, and with twice as many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Edges(NamedTuple):
    """Where bins meet; the first and the last bin have no end.

    Each of the two lower ones holds all edges of the one before it.

    Attributes
    ----------
    coarser, chosen, finer : ndarray of float, shape (n_bins - 1,)
        A value that is an edge is in the bin above it.
    """

    coarser: Floats
    chosen: Floats
    finer: Floats

    def merged(self, counts: Floats, edges: Floats) -> Floats:
        """Of weight between bins of `finer`, and states that come after them, that of other bins.

        Parameters
        ----------
        counts : ndarray of float, shape (n_finer + n_states, n_finer + n_states)
        edges : those of the others
        """
        begins = np.searchsorted(self.finer, edges) + 1
        parts = np.concatenate([[0], begins, np.arange(len(self.finer) + 1, len(counts))])
        found: Floats = np.add.reduceat(np.add.reduceat(counts, parts, axis=0), parts, axis=1)
        return found


def edges_of(values: Floats, bins: int | Floats) -> Edges:
    """The edges of bins.

    Parameters
    ----------
    values : ndarray of float, shape (n,), n > 0
    bins : int or ndarray of float
        So many with as many of the values in each, as far as these differ; or the edges, of which
        each is larger than the one before it.
    """
    ordered = np.sort(values)
    if isinstance(bins, int):
        places = np.arange(1, bins) * len(ordered) // bins
        chosen = np.unique(ordered[places])
        chosen = chosen[chosen > ordered[0]]
    else:
        chosen = bins
    return Edges(chosen[1::2], chosen, _split(ordered, chosen))


def _split(ordered: Floats, edges: Floats) -> Floats:
    """The edges, and one more in each bin with different values, so that half of them lie on
    either side of it as nearly as can be."""
    places = np.searchsorted(ordered, edges)
    begin, end = np.append(0, places), np.append(places, len(ordered))
    held = begin < end
    begin, end = begin[held], end[held]
    halves = ordered[(begin + end) // 2]
    # Where half of them are equal to the least, the next larger one.
    above = np.searchsorted(ordered, ordered[begin], "right")
    least = above < end
    nearest = np.where(least, ordered[np.minimum(above, len(ordered) - 1)], np.inf)
    more = np.maximum(halves, nearest)[least]
    return np.union1d(edges, more)
