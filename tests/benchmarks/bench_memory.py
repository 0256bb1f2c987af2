"""Memory at 50,000 particles and 48 walkers, against the raw arrays (115 MB).

    python -m tests.benchmarks.bench_memory [N_PARTICLES]

Each piece of work is done in a process of its own; what is compared with the raw arrays
is the highest resident memory it ever had, less what it had after its imports:

    load        the start snapshot, from a store
    cycle       one cycle of a runner that changes every number, serial
    workers     the same, in two worker processes; the memory of the parent
    resample    WExplore, which clones and merges
    checkpoint  a snapshot of 48 different states into a store
    run         the `run` use case: load, two cycles, a checkpoint after each
    verify      the same two cycles again, and their end's hash
    disprove    the same, with another end in the record: the two are compared

While a cycle runs, the walkers before it and after it are there: two times the raw arrays
is the least for all that runs one.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.systems import REPOSITORY, environment, plain_configuration, run_job, save_run
from wepystore.api import (
    Apparatus,
    NoResampler,
    PairDistance,
    ProcessMapper,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    WExploreResampler,
    load_run,
    load_snapshot,
    prepare_store,
    save_snapshot,
)
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams
from wepystore.engine.runners.base import Runner
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.verify.verify import verify as verify_run

N_PARTICLES = 50_000
N_WALKERS = 48
LIMIT = 2.5


class Drift(Runner):
    """Moves every particle a little; costs nothing but its result."""

    def run_segment(
        self, walker: Any, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Any:
        state = walker.state
        fields = {
            "positions": state["positions"] + 1e-3 * segment_length,
            "velocities": state["velocities"] + 0.0,
        }
        return type(walker)(WalkerState.adopt(fields), walker.weight)


def raw_bytes(n_particles: int) -> int:
    """Of positions and velocities of all walkers."""
    return N_WALKERS * n_particles * 3 * 8 * 2


def states(n_particles: int) -> list[WalkerState]:
    """As many different states as walkers."""
    rng = np.random.default_rng(1)
    names = ("positions", "velocities")
    return [
        WalkerState.adopt({name: rng.random((n_particles, 3)) for name in names})
        for _ in range(N_WALKERS)
    ]


def snapshot(n_particles: int) -> Snapshot:
    """Walkers of unequal weight in different states."""
    weights = np.arange(1.0, N_WALKERS + 1)
    weights /= weights.sum()
    walkers = [
        Walker(state, float(weight))
        for state, weight in zip(states(n_particles), weights, strict=True)
    ]
    return Snapshot(walkers, Apparatus(Drift(), None, NoResampler()))


def peak() -> int:
    """The highest resident memory of this process so far, bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # On Linux this may be the parent's from before exec; elsewhere it is all there is.
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def manager(walkers: list[Any], mapper: Any, resampler: Any = None) -> CycleManager:
    return CycleManager(
        init_walkers=walkers,
        runner=Drift(),
        boundary_conditions=None,
        resampler=resampler or NoResampler(),
        work_mapper=mapper,
        streams=Streams(1),
    )


def prepare(folder: Path, n_particles: int) -> None:
    """The store that the others read."""
    prepare_store(folder / "start.orch", snapshot(n_particles), plain_configuration())


def _start(folder: Path) -> tuple[Store, str]:
    store = Store.open(folder / "start.orch")
    return store, store.hashes("snapshots")[0]


def load(folder: Path, n_particles: int) -> None:
    store, name = _start(folder)
    assert len(load_snapshot(store, name).walkers) == N_WALKERS


def cycle(folder: Path, n_particles: int, mapper: Any = None) -> None:
    store, name = _start(folder)
    made = manager(load_snapshot(store, name).walkers, mapper or SerialMapper())
    made.init()
    walkers = made.init_walkers
    made.init_walkers = ()
    after = made.run_cycle(walkers, 10, 0).walkers
    made.cleanup()
    assert after[0].state["positions"][0, 0] != walkers[0].state["positions"][0, 0]


def workers(folder: Path, n_particles: int) -> None:
    cycle(folder, n_particles, ProcessMapper(2))


def resample(folder: Path, n_particles: int) -> None:
    store, name = _start(folder)
    resampler = WExploreResampler(
        PairDistance(0, 1, periodic=False), (10, 10), (0.2, 0.05), pmax=0.5
    )
    walkers = load_snapshot(store, name).walkers
    resampler.set_rng(np.random.default_rng(1))
    after, records, _ = resampler.resample(walkers)
    assert {int(record["decision_id"][0]) for record in records} >= {2, 3, 4}
    assert len({id(walker.state) for walker in after}) < N_WALKERS


def checkpoint(folder: Path, n_particles: int) -> None:
    made = snapshot(n_particles)
    store = Store.create(folder / "other.orch")
    save_snapshot(store, made)


def run(folder: Path, n_particles: int) -> None:
    store, name = _start(folder)
    run_job(store, name, folder / "job", n_cycles=2, checkpoint_freq=1)


def verify(folder: Path, n_particles: int) -> None:
    store = Store.open(folder / "job" / "checkpoint.orch")
    (record,) = store.hashes("runs")
    assert verify_run(store, record, Means()).reproduced


def disprove(folder: Path, n_particles: int) -> None:
    store = Store.open(folder / "job" / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    forged = save_run(store, dataclasses.replace(record, end=record.start))
    verdict = verify_run(store, forged, Means())
    store.remove("runs", forged)
    assert verdict.comparison is not None
    assert verdict.comparison.n_same == 0


# Those that verify need the job of `run`.
WORK: dict[str, Callable[[Path, int], None]] = {
    work.__name__: work
    for work in (load, cycle, workers, resample, checkpoint, run, verify, disprove)
}


def measure(name: str, folder: Path, n_particles: int) -> float:
    """Peak memory of a piece of work, done in a process of its own, in raw arrays."""
    # Imported, not run as a script: workers must find `Drift` by the name of its module.
    code = "import sys; from tests.benchmarks import bench_memory as b; b.child(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(folder), str(n_particles)],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout) / raw_bytes(n_particles)


def child(name: str, folder: str, n_particles: str) -> None:
    """In a process of its own: do it and print what it took, bytes."""
    before = peak()
    {**WORK, "prepare": prepare}[name](Path(folder), int(n_particles))
    print(peak() - before)


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each piece of work."""
    n_particles = int(arguments[0]) if arguments else N_PARTICLES
    unit = f"x {raw_bytes(n_particles) / 1e6:.0f} MB"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        measure("prepare", folder, n_particles)
        for name in WORK:
            yield Row(name, measure(name, folder, n_particles), unit, most=LIMIT)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
