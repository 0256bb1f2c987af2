"""What figures hold is what the tables tell."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.conftest import N_CYCLES, N_WALKERS, Made
from wepystore.answers.rates import rates_of
from wepystore.answers.study import load_study
from wepystore.api import RunTables, load_tables
from wepystore.report.figures import convergence, landscape, occupancy, spread, turnover
from wepystore.report.shown import Shown
from wepystore.report.thinning import Stretches, values


@pytest.fixture(scope="module")
def tables(made: Made) -> RunTables:
    return load_tables(made.path, made.runs[0])


@pytest.fixture(scope="module")
def run(tables: RunTables) -> Shown:
    return Shown("a", tables, most_stretches=25)


def test_stretches_hold_every_cycle_once() -> None:
    """At most so many, of one length but for the last; sums and means are of all of them."""
    for n_cycles, most in ((0, 5), (1, 5), (5, 5), (6, 5), (1001, 200)):
        stretches = Stretches(n_cycles, most)
        held = [
            k for a, b in zip(stretches.first, stretches.last, strict=True) for k in range(a, b + 1)
        ]
        assert held == list(range(n_cycles)) and len(stretches) <= most
        assert stretches.sums(np.ones(n_cycles)).sum() == n_cycles
        assert (stretches.means(np.full(n_cycles, 2.0)) == 2.0).all()


def test_columns_are_short_and_hold_no_nan() -> None:
    """Four digits, whole numbers as such, None for what is none."""
    assert values([1.23456, np.nan, np.inf, 3.0, 1e-12]) == [1.235, None, None, 3, 1e-12]
    assert values(np.array([1, 2])) == [1, 2]


def test_weight_in_cells_is_all_there_is(run: Shown) -> None:
    """Summed over the bins of a stretch it is 1 a cycle, as far as two digits of a logarithm go."""
    held = landscape.landscape_of(run, "progress_coordinate", 20)
    cells, stretches = held["cells"], held["stretches"]
    stretch = np.array(cells["cell"]) // landscape.N_BINS
    weight = np.bincount(stretch, 10.0 ** np.array(cells["log_weight"]))
    assert weight == pytest.approx(np.ones(20), rel=0.02)
    n = np.bincount(stretch, np.array(cells["n"], float))
    assert n == pytest.approx(N_WALKERS, rel=0.1)
    assert stretches["last"][-1] == N_CYCLES - 1


def test_weights_are_quantiles_of_each_stretch(run: Shown, tables: RunTables) -> None:
    """Extremes are those of all its cycles."""
    held = spread.weights_of(run)["weights"]
    weights = tables.by_walker("weights")
    for k, (first, last) in enumerate(zip(held["first"], held["last"], strict=True)):
        part = weights[first : last + 1]
        assert held["min"][k] == pytest.approx(part.min(), rel=1e-2)
        assert held["max"][k] == pytest.approx(part.max(), rel=1e-2)
        assert part.min() <= held["lower"][k] * 1.01 and held["median"][k] <= part.max() * 1.01


def test_clones_and_merges_are_those_of_the_records(run: Shown, tables: RunTables) -> None:
    """Their means a cycle, times the cycles, are all that was cloned and merged."""
    held = turnover.turnover_of(run)["turnover"]
    sizes = np.array(held["last"]) - np.array(held["first"]) + 1
    table = tables.table("resampling")
    numbers = tables.recording.decisions
    cloned = (table["target_idxs/lengths"] - 1)[table["decision_id"].ravel() == numbers["CLONE"]]
    assert (np.array(held["clones"]) * sizes).sum() == pytest.approx(cloned.sum(), rel=1e-2)
    merged = (table["decision_id"] == numbers["SQUASH"]).sum()
    assert (np.array(held["merges"]) * sizes).sum() == pytest.approx(merged, rel=1e-2)
    assert cloned.sum() > 0 < merged


def test_every_walker_is_in_a_bin(run: Shown) -> None:
    """Walkers a cycle, summed over the bins, are all that there are."""
    held = occupancy.occupancy_of(run, 20)["cells"]
    stretch = np.array(held["cell"]) // occupancy.MOST_REGIONS
    assert np.bincount(stretch, np.array(held["n"], float)) == pytest.approx(N_WALKERS, rel=0.1)


def test_many_regions_are_shown_by_their_outermost_number() -> None:
    """And if these are still too many, the busiest; no record is lost."""
    assigned = np.array([[k // 30, k % 30] for k in range(90) for _ in range(k % 3 + 1)])
    names, region = occupancy._regions(assigned)
    assert names == ["0", "1", "2"] and np.bincount(region).sum() == len(assigned)
    assigned = np.repeat(np.arange(100), np.arange(1, 101))[:, None]
    names, region = occupancy._regions(assigned)
    assert len(names) == occupancy.MOST_REGIONS and names[-1] == "others" and names[0] == "53"
    assert np.bincount(region)[:-1].tolist() == list(range(54, 101))


def test_the_running_estimate_ends_with_the_rate(made: Made) -> None:
    """Its last point is what the rates are, with the same interval."""
    rates = rates_of(load_study(made.path))
    labels = {run: run[:8] for run in made.runs}
    held = convergence.convergence_of(rates, labels)
    last = {name: column[-1] for name, column in held["running"].items()}
    assert last["cycle"] == N_CYCLES and last["n"] == rates.pool.events
    assert last["flux"] == pytest.approx(rates.pool.flux, rel=1e-3)
    assert rates.pool.interval is not None
    assert (last["low"], last["high"]) == pytest.approx(rates.pool.interval, rel=1e-3)
    assert held["burnt"] == {"first": [0], "last": [N_CYCLES // 2]}
    assert set(held["flux"]["run"]) <= set(labels.values())
