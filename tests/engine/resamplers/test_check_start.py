"""No setting switches resampling off unnoticed: defaults, and what is refused at the start."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.resamplers.resampled import ensembles, make_walkers
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    NoResampler,
    PositionCoordinate,
    REVOResampler,
    WExploreResampler,
)
from wepystore.engine.errors import NeverResamplesError
from wepystore.engine.resamplers.decision import count_decisions, decision_numbers

PLACE = PositionCoordinate()
LINE = CoordinateDistance(PLACE)

MAKERS: dict[str, Any] = {
    "wexplore": lambda **bounds: WExploreResampler(LINE, (10, 10), (0.5, 0.1), **bounds),
    "revo": lambda **bounds: REVOResampler(LINE, merge_dist=0.5, char_dist=0.5, **bounds),
    "bins": lambda **bounds: BinResampler(PLACE, [0.5, 1.0, 1.5], **bounds),
}
each_kind = pytest.mark.parametrize("kind", MAKERS)


def seeded(resampler: Any, seed: int = 0) -> Any:
    resampler.set_rng(np.random.default_rng(seed))
    return resampler


def acts(resampler: Any, walkers: Any) -> tuple[int, int] | None:
    """(clones, merges) of the next resampling."""
    _, records, _ = resampler.resample(walkers)
    return count_decisions(records, decision_numbers(resampler))


def crowd(n_walkers: int) -> Any:
    """Equal walkers of which all but one are at 0, and one is far away."""
    return make_walkers([0.0] * (n_walkers - 1) + [1.7])


@each_kind
@pytest.mark.parametrize("n_walkers", [4, 5, 8, 10, 16, 19, 20, 48, 200])
def test_the_defaults_resample_any_number_of_walkers(kind: str, n_walkers: int) -> None:
    """Without a pmax a lonely far walker is cloned, be there four walkers or two hundred."""
    resampler = seeded(MAKERS[kind]())
    resampler.check_start(np.full(n_walkers, 1 / n_walkers))
    counted = acts(resampler, crowd(n_walkers))
    assert counted is not None
    assert counted[0] == counted[1] > 0


@each_kind
def test_without_pmax_a_walker_may_weigh_what_five_equal_ones_do(kind: str) -> None:
    """The rule: 5/n, never below the least pmax of the kind, never above 1; a pmax that is given
    stands, and is what a store keeps."""
    least = 0.5 if kind == "bins" else 0.1
    resampler = MAKERS[kind]()
    assert resampler.params()["pmax"] is None
    for n_walkers in (3, 4, 5, 8, 10, 20, 48, 50, 51, 1000):
        resampler.check_start(np.full(n_walkers, 1 / n_walkers))
        expected = min(1.0, max(least, 5 / n_walkers))
        assert resampler.highest_weight(n_walkers) == expected
        assert expected >= min(1.0, 2 / n_walkers), "two equal ones must be mergeable"
    given_one = MAKERS[kind](pmax=0.3)
    assert given_one.highest_weight(3) == given_one.params()["pmax"] == 0.3


@each_kind
@pytest.mark.parametrize(
    ("weights", "bounds", "words"),
    [
        ([1.0], {}, "there is only one"),
        ([0.5, 0.5], {}, "only 2"),
        ([0.1] * 10, {"pmax": 0.1}, r"10 weigh 0\.2 together, more than pmax=0\.1; leave pmax out"),
        ([0.1] * 10, {"pmax": 0.199}, "more than pmax=0.199"),
        ([0.1] * 10, {"pmin": 0.08, "pmax": 0.5}, r"heaviest weighs 0\.05, less than pmin=0\.08"),
        ([0.05] * 4 + [0.4, 0.4], {"pmax": 0.09}, "more than pmax=0.09"),
    ],
)
def test_what_can_never_resample_is_refused(
    kind: str, weights: list[float], bounds: dict[str, float], words: str
) -> None:
    """The error names the resampler, the reason and the way out, in one line."""
    resampler = MAKERS[kind](**bounds)
    with pytest.raises(NeverResamplesError, match=words) as caught:
        resampler.check_start(np.array(weights))
    text = str(caught.value)
    assert text.startswith(type(resampler).__name__)
    assert "\n" not in text
    assert "NoResampler()" in text


@each_kind
@pytest.mark.parametrize(
    ("weights", "bounds"),
    [
        ([0.1] * 10, {"pmax": 0.2}),
        ([0.04] * 5 + [0.8], {"pmax": 0.1}),
        ([0.05] * 20, {"pmax": 0.1}),
        ([0.1] * 10, {"pmin": 0.05, "pmax": 0.5}),
    ],
)
def test_what_can_resample_once_is_not_refused(
    kind: str, weights: list[float], bounds: dict[str, float]
) -> None:
    """Bounds that allow one clone and one merge are somebody's choice."""
    MAKERS[kind](**bounds).check_start(np.array(weights))


@given(ensemble=ensembles(), kind=st.sampled_from(list(MAKERS)))
@settings(max_examples=150, deadline=None)
def test_never_is_never(ensemble: Any, kind: str) -> None:
    """Where the start is refused, not one clone or merge is made, wherever the walkers are."""
    walkers, pmin, pmax = ensemble
    resampler = seeded(MAKERS[kind](pmin=pmin, pmax=max(pmax, 2 * pmin)))
    try:
        resampler.check_start(np.array([walker.weight for walker in walkers]))
    except NeverResamplesError:
        assert acts(resampler, walkers) == (0, 0)


def test_refused_are_all_that_no_pair_and_third_fit() -> None:
    """Exactly those weights are refused of which no two can be merged while a third is cloned."""
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(300):
        weights = rng.dirichlet(np.full(rng.integers(1, 7), 0.5))
        pmin, pmax = rng.choice([1e-6, 0.05, 0.2]), rng.choice([0.21, 0.4, 0.9])
        possible = any(
            weights[a] + weights[b] <= pmax and weights[c] / 2 >= pmin
            for a, b, c in itertools.permutations(range(len(weights)), 3)
        )
        try:
            MAKERS["revo"](pmin=pmin, pmax=pmax).check_start(weights)
            refused = False
        except NeverResamplesError:
            refused = True
        assert refused is not possible
        seen.add(refused)
    assert seen == {True, False}


def test_a_tree_of_one_region_is_refused() -> None:
    """WExplore with one region for ever has no siblings to share walkers between."""
    with pytest.raises(NeverResamplesError, match=r"max_n_regions=\[1, 1\]"):
        WExploreResampler(LINE, (1, 1), (0.5, 0.1)).check_start(np.full(10, 0.1))
    WExploreResampler(LINE, (1, 2), (0.5, 0.1)).check_start(np.full(10, 0.1))


def test_plain_dynamics_are_nobodys_mistake() -> None:
    """NoResampler takes one walker as well as many, and never says a word."""
    resampler = NoResampler()
    resampler.check_start(np.array([1.0]))
    assert resampler.why_still(make_walkers([0.0, 5.0])) is None


@each_kind
def test_a_bound_that_forbids_is_named(kind: str) -> None:
    """After a long time without a clone: which of pmin and pmax is in the way."""
    # The light ones could be merged, but each is alone where it is; the rest weigh too much.
    walkers = make_walkers([0.0, 0.0, 0.01, 0.01, 1.2, 1.7], [0.2] * 4 + [0.1] * 2)
    resampler = seeded(MAKERS[kind](pmax=0.3))
    resampler.check_start(np.array([walker.weight for walker in walkers]))
    assert acts(resampler, walkers) == (0, 0)
    why = resampler.why_still(walkers)
    assert why is not None
    assert "pmax=0.3" in why
    assert "pmin" not in why

    walkers = make_walkers([0.0] * 5 + [1.7], [0.19] * 5 + [0.05])
    resampler = seeded(MAKERS[kind](pmin=0.03, pmax=0.9))
    if kind == "wexplore":
        assert acts(resampler, walkers) == (0, 0)
        why = resampler.why_still(walkers)
        assert why is not None
        assert "pmin=0.03" in why


def test_all_in_one_place_is_said() -> None:
    """Regions or bins that no walker leaves, and a merge_dist that no two walkers keep."""
    walkers = make_walkers([0.01 * k for k in range(8)])
    wexplore = seeded(MAKERS["wexplore"]())
    assert acts(wexplore, walkers) == (0, 0)
    assert "max_region_sizes (0.5, 0.1)" in (wexplore.why_still(walkers) or "")
    bins = seeded(MAKERS["bins"]())
    assert acts(bins, walkers) == (0, 0)
    assert "in bin 0" in (bins.why_still(walkers) or "")
    # As many places as walkers: nobody has a partner.
    alone = make_walkers([0.55 * k for k in range(4)])
    for kind in ("wexplore", "bins"):
        resampler = seeded(MAKERS[kind]())
        assert acts(resampler, alone) == (0, 0)
        assert "is alone in its" in (resampler.why_still(alone) or "")
    far = make_walkers([0.0, 1.0, 2.5, 5.0, 9.0, 15.0])
    revo = seeded(REVOResampler(LINE, merge_dist=0.5, char_dist=1.0))
    assert acts(revo, far) == (0, 0)
    assert "merge_dist=0.5" in (revo.why_still(far) or "")


@each_kind
def test_even_walkers_are_as_they_should_be(kind: str) -> None:
    """Walkers shared out evenly need no clone, and no word."""
    resampler = seeded(MAKERS[kind]())
    walkers = make_walkers([0.0] * 4 + [1.7] * 4)
    assert acts(resampler, walkers) == (0, 0)
    assert resampler.why_still(walkers) is None


@each_kind
@given(ensemble=ensembles())
@settings(max_examples=30, deadline=None)
def test_asking_changes_nothing(kind: str, ensemble: Any) -> None:
    """R1: to ask why nothing happens draws no number and leaves the regions as they are."""
    walkers, pmin, pmax = ensemble
    results = []
    for ask in (False, True):
        resampler = seeded(MAKERS[kind](pmin=pmin, pmax=max(pmax, 2 * pmin)))
        first, _, _ = resampler.resample(walkers)
        if ask:
            resampler.why_still(first)
        second, _, _ = resampler.resample(first)
        results.append([walker.weight for walker in second])
        results.append([walker.state for walker in second])
    assert results[0] == results[2]
    assert all(a is b for a, b in zip(results[1], results[3], strict=True))


def test_clones_and_merges_are_counted() -> None:
    """Of ours, of several steps, of other numbers; None where records do not tell."""
    numbers = decision_numbers(NoResampler())
    records = [
        {"decision_id": np.array([2]), "target_idxs": np.array([0, 3, 4])},
        {"decision_id": 4, "target_idxs": [1]},
        {"decision_id": np.array([1]), "target_idxs": np.array([2])},
        {"decision_id": np.array([3]), "target_idxs": np.array([1])},
        {"decision_id": 3, "target_idxs": [1]},
    ]
    assert count_decisions(records, numbers) == (2, 2)
    assert count_decisions(records, {"CLONE": 4, "SQUASH": 1}) == (0, 1)
    assert count_decisions([], numbers) is None
    assert count_decisions([{"what": 1}], numbers) is None
    _, nothings, _ = NoResampler().resample(make_walkers([0.0, 1.0]))
    assert count_decisions(nothings, numbers) == (0, 0)
