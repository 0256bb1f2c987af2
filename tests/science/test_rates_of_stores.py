"""Mean first-passage times that can be computed come out of stores, by way of load_rates.

Runs with seeds of their own are reconciled into one store, and asked as users ask. A rate is right
if the exact one is within three standard errors of it, as far as the spread between these runs is
known (Student's t); and no rate passes for being uncertain. The figures are printed (pytest -s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.answers.studies import Place
from tests.science.estimate import BOUND, normal_equivalent
from tests.science.reference import Pair
from tests.science.test_double_well import POSITION, Passage, edges, even_resampler
from tests.science.test_lj_pair import DISTANCE, EDGES_NM, N_STEPS, STEP_PS, TARGET_NM
from tests.science.test_lj_pair import runner as pair_runner
from wepystore.answers.rates import Rate, load_rates
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    DoubleWell,
    ImageCoordinate,
    OverdampedLangevinRunner,
    RandomWalkRunner,
    RandomWalkTargetBC,
    Recording,
    SerialMapper,
    Snapshot,
    TargetBC,
    UnbindingBC,
    Walker,
    as_walker_state,
)
from wepystore.estimates.students import t_quantile

#: Of the interval's ends; beyond it a set-up is too small, whatever comes out.
WIDEST = 2.5


@dataclass(frozen=True)
class Case:
    """A passage whose mean time is known, in `unit`."""

    name: str
    exact: float
    unit: str
    n_steps: int
    n_walkers: int
    n_cycles: int
    burn_in: int
    n_runs: int = 8

    def __str__(self) -> str:
        return self.name


def rate_of(folder: Path, case: Case, apparatus: Apparatus, start: Any) -> Rate:
    """Of runs of their own seeds, brought into one store."""
    walkers = [Walker(start, 1 / case.n_walkers) for _ in range(case.n_walkers)]
    quiet = Configuration(SerialMapper(), recording=Recording([]))
    place = Place(folder, Snapshot(walkers, apparatus), quiet)
    place.runs(range(1, case.n_runs + 1), case.n_cycles, n_steps=case.n_steps)
    return load_rates(place.store, burn_in=case.burn_in, unit=case.unit).pool


def is_right(case: Case, rate: Rate) -> bool:
    """Whether the exact time is within chance, and the interval tells something."""
    assert rate.mfpt and rate.mfpt_interval and rate.n_units == case.n_runs and not rate.within
    low, high = rate.mfpt_interval
    degrees = case.n_runs - 1
    error = math.log(high / low) / 2 / t_quantile(0.975, degrees)
    sigmas = normal_equivalent(math.log(rate.mfpt / case.exact) / error, degrees)
    print(
        f"figure: wepy rates, {case}: {rate.mfpt:.5g} ({low:.5g} to {high:.5g}) {case.unit}, "
        f"exact {case.exact:.6g}, {sigmas:+.2f} sigma, {case.n_runs} runs, {rate.events} events"
    )
    return abs(sigmas) < BOUND and high / low < WIDEST


def walk(target: int, n_steps: int, exact: float, *sizes: int) -> Case:
    return Case(f"walk to {target}, every {n_steps}", exact, "cycles", n_steps, *sizes)


#: p(up) = 0.25; times in looks.
WALK = walk(5, 10, 269.30853, 60, 60, 15, 5)
LONG_WALKS = [
    walk(5, 1, 716.0, 60, 180, 60),
    walk(8, 10, 7308.4314, 240, 300, 30),
    walk(10, 10, 65792.353, 2000, 120, 40),
    walk(10, 1, 177124.0, 120, 600, 150),
]


def slow(cases: Sequence[Any]) -> list[Any]:
    return [pytest.param(each, marks=pytest.mark.slow, id=str(each)) for each in cases]


@pytest.mark.parametrize("case", [WALK, *slow(LONG_WALKS)], ids=str)
def test_walk(case: Case, tmp_path: Path) -> None:
    """From 0 up a line that leads down."""
    target = int(case.name.split()[2].rstrip(","))
    runner = RandomWalkRunner(probability=0.25)
    start = runner.initial_state()
    bins = BinResampler(POSITION, [k + 0.5 for k in range(target - 1)], pmax=0.2)
    apparatus = Apparatus(runner, RandomWalkTargetBC(target, [start]), bins)
    assert is_right(case, rate_of(tmp_path, case, apparatus, start))


def well(height: float, n_steps: int, exact: float, *sizes: int) -> Case:
    return Case(f"double well {height:g}, every {n_steps}", exact, "ps", n_steps, *sizes)


#: From one well to the other, in units of time.
WELLS = [
    well(3, 1, 8.8760, 60, 1400, 600),
    well(3, 10, 8.9343, 60, 260, 90),
    well(3, 50, 9.0843, 60, 80, 25, 10),
    well(5, 1, 36.306, 80, 1600, 800),
    well(5, 10, 36.351, 80, 260, 90),
    well(5, 50, 36.486, 160, 120, 20, 10),
    well(7, 1, 184.37, 200, 1600, 700),
    well(7, 10, 184.41, 400, 260, 80),
    well(7, 50, 184.54, 400, 90, 20, 10),
    well(10, 1, 2521.8, 400, 1000, 350),
    well(10, 10, 2521.85, 400, 260, 70, 16),
    well(10, 50, 2521.97, 2000, 100, 20),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", WELLS, ids=str)
def test_double_well(case: Case, tmp_path: Path) -> None:
    """From -1 to 1 over a barrier of h kT."""
    height = float(case.name.split()[2].rstrip(","))
    runner = OverdampedLangevinRunner(DoubleWell(height), diffusion=1.0, dt=1e-3, beta=1.0)
    start = runner.initial_state(-1.0)
    if height < 7:
        bins = BinResampler(POSITION, edges(height), pmax=0.1)
    else:
        passage = Passage(height, case.n_steps, 0, 0, 0)
        bins = even_resampler("bins", passage.even_coordinate())()
    apparatus = Apparatus(runner, TargetBC(POSITION, [start], threshold=1.0), bins)
    assert is_right(case, rate_of(tmp_path, case, apparatus, start))


#: kJ/mol -> ps, looked at all the time; n_walkers, n_cycles, burn_in.
PAIRS = {
    5.0: (1.671, 48, 500, 250),
    10.0: (4.432, 48, 500, 200),
    15.0: (17.81, 48, 500, 200),
    20.0: (90.71, 60, 600, 200),
}


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", PAIRS)
def test_lj_pair(epsilon: float, tmp_path: Path) -> None:
    """From r_min to 1 nm in OpenMM: the exact time is that of the steps and looks that were made,
    some percent more than if it were looked at all the time."""
    continuous, *sizes = PAIRS[epsilon]
    pair = Pair(epsilon)
    exact = pair.chain(STEP_PS, TARGET_NM).every(N_STEPS).mfpt(TARGET_NM) * N_STEPS * STEP_PS
    assert 1 < exact / continuous < 1.1
    n_walkers, n_cycles, burn_in = map(int, sizes)
    case = Case(f"LJ pair {epsilon:g}", exact, "ps", N_STEPS, n_walkers, n_cycles, burn_in)
    start = as_walker_state([[0.0, 0.0, 0.0], [pair.r_min, 0.0, 0.0]])
    apparatus = Apparatus(
        pair_runner(pair),
        UnbindingBC(TARGET_NM, [start], [0], [1], periodic=False),
        BinResampler(ImageCoordinate(DISTANCE), edges=EDGES_NM, pmax=0.1),
    )
    assert is_right(case, rate_of(tmp_path, case, apparatus, start))
