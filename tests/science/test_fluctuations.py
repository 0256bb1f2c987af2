"""The variance of a flux that is foreseen from the transition matrix is the variance it has."""

import numpy as np
import pytest

from tests.science.fluctuations import EvenProgress, Fluctuations
from tests.science.reference import double_well, random_walk
from tests.science.walks import experiment, resampler
from wepystore.api import NoResampler

CHAINS = {
    "walk to 5": (random_walk(), 5),
    "walk to 5, every 10": (random_walk().every(10), 5),
    "double well": (double_well(5).every(50), 1.0),
}


@pytest.mark.parametrize("name", CHAINS)
def test_one_walker_is_a_renewal_process(name):
    """Passages of one walker that is put back: variance of their number, over the time, is that
    of the passage time over its mean cubed (renewal theory)."""
    chain, target = CHAINS[name]
    fluctuations = Fluctuations.of(chain, target)
    outside = chain.points < target
    inner, start = chain.matrix[np.ix_(outside, outside)], chain.start[outside]
    one = np.eye(len(inner))
    first = np.linalg.solve(one - inner, np.ones(len(inner)))
    second = np.linalg.solve(one - inner, 1 + 2 * inner @ first)
    mean = start @ first
    expected = (start @ second - mean**2) / mean**3
    assert fluctuations.flux == pytest.approx(1 / chain.mfpt(target), rel=1e-9)
    assert fluctuations.law @ fluctuations.variance == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make_resampler", "n_walkers", "n_cycles"),
    [
        (NoResampler, 40, 160),
        pytest.param(resampler("bins", 2), 20, 460, marks=pytest.mark.slow),
    ],
    ids=["no resampling", "bins"],
)
def test_the_error_foreseen_is_the_error_found(make_resampler, n_walkers, n_cycles):
    """The spread of the flux over 80 runs is what the walkers' weights foretell, within a quarter:
    three times the error of a spread of so many."""
    chain, target = CHAINS["walk to 5"]
    fluctuations = Fluctuations.of(chain, target)
    walk = experiment(make_resampler, n_walkers, n_cycles, target=target)
    fluxes, costs = walk.repeats(80, 20250105, fluctuations.cost, of="resampled_walkers")
    means = fluxes[:, 60:].mean(axis=1)
    error, _ = fluctuations.foreseen(costs[:, 60:])
    found = means.std(ddof=1) / np.sqrt(len(means)) / fluctuations.flux
    assert found == pytest.approx(error, rel=0.25)


def variance(fluctuations, coordinate, n_bins):
    """N T times the relative variance where N walkers are spread evenly over bins of equal width
    in a coordinate, the weights within a bin being equal."""
    edges = np.linspace(coordinate.min(), coordinate.max(), n_bins + 1)[1:-1]
    bins = np.searchsorted(edges, coordinate)
    shares = np.bincount(bins, fluctuations.law)
    noise = np.bincount(bins, fluctuations.law * fluctuations.variance)
    return float(shares @ noise) * len(shares) / fluctuations.flux**2


def test_even_progress_is_the_best_allocation():
    """As many walkers in each of equal steps of the progress come close to the least variance; as
    many in equal steps along x, or one for each piece of probability, are far from it."""
    fluctuations = Fluctuations.of(double_well(10).every(50), 1.0)
    x = fluctuations.points
    even = EvenProgress(fluctuations).many([{"positions": [[at]]} for at in x])
    assert variance(fluctuations, even, 25) < 1.3 * fluctuations.best
    assert variance(fluctuations, x, 25) > 5 * fluctuations.best
    plain = fluctuations.law @ fluctuations.variance / fluctuations.flux**2
    assert plain > 3 * fluctuations.best
