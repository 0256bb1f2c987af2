"""Images of many walkers, and the distances between all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.ensemble import Ensemble, Floats, states_of
from wepystore.engine.errors import NotADistanceError
from wepystore.engine.protocols import CoordinateCapabilities, DistanceCapabilities


def is_numeric(image: Any) -> bool:
    """Whether an image can be kept, without loss, in a float64 array."""
    if isinstance(image, np.ndarray):
        return bool(image.dtype.kind == "f" and image.dtype.itemsize <= 8)
    return isinstance(image, float)


def images_of(distance: Any, states: Sequence[Any]) -> Any:
    """The images of `states`, stacked on axis 0 if they are arrays of one shape, else a list."""
    many = DistanceCapabilities(distance).images
    if many is not None:
        return many(states)
    images = [distance.image(state) for state in states]
    if all(is_numeric(image) for image in images) and len({np.shape(i) for i in images}) == 1:
        return np.array(images, dtype=np.float64)
    return images


def walker_images(distance: Any, walkers: Sequence[Any]) -> Any:
    """As `images_of`; an ensemble goes whole to a distance that takes it."""
    whole = isinstance(walkers, Ensemble) and CoordinateCapabilities(distance).takes_ensembles
    return images_of(distance, walkers if whole else states_of(walkers))


def all_distances(distance: Any, images: Any) -> Floats:
    """The distances between all pairs of images, shape (n, n), zero on the diagonal.

    A distance is taken to be symmetric: each pair is measured once. Uses the
    distance's ``pairwise(images)`` if it has one, else ``image_distances``,
    a row at a time, else ``image_distance``.

    Raises
    ------
    NotADistanceError : a distance is negative, infinite or not a number.
    """
    n_images = len(images)
    faster = DistanceCapabilities(distance)
    if faster.pairwise is not None and isinstance(images, np.ndarray):
        matrix = np.asarray(faster.pairwise(images), dtype=np.float64)
        if matrix.diagonal().any():
            # |a|^2 + |b|^2 - 2 a.b, say, is rounded where a is b.
            matrix = matrix.copy()
            np.fill_diagonal(matrix, 0.0)
    else:
        matrix = np.zeros((n_images, n_images))
        many = faster.image_distances
        for row in range(n_images - 1):
            others = images[row + 1 :]
            matrix[row, row + 1 :] = (
                many(images[row], others)
                if many is not None
                else [distance.image_distance(images[row], other) for other in others]
            )
        matrix += matrix.T
    # One pass: a maximum is not a number if any of them is.
    if n_images and not (matrix.min() >= 0 and matrix.max() < np.inf):
        wrong = ~((matrix >= 0) & (matrix < np.inf))
        walker_a, walker_b = (int(idx) for idx in np.argwhere(wrong)[0])
        raise NotADistanceError(
            distance=type(distance).__name__,
            walker_a=walker_a,
            walker_b=walker_b,
            value=float(matrix[walker_a, walker_b]),
        )
    return matrix
