"""Distances in the xy plane."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.api import WalkerState, XYDistance


def state(positions, box=None):
    fields = {"positions": positions}
    return WalkerState(**fields) if box is None else WalkerState(**fields, box_vectors=box)


def test_z_does_not_count():
    """The distance of the centroids in the plane, whatever z."""
    a = state([[0.0, 0.0, 5.0], [2.0, 0.0, 1.0], [9.0, 9.0, 9.0]])
    b = state([[3.0, 4.0, 0.0], [5.0, 4.0, 7.0], [0.0, 0.0, 0.0]])
    assert XYDistance([0, 1]).distance(a, b) == 5.0
    assert XYDistance([0, 1]).image(a).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("positions", [[[3.0, 4.0]], [3.0, 4.0], [[3.0, 4.0, 9.0]]])
def test_a_particle_on_a_plane(positions):
    """Two-dimensional positions will do, with or without an axis for the atom."""
    origin = np.zeros_like(positions)
    assert XYDistance().distance(state(origin), state(positions)) == 5.0


@given(st.integers(0, 10**6), st.booleans())
@settings(deadline=None)
def test_nearest_image_in_the_plane(seed, skewed):
    """The shortest of all images within four boxes, in rectangular boxes and skewed ones, whose
    sides differ between the two states; the same in both directions."""
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(2):
        box = np.diag(rng.uniform(2, 3, size=3))
        if skewed:
            box[1, 0], box[2, :2] = 0.45 * box[0, 0], (0.3, 0.2)
        boxes.append(box)
    a, b = rng.uniform(-4, 4, size=(2, 1, 3))
    distance = XYDistance(periodic=True)
    found = distance.distance(state(a, boxes[0]), state(b, boxes[1]))
    mean = (boxes[0] + boxes[1]) / 2
    tried = [
        np.linalg.norm((b - a)[0, :2] + i * mean[0, :2] + j * mean[1, :2])
        for i, j in itertools.product(range(-8, 9), repeat=2)
    ]
    assert math.isclose(found, min(tried), rel_tol=1e-9, abs_tol=1e-12)
    assert found == distance.distance(state(b, boxes[1]), state(a, boxes[0]))


def test_what_is_given_is_checked():
    """A state without y, without the atom or without a box is named."""
    with pytest.raises(ValueError, match="x and y"):
        XYDistance().image(state([[1.0]]))
    with pytest.raises(ValueError, match="names atom 3"):
        XYDistance([3]).image(state(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="periodic=False"):
        XYDistance(periodic=True).image(state(np.zeros((2, 3))))
    distance = XYDistance([1, 0], periodic=True)
    assert XYDistance.from_params(distance.params(), 1).params() == distance.params()
