"""What is known of a system and an integrator of OpenMM's, without a context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: OpenMM refuses a box that is smaller than so many cutoffs.
_LEAST_BOX = 1.999999


@dataclass(frozen=True)
class Facts:
    """What is asked again and again. A pickle of a user's runner names this class here.

    Attributes
    ----------
    n_particles : int
    periodic : bool
    step_ps : float
    barostat_steps : int
        Steps between two moves of the slowest barostat; 0 if there is none.
    cutoff : float, nm
        The longest of forces that look for nearest images; 0 if there is none.
    default_box : ndarray, shape (3, 3), nm
        In which a state without one begins.
    integrator : str
        The class of the one that makes the steps.
    deterministic : bool
        Nothing in a step is random.
    carried : tuple of str
        Variables of a custom integrator that go from one step into the next.
    chain_time : float, ps
        In which the chains of a NoseHooverIntegrator answer; 0 if it is none.
    """

    n_particles: int
    periodic: bool
    step_ps: float
    barostat_steps: int
    cutoff: float
    default_box: np.ndarray
    integrator: str
    deterministic: bool
    carried: tuple[str, ...]
    chain_time: float

    def too_small(self, box: Any) -> bool:
        """Whether OpenMM would refuse box vectors of shape (3, 3), nm, for the cutoff."""
        return bool(np.diagonal(np.asarray(box)).min() < _LEAST_BOX * self.cutoff)
