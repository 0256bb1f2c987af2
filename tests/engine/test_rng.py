"""Streams of random numbers: R1 hangs on each having one, and only one, use."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.engine import rng
from wepystore.engine.rng import Streams


def draw(streams: Streams, purpose: int, cycle_idx: int) -> tuple[float, ...]:
    return tuple(streams.generator(purpose, cycle_idx).random(4))


def test_every_purpose_and_cycle_has_a_stream_of_its_own() -> None:
    """No two of (purpose, cycle) give the same numbers, nor do two seeds."""
    drawn = {
        draw(Streams(seed), purpose, cycle)
        for seed in (0, 1, 2)
        for purpose in (rng.SEGMENTS, rng.BOUNDARY_CONDITIONS, rng.RESAMPLING)
        for cycle in range(50)
    }
    assert len(drawn) == 3 * 3 * 50


def test_a_stream_does_not_depend_on_the_order_of_calls() -> None:
    """R1: asking for streams in another order, or twice, gives each the same numbers."""
    uses: list[tuple[Any, ...]] = [
        (purpose, cycle)
        for purpose in (rng.BOUNDARY_CONDITIONS, rng.RESAMPLING)
        for cycle in range(20)
    ]
    streams = Streams([7, 2**127])
    first = {use: draw(streams, *use) for use in uses}
    random.Random(3).shuffle(uses)
    assert {use: draw(streams, *use) for use in uses} == first
    assert {use: draw(Streams([7, 2**127]), *use) for use in uses} == first


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_segment_seeds_are_distinct_and_in_range(seed: int, cycle: int, n_walkers: int) -> None:
    """Clones part because their seeds differ; OpenMM takes 1 to 2**31 - 1, and 0 means random."""
    seeds = Streams(seed).segment_seeds(cycle, n_walkers)
    assert len(set(seeds)) == n_walkers
    assert all(type(each) is int and 1 <= each < 2**31 for each in seeds)


def test_a_walker_keeps_its_seed_when_there_are_more_walkers() -> None:
    """A walker's stream depends on its index, not on how many walkers there are."""
    streams = Streams(5)
    assert streams.segment_seeds(3, 48)[:10] == streams.segment_seeds(3, 10)


def test_seeds_that_collide_are_moved_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the generator gave every walker the same number, all seeds would differ."""

    class Constant:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def generate_state(self, n: int, dtype: Any) -> np.ndarray:
            return np.full(n, 2**31 - 3, dtype)

    monkeypatch.setattr(np.random, "SeedSequence", Constant)
    seeds = Streams(1).segment_seeds(0, 5)
    assert seeds == [2**31 - 2, 2**31 - 1, 1, 2, 3]


def test_a_continuation_draws_other_numbers() -> None:
    """The start's hash is mixed in: the same seed from another snapshot gives other seeds."""
    assert Streams([1, 0xA]).segment_seeds(0, 5) != Streams([1, 0xB]).segment_seeds(0, 5)


def test_the_meaning_of_a_seed_is_frozen() -> None:
    """A seed in an old run record must mean the same for ever: known numbers of one stream."""
    streams = Streams([1, 2])
    assert streams.segment_seeds(3, 3) == FROZEN_SEEDS
    assert streams.generator(rng.RESAMPLING, 3).integers(0, 2**32, 3).tolist() == FROZEN_DRAWS


FROZEN_SEEDS = [884736631, 884647261, 108876046]
FROZEN_DRAWS = [876227404, 2835654060, 2664990577]


@pytest.mark.parametrize(
    "entropy", [0, 1, 2**32 - 1, 2**32, 3**99, [0, 0], [7, 2**127], [2**64, 0, 5], [2**200]]
)
def test_a_seed_means_what_it_means_to_numpy(entropy: Any) -> None:
    """R1: a stream can be had from numpy alone, from the seed and the stream's key."""
    for key in ((rng.SEGMENTS, 0), (rng.RESAMPLING, 2**40)):
        theirs = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))
        assert draw(Streams(entropy), *key) == tuple(theirs.random(4))


def test_a_negative_seed_is_refused() -> None:
    """As numpy does; its digits would never end."""
    with pytest.raises(ValueError, match="-1"):
        Streams([3, -1])
