"""Whether a profile is steady, as far as it tells: its first half against its second (A3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.binning import Axis
from wepystore.estimates.ratios import LEVEL
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
            return f"{self} there are too few walkers or cycles to compare"
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
        _stretches(np.moveaxis(probability, k, 0), _STRETCHES // len(axes))
        for k in range(len(axes))
    ]
    level = 1 - (1 - LEVEL) / sum(map(len, places))
    found = []
    for k, axis in enumerate(axes):
        numbers = np.arange(axis.n_bins)
        # Of each bin along this axis the number of its stretch; of none the last.
        along = np.full(axis.n_bins, len(places[k]))
        for number, (first, stop) in enumerate(places[k]):
            along[(numbers >= first) & (numbers < stop)] = number
        shape = [1] * len(axes)
        shape[k] = axis.n_bins
        of_bin = np.broadcast_to(along.reshape(shape), probability.shape).ravel()
        compared = _compared(units, np.append(of_bin, len(places[k])), len(places[k]), level)
        found += [
            _Stretch(axis, first, stop, each)
            for (first, stop), each in zip(places[k], compared, strict=True)
        ]
    return _told(found)


def _stretches(probability: Floats, n: int) -> list[tuple[int, int]]:
    """Bins from the first to before the last, with about as many in each that have weight."""
    weight = probability.reshape(len(probability), -1).sum(axis=1)
    occupied = np.flatnonzero(weight > 0)
    pieces = [each for each in np.array_split(occupied, n) if len(each)]
    return [(int(each[0]), int(each[-1]) + 1) for each in pieces]


def _compared(
    units: Sequence[Sequence[Held]], of_bin: Ints, n_stretches: int, level: float
) -> list[Stationarity]:
    """The weight in each stretch; `of_bin` tells the stretch of each bin, and at last of none."""
    n = n_stretches + 1
    values, lengths = [], []
    sums, squares = np.zeros(n), np.zeros(n)
    for unit in units:
        held = []
        for cycles, n_walkers, bins, weights in unit:
            number = of_bin[bins]
            sums += np.bincount(number, weights, n)
            squares += np.bincount(number, weights**2, n)
            number += np.repeat(np.arange(len(cycles)) * n, n_walkers)
            held.append(np.bincount(number, weights, len(cycles) * n).reshape(-1, n))
        every = np.concatenate(held)
        values.append(every)
        lengths.append(every.sum(axis=1))
    with np.errstate(invalid="ignore"):
        effective = np.nan_to_num(sums**2 / squares)
    return [
        stationarity(
            [(each[:, k], length) for each, length in zip(values, lengths, strict=True)],
            float(effective[k]),
            level,
        )
        for k in range(n_stretches)
    ]


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
