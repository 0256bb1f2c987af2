"""Student's t distribution."""

from __future__ import annotations

import functools
import math

#: Terms of the continued fraction; it needs some tens.
_MOST_TERMS = 500


@functools.lru_cache(256)
def t_quantile(probability: float, degrees: float) -> float:
    """The t below which Student's distribution has this probability.

    Parameters
    ----------
    probability : float, in (0, 1)
    degrees : float
        Of freedom, > 0.

    Raises ValueError.
    """
    if not 0 < probability < 1 or not degrees > 0:
        raise ValueError(f"no t with {degrees} degrees of freedom has probability {probability}")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while t_probability(high, degrees) < probability and high < 1e300:
        low, high = high, 2 * high
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if t_probability(middle, degrees) < probability:
            low = middle
        else:
            high = middle


def t_probability(t: float, degrees: float) -> float:
    """The probability of less than `t`."""
    if t < 0:
        return 1 - t_probability(-t, degrees)
    # With x close to 1 one minus it has more digits.
    x = degrees / (degrees + t * t)
    return 1 - _incomplete_beta(x, t * t / (degrees + t * t), degrees / 2, 0.5) / 2


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b); `rest` is 1 - x."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    # The fraction converges fast below the mean only.
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(rest, x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log(rest)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction, 1 + d1/(1 + d2/(1 + …)), by Lentz's method (Thompson and Barnett, J.
    Comput. Phys. 64, 490, 1986)."""
    found = c = 1.0
    d = 0.0
    for term in range(1, _MOST_TERMS):
        m = term // 2
        if term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + step * d)
        c = 1 + step / c
        found *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return found
