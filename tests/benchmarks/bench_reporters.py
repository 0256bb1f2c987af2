"""What the reporters cost: python -m tests.benchmarks.bench_reporters [--long]

Replays a recorded run of 48 walkers of two atoms (clones, merges, regions, warps).
Goal: all reporters together below 30 % of a cycle of 100 steps. Also: does cycle
1000 cost more than cycle 10, and what does a system of 10,000 atoms cost.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.reporters.recorded import ALL_REPORTERS, Recording, open_reporter, record
from wepystore.engine.walker import Walker, WalkerState


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


def all_reporters(recording: Recording, n_cycles: int, title: str) -> float:
    print(f"\n{title}")
    print(f"{'reporter':24}{'ms/cycle':>10}{'init':>8}{'median':>9}{'worst':>9}{'end':>9}{'MB':>8}")
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind in ALL_REPORTERS:
            found = timed(kind(), Path(folder) / "job", recording, n_cycles)
            total += found["cycle"]
            print(
                f"{kind.__name__:24}{found['cycle']:10.4f}{found['init']:8.1f}"
                f"{np.median(found['reports']):9.4f}{found['reports'].max():9.2f}"
                f"{found['cleanup']:9.1f}{found['size'] / 1e6:8.2f}"
            )
    print(f"{'all':24}{total:10.4f}")
    return total


def growth(recording: Recording) -> None:
    """A cycle's cost around cycle 10 and around cycle 1000, with a flush every 50 cycles."""
    print("\ngrowth: mean ms of a cycle, a flush every 50, in 0-99 and in 950-1049")
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
            early, late = each[:100].mean() * 1e3, each[950:].mean() * 1e3
            print(f"{kind.__name__:24}{early:10.4f}{late:10.4f}")


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


def main() -> None:
    recording = record(100, n_walkers=48, n_steps=100)
    cycle = float(np.median([report["cycle_runner_time"] for report in recording.reports])) * 1e3
    total = all_reporters(recording, 500, "48 walkers of 2 atoms, 500 cycles, cleanup included")
    print(f"a cycle's segments took {cycle:.2f} ms: reporters are {total / cycle:.1%} of that")
    growth(recording)
    if "--long" in sys.argv:
        big = enlarged(recording, 10_000, 6)
        all_reporters(big, 6, "48 walkers of 10,000 atoms, 6 cycles (no topology: HDF5 only)")


if __name__ == "__main__":
    main()
