"""Whether a profile is steady, as far as it tells: its first half against its second (A3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.binning import Axis
from wepystore.estimates.ratios import LEVEL, effective_number
from wepystore.estimates.stationarity import Stationarity, stationarity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: So many stretches along the coordinates are compared.
_STRETCHES = 8


class Held(NamedTuple):
    """What halves_of is told of the cycles of a chain.

    Attributes
    ----------
    cycles, n_walkers : ndarray of int, shape (n_cycles,)
    bins : ndarray of int, shape (n,)
        Of each walker, cycle after cycle; -1 for none.
    weights : ndarray of float, shape (n,)
    """

    cycles: Ints
    n_walkers: Ints
    bins: Ints
    weights: Floats


class Halves(NamedTuple):
    """What the two halves tell.

    Attributes
    ----------
    stationary : bool or None
    reason : str
    """

    stationary: bool | None
    reason: str


class _Stretch(NamedTuple):
    """Some bins that follow each other along an axis, and what the halves tell of them."""

    axis: Axis
    first: int
    stop: int
    found: Stationarity

    def __str__(self) -> str:
        edges = self.axis.edges
        return f"from {edges[self.first]:.4g} to {edges[self.stop]:.4g} along {self.axis.label}"

    @property
    def told(self) -> str:
        """What the halves say."""
        found = self.found
        if not math.isfinite(found.ratio):
            return f"{self} {found.reason}"
        return (
            f"{self} the weight of the second half of what is counted is {found.ratio:.2g} times "
            f"that of the first ({found.low:.2g} to {found.high:.2g})"
        )


def halves_of(axes: Sequence[Axis], units: Sequence[Sequence[Held]], probability: Floats) -> Halves:
    """Whether the weight in some stretches along each axis is steady.

    All bins by themselves would be too many: of fifty that are steady some differ by chance.

    Parameters
    ----------
    axes : one or two
    units : of each independent unit its chains
    probability : ndarray, of the shape of the bins
    """
    places = [
        (axis, *place)
        for k, axis in enumerate(axes)
        for place in _stretches(np.moveaxis(probability, k, 0), _STRETCHES // len(axes))
    ]
    level = 1 - (1 - LEVEL) / len(places)
    found = []
    shape = probability.shape
    for axis, first, stop in places:
        inside = np.zeros(shape, bool)
        inside[(slice(None),) * _number(axes, axis) + (slice(first, stop),)] = True
        found.append(_Stretch(axis, first, stop, _compared(units, inside.ravel(), level)))
    return _told(found)


def _number(axes: Sequence[Axis], axis: Axis) -> int:
    return next(k for k, each in enumerate(axes) if each is axis)


def _stretches(probability: Floats, n: int) -> list[tuple[int, int]]:
    """Bins from the first to before the last, with about as many in each that have weight."""
    weight = probability.reshape(len(probability), -1).sum(axis=1)
    occupied = np.flatnonzero(weight > 0)
    pieces = [each for each in np.array_split(occupied, n) if len(each)]
    return [(int(each[0]), int(each[-1]) + 1) for each in pieces]


def _compared(
    units: Sequence[Sequence[Held]], inside: NDArray[np.bool_], level: float
) -> Stationarity:
    """The weight in some bins."""
    # The last place is that of the walkers in no bin.
    chosen = np.append(inside, False)
    series, weights = [], []
    for unit in units:
        values, lengths = [], []
        for part in unit:
            n_cycles = len(part.cycles)
            cycle = np.repeat(np.arange(n_cycles), part.n_walkers)
            held = chosen[part.bins]
            values.append(np.bincount(cycle[held], part.weights[held], n_cycles))
            lengths.append(np.bincount(cycle, part.weights, n_cycles))
            weights.append(part.weights[held])
        series.append((np.concatenate(values), np.concatenate(lengths)))
    return stationarity(series, effective_number(np.concatenate(weights)), level)


def _told(stretches: Sequence[_Stretch]) -> Halves:
    known = [each for each in stretches if math.isfinite(each.found.low)]
    differing = [each for each in known if each.found.stationary is False]
    if differing:
        worst = max(differing, key=lambda each: abs(math.log(each.found.ratio)))
        return Halves(False, worst.told)
    doubtful = [each for each in stretches if each.found.stationary is not True]
    if doubtful:
        return Halves(None, f"too little was seen: {doubtful[0].told}")
    ratios = [each.found.ratio for each in known]
    return Halves(
        True,
        f"in each of {len(known)} stretches the weight of the second half of what is counted is "
        f"{min(ratios):.2g} to {max(ratios):.2g} times that of the first",
    )
