"""Walkers on a line, and what every resampler that clones and merges keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.resamplers.decision import Decision, resolve
from wepystore.engine.resamplers.groups import Regions
from wepystore.engine.walker import Walker, WalkerState

EPS = float(np.finfo(np.float64).eps)


def make_walkers(places: Sequence[Any], weights: Sequence[float] | None = None) -> list[Walker]:
    """One atom each, at x or (x, y), of equal weights if none are given."""
    weights = [1 / len(places)] * len(places) if weights is None else weights
    positions = np.zeros((len(places), 1, 3))
    for place, position in zip(places, positions, strict=True):
        position[0, : np.size(place)] = place
    return [
        Walker(WalkerState(positions=position), float(weight))
        for position, weight in zip(positions, weights, strict=True)
    ]


def one_region(
    weights: Mapping[int, float], pmin: float = 1e-300, pmax: float = math.inf, limit: int = 20
) -> Regions:
    """All walkers, numbered from 0, in one region."""
    held = np.array([*weights.values()])
    return Regions(held, np.zeros(len(held), np.int64), pmin, pmax, limit)


def merge_lightest(
    weights: Mapping[int, float], pmax: float, wanted: int | None = None
) -> list[list[int]]:
    """Groups, as many walkers merged away as `wanted`, or as can be."""
    region = one_region(weights, pmax=pmax)
    return region.change(-region.merges if wanted is None else np.array([-wanted]), [0])[0]


def max_merges(weights: Mapping[int, float], pmax: float) -> int:
    """How many walkers of one region can be merged away."""
    return int(one_region(weights, pmax=pmax).merges[0])


def clone_heaviest(
    weights: Mapping[int, float], pmin: float, wanted: int, limit: int
) -> dict[int, int]:
    """The `wanted` clones of one region."""
    return one_region(weights, pmin=pmin, limit=limit).change(np.array([wanted]), [0])[1]


def where(walkers: Sequence[Walker]) -> list[float]:
    """The x of each."""
    return [float(walker.state["positions"][0, 0]) for walker in walkers]


@st.composite
def ensembles(
    draw: st.DrawFn, place: st.SearchStrategy[float] | None = None
) -> tuple[list[Walker], float, float]:
    """Walkers of any weights within a few nm, pmin and pmax."""
    n_walkers = draw(st.integers(1, 30))

    def many(each: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(each, min_size=n_walkers, max_size=n_walkers))

    places = many(st.floats(0, 4) if place is None else place)
    raw = [10.0**exponent for exponent in many(st.floats(-13, 0))]
    weights = [weight / math.fsum(raw) for weight in raw]
    pmin = draw(st.sampled_from([1e-12, 1e-6, 1e-2]))
    pmax = draw(st.sampled_from([0.05, 0.1, 0.5, 1.0]))
    return make_walkers(places, weights), pmin, pmax


def assert_kept(
    walkers: Sequence[Walker],
    after: Sequence[Walker],
    records: Sequence[Mapping[str, Any]],
    pmin: float,
    pmax: float,
) -> None:
    """W1, W3, the number of walkers, pmin and pmax, survivors in their own slots, and states where
    the records say."""
    assert len(after) == len(walkers) == len(records)
    assert min(walker.weight for walker in after) > 0
    before, total = (math.fsum(w.weight for w in each) for each in (walkers, after))
    assert abs(total - before) <= len(walkers) * EPS
    line = resolve(records).parents.tolist()
    assert [walker.state for walker in after] == [walkers[idx].state for idx in line]
    for idx, record in enumerate(records):
        decision, slots = record["decision_id"][0], record["target_idxs"].tolist()
        assert decision == Decision.SQUASH or slots[0] == idx
        if decision == Decision.CLONE:
            assert walkers[idx].weight / len(slots) >= pmin
        if decision == Decision.KEEP_MERGE:
            # A sum may be rounded once for each walker in it.
            assert after[idx].weight <= pmax * (1 + len(walkers) * EPS)


def assert_resampled_alike(make: Callable[[], Any], walkers: Sequence[Walker]) -> None:
    """Walkers held as one give the same records and weights as walkers in a list."""
    seen = []
    for given in (walkers, Ensemble.of(walkers)):
        resampler = make()
        resampler.set_rng(np.random.default_rng(2))
        after, records, changes = resampler.resample(given)
        seen.append((where(after), [w.weight for w in after], repr(list(records)), repr(changes)))
    assert seen[0] == seen[1]


def assert_announced(
    resampler: Any, resampling: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]
) -> None:
    """Every field of every record is announced, of rank 1, with its shape and type."""
    for records, fields in (
        (resampling, resampler.resampling_fields()),
        (changes, resampler.resampler_fields()),
    ):
        for record in records:
            assert set(record) == {name for name, _, _ in fields}
            for name, shape, dtype in fields:
                assert record[name].ndim == 1
                assert shape is Ellipsis or record[name].shape == shape
                assert record[name].dtype == np.dtype(dtype)
