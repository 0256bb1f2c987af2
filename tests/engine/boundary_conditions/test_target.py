"""Targets along a progress coordinate, and of the random walk: who is warped, what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.systems import bits
from wepystore.api import (
    Ensemble,
    NoResampler,
    PairDistance,
    RandomWalkRunner,
    RandomWalkTargetBC,
    SerialMapper,
    TargetBC,
    Walker,
    WalkerState,
    WarpBC,
)
from wepystore.engine.distances.coordinate import ImageCoordinate
from wepystore.engine.errors import StepError
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams


def state(*coordinates: float) -> WalkerState:
    return WalkerState(positions=[list(coordinates)], time=0.0)


def walkers(*places: float) -> list[Walker]:
    return [Walker(state(place), 1 / len(places)) for place in places]


def first(state: Any) -> float:
    """A user's progress coordinate: x."""
    return float(state["positions"][0, 0])


def both(state: Any) -> Any:
    """A progress coordinate of two numbers."""
    return state["positions"][0]


@pytest.mark.parametrize(
    ("options", "warped"),
    [
        ({"threshold": 2.0}, [2, 3]),
        ({"threshold": 2.0, "direction": "above"}, [2, 3]),
        ({"threshold": -0.5, "direction": "below"}, [0]),
        ({"threshold": (2.0, 3.0), "direction": "inside"}, [2, 3]),
        ({"threshold": (-1.0, 2.0), "direction": "outside"}, [0, 2, 3]),
        ({"predicate": lambda x: np.abs(x) == 1.0}, [0]),
    ],
)
@pytest.mark.parametrize("form", [list, Ensemble.of])
def test_walkers_at_the_target_are_warped(options: Any, warped: list[int], form: Any) -> None:
    """At the threshold itself too; each gets the initial state and keeps its weight (W3)."""
    conditions = TargetBC(first, [state(0.5)], **options)
    given = [Walker(state(x), w) for x, w in ((-1, 0.1), (1.5, 0.2), (2, 0.3), (3, 0.4))]
    after, records, _, progress = conditions.warp_walkers(form(given), 3)
    assert [int(record["walker_idx"][0]) for record in records] == warped
    assert [float(record["weight"][0]) for record in records] == [given[k].weight for k in warped]
    assert list(progress["progress_coordinate"]) == [-1.0, 1.5, 2.0, 3.0]
    expected = [Walker(state(0.5), w.weight) if k in warped else w for k, w in enumerate(given)]
    assert bits(after) == bits(expected)


def test_a_coordinate_of_two_numbers() -> None:
    """One threshold for each: all must be reached; a predicate sees both."""
    given = [Walker(state(*xy), 0.25) for xy in ((0, 0), (2, 0), (0, 2), (2, 2))]
    conditions = TargetBC(both, [state(0, 0)], threshold=(1, 2))
    _, records, _, progress = conditions.warp_walkers(given, 0)
    assert [int(record["walker_idx"][0]) for record in records] == [3]
    assert progress["progress_coordinate"] == [0, 0, 2, 0, 0, 2, 2, 2]
    either = TargetBC(both, [state(0, 0)], predicate=lambda xy: (xy >= 2).any(axis=1))
    assert [int(r["walker_idx"][0]) for r in either.warp_walkers(given, 0)[1]] == [1, 2, 3]


def test_the_boundary_is_recorded_once() -> None:
    """At cycle 0 one record of the threshold; later none; of a predicate none at all."""
    conditions = TargetBC(first, [state(0)], (1.0, 2.0), "inside")
    assert conditions.warp_walkers(walkers(0, 5), 0)[2][0]["threshold"].tolist() == [1.0, 2.0]
    assert conditions.warp_walkers(walkers(0, 5), 1)[2] == []
    either = TargetBC(first, [state(0)], predicate=lambda x: x > 1)
    assert either.warp_walkers(walkers(0, 5), 0)[2] == []


def test_initial_states_are_drawn_with_their_weights() -> None:
    """Of 4,000 warps to three states weighted 1, 0 and 3, a quarter goes to the first."""
    conditions = TargetBC(first, [state(0), state(0.1), state(0.2)], 1.0, initial_weights=[1, 0, 3])
    conditions.set_rng(np.random.default_rng(3))
    records = conditions.warp_walkers(walkers(*[2.0] * 4000), 1)[1]
    targets = np.bincount([int(record["target_idx"][0]) for record in records], minlength=3)
    assert targets[1] == 0
    assert targets[0] == pytest.approx(1000, abs=4 * np.sqrt(4000 * 3 / 16))


def test_one_draw_for_all_is_the_stream_of_one_for_each() -> None:
    """The targets are those that single draws from the same generator give (frozen streams)."""
    conditions = TargetBC(first, [state(0), state(0.1)], 1.0, initial_weights=[1, 2])
    conditions.set_rng(np.random.default_rng(9))
    records = conditions.warp_walkers(walkers(*[2.0] * 50), 1)[1]
    single = np.random.default_rng(9)
    expected = [int(single.choice(2, p=np.array([1.0, 2.0]) / 3.0)) for _ in range(50)]
    assert [int(record["target_idx"][0]) for record in records] == expected


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, "a threshold or a predicate"),
        ({"threshold": 1, "predicate": bool}, "a threshold or a predicate"),
        ({"threshold": 1, "direction": "up"}, "direction must be one of above, below"),
        ({"threshold": 1, "direction": "inside"}, r"needs threshold=\(low, high\)"),
        ({"threshold": (2, 1), "direction": "outside"}, r"needs threshold=\(low, high\)"),
        ({"threshold": float("nan")}, "finite number"),
        ({"threshold": [1, 2]}, "threshold holds 2 numbers, the progress coordinate 1"),
        ({"threshold": 0.0}, "initial state 0 is itself at the target"),
        ({"predicate": lambda x: True}, "one truth for each of 1 walkers"),
        ({"threshold": 1, "coordinate": 3}, "coordinate must be a function"),
        ({"threshold": 1, "initial_states": []}, "initial_states is empty"),
        ({"threshold": 1, "initial_states": state(0)}, "got a single state"),
        ({"threshold": 1, "initial_weights": [1, 2]}, "2 initial_weights for 1"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], problem: str) -> None:
    """The message names the parameter or the state."""
    with pytest.raises(ValueError, match=problem):
        TargetBC(**{"coordinate": first, "initial_states": [state(0)], **parameters})


def test_inside_needs_one_number() -> None:
    """Of a coordinate of two numbers it is not defined, and the way out is named."""
    with pytest.raises(ValueError, match="coordinate of one number, not of 2; give a predicate"):
        TargetBC(both, [state(0, 0)], (1, 2), "inside")


def test_a_coordinate_that_is_no_number_ends_the_run() -> None:
    """NaN is at no target and before none: the run stops, with the walker named."""
    manager = CycleManager(
        init_walkers=walkers(0, 1),
        runner=RandomWalkRunner(1.0),
        boundary_conditions=TargetBC(lambda s: np.nan if first(s) > 3 else 0.0, [state(0)], 5.0),
        resampler=NoResampler(),
        work_mapper=SerialMapper(),
        streams=Streams(1),
    )
    manager.init()
    with pytest.raises(Exception, match="walker 1 is"):
        manager.run_cycle(manager.init_walkers, 3, 0)


def test_a_distance_folds_by_the_box_where_the_runner_has_none() -> None:
    """A coordinate that is periodic is refused for a runner that is not, as distances are."""
    pair = WalkerState(positions=np.eye(3)[:2], box_vectors=np.eye(3) * 4)
    conditions = TargetBC(ImageCoordinate(PairDistance(0, 1)), [pair], 3.0)
    with pytest.raises(Exception, match="not periodic"):
        CycleManager(
            init_walkers=[Walker(pair, 1.0)],
            runner=RandomWalkRunner(),
            boundary_conditions=conditions,
            resampler=NoResampler(),
            work_mapper=SerialMapper(),
            streams=Streams(1),
        )


@pytest.mark.parametrize("form", [list, Ensemble.of])
def test_a_random_walk_is_warped_at_its_distance(form: Any) -> None:
    """The distance is the sum of the coordinates; at the threshold a walker goes back."""
    origin = RandomWalkRunner(n_dims=2).initial_state()
    conditions = RandomWalkTargetBC(4, [origin])
    given = [Walker(state(*xy), 0.25) for xy in ((3, 0), (2, 2), (0, 4), (5, 5))]
    after, records, bc_data, progress = conditions.warp_walkers(form(given), 0)
    assert [int(record["walker_idx"][0]) for record in records] == [1, 2, 3]
    assert list(progress["distance"]) == [3, 4, 4, 10]
    assert bc_data[0]["threshold_distance"].tolist() == [4]
    assert bits(after) == bits([given[0], *[Walker(origin, 0.25)] * 3])


@pytest.mark.parametrize("threshold", [0, -1, 2.5])
def test_a_random_walk_s_threshold_is_a_whole_number(threshold: float) -> None:
    """Positions are whole numbers, so a target between them is a mistake."""
    with pytest.raises(ValueError, match="whole number"):
        RandomWalkTargetBC(threshold, [state(0)])  # type: ignore[arg-type]


def test_an_initial_state_at_the_target_is_refused() -> None:
    """It would be a flux out of nothing."""
    with pytest.raises(ValueError, match="initial state 1 is itself at the target"):
        RandomWalkTargetBC(3, [state(0), state(3)])


def brute_mfpt(every: int, target: int, seed: int, n_walkers: int, n_cycles: int) -> Any:
    """Mean first passage time in cycles by Hill's relation from plain walks, and its error."""
    runner = RandomWalkRunner()
    origin = runner.initial_state()
    manager = CycleManager(
        init_walkers=[Walker(origin, 1 / n_walkers)] * n_walkers,
        runner=runner,
        boundary_conditions=RandomWalkTargetBC(target, [origin]),
        resampler=NoResampler(),
        work_mapper=SerialMapper(),
        streams=Streams(seed),
    )
    manager.init()
    ensemble: Sequence[Any] = manager.init_walkers
    warps = []
    for cycle_idx in range(n_cycles):
        result = manager.run_cycle(ensemble, every, cycle_idx)
        ensemble = result.walkers
        warps.append(result.n_warped)
    steady = np.array(warps[n_cycles // 3 :])
    flux = steady.mean() / n_walkers
    # Warps of one walker are rare and nearly independent: their number is nearly Poisson.
    return 1 / flux, 1 / flux / np.sqrt(steady.sum())


def test_the_flux_of_plain_walks_gives_the_mean_first_passage_time() -> None:
    """To 5, looked at every 10 steps: 269.30853 cycles, within 4 standard errors of 0.9 %."""
    found, error = brute_mfpt(every=10, target=5, seed=8, n_walkers=20_000, n_cycles=250)
    assert error / found < 0.01
    assert abs(found - 269.30853) < 4 * error


def test_a_failing_coordinate_is_named() -> None:
    """A user's function that raises ends the cycle as an error that names the conditions."""

    def broken(state: Any) -> float:
        if first(state) > 0:
            raise KeyError("phi")
        return 0.0

    manager = CycleManager(
        init_walkers=walkers(0, 0),
        runner=RandomWalkRunner(1.0),
        boundary_conditions=TargetBC(broken, [state(0)], 1.0),
        resampler=NoResampler(),
        work_mapper=SerialMapper(),
        streams=Streams(1),
    )
    manager.init()
    with pytest.raises(StepError, match="cycle 0: TargetBC failed: KeyError: 'phi'"):
        manager.run_cycle(manager.init_walkers, 1, 0)


@pytest.mark.parametrize("place", [0, 1])
def test_an_initial_state_of_another_shape_is_refused_at_the_warp(place: int) -> None:
    """Not by the runner, a cycle later, when the walkers have been kept; whoever gets it."""
    initial = [state(0), state(0)]
    initial[place] = WalkerState(positions=np.zeros((2, 1)), time=0.0)
    conditions = TargetBC(first, initial, threshold=1.0)
    conditions.set_rng(np.random.default_rng(1))
    with pytest.raises(ValueError, match=rf"initial state {place} has positions of shape \(2, 1\)"):
        conditions.warp_walkers(walkers(*[2.0] * 12), 1)


class OfAUser(WarpBC):
    """Boundary conditions of a user's own, whose progress is a list."""

    PROGRESS_FIELDS = ("place",)
    n_lost = 0

    def __init__(self) -> None:
        self._set_initial([state(0)], None)

    def progress(self, walkers: Sequence[Any]) -> Any:
        return [first(walker.state) for walker in walkers][self.n_lost :]

    def arrived(self, progress: Any) -> Any:
        return progress >= 1.0


def test_a_progress_of_one_number_a_walker() -> None:
    """A list will do; numbers of other walkers than these will not."""
    conditions = OfAUser()
    warped, warps, _, progress = conditions.warp_walkers(walkers(0.5, 2.0), 0)
    assert [first(walker.state) for walker in warped] == [0.5, 0.0]
    assert (len(warps), progress) == (1, {"place": [0.5, 2.0]})
    conditions.n_lost = 1
    with pytest.raises(ValueError, match=r"progress has shape \(1,\) for 2 walkers"):
        conditions.warp_walkers(walkers(0.5, 2.0), 0)


def test_an_initial_state_may_be_given_as_a_dictionary() -> None:
    """As any mapping of names to arrays; what walkers then take is a state like any other."""
    conditions = TargetBC(first, [{"positions": [[0.25]], "time": 0.0}], threshold=1.0)
    (warped,), *_ = conditions.warp_walkers(walkers(2.0), 1)
    assert isinstance(warped.state, WalkerState)
    assert warped.state.equals(state(0.25))
    assert conditions.params()["initial_states"] == [warped.state]


def test_a_predicate_gives_truths() -> None:
    """NaN would count as true."""
    conditions = TargetBC(first, [state(0)], predicate=lambda x: x > 1)
    conditions.predicate = lambda x: np.full(len(x), np.nan)
    with pytest.raises(ValueError, match="must give truths"):
        conditions.warp_walkers(walkers(2.0), 1)
