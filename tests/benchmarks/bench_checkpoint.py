"""A checkpoint of 48 walkers of 10,000 particles, against np.save with fsync of the same arrays.

    python -m tests.benchmarks.bench_checkpoint [DIRECTORY]

The checkpoint is what a run writes: snapshot with apparatus, run record, hashes,
durable names, and the list of what the job has written. Both sides keep the last two
and take the one before away, np.save outside the measured time and the checkpoint in a
thread of its own. They are measured alternately in one run; the files lie in DIRECTORY
(default: a temporary one). Where fsync costs nothing (a RAM disk) MD5 and SHA-256 are
what is compared. Besides: how long it takes to find out on what machine the run is, which its
record tells.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm

# Run as a script, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.systems import langevin, pair_runner, pair_topology
from wepystore.api import (
    Apparatus,
    NoBC,
    NoResampler,
    OpenMMRunner,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    save_snapshot,
)
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run import environment
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.run import RunRecord, Unfinished
from wepystore.store.names import EntryRef, Ref

N_PARTICLES, N_WALKERS, ROUNDS = 10_000, 48, 9
TIME_LIMIT, BYTES_LIMIT, FILES_LIMIT = 2.0, 1.05, 12
#: To describe the machine, the first time in a process too.
ENVIRONMENT_LIMIT_MS = 5.0


@dataclass(frozen=True)
class Figures:
    """Ratios to np.save, and what the second checkpoint adds."""

    time: float
    bytes: float
    new_files: int
    new_apparatus_files: int


def apparatus(n_particles: int) -> Apparatus:
    """A system of so many particles, each with its own line in the XML."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(n_particles):
        system.addParticle(39.9)
        force.addParticle(0.0, 0.34, 1.0)
    system.addForce(force)
    runner = OpenMMRunner(system, pair_topology(n_particles), langevin(), platform="Reference")
    return Apparatus(runner, NoBC(), NoResampler())


def walkers(rng: np.random.Generator, n_walkers: int, n_particles: int) -> list[Walker]:
    """All different, as after a segment."""
    box = np.eye(3) * 7.0
    return [
        Walker(
            WalkerState.adopt(
                {
                    "positions": rng.random((n_particles, 3)),
                    "velocities": rng.random((n_particles, 3)),
                    "box_vectors": box.copy(),
                    "time": np.array(rng.random()),
                }
            ),
            1 / n_walkers,
        )
        for _ in range(n_walkers)
    ]


def np_save(folder: Path, superseded: Path, ensemble: list[Walker]) -> tuple[float, int]:
    """Seconds to save positions and velocities of all walkers, each with fsync, and the bytes;
    then a superseded folder is removed, which is not counted."""
    folder.mkdir()
    size = 0
    begun = time.perf_counter()
    for name in ("positions", "velocities"):
        with open(folder / f"{name}.npy", "wb") as file:
            np.save(file, np.stack([walker.state[name] for walker in ensemble]))
            file.flush()
            os.fsync(file.fileno())
            size += file.tell()
    taken = time.perf_counter() - begun
    shutil.rmtree(superseded, ignore_errors=True)
    return taken, size


def files(root: Path) -> dict[Path, int]:
    """Every file and its size, but for those that a checkpoint's thread is just removing."""
    found = {}
    # Not Path.rglob, to which a directory that goes meanwhile is an error.
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                found[Path(folder, name)] = Path(folder, name).stat().st_size
    return found


def measure(folder: Path, n_walkers: int = N_WALKERS, rounds: int = ROUNDS) -> Figures:
    """Medians of alternating saves and checkpoints, as ratios."""
    rng = np.random.default_rng(1)
    store = Store.create(folder / "bench.orch")
    parts = apparatus(N_PARTICLES)
    ensemble = walkers(rng, n_walkers, N_PARTICLES)
    # A job's store holds the start, and with it the apparatus, before the first checkpoint.
    start_md5 = save_snapshot(store, Snapshot(ensemble, parts))
    start = EntryRef("snapshots", Ref(start_md5, "0" * 64, 1))
    config = EntryRef("configs", Ref(start_md5, "0" * 64, 1))

    def record(n_cycles: int) -> Unfinished:
        how: dict[str, Any] = {"n_steps": 10, "seed": 1, "reproducible": True}
        return partial(RunRecord, start, config=config, n_cycles=n_cycles, **how)

    written = Ledger(folder)
    written.replace(())
    checkpointer = Checkpointer(Writer(store, written), parts, record)
    saves, checkpoints = [], []
    new: list[int] = []
    apparatus_again = 0
    bytes_ratio = 0.0
    for number in range(rounds + 2):
        ensemble = walkers(rng, n_walkers, N_PARTICLES)
        saved, raw = np_save(folder / f"raw{number}", folder / f"raw{number - 2}", ensemble)
        known = set(files(store.path))
        begun = time.perf_counter()
        checkpointer.write(ensemble, number + 1)
        taken = time.perf_counter() - begun
        added = {path: size for path, size in files(store.path).items() if path not in known}
        new.append(len(added))
        bytes_ratio = max(bytes_ratio, sum(added.values()) / raw)
        apparatus_again += sum(
            not path.read_bytes().startswith(b"\x93NUMPY")
            for path in added
            if path.parent.parent.name == "objects"
        )
        if number > 1:  # The first ones fill caches, make directories, and remove nothing.
            saves.append(saved)
            checkpoints.append(taken)
    return Figures(
        statistics.median(checkpoints) / statistics.median(saves),
        bytes_ratio,
        max(new),
        apparatus_again,
    )


def environment_ms() -> float:
    """Milliseconds to describe platform and machine, nothing of it known yet; the least of five."""
    runner = pair_runner()
    environment.environment_of(runner, None, None)
    times = []
    for _ in range(5):
        environment._host.cache_clear()
        begun = time.perf_counter()
        environment.environment_of(runner, None, None)
        times.append(time.perf_counter() - begun)
    return min(times) * 1e3


def filesystem_of(path: Path) -> str:
    """The type of the file system that a path is on; "" where /proc does not say."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    inside = [(len(place), kind) for place, kind in mounts if path.is_relative_to(place)]
    return max(inside, default=(0, ""))[1]


def rows(arguments: list[str]) -> Iterator[Row]:
    """Time only where fsync does something."""
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as folder:
        free = filesystem_of(Path(folder)) in ("tmpfs", "ramfs")
        found = measure(Path(folder))
    limit = None if free else TIME_LIMIT
    where = "on a RAM disk, where fsync is free" if free else ""
    yield Row("time", found.time, "x np.save with fsync", most=limit, detail=where)
    yield Row("bytes", found.bytes, "x np.save", most=BYTES_LIMIT)
    yield Row("new files of the next checkpoint", found.new_files, most=FILES_LIMIT)
    yield Row("of these, apparatus", found.new_apparatus_files, most=0)
    yield Row("describing the machine", environment_ms(), "ms", most=ENVIRONMENT_LIMIT_MS)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
