"""Overdamped Langevin dynamics: against the exact law of its own scheme, and of the potential."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.systems import bits
from wepystore.api import (
    DoubleWell,
    Ensemble,
    FunctionPotential,
    Harmonic,
    OverdampedLangevinRunner,
    Potential,
    Walker,
    WalkerState,
)
from wepystore.engine.errors import SegmentError


def walkers_at(place: float, n_walkers: int) -> Ensemble:
    return Ensemble(
        np.full(n_walkers, 1 / n_walkers),
        {"positions": np.full((n_walkers, 1, 1), place), "time": np.zeros(n_walkers)},
    )


def moved(runner: OverdampedLangevinRunner, place: float, n: int, steps: int) -> np.ndarray:
    end = runner.run_segments(walkers_at(place, n), steps, rng=np.random.default_rng(2))
    return end.fields["positions"][:, 0, 0]


@pytest.mark.parametrize("steps", [1, 7, 400])
def test_a_harmonic_well_follows_the_exact_law_of_the_scheme(steps: int) -> None:
    """Mean and variance of Euler-Maruyama on a parabola are known after any number of steps:
    x shrinks by a = 1 - beta D k dt a step, and 2 D dt is added to the variance."""
    beta, diffusion, k, dt, n = 0.8, 1.7, 2.5, 0.02, 30_000
    places = moved(OverdampedLangevinRunner(Harmonic(k, 0.5), diffusion, dt, beta), 2.0, n, steps)
    shrink = 1 - beta * diffusion * k * dt
    mean = 0.5 + 1.5 * shrink**steps
    variance = 2 * diffusion * dt * (1 - shrink ** (2 * steps)) / (1 - shrink**2)
    assert places.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
    assert places.var() == pytest.approx(variance, abs=4 * variance * math.sqrt(2 / n))


def test_free_diffusion() -> None:
    """With a potential that is flat, the mean square displacement is 2 D t."""
    flat = FunctionPotential(lambda x: np.zeros(len(x)), np.zeros_like)
    places = moved(OverdampedLangevinRunner(flat, diffusion=0.3, dt=0.01), 1.0, 50_000, 20)
    expected = 2 * 0.3 * 0.2
    assert ((places - 1.0) ** 2).mean() == pytest.approx(
        expected, abs=4 * expected * math.sqrt(2 / 50_000)
    )


def test_a_double_well_relaxes_to_boltzmann() -> None:
    """From one well at height 1: both are filled equally, and <x^2> is that of exp(-beta V)."""
    runner = OverdampedLangevinRunner(DoubleWell(1.0), dt=1e-3)
    places = moved(runner, -1.0, 4_000, 10_000)
    x = np.linspace(-4, 4, 8001)
    density = np.exp(-((x * x - 1) ** 2))
    expected = (density * x * x).sum() / density.sum()
    spread = math.sqrt((density * x**4).sum() / density.sum() - expected**2)
    assert (places**2).mean() == pytest.approx(expected, abs=4 * spread / math.sqrt(4_000) + 0.003)
    assert (places > 0).mean() == pytest.approx(0.5, abs=0.032)


@pytest.mark.parametrize(
    "potential",
    [DoubleWell(7.0), Harmonic(3.0, [0.1, 0.2]), Harmonic(2.0)],
    ids=["double well", "harmonic, moved", "harmonic"],
)
def test_gradients_are_those_of_the_energies(potential: Potential) -> None:
    """Central differences of the energy agree with the gradient, for many walkers at once."""
    x = np.random.default_rng(4).normal(size=(6, 3, 2))
    gradient = potential.gradient(x)
    assert potential.energy(x).shape == (6,)
    assert gradient.shape == x.shape
    for place in np.ndindex(3, 2):
        step = np.zeros((3, 2))
        step[place] = 1e-6
        difference = (potential.energy(x + step) - potential.energy(x - step)) / 2e-6
        assert gradient[(slice(None), *place)] == pytest.approx(difference, abs=1e-5)


def test_a_user_s_functions_move_as_the_built_in_potential() -> None:
    """The same functions given by a user end in the same bits."""
    own = FunctionPotential(
        lambda x: (2.0 * (x * x - 1.0) ** 2).sum(axis=(1, 2)),
        lambda x: (4.0 * 2.0) * (x * (x * x - 1.0)),
    )
    ends = [
        bits(
            OverdampedLangevinRunner(potential).run_segments(
                walkers_at(-1.0, 10), 50, rng=np.random.default_rng(1)
            )
        )
        for potential in (own, DoubleWell(2.0))
    ]
    assert ends[0] == ends[1]


def test_one_walker_by_itself() -> None:
    """run_segment with a seed is repeatable; time goes on; the walker it was given stays."""
    runner = OverdampedLangevinRunner(DoubleWell(), dt=0.002)
    walker = Walker(runner.initial_state(-1.0), 0.5)
    first = runner.run_segment(walker, 25, seed=3)
    assert first.state.equals(runner.run_segment(walker, 25, seed=3).state)
    assert not first.state.equals(runner.run_segment(walker, 25, seed=4).state)
    assert float(first.state["time"]) == pytest.approx(0.05)
    assert walker.state["positions"].tolist() == [[-1.0]]
    assert runner.step_size == 0.002


def test_positions_that_blow_up_end_the_run() -> None:
    """The message names the walker and says that the step may be too long."""
    runner = OverdampedLangevinRunner(DoubleWell(10.0), dt=1.0)
    far = WalkerState(positions=[[30.0]], time=0.0)
    near = WalkerState(positions=[[1e-300]], time=0.0)
    with pytest.raises(SegmentError, match=r"walker \d.*no longer finite.*dt"):
        runner.run_segments(
            [Walker(near, 0.5), Walker(far, 0.5)], 60, rng=np.random.default_rng(1), cycle_idx=3
        )


@pytest.mark.parametrize("name", ["diffusion", "dt", "beta"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_parameters_must_be_positive(name: str, value: float) -> None:
    """The message names the parameter."""
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        OverdampedLangevinRunner(DoubleWell(), **{name: value})


def test_other_wrong_parameters_are_refused() -> None:
    """No gradient, a height that is none, a centre that is nowhere, something not a function."""
    attempts: list[tuple[Any, str]] = [
        (lambda: OverdampedLangevinRunner(3.0), "gradient"),
        (lambda: DoubleWell(-1.0), "height"),
        (lambda: Harmonic(1.0, math.nan), "center"),
        (lambda: FunctionPotential(np.sum, 3.0), "gradient_function"),  # type: ignore[arg-type]
    ]
    for attempt, problem in attempts:
        with pytest.raises(ValueError, match=problem):
            attempt()


def test_reproducible_as_far_as_the_potential_is() -> None:
    """Built-in potentials are sums and products; of a user's functions nobody knows."""
    assert OverdampedLangevinRunner(DoubleWell()).reproducible(None, None)
    assert OverdampedLangevinRunner(Harmonic()).reproducible(None, None)
    own = FunctionPotential(np.sum, np.tanh)
    assert not OverdampedLangevinRunner(own).reproducible(None, None)
