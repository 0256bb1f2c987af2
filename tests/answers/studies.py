"""Stores with several runs of one walk: what counts of them, and at what rate it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.systems import plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    NoBC,
    PositionCoordinate,
    RandomWalkRunner,
    RandomWalkTargetBC,
    Snapshot,
    Walker,
    prepare_store,
    reconcile,
    resume,
)


def walk_snapshot(
    target: int | None = 2, probability: float = 0.25, n_walkers: int = 8, per_bin: int = 3
) -> Snapshot:
    """Walkers at 0, that go back there from the target, if there is one."""
    runner = RandomWalkRunner(probability=probability)
    start = runner.initial_state()
    edges = [k + 0.5 for k in range(5 if target is None else target)]
    boundary = NoBC() if target is None else RandomWalkTargetBC(target, [start])
    apparatus = Apparatus(runner, boundary, BinResampler(PositionCoordinate(), edges, per_bin))
    return Snapshot([Walker(start, 1 / n_walkers) for _ in range(n_walkers)], apparatus)


class Place:
    """A store, and jobs that are brought into it."""

    def __init__(
        self,
        folder: Path,
        snapshot: Snapshot | None = None,
        configuration: Configuration | None = None,
    ) -> None:
        self.folder, self.jobs = folder, 0
        made = prepare_store(
            folder / "all.orch", snapshot or walk_snapshot(), configuration or plain_configuration()
        )
        self.store, self.start = made.store, made.snapshot_hash

    def run(self, seed: int, n_cycles: int = 5, start: str | None = None, **options: Any) -> Any:
        """A job, brought into the store; its outcome."""
        self.jobs += 1
        job = self.folder / f"job{self.jobs}"
        done = run_job(
            self.store, start or self.start, job, n_cycles=n_cycles, seed=seed, **options
        )
        reconcile(self.store.path, job)
        return done

    def extend(self, done: Any, n_cycles: int) -> Any:
        """Let a job go on."""
        further = resume(done.job_dir, n_cycles=n_cycles)
        reconcile(self.store.path, done.job_dir)
        return further

    def runs(self, seeds: Sequence[int], n_cycles: int, n_steps: int = 1) -> list[str]:
        """Records of runs of these seeds."""
        return [self.run(seed, n_cycles, n_steps=n_steps).record or "" for seed in seeds]
