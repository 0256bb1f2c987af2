"""Figures with error bars, and how far they are from what they should be.

An error bar is the standard error of the mean over independent repeats: runs
that share nothing but their start. Its own uncertainty is taken into account:
the deviation of a mean of n repeats, in standard errors, follows Student's t
with n - 1 degrees of freedom, and is turned into the equally improbable
deviation of a normal variable. So "3 sigma" means a chance of 0.27 % of a false
alarm, however many repeats there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

#: Beyond this many sigma a figure is wrong.
BOUND = 3.0


@dataclass(frozen=True)
class Figure:
    """A mean over independent repeats beside the exact value.

    Parameters
    ----------
    name : what was measured, how
    value, error : the mean over the repeats and its standard error
    expected : the exact value
    n_repeats : int
        One more than the degrees of freedom of the error.
    """

    name: str
    value: float
    error: float
    expected: float
    n_repeats: int

    @classmethod
    def of(cls, name: str, samples: ArrayLike, expected: float) -> Figure:
        """From one number of each repeat."""
        numbers = np.asarray(samples, dtype=np.float64)
        error = float(numbers.std(ddof=1) / math.sqrt(len(numbers)))
        return cls(name, float(numbers.mean()), error, float(expected), len(numbers))

    @classmethod
    def between(cls, name: str, samples: ArrayLike, others: ArrayLike) -> Figure:
        """The difference of two means, which should be 0; degrees of freedom as Welch has them.

        Welch, Biometrika 34, 28, 1947: the spread of the two need not be the same.
        """
        both = [np.asarray(numbers, dtype=np.float64) for numbers in (samples, others)]
        squares = [float(numbers.var(ddof=1) / len(numbers)) for numbers in both]
        degrees = sum(squares) ** 2 / sum(
            square**2 / (len(numbers) - 1) for square, numbers in zip(squares, both, strict=True)
        )
        difference = float(both[0].mean() - both[1].mean())
        return cls(name, difference, math.sqrt(sum(squares)), 0.0, 1 + int(degrees))

    @property
    def sigmas(self) -> float:
        """How far `value` is from `expected`, with its sign."""
        difference = self.value - self.expected
        if self.error == 0.0:
            return 0.0 if difference == 0.0 else math.copysign(math.inf, difference)
        return normal_equivalent(difference / self.error, self.n_repeats - 1)

    def __str__(self) -> str:
        return (
            f"figure: {self.name}: {self.value:.5g} +- {self.error:.2g}, "
            f"exact {self.expected:.6g}, {self.sigmas:+.2f} sigma, {self.n_repeats} repeats"
        )


def normal_equivalent(t: float, n_degrees: int) -> float:
    """The normal deviate as improbable as Student's `t`.

    By Wallace's approximation (Ann. Math. Statist. 30, 1121, 1959), which is
    good to 0.01 at 3 sigma from 7 degrees of freedom on.
    """
    factor = (8 * n_degrees + 1) / (8 * n_degrees + 3)
    return math.copysign(factor * math.sqrt(n_degrees * math.log1p(t * t / n_degrees)), t)


def bound_for(n_figures: int) -> float:
    """Sigma that the worst of so many figures exceeds as seldom as one figure exceeds BOUND."""
    alarm = 2 * NormalDist().cdf(-BOUND)
    return -NormalDist().inv_cdf(alarm / n_figures / 2)


def agrees(*figures: Figure) -> bool:
    """Print the figures; whether none of them is further off than chance would have it.

    One figure may be BOUND sigma off; of several, the worst may be off so far
    that it happens as seldom.
    """
    bound = bound_for(len(figures))
    for figure in figures:
        print(figure)
    return all(abs(figure.sigmas) < bound for figure in figures)
