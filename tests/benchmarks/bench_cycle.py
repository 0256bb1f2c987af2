"""A cycle of 48 Lennard-Jones pairs against bare OpenMM steps of the same total number.

    python -m tests.benchmarks.bench_cycle [N_STEPS…]

A cycle is dynamics, boundary conditions and WExplore, without reporters, on the
Reference platform, every segment seeded (reproducible). The other side is one
call of step(48 · N_STEPS) in one context. Both are measured alternately in one
process; medians are compared. It is the process's CPU time that is measured: all is
done in one thread and nothing waits, so it is what an idle machine's clock would say,
whatever else this one does.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openmm

# Run as a script, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.table import Misused, Row
from tests.systems import langevin, pair_runner, pair_state, pair_system
from wepystore.api import PairDistance, SerialMapper, UnbindingBC, Walker, WExploreResampler
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams

N_WALKERS = 48
#: Steps in a segment -> the most times that a cycle may take as long as its bare steps.
LIMITS = {10: 10.0, 1000: 1.2, 10_000: 1.2}
#: Steps in a segment -> how often each side is measured.
REPEATS = {10: 60, 1000: 15, 10_000: 5}


def bare_context() -> openmm.Context:
    """One pair, started as the walkers are."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(pair_system(), langevin(), platform)
    context.setPositions(pair_state()["positions"])
    context.setVelocities(pair_state()["velocities"])
    return context


def manager() -> CycleManager:
    """The tutorial's apparatus with 48 walkers."""
    start = pair_state()
    return CycleManager(
        init_walkers=[Walker(start, 1 / N_WALKERS) for _ in range(N_WALKERS)],
        runner=pair_runner(),
        boundary_conditions=UnbindingBC(1.0, [start], [0], [1], periodic=False),
        resampler=WExploreResampler(
            PairDistance(0, 1, periodic=False),
            max_n_regions=(10, 10, 10, 10),
            max_region_sizes=(1.0, 0.5, 0.35, 0.25),
            pmax=0.5,
        ),
        work_mapper=SerialMapper(),
        streams=Streams(1),
    )


def measure(n_steps: int, repeats: int | None = None) -> float:
    """How many times as long as its bare steps a cycle of `n_steps` takes."""
    context, made = bare_context(), manager()
    made.init()
    walkers = list(made.init_walkers)
    bare, cycles = [], []
    for number in range((repeats or REPEATS.get(n_steps, 10)) + 1):
        begun = time.process_time()
        context.getIntegrator().step(N_WALKERS * n_steps)
        between = time.process_time()
        walkers = made.run_cycle(walkers, n_steps, number).walkers
        ended = time.process_time()
        if number:  # The first of each makes contexts and fills caches.
            bare.append(between - begun)
            cycles.append(ended - between)
    made.cleanup()
    return statistics.median(cycles) / statistics.median(bare)


def rows(arguments: list[str]) -> Iterator[Row]:
    """One for each number of steps."""
    try:
        numbers = [int(word) for word in arguments] or list(LIMITS)
    except ValueError as error:
        raise Misused(error) from None
    for n_steps in numbers:
        limit = LIMITS.get(n_steps)
        yield Row(f"{n_steps} steps a cycle", measure(n_steps), "x bare OpenMM", most=limit)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
