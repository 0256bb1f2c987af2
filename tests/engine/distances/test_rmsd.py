"""RMSD after superposition: against an independent search, mdtraj, and what must be invariant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.api import REVOResampler, RMSDDistance, Walker, WalkerState
from wepystore.engine.distances.pairwise import all_distances


def rotation(rng):
    """A random proper rotation."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def state(positions):
    return WalkerState(positions=positions)


@given(st.integers(0, 10**6), st.integers(3, 12))
@settings(deadline=None, max_examples=60)
def test_rigid_motion_is_no_distance(seed, n_atoms):
    """A translated and rotated state is at distance 0, and moving either of two states changes
    nothing; a distance is the same in both directions."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n_atoms, 3))
    distance = RMSDDistance(range(n_atoms))
    moved = a @ rotation(rng) + rng.normal(size=3) * 10
    assert distance.distance(state(a), state(moved)) < 1e-13
    here = distance.distance(state(a), state(b))
    assert math.isclose(distance.distance(state(moved), state(b)), here, rel_tol=1e-9)
    assert math.isclose(distance.distance(state(b), state(a)), here, rel_tol=1e-12)


def test_mirror_images_differ():
    """A chiral set of atoms and its mirror image cannot be superposed."""
    atoms = np.array([[0, 0, 0], [1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]])
    distance = RMSDDistance(range(4))
    assert distance.distance(state(atoms), state(atoms * [1, 1, -1])) > 0.5


def test_no_rotation_does_better():
    """No rotation near the one that was found, nor any of 2000 random ones, brings two sets of
    atoms closer."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 6, 3))
    best = RMSDDistance(range(6)).distance(state(a), state(b))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    for _ in range(2000):
        tried = np.sqrt(((a @ rotation(rng) - b) ** 2).sum() / 6)
        assert tried >= best * (1 - 1e-12)


def test_equals_mdtraj():
    """mdtraj's RMSD, of single precision, of the same frames."""
    mdtraj = pytest.importorskip("mdtraj")
    rng = np.random.default_rng(5)
    frames = rng.normal(size=(10, 9, 3))
    distance = RMSDDistance(range(9))
    images = distance.images([state(frame) for frame in frames])
    expected = mdtraj.rmsd(mdtraj.Trajectory(frames, None), mdtraj.Trajectory(frames, None), 3)
    # mdtraj's formula subtracts nearly equal numbers: near 0 its single precision shows as 1e-3.
    assert np.allclose(distance.image_distances(images[3], images), expected, rtol=1e-4, atol=2e-3)


def test_some_atoms_are_superposed_and_others_measured():
    """The measured atoms are taken along with the frame of the aligned ones: a known shift of one
    of two atoms within that frame is the known RMSD."""
    rng = np.random.default_rng(6)
    atoms = rng.normal(size=(7, 3))
    shifted = atoms.copy()
    shifted[5] += [0.3, 0.0, 0.4]
    turned = shifted @ rotation(rng) + 5
    distance = RMSDDistance([0, 1, 2, 3], [5, 6])
    assert math.isclose(
        distance.distance(state(atoms), state(turned)), 0.5 / math.sqrt(2), rel_tol=1e-12
    )
    assert distance.image(state(atoms)).shape == (6, 3)


def test_without_superposition_atoms_are_measured_as_they_lie():
    """superpose=False: a shift by 1 nm is an RMSD of 1 nm, of one atom as of all."""
    atoms = np.random.default_rng(7).normal(size=(4, 3))
    for chosen in ([0], [0, 1, 2, 3]):
        distance = RMSDDistance(chosen, superpose=False)
        assert math.isclose(
            distance.distance(state(atoms), state(atoms + np.array([0, 0, 1]))), 1.0
        )


def test_many_at_once_are_one_at_a_time():
    """All pairs at once are the bits of each pair alone, and REVO takes them."""
    rng = np.random.default_rng(8)
    states = [state(rng.normal(size=(5, 3))) for _ in range(12)]
    distance = RMSDDistance(range(5))
    matrix = all_distances(distance, distance.images(states))
    alone = [[distance.distance(a, b) if a is not b else 0.0 for b in states] for a in states]
    assert np.allclose(matrix, alone, rtol=1e-12, atol=1e-14)
    walkers = [Walker(each, 1 / 12) for each in states]
    after, _, (change,) = REVOResampler(distance, 5.0, 1.0, pmax=0.9).resample(walkers)
    assert len(after) == 12 and change["variation"][0] > 0


def test_what_is_given_is_checked():
    """Too few atoms to superpose, and an atom that a state lacks, are named."""
    with pytest.raises(ValueError, match="at least 3"):
        RMSDDistance([0, 1])
    with pytest.raises(ValueError, match="names atom 9"):
        RMSDDistance([0, 1, 9]).image(state(np.zeros((4, 3))))
    distance = RMSDDistance([2, 0, 1], [1], superpose=False)
    assert RMSDDistance.from_params(distance.params(), 1).params() == distance.params()
