"""Least-squares superposition."""

import itertools

import numpy as np

from wepystore.coordinates.superposition import rotations


def random_rotation(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


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
