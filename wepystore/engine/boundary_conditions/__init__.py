"""Boundary conditions: which walkers are at a target, and where they go from there."""

from wepystore.engine.boundary_conditions.base import BoundaryConditions, NoBC, WarpBC
from wepystore.engine.boundary_conditions.rebinding import RebindingBC
from wepystore.engine.boundary_conditions.target import RandomWalkTargetBC, TargetBC
from wepystore.engine.boundary_conditions.unbinding import UnbindingBC

__all__ = [
    "BoundaryConditions",
    "NoBC",
    "RandomWalkTargetBC",
    "RebindingBC",
    "TargetBC",
    "UnbindingBC",
    "WarpBC",
]
