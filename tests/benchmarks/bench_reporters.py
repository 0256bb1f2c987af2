"""What the reporters cost.

    python -m tests.benchmarks.bench_reporters [--long]

Replays a recorded run of 48 walkers of two atoms (clones, merges, regions, warps).
Goal: all reporters together below 30 % of a cycle of 100 steps. Also: does cycle
1000 cost more than cycle 10, and (with --long) what does a system of 10,000 atoms cost.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.reporters.recorded import ALL_REPORTERS, Recording, open_reporter, record
from wepystore.engine.walker import Walker, WalkerState

LEFT_OUT = {"--long": "a minute more, of 10,000 atoms; no limits"}
#: All reporters, of the time that segments of 100 steps take.
LIMIT = 0.3


def timed(reporter: Any, base: Path, recording: Recording, n_cycles: int) -> dict[str, Any]:
    """Milliseconds of init, of each report, and of cleanup."""
    begun = time.perf_counter()
    open_reporter(reporter, base, recording)
    init = time.perf_counter() - begun
    each = np.empty(n_cycles)
    for cycle in range(n_cycles):
        report = dict(recording.reports[cycle % len(recording.reports)], cycle_idx=cycle)
        begun = time.perf_counter()
        reporter.report(**report)
        each[cycle] = time.perf_counter() - begun
    begun = time.perf_counter()
    reporter.cleanup()
    cleanup = time.perf_counter() - begun
    size = os.path.getsize(reporter.path) if os.path.exists(reporter.path) else 0
    return {
        "init": init * 1e3,
        "reports": each * 1e3,
        "cleanup": cleanup * 1e3,
        "cycle": (each.sum() + cleanup) / n_cycles * 1e3,
        "size": size,
    }


def all_reporters(recording: Recording, n_cycles: int) -> dict[str, dict[str, Any]]:
    """What `timed` says of each."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            kind.__name__: timed(kind(), Path(folder) / "job", recording, n_cycles)
            for kind in ALL_REPORTERS
        }


def described(found: dict[str, Any]) -> str:
    """What is worth knowing besides the mean."""
    return (
        f"init {found['init']:.1f}, median {np.median(found['reports']):.3f}, "
        f"worst {found['reports'].max():.1f}, end {found['cleanup']:.1f} ms; "
        f"{found['size'] / 1e6:.2f} MB"
    )


def growth(recording: Recording) -> Iterator[tuple[str, float, float]]:
    """(reporter, mean ms of cycles 0 to 99, of 950 to 1049), with a flush every 50 cycles."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ALL_REPORTERS:
            reporter = open_reporter(kind(), Path(folder) / "job", recording)
            each = np.empty(1050)
            for cycle in range(len(each)):
                report = dict(recording.reports[cycle % len(recording.reports)], cycle_idx=cycle)
                begun = time.perf_counter()
                reporter.report(**report)
                if cycle % 50 == 49:
                    reporter.flush()
                each[cycle] = time.perf_counter() - begun
            reporter.cleanup()
            yield kind.__name__, each[:100].mean() * 1e3, each[950:].mean() * 1e3


def enlarged(recording: Recording, n_atoms: int, n_cycles: int) -> Recording:
    """The same decisions with states of many atoms."""
    rng = np.random.default_rng(0)

    def state() -> WalkerState:
        return WalkerState(
            positions=rng.random((n_atoms, 3)),
            velocities=rng.random((n_atoms, 3)),
            box_vectors=np.eye(3),
        )

    reports = []
    for report in recording.reports[:n_cycles]:
        walkers = [Walker(state(), walker.weight) for walker in report["new_walkers"]]
        reports.append(dict(report, new_walkers=walkers, resampled_walkers=walkers))
    return Recording(
        reports[0]["new_walkers"],
        None,
        recording.resampler,
        recording.boundary_conditions,
        reports,
    )


def rows(arguments: list[str]) -> Iterator[Row]:
    """All together, each alone, and whether any grows."""
    recording = record(100, n_walkers=48, n_steps=100)
    cycle = float(np.median([report["cycle_runner_time"] for report in recording.reports])) * 1e3
    found = all_reporters(recording, 500)
    total = sum(one["cycle"] for one in found.values())
    yield Row(
        "all, 48 walkers of 2 atoms, cycles of 100 steps",
        total / cycle * 100,
        "% of the segments",
        most=LIMIT * 100,
        detail=f"{total:.2f} of {cycle:.2f} ms a cycle",
    )
    for name, one in found.items():
        yield Row(name, one["cycle"], "ms a cycle", detail=described(one))
    for name, early, late in growth(recording):
        said = f"{early:.3f} and {late:.3f} ms"
        yield Row(f"{name}, cycle 1000", late / early, "x cycle 50", detail=said)
    if "--long" in arguments:
        for name, one in all_reporters(enlarged(recording, 10_000, 6), 6).items():
            said = f"{described(one)}; no topology, so HDF5 only"
            yield Row(f"{name}, 10,000 atoms", one["cycle"], "ms a cycle", detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
