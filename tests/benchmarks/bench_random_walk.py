"""Cycles of 10,000 random walkers, and against a bare numpy walk of the same size.

    python -m tests.benchmarks.bench_random_walk [N_WALKERS]

A cycle is 10 steps of every walker, no boundary conditions, NoResampler, no
reporters, all weights checked (W1-W3). Cycles per second are of the wall clock
and held to 100 at 10,000 walkers. The ratio is of CPU time, measured alternately
in one process: a cycle against the same steps in a loop of numpy calls on one
array, as anybody would write it. Also: what a cycle takes that clones and merges, within bins or
by WExplore, held to 25 ms of the processor at 10,000 walkers.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Run as a script, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    Ensemble,
    NoResampler,
    PositionCoordinate,
    RandomWalkRunner,
    Resampler,
    SerialMapper,
    WExploreResampler,
)
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams

N_WALKERS = 10_000
N_STEPS = 10
#: The fewest cycles per second, and the most times that a cycle may take as long as the bare walk.
LEAST_CYCLES = 100.0
RATIO_LIMIT = 2.5
#: Milliseconds of a cycle that clones and merges, at 10,000 walkers.
MOST_MS = 25.0


@dataclass(frozen=True)
class Found:
    """Cycles per second (wall clock), and a cycle's CPU time over that of the bare walk."""

    cycles: float
    ratio: float


def bare_walk(places: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The same steps, without weights, time or anything around them."""
    for _ in range(N_STEPS):
        up = draw.random(places.shape) < 0.25
        places = np.maximum(places + np.where(up, 1.0, -1.0), 0.0)
    return places


def walkers_at_zero(n_walkers: int) -> Ensemble:
    """All at the origin, of equal weight."""
    return Ensemble(
        np.full(n_walkers, 1 / n_walkers),
        {"positions": np.zeros((n_walkers, 1, 1)), "time": np.zeros(n_walkers)},
    )


def driven(walkers: Ensemble, resampler: Resampler) -> CycleManager:
    """A manager of the walk without boundary conditions."""
    made = CycleManager(
        init_walkers=walkers,
        runner=RandomWalkRunner(),
        boundary_conditions=None,
        resampler=resampler,
        work_mapper=SerialMapper(),
        streams=Streams(1),
    )
    made.init()
    return made


def measure_resampling(resampler: Resampler, n_walkers: int, repeats: int = 20) -> float:
    """Milliseconds of the processor that a cycle takes, median; the first ones move few walkers."""
    current: object = walkers_at_zero(n_walkers)
    manager = driven(current, resampler)  # type: ignore[arg-type]
    taken = []
    for number in range(repeats + 3):
        begun = time.process_time()
        current = manager.run_cycle(current, N_STEPS, number).walkers  # type: ignore[arg-type]
        taken.append(time.process_time() - begun)
    manager.cleanup()
    return statistics.median(taken[3:]) * 1e3


def measure(n_walkers: int = N_WALKERS, repeats: int = 200) -> Found:
    """Medians over `repeats` cycles."""
    walkers = walkers_at_zero(n_walkers)
    manager = driven(walkers, NoResampler())
    places, draw = np.zeros((n_walkers, 1, 1)), np.random.default_rng(1)
    current: object = walkers
    walls, cycles, bare = [], [], []
    for number in range(repeats + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        current = manager.run_cycle(current, N_STEPS, number).walkers  # type: ignore[arg-type]
        between, walked = time.process_time(), time.perf_counter()
        places = bare_walk(places, draw)
        if number:  # The first fills caches.
            walls.append(walked - wall)
            cycles.append(between - cpu)
            bare.append(time.process_time() - between)
    manager.cleanup()
    return Found(1 / statistics.median(walls), statistics.median(cycles) / statistics.median(bare))


def rows(arguments: list[str]) -> Iterator[Row]:
    """Cycles alone, then with resamplers."""
    n_walkers = int(arguments[0]) if arguments else N_WALKERS
    found = measure(n_walkers)
    size = f"{n_walkers} walkers x {N_STEPS} steps"
    yield Row(size, found.cycles, "cycles/s", least=LEAST_CYCLES)
    yield Row(f"{size}, processor", found.ratio, "x a bare numpy walk", most=RATIO_LIMIT)
    place = PositionCoordinate()
    for resampler in (
        BinResampler(place, [0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5]),
        WExploreResampler(CoordinateDistance(place), (10, 10), (4.0, 2.0)),
    ):
        taken = measure_resampling(resampler, n_walkers)
        yield Row(f"a cycle with {type(resampler).__name__}", taken, "ms", most=MOST_MS)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
