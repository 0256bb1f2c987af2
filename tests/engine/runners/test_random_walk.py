"""The random walk: its laws are those that can be computed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wepystore.api import Ensemble, RandomWalkRunner, Walker, WalkerState
from wepystore.engine.errors import ComponentError

#: P(0), P(1), P(2) after 10 steps from 0 at p = 1/4, from powers of the transition matrix.
LAW_10 = (0.67298126, 0.22108269, 0.07369423)


def walked(n_walkers: int, n_steps: int, seed: int, **parameters: object) -> np.ndarray:
    runner = RandomWalkRunner(**parameters)  # type: ignore[arg-type]
    walkers = [Walker(runner.initial_state(), 1 / n_walkers)] * n_walkers
    moved = runner.run_segments(walkers, n_steps, rng=np.random.default_rng(seed))
    return moved.fields["positions"][:, 0]


def transition(probability: float, size: int = 60) -> np.ndarray:
    matrix = np.zeros((size, size))
    for here in range(size):
        matrix[here, min(here + 1, size - 1)] += probability
        matrix[here, max(here - 1, 0)] += 1 - probability
    return matrix


def test_the_law_after_ten_steps() -> None:
    """Of 200,000 walkers from 0: P(0), P(1), P(2) within 4 standard errors (0.001 each)."""
    n_walkers = 200_000
    places = walked(n_walkers, 10, seed=11)[:, 0]
    for place, expected in enumerate(LAW_10):
        error = math.sqrt(expected * (1 - expected) / n_walkers)
        assert abs(np.mean(places == place) - expected) < 4 * error


def test_the_law_of_ten_steps_is_the_matrix_s() -> None:
    """The three numbers are those of the tenth power of the transition matrix, to 8 places."""
    law = np.linalg.matrix_power(transition(0.25), 10)[0]
    assert law[:3] == pytest.approx(LAW_10, abs=5e-9)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.4, 1.0])
def test_the_law_at_other_probabilities(probability: float) -> None:
    """Seven steps agree with the transition matrix at every place within 4.5 standard errors."""
    n_walkers = 50_000
    places = walked(n_walkers, 7, seed=3, probability=probability)[:, 0].astype(int)
    found = np.bincount(places, minlength=60) / n_walkers
    law = np.linalg.matrix_power(transition(probability), 7)[0]
    assert np.all(np.abs(found - law) <= 4.5 * np.sqrt(law * (1 - law) / n_walkers))


def test_the_stationary_law() -> None:
    """Long after the start, pi(x) = (2/3) (1/3)^x, within 4 standard errors."""
    n_walkers = 100_000
    places = walked(n_walkers, 150, seed=5)[:, 0]
    for place in range(5):
        expected = 2 / 3 / 3**place
        error = math.sqrt(expected * (1 - expected) / n_walkers)
        assert abs(np.mean(places == place) - expected) < 4 * error


def test_dimensions_are_independent() -> None:
    """Each of three dimensions has the law of one, and no two are correlated."""
    places = walked(50_000, 10, seed=7, n_dims=3)
    for axis in range(3):
        assert np.mean(places[:, axis] == 0) == pytest.approx(LAW_10[0], abs=0.0085)
    correlations = np.corrcoef(places.T)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < 4 / math.sqrt(50_000))


def test_where_it_begins_decides_nothing_but_the_beginning() -> None:
    """Walkers of one call start from their own places and times and keep their weights."""
    runner = RandomWalkRunner(probability=1.0, n_dims=2)
    ensemble = Ensemble([0.25, 0.75], {"positions": [[[0, 5]], [[7, 1]]], "time": [0, 40]})
    moved = runner.run_segments(ensemble, 3, rng=np.random.default_rng(1))
    assert moved.fields["positions"].tolist() == [[[3, 8]], [[10, 4]]]
    assert moved.fields["time"].tolist() == [3, 43]
    assert moved.weights.tolist() == [0.25, 0.75]
    assert ensemble.fields["positions"].tolist() == [[[0, 5]], [[7, 1]]]


def test_one_walker_by_itself() -> None:
    """run_segment with a seed is repeatable, and other seeds walk elsewhere."""
    runner = RandomWalkRunner(0.5, n_dims=5)
    walker = Walker(runner.initial_state(), 0.5)
    first = runner.run_segment(walker, 50, seed=3)
    assert type(first) is Walker and first.weight == 0.5
    assert first.state.equals(runner.run_segment(walker, 50, seed=3).state)
    assert not first.state.equals(runner.run_segment(walker, 50, seed=4).state)


def test_a_state_by_hand_needs_no_time() -> None:
    """As in wepy, whose walkers have positions alone: time then begins at 0."""
    walker = Walker(WalkerState(positions=[[4.0]]), 1.0)
    moved = RandomWalkRunner(0.0).run_segment(walker, 2, seed=1)
    assert moved.state["positions"].tolist() == [[2.0]]
    assert moved.state["time"].shape == () and float(moved.state["time"]) == 2.0


def test_wrong_parameters_and_states_are_refused() -> None:
    """The message names the parameter, or the shape it got and the one it needs."""
    with pytest.raises(ValueError, match="probability"):
        RandomWalkRunner(probability=1.5)
    with pytest.raises(ValueError, match="n_dims"):
        RandomWalkRunner(n_dims=0)
    walker = Walker(WalkerState(positions=[[0.0, 0.0]]), 1.0)
    with pytest.raises(ComponentError, match=r"shape \(1, 2\).*n_dims=1 needs \(1, 1\)"):
        RandomWalkRunner().run_segment(walker, 1, seed=1)


def test_it_says_that_it_is_reproducible() -> None:
    """Whole numbers have the same bits everywhere, whatever the platform is called."""
    assert RandomWalkRunner().reproducible(None, None)


def test_a_time_kept_as_an_array_of_one_is_a_number() -> None:
    """As in states that wepy made; of a list and of an ensemble it is then the same."""
    walkers = [Walker(WalkerState(positions=[[0.0]], time=[7.0]), 0.5)] * 2
    for form in (walkers, Ensemble.of(walkers)):
        moved = RandomWalkRunner().run_segments(form, 3, rng=np.random.default_rng(1))
        assert moved.fields["time"].tolist() == [10.0, 10.0]
