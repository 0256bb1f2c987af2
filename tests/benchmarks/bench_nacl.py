"""Sodium and chloride in water (fixtures/nacl): what a run costs besides its steps.

    python -m tests.benchmarks.bench_nacl [--long | --workers]

1,463 atoms, CPU platform, one thread, 10 walkers, all reporters, a checkpoint every
5 cycles, through the `run` use case. Time inside OpenMM's step() is the bare time;
everything else, from the moment the run is asked for until its end hash is known, is
overhead. Overhead does not depend on the number of steps, so segments have 20 steps, and it is
divided by what 500 would take; with `--long` they have 500.

`--workers` measures instead how much faster two workers are than one, and how long they
take to start. It needs two cores that nothing else uses.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm

from tests.benchmarks import table
from tests.benchmarks.table import Lacking, Misused, Row
from tests.systems import REPOSITORY, run_job
from wepystore.api import (
    Apparatus,
    Configuration,
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    OpenMMRunner,
    PairDistance,
    ProcessMapper,
    SerialMapper,
    Snapshot,
    UnbindingBC,
    Walker,
    WalkerReporter,
    WalkerState,
    WExploreResampler,
    as_walker_state,
    prepare_store,
)

LEFT_OUT = {
    "--long": "four minutes of segments of 500 steps",
    "--workers": "two minutes; needs two cores that nothing else uses",
}

N_WALKERS = 10
N_STEPS = 500
N_CYCLES = 5
#: Overhead of a cycle of 500 steps, of the time its steps take.
OVERHEAD_LIMIT = 0.03
#: How many times as fast two workers on two cores are.
SPEEDUP_LIMIT = 1.8
STARTUP_LIMIT_S = 2.0


def example() -> Any:
    """The script that makes the example, as a module."""
    path = REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py"
    spec = importlib.util.spec_from_file_location("nacl_make_orchestrator", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start() -> tuple[Apparatus, WalkerState]:
    """The example's apparatus, and a state that is only minimised: it is as costly to propagate."""
    nacl = example()
    topology, positions = nacl.solvated_pair()
    system = nacl.make_system(topology)
    # OpenMM fixes the number of PME threads at a process's first PME on the CPU platform, so
    # this context would otherwise decide it for every run that this process does later.
    os.environ["OPENMM_CPU_THREADS"] = "1"
    context = openmm.Context(
        system,
        nacl.make_integrator(1),
        openmm.Platform.getPlatformByName(nacl.PLATFORM),
        nacl.PROPERTIES,
    )
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=30)
    context.setVelocitiesToTemperature(nacl.TEMPERATURE, 3)
    found = context.getState(positions=True, velocities=True)
    state = as_walker_state(
        found.getPositions(asNumpy=True),
        found.getPeriodicBoxVectors(asNumpy=True),
        found.getVelocities(asNumpy=True),
    )
    apparatus = Apparatus(
        OpenMMRunner(
            system,
            topology,
            nacl.make_integrator(0),
            platform=nacl.PLATFORM,
            platform_properties=nacl.PROPERTIES,
        ),
        UnbindingBC(nacl.UNBOUND_NM, [state], ligand_idxs=[0], receptor_idxs=[1]),
        WExploreResampler(
            PairDistance(0, 1),
            max_n_regions=(10, 10, 10),
            max_region_sizes=(0.2, 0.1, 0.05),
            pmax=0.25,
        ),
    )
    return apparatus, state


@dataclass
class StepClock:
    """Seconds spent inside step(), and the number of steps."""

    seconds: float = 0.0
    steps: int = 0


@contextmanager
def timed_steps() -> Iterator[StepClock]:
    """Time every step() of the example's integrator in this process."""
    clock = StepClock()
    bare = openmm.LangevinMiddleIntegrator.step

    def step(self: Any, number: int) -> None:
        begun = time.perf_counter()
        bare(self, number)
        clock.seconds += time.perf_counter() - begun
        clock.steps += number

    openmm.LangevinMiddleIntegrator.step = step
    try:
        yield clock
    finally:
        openmm.LangevinMiddleIntegrator.step = bare


@dataclass(frozen=True)
class Overhead:
    """What was measured, s."""

    whole: float
    bare: float
    n_steps_taken: int
    n_cycles: int

    @property
    def ratio(self) -> float:
        """Overhead of a cycle, of the time that its 500 steps a walker take."""
        a_step = self.bare / self.n_steps_taken
        a_cycle = (self.whole - self.bare) / self.n_cycles
        return a_cycle / (a_step * N_STEPS * N_WALKERS)


def overhead(
    folder: Path, n_steps: int = N_STEPS, n_cycles: int = N_CYCLES, made: Any = None
) -> Overhead:
    """Run the example for so many cycles; start-up, contexts and the last checkpoint included."""
    apparatus, state = made or start()
    snapshot = Snapshot([Walker(state, 1 / N_WALKERS) for _ in range(N_WALKERS)], apparatus)
    reporters = [
        HDF5Reporter(),
        DashboardReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
        FamilyTreeReporter(),
    ]
    store = prepare_store(
        folder / "nacl.orch", snapshot, Configuration(SerialMapper(), reporters=reporters)
    )
    with timed_steps() as clock:
        begun = time.perf_counter()
        run_job(
            store.store,
            store.snapshot_hash,
            folder / "job",
            n_steps=n_steps,
            n_cycles=n_cycles,
            checkpoint_freq=5,
        )
        whole = time.perf_counter() - begun
    assert clock.steps >= n_steps * n_cycles * N_WALKERS
    return Overhead(whole, clock.seconds, clock.steps, n_cycles)


def segments(mapper: Any, walkers: list[Walker], n_steps: int, cycle_idx: int) -> float:
    """Seconds that one map takes."""
    begun = time.perf_counter()
    mapper.map(
        walkers,
        itertools.repeat(n_steps, len(walkers)),
        cycle_idx=itertools.repeat(cycle_idx, len(walkers)),
        walker_idx=range(len(walkers)),
        seed=range(1, len(walkers) + 1),
    )
    return time.perf_counter() - begun


def speedup(n_steps: int = 100, rounds: int = 3) -> tuple[float, float]:
    """(how many times as fast two workers are as one, s until two workers have run a step)."""
    apparatus, state = start()
    walkers = [Walker(state, 1 / N_WALKERS) for _ in range(N_WALKERS)]
    mappers: list[Any] = []
    begun = time.perf_counter()
    for number in (2, 1):
        mapper = ProcessMapper(number)
        mapper.init(segment_func=apparatus.runner.run_segment)
        segments(mapper, walkers[:number], 1, 0)
        mappers.append(mapper)
        if number == 2:
            startup = time.perf_counter() - begun
    try:
        for mapper in mappers:
            segments(mapper, walkers, 10, 0)
        taken = [
            [segments(mapper, walkers, n_steps, cycle) for mapper in mappers]
            for cycle in range(rounds)
        ]
    finally:
        for mapper in mappers:
            mapper.cleanup()
    return statistics.median(one / two for two, one in taken), startup


def rows(arguments: list[str]) -> Iterator[Row]:
    """Overhead; or with --workers the gain of two, and how long they take to start."""
    if set(arguments) - {"--long", "--workers"}:
        raise Misused(f"{' '.join(arguments)}: --long and --workers are all there is")
    if "--workers" in arguments:
        if len(os.sched_getaffinity(0)) < 2:
            raise Lacking("two cores")
        faster, startup = speedup(N_STEPS)
        yield Row("two workers, 500 steps", faster, "x one worker", least=SPEEDUP_LIMIT)
        yield Row("two workers' first step after", startup, "s", most=STARTUP_LIMIT_S)
        return
    n_steps = N_STEPS if "--long" in arguments else 20
    with tempfile.TemporaryDirectory() as folder:
        found = overhead(Path(folder), n_steps)
    yield Row(
        f"besides the steps, cycles of {n_steps} steps",
        found.ratio * 100,
        f"% of {N_STEPS} steps",
        most=OVERHEAD_LIMIT * 100,
        detail=f"{found.whole - found.bare:.2f} s besides {found.bare:.1f} s in step(); "
        f"{found.n_steps_taken / found.bare:.0f} steps/s",
    )


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
