"""What all boundary conditions are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.component import Component
from wepystore.engine.record_fields import BoundaryRecords

#: walkers, warping records, boundary condition records, progress
WarpResult = tuple[list[Any], list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]


class BoundaryConditions(BoundaryRecords, Component):
    """Base: recognises walkers at a target and says what becomes of them."""

    _rng: np.random.Generator | None = None

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw from `rng` from now on; the manager calls this before each use (R1)."""
        self._rng = rng

    @property
    def rng(self) -> np.random.Generator:
        """Where random numbers come from; seeded by the system if `set_rng` was not called."""
        if self._rng is None:
            self._rng = np.random.default_rng()
        return self._rng

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """Replace the states of walkers at a target, their weights kept (W3).

        Returns
        -------
        walkers : list, in the same order
        warp_data : list of dict, one record per warp
        bc_data : list of dict, one record per change of the boundary conditions
        progress_data : {field: list of one number per walker}
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which walkers to warp")

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Whether the trajectory before such a warp and the one after it are not one."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say whether its warps are discontinuous"
        )


class NoBC(BoundaryConditions):
    """No boundary conditions: every walker goes on as it is."""

    def __init__(self) -> None:
        """Takes no parameters."""

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> WarpResult:
        """The same walkers and no records."""
        return list(walkers), [], [], {}

    def warping_discontinuity(self, warping_record: Any) -> bool:
        """Never: nothing is warped."""
        return False
