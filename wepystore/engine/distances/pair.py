"""The distance between two atoms as a progress coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.coordinates.periodic import minimum_image
from wepystore.engine.distances.base import (
    Distance,
    atom_indices,
    stacked_positions,
    state_boxes,
)
from wepystore.engine.ensemble import Floats


class PairDistance(Distance):
    """How much the distance between two atoms differs between two states, nm.

    The image is that distance, shape (1,), so the distance of two images is
    the difference of two numbers.

    Parameters
    ----------
    i, j : int
        The two atoms.
    periodic : bool
        Take the nearest periodic image by the state's box vectors.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("i", "j")

    def __init__(self, i: int = 0, j: int = 1, periodic: bool = True) -> None:
        self.i, self.j = atom_indices((i, j), "the pair of atoms (i, j)")
        self.periodic = bool(periodic)

    def images(self, states: Sequence[Any]) -> Floats:
        """The distances of the two atoms in many states, shape (n, 1), nm."""
        pair = np.array([self.i, self.j])
        ends = stacked_positions(states, pair, "PairDistance")
        vectors = ends[:, 1] - ends[:, 0]
        if self.periodic:
            vectors = minimum_image(vectors, state_boxes(states))
        lengths: Floats = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        return lengths

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """|difference| of the pair distances, shape (n,), nm."""
        differences: Floats = np.abs(images[:, 0] - image[0])
        return differences

    def pairwise(self, images: Floats) -> Floats:
        """|differences| of all pairs of images, shape (n, n), nm."""
        return np.abs(images - images[:, 0])
