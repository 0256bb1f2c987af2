"""Waiting for an event, however long a busy machine takes to bring it about.

Tests that start a program and act on it in the middle wait for what shows that it is there: a file,
a line, a process's end. PATIENCE_S is no bound on how fast anything is, it only ends a test that
would hang. Such tests are marked: `pytest -m waits` runs them, and they are to pass beside as many
busy programs as one likes.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wepystore.api import OpenMMRunner, Store

PATIENCE_S = 300.0
_MARK = "SEGMENT_MARK"


def until(
    event: Callable[[], object],
    process: subprocess.Popen[Any] | None = None,
    what: str | Callable[[], str] = "it never came about",
) -> None:
    """Return when `event()` is true. Fails with `what` when it is in vain: after PATIENCE_S, or
    once the process that was to bring it about has ended, with what that said."""
    deadline = time.monotonic() + PATIENCE_S
    while not event():
        if process is not None and process.poll() is not None and not event():
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.01)


def records_in(job: Path) -> list[str]:
    """The records in the store of a job that may be at work. (Not by a glob, which fails where a
    directory goes that it was about to look into.)"""
    return Store(job / "checkpoint.orch").hashes("runs")


class Announcing(OpenMMRunner):
    """The pair's runner; the file that $SEGMENT_MARK names is there once a segment is computed."""

    def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
        if os.environ.get(_MARK):
            Path(os.environ[_MARK]).touch()
        return super().run_segment(walker, segment_length, **keywords)


def announcing(runner: OpenMMRunner) -> Announcing:
    """The same runner, but for the mark."""
    return Announcing(runner.system, runner.topology, runner.integrator, runner.platform)


def mark_in(folder: Path) -> tuple[Path, dict[str, str]]:
    """(the file that will be there once a segment is computed, the variable that says so)."""
    return folder / "segment", {_MARK: str(folder / "segment")}
