"""The steady state of a Markov chain of which transitions were counted, with a target that leads
back to an initial state.

States are bins, and one more: the target, the last one. What arrives there begins anew, so its row
is where the segments ended that began in the initial state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A transition that is less probable is none: products of such numbers would be zero.
_LEAST = 1e-100


@dataclass(frozen=True, eq=False)
class SteadyState:
    """What does not change any more, one transition after the other.

    Attributes
    ----------
    probabilities : ndarray of float, shape (n + 1,)
        To be in each bin after a transition, and to arrive at the target in one; 0 for what is left
        out.
    kept : ndarray of bool, shape (n + 1,)
        Which bins lead from the initial state to the target, and can be reached from it.
    left_out : float
        Part of the counted weight in transitions that begin or end in another bin.
    matrix : ndarray of float, shape (n_kept, n_kept)
        The probability to go from one to another of these.
    """

    probabilities: Floats
    kept: NDArray[np.bool_]
    left_out: float
    matrix: Floats

    @property
    def flux(self) -> float:
        """Probability that arrives at the target in a transition."""
        return float(self.probabilities[-1])

    @property
    def relaxation(self) -> float:
        """Transitions until the slowest part of what is not yet steady has fallen to 1/e; inf where
        it never falls, 0 where nothing lasts."""
        return relaxation(self.matrix)


def steady_state(counts: Floats) -> SteadyState | None:
    """The steady state that transitions lead to.

    Parameters
    ----------
    counts : ndarray of float, shape (n + 1, n + 1)
        [i, j] the weight that went from i to j; the last row and column are the target's.

    Returns
    -------
    SteadyState, or None where the target is not reached from the initial state.
    """
    totals = counts.sum(axis=1)
    matrix = np.divide(
        counts, totals[:, None], out=np.zeros_like(counts), where=totals[:, None] > 0
    )
    leads = matrix > _LEAST
    kept = _reached(leads) & _reached(leads.T)
    if not kept[-1]:
        return None
    inner = np.ix_(kept, kept)
    matrix = np.where(leads, matrix, 0.0)[inner]
    matrix /= matrix.sum(axis=1, keepdims=True)
    probabilities = np.zeros(len(counts))
    probabilities[kept] = stationary(matrix)
    left_out = 1.0 - float(counts[inner].sum() / totals.sum())
    return SteadyState(probabilities, kept, max(left_out, 0.0), matrix)


def stationary(matrix: Floats) -> Floats:
    """The distribution that a stochastic matrix leaves as it is, shape (n,).

    Parameters
    ----------
    matrix : ndarray of float, shape (n, n)
        [i, j] the probability to go from i to j; each state can be reached from each other.

    By elimination of one state after the other (Grassmann, Taksar and Heyman, Operations Research
    33, 1107, 1985). Nothing is subtracted, so a probability of 1e-30 has as many correct digits as
    one of 0.5, which no solver of linear equations and no eigenvector gives.
    """
    left = np.array(matrix, dtype=np.float64)
    for last in range(len(left) - 1, 0, -1):
        left[:last, last] /= left[last, :last].sum()
        left[:last, :last] += np.outer(left[:last, last], left[last, :last])
    found = np.zeros(len(left))
    found[0] = 1.0
    for state in range(1, len(left)):
        found[state] = found[:state] @ left[:state, state]
        # What is large here may not overflow there.
        found[: state + 1] /= found[: state + 1].max()
    found /= found.sum()
    return found


def relaxation(matrix: Floats) -> float:
    """As SteadyState has it, of a stochastic matrix, by its second eigenvalue."""
    values = np.linalg.eigvals(matrix).real
    second = float(np.sort(values)[-2]) if len(values) > 1 else 0.0
    if second <= 0:
        return 0.0
    return -1.0 / math.log(second) if second < 1 else math.inf


def _reached(leads: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which states the last one leads to, in any number of transitions, shape (n,)."""
    found: NDArray[np.bool_] = leads[-1].copy()
    fresh = found
    while fresh.any():
        fresh = leads[fresh].any(axis=0) & ~found
        found = found | fresh
    return found
