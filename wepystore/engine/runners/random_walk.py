"""A random walk on the non-negative integers: dynamics whose every number can be computed."""

from __future__ import annotations

import numpy as np

from wepystore.engine.ensemble import Floats
from wepystore.engine.errors import ComponentError
from wepystore.engine.parameters import real, whole
from wepystore.engine.protocols import Properties
from wepystore.engine.runners.base import EnsembleRunner
from wepystore.engine.walker import WalkerState


class RandomWalkRunner(EnsembleRunner):
    """An n-dimensional random walk, each dimension by itself, that cannot go below 0.

    A step adds 1 with `probability` and takes 1 away otherwise; a step from 0 to
    -1 is not made. This is the model on which WExplore and REVO were compared
    (Donyapour, Roussey & Dickson, J. Chem. Phys. 150, 244112, 2019). For a
    probability p < 1/2 its stationary law is, in each dimension, geometric with
    ratio p / (1 - p).

    A state has ``positions``, shape (1, n_dims), whole numbers in lattice
    spacings, and ``time``, shape (), in steps.

    Parameters
    ----------
    probability : float, in [0, 1]
        Of a step up.
    n_dims : int, >= 1

    Exact on every machine: the numbers are whole, and each step compares one
    number of numpy's PCG64 stream with `probability`.
    """

    def __init__(self, probability: float = 0.25, n_dims: int = 1) -> None:
        self.probability = real(probability, "probability")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability must be between 0 and 1, got {probability}")
        self.n_dims = whole(n_dims, "n_dims")

    def initial_state(self) -> WalkerState:
        """The origin at time 0."""
        return WalkerState(positions=np.zeros((1, self.n_dims)), time=0.0)

    def move(
        self, positions: Floats, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        """All walkers by `n_steps` steps.

        Raises
        ------
        ComponentError : positions are not of shape (1, n_dims).
        """
        if positions.shape[1:] != (1, self.n_dims):
            raise ComponentError(
                component="RandomWalkRunner",
                problem=f"positions of shape {positions.shape[1:]}, where n_dims={self.n_dims} "
                f"needs (1, {self.n_dims}); start from initial_state()",
            )
        drawn = np.empty(positions.shape)
        for _ in range(n_steps):
            rng.random(out=drawn)
            # +1 or -1 without a branch: twice a truth, less one.
            steps = (drawn < self.probability).astype(np.float64)
            steps *= 2.0
            steps -= 1.0
            positions += steps
            np.maximum(positions, 0.0, out=positions)

    def reproducible(self, platform: str | None, properties: Properties) -> bool:
        """Always: whole numbers and comparisons have the same bits everywhere."""
        return True

    def summary(self) -> dict[str, str]:
        """The walk in two numbers."""
        return {"probability of a step up": f"{self.probability:g}", "dimensions": str(self.n_dims)}
