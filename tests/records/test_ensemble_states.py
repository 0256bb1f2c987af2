"""An ensemble is recorded as the list of its walkers: the same bytes, only sooner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.systems import bits
from wepystore.api import (
    Apparatus,
    Ensemble,
    NoResampler,
    RandomWalkRunner,
    Snapshot,
    Store,
    hash_of,
    load_snapshot,
    save_snapshot,
)
from wepystore.records.values import unique_rows, unique_states

APPARATUS = Apparatus(RandomWalkRunner(), None, NoResampler())

#: Few different numbers, so that rows come up twice; zeros of both signs and NaN among them.
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan")])
SHAPES = st.lists(st.integers(1, 3), min_size=0, max_size=2).map(tuple)


@st.composite
def ensembles(draw: Any) -> Ensemble:
    n_walkers = draw(st.integers(1, 9))
    fields = {
        name: draw(hnp.arrays(np.float64, (n_walkers, *draw(SHAPES)), elements=NUMBERS))
        for name in draw(st.sampled_from([("x",), ("time", "positions"), ("b", "a", "c")]))
    }
    return Ensemble(np.full(n_walkers, 1 / n_walkers), fields)


@settings(max_examples=60, deadline=None)
@given(ensembles())
def test_the_hash_is_that_of_the_list(ensemble: Ensemble) -> None:
    """I1: whether walkers are held as arrays or one by one leaves no trace in a store."""
    assert hash_of(Snapshot.as_found(ensemble, APPARATUS)) == hash_of(
        Snapshot.as_found(list(ensemble), APPARATUS)
    )


@settings(max_examples=60, deadline=None)
@given(ensembles())
def test_rows_are_told_apart_as_states_are(ensemble: Ensemble) -> None:
    """I4: equal means equal bits (0.0 is not -0.0, a NaN is itself), found in the same order."""
    index, firsts = unique_rows([ensemble.fields[name] for name in sorted(ensemble.fields)])
    expected, uniques = unique_states([walker.state for walker in ensemble])
    assert index.tolist() == expected
    assert len(firsts) == len(uniques)


def test_rows_with_one_checksum_are_still_told_apart() -> None:
    """Two rows made to have the sum of products by which rows are compared first."""
    rows = np.arange(6, dtype=np.uint64).reshape(3, 2) + np.uint64(1 << 52)
    factors = np.random.Generator(np.random.PCG64(0)).integers(
        1, 2**64 - 1, size=2, dtype=np.uint64
    ) | np.uint64(1)
    rows[2] = rows[0] + factors[::-1] * np.array([1, 2**64 - 1], dtype=np.uint64)
    assert rows[0] @ factors == rows[2] @ factors
    index, firsts = unique_rows([rows.view(np.float64)])
    assert index.tolist() == [0, 1, 2] and firsts.tolist() == [0, 1, 2]


def test_fields_of_no_numbers() -> None:
    """An empty field (no atoms) neither fails nor tells rows apart."""
    ensemble = Ensemble([0.5, 0.5], {"positions": np.zeros((2, 0, 3)), "time": [1.0, 1.0]})
    assert hash_of(Snapshot.as_found(ensemble, APPARATUS)) == hash_of(
        Snapshot.as_found(list(ensemble), APPARATUS)
    )


def test_ten_thousand_walkers_come_back(tmp_path: Path) -> None:
    """A snapshot of them is a handful of files (I4) and loads to the same bits."""
    draw = np.random.default_rng(1)
    ensemble = Ensemble(
        np.full(10_000, 1e-4),
        {"positions": draw.integers(0, 30, (10_000, 1, 2)), "time": np.full(10_000, 50.0)},
    )
    store = Store.create(tmp_path / "walk.orch")
    name = save_snapshot(store, Snapshot.as_found(ensemble, APPARATUS))
    assert bits(load_snapshot(store, name).walkers) == bits(ensemble)
    assert len(store.hashes("objects")) == 2


@pytest.mark.parametrize("many", [1, 700_000])
def test_large_rows_are_compared_in_pieces(many: int) -> None:
    """Rows longer than a piece, and more rows than one piece holds."""
    rows = np.zeros((8, many))
    rows[5, -1] = 1.0
    index, firsts = unique_rows([rows])
    assert index.tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert firsts.tolist() == [0, 5]
