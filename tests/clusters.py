"""Clusters of dask as a user starts them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.systems import environment
from tests.waiting import until


@contextlib.contextmanager
def cluster(
    folder: Path, n_workers: int = 2, nthreads: int = 1
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers, until the block ends: its scheduler file, and the workers."""
    file = folder / "scheduler.json"
    worker = (
        f"dask_worker --scheduler-file {file} --nthreads {nthreads} --no-nanny --no-dashboard "
        f"--local-directory {folder}"
    )
    scheduler = f"dask_scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file {file}"
    started: list[subprocess.Popen[bytes]] = []
    try:
        for line in [scheduler, *[worker] * n_workers]:
            module, *words = line.split()
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"distributed.cli.{module}", *words],
                    env=environment(),
                    cwd=folder,
                    stderr=subprocess.DEVNULL,
                )
            )
        # The scheduler writes it in place.
        until(lambda: file.exists() and file.read_text().rstrip().endswith("}"), started[0])
        yield str(file), started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()
