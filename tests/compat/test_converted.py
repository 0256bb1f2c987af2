"""What `convert` makes of the real wepy's components, and of a user's distances for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.compat.conftest import InWepy
from wepystore.api import (
    RandomWalkDistance,
    RandomWalkRunner,
    RandomWalkTargetBC,
    REVOResampler,
    load_snapshot,
)
from wepystore.compat.wepy.repairs import have_wepy
from wepystore.store import Store

__all__ = ["wepy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where convert_wepy.py leaves its stores."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def found(in_wepy: InWepy, folder: Path) -> dict[str, Any]:
    """What convert_wepy.py, run by the interpreter that has wepy, saw."""
    done = in_wepy(Path(__file__).with_name("convert_wepy.py"), folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("kind", "name", "gap"),
    [
        ("pair", "PairDistance", 0),
        ("unbinding", "UnbindingDistance", 1e-12),
        ("rebinding", "RebindingDistance", 1e-12),
        ("walk", "RandomWalkDistance", 0),
        ("xy", "CoordinateDistance", 0),
        ("user", "BondDistance", 0),
    ],
)
def test_region_trees(found: dict[str, Any], kind: str, name: str, gap: float) -> None:
    """A converted WExplore puts 30 walkers into the very regions that wepy's own tree puts them
    into, its distance gives what wepy's gives, and wepy is no longer needed."""
    tree = found["trees"][kind]
    assert tree["class"] == name
    assert not tree["kept"]
    assert tree["regions"] >= 10
    assert tree["same places"] is True
    assert tree["largest gap"] <= gap
    assert tree["needs wepy"] is False


def test_random_walks(found: dict[str, Any]) -> None:
    """In 1, 2, 5 and 20 dimensions, on and off the lattice: the native distance gives the bits of
    wepy's, and the native boundary warps the same walkers, with the same progress and weights."""
    walks = found["walks"]
    assert walks["distances"] == [True] * 4
    for warps in walks["warps"]:
        assert warps.pop("number") >= 10
        assert set(warps.values()) == {True}, warps


def test_random_walks_go_back_to_the_same_states(found: dict[str, Any]) -> None:
    """Of two initial states of weights 1/4 and 3/4, wepy and its counterpart draw the second in
    3/4 of 4000 warps; four standard errors are 0.027."""
    targets = found["walks"]["targets"]
    assert len(targets) == 8
    np.testing.assert_allclose(targets, 0.75, rtol=0, atol=4 * np.sqrt(0.75 * 0.25 / 4000))


def test_wepys_random_walk_is_native(found: dict[str, Any], folder: Path, wepy: Wepy) -> None:
    """A random walk of wepy's alone becomes one without a pickle: this interpreter, which has no
    wepy and trusts nothing, runs it."""
    assert not have_wepy()
    walk = found["walk"]
    assert walk["needing"] == {}
    path = folder / "walk.orch"
    parts = load_snapshot(Store.open(path), walk["hash"]).apparatus
    assert [type(part) for part in (parts.runner, parts.boundary_conditions, parts.resampler)] == [
        *(RandomWalkRunner, RandomWalkTargetBC, REVOResampler)
    ]
    assert type(parts.resampler.distance) is RandomWalkDistance
    assert "pickle" not in json.dumps(Store.open(path).manifest("snapshots", walk["hash"]))
    run = wepy("run orch --n-cycles=3 --job-dir", folder / "job", path, walk["hash"], 600, 10)
    assert run.status == 0, run.err


@pytest.mark.parametrize("name", ["BondDistance", "HeightDistance", "TwiceDistance"])
def test_a_users_distance_without_wepy(found: dict[str, Any], name: str) -> None:
    """Derived from wepy's base, with constructors, super() and functions of its module: it measures
    the same in another place, and nothing needs wepy."""
    told = found["user"][name]
    assert told["needing"] == {}
    assert not told["kept"] and told["same"]
    assert "measures the same, to the bit, without wepy" in told["notes"][0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BoxDistance", "uses wepy.util.util.box_vectors_to_lengths_angles"),
        ("LazyBoxDistance", "LazyBoxDistance.image uses wepy.util.util"),
        ("WidePairDistance", "derived from wepy.resampling.distances.distance.AtomPairDistance"),
        ("StateDistance", "StateDistance does not say what its image is"),
        ("NosyDistance", "measures otherwise without wepy's class"),
    ],
)
def test_a_users_distance_that_needs_wepy(found: dict[str, Any], name: str, reason: str) -> None:
    """One that uses more of wepy than its base's name stays the very object; what was made says
    that it needs wepy, for the sake of which part, and why."""
    told = found["user"][name]
    assert told["kept"]
    assert list(told["needing"]) == ["resampler.distance"]
    assert name in told["needing"]["resampler.distance"]
    assert reason in told["needing"]["resampler.distance"]
