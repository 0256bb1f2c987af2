"""Distance in a plane: two-dimensional systems, and molecules in a membrane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.coordinates.periodic import minimum_image
from wepystore.engine.distances.base import (
    Distance,
    atom_indices,
    state_boxes,
    state_positions,
)
from wepystore.engine.ensemble import Floats


class XYDistance(Distance):
    """How far the centroid of some atoms lies apart in the xy plane, nm.

    Parameters
    ----------
    atoms : list of int
        The centroid counts every atom the same. For a particle on a
        two-dimensional potential, the default: atom 0.
    periodic : bool
        Take the nearest periodic image in x and y, by the mean of the two
        states' box vectors: the box of a membrane breathes in its plane.
        Molecules are taken to be whole.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("atoms",)

    def __init__(self, atoms: Iterable[int] = (0,), periodic: bool = False) -> None:
        self.atoms = atom_indices(atoms, "atoms")
        self.periodic = bool(periodic)
        self._atoms = np.array(self.atoms)

    def images(self, states: Sequence[Any]) -> Floats:
        """The centroids' x and y, shape (n, 2), nm; in a periodic system then ax, bx and by of
        the box, (n, 5)."""
        positions = np.stack(
            [state_positions(_two_axes(state), self._atoms, "atoms") for state in states]
        )
        centres: Floats = positions.mean(axis=1)
        if not self.periodic:
            return centres
        boxes = state_boxes(states)
        return np.concatenate([centres, boxes[:, 0, :1], boxes[:, 1, :2]], axis=1)

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """Distance in the plane of `image` to each of `images`, shape (n,), nm."""
        apart = np.zeros((len(images), 3))
        apart[:, :2] = images[:, :2] - image[:2]
        if self.periodic:
            boxes = np.zeros((len(images), 3, 3))
            boxes[:, 0, 0], boxes[:, 1, 0], boxes[:, 1, 1] = ((images[:, 2:] + image[2:]) / 2).T
            # Any height: z is 0, and so it is in the nearest image.
            boxes[:, 2, 2] = boxes[:, 1, 1]
            apart = minimum_image(apart, boxes)
        return np.sqrt(apart[:, 0] ** 2 + apart[:, 1] ** 2)


def _two_axes(state: Any) -> dict[str, Floats]:
    """The state's x and y, atoms along the first axis."""
    positions = np.atleast_2d(state["positions"])
    if positions.shape[1] < 2:
        raise ValueError(
            f"XYDistance needs positions with x and y, got positions of shape {positions.shape}"
        )
    return {"positions": positions[:, :2]}
