"""What components are given is checked in one way, and refused by name."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    DoubleWell,
    Harmonic,
    ImageCoordinate,
    OverdampedLangevinRunner,
    PairDistance,
    RandomWalkRunner,
    RandomWalkTargetBC,
    RebindingBC,
    REVOResampler,
    RMSDDistance,
    TargetBC,
    WalkerState,
    WExploreResampler,
    XYDistance,
)
from wepystore.engine.parameters import (
    coordinate_like,
    distance_like,
    listed,
    positive,
    real,
    whole,
)

NO_NUMBERS = [None, "1", b"1", True, [], [1.0], {}, math.nan, math.inf, 1j, np.zeros((2, 2))]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("check", [real, positive, whole])
def test_what_is_no_number_is_refused(check: Any, value: Any) -> None:
    """One kind of error, whatever was given, that names the parameter."""
    with pytest.raises(ValueError, match=r"^pmax must be "):
        check(value, "pmax")


def test_numbers_of_any_kind_are_taken() -> None:
    """Python's and numpy's; a whole number may be written as a float, and is not rounded."""
    assert real(np.float32(0.5), "x") == 0.5
    assert positive(np.int64(3), "x") == 3.0
    assert whole(3.0, "n") == 3 and type(whole(np.int32(3), "n")) is int
    assert whole(2**60 + 1, "n") == 2**60 + 1
    assert listed(np.arange(2), "xs") == [0, 1]


@pytest.mark.parametrize(
    ("check", "value"), [(positive, 0), (positive, -1.0), (whole, 0), (whole, 2.5)]
)
def test_numbers_out_of_range_are_refused(check: Any, value: float) -> None:
    """The message says what it must be and what it is."""
    with pytest.raises(ValueError, match=rf"n must be .*, got {value}"):
        check(value, "n")


@pytest.mark.parametrize("value", [None, 3, "numbers", b"x"])
def test_what_is_no_list_is_refused(value: Any) -> None:
    """A text is not taken letter by letter."""
    with pytest.raises(ValueError, match="edges must be a list of numbers"):
        listed(value, "edges")


def test_what_measures_nothing_is_no_distance() -> None:
    """It is told when the resampler is made, not in the first cycle."""
    for wrong in (None, 1.0, len):
        with pytest.raises(ValueError, match="distance must be a distance, with a method image"):
            distance_like(wrong)
    assert distance_like(PairDistance(0, 1)) is not None


def test_a_coordinate_is_what_can_be_asked() -> None:
    """A function of a state, or whatever has `many`; the same words wherever one is taken."""
    many = SimpleNamespace(many=len)
    assert coordinate_like(len) is len and coordinate_like(many) is many
    for make in (
        lambda: TargetBC(3, START, 1.0),
        lambda: CoordinateDistance(3),
        lambda: BinResampler(3, [1.0]),
        lambda: coordinate_like(SimpleNamespace(many=3)),
    ):
        with pytest.raises(ValueError, match=r"^coordinate must be a function of a state"):
            make()


START = [WalkerState(positions=[[0.0]], time=0.0)]
BAD = [
    (lambda: RandomWalkRunner(probability="x"), "probability"),
    (lambda: RandomWalkRunner(n_dims=1.5), "n_dims"),
    (lambda: DoubleWell(math.nan), "height"),
    (lambda: Harmonic(1.0, "middle"), "center"),
    (lambda: OverdampedLangevinRunner(DoubleWell(), dt=[1e-3]), "dt"),
    (lambda: WExploreResampler(None), "distance"),
    (lambda: WExploreResampler(XYDistance(), max_n_regions=10), "max_n_regions"),
    (lambda: WExploreResampler(XYDistance(), max_region_sizes=(math.inf,)), "max_region_sizes"),
    (lambda: REVOResampler(None, 1.0, 1.0), "distance"),
    (lambda: REVOResampler(XYDistance(), 1.0, 0), "char_dist"),
    (lambda: REVOResampler(XYDistance(), 1.0, 1.0, pmin=math.nan), "pmin"),
    (lambda: BinResampler(len, edges=1.0), "edges"),
    (lambda: BinResampler(len, edges=[2.0, 1.0]), "edges"),
    (lambda: BinResampler(len, edges=["a", "b"]), "edges"),
    (lambda: BinResampler(len, target_count=[[1], [2, 3]]), "target_count"),
    (lambda: TargetBC(len, 5, threshold=1.0), "initial_states"),
    (lambda: TargetBC(len, START, threshold="far"), "threshold"),
    (lambda: RandomWalkTargetBC(math.inf, START), "threshold"),
    (lambda: RandomWalkTargetBC(5, START, initial_weights="1"), "initial_weights"),
    (lambda: RebindingBC("near", START, START[0], [0], [0]), "cutoff_rmsd"),
    (lambda: CoordinateDistance(len, scale=2.0), "scale"),
    (lambda: CoordinateDistance(len, scale=[0.0]), "scale"),
    (lambda: ImageCoordinate(None), "distance"),
    (lambda: RMSDDistance(3), "align_idxs"),
    (lambda: XYDistance([[0], [1, 2]]), "atoms"),
]


@pytest.mark.parametrize(("make", "name"), BAD)
def test_components_name_what_is_wrong(make: Any, name: str) -> None:
    """Wrong types, shapes and ranges alike: a ValueError that names the parameter."""
    with pytest.raises(ValueError, match=rf"{name}\b.* must be |{name} must be|{name}="):
        make()
