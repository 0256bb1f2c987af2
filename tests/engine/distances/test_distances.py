"""Distances: pairs, and ligands in their binding sites."""

import numpy as np
import pytest

from wepystore.engine.distances.base import Distance
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)
from wepystore.engine.walker import WalkerState

CUBE = 4.0 * np.eye(3)


def random_rotation(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


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
