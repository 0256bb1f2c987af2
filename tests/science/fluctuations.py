"""How much the flux of a weighted ensemble fluctuates, from the exact transition matrix.

A walker at x brings more flux, or less, than the average one: by h(x), the solution of
Poisson's equation h - K h = f - J. K is the chain with walkers put back at the start when
they are seen at the target, f(x) the probability to be seen there at the next look and J
the steady flux. In a cycle, what a walker is worth changes by a random number of mean 0,
independent of all before, with variance v(x)^2 and third moment m(x). The mean flux over T
cycles therefore has the variance

    (sum over walkers and cycles of w^2 v(x)^2) / T^2

and what resampling adds, which bins that are narrow beside h keep small (Aristoff &
Zuckerman, Multiscale Model. Simul. 18, 646, 2020). It is least where the number of walkers
at x is proportional to p(x) v(x), p being the steady law. Then (sum p v)^2 / (N T) is left.

Nothing here is taken from measured fluxes, so a set-up may be chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.science.reference import Chain
from wepystore.api import PositionCoordinate
from wepystore.engine.ensemble import stacked, weights_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fluctuations:
    """Of the flux into a target, in one dimension; arrays are over the points below the target.

    Parameters
    ----------
    points : shape (n,), ascending
    law : shape (n,), the steady law p
    worth : shape (n,), h, in walkers at the target
    variance, third : shape (n,), v^2 and m of one walker in one cycle
    flux : J, per cycle
    """

    points: Floats
    law: Floats
    worth: Floats
    variance: Floats
    third: Floats
    flux: float

    @classmethod
    def of(cls, chain: Chain, target: float) -> Fluctuations:
        """For a chain looked at once a cycle."""
        outside = chain.points < target
        inner = chain.matrix[np.ix_(outside, outside)]
        start, hit = chain.start[outside], chain.matrix[np.ix_(outside, ~outside)].sum(axis=1)
        kernel = inner + np.outer(hit, start)
        one = np.eye(len(hit))
        # The law is the left null vector of 1 - K, and sums to 1.
        law = np.linalg.solve(np.vstack([(one - kernel).T[:-1], np.ones(len(hit))]), one[-1])
        flux = float(law @ hit)
        # h is fixed up to a constant, which makes its mean over the law 0.
        worth = np.linalg.solve(one - kernel + law, hit - flux)
        expected = worth + flux
        arrived = 1 + start @ worth

        def moment(power: int) -> Floats:
            stays = (inner * (worth - expected[:, np.newaxis]) ** power).sum(axis=1)
            moments: Floats = stays + hit * (arrived - expected) ** power
            return moments

        order = np.argsort(chain.points[outside])
        points = chain.points[outside]
        columns = (points, law, worth, moment(2), moment(3))
        return cls(*(column[order] for column in columns), flux=flux)

    @property
    def best(self) -> float:
        """N T times the least relative variance that N walkers can have in T cycles."""
        return float(self.law @ np.sqrt(self.variance)) ** 2 / self.flux**2

    def cost(self, walkers: Any) -> tuple[float, float]:
        """Sums of w^2 v^2 and of w^3 m: what the next cycle adds to the second and third moment."""
        places, weights = stacked(walkers, "positions")[:, 0, 0], weights_of(walkers)
        return (
            float(weights**2 @ np.interp(places, self.points, self.variance)),
            float(weights**3 @ np.interp(places, self.points, self.third)),
        )

    def foreseen(self, costs: Floats) -> tuple[float, float]:
        """What the walkers' weights and places say of the mean flux, before any flux is looked at.

        Parameters
        ----------
        costs : shape (..., 2), what `cost` gave in every cycle that counts, of all repeats

        Returns
        -------
        error : of the mean over all of them, relative to the flux
        skewness : of that mean; where it is not small an error bar means little
        """
        second, third = costs.reshape(-1, 2).sum(axis=0)
        n_cycles = costs.size / 2
        return float(second**0.5 / n_cycles / self.flux), float(third / second**1.5)


class EvenProgress:
    """A progress coordinate from 0 to 1 in which equal steps deserve equally many walkers.

    It is the share of sum p v that lies below x: bins or regions of equal width in it, with as
    many walkers in each, spend walkers where the flux fluctuates.
    """

    def __init__(self, fluctuations: Fluctuations) -> None:
        share = np.cumsum(fluctuations.law * np.sqrt(fluctuations.variance))
        self._points, self._share = fluctuations.points, share / share[-1]
        self._position = PositionCoordinate()

    def many(self, states: Sequence[Any]) -> Floats:
        """Of many states, shape (n,)."""
        places = self._position.many(states)[:, 0]
        return np.interp(places, self._points, self._share)
