"""Coordinates against MDTraj's, in boxes of any shape."""

from __future__ import annotations

from typing import Any

import mdtraj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wepystore.coordinates import shapes
from wepystore.coordinates.geometry import Angle, AtomDistance, Torsion
from wepystore.coordinates.shapes import RMSD, Contacts, RadiusOfGyration

N_FRAMES, N_ATOMS = 4, 9


def boxes_of(rng: np.random.Generator) -> NDArray[np.float64]:
    """Triclinic boxes in the reduced form that MDTraj takes."""
    edges = rng.uniform(2.0, 4.0, size=(N_FRAMES, 3))
    boxes = np.einsum("fx,xy->fxy", edges, np.eye(3))
    for row, axis in ((1, 0), (2, 0), (2, 1)):
        boxes[:, row, axis] = rng.uniform(-0.45, 0.45, N_FRAMES) * boxes[:, axis, axis]
    return boxes


def trajectory(positions: Any, boxes: Any = None) -> Any:
    topology = mdtraj.Topology()
    residue = topology.add_residue("ALA", topology.add_chain())
    for _ in range(N_ATOMS):
        topology.add_atom("CA", mdtraj.element.carbon, residue)
    made = mdtraj.Trajectory(positions, topology)
    made.unitcell_vectors = boxes
    return made


def far_from_half_a_box(steps: Any, boxes: Any) -> Any:
    """Frames in which the nearest image of a step is not a matter of rounding, and lies within the
    sphere in which MDTraj's search is right."""
    half = 0.5 * np.diagonal(boxes, axis1=1, axis2=2).min(axis=1)
    return np.linalg.norm(steps, axis=1) < 0.95 * half


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_points(seed: int) -> None:
    """Distances, angles and torsions of atoms anywhere, by the nearest images or as they lie."""
    rng = np.random.default_rng(seed)
    boxes = boxes_of(rng).astype(np.float32)
    # Near each other, then put into images that are far apart.
    near = rng.uniform(0, 0.8, size=(N_FRAMES, N_ATOMS, 3))
    turns = rng.integers(-2, 3, size=(N_FRAMES, N_ATOMS, 3))
    positions = (near + np.einsum("fax,fxy->fay", turns, boxes)).astype(np.float32)
    for box in (boxes, None):
        held = positions if box is not None else near.astype(np.float32)
        theirs = trajectory(held, box)
        mine = AtomDistance((0, 5)).values(held, box)
        fine = far_from_half_a_box(near[:, 5] - near[:, 0], boxes)
        expected = mdtraj.compute_distances(theirs, [[0, 5]], periodic=box is not None)[:, 0]
        assert np.allclose(mine[fine], expected[fine], atol=1e-5)
        for kind, atoms, theirs_of in (
            (Angle, (1, 2, 3), mdtraj.compute_angles),
            (Torsion, (4, 6, 7, 8), mdtraj.compute_dihedrals),
        ):
            mine = kind(atoms).values(held, box)
            expected = np.degrees(theirs_of(theirs, [atoms], periodic=box is not None)[:, 0])
            steps = np.diff(near[:, list(atoms)], axis=1)
            fine = np.all(
                [far_from_half_a_box(steps[:, k], boxes) for k in range(len(atoms) - 1)], 0
            )
            apart = np.abs(mine - expected)[fine]
            if kind is Torsion:
                apart = np.minimum(apart, 360 - apart)
            assert (apart < 0.05).all()


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_shapes(seed: int) -> None:
    """Radius of gyration, RMSD after superposition, and centres of mass."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(N_FRAMES, N_ATOMS, 3)).astype(np.float32)
    theirs, masses = trajectory(positions), rng.uniform(1, 40, N_ATOMS)
    every = tuple(range(N_ATOMS))
    mine = RadiusOfGyration(every, (3.0,) * N_ATOMS).values(positions)
    assert np.allclose(mine, mdtraj.compute_rg(theirs), atol=1e-5)
    # Of unequal masses MDTraj's is about the centroid: by Lagrange's identity instead.
    mine = RadiusOfGyration(every, tuple(masses)).values(positions)
    squares = ((positions[:, :, None] - positions[:, None]) ** 2).sum(axis=-1)
    expected = np.einsum("fab,a,b->f", squares, masses, masses) / (2 * masses.sum() ** 2)
    assert np.allclose(mine**2, expected, atol=1e-5)
    atoms = (1, 2, 4, 6, 7)
    mine = RMSD.to(positions[0], atoms).values(positions)
    expected = mdtraj.rmsd(theirs, theirs, 0, atom_indices=list(atoms))
    assert np.allclose(mine[1:], expected[1:], atol=1e-4)
    # MDTraj's, in single precision, is not 0 to itself.
    assert mine[0] < 1e-12
    groups = ((0, 1, 2), (5, 7))
    distance = AtomDistance(groups, tuple(tuple(masses[list(each)]) for each in groups))
    centres = [
        np.average(positions[:, list(each)], axis=1, weights=masses[list(each)]) for each in groups
    ]
    expected = np.linalg.norm(centres[0] - centres[1], axis=1)
    assert np.allclose(distance.values(positions), expected, atol=1e-6)


@given(st.integers(0, 2**32), st.floats(0.2, 3.0), st.floats(0.2, 10.0), st.booleans())
@settings(deadline=None, max_examples=60)
def test_contacts_are_counted_one_by_one(
    seed: int, cutoff: float, size: float, prunes: bool
) -> None:
    """Also beyond half a box, where an atom is in both groups, and where far atoms are left out
    at first."""
    rng = np.random.default_rng(seed)
    boxes = boxes_of(rng)
    positions = rng.uniform(0, size, size=(N_FRAMES, N_ATOMS, 3)) + rng.normal(size=3)
    first, second = (0, 1, 2, 3), (2, 3, 4, 5, 6)
    pairs = {tuple(sorted((a, b))) for a in first for b in second if a != b}
    for box in (boxes, None):
        counted = sum(
            (AtomDistance(pair).values(positions, box) < cutoff).astype(int) for pair in pairs
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(shapes, "_WORTH_PRUNING", 1 if prunes else 10**9)
            found = Contacts(first, second, cutoff).values(positions, box)
        assert np.array_equal(found, counted)


def test_contacts_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pairs are looked at in one go."""
    rng = np.random.default_rng(1)
    positions, boxes = rng.uniform(0, 3, size=(N_FRAMES, N_ATOMS, 3)), boxes_of(rng)
    coordinate = Contacts((0, 1, 2, 3), (4, 5, 6, 7, 8), 1.0)
    whole = coordinate.values(positions, boxes)
    assert whole.any()
    for chunk in (1, 12, 50):
        monkeypatch.setattr("wepystore.coordinates.shapes._CHUNK", chunk)
        assert np.array_equal(coordinate.values(positions, boxes), whole)
