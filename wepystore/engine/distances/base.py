"""What every distance is, and the checks of atom indices that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.component import Component
from wepystore.engine.ensemble import Floats
from wepystore.engine.protocols import (
    DistanceCapabilities,
    MeasuringCapabilities,
    PeriodicCapabilities,
)


class Distance(Component):
    """How different two states are, by way of an *image*: the few numbers that matter.

    A subclass gives `image` and `image_distances`; one written for wepy gives
    `image` and `image_distance`, and works as well, only slower. One that gives
    `images(states)`, the images of many states stacked on axis 0, needs no `image`,
    and saves resamplers the time of asking for each.
    """

    def image(self, state: Any) -> Floats:
        """The part of a state that distances are measured on; the same shape for every state."""
        many = DistanceCapabilities(self).images
        if many is None:
            raise NotImplementedError(f"{type(self).__name__} does not say what its image is")
        image: Floats = many([state])[0]
        return image

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """Distances, shape (n,), of `image` to each of `images`, stacked on axis 0."""
        if type(self).image_distance is Distance.image_distance:
            raise NotImplementedError(
                f"{type(self).__name__} does not say how images are compared: "
                "it needs image_distances or image_distance"
            )
        return np.array([self.image_distance(image, other) for other in images])

    def image_distance(self, image_a: Floats, image_b: Floats) -> float:
        """Distance between two images."""
        return float(self.image_distances(image_a, np.asarray(image_b)[np.newaxis])[0])

    def distance(self, state_a: Any, state_b: Any) -> float:
        """Distance between two states."""
        return self.image_distance(self.image(state_a), self.image(state_b))


class Folding:
    """Of what folds positions by the box vectors if the distance or coordinate in it does."""

    @property
    def periodic(self) -> bool:
        """Whether it does."""
        inside = MeasuringCapabilities(self)
        parts = (inside.distance, inside.coordinate)
        return any(PeriodicCapabilities(part).periodic for part in parts)


def atom_indices(indices: Iterable[int], name: str) -> tuple[int, ...]:
    """`indices` as a tuple of ints, at least one, none negative, none twice.

    Raises
    ------
    ValueError : names the parameter and the culprit.
    """
    try:
        array = np.asarray(list(indices))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a flat list of whole numbers, got {indices!r}") from None
    if array.size == 0:
        raise ValueError(f"{name} is empty: at least one atom index is needed")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a flat list of whole numbers, got {array.dtype} of shape {array.shape}"
        )
    checked = tuple(int(index) for index in array)
    if min(checked) < 0:
        raise ValueError(f"{name} holds {min(checked)}; atoms are counted from 0")
    if len(set(checked)) < len(checked):
        twice = next(index for index in checked if checked.count(index) > 1)
        raise ValueError(f"{name} holds atom {twice} more than once")
    return checked


def state_positions(state: Any, indices: NDArray[np.int64], name: str) -> Floats:
    """Positions (len(indices), 3), nm, of some atoms of a state.

    Raises
    ------
    ValueError : the state has fewer atoms than `indices` (called `name`) ask for.
    """
    positions: Floats = state["positions"]
    try:
        return positions[indices]
    except IndexError:
        raise ValueError(
            f"{name} names atom {int(indices.max())}, but the state has {len(positions)} atoms "
            f"(0 to {len(positions) - 1})"
        ) from None


def stacked_positions(states: Sequence[Any], indices: NDArray[np.int64], name: str) -> Floats:
    """Positions (n, len(indices), 3), nm, of some atoms of many states.

    Raises
    ------
    ValueError : as `state_positions`.
    """
    rows = [state["positions"] for state in states]
    try:
        if 2 * len(indices) >= len(rows[0]):
            # Nearly all of them: one call for all states is cheaper than one for each.
            return np.array(rows, dtype=np.float64)[:, indices]
    except (IndexError, ValueError):
        pass  # Too few atoms, or states of unequal size: one by one.
    return np.stack([state_positions(state, indices, name) for state in states])


def state_boxes(states: Sequence[Any]) -> Floats:
    """Box vectors (n, 3, 3), nm, of many states.

    Raises
    ------
    ValueError : a state has none.
    """
    try:
        return np.stack([state["box_vectors"] for state in states])
    except KeyError:
        raise ValueError(
            "a state has no box_vectors: give periodic=False if the system is not periodic"
        ) from None
