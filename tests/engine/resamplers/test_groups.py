"""Merges and clones of all regions at once: those of one walker after the other, ties and all."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.engine.resamplers import groups
from wepystore.engine.resamplers.groups import Regions, max_clones

#: Of all sizes, some of them equal, and sums that are equal or nearly so.
WEIGHTS = st.one_of(
    st.sampled_from([0.1, 0.2, 0.3, 0.25, 0.5]),
    st.integers(0, 40).map(lambda exponent: 2.0**-exponent),
    st.floats(-14, 0).map(lambda exponent: 10.0**exponent),
)
#: So far apart that a sum has more digits than a number.
SPREAD = st.floats(-60, 0).map(lambda exponent: 10.0**exponent)


@st.composite
def regions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Weights of walkers, and the region of each."""
    held = draw(st.lists(st.tuples(WEIGHTS, st.integers(0, 3)), min_size=1, max_size=40))
    weights, places = zip(*held, strict=True)
    return np.array(weights), np.unique(places, return_inverse=True)[1]


def merged_by_hand(weights: Mapping[int, float], pmax: float, wanted: int) -> list[Any]:
    """Groups, by the definition: the two lightest, ties to the lowest number, again and again."""
    nodes = [(weight, idx, (idx,)) for idx, weight in weights.items()]
    while wanted and len(nodes) > 1:
        nodes.sort()
        (_, one, members), (_, other, more) = nodes[:2]
        weight = math.fsum(weights[idx] for idx in members + more)
        if weight > pmax:
            break
        nodes[:2] = [(weight, min(one, other), members + more)]
        wanted -= 1
    return sorted(sorted(members) for _, _, members in nodes if len(members) > 1)


def cloned_by_hand(weights: Mapping[int, float], most: Mapping[int, int], wanted: int) -> Any:
    """Clones, by the definition: the one with the heaviest children, ties to the lower number."""
    clones: dict[int, int] = {}
    heap = [(-weight, idx) for idx, weight in weights.items() if most[idx]]
    heapq.heapify(heap)
    for _ in range(wanted):
        _, idx = heapq.heappop(heap)
        clones[idx] = clones.get(idx, 0) + 1
        if clones[idx] < most[idx]:
            heapq.heappush(heap, (-weights[idx] / (clones[idx] + 1), idx))
    return clones


@given(regions(), st.sampled_from([0.01, 0.3, 0.5, 1.0, 100.0]), st.data())
@settings(deadline=None)
def test_all_regions_are_changed_as_each_by_hand(
    held: tuple[np.ndarray, np.ndarray], pmax: float, data: st.DataObject
) -> None:
    """Some merge, some clone, some stay; the groups come in the order of regions asked for."""
    weights, which = held
    pmin, limit = data.draw(st.sampled_from([1e-14, 1e-6, 0.01, 0.3])), data.draw(st.integers(0, 9))
    found = Regions(weights, which, pmin, pmax, limit)
    most = dict(enumerate(max_clones(weights, pmin, limit).tolist()))
    change = [
        data.draw(st.integers(-low, high))
        for low, high in zip(found.merges.tolist(), found.clones.tolist(), strict=True)
    ]
    order = data.draw(st.permutations(range(len(change))))
    merged, clones = found.change(np.array(change), order)
    by_hand: list[Any] = []
    cloned: dict[int, int] = {}
    for region in order:
        members = np.flatnonzero(which == region).tolist()
        here = {idx: float(weights[idx]) for idx in members}
        alone = merged_by_hand(here, pmax, len(here))
        assert found.merges[region] == sum(len(group) - 1 for group in alone) or (
            math.fsum(here.values()) <= pmax
        )
        by_hand += merged_by_hand(here, pmax, max(-change[region], 0))
        cloned |= cloned_by_hand(here, most, max(change[region], 0))
    assert (merged, clones) == (by_hand, cloned)


@given(st.lists(st.one_of(WEIGHTS, SPREAD), min_size=1, max_size=60), st.data())
@settings(deadline=None)
def test_many_merges_at_once_are_those_one_by_one(
    weights: list[float], data: st.DataObject
) -> None:
    """The same merges in the same order with the same weights, whatever the limits, also where sums
    take more digits than two numbers have."""
    numbers = sorted(range(len(weights)), key=lambda idx: (weights[idx], idx))
    ascending = [weights[idx] for idx in numbers]
    wanted = data.draw(st.integers(0, len(weights)))
    most = data.draw(st.sampled_from([0.01, 0.3, 1.0, math.inf]))
    found = []
    for many in (0, 1000):
        with patch.object(groups, "_MANY", many):
            found.append(groups.merge_lightest(ascending, numbers, wanted, most))
    assert found[0] == found[1]


def test_precision_is_enough_for_weights_above_the_least_pmin() -> None:
    """Of weights from 1e-12 to 1, thousands of them, no sum needs more digits."""
    weights = np.sort(10.0 ** np.random.default_rng(5).uniform(-12, 0, 5000))
    numbers, most = list(range(5000)), math.inf
    found = groups._many_at_once(weights.tolist(), numbers, 4999, most)
    assert found is not None and found[-1][2] == math.fsum(weights)
    odd = [2.0**-121, 1.0, 1.0 + 2.0**-52]
    assert groups._many_at_once(odd, [0, 1, 2], 2, most) is None
