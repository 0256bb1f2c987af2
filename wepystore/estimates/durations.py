"""The flux in a steady state that is not reached yet, from how long events take: RED.

DeGrave, Bogetti and Chong, J. Chem. Phys. 154, 114111 (2021). In a run of n cycles an event that
takes k of them, from where a walker was last in the initial state, can have been seen in n + 1 - k
places only, while n are what the mean divides by. Weighted by how often each could be seen, the
flux is the sum of w / (n + 1 - k) over the events. (That is the raw mean times
n / int_0^n int_0^t f(k) dk dt, f the durations' density so weighted, without a histogram.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def red_flux(weights: ArrayLike, durations: ArrayLike, n_cycles: int) -> float:
    """The flux a cycle.

    Parameters
    ----------
    weights : shape (n,)
        Of the events of a run, from its first cycle on.
    durations : shape (n,)
        In cycles, 1 for a walker that was in the initial state at the end of the cycle before, or
        at the start.
    n_cycles : int
        Of the run.

    Raises ValueError for a duration that is not in 1 … n_cycles.
    """
    weights, durations = np.asarray(weights, np.float64), np.asarray(durations, np.float64)
    if not ((durations >= 1) & (durations <= n_cycles)).all():
        raise ValueError(f"an event of a run of {n_cycles} cycles lasts 1 to {n_cycles} of them")
    return float((weights / (n_cycles + 1 - durations)).sum())
