"""The sweep of test_crash.py sees every call that changes a store: strace sees no other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import installed
from tests.cli.conftest import ENVIRONMENT
from tests.hazard.inject import CALLS, Injector
from tests.hazard.scenarios import scenarios

# Those that Linux has on this machine, whatever strace calls them.
_TRACED = ",".join("?" + name for name in CALLS)


@pytest.mark.parametrize("name", ["add", "reconcile", "tag-force", "repair"])
def test_no_call_is_overlooked(injector: Injector, tmp_path: Path, name: str) -> None:
    """As many calls of each name below the store as strace counts in a process of its own."""
    installed.need("strace")
    scenario = next(s for s in scenarios(tmp_path) if s.name == name)
    for folder in ("injected", "traced"):
        (tmp_path / folder).mkdir()
        scenario.prepare(tmp_path / folder)
    cwd = tmp_path / "injected"
    seen = Counter(p.call for p in injector.run(scenario.task, cwd / "t.orch", cwd).points)
    log = tmp_path / "log"
    line = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={_TRACED}"]
    line += [sys.executable, "-m", "wepystore", *scenario.task[1:]]
    done = subprocess.run(
        line, cwd=tmp_path / "traced", env=ENVIRONMENT, capture_output=True, text=True
    )
    if "PTRACE" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    counted: Counter[str] = Counter()
    for text in log.read_text().splitlines():
        call = re.match(r"\d+ +(\w+)\(", text)
        if call and "t.orch" in text and "resumed" not in text:
            opens = call[1] in ("open", "openat")
            if not opens or "O_CREAT" in text or "O_TRUNC" in text:
                counted[call[1]] += 1
    assert counted and seen == counted


def test_each_way_of_interrupting(injector: Injector, tmp_path: Path) -> None:
    """Killed before a call, after half of a write; short; failing once, or for good."""
    task = ["tests.hazard.test_inject:write_twice", tmp_path / "s" / "file"]

    def after(act: str, at: int, error: int = 0) -> tuple[int | None, bytes]:
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        (tmp_path / "s").mkdir()
        outcome = injector.run(task, tmp_path / "s", tmp_path, at, act, error)
        file = tmp_path / "s" / "file"
        return outcome.status, file.read_bytes() if file.exists() else b"none"

    assert after("count", 0) == (0, b"12345678")
    assert after("kill", 1) == (None, b"none")
    assert after("kill", 3) == (None, b"1234")
    assert after("torn", 3) == (None, b"123456")
    assert after("short", 2) == (2, b"125678")
    assert after("fail", 2, 5) == (5, b"5678")
    assert after("dead", 2, 5) == (10, b"")
    assert after("full", 2, 28) == (30, b"12")


def write_twice(path: str) -> None:
    """Two writes, whatever comes of the first; exits with the sum of what went wrong: the number
    of bytes not written, or of the error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    wrong = 0
    for data in (b"1234", b"5678"):
        try:
            wrong += len(data) - os.write(descriptor, data)
        except OSError as error:
            wrong += error.errno or 0
    sys.exit(wrong)
