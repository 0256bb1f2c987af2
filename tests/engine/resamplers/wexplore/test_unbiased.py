"""Weighted ensemble is exact: resampling changes no expected value, and the test would notice.

By default the same is asked of every resampler in tests/property/test_unbiased.py, and of the law
after ten steps in tests/science/test_random_walk.py.
"""

import numpy as np
import pytest

from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
from wepystore.engine.walker import Walker, WalkerState

pytestmark = pytest.mark.slow


class Line:
    """The first coordinate of the first atom."""

    def image(self, state):
        return state["positions"][0, :1]

    def image_distances(self, image, images):
        return np.abs(images[:, 0] - image[0])


class DrawsEvenly(WExploreResampler):
    """Wrong on purpose: which of a merge group survives does not depend on weight."""

    def settle(self, weights, groups, clones):
        return super().settle([1.0] * len(weights), groups, clones)


def deviation(resampler_class, n_repeats=3000):
    """By how many standard errors resampling changes the mean of an observable."""
    rng = np.random.default_rng(2024)
    positions = rng.gamma(2.0, 0.4, size=24)
    weights = rng.dirichlet(np.full(24, 0.5))
    walkers = [
        Walker(WalkerState(positions=[[x, 0.0, 0.0]]), float(weight))
        for x, weight in zip(positions, weights, strict=True)
    ]
    expected = float(weights @ np.exp(-positions))
    means = []
    for repeat in range(n_repeats):
        resampler = resampler_class(Line(), (4, 4), (0.8, 0.3), pmax=0.5)
        resampler.set_rng(np.random.default_rng([17, repeat]))
        after, _, _ = resampler.resample(walkers)
        means.append(sum(w.weight * np.exp(-w.state["positions"][0, 0]) for w in after))
    error = np.std(means, ddof=1) / np.sqrt(n_repeats)
    return abs(np.mean(means) - expected) / error


def test_one_resampling_is_unbiased():
    """The weighted mean over many resamplings equals the one before, within 3 standard errors."""
    assert deviation(WExploreResampler) < 3


def test_a_biased_resampler_would_be_noticed():
    """The same test fails, far beyond 3 errors, for a resampler that draws survivors evenly."""
    assert deviation(DrawsEvenly) > 6


def random_walk_law(n_steps, n_positions=12):
    """Exact law of the walk after n_steps from 0: up 0.25, down 0.75, reflecting at 0."""
    step = np.zeros((n_positions, n_positions))
    for x in range(n_positions):
        step[x, max(x - 1, 0)] += 0.75
        step[x, min(x + 1, n_positions - 1)] += 0.25
    return np.linalg.matrix_power(step, n_steps)[0]


def test_random_walk_law_is_exact_at_a_finite_time():
    """Ten cycles of one step each: the mean over independent runs is the exact law (3 errors)."""
    n_runs, n_walkers, n_steps = 300, 10, 10
    law = random_walk_law(n_steps)
    assert np.allclose(law[:3], [0.67298126, 0.22108269, 0.07369423], atol=1e-8)
    found = np.zeros((n_runs, 4))
    for run in range(n_runs):
        rng = np.random.default_rng([99, run])
        resampler = WExploreResampler(Line(), (6, 3), (1.5, 0.5), pmax=0.5)
        resampler.set_rng(rng)
        start = WalkerState(positions=[[0.0, 0.0, 0.0]])
        walkers = [Walker(start, 1 / n_walkers) for _ in range(n_walkers)]
        for _ in range(n_steps):
            moved = []
            for walker in walkers:
                x = float(walker.state["positions"][0, 0])
                x = x + 1 if rng.random() < 0.25 else max(x - 1, 0.0)
                moved.append(Walker(WalkerState(positions=[[x, 0.0, 0.0]]), walker.weight))
            walkers, _, _ = resampler.resample(moved)
        for walker in walkers:
            x = int(walker.state["positions"][0, 0])
            found[run, min(x, 3)] += walker.weight
    errors = found.std(axis=0, ddof=1) / np.sqrt(n_runs)
    exact = np.array([*law[:3], law[3:].sum()])
    assert (np.abs(found.mean(axis=0) - exact) < 3 * errors).all()
