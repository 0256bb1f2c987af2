"""`wepy reweight` of ten runs of 48 walkers, from its start to its end.

    python -m tests.benchmarks.bench_reweighting [N_CYCLES]

Of 1,000 cycles each, or as many as are said; the seconds of the process and its memory, which what
is asked of 10,000 cycles allows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Misused, Row
from tests.systems import REPOSITORY, environment, plain_configuration, run_job
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

N_RUNS, N_WALKERS = 10, 48
#: Of 10,000 cycles; fewer take no more.
LIMIT_S, LIMIT_MB = 5.0, 500.0
#: With 10,000 cycles the runs have to be made first.
LEFT_OUT = {"10000": "ten runs of 10,000 cycles are made first, which takes minutes"}


def study(folder: Path, n_cycles: int) -> Path:
    """A store with runs of a double well, each of a seed of its own."""
    left, coordinate = WalkerState(positions=[[-1.0]]), PositionCoordinate()
    apparatus = Apparatus(
        OverdampedLangevinRunner(DoubleWell(3.0)),
        TargetBC(coordinate, [left], threshold=1.0),
        BinResampler(coordinate, np.linspace(-0.9, 0.9, 10), 4),
    )
    walkers = [Walker(left, 1 / N_WALKERS) for _ in range(N_WALKERS)]
    made = prepare_store(folder / "start.orch", Snapshot(walkers, apparatus), plain_configuration())
    for seed in range(N_RUNS):
        job = folder / f"job{seed}"
        run_job(made.store, made.snapshot_hash, job, n_cycles=n_cycles, seed=seed)
        reconcile(folder / "all.orch", job)
    return folder / "all.orch"


def used(*words: object) -> tuple[float, float]:
    """Seconds of processor time and MB of memory of a command."""
    command = [sys.executable, "-m", "wepystore", *map(str, words)]
    env = environment()
    with subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """Both figures."""
    text = next(iter(arguments), "1000")
    if not text.isdecimal() or int(text) < 100:
        raise Misused(f"{text} is no number of cycles from 100 on")
    with tempfile.TemporaryDirectory() as name:
        store = study(Path(name), int(text))
        seconds, megabytes = used("reweight", "--along", "progress", store)
        what = f"wepy reweight, {N_RUNS} runs x {text} cycles x {N_WALKERS} walkers"
        yield Row(what, seconds, "s of processor time", most=LIMIT_S)
        yield Row("its memory", megabytes, "MB", most=LIMIT_MB)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
