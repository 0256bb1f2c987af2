"""A coordinate or distance that gives no number is named, and the dynamics are not blamed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.systems import pair_runner, pair_state
from wepystore.api import (
    BinResampler,
    Distance,
    NoResampler,
    REVOResampler,
    SerialMapper,
    TargetBC,
    Walker,
    WalkerState,
    WarpBC,
    WExploreResampler,
)
from wepystore.engine.distances.coordinate import walker_coordinates
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams
from wepystore.errors import WepystoreError


def logarithm(state: Any) -> float:
    """Of a number that is below 0 when two atoms are near."""
    length = float(np.linalg.norm(state["positions"][1] - state["positions"][0]))
    return float(np.log(length - 0.4)) if length > 0.4 else float("nan")


class LogDistance(Distance):
    """How different two logarithms are."""

    def image(self, state: Any) -> Any:
        return np.array([logarithm(state)])

    def image_distances(self, image: Any, images: Any) -> Any:
        return np.abs(images[:, 0] - image[0])


class LogBC(WarpBC):
    """At the target where the logarithm is above 5: nowhere."""

    PROGRESS_FIELDS = ("log",)
    PROGRESS_SHAPES = (Ellipsis,)
    PROGRESS_DTYPES = (float,)

    def __init__(self) -> None:
        self._set_initial([pair_state(0.6)], None)

    def progress(self, walkers: Any) -> Any:
        return np.array([logarithm(walker.state) for walker in walkers])

    def arrived(self, progress: Any) -> Any:
        return progress > 5.0


PARTS: dict[str, tuple[Any, str]] = {
    "bins": (
        {"resampler": BinResampler(logarithm, [0.0])},
        r"cycle 3: the progress coordinate logarithm of walker 1 is nan, .* positions.* numbers",
    ),
    "target": (
        {"boundary_conditions": TargetBC(logarithm, [pair_state(0.6)], 5.0)},
        r"cycle 3: the progress coordinate logarithm of walker 1 is nan",
    ),
    "WExplore": (
        {"resampler": WExploreResampler(LogDistance(), (10,), (1.0,))},
        r"cycle 3: the distance LogDistance of walker 1 to the first region is not a number",
    ),
    "REVO": (
        {"resampler": REVOResampler(LogDistance(), merge_dist=1.0, char_dist=1.0)},
        r"cycle 3: the distance LogDistance between walkers 0 and 1 is nan",
    ),
    "boundary conditions of one's own": (
        {"boundary_conditions": LogBC()},
        r"cycle 3: LogBC failed: ValueError: the progress of walker 1 is NaN, though its positions",
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_cycle_walker_and_culprit_are_named(case: str) -> None:
    """The user's function is asked about a walker whose positions are numbers."""
    parts, words = PARTS[case]
    walkers = [Walker(pair_state(0.6), 0.5), Walker(pair_state(), 0.5)]
    manager = CycleManager(
        init_walkers=walkers,
        runner=pair_runner(),
        work_mapper=SerialMapper(),
        streams=Streams(1),
        **{"boundary_conditions": None, "resampler": NoResampler(), **parts},
    )
    manager.init()
    with pytest.raises(WepystoreError, match=words) as raised:
        manager.run_cycle(walkers, 2, 3)
    manager.cleanup()
    assert "time step" not in str(raised.value) and "\n" not in str(raised.value)


def test_positions_that_are_no_numbers_are_blamed_on_the_dynamics() -> None:
    """Where they got past the runner: one that nobody looked at."""
    lost = WalkerState(positions=[[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
    with pytest.raises(WepystoreError, match=r"walker 0 is nan, as are its positions; .*time step"):
        walker_coordinates(logarithm, [Walker(lost, 1.0)])


def test_an_initial_state_is_no_walker() -> None:
    """What is wrong with a state to warp to is said when the conditions are built."""
    with pytest.raises(WepystoreError, match="logarithm of initial state 1 is nan"):
        TargetBC(logarithm, [pair_state(0.6), pair_state()], 5.0)
