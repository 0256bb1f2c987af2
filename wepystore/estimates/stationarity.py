"""Whether a flux is steady, as far as it tells: its first half against its second (A3).

No test of a few rare events can show that a flux is steady. So there are three answers: it differs
beyond chance; it does not, and twice as much would have been seen; or neither can be said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wepystore.estimates.ratios import FEWEST_UNITS, LEVEL, N_BATCHES, batches, pooled
from wepystore.estimates.students import t_quantile

#: A change by this factor is to be seen before a flux is called steady.
FACTOR = 2.0
#: Fewer events of equal weight tell nothing of halves.
_FEWEST = 4.0


@dataclass(frozen=True)
class Stationarity:
    """What two halves tell.

    Attributes
    ----------
    stationary : bool or None
        None where it cannot be said.
    rises : bool
        Whether it is known to rise: what is estimated is then a lower bound.
    reason : str
    ratio, low, high : float
        The second half of what is counted, of the first, and an interval; NaN where there is none.
    """

    stationary: bool | None
    rises: bool
    reason: str
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan


def stationarity(
    units: Sequence[tuple[ArrayLike, ArrayLike]], effective: float, level: float = LEVEL
) -> Stationarity:
    """Whether the flux of units, of the cycles that count, is steady.

    Of three units and more the halves of each are compared; of one or two each half is cut into
    batches.

    Parameters
    ----------
    units : as of over_units; values of shape (n_cycles,)
    effective : float
        Effective number of events.
    """
    if min((len(np.asarray(lengths)) for _, lengths in units), default=0) < 2 * N_BATCHES:
        return _unknown("too few cycles")
    if effective < _FEWEST:
        return _unknown(f"too few events: they tell as much as {effective:.2g} of equal weight")
    of_units = len(units) >= FEWEST_UNITS
    n = 1 if of_units else N_BATCHES
    halves: list[list[tuple[float, float]]] = [[], []]
    for values, lengths in units:
        parts = zip(*batches(values, lengths, 2 * n), strict=True)
        for place, part in enumerate(parts):
            halves[place // n].append(part)
    (before, error_before), (after, error_after) = (
        (float(value), float(error))
        for value, error in (pooled(*zip(*half, strict=True)) for half in halves)
    )
    if not before > 0 or not after > 0:
        which, rises = ("second", False) if before > 0 else ("first", True)
        text = f"no event in the {which} half of what is counted"
        # As likely as that so many coins fall alike.
        if 2 * 0.5**effective > 1 - level:
            return _unknown(f"too few events to tell: {text}")
        return Stationarity(False, rises, text + (", so the flux rises" if rises else ""))
    if of_units:
        # Of one unit both halves: what is high in both is no difference.
        error, degrees = _paired(halves, before, after), len(units) - 1
    else:
        error = math.hypot(error_before / before, error_after / after)
        degrees = 2 * (n * len(units) - 1)
    # So many independent events differ by chance so much, at least; one unit with nearly all of
    # the flux would differ from nothing.
    error = max(error, 2 / math.sqrt(effective))
    ratio = after / before
    factor = math.exp(min(700.0, t_quantile((1 + level) / 2, degrees) * error))
    return _told(ratio, ratio / factor, ratio * factor)


def _paired(halves: list[list[tuple[float, float]]], before: float, after: float) -> float:
    """The standard error of ln(after / before)."""
    (a, a_lengths), (b, b_lengths) = (np.array(half).T for half in halves)
    parts = (b - after * b_lengths) / (after * b_lengths.sum())
    parts -= (a - before * a_lengths) / (before * a_lengths.sum())
    return math.sqrt(len(parts) / (len(parts) - 1) * float((parts**2).sum()))


def _told(ratio: float, low: float, high: float) -> Stationarity:
    halves = (
        f"the flux of the second half of what is counted is {ratio:.2g} times that of the first "
        f"({low:.2g} to {high:.2g})"
    )
    if low > 1:
        return Stationarity(False, True, f"it rises: {halves}", ratio, low, high)
    if high < 1:
        return Stationarity(False, False, f"it falls: {halves}", ratio, low, high)
    if low < 1 / FACTOR or high > FACTOR:
        why = f"too few events, or runs too different, to see a factor of two: {halves}"
        return Stationarity(None, False, why, ratio, low, high)
    return Stationarity(True, False, halves, ratio, low, high)


def _unknown(why: str) -> Stationarity:
    return Stationarity(None, False, why)
