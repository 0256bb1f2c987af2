"""Progress coordinates: functions, objects and built-in ones, and the distance between them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wepystore.api import (
    CoordinateDistance,
    ImageCoordinate,
    PairDistance,
    PositionCoordinate,
    ProgressCoordinate,
    ReferenceCoordinate,
    Walker,
    WalkerState,
)
from wepystore.engine.distances.coordinate import (
    CoordinateError,
    coordinates_of,
    walker_coordinates,
)
from wepystore.engine.ensemble import Ensemble
from wepystore.engine.errors import PeriodicityError


def states(n_states=5, n_atoms=3):
    rng = np.random.default_rng(n_states)
    return [
        WalkerState(positions=rng.normal(size=(n_atoms, 3)), box_vectors=np.eye(3) * 4)
        for _ in range(n_states)
    ]


def first_x(state):
    return state["positions"][0, 0]


class Many:
    """Many values at once, and no call for one."""

    def many(self, some):
        return np.array([state["positions"][0, 0] for state in some])


class OfOne(ProgressCoordinate):
    """Says only what one state's value is."""

    def value(self, state):
        return first_x(state)


@pytest.mark.parametrize(
    "coordinate",
    [first_x, lambda state: np.array([first_x(state)]), Many(), OfOne(), PositionCoordinate()],
    ids=["number", "array", "many", "value", "built in"],
)
def test_every_kind_of_coordinate_gives_the_same(coordinate):
    """A function, an object with many and a ProgressCoordinate are all taken, shape (n, 1)."""
    some = states()
    expected = [[first_x(state)] for state in some]
    assert np.array_equal(coordinates_of(coordinate, some), expected)
    walkers = [Walker(state, 0.2) for state in some]
    assert np.array_equal(walker_coordinates(coordinate, walkers), expected)
    assert np.array_equal(walker_coordinates(coordinate, Ensemble.of(walkers)), expected)


def test_one_value_from_many_and_many_from_one():
    """Whichever of value and many a subclass gives, the other and the call follow."""
    (state,) = states(1)
    assert OfOne()(state) == OfOne().many([state])[0] == first_x(state)
    assert PositionCoordinate().value(state).tolist() == [first_x(state)]
    with pytest.raises(NotImplementedError, match="value or many"):
        ProgressCoordinate().value(state)


def test_positions_atom_by_atom():
    """PositionCoordinate gives the chosen axes of the chosen atoms, atom by atom, also of a
    single particle without an axis for atoms."""
    some = states()
    chosen = PositionCoordinate(atoms=(2, 0), axes=(1, 2))
    expected = [[p[2, 1], p[2, 2], p[0, 1], p[0, 2]] for p in (s["positions"] for s in some)]
    assert np.array_equal(chosen.many(some), expected)
    flat = [WalkerState(positions=[1.0, 2.0]), WalkerState(positions=[3.0, 4.0])]
    assert PositionCoordinate(axes=(1,)).many(flat).tolist() == [[2.0], [4.0]]
    with pytest.raises(ValueError, match="atoms"):
        PositionCoordinate(atoms=(3,)).many(some)


def test_a_distances_image_and_a_distance_to_a_state():
    """ImageCoordinate is the pair distance itself, ReferenceCoordinate how far it is from that
    of a state; both say whether they fold by the box."""
    some = states()
    pair = PairDistance(0, 1)
    lengths = pair.images(some)
    assert np.array_equal(ImageCoordinate(pair).many(some), lengths)
    found = ReferenceCoordinate(pair, some[2]).many(some)
    assert np.array_equal(found, np.abs(lengths[:, 0] - lengths[2, 0]))
    for coordinate in (ImageCoordinate(pair), ReferenceCoordinate(pair, some[0])):
        assert coordinate.periodic and CoordinateDistance(coordinate).periodic
    assert not ImageCoordinate(PairDistance(0, 1, periodic=False)).periodic


def test_euclidean_and_scaled():
    """The distance of coordinates (0, 0) and (3, 8) with scales 1 and 2 is 5; all pairs at once
    are the bits of each alone."""

    def plane(state):
        return state["positions"][0, :2]

    a, b = (WalkerState(positions=[[x, y, 0.0]]) for x, y in ((0, 0), (3, 8)))
    assert CoordinateDistance(plane, scale=(1, 2)).distance(a, b) == 5.0
    some = states(9)
    for coordinate in (plane, first_x):
        distance = CoordinateDistance(coordinate)
        images = distance.images(some)
        alone = [distance.image_distances(image, images) for image in images]
        assert np.array_equal(distance.pairwise(images), alone)


def test_what_is_given_is_checked():
    """Values that are no numbers, of unequal length or not finite are named with the coordinate."""
    some = states()
    with pytest.raises(ValueError, match="must give a number"):
        coordinates_of(lambda state: "far", some)
    with pytest.raises(ValueError, match="must give a number"):
        coordinates_of(lambda state: [1.0] * (1 + (state is some[0])), some)
    with pytest.raises(ValueError, match="shape"):
        coordinates_of(lambda state: state["positions"], some)
    with pytest.raises(CoordinateError, match=r"first_x of walker 1 is nan, as are its pos"):
        walker_coordinates(
            first_x, [Walker(WalkerState(positions=[[x]]), 0.5) for x in (0.0, math.nan)]
        )
    with pytest.raises(ValueError, match="function of a state"):
        CoordinateDistance(3)
    with pytest.raises(ValueError, match="positive"):
        CoordinateDistance(first_x, scale=(0.0,))
    with pytest.raises(ValueError, match="scale holds 2"):
        CoordinateDistance(first_x, scale=(1.0, 2.0)).images(some)


def test_bins_over_a_folded_coordinate_need_a_periodic_system():
    """A manager refuses bins that fold by a box that the system does not have."""
    from tests.systems import pair_apparatus
    from wepystore.api import BinResampler, SerialMapper
    from wepystore.engine.manager import CycleManager
    from wepystore.engine.rng import Streams

    resampler = BinResampler(ImageCoordinate(PairDistance(0, 1)), (0.4,))
    with pytest.raises(PeriodicityError, match="ImageCoordinate"):
        pair_apparatus(resampler=resampler)
    parts = pair_apparatus()
    with pytest.raises(PeriodicityError, match="ImageCoordinate"):
        CycleManager(
            [Walker(state, 0.2) for state in states(n_atoms=2)],
            parts.runner,
            parts.boundary_conditions,
            resampler,
            SerialMapper(),
            Streams(1),
        )
