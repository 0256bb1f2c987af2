"""Fixed bins: where walkers go, how bins share them, what is conserved, recorded and kept."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.resamplers.resampled import (
    assert_announced,
    assert_kept,
    assert_resampled_alike,
    clone_heaviest,
    ensembles,
    make_walkers,
    max_merges,
    merge_lightest,
    one_region,
    where,
)
from wepystore.api import BinResampler, PositionCoordinate
from wepystore.engine.errors import CoordinateError
from wepystore.engine.resamplers.bins import proportional_shares
from wepystore.engine.resamplers.groups import max_clones

PLACE = PositionCoordinate()


def bins(edges: Any = (1.0, 2.0, 3.0), **change: Any) -> BinResampler:
    return BinResampler(PLACE, edges, **{"pmax": 0.9, **change})


def test_edges_belong_to_the_bin_above():
    """n edges make n + 1 bins, the outer ones without an end; an edge is in the bin above it."""
    walkers = make_walkers([-5.0, 0.99, 1.0, 1.5, 2.0, 3.0, 99.0, math.inf])
    assert bins().bins(walkers).tolist() == [0, 0, 1, 1, 2, 3, 3, 3]
    assert bins().n_bins == 4


def test_cells_of_a_grid():
    """Two coordinates with one and two edges make 2 x 3 bins, the last running fastest."""
    walkers = make_walkers(list(itertools.product([0.0, 1.0], [0.0, 1.0, 2.0])))
    resampler = BinResampler(PositionCoordinate(axes=(0, 1)), [[0.5], [0.5, 1.5]])
    assert resampler.bins(walkers).tolist() == [0, 1, 2, 3, 4, 5]
    assert resampler.n_bins == 6


def test_a_users_function_gives_the_bin():
    """Without edges the function's value is the bin itself."""
    resampler = BinResampler(lambda state: int(state["positions"][0, 0] > 1) * 7)
    assert resampler.bins(make_walkers([0.0, 2.0])).tolist() == [0, 7]


def test_reached_bins_share_alike():
    """Nine walkers in one bin and one in another become five and five; an empty bin gets none."""
    after, records, (change,) = bins().resample(make_walkers([0.5] * 9 + [2.5]))
    assert sorted(where(after)) == [0.5] * 5 + [2.5] * 5
    assert [int(record["bin_idx"][0]) for record in records] == [0] * 9 + [2]
    assert change["bin_idxs"].tolist() == [0, 2]
    assert change["bin_counts"].tolist() == [5, 5]
    assert np.allclose(change["bin_weights"], [0.9, 0.1])


def test_target_counts_are_proportions():
    """Targets 1 : 2 : 3 of reached bins share 12 walkers as 2 : 4 : 6, with a bin left out too."""
    walkers = make_walkers([0.5] * 4 + [1.5] * 4 + [2.5] * 4)
    after, _, (change,) = bins(target_count=(1, 2, 3, 50)).resample(walkers)
    assert change["bin_counts"].tolist() == [2, 4, 6]
    assert sorted(where(after)) == [0.5] * 2 + [1.5] * 4 + [2.5] * 6


def test_more_bins_than_walkers_are_no_trouble():
    """Each walker alone in its bin stays: every reached bin has at least one walker."""
    walkers = make_walkers([0.5, 1.5, 2.5, 3.5], [0.97, 0.01, 0.01, 0.01])
    after, _, _ = bins(target_count=(1, 1, 1, 100)).resample(walkers)
    assert where(after) == where(walkers)


def test_the_heavy_is_split_for_two_light():
    """In a bin that has its number a walker above twice the mean is cloned and the two lightest
    are merged, as Huber & Kim bound weights."""
    walkers = make_walkers([0.1, 0.2, 0.3, 0.4], [0.97, 0.01, 0.01, 0.01])
    after, records, _ = bins(pmax=1.0).resample(walkers)
    assert len(records[0]["target_idxs"]) == 2
    assert sorted(w.weight for w in after) == pytest.approx([0.01, 0.02, 0.485, 0.485])
    # 0.485 is below twice the mean, 0.5: it stays.
    again, _, _ = bins(pmax=1.0).resample(after)
    assert sorted(w.weight for w in again) == sorted(w.weight for w in after)


@st.composite
def shares_asked(draw):
    """What up to five bins hold, the least and most they can, their targets and a total."""
    current = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    low = [draw(st.integers(1, number)) for number in current]
    high = [draw(st.integers(number, 9)) for number in current]
    targets = [draw(st.integers(1, 9)) for _ in current]
    return current, low, high, targets, draw(st.integers(sum(low), sum(high)))


@given(shares_asked())
@settings(deadline=None)
def test_shares_are_those_given_out_one_by_one(asked):
    """The shares sum to the total, keep within bounds, and no walker could be moved to a bin
    that deserves it more: what giving them out one by one, by the rule, comes to."""
    current, low, high, targets, total = asked
    shares = proportional_shares(
        np.array(current), np.array(low), np.array(high), np.array(targets, float), total
    ).tolist()
    assert sum(shares) == total
    assert all(lo <= share <= hi for lo, share, hi in zip(low, shares, high, strict=True))
    for giver, taker in itertools.permutations(range(len(shares)), 2):
        if shares[giver] > low[giver] and shares[taker] < high[taker]:
            last = targets[giver] / (shares[giver] - 0.5)
            following = targets[taker] / (shares[taker] + 0.5)
            assert following <= last * (1 + 1e-12)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
@settings(deadline=None)
def test_equal_shares_keep_walkers_where_they_are(current):
    """With equal targets shares differ by one at most, the larger ones where most walkers are."""
    count = len(current)
    shares = proportional_shares(
        np.array(current), np.ones(count, int), np.full(count, 10**6), np.ones(count), sum(current)
    ).tolist()
    assert max(shares) - min(shares) <= 1
    kept = sum(min(pair) for pair in zip(current, shares, strict=True))
    if count <= 6:
        options = [
            sum(min(pair) for pair in zip(current, option, strict=True))
            for option in set(itertools.permutations(shares))
        ]
        assert kept == max(options)


weights_of_a_bin = st.lists(
    st.floats(-14, 0).map(lambda exponent: 10.0**exponent), min_size=1, max_size=12
).map(lambda weights: dict(enumerate(weights)))


@given(weights_of_a_bin, st.integers(-11, 11), st.sampled_from([1e-14, 1e-6, 1e-3]), st.data())
@settings(deadline=None)
def test_evening_out_keeps_the_bounds(weights, change, pmin, data):
    """The number changes as asked, no walker is in two groups or both merged and cloned, pmin and
    pmax hold; at the end no walker heavier than twice the mean could still be split for two."""
    pmax = data.draw(st.sampled_from([0.05, 0.5, 20.0]))
    limit = 20
    change = max(change, -max_merges(weights, pmax))
    change = min(change, sum(max_clones(w, pmin, limit) for w in weights.values()))
    region = one_region(weights, pmin, pmax, limit)
    groups, clones = region.change(np.array([change]), [0], even=True)
    merged = [idx for group in groups for idx in group]
    assert len(set(merged)) == len(merged) and not set(merged) & set(clones)
    assert sum(clones.values()) - sum(len(group) - 1 for group in groups) == change
    assert all(weights[idx] / (number + 1) >= pmin for idx, number in clones.items())
    group_weights = [math.fsum(weights[idx] for idx in group) for group in groups]
    assert all(weight <= pmax for weight in group_weights)
    mean = math.fsum(weights.values()) / (len(weights) + change)
    light = sorted(
        group_weights + [w for i, w in weights.items() if i not in merged and i not in clones]
    )
    heavy = [
        idx
        for idx, weight in weights.items()
        if idx not in merged
        and weight / (clones.get(idx, 0) + 1) > 2 * mean * (1 + 1e-12)
        and max_clones(weight, pmin, limit) > clones.get(idx, 0)
    ]
    if heavy and len(light) > 1:
        assert light[0] + light[1] > min(mean, pmax) * (1 - 1e-12)
    if not any(weight > 2 * mean for weight in weights.values()):
        expected = merge_lightest(weights, pmax, -change) if change < 0 else []
        assert groups == expected
        assert clones == (clone_heaviest(weights, pmin, change, limit) if change > 0 else {})


@given(ensembles(), st.sampled_from([4, (1, 2, 3, 4), (9, 1, 1, 9)]), st.integers(0, 2**32))
@settings(deadline=None)
def test_conserves_and_respects(ensemble, targets, seed):
    """Every reached bin stays reached, keeps its weight and gets the number of walkers that is
    recorded."""
    walkers, pmin, pmax = ensemble
    resampler = bins(target_count=targets, pmin=pmin, pmax=pmax)
    resampler.set_rng(np.random.default_rng(seed))
    after, records, (change,) = resampler.resample(walkers)
    assert_kept(walkers, after, records, pmin, pmax)
    found = resampler.bins(after)
    occupied, counts = np.unique(found, return_counts=True)
    assert occupied.tolist() == change["bin_idxs"].tolist()
    assert counts.tolist() == change["bin_counts"].tolist()
    weights = np.bincount(found, weights=[w.weight for w in after])[occupied]
    rounding = 2 * len(walkers) * np.finfo(float).eps
    assert np.allclose(weights, change["bin_weights"], rtol=rounding, atol=rounding)


def test_records_hold_the_fields_they_announce():
    """Every field of every record is announced, of rank 1, with its shape and type."""
    resampler = bins()
    _, resampling, changes = resampler.resample(make_walkers([0.5] * 9 + [2.5]))
    assert_announced(resampler, resampling, changes)


def test_an_ensemble_is_resampled_as_a_list_is():
    """Walkers held as one give the same records and weights as walkers in a list."""
    rng = np.random.default_rng(1)
    walkers = make_walkers(rng.uniform(0, 4, 30), rng.dirichlet(np.full(30, 0.5)))
    assert_resampled_alike(bins, walkers)


@pytest.mark.parametrize("edges", [(1.0, 2.0), [[1.0, 2.0], [0.5]], None])
def test_parameters_build_an_equal_one(edges):
    """from_params of params makes the same bins; the resampler keeps no state."""
    coordinate = PositionCoordinate(axes=(0, 1)) if isinstance(edges, list) else PLACE
    resampler = BinResampler(coordinate, edges, target_count=3)
    again = BinResampler.from_params(resampler.params(), BinResampler.version)
    assert again.params() == resampler.params() and resampler.state() == {}
    walkers = make_walkers([0.0, 1.0, 2.0, 2.0])
    assert again.bins(walkers).tolist() == resampler.bins(walkers).tolist()
    again.resample(walkers)
    assert "bins with walkers" in again.summary()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"edges": [1.0, 1.0]}, "ascending"),
        ({"edges": [math.nan]}, "ascending"),
        ({"edges": []}, "at least one"),
        ({"edges": [[1.0], []]}, "list of numbers"),
        ({"target_count": 0}, "positive whole number"),
        ({"target_count": 2.5}, "positive whole number"),
        ({"target_count": (1, 2)}, "4 bins"),
        ({"coordinate": 3}, "function of a state"),
        ({"pmin": 0.95}, "pmin"),
    ],
)
def test_parameters_are_checked(change, words):
    """Parameters that make no sense are refused with the reason."""
    with pytest.raises(ValueError, match=words):
        BinResampler(**{"coordinate": PLACE, "edges": (1.0, 2.0, 3.0), "pmax": 0.9, **change})


def test_what_the_coordinate_gives_is_checked():
    """A lost walker, a coordinate of another length and a bin that is no number are named."""
    walkers = make_walkers([0.5, math.nan])
    with pytest.raises(CoordinateError, match="walker 1"):
        bins().resample(walkers)
    with pytest.raises(ValueError, match="gives 2"):
        BinResampler(PositionCoordinate(axes=(0, 1)), (1.0,)).resample(make_walkers([0.5]))
    with pytest.raises(ValueError, match="whole number"):
        BinResampler(PLACE).resample(make_walkers([0.5]))
    with pytest.raises(ValueError, match="bin 3"):
        BinResampler(PLACE, target_count=(1, 1)).resample(make_walkers([3.0]))
    with pytest.raises(ValueError, match="no walkers"):
        bins().resample([])
