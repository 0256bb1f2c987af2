"""Bins along a coordinate, and which of them values are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.answers.errors import UnfitBinsError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: As many bins if nobody says.
N_BINS = 50
#: Of more there would be few walkers in each; and in two dimensions no memory.
MOST_BINS, MOST_TOGETHER = 10_000, 250_000


@dataclass(frozen=True, eq=False)
class Axis:
    """A coordinate in bins.

    Attributes
    ----------
    label : str
        Of the coordinate.
    unit : str
        "" where nobody says.
    edges : ndarray of float, shape (n_bins + 1,)
        A bin holds its lower edge, the last one its upper too.
    period : float or None
        Values that differ by it are one and the same.
    """

    label: str
    unit: str
    edges: Floats
    period: float | None = None

    @property
    def n_bins(self) -> int:
        """How many there are."""
        return len(self.edges) - 1

    @property
    def sizes(self) -> Floats:
        """How wide each is."""
        return np.diff(self.edges)

    @property
    def centres(self) -> Floats:
        """The middle of each."""
        middle: Floats = (self.edges[:-1] + self.edges[1:]) / 2
        return middle

    @property
    def title(self) -> str:
        """With the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def bins(self, values: Floats) -> Ints:
        """The bin of each value; -1 for one that is in none."""
        edges = self.edges
        if self.period is not None:
            values = _folded(values, float(edges[0]), self.period)
        found = np.searchsorted(edges, values, "right") - 1
        found[values == edges[-1]] = self.n_bins - 1
        found[found >= self.n_bins] = -1
        return found


def axis_of(
    label: str, unit: str, period: float | None, bins: int | ArrayLike, values: Iterable[Floats]
) -> Axis:
    """An axis.

    Parameters
    ----------
    bins : int or sequence of float
        The number of equal bins over all values, or over a period; or edges, that rise.
    values : of several arrays

    Raises UnfitBinsError.
    """
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        if not 1 <= bins <= MOST_BINS:
            raise UnfitBinsError(why=f"{bins} is no number from 1 to {MOST_BINS}")
        first, last = _range(period, values)
        edges = np.linspace(first, last, int(bins) + 1)
    else:
        edges = _checked(bins, period)
    return Axis(label, unit, edges, period)


def _range(period: float | None, values: Iterable[Floats]) -> tuple[float, float]:
    if period is not None:
        return -period / 2, period / 2
    held = [each for each in values if len(each)]
    first, last = min(each.min() for each in held), max(each.max() for each in held)
    if first == last:
        # All in one place, which is to be in the middle of something.
        wide = 0.5 if first == 0 else abs(first) / 2
        return float(first - wide), float(last + wide)
    return float(first), float(last)


def _checked(bins: ArrayLike, period: float | None) -> Floats:
    try:
        edges = np.array(bins, np.float64)
    except (TypeError, ValueError):
        raise UnfitBinsError(why="give a number, or edges") from None
    if edges.ndim != 1 or not 2 <= len(edges) <= MOST_BINS + 1:
        raise UnfitBinsError(why=f"there are 2 to {MOST_BINS + 1} edges")
    if not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        raise UnfitBinsError(why="edges rise")
    if period is not None and edges[-1] - edges[0] > period * (1 + 1e-9):
        why = f"of a coordinate with a period of {period:g} bins cover no more than that"
        raise UnfitBinsError(why=why)
    return edges


def _folded(values: Floats, first: float, period: float) -> Floats:
    """Those of the values that mean the same from `first` on."""
    turned: Floats = values - period * np.floor((values - first) / period)
    return turned


def together(axes: Sequence[Axis], values: Sequence[Floats]) -> Ints:
    """The bin of each walker along several axes, as a number; -1 where it is in none."""
    found = axes[0].bins(values[0])
    for axis, held in zip(axes[1:], values[1:], strict=True):
        other = axis.bins(held)
        found = np.where((found < 0) | (other < 0), -1, found * axis.n_bins + other)
    return found
