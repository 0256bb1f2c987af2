"""Resampling changes no expected value, whatever the resampler; and this test would notice.

The check: an ensemble of random weights is resampled many times, each time with other
random numbers. For any observable A of a state, the mean of sum(w A) over the
resamplings must be what sum(w A) was before. That is so for every A if the weight of
the descendants of each walker is, on average, the walker's own weight; random
observables look at random combinations of these. A walker that takes part in no
merge must keep its weight exactly, however its children share it.

Its power: the last tests bias each resampler on purpose and see that the check says so. A bias
is found if it moves an observable by more than four standard errors, 4 s / sqrt(N), s being the
spread of the observable over N resamplings. With survivors drawn in proportion to weight**q,
q = 1 being right, the largest deviation, in the resampler where it is smallest, was

    N = 1500, of 3 ensembles   9.6 errors at q = 0.5, 6.2 at 0.7, 4.2 at 0.8, 3.6 at 0.9
    N = 16,000, 1 ensemble     6.3 errors at q = 0.9

so the default test finds |q - 1| >= 0.2 and is sure of 0.3; the slow one is sure of 0.1. A
wrong share of a clone, 0.5 + x of its parent's weight, is found from x = 1e-12 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    NoResampler,
    PositionCoordinate,
    REVOResampler,
    Walker,
    WalkerState,
    WExploreResampler,
)
from wepystore.engine.resamplers.decision import Decision

EPS = float(np.finfo(float).eps)
#: A deviation of so many standard errors is taken for a bias.
SIGMAS = 4.0
UNMERGED = {int(Decision.NOTHING), int(Decision.CLONE)}
PLACE = PositionCoordinate()


def wexplore() -> WExploreResampler:
    return WExploreResampler(CoordinateDistance(PLACE), (4, 4), (0.8, 0.3), pmax=0.5)


def revo() -> REVOResampler:
    return REVOResampler(CoordinateDistance(PLACE), merge_dist=0.5, char_dist=0.3, pmax=0.5)


def greedy_revo() -> REVOResampler:
    return REVOResampler(
        CoordinateDistance(PLACE), merge_dist=0.5, char_dist=0.3, pmax=0.5, merge_alg="greedy"
    )


def bins() -> BinResampler:
    return BinResampler(PLACE, edges=(0.3, 0.6, 1.0, 1.5), pmax=0.5)


def uneven_bins() -> BinResampler:
    return BinResampler(PLACE, edges=(0.3, 0.6, 1.0, 1.5), target_count=(1, 2, 3, 2, 1), pmax=0.5)


MAKERS: dict[str, Callable[[], Any]] = {
    "none": NoResampler,
    "WExplore": wexplore,
    "REVO": revo,
    "REVO, greedy": greedy_revo,
    "bins": bins,
    "bins, uneven": uneven_bins,
}
RESAMPLING = [name for name in MAKERS if name != "none"]
#: One of each kind; the others differ in what they choose, and draw survivors as these do.
KINDS = ("WExplore", "REVO", "bins")


def cases(names: Iterable[str], others: Iterable[Any], all_of: Collection[str]) -> list[Any]:
    """Every name with every one of `others`; of each name but those in `all_of` only the first is
    not slow (the first ensemble, or bias)."""
    return [
        pytest.param(name, other, marks=[] if name in all_of or not idx else pytest.mark.slow)
        for name in names
        for idx, other in enumerate(others)
    ]


def ensemble(seed: int, n_walkers: int = 24) -> list[Walker]:
    """Walkers at random places on a line, some of them at the same, with weights that differ by
    orders of magnitude."""
    rng = np.random.default_rng([2024, seed])
    places = rng.gamma(2.0, 0.4, size=n_walkers)
    places[-3:] = places[:3]
    weights = rng.dirichlet(np.full(n_walkers, 0.5))
    return [
        Walker(WalkerState(positions=[[place, 0.0, 0.0]]), float(weight))
        for place, weight in zip(places, weights, strict=True)
    ]


def observables(walkers: list[Walker], seed: int, n_random: int = 4) -> np.ndarray:
    """Values of a few observables for each walker, shape (n_observables, n_walkers): a smooth
    one, an indicator, and random ones."""
    rng = np.random.default_rng([7, seed])
    places = np.array([walker.state["positions"][0, 0] for walker in walkers])
    return np.array(
        [
            np.exp(-places),
            places > np.median(places),
            *rng.normal(size=(n_random, len(walkers))),
        ]
    )


def descendants(walkers: list[Walker], after: Sequence[Walker]) -> np.ndarray:
    """The weight that is in descendants of each walker, shape (n_walkers,)."""
    origin = {id(walker.state): idx for idx, walker in enumerate(walkers)}
    found = np.zeros(len(walkers))
    for walker in after:
        found[origin[id(walker.state)]] += walker.weight
    return found


class Biased(AssertionError):
    """Resampling changed what it may not change."""


def check_unbiased(make: Callable[[], Any], seed: int, n_repeats: int) -> None:
    """Raise Biased if many independent resamplings of one ensemble change an observable's mean by
    more than SIGMAS standard errors, or ever the weight of a walker that is not merged."""
    walkers = ensemble(seed)
    values = observables(walkers, seed)
    weights = np.array([walker.weight for walker in walkers])
    found = np.empty((n_repeats, len(walkers)))
    resampler = make()
    for repeat in range(n_repeats):
        resampler.restore({})
        resampler.set_rng(np.random.default_rng([17, seed, repeat]))
        after, records, _ = resampler.resample(walkers)
        found[repeat] = descendants(walkers, after)
        alone = np.array([record["decision_id"].item() in UNMERGED for record in records])
        misfit = np.abs(found[repeat] - weights)[alone]
        # The heaviest walker takes up rounding errors of all, at most n eps.
        if (misfit > 2 * len(walkers) * EPS).any():
            raise Biased(f"an unmerged walker's weight changed by {misfit.max()}")
    moved = (found - weights) @ values.T
    errors = moved.std(axis=0, ddof=1) / math.sqrt(n_repeats)
    # Where nothing is merged nothing may change but by rounding.
    deviations = np.abs(moved.mean(axis=0)) / np.maximum(errors, 1e-14)
    if deviations.max() > SIGMAS:
        raise Biased(f"an observable moved by {deviations.max():.1f} standard errors")


@pytest.mark.parametrize(("name", "seed"), cases(MAKERS, range(3), ()))
def test_resampling_is_unbiased(name: str, seed: int) -> None:
    """The mean of random observables over 1500 resamplings is what it was before, within 4
    standard errors (a chance of 1 in 150 that any of all 108 figures, the slow ones among them, is
    beyond)."""
    check_unbiased(MAKERS[name], seed, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_resampling_is_unbiased_at_length(name: str) -> None:
    """The same with 16,000 resamplings of one ensemble."""
    check_unbiased(MAKERS[name], 0, 16_000)


def biased_survivor(make: Callable[[], Any], power: float) -> Callable[[], Any]:
    """A resampler wrong on purpose: survivors are drawn in proportion to weight**power."""

    def biased() -> Any:
        resampler = make()
        draw = resampler.draw_survivor
        resampler.draw_survivor = lambda weights: draw([weight**power for weight in weights])
        return resampler

    return biased


def heavier_survivor(make: Callable[[], Any]) -> Callable[[], Any]:
    """A resampler wrong on purpose: the heaviest of a merge group always survives."""

    def biased() -> Any:
        resampler = make()
        resampler.draw_survivor = lambda weights: int(np.argmax(weights))
        return resampler

    return biased


class WrongShares:
    """A resampler wrong on purpose: a parent keeps too much of its weight for its first child,
    as much as its neighbour to the right then lacks."""

    def __init__(self, make: Callable[[], Any], share: float) -> None:
        self._inner = make()
        self._share = share
        self.restore = self._inner.restore
        self.set_rng = self._inner.set_rng

    def resample(self, walkers: list[Walker]) -> tuple[Any, Any, Any]:
        """As the right one, but 0.5 of a parent's weight becomes `share`."""
        after, records, changes = self._inner.resample(walkers)
        weights = np.array([walker.weight for walker in after])
        for idx, record in enumerate(records):
            if len(record["target_idxs"]) > 1:
                extra = weights[idx] * (self._share / 0.5 - 1)
                lender = (idx + 1) % len(weights)
                extra = min(extra, 0.5 * weights[lender])
                weights[idx] += extra
                weights[lender] -= extra
        wrong = [
            Walker(walker.state, float(weight))
            for walker, weight in zip(after, weights, strict=True)
        ]
        return wrong, records, changes


#: Name of a bias -> how to make it, in one ensemble at N = 1500.
BIASES: dict[str, Callable[[Callable[[], Any]], Callable[[], Any]]] = {
    "a child gets 0.52": lambda make: lambda: WrongShares(make, 0.52),
    "survivors drawn by the root of the weight": lambda make: biased_survivor(make, 0.5),
    "the heavier survives": heavier_survivor,
}


@pytest.mark.parametrize(("name", "bias"), cases(RESAMPLING, BIASES, ("bins",)))
def test_a_bias_would_be_noticed(name: str, bias: str) -> None:
    """The check of the first test, with the same numbers, rejects every resampler that is biased
    on purpose."""
    with pytest.raises(Biased):
        check_unbiased(BIASES[bias](MAKERS[name]), 0, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESAMPLING)
def test_a_small_bias_would_be_noticed_at_length(name: str) -> None:
    """With 16,000 resamplings the check rejects survivors drawn by weight**0.9."""
    with pytest.raises(Biased):
        check_unbiased(biased_survivor(MAKERS[name], 0.9), 0, 16_000)


def test_a_tiny_wrong_share_would_be_noticed() -> None:
    """A child that gets 0.5 + 1e-12 of its parent's weight, at another's cost, is found."""
    with pytest.raises(Biased, match="unmerged"):
        check_unbiased(lambda: WrongShares(bins, 0.5 + 1e-12), 0, 5)


def conserve(name: str, n_resamplings: int) -> None:
    """Resample walkers that move at random so many times; W1 and W2 must hold at every one."""
    rng = np.random.default_rng(3)
    places = [WalkerState(positions=[[0.1 * k, 0.0, 0.0]]) for k in range(30)]
    n_walkers = 8
    at = {id(state): k for k, state in enumerate(places)}
    walkers: Sequence[Walker] = [Walker(places[0], 1 / n_walkers) for _ in range(n_walkers)]
    resampler = MAKERS[name]()
    resampler.set_rng(rng)
    n_merged = 0
    for resampling in range(n_resamplings):
        if resampling % 1000 == 0:
            steps = rng.choice([-3, -1, -1, 0, 0, 1, 2], size=(1000, n_walkers)).tolist()
        step = steps[resampling % 1000]
        moved = [
            Walker(places[min(max(at[id(walker.state)] + move, 0), 29)], walker.weight)
            for walker, move in zip(walkers, step, strict=True)
        ]
        walkers, records, _ = resampler.resample(moved)
        n_merged += sum(len(record["target_idxs"]) - 1 for record in records)
        weights = [walker.weight for walker in walkers]
        assert len(weights) == n_walkers
        assert min(weights) > 0.0
        assert abs(math.fsum(weights) - 1.0) <= n_walkers * EPS, resampling
    assert name == "none" or n_merged > n_resamplings // 4


@pytest.mark.parametrize(
    "name",
    [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS],
)
def test_weight_is_conserved(name: str) -> None:
    """W1, W2: after each of 1000 resamplings in a row no weight is lost, to n eps."""
    conserve(name, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_weight_is_conserved_over_a_million(name: str) -> None:
    """W1, W2: the same after each of a million.

    What rounding adds up to is seen only here: if no walker took it up, the sum would be off by
    more than n eps after 10,000 (REVO) to 60,000 resamplings (bins). Three minutes each.
    """
    conserve(name, 10**6)
