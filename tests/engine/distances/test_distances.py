"""Distances: periodic images against enumeration, pairs, and ligands in their binding sites."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.engine.distances import periodic as periodic_module
from wepystore.engine.distances.base import Distance
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.periodic import check_boxes, minimum_distances, minimum_image
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)
from wepystore.engine.distances.superposition import rotations
from wepystore.engine.walker import WalkerState

CUBE = 4.0 * np.eye(3)


def every_image(vectors, box, reach):
    """All images within `reach` box vectors, shape (shifts, ..., 3)."""
    turns = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    return vectors + (turns @ box).reshape(-1, *[1] * (vectors.ndim - 1), 3)


def random_rotation(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


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
        monkeypatch.setattr("wepystore.engine.distances.periodic._CHUNK", chunk)
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


def test_pair_distance():
    """The image is the pair distance through the nearest image; the distance, the difference."""
    near = WalkerState(positions=[[0.1, 0, 0], [3.9, 0, 0]], box_vectors=CUBE)
    far = WalkerState(positions=[[0, 0, 0], [1.0, 0, 0]], box_vectors=CUBE)
    distance = PairDistance(0, 1)
    assert distance.image(near).shape == (1,)
    assert distance.image(near)[0] == pytest.approx(0.2)
    assert distance.distance(near, far) == pytest.approx(0.8)
    assert PairDistance(0, 1, periodic=False).image(near)[0] == pytest.approx(3.8)
    assert np.array_equal(
        distance.images([near, far]), np.stack([distance.image(near), distance.image(far)])
    )
    assert distance.params() == {"i": 0, "j": 1, "periodic": True}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PairDistance(0, 0), "more than once"),
        (lambda: PairDistance(0, -1), "counted from 0"),
        (lambda: PairDistance(0, 0.5), "whole numbers"),
        (lambda: UnbindingDistance([], [0, 1, 2], None), "ligand_idxs is empty"),
        (lambda: UnbindingDistance([3], [0, 1], None), "at least 3"),
        (
            lambda: UnbindingDistance([3], [0, 1, 2], WalkerState(positions=np.zeros((2, 3)))),
            "has 2 atoms",
        ),
        (
            lambda: UnbindingDistance(
                [3], [0, 1, 2], WalkerState(positions=[[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 0, 0]])
            ),
            "on one line",
        ),
    ],
)
def test_indices_are_checked(make, words):
    """Atom indices that cannot be are refused, naming the parameter and the culprit."""
    with pytest.raises(ValueError, match=words):
        make()


def test_missing_box_and_atoms_are_named():
    """A state without a box, or with too few atoms, is an error that says what to do."""
    with pytest.raises(ValueError, match="periodic=False"):
        PairDistance(0, 1).image(WalkerState(positions=np.zeros((2, 3))))
    with pytest.raises(ValueError, match="atom 5, but the state has 2 atoms"):
        PairDistance(0, 5).image(WalkerState(positions=np.zeros((2, 3)), box_vectors=CUBE))


def test_a_distance_in_wepys_protocol_works():
    """A subclass that only compares two images gets the vectorised form for free."""

    class Ours(Distance):
        def image(self, state):
            return state["positions"][0]

        def image_distance(self, image_a, image_b):
            return float(np.linalg.norm(image_a - image_b))

    one, two = (WalkerState(positions=[[x, 0, 0]]) for x in (1.0, 3.0))
    assert Ours().distance(one, two) == 2.0
    assert Ours().image_distances(np.zeros(3), np.eye(3)).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(NotImplementedError, match="image_distances or image_distance"):
        Distance().image_distances(np.zeros(3), np.eye(3))


def test_superposition_finds_the_rotation():
    """A rotated set is turned back exactly, also where a mirror image would fit no worse."""
    rng = np.random.default_rng(2)
    flat = rng.normal(size=(6, 3)) * [1.0, 1.0, 0.0]
    for reference in (rng.normal(size=(6, 3)), flat):
        reference = reference - reference.mean(axis=0)
        turned = np.stack([reference @ random_rotation(rng) for _ in range(10)])
        found = rotations(turned, reference)
        assert np.allclose(np.linalg.det(found), 1.0)
        assert np.allclose(turned @ found, reference, atol=1e-12)


def test_superposition_is_the_best_rotation():
    """No small turn away from the rotation found brings two different sets closer."""
    rng = np.random.default_rng(3)
    reference, mobile = (points - points.mean(axis=0) for points in rng.normal(size=(2, 8, 3)))
    (found,) = rotations(mobile[np.newaxis], reference)
    best = ((mobile @ found - reference) ** 2).sum()
    for axis, angle in itertools.product(rng.normal(size=(20, 3)), (0.01, 0.5, 2.0)):
        x, y, z = axis / np.linalg.norm(axis)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        assert ((mobile @ found @ turn - reference) ** 2).sum() > best


LIGAND, SITE = [0, 1, 2], [3, 4, 5, 6, 7]
TRICLINIC = np.array([[5.0, 0, 0], [1.5, 5.0, 0], [-1.0, 2.0, 5.0]])


@pytest.fixture
def complex_positions():
    rng = np.random.default_rng(8)
    return np.concatenate(
        [
            rng.normal(size=(3, 3)) * 0.1 + 0.3,
            rng.normal(size=(5, 3)) * 0.3,
            rng.normal(size=(4, 3)),
        ]
    )


def test_unbinding_distance_ignores_where_the_complex_is(complex_positions):
    """Turning, moving and folding the complex changes nothing; moving the ligand does."""
    rng = np.random.default_rng(9)
    reference = WalkerState(positions=complex_positions, box_vectors=TRICLINIC)
    distance = UnbindingDistance(LIGAND, SITE, reference)
    shift = np.array([0.3, -0.2, 0.6])
    shifted = complex_positions.copy()
    shifted[LIGAND] += shift
    for _ in range(20):
        turned = complex_positions @ random_rotation(rng) + rng.normal(size=3)
        turned[LIGAND] += rng.integers(-2, 3, size=3) @ TRICLINIC
        state = WalkerState(positions=turned, box_vectors=TRICLINIC)
        assert distance.distance(reference, state) == pytest.approx(0.0, abs=1e-7)
        moved = shifted @ random_rotation(rng) + rng.normal(size=3)
        moved[LIGAND] += rng.integers(-2, 3, size=3) @ TRICLINIC
        state = WalkerState(positions=moved, box_vectors=TRICLINIC)
        assert distance.distance(reference, state) == pytest.approx(np.linalg.norm(shift))


def test_image_is_the_ligand_alone(complex_positions):
    """The image of a state in the reference's frame is its ligand, and many are as one by one."""
    reference = WalkerState(positions=complex_positions, box_vectors=TRICLINIC)
    states = [
        WalkerState(positions=complex_positions + offset, box_vectors=TRICLINIC)
        for offset in np.random.default_rng(1).normal(size=(4, 12, 3)) * 0.05
    ]
    for kind in (ReceptorLigandDistance, UnbindingDistance, RebindingDistance):
        distance = kind(LIGAND, SITE, reference)
        one_by_one = np.stack([distance.image(state) for state in states])
        assert np.array_equal(distance.images(states), one_by_one)
    image = ReceptorLigandDistance(LIGAND, SITE, reference).image(reference)
    centre = complex_positions[SITE].mean(axis=0)
    assert np.allclose(image, complex_positions[LIGAND] - centre, atol=1e-12)


def test_rebinding_distance_is_finer_near_the_pose(complex_positions):
    """The distance is |1/r_a - 1/r_b| of the RMSDs to the reference pose, finite at the pose."""
    reference = WalkerState(positions=complex_positions)
    distance = RebindingDistance(LIGAND, SITE, reference, periodic=False)

    def shifted(by):
        positions = complex_positions.copy()
        positions[LIGAND, 0] += by
        return WalkerState(positions=positions)

    assert distance.distance(shifted(0.1), shifted(0.2)) == pytest.approx(5.0)
    assert distance.distance(shifted(1.0), shifted(1.1)) == pytest.approx(1 - 1 / 1.1)
    assert np.isfinite(distance.distance(reference, shifted(0.1)))


def test_rebuilt_from_parameters(complex_positions):
    """A distance is wholly described by its parameters."""
    reference = WalkerState(positions=complex_positions)
    distance = UnbindingDistance(np.array(LIGAND), SITE, reference, periodic=False)
    again = UnbindingDistance.from_params(distance.params(), UnbindingDistance.version)
    assert again.params() == distance.params()
    assert again.ligand_idxs == tuple(LIGAND)
