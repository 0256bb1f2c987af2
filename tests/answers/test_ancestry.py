"""Where those who arrived came from, and how long they took, against lineages one by one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.answers.made import EMPTY, RESAMPLING, WARPING, tables_of
from tests.answers.studies import Place, walk_snapshot
from wepystore.answers.ancestry import earliest, initial_state, trace
from wepystore.answers.arrivals import warps_of
from wepystore.answers.rates import load_rates
from wepystore.answers.study import load_study
from wepystore.api import load_lineages, load_tables
from wepystore.engine.record_tables import RecordField
from wepystore.records.recording import Layout


@pytest.mark.parametrize("seed", range(6))
def test_the_earliest_ancestor_is_found(seed: int) -> None:
    """Of any forest, with walkers that come and go, as if it were gone back one by one."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0 if seed % 2 else 3, 6, size=rng.integers(1, 60))
    first = np.concatenate([[0], np.cumsum(counts)])
    parents = np.full(first[-1], -1)
    for cycle in range(1, len(counts)):
        for row in range(first[cycle], first[cycle + 1]):
            if counts[cycle - 1] and rng.random() < 0.9:
                parents[row] = rng.integers(first[cycle - 1], first[cycle])

    def back(row: int) -> int:
        while parents[row] >= 0:
            row = parents[row]
        return row

    expected = [back(row) for row in range(first[-1])]
    assert earliest(parents, first).tolist() == expected
    some = np.arange(first[-1])[::3]
    assert earliest(parents, first, some).tolist() == expected[::3]


@pytest.mark.parametrize("n_cycles", range(6))
def test_ancestors_in_few_cycles(n_cycles: int) -> None:
    """Also in one alone, as where only the last one counts."""
    first = 2 * np.arange(n_cycles + 1)
    parents = np.concatenate([[-1, -1], np.arange(2 * n_cycles)])[: 2 * n_cycles]
    assert earliest(parents, first).tolist() == [0, 1] * n_cycles


def test_durations_are_those_of_lineages(tmp_path: Path) -> None:
    """Of each arrival the cycles since its lineage was last in the lower half of the weight, or
    since it began anew, or since the start."""
    place = Place(tmp_path, walk_snapshot(3, n_walkers=20, per_bin=5))
    place.run(2, 20, place.run(1, 25, n_steps=1).end, n_steps=1)
    (chain,) = load_study(place.store).chains
    arrivals, counts = warps_of(chain), np.arange(45) >= 20
    state = initial_state([(arrivals, counts)])
    assert state is not None and state.is_below and state.value == 0.0
    found = trace(arrivals, counts, state)
    lineages = load_lineages(place.store, chain.run)
    progress = load_tables(place.store, chain.run, joined=True).by_walker(state.field)
    assert len(arrivals.cycle) > 30 and found.durations is not None
    for warp in range(len(arrivals.cycle)):
        way = lineages.of_warp(warp)
        inside = np.flatnonzero(progress[way.joined_cycle, way.walker] <= state.value)
        since = way.joined_cycle[inside[-1]] if len(inside) else way.joined_cycle[0] - 1
        assert found.durations[warp] == way.joined_cycle[-1] - since
        whole = lineages.of_warp(warp, through_warps=True)
        origin = -1 if arrivals.cycle[warp] < 20 else whole.walker[20]
        assert found.origins[warp] == origin


def test_red_is_not_told_where_no_progress_tells_it(tmp_path: Path) -> None:
    """As of a chain whose boundary conditions record none."""
    place = Place(tmp_path, walk_snapshot(2))
    place.run(1, 20, n_steps=1)
    (chain,) = load_study(place.store).chains
    bare = SimpleNamespace(tables={"n_walkers": 0})
    assert initial_state([(SimpleNamespace(chain=bare), None)]) is None  # type: ignore[list-item]
    assert load_rates(place.store, burn_in=0).pool.red is not None
    assert chain.n_cycles == 20


def test_who_goes_on_from_a_target_does_not_begin_anew() -> None:
    """Where the record of a warp says that it is continuous."""
    layout = Layout(
        {
            "resampling": RESAMPLING,
            "warping": (*WARPING, RecordField("continuous", (1,), np.dtype(bool))),
        }
    )
    warps = [{"walker_idx": [k], "target_idx": [0], "continuous": [k == 1]} for k in (0, 1)]
    cycles: list[Any] = [{**EMPTY, "warping": warps}, EMPTY]
    tables = tables_of([np.full(4, 0.25)] * 2, cycles, layout=layout)
    chain: Any = SimpleNamespace(tables=tables, run="0", runs=tables.runs, n_cycles=2)
    found = warps_of(chain)
    assert found.rows.tolist() == [0, 1] and found.ended_rows.tolist() == [0]
    assert found.per_cycle().tolist() == [0.5, 0.0]
