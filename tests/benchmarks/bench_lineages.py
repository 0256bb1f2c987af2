"""A lineage of 100 cycles of 2,000 atoms out of 48 walkers, against numpy's memory-mapped read.

    python -m tests.benchmarks.bench_lineages [DIR]

- Its positions, out of objects that are mapped for it, and out of those that were; numpy maps the
  same files and takes the same rows. All is in memory: no two disks are alike.
- Who descends from whom in 10,000 cycles of 48 walkers, from the store to the parents of all.

Stores are made in DIR, or in a directory for temporary files.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.systems import plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    NoBC,
    PositionCoordinate,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    load_frames,
    load_lineages,
    load_run,
    prepare_store,
)
from wepystore.engine.runners.base import EnsembleRunner
from wepystore.records.run_frames import read_frames
from wepystore.records.tables import read_recording

N_CYCLES, N_WALKERS, N_ATOMS = 100, 48, 2_000
EDGES = [-0.6, -0.3, 0.0, 0.3, 0.6]

#: Of numpy's; seconds.
LIMIT, PARENTS_LIMIT_S = 2.0, 1.0


class Drifting(EnsembleRunner):
    """A user's runner: each atom a step of a random walk."""

    def move(
        self, positions: Any, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        positions += 0.1 * rng.standard_normal(positions.shape)


def recorded(folder: Path, n_atoms: int, n_cycles: int) -> tuple[Store, str]:
    """A run of which the positions are kept."""
    state = WalkerState(positions=np.zeros((n_atoms, 3)), time=0.0)
    walkers = [Walker(state, 1 / N_WALKERS) for _ in range(N_WALKERS)]
    resampler = BinResampler(PositionCoordinate(), EDGES, N_WALKERS // (len(EDGES) + 1))
    snapshot = Snapshot(walkers, Apparatus(Drifting(), NoBC(), resampler))
    made = prepare_store(folder / f"{n_atoms}.orch", snapshot, plain_configuration())
    job = folder / f"job-{n_atoms}"
    run_job(made.store, made.snapshot_hash, job, n_steps=1, n_cycles=n_cycles)
    store = Store.open(job / "checkpoint.orch")
    (run,) = store.hashes("runs")
    return store, run


def positions_at(path: Path) -> tuple[int, tuple[int, ...]]:
    """Where the positions begin in an object, and their shape."""
    with open(path, "rb") as file:
        while True:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if shape[1:] == (N_ATOMS, 3):
                return file.tell(), shape
            file.seek(int(np.prod(shape)) * dtype.itemsize, 1)


def fastest(*calls: Callable[[], Any], n: int = 50) -> list[float]:
    """The shortest time of each in ms, called in turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(n):
        for call, times in zip(calls, taken, strict=True):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
    return [min(times) * 1e3 for times in taken]


def frame_rows(folder: Path) -> Iterator[Row]:
    """The lineage of the heaviest walker."""
    store, run = recorded(folder, N_ATOMS, N_CYCLES)
    lineages = load_lineages(store, run)
    lineage = lineages.of(lineages.heaviest_walker())
    recording = read_recording(store, load_run(store, run))
    assert recording is not None and len(lineage) == N_CYCLES
    # Of each object: its first cycle, how many, its first walker, and where the positions are.
    objects, first_cycle = [], 0
    for block in read_frames(store, recording, run).blocks:
        first_walker = 0
        for part in block.parts:
            path = store.file("objects", part.ref.md5)
            objects.append((first_cycle, block.n_cycles, first_walker, path, *positions_at(path)))
            first_walker += part.n_walkers
        first_cycle += block.n_cycles

    def mapped_by_numpy() -> Any:
        found = np.empty((N_CYCLES, N_ATOMS, 3), np.float32)
        for first, n_cycles, lowest, path, offset, shape in objects:
            rows = (lineage.walker[first : first + n_cycles] - lowest) * n_cycles
            rows += np.arange(n_cycles)
            here = (rows >= 0) & (rows < shape[0])
            if here.any():
                held = np.memmap(path, np.float32, "r", offset, shape)
                found[first : first + n_cycles][here] = held[rows[here]]
        return found

    warm = load_frames(store, run, joined=True)
    opened = [load_frames(store, run, joined=True) for _ in range(50)]

    def mapped_by_us() -> Any:
        return lineage.frames_of(opened.pop())

    def from_the_store() -> Any:
        return lineage.frames_of(load_frames(store, run, joined=True))

    assert np.array_equal(mapped_by_numpy(), lineage.frames_of(warm))
    theirs, ours, held, whole = fastest(
        mapped_by_numpy, mapped_by_us, lambda: lineage.frames_of(warm), from_the_store
    )
    said = f"{ours:.2f} of {theirs:.2f} ms; with its manifests read and verified {whole:.2f} ms"
    what = f"positions along a lineage of {N_CYCLES} cycles"
    yield Row(what, ours / theirs, "x numpy's", most=LIMIT, detail=said)
    yield Row("of objects that are mapped already", held / theirs, "x numpy's", most=LIMIT)


def parents_row(folder: Path, n_cycles: int = 10_000) -> Row:
    """From the store."""
    store, run = recorded(folder, 1, n_cycles)
    (taken,) = fastest(lambda: load_lineages(store, run), n=5)
    what = f"parents of {N_WALKERS} walkers in {n_cycles} cycles, from the store"
    return Row(what, taken / 1e3, "s", most=PARENTS_LIMIT_S)


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        yield from frame_rows(Path(name))
        yield parents_row(Path(name))


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
