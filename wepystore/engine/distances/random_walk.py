"""The distance on which resamplers are compared with random walks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.distances.base import Distance
from wepystore.engine.ensemble import Floats


class RandomWalkDistance(Distance):
    """Mean over the dimensions of the distance along each, in lattice spacings.

    The Manhattan distance over the number of dimensions, as in the comparison of
    WExplore and REVO (Donyapour, Roussey & Dickson, J. Chem. Phys. 150, 244112,
    2019) and in wepy's class of that name. Of molecules it would be the mean over
    all coordinates, which means little.
    """

    def __init__(self) -> None:
        """Takes no parameters."""

    def images(self, states: Sequence[Any]) -> Floats:
        """The positions of many states, shape (n, 1, n_dims)."""
        return np.array([state["positions"] for state in states], dtype=np.float64)

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """Distance of `image` to each of `images`, shape (n,)."""
        apart = np.abs(images - image)
        distances: Floats = apart.reshape(len(apart), -1).mean(axis=1)
        return distances
