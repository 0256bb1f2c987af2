"""The nearest periodic images, against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.coordinates import periodic as periodic_module
from wepystore.coordinates.periodic import check_boxes, minimum_distances, minimum_image

CUBE = 4.0 * np.eye(3)


def every_image(vectors, box, reach):
    """All images within `reach` box vectors, shape (shifts, ..., 3)."""
    turns = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    return vectors + (turns @ box).reshape(-1, *[1] * (vectors.ndim - 1), 3)


edges = st.floats(1.0, 3.0)


@st.composite
def boxes(draw):
    """Triclinic boxes, reduced or not, and rectangular ones."""
    box = np.diag([draw(edges), draw(edges), draw(edges)])
    if draw(st.booleans()):
        skew = draw(st.floats(0.0, 1.0))
        box[1, 0], box[2, 0], box[2, 1] = (
            skew * draw(st.floats(-1.0, 1.0)) * box[axis, axis] for axis in (0, 0, 1)
        )
    return box


@given(boxes(), st.integers(0, 2**32))
@settings(deadline=None)
def test_minimum_image_is_the_shortest_of_all(box, seed):
    """No periodic image is shorter than minimum_image, and it is an image."""
    vectors = np.random.default_rng(seed).uniform(-1.0, 1.0, size=(20, 3)) @ box
    found = minimum_image(vectors, box)
    lengths = np.linalg.norm(every_image(vectors, box, 6), axis=-1).min(axis=0)
    assert np.allclose(np.linalg.norm(found, axis=-1), lengths, atol=1e-12)
    turns = (found - vectors) @ np.linalg.inv(box)
    assert np.allclose(turns, np.round(turns), atol=1e-9)


def test_minimum_image_in_a_flat_box():
    """Two turns along a short, leaning vector can be needed; they are found."""
    box = np.array([[10.0, 0, 0], [0, 10.0, 0], [4.9, 4.9, 1.0]])
    vectors = np.random.default_rng(0).uniform(-1.0, 1.0, size=(200, 3)) @ box
    lengths = np.linalg.norm(every_image(vectors, box, 14), axis=-1).min(axis=0)
    assert np.allclose(np.linalg.norm(minimum_image(vectors, box), axis=-1), lengths, atol=1e-12)


def test_each_state_has_its_own_box():
    """Boxes broadcast: one per vector gives what one at a time gives."""
    rng = np.random.default_rng(1)
    boxes_ = np.array([np.diag(rng.uniform(1, 3, 3)) for _ in range(5)])
    boxes_[:, 2, 0] = 0.4 * boxes_[:, 0, 0]
    vectors = rng.uniform(-5, 5, size=(5, 3))
    together = minimum_image(vectors, boxes_)
    apart = [minimum_image(vector, box) for vector, box in zip(vectors, boxes_, strict=True)]
    assert np.array_equal(together, apart)


@given(boxes(), st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=50)
def test_minimum_distance_of_groups(box, seed, periodic):
    """The shortest distance between two groups is that of enumeration over pairs and images."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 1, size=(3, 2, 3)) @ box
    b = rng.uniform(0, 1, size=(3, 4, 3)) @ box
    vectors = a[:, :, np.newaxis] - b[:, np.newaxis]
    images = every_image(vectors, box, 6 if periodic else 0)
    lengths = np.linalg.norm(images, axis=-1).min(axis=(0, 2, 3))
    many = np.broadcast_to(box, (3, 3, 3))
    assert np.allclose(minimum_distances(a, b, many if periodic else None), lengths, atol=1e-12)


def test_minimum_distance_in_pieces(monkeypatch):
    """Large groups are handled in pieces, which changes nothing."""
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0, 4, size=(7, 5, 3)), rng.uniform(0, 4, size=(7, 9, 3))
    many = np.broadcast_to(CUBE, (7, 3, 3))
    whole = minimum_distances(a, b, many)
    for chunk in (1, 20, 100):
        monkeypatch.setattr("wepystore.coordinates.periodic._CHUNK", chunk)
        assert np.array_equal(minimum_distances(a, b, many), whole)


@given(boxes(), st.integers(0, 2**32), st.floats(0.01, 1.0), st.booleans())
@settings(deadline=None, max_examples=40)
def test_leaving_out_far_atoms_changes_nothing(box, seed, size, periodic):
    """Large groups, where far atoms are left out, give the distance that all pairs give."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, size, size=(2, 25, 3)) @ box
    b = rng.uniform(0, 1, size=(2, 100, 3)) @ box
    many = np.broadcast_to(box, (2, 3, 3)) if periodic else None
    assert a.shape[1] * b.shape[1] >= periodic_module._WORTH_PRUNING
    everything = periodic_module._all_pairs_minimum(a, b, many)
    assert np.array_equal(minimum_distances(a, b, many), everything)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (np.zeros((3, 3)), "periodic=False"),
        (np.ones((3, 3)), "lower triangular"),
        (np.ones(3), "shape"),
    ],
)
def test_boxes_are_checked(box, words):
    """Box vectors that make no box are refused with what to do."""
    with pytest.raises(ValueError, match=words):
        check_boxes(box)
