"""A checkpoint with classes of a user's own in it, against one with built-in components.

    python -m tests.benchmarks.bench_user_class

48 walkers of two particles, a record, hashes, durable names, as a run writes it. The user's
distance, boundary conditions and runner are pickled by value, each with the module's function and
numbers that it uses. What is compared is processor time, of checkpoints that take turns.
Exit status 1 when a limit is broken.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# Run as a script, Python looks for modules beside it only.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.systems import pair_runner, pair_state
from wepystore.api import (
    Apparatus,
    Distance,
    OpenMMRunner,
    PairDistance,
    Snapshot,
    Store,
    UnbindingBC,
    Walker,
    WalkerState,
    WExploreResampler,
    save_snapshot,
)
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.run import RunRecord, Unfinished
from wepystore.store.names import EntryRef, Ref

N_WALKERS, ROUNDS = 48, 60
#: With one class of the user's, and with three.
LIMITS = {1: 1.3, 3: 1.9}

SCALE = 2.0
AXES = (0, 1, 2)


def separation(positions: Any) -> float:
    """What all of the user's classes use."""
    gap = np.asarray(positions)[1, AXES] - np.asarray(positions)[0, AXES]
    return SCALE * float(np.sqrt(np.sum(gap * gap)))


class OwnDistance(Distance):
    """A user's distance."""

    def image(self, state: Any) -> Any:
        return np.array([separation(state["positions"])])

    def image_distance(self, image_a: Any, image_b: Any) -> float:
        return float(np.abs(np.subtract(image_a, image_b)).max())


class OwnBoundary(UnbindingBC):
    """A user's boundary conditions."""

    def is_out(self, state: Any) -> bool:
        return separation(state["positions"]) > SCALE


class OwnRunner(OpenMMRunner):
    """A user's runner."""

    def gap(self, state: Any) -> float:
        return separation(state["positions"])


def apparatus(n_own: int) -> Apparatus:
    """The pair with so many classes of the user's own in it."""
    plain = pair_runner()
    runner = (
        OwnRunner(plain.system, plain.topology, plain.integrator, plain.platform)
        if n_own > 2
        else plain
    )
    boundary = OwnBoundary if n_own > 1 else UnbindingBC
    return Apparatus(
        runner,
        boundary(0.42, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False),
        WExploreResampler(
            OwnDistance() if n_own else PairDistance(0, 1, periodic=False),
            max_n_regions=(10, 10),
            max_region_sizes=(0.02, 0.005),
            pmax=0.5,
        ),
    )


def ensemble(rng: np.random.Generator) -> list[Walker]:
    """All different, as after a segment."""
    return [
        Walker(
            WalkerState.adopt(
                {
                    "positions": rng.random((2, 3)),
                    "velocities": rng.random((2, 3)),
                    "box_vectors": np.eye(3) * 4.0,
                    "time": np.array(rng.random()),
                }
            ),
            1 / N_WALKERS,
        )
        for _ in range(N_WALKERS)
    ]


def checkpointer(folder: Path, parts: Apparatus, walkers: list[Walker]) -> Checkpointer:
    """What writes the checkpoints of a job that has just begun."""
    folder.mkdir()
    store = Store.create(folder / "bench.orch")
    md5 = save_snapshot(store, Snapshot(walkers, parts))
    start = EntryRef("snapshots", Ref(md5, "0" * 64, 1))
    config = EntryRef("configs", Ref(md5, "0" * 64, 1))

    def record(n_cycles: int) -> Unfinished:
        how: dict[str, Any] = {"n_steps": 10, "seed": 1, "reproducible": True}
        return partial(RunRecord, start, config=config, n_cycles=n_cycles, **how)

    written = Ledger(folder)
    written.replace(())
    return Checkpointer(Writer(store, written), parts, record)


def measure(folder: Path, rounds: int = ROUNDS) -> dict[int, float]:
    """Median processor time of a checkpoint in ms, by the number of the user's own classes."""
    rng = np.random.default_rng(1)
    writers = {n: checkpointer(folder / str(n), apparatus(n), ensemble(rng)) for n in (0, *LIMITS)}
    taken: dict[int, list[float]] = {n: [] for n in writers}
    for number in range(rounds + 2):
        for n, writer in writers.items():
            walkers = ensemble(rng)
            # What a checkpoint supersedes goes in a thread, which belongs to it.
            begun = time.process_time()
            writer.write(walkers, number + 1)
            writer.finish_removing()
            taken[n].append(time.process_time() - begun)
    return {n: 1000 * statistics.median(each[2:]) for n, each in taken.items()}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    broken = False
    print(f"built-in components: {found[0]:.1f} ms of processor time")
    for n, limit in LIMITS.items():
        ratio = found[n] / found[0]
        broken = broken or ratio > limit
        print(f"{n} of the user's own: {found[n]:.1f} ms, {ratio:.2f}x (limit {limit:g}x)")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
