"""Rates of stores: what counts, what it comes to, and what is said where nothing can be (A1-A3)."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.science.reference import random_walk
from tests.systems import pair_apparatus, pair_snapshot, pair_state, save_run
from wepystore.answers.arrivals import warps_of
from wepystore.answers.errors import (
    NoRateError,
    UnknownTimeError,
    UnusableWeightsError,
    WindowError,
)
from wepystore.answers.lineages import load_lineages
from wepystore.answers.rates import Rates, load_rates
from wepystore.answers.rating import Part, groups_of
from wepystore.answers.study import load_study
from wepystore.api import UnbindingBC, load_run, load_tables
from wepystore.records import npy
from wepystore.records.recording import encode_recording
from wepystore.records.sinks import Remembering

SEEDS = (1, 2, 3, 4)
N_CYCLES = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Four runs of a walk to 2 and back to 0. Only read it."""
    found = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(2, n_walkers=16, per_bin=6))
    found.runs(SEEDS, N_CYCLES, n_steps=2)
    return found


@pytest.fixture(scope="module")
def rates(place: Place) -> Rates:
    return load_rates(place.store)


def by_hand(place: Place, run: str, first: int, stop: int) -> tuple[float, list[float]]:
    """The rate of a run in 1/steps from its columns as anybody reads them; what arrived."""
    tables = load_tables(place.store, run)
    cycle = tables["warping/cycle_idx"]
    weights = tables["warping/weight"].ravel()[(cycle >= first) & (cycle < stop)]
    return float(weights.sum() / (2 * (stop - first))), weights.tolist()


def test_a_rate_is_weight_over_time(place: Place, rates: Rates) -> None:
    """Of each run and of all, in the last half of each: as its columns say, to the last digit."""
    fluxes = []
    for row in (row for row in rates.rows if row.of == "unit"):
        flux, weights = by_hand(place, row.runs[0], 30, 60)
        assert row.flux == pytest.approx(flux, rel=1e-12)
        assert (row.events, row.n_cycles, row.time) == (len(weights), 30, 60.0)
        assert row.effective_events == pytest.approx(sum(weights) ** 2 / sum(w**2 for w in weights))
        assert row.heaviest == pytest.approx(max(weights) / sum(weights))
        assert row.mfpt == 1 / row.flux and row.window == (30, 59) and row.within
        fluxes.append(flux)
    pool = rates.pool
    assert (pool.of, pool.n_units, pool.unit, pool.within) == ("pool", 4, "steps", False)
    assert pool.flux == pytest.approx(np.mean(fluxes))
    assert pool.interval and pool.mfpt_interval and pool.mfpt
    factor = math.exp(3.182446305 * np.std(fluxes, ddof=1) / 2 / np.mean(fluxes))
    assert pool.interval == pytest.approx((pool.flux / factor, pool.flux * factor))
    assert pool.mfpt_interval == pytest.approx((pool.mfpt / factor, pool.mfpt * factor))
    assert rates.rows[0] is pool and len(rates.rows) == 5


def test_the_exact_time_is_within_the_interval(rates: Rates) -> None:
    """Of the walk, looked at every second step; RED tells the same, and nothing is said to rise."""
    exact = 2 * random_walk(0.25).every(2).mfpt(2)
    low, high = rates.pool.mfpt_interval or (0, 0)
    assert low < exact < high and high / low < 3
    assert rates.pool.red == pytest.approx(1 / exact, rel=0.3)
    assert rates.pool.stationary is not False and not rates.pool.lower_bound


@pytest.mark.parametrize(
    ("options", "first", "stop"),
    [
        ({"burn_in": 0}, 0, 60),
        ({"burn_in": 50}, 50, 60),
        ({"window": (10, 20)}, 10, 20),
        ({"window": (-20, None)}, 40, 60),
        ({"window": (None, 6)}, 0, 6),
        ({"window": (40, 900)}, 40, 60),
    ],
)
def test_windows(place: Place, options: Any, first: int, stop: int) -> None:
    """Which cycles count, as of a slice, or all but the first."""
    found = load_rates(place.store, **options)
    expected = [by_hand(place, run, first, stop) for run in found.pool.runs]
    assert found.pool.flux == pytest.approx(np.mean([flux for flux, _ in expected]))
    assert found.pool.events == sum(len(weights) for _, weights in expected)
    assert found.pool.window == (first, stop - 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"burn_in": 60}, "a burn-in of 60 cycles leaves nothing of run"),
        ({"burn_in": 61}, "which has 60 cycles"),
        ({"window": (20, 20)}, "the window 20:20 leaves nothing"),
        ({"window": (70, 80)}, "the window 70:80 leaves nothing"),
    ],
)
def test_a_window_of_nothing_is_refused(place: Place, options: Any, said: str) -> None:
    """It is no rate of 0."""
    with pytest.raises(WindowError) as caught:
        load_rates(place.store, **options)
    assert said in str(caught.value)


def test_units_of_time(place: Place, rates: Rates) -> None:
    """Cycles and steps are known of a walk, picoseconds are not."""
    assert rates.pool.flux
    found = load_rates(place.store, unit="cycles").pool
    assert found.flux == pytest.approx(2 * rates.pool.flux) and found.unit == "cycles"
    with pytest.raises(UnknownTimeError, match="times are not known in ns: how long a step is"):
        load_rates(place.store, unit="ns")
    with pytest.raises(UnknownTimeError, match="the units are ps, ns"):
        load_rates(place.store, unit="min")


def test_times_of_molecules(tmp_path: Path) -> None:
    """Where the length of a step is known rates are in 1/ps, or what is asked for."""
    near = UnbindingBC(0.4, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False)
    apparatus = pair_apparatus(boundary_conditions=near)
    place = Place(tmp_path, pair_snapshot(apparatus=apparatus))
    run = place.run(1, 20, n_steps=30).record
    found = load_rates(place.store, burn_in=0)
    tables = load_tables(place.store, run)
    assert found.pool.time == pytest.approx(20 * 30 * 0.002) and found.unit == "ps"
    assert found.pool.flux == pytest.approx(tables["warping/weight"].sum() / (20 * 30 * 0.002))
    slow = load_rates(place.store, burn_in=0, unit="us").pool
    assert slow.flux == pytest.approx(found.pool.flux * 1e6)
    assert slow.mfpt == pytest.approx(1e-6 * found.pool.mfpt)


def test_every_arrival_is_named_as_lineages_know_it(place: Place, rates: Rates) -> None:
    """K, run, cycle, walker and weight are those of `get lineage --warp K`; and where all of them
    come from is what their lineages say, one by one."""
    events = list(rates.events)
    assert len(events) == rates.pool.events > 50
    origins = set()
    for event in events:
        lineages = load_lineages(place.store, event.lineage_of)
        lineage = lineages.of_warp(event.warp)
        assert lineage.runs[lineage.run[-1]] == event.run
        assert lineage.cycle[-1] == event.cycle >= 30 and lineage.walker[-1] == event.walker
        assert lineage.weight[-1] == event.weight and lineage.target == event.target == 0
        whole = lineages.of_warp(event.warp, through_warps=True)
        origins.add((event.run, int(whole.walker[30])))
    assert rates.pool.ancestors == len(origins) > 4
    assert load_rates(place.store, traced=False).pool.ancestors is None


def test_a_chain_is_one_unit_and_each_run_has_a_line(tmp_path: Path) -> None:
    """Of a run and its continuation the last half is counted through; a branch counts what is its
    own, once."""
    place = Place(tmp_path, walk_snapshot(2, n_walkers=16, per_bin=6))
    trunk = place.run(1, 20, n_steps=2)
    long, short = (place.run(seed, n, trunk.end, n_steps=2) for seed, n in ((7, 40), (8, 12)))
    found = load_rates(place.store)
    rows = {(row.of, row.runs[-1]): row for row in found.rows}
    assert [row.of for row in found.rows].count("unit") == 0
    assert rows["chain", long.record].window == (30, 59)
    assert rows["run", long.record].events == rows["chain", long.record].events
    assert rows["chain", short.record].window == (20, 31)
    assert found.pool.n_units == 1 and found.pool.within
    assert found.pool.n_cycles == 30 + 12
    everything = load_rates(place.store, burn_in=0)
    assert everything.pool.n_cycles == 20 + 40 + 12
    runs = [trunk.record, long.record, short.record]
    weights = sum(float(load_tables(place.store, run)["warping/weight"].sum()) for run in runs)
    assert everything.pool.flux == pytest.approx(weights / (72 * 2))
    assert (
        everything.pool.ancestors
        == len({(event.lineage_of, w) for event in everything.events for w in _first(place, event)})
        or everything.pool.ancestors <= 16
    )


def _first(place: Place, event: Any) -> list[int]:
    lineages = load_lineages(place.store, event.lineage_of)
    return [int(lineages.of_warp(event.warp, through_warps=True).walker[0])]


def test_a_run_that_never_arrives_counts_as_nothing(tmp_path: Path) -> None:
    """It makes the pooled rate smaller and the interval wider; it has no estimate of its own."""
    place = Place(tmp_path, walk_snapshot(4, n_walkers=8, per_bin=2))
    place.runs(range(1, 7), 8)
    found = load_rates(place.store, burn_in=0)
    silent = [row for row in found.rows if row.of == "unit" and not row.events]
    assert 0 < len(silent) < 6
    for row in silent:
        nothing = (row.flux, row.interval, row.mfpt, row.mfpt_interval, row.stationary)
        assert nothing == (None,) * 5 and row.reason == "no event"
    fluxes = [row.flux or 0.0 for row in found.rows[1:]]
    assert found.pool.flux == pytest.approx(np.mean(fluxes)) and found.pool.n_units == 6


def test_no_event_is_no_estimate(tmp_path: Path) -> None:
    """Nothing arrived, or nothing can: it is said, and there is no number."""
    place = Place(tmp_path, walk_snapshot(30))
    place.runs((1, 2), 4)
    with pytest.raises(NoRateError, match=r"no walker was warped in the 4 cycles of 2 independent"):
        load_rates(place.store)
    free = Place(tmp_path / "free", walk_snapshot(None))
    free.runs((1,), 4)
    with pytest.raises(NoRateError, match=r"the 2 cycles of one run that count \(the last half"):
        load_rates(free.store)


@pytest.mark.parametrize("wrong", [math.nan, -0.125, 0.5, math.inf])
def test_weights_that_are_none_are_refused(tmp_path: Path, wrong: float) -> None:
    """Whoever wrote them: which run and cycle is said, and no rate comes of it."""
    place = Place(tmp_path)
    run = place.run(1, 6).record
    store = place.store
    (chain,) = load_study(store).chains
    columns = {name: chain.tables[name].copy() for name in chain.tables}
    columns["weights"][2 * 8 + 1] = wrong
    recording = chain.recorded[0].recording
    with store.batch() as batch:
        sink = Remembering(batch, {})
        buffers = [b for column in columns.values() for b in npy.buffers(column)]
        part = replace(recording.tables[0], ref=sink.put("objects", buffers))
        entry = encode_recording(replace(recording, tables=(part,)), sink)
    forged = save_run(store, replace(load_run(store, run), recording=entry))
    with pytest.raises(
        UnusableWeightsError, match=rf"cycle 2 of run {forged} are no probabilities"
    ):
        load_rates(store, [forged])


def test_several_targets(tmp_path: Path) -> None:
    """All together, and each; of one of several the time of first passage is not its inverse."""
    place = Place(tmp_path, two_targets())
    place.runs((1, 2, 3), 30)
    found = load_rates(place.store)
    whole, *each = (row for row in found.rows if row.of == "pool")
    assert [row.target for row in each] == [0, 1] and whole.target is None
    assert sum(row.flux or 0 for row in each) == pytest.approx(whole.flux)
    assert sum(row.events for row in each) == whole.events
    assert whole.mfpt and all(row.mfpt is row.mfpt_interval is None for row in each)
    assert {event.target for event in found.events} == {0, 1}


def two_targets() -> Any:
    """Warped walkers begin anew from one of two states."""
    from wepystore.api import Apparatus, RandomWalkTargetBC, Snapshot

    made = walk_snapshot(2)
    start = made.walkers[0].state
    boundary = RandomWalkTargetBC(2, [start, made.apparatus.runner.initial_state()])
    parts = made.apparatus
    return Snapshot(list(made.walkers), Apparatus(parts.runner, boundary, parts.resampler))


def test_they_show_themselves(rates: Rates) -> None:
    """In an interpreter and in a notebook."""
    assert repr(rates).startswith("<Rates: 0.") and "4 units" in repr(rates)
    html = rates._repr_html_()
    assert html.count("<tr>") == 6 and rates.pool.runs[0][:8] in html
    assert len(warps_of(next(rates.study.chains)).per_cycle()) == N_CYCLES


def test_a_chain_of_which_nothing_counts_has_no_row(place: Place) -> None:
    """All of it that is in the window may stand in a chain before it."""
    chain, other, *_ = load_study(place.store).chains
    counts = np.ones(chain.n_cycles, bool)
    unit = [Part(warps_of(chain), counts), Part(warps_of(other), ~counts)]
    assert [group.of for group in groups_of([unit])] == ["pool", "chain"]


@pytest.mark.parametrize("n", [1, 2])
def test_the_last_cycles_alone(place: Place, n: int) -> None:
    """A number, or a line that there is none."""
    try:
        found = load_rates(place.store, burn_in=N_CYCLES - n)
    except NoRateError:
        pytest.fail("this store has arrivals in its last cycles")
    assert found.pool.n_cycles == n * len(SEEDS) and found.pool.flux is not None
