"""Coordinates: what they are of, where they are not defined, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wepystore.coordinates.base import Coordinate
from wepystore.coordinates.composed import Combination, OwnCoordinate
from wepystore.coordinates.errors import UnfitCoordinateError
from wepystore.coordinates.geometry import Angle, AtomDistance, Position, Torsion
from wepystore.coordinates.language import Written, read
from wepystore.coordinates.shapes import RMSD, Contacts, RadiusOfGyration
from wepystore.coordinates.systems import System

RNG = np.random.default_rng(5)
POSITIONS = RNG.normal(size=(3, 8, 3))
BOXES = np.broadcast_to(np.diag([3.0, 4.0, 5.0]), (3, 3, 3))
MASSES = RNG.uniform(1, 20, 8)
SYSTEM = System(8, masses=MASSES, reference=POSITIONS[0], reference_box=BOXES[0])

EVERY: list[Coordinate] = [
    AtomDistance((0, 5)),
    AtomDistance(((0, 1), (4,)), ((1.0, 3.0), None)),
    Angle((0, 5, 2)),
    Torsion((1, 4, 2, 7)),
    Position((3,), axis=1),
    RMSD.to(POSITIONS[0], (1, 2, 3, 5), box_vectors=BOXES[0]),
    RMSD.to(POSITIONS[0], (6, 7), (1, 2, 3), box_vectors=BOXES[0]),
    RadiusOfGyration((0, 2, 3), (1.0, 2.0, 3.0)),
    Contacts((0, 1), (2, 3, 4), 1.5),
    Combination((2.0, -1.0), (AtomDistance((0, 1)), AtomDistance((2, 3)))),
]


@pytest.mark.parametrize("coordinate", EVERY, ids=lambda each: each.name)
def test_atoms_may_have_other_numbers(coordinate: Coordinate) -> None:
    """Of frames that hold some of the atoms, in any order, it is what it is of all; and a frame
    alone gives what it gives among others."""
    expected = coordinate.values(POSITIONS, BOXES)
    assert expected.shape == (3,) and np.isfinite(expected).all()
    assert coordinate.atoms is not None
    order = RNG.permutation(coordinate.atoms).tolist()
    moved = coordinate.at({atom: place for place, atom in enumerate(order)})
    assert np.allclose(moved.values(POSITIONS[:, order], BOXES), expected, atol=1e-12)
    alone = [coordinate.values(POSITIONS[k : k + 1], BOXES[k : k + 1])[0] for k in range(3)]
    assert np.allclose(alone, expected, rtol=1e-12)
    assert type(moved) is type(coordinate) and moved.unit == coordinate.unit


@pytest.mark.parametrize("coordinate", EVERY, ids=lambda each: each.name)
def test_its_name_says_it_all(coordinate: Coordinate) -> None:
    """Read as a text it is the same coordinate, but for masses and the reference."""
    asked = read(coordinate.name)
    assert isinstance(asked, Written)
    again = asked.of(SYSTEM)
    assert again.name == coordinate.name
    if "(index 0-1, " not in again.name and not isinstance(coordinate, RadiusOfGyration):
        found = again.values(POSITIONS, BOXES)
        assert np.array_equal(found, coordinate.values(POSITIONS, BOXES))


def test_a_torsion_has_the_sign_of_the_convention() -> None:
    """Clockwise is positive; and it goes from -180 to 180 degrees."""
    for angle in (-179.0, -60.0, 0.0, 60.0, 120.0):
        # Along z, seen from the second to the third: y of the last is to the right.
        turned = np.radians(angle)
        points = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(turned), np.sin(turned), 1]]
        found = Torsion((0, 1, 2, 3)).values(np.array([points]))
        assert found == pytest.approx(angle)
    assert Torsion((0, 1, 2, 3)).period == 360


def test_angles_are_exact_where_they_are_flat() -> None:
    """An arc cosine would lose half of the digits."""
    for small in (1e-7, 1e-3):
        points = [[1, 0, 0], [0, 0, 0], [np.cos(small), np.sin(small), 0]]
        assert Angle((0, 1, 2)).values(np.array([points])) == pytest.approx(np.degrees(small))


def test_not_a_number_where_there_is_none() -> None:
    """Angles of points that lie on each other, torsions about what is straight, positions that are
    not known: never 0, and only in that frame."""
    flat = np.zeros((2, 4, 3))
    flat[:, :, 0] = [[0, 1, 2, 3], [0, 1, 1, 4]]
    assert np.isnan(Torsion((0, 1, 2, 3)).values(flat)).all()
    assert np.isnan(Angle((0, 1, 2)).values(flat)).tolist() == [False, True]
    unknown = POSITIONS.copy()
    unknown[1] = np.nan
    for coordinate in EVERY:
        assert np.isnan(coordinate.values(unknown, BOXES)).tolist() == [False, True, False]


def test_a_ligand_is_measured_in_the_nearest_image() -> None:
    """In the reference, too: which of the images they are in does not matter."""
    rng = np.random.default_rng(2)
    box = np.diag([4.0, 4.0, 4.0])
    site, ligand = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    here = np.concatenate([site, ligand])
    there = np.concatenate([site, ligand + np.array([8.0, -4.0, 4.0])])
    for reference in (here, there):
        coordinate = RMSD.to(reference, (4, 5), (0, 1, 2, 3), box)
        both = np.stack([here, there])
        assert np.allclose(coordinate.values(both, np.stack([box, box])), 0, atol=1e-7)
    away = RMSD.to(here, (4, 5), (0, 1, 2, 3)).values(there[None])
    assert away == pytest.approx(np.sqrt(96))


def test_positions_in_fewer_dimensions() -> None:
    """A particle in a potential has an x, and no distance to anything."""
    line = RNG.normal(size=(5, 1, 1))
    assert np.array_equal(Position((0,)).values(line), line[:, 0, 0])
    with pytest.raises(UnfitCoordinateError, match=r"2 or 3\) are needed, not \(5, 1, 1\)"):
        Position((0,), axis=1).values(line)
    with pytest.raises(UnfitCoordinateError, match="n_atoms, 3"):
        AtomDistance((0, 1)).values(line)


def test_an_own_function_gets_all_and_gives_numbers() -> None:
    """In what it is given it finds positions and boxes; what it gives must be one row a frame."""

    def both(positions: Any, boxes: Any) -> Any:
        return np.stack([positions[:, 0, 0], boxes[:, 0, 0]], axis=1)

    coordinate = OwnCoordinate(both, "both", "nm", period=2.0)
    assert (coordinate.name, coordinate.unit, coordinate.period) == ("both", "nm", 2.0)
    found = coordinate.values(POSITIONS, BOXES)
    assert np.array_equal(found, np.stack([POSITIONS[:, 0, 0], [3.0] * 3], axis=1))
    for wrong, words in (
        (lambda p, b: 1.0, r"of shape \(\); \(3,\) or \(3, k\) is needed"),
        (lambda p, b: p, "of shape"),
        (lambda p, b: np.empty((3, 0)), "of shape"),
        (lambda p, b: ["a", "b", "c"], "no numbers"),
    ):
        with pytest.raises(UnfitCoordinateError, match=words):
            OwnCoordinate(wrong).values(POSITIONS, BOXES)


def test_what_does_not_fit_the_frames() -> None:
    """Atoms that are not there, boxes of other frames or that are none: named, never folded."""
    with pytest.raises(UnfitCoordinateError, match=r"distance\(index 0, index 8\).*no atom 8"):
        AtomDistance((0, 8)).values(POSITIONS)
    with pytest.raises(UnfitCoordinateError, match=r"of shape \(3, 3, 3\) are needed"):
        AtomDistance((0, 1)).values(POSITIONS, BOXES[:2])
    with pytest.raises(UnfitCoordinateError, match="diagonal"):
        AtomDistance((0, 1)).values(POSITIONS, np.zeros((3, 3, 3)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AtomDistance((0,)), "of 2 points, got 1"),
        (lambda: AtomDistance((0, ())), "one at least"),
        (lambda: AtomDistance((0, -1)), "counted from 0"),
        (lambda: AtomDistance((0, 1.5)), "whole numbers"),
        (lambda: AtomDistance((0, (1, 1))), "more than once"),
        (lambda: AtomDistance((0, (1, 2))), "needs their masses"),
        (lambda: AtomDistance((0, (1, 2)), (None, (1.0,))), "1 masses for 2"),
        (lambda: AtomDistance((0, (1, 2)), (None, (0.0, 0.0))), "above 0"),
        (lambda: AtomDistance((0, (1, 2)), (None, (np.nan, 1.0))), "above 0"),
        (lambda: RMSD.to(POSITIONS[0], (0, 1)), "at least 3"),
        (lambda: RMSD((0, 1, 2), np.zeros((2, 3))), "shape"),
        (lambda: Contacts((0,), (1,), 0.0), "above 0 nm"),
        (lambda: Position((0,), axis=3), "axis is 0, 1 or 2"),
        (lambda: Combination((1.0,), ()), "as many"),
        (lambda: Combination((np.inf,), (AtomDistance((0, 1)),)), "finite"),
        (lambda: Combination((1.0, 1.0), (AtomDistance((0, 1)), Contacts((0,), (1,), 1))), "unit"),
        (lambda: Combination((2.0,), (Torsion((0, 1, 2, 3)),)), "without a period"),
    ],
)
def test_parameters_are_checked(make: Any, words: str) -> None:
    """When it is built, with what is wrong."""
    with pytest.raises(ValueError, match=words):
        make()


def test_plain_parameters() -> None:
    """They can be compared and hashed, and atoms are tuples of int whatever was given."""
    one, other = AtomDistance((np.int64(0), [1])), AtomDistance(((0,), (1,)))
    assert one == other and hash(one) == hash(other)
    assert one.points == ((0,), (1,)) and type(one.points[0][0]) is int
    assert one != AtomDistance((1, 0))
