"""Boundary conditions: which walkers are at a target, and where they go from there."""

from wepystore.engine.boundary_conditions.base import BoundaryConditions, NoBC
from wepystore.engine.boundary_conditions.unbinding import UnbindingBC

__all__ = ["BoundaryConditions", "NoBC", "UnbindingBC"]
