"""Intervals of nominal 95 % hold the true rate about as often, where that is known exactly (A2).

Runs of weighted ensembles on a line (lattice.py), whose flux is known; the last half of each
counts. Repeats are of other runs each time, and the seed is fixed. An interval is right if the 99 %
interval of the proportion that was found overlaps 92 to 98 %. What comes out is written down in
docs/design/0054-rates.md.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pytest

from tests.science.ensembles import RELAXED
from tests.science.lattice import MODELS, Floats, Lattice
from tests.science.reference import random_walk
from tests.science.walks import experiment, resampler
from wepystore.estimates.ratios import effective_number, log_interval, over_units

SEED = 20251101
N_WALKERS = 4
#: Of each model so many cycles, of which the second half is steady.
N_CYCLES = {"8 kT": 1000, "12 kT": 4000, "intermediate": 3000}
#: Of which the repeats take what they need.
N_RUNS = 3000
#: Proportions that are right.
LOW, HIGH = 0.92, 0.98


class Proportion(NamedTuple):
    """So many of n."""

    held: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """For 99 %, by Wilson's formula (J. Am. Stat. Assoc. 22, 209, 1927)."""
        z, part = NormalDist().inv_cdf(0.995), self.held / self.n
        middle = (part + z * z / (2 * self.n)) / (1 + z * z / self.n)
        half = z / (1 + z * z / self.n)
        half *= math.sqrt(part * (1 - part) / self.n + z * z / (4 * self.n**2))
        return middle - half, middle + half

    @property
    def is_right(self) -> bool:
        """Whether it may be one of those that are."""
        low, high = self.interval
        return low < HIGH and high > LOW


@functools.cache
def fluxes(model: Lattice, n_runs: int) -> Floats:
    """Of the cycles that count, shape (n_runs, n)."""
    n_cycles = N_CYCLES[model.name]
    exact = model.chain.fluxes(len(model.potential), n_cycles)[n_cycles // 2 :].mean()
    assert abs(exact / model.flux - 1) < 5 * RELAXED
    return model.fluxes(n_runs, n_cycles, N_WALKERS, SEED)[:, n_cycles // 2 :]


def over_runs(model: Lattice, n: int, n_repeats: int, n_runs: int = N_RUNS) -> Proportion:
    """Of intervals over n runs each those that hold the rate."""
    held = 0
    for group in fluxes(model, n_runs)[: n * n_repeats].reshape(n_repeats, n, -1):
        effective = effective_number(group[group > 0])
        lengths = np.ones(group.shape[1])
        found = over_units([(run, lengths) for run in group], effective)
        assert found.between == (n > 2)
        held += bool(found.low <= model.flux <= found.high)
    return Proportion(held, n_repeats)


def by_bootstrap(model: Lattice, n: int, n_repeats: int, n_runs: int = N_RUNS) -> Proportion:
    """Likewise of the percentile bootstrap of the runs' rates."""
    rng = np.random.default_rng(SEED)
    rates = fluxes(model, n_runs).mean(axis=1)[: n * n_repeats].reshape(n_repeats, n)
    draws = rng.integers(0, n, (n_repeats, 1000, n))
    means = np.take_along_axis(rates[:, None], draws.reshape(n_repeats, 1, -1), axis=2)
    low, high = np.percentile(means.reshape(draws.shape).mean(axis=2), [2.5, 97.5], axis=1)
    return Proportion(int(((low <= model.flux) & (model.flux <= high)).sum()), n_repeats)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_intervals_cover(model: Lattice) -> None:
    """Of 300 repeats with 3, 5 and 10 runs; a percentile bootstrap of the same runs does not."""
    for n in (3, 5, 10):
        found, other = over_runs(model, n, 300), by_bootstrap(model, n, 300)
        print(f"coverage: {model.name}, {n} runs: {found}, bootstrap {other}")
        assert found.is_right, f"{model.name}, {n} runs: {found}"
        assert n > 5 or not other.is_right


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_intervals_within_runs_are_optimistic(model: Lattice) -> None:
    """Of one and two runs: stated, and not far off."""
    for n in (1, 2):
        found = over_runs(model, n, 300)
        print(f"coverage: {model.name}, within {n} runs: {found}")
        assert found.held / found.n > 0.75


@pytest.mark.slow
def test_intervals_over_runs_of_the_engine_cover() -> None:
    """Of a walk in bins, by its own runner, boundary conditions, resampler and cycles: 100 repeats
    of three runs, and 60 of five of the same."""
    made = experiment(resampler("bins", 1), n_walkers=40, n_cycles=50, n_steps=10, target=5)
    fluxes, _ = made.repeats(300, SEED)
    rate = 1 / random_walk().every(10).mfpt(5)
    for n in (3, 5):
        groups = fluxes[:, 20:].reshape(-1, n, 30)
        found = [over_units([(run, np.ones(30)) for run in group]) for group in groups]
        held = Proportion(sum(bool(e.low <= rate <= e.high) for e in found), len(found))
        print(f"coverage: a walk by the engine, {n} runs: {held}")
        assert held.is_right


def test_a_sample_of_intervals_covers() -> None:
    """Of 100 repeats with three runs over a barrier t on the log does; the control, a percentile
    bootstrap, does not."""
    found, control = (way(MODELS[0], 3, 100, 300) for way in (over_runs, by_bootstrap))
    assert found.is_right
    assert not control.is_right and control.held < 90


def test_the_models_are_what_they_are_said_to_be() -> None:
    """The flux of many walkers is the exact one, while it rises and when it is steady; none is
    lost."""
    model = MODELS[0]
    exact = model.chain.fluxes(len(model.potential), 60)
    seen = model.fluxes(400, 60, 40, SEED).mean(axis=0)
    assert seen[40:].mean() == pytest.approx(exact[40:].mean(), rel=0.15)
    assert seen[:10].mean() < 0.5 * exact[-1]
    assert model.flux == pytest.approx(exact[-1], rel=0.01)
    for each in MODELS:
        up, down = each.steps
        assert ((up >= 0) & (down >= 0) & (up + down <= 1)).all()


def test_t_on_the_log_is_what_is_tested() -> None:
    """The interval of over_units is that of log_interval."""
    rates = np.array([1.0, 2.0, 4.0])
    found = over_units([([rate], [1.0]) for rate in rates])
    error = rates.std(ddof=1) / math.sqrt(3)
    expected = [float(end) for end in log_interval(rates.mean(), error, 2)]
    assert [found.low, found.high] == pytest.approx(expected)
