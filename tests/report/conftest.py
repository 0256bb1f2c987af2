"""Runs to report, and the browser that shows the reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.report import browser
from tests.systems import plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    DoubleWell,
    OverdampedLangevinRunner,
    PositionCoordinate,
    Snapshot,
    TargetBC,
    Walker,
    WalkerState,
    prepare_store,
    reconcile,
)

N_CYCLES, N_WALKERS = 60, 12


class Made(NamedTuple):
    """A store with runs from one start."""

    path: Path
    runs: list[str]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three runs over a low barrier, in which walkers arrive and are warped. Only read it."""
    folder = tmp_path_factory.mktemp("reported")
    left = WalkerState(positions=[[-1.0]])
    apparatus = Apparatus(
        OverdampedLangevinRunner(DoubleWell(2.0)),
        TargetBC(PositionCoordinate(), [left], threshold=1.0),
        BinResampler(PositionCoordinate(), [-0.5, 0.0, 0.5], N_WALKERS // 4),
    )
    snapshot = Snapshot([Walker(left, 1 / N_WALKERS) for _ in range(N_WALKERS)], apparatus)
    prepared = prepare_store(folder / "start.orch", snapshot, plain_configuration())
    runs = []
    for seed in range(3):
        job = folder / f"job{seed}"
        done = run_job(
            prepared.store,
            prepared.snapshot_hash,
            job,
            n_cycles=N_CYCLES,
            n_steps=50,
            seed=seed,
        )
        reconcile(folder / "all.orch", job)
        runs.append(done.record or "")
    return Made(folder / "all.orch", runs)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """One page of one browser, for all tests of a process."""
    with browser.opened(tmp_path_factory.mktemp("browser")) as opened:
        yield opened
