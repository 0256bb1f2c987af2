"""REVO: what it decides, conserves, respects, records, keeps and restores."""

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
    ensembles,
    make_walkers,
    where,
)
from wepystore.api import (
    CoordinateDistance,
    PairDistance,
    PositionCoordinate,
    REVOResampler,
    WalkerState,
)
from wepystore.engine.distances.pairwise import NotADistanceError, all_distances
from wepystore.engine.resamplers.decision import Decision, resolve
from wepystore.engine.resamplers.variation import Variation

LINE = CoordinateDistance(PositionCoordinate())
#: Some of the walkers at one place.
CROWDED = st.one_of(st.floats(0, 3), st.sampled_from([0.0, 1.0]))


def revo(**change: Any) -> REVOResampler:
    settings = {"merge_dist": 0.5, "char_dist": 0.3, "pmax": 0.5, **change}
    return REVOResampler(LINE, **settings)


class Heavier(REVOResampler):
    """Draws nothing: the heavier survives, so that two programs can be compared."""

    def draw_survivor(self, weights):
        return int(np.argmax(weights))


def slow_variation(masses, distances, char_dist, exponent):
    """V by its definition, pair by pair: masses are copies times phi."""
    return math.fsum(
        (distances[i, j] / char_dist) ** exponent * masses[i] * masses[j]
        for i in range(len(masses))
        for j in range(len(masses))
        if i != j
    )


def slow_revo(weights, distances, rule, *, merge_dist, char_dist, pmin, pmax):
    """REVO by the words of its description, nothing kept from one step to the next.

    Returns {walker: copies}, 0 for those merged away, and V.
    """

    def phi(weight):
        return max(0.0, math.log(weight) - math.log(pmin / 100)) if weight > 0 else 0.0

    def masses(weights, copies):
        return [n * phi(w / n) if n else 0.0 for w, n in zip(weights, copies, strict=True)]

    def value(weights, copies):
        return slow_variation(masses(weights, copies), distances, char_dist, 4)

    weights, copies, swallowers = list(weights), [1] * len(weights), set()
    walkers = range(len(weights))
    while True:
        now = masses(weights, copies)
        pull = [
            sum((distances[i, j] / char_dist) ** 4 * mass for j, mass in enumerate(now))
            for i in walkers
        ]
        each = [phi(w / n) * u if n else 0.0 for w, n, u in zip(weights, copies, pull, strict=True)]
        clonable = [
            i
            for i in walkers
            if copies[i] and i not in swallowers and weights[i] / (copies[i] + 1) >= pmin
        ]
        if not clonable:
            break
        cloned = max(clonable, key=lambda i: each[i])
        pairs = [
            (i, j)
            for i, j in itertools.combinations(walkers, 2)
            if copies[i] == copies[j] == 1
            and cloned not in (i, j)
            and distances[i, j] < merge_dist
            and weights[i] + weights[j] <= pmax
        ]
        if not pairs:
            break
        if rule == "pairs":
            best = min(
                pairs,
                key=lambda p: (
                    (weights[p[1]] * each[p[0]] + weights[p[0]] * each[p[1]])
                    / (weights[p[0]] + weights[p[1]])
                ),
            )
        else:
            both = pairs + [(j, i) for i, j in pairs]
            lowest = min((i for i, _ in both), key=lambda i: each[i])
            best = min((p for p in both if p[0] == lowest), key=lambda p: distances[p])
        outcomes = []
        for kept, gone in (best, best[::-1]):
            new_weights, new_copies = list(weights), list(copies)
            new_weights[kept], new_weights[gone] = weights[kept] + weights[gone], 0.0
            new_copies[gone], new_copies[cloned] = 0, copies[cloned] + 1
            outcomes.append((weights[kept], kept, new_weights, new_copies))
        total = sum(weight for weight, *_ in outcomes)
        expected = sum(weight / total * value(w, c) for weight, _, w, c in outcomes)
        if not expected > value(weights, copies) * (1 + 1e-12):
            break
        _, kept, weights, copies = max(outcomes, key=lambda outcome: outcome[0])
        swallowers.add(kept)
    return copies, value(weights, copies)


def random_case(seed, n_walkers):
    rng = np.random.default_rng([31, seed])
    places = rng.gamma(2.0, 0.3, size=n_walkers)
    weights = np.maximum(rng.dirichlet(np.full(n_walkers, 0.5)), 1e-11)
    return places, weights / weights.sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rule", ["pairs", "greedy"])
def test_decides_as_described(rule, seed):
    """The fast program makes the moves, and has the variation, of one that follows the words of
    the description and sums V over all pairs anew at every step."""
    places, weights = random_case(seed, 16)
    distances = np.abs(places[:, None] - places)
    limits = {"merge_dist": 0.25, "char_dist": 0.1, "pmin": 1e-12, "pmax": 0.3}
    resampler = Heavier(LINE, merge_alg=rule, **limits)
    records, before, after = resampler.decide(weights, distances)
    copies, expected = slow_revo(weights, distances, rule, **limits)
    line = resolve(records).parents.tolist()
    assert [line.count(idx) for idx in range(16)] == copies
    assert sum(number > 1 for number in copies) >= 1 and 0 in copies
    assert math.isclose(after, expected, rel_tol=1e-9) and after > before


def test_decides_as_wepy_does():
    """On one ensemble of ten, with the heavier as survivor, wepy 1.2 (rule "pairs") was seen to
    make these children; its variation, summed over each pair once, is half of ours."""
    rng = np.random.default_rng(5)
    places = rng.gamma(2, 0.3, size=10)
    weights = np.maximum(rng.dirichlet(np.full(10, 0.5)), 1e-11)
    weights /= weights.sum()
    resampler = Heavier(LINE, merge_dist=0.2, char_dist=0.1, pmax=0.3)
    records, before, after = resampler.decide(weights, np.abs(places[:, None] - places))
    line = resolve(records).parents.tolist()
    assert [line.count(idx) for idx in range(10)] == [1, 0, 5, 0, 0, 3, 0, 0, 0, 1]
    assert math.isclose(after / 2, 115772770.48188023, rel_tol=1e-12)
    assert math.isclose(before / 2, 25678572.73324518, rel_tol=1e-12)


@given(
    st.integers(0, 10**6),
    st.integers(1, 14),
    st.sampled_from([1, 2, 3, 4, 0.5]),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_variation_is_kept_exactly(seed, n_walkers, exponent, weighted):
    """After any sequence of moves V, V_i, the novelties and who may be merged are those computed
    from nothing, and the gain that was predicted is the one that came, on average."""
    places, weights = random_case(seed, n_walkers)
    distances = np.abs(places[:, None] - places)
    floor, pmin, pmax = (1e-14 if weighted else None), 1e-6, 0.4
    variation = Variation(
        weights,
        distances,
        merge_dist=0.4,
        char_dist=0.3,
        dist_exponent=exponent,
        novelty_floor=floor,
        pmin=pmin,
        pmax=pmax,
    )
    rng = np.random.default_rng(seed)
    copies, group, swallowers = np.ones(n_walkers, int), weights.copy(), set()
    for _ in range(n_walkers):
        each = variation.walker_variations()
        cloned = variation.best_to_clone(each)
        if cloned is None:
            break
        pair = variation.best_to_merge(each, ("pairs", "greedy")[int(rng.integers(2))], cloned)
        allowed = [
            (i, j)
            for i, j in itertools.combinations(range(n_walkers), 2)
            if copies[i] == copies[j] == 1
            and cloned not in (i, j)
            and distances[i, j] < 0.4
            and group[i] + group[j] <= pmax
        ]
        assert (pair is None) == (not allowed)
        if pair is None:
            break
        assert tuple(sorted(pair)) in allowed
        gain, before = variation.expected_gain(cloned, *pair), variation.total()
        chosen = int(rng.integers(2))
        kept, gone = pair[chosen], pair[1 - chosen]
        share = group[kept] / (group[kept] + group[gone])
        other = (group.copy(), copies.copy())
        for trial, (k, g) in (((group, copies), (kept, gone)), (other, (gone, kept))):
            trial[0][k], trial[0][g] = trial[0][k] + trial[0][g], 0.0
            trial[1][g], trial[1][cloned] = 0, trial[1][cloned] + 1
        swallowers.add(kept)
        variation.carry_out(cloned, kept, gone)

        def masses(trial):
            with np.errstate(divide="ignore", invalid="ignore"):
                phi = np.maximum(0, np.log(trial[0] / trial[1]) - np.log(1e-14))
            return np.where(trial[1] > 0, trial[1] * (phi if weighted else 1.0), 0.0)

        here = slow_variation(masses((group, copies)), distances, 0.3, exponent)
        there = slow_variation(masses(other), distances, 0.3, exponent)
        assert math.isclose(variation.total(), here, rel_tol=1e-9, abs_tol=1e-12)
        assert math.isclose(variation.value, here, rel_tol=1e-9, abs_tol=1e-9 * before)
        mean = share * here + (1 - share) * there
        assert math.isclose(before + gain, mean, rel_tol=1e-9, abs_tol=1e-9 * before)
        assert (variation.copies == copies).all()
        assert np.allclose(variation.weights, group, rtol=1e-12)
        scaled = (distances / 0.3) ** exponent
        now = variation.walker_variations()
        per_child = masses((group, copies)) / np.maximum(copies, 1)
        assert np.allclose(now, per_child * (scaled @ masses((group, copies))), rtol=1e-9)
        assert cloned not in swallowers
        assert group[cloned] / copies[cloned] >= pmin


@given(
    ensembles(CROWDED), st.sampled_from(["pairs", "greedy"]), st.booleans(), st.integers(0, 2**32)
)
@settings(deadline=None, max_examples=80)
def test_conserves_and_respects(ensemble, rule, weighted, seed):
    """And merge_dist, along every chain of merges: each was merged with one that was close."""
    walkers, pmin, pmax = ensemble
    resampler = revo(pmin=pmin, pmax=pmax, merge_alg=rule, weights=weighted)
    resampler.set_rng(np.random.default_rng(seed))
    after, records, (change,) = resampler.resample(walkers)
    assert_kept(walkers, after, records, pmin, pmax)
    groups: dict[int, set[int]] = {}
    for idx, record in enumerate(records):
        if record["decision_id"][0] == Decision.SQUASH:
            groups.setdefault(int(record["target_idxs"][0]), set()).add(idx)
    places = where(walkers)
    for kept, far in groups.items():
        reached = [kept]
        while reached:
            here = reached.pop()
            near = {idx for idx in far if abs(places[idx] - places[here]) < resampler.merge_dist}
            far -= near
            reached += near
        assert not far
    assert change["num_walkers"].tolist() == [len(walkers)]
    assert change["distance_matrix"].shape == (len(walkers) ** 2,)


def test_clones_the_outlier_and_merges_the_crowd():
    """Nine walkers in a crowd and one far away: the far one is cloned, the crowd pays for it."""
    after, _, _ = revo().resample(make_walkers([0.0, 0.01, 0.02, 0.03, 0.04, 3.0]))
    assert where(after).count(3.0) >= 2


def test_several_clones_and_merges_in_one_resampling():
    """One walker may be cloned, and one may swallow others, several times at once."""
    walkers = make_walkers([*np.linspace(0, 0.1, 11), 9.0])
    _, records, _ = revo(pmax=1.0).resample(walkers)
    children = [len(record["target_idxs"]) for record in records]
    squashed = [int(r["target_idxs"][0]) for r in records if r["decision_id"][0] == Decision.SQUASH]
    assert max(children) > 2
    assert max(squashed.count(idx) for idx in squashed) > 1


@pytest.mark.parametrize(
    ("places", "change"),
    [
        ([0.0], {}),
        ([1.0] * 6, {}),
        ([0.0, 1.0, 2.0, 3.0], {}),
        ([0.0, 0.01, 0.02, 3.0], {"pmax": 0.4}),
        ([0.0, 0.01, 0.02, 3.0], {"pmin": 0.2}),
    ],
    ids=["alone", "all at one place", "all too far", "pmax", "pmin"],
)
def test_leaves_alone(places, change):
    """Nothing happens to one walker, to walkers that all are the same or all further apart than
    merge_dist, or where pmax or pmin forbids it."""
    walkers = make_walkers(places)
    after, records, _ = revo(**change).resample(walkers)
    assert where(after) == places
    assert {int(record["decision_id"][0]) for record in records} == {Decision.NOTHING}


def test_char_dist_decides_nothing():
    """char_dist scales V and changes no decision."""
    walkers = make_walkers(*random_case(3, 20))
    results = []
    for char_dist in (0.05, 0.1):
        resampler = revo(char_dist=char_dist)
        resampler.set_rng(np.random.default_rng(1))
        results.append(resampler.resample(walkers))
    (_, records, (first,)), (_, others, (second,)) = results
    assert repr(records) == repr(others)
    assert math.isclose(first["variation"][0], 16 * second["variation"][0], rel_tol=1e-9)


def test_an_ensemble_is_resampled_as_a_list_is():
    """Walkers held as one give the same records and weights as walkers in a list."""
    assert_resampled_alike(revo, make_walkers(*random_case(4, 30)))


def test_records_hold_the_fields_they_announce():
    """Every field of every record is announced, of rank 1, with its shape and type."""
    resampler = revo()
    _, resampling, changes = resampler.resample(make_walkers(*random_case(1, 12)))
    assert_announced(resampler, resampling, changes)
    (change,) = changes
    places = random_case(1, 12)[0]
    matrix = change["distance_matrix"].reshape(12, 12)
    assert np.array_equal(matrix, np.abs(places[:, None] - places))


def test_parameters_build_an_equal_one():
    """from_params of params decides the same; REVO keeps no state."""
    resampler = revo(dist_exponent=3, merge_alg="greedy", weights=False)
    again = REVOResampler.from_params(resampler.params(), REVOResampler.version)
    assert again.params() == resampler.params() and resampler.state() == {}
    walkers = make_walkers(*random_case(2, 12))
    texts = []
    for one in (resampler, again):
        one.set_rng(np.random.default_rng(1))
        texts.append(repr(one.resample(walkers)[1:]))
    assert texts[0] == texts[1]
    assert "before resampling" in again.summary()["variation"]


class WepyStyle:
    """A distance written for wepy: one pair of images at a time, and images that are no arrays."""

    def image(self, state):
        return {"x": float(state["positions"][0, 0])}

    def image_distance(self, image_a, image_b):
        return abs(image_a["x"] - image_b["x"])


def test_a_distance_written_for_wepy():
    """A distance that only compares two images, which are no arrays, gives the same decisions."""
    walkers = make_walkers(*random_case(6, 15))
    texts = []
    for distance in (LINE, WepyStyle()):
        resampler = REVOResampler(distance, 0.5, 0.3, pmax=0.5)
        resampler.set_rng(np.random.default_rng(1))
        texts.append(repr(resampler.resample(walkers)[1]))
    assert texts[0] == texts[1]


def test_pairs_are_measured_alike_in_every_way():
    """`pairwise`, rows of image_distances and single image_distance give the same bits."""
    rng = np.random.default_rng(0)
    box = np.diag([2.0, 3.0, 4.0])
    states = [WalkerState(positions=rng.uniform(0, 9, (2, 3)), box_vectors=box) for _ in range(17)]
    pair = PairDistance(0, 1)
    images = pair.images(states)
    whole = all_distances(pair, images)
    single = [[pair.image_distance(a, b) for b in images] for a in images]
    assert np.array_equal(whole, single)
    assert np.array_equal(whole, whole.T) and not whole.diagonal().any()


def test_a_walker_is_not_apart_from_itself():
    """A distance that measures all pairs at once may say so by rounding; V must not count it."""

    class Rounded(CoordinateDistance):
        def pairwise(self, images):
            return super().pairwise(images) + 0.25

    matrix = all_distances(Rounded(PositionCoordinate()), np.array([[0.0], [1.0], [3.0]]))
    assert matrix.tolist() == [[0.0, 1.25, 3.25], [1.25, 0.0, 2.25], [3.25, 2.25, 0.0]]


def test_a_lost_walker_is_named():
    """A distance that is not a number stops the run with the walkers' numbers."""
    with pytest.raises(NotADistanceError, match="walkers 0 and 2"):
        revo().resample(make_walkers([0.0, 0.1, math.nan, 0.2]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"merge_dist": 0.0}, "merge_dist"),
        ({"char_dist": math.nan}, "char_dist"),
        ({"dist_exponent": -1}, "dist_exponent"),
        ({"merge_alg": "best"}, "pairs"),
        ({"pmin": 0.6}, "pmin"),
    ],
)
def test_parameters_are_checked(change, words):
    """Parameters that make no sense are refused with the reason."""
    with pytest.raises(ValueError, match=words):
        revo(**change)


def test_no_walkers():
    """There is nothing to resample without walkers, and the error says so."""
    with pytest.raises(ValueError, match="no walkers"):
        revo().resample([])
