"""Ratios of sums over independent parts, such as a rate: weight over time; and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.estimates.students import t_quantile

Floats = NDArray[np.float64]

LEVEL = 0.95
#: Of fewer independent units each is cut into so many contiguous batches.
FEWEST_UNITS, N_BATCHES = 3, 4
#: Beyond this factor an interval says nothing, and no double may overflow.
_MOST_EXPONENT = 700.0


@dataclass(frozen=True, eq=False)
class Ratio:
    """An estimate and its interval.

    Attributes
    ----------
    value, low, high : ndarray of float, or float
        NaN where there is nothing to estimate; low and high also where there is one part only.
    error : ndarray of float, or float
        Standard error of the value.
    degrees : int
        Of freedom, of the error.
    between : bool
        Whether the interval is from independent units, and not from batches of one or two, which
        is optimistic.
    """

    value: Any
    low: Any
    high: Any
    error: Any
    degrees: int
    between: bool


def pooled(amounts: ArrayLike, lengths: ArrayLike) -> tuple[Floats, Floats]:
    """The ratio of the sums of parts, and its standard error; NaN for one part.

    Parameters
    ----------
    amounts : shape (n, ...)
    lengths : shape (n,), or that of the amounts
        Of parts of equal length the error is the standard error of their mean.
    """
    amounts = np.asarray(amounts, np.float64)
    lengths = np.asarray(lengths, np.float64)
    lengths = lengths.reshape(lengths.shape + (1,) * (amounts.ndim - lengths.ndim))
    n, total = len(amounts), lengths.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = amounts.sum(axis=0) / total
        squares = ((amounts - value * lengths) ** 2).sum(axis=0) / total**2
        error = np.sqrt(squares * n / (n - 1)) if n > 1 else np.full_like(squares, np.nan)
    return value, error


def log_interval(
    value: ArrayLike, error: ArrayLike, degrees: int, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """value exp(± t error / value), t of Student's distribution; NaN where the value is not above
    0, or the error not known."""
    value, error = np.asarray(value, np.float64), np.asarray(error, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = t_quantile((1 + level) / 2, degrees) * error / np.where(value > 0, value, np.nan)
        factor = np.exp(np.minimum(exponent, _MOST_EXPONENT))
        return value / factor, value * factor


def batches(values: ArrayLike, lengths: ArrayLike, n: int = N_BATCHES) -> tuple[Floats, Floats]:
    """Sums over contiguous stretches, as equally long as they can be.

    Parameters
    ----------
    values : shape (n_cycles, ...)
    lengths : shape (n_cycles,)

    Returns
    -------
    sums : shape (n, ...), and of the lengths : shape (n,). Fewer where there are fewer cycles.
    """
    values, lengths = np.asarray(values, np.float64), np.asarray(lengths, np.float64)
    n = min(n, len(lengths))
    if not n:
        return values[:0], lengths
    ends = np.cumsum(lengths)
    # The first cycle of each: that in the middle of which the batch before has had its share.
    starts = np.searchsorted(ends - lengths / 2, ends[-1] * np.arange(n) / n)
    # Each has a cycle of its own, whatever the lengths are.
    places = np.arange(n)
    starts = places + np.maximum.accumulate(np.minimum(starts - places, len(lengths) - n))
    return np.add.reduceat(values, starts, axis=0), np.add.reduceat(lengths, starts)


def effective_number(weights: ArrayLike) -> float:
    """So many equal weights tell as much: (sum w)^2 / sum w^2 (Kish); 0 of none."""
    weights = np.asarray(weights, np.float64)
    # The squares of small ones would be none.
    weights = weights / (weights.max(initial=0.0) or 1.0)
    return effective_of(float(weights.sum()), float((weights**2).sum()))


def effective_of(total: float, squares: float) -> float:
    """As effective_number, of the sum of weights and that of their squares."""
    return total**2 / squares if squares else 0.0


def over_units(
    units: Sequence[tuple[ArrayLike, ArrayLike]],
    effective: ArrayLike | None = None,
    level: float = LEVEL,
) -> Ratio:
    """The pooled ratio of independent units, and an interval.

    Of three units and more it is from the spread between them. One or two are cut into four
    batches each; the error is then no less than that of so many independent events as `effective`
    says, since batches that are few agree by chance.

    Parameters
    ----------
    units : sequence of (values, lengths)
        Of each unit the cycles that count: shapes (n_cycles, ...) and (n_cycles,).
    effective : array, or None
        Effective number of events.
    """
    if len(units) >= FEWEST_UNITS:
        parts = [batches(*unit, 1) for unit in units]
    else:
        parts = [batches(*unit) for unit in units]
    amounts, lengths = (np.concatenate(each) for each in zip(*parts, strict=True))
    return of_parts(amounts, lengths, len(units) >= FEWEST_UNITS, effective, level)


def of_parts(
    amounts: ArrayLike,
    lengths: ArrayLike,
    between: bool,
    effective: ArrayLike | None = None,
    level: float = LEVEL,
) -> Ratio:
    """As over_units, of sums over parts that are taken to be independent: units if `between`, else
    batches."""
    value, error = pooled(amounts, lengths)
    degrees = len(np.asarray(amounts)) - 1
    if not between and effective is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.maximum(error, value / np.sqrt(effective))
    low = high = np.full_like(value, np.nan)
    if degrees:
        low, high = log_interval(value, error, degrees, level)
    if value.ndim:
        return Ratio(value, low, high, error, degrees, between)
    return Ratio(float(value), float(low), float(high), float(error), degrees, between)
