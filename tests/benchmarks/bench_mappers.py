"""What spreading segments over workers costs, and from which segment on it pays.

    python -m tests.benchmarks.bench_mappers [N_STEPS…]

Start-up: from `init` of two workers to the first answer, against `python -c "import openmm"` alone.
Then 48 Lennard-Jones pairs on the Reference platform: `map` of the serial mapper against two worker
processes, and two workers of a dask cluster on this host, in turns; medians. What two cores that
nothing else uses would give follows from processor time: a segment takes the time of the serial one
there, and of the parent and one of two workers here, all of them on two cores. By that account two
processes must not be slower than one from 1000 steps on.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Run as a script, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.table import Misused, Row
from tests.clusters import cluster
from tests.systems import bits, pair_runner, pair_state
from wepystore.api import DaskMapper, ProcessMapper, SerialMapper, Walker

N_WALKERS = 48
STEPS = (10, 100, 300, 1000, 3000, 10_000)
#: Start-up of two workers, which share the cores, against one bare import of OpenMM.
START_LIMIT = 4.0


def started(mapper: Any) -> float:
    """Seconds from `init` to the first answer."""
    walkers = [Walker(pair_state(), 0.5) for _ in range(2)]
    begun = time.perf_counter()
    mapper.init(pair_runner().run_segment)
    mapper.map(walkers, [1] * 2, seed=[1, 2])
    return time.perf_counter() - begun


def measure_start() -> tuple[float, float]:
    """Seconds of start-up, and how many times as long as importing OpenMM that is."""
    times, imports = [], []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import openmm"], check=True)
        imports.append(time.perf_counter() - begun)
        mapper = ProcessMapper(2)
        times.append(started(mapper))
        mapper.cleanup()
    return min(times), min(times) / min(imports)


def cpu_seconds(mapper: Any) -> tuple[float, float]:
    """Processor time of this process, and of a ProcessMapper's workers."""
    workers = mapper._workers if isinstance(mapper, ProcessMapper) else ()
    # A process's clock is named by its id (clock_getcpuclockid of POSIX, as Linux numbers them).
    clocks = [(~worker.pid << 3) | 2 for worker in workers]
    return time.process_time(), sum(map(time.clock_gettime, clocks))


def measure(mappers: dict[str, Any], n_steps: int, repeats: int = 15) -> dict[str, float]:
    """Median seconds of `map`, by mapper; they take turns."""
    walkers = [Walker(pair_state(), 1 / N_WALKERS) for _ in range(N_WALKERS)]
    seeds = list(range(1, N_WALKERS + 1))
    times: dict[str, list[float]] = {name: [] for name in (*mappers, "serial CPU", "two CPU")}
    found = {}
    for turn in range(repeats + 2):
        for name, mapper in mappers.items():
            used = cpu_seconds(mapper)
            begun = time.perf_counter()
            result = mapper.map(
                walkers,
                [n_steps] * N_WALKERS,
                cycle_idx=[turn] * N_WALKERS,
                walker_idx=range(N_WALKERS),
                seed=seeds,
            )
            if turn > 1:  # The first make contexts and learn how long segments take.
                times[name].append(time.perf_counter() - begun)
                if f"{name} CPU" in times:
                    time.sleep(0.002)  # Workers have something to do after their last answer.
                    now = cpu_seconds(mapper)
                    parent, workers = now[0] - used[0], now[1] - used[1]
                    both = (parent + workers) / 2 if workers else 0.0
                    times[f"{name} CPU"].append(max(parent, both))
            found[name] = bits(result)
    assert len(set(found.values())) == 1, "the mappers differ"
    return {name: statistics.median(each) for name, each in times.items()}


def rows(arguments: list[str]) -> Iterator[Row]:
    """Start-up, then gains by segment."""
    try:
        numbers = [int(word) for word in arguments] or list(STEPS)
    except ValueError as error:
        raise Misused(error) from None
    seconds, ratio = measure_start()
    yield Row(
        "start-up of two workers",
        ratio,
        "x import openmm",
        most=START_LIMIT,
        detail=f"{seconds:.2f} s",
    )
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as (scheduler, _):
        yield from gains(numbers, scheduler)


def gains(numbers: list[int], scheduler: str) -> Iterator[Row]:
    """What two workers bring, by segment."""
    mappers = {"serial": SerialMapper(), "two": ProcessMapper(2), "dask": DaskMapper(scheduler)}
    for mapper in mappers.values():
        started(mapper)
    try:
        for n_steps in numbers:
            found = measure(mappers, n_steps)
            faster = {name: found["serial"] / found[name] for name in ("two", "dask")}
            yield Row(
                f"two processes, {n_steps} steps, on two free cores",
                found["serial CPU"] / found["two CPU"],
                "x serial",
                least=1.0 if n_steps >= 1000 else None,
                detail=f"{found['serial'] / N_WALKERS * 1e6:.0f} µs a segment; "
                f"by the clock here {faster['two']:.2f}, dask on this host {faster['dask']:.2f}",
            )
    finally:
        for mapper in mappers.values():
            mapper.cleanup()


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
