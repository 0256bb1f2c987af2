"""Boundary conditions: which walkers are at a target, and where they go from there."""
