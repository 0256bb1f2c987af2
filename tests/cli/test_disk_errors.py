"""An error of the disk names a file, wherever in its work it meets a command."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy
from tests.systems import pair_snapshot, plain_configuration
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    WalkerReporter,
    prepare_store,
)

REPORTERS = (
    HDF5Reporter,
    DashboardReporter,
    InitTopologyReporter,
    WalkerReporter,
    FamilyTreeReporter,
)

#: Every one makes something in the current directory, which has no other name there than ".".
COMMANDS = {
    "create": "create orch new",
    "get": "get snapshot {store} default --output=o.pkl",
    "get by default": "get config {store} default",
    "get run": "get run {store} {start} {end} --output=o.orch",
    "add": "add snapshot new {file}",
    "reconcile": "reconcile orch new {store}",
    "run": "run orch --job-dir=job --job-name=job --n-cycles=2 --seed=1 {store} default - 10",
    "resume": "resume --n-cycles=3 job",
    "tag": "tag new mine {start}",
    "fsck": "fsck --repair new",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with a run of two cycles, a job folder, and a file of wepy get."""
    from tests.systems import Recorder
    from wepystore.orchestrator.run.request import RunRequest
    from wepystore.orchestrator.run.run import run
    from wepystore.orchestrator.run.start import start_from
    from wepystore.store import exports

    home = tmp_path_factory.mktemp("disk")
    store = prepare_store(
        home / "x.orch", pair_snapshot(), plain_configuration(None, [each() for each in REPORTERS])
    ).store
    start = start_from(store, "default", None)
    request = RunRequest(n_steps=10, job_dir=home / "job", job_name="job", n_cycles=2, seed=1)
    outcome = run(start, request, Recorder())
    exports.write(store, "snapshots", outcome.start, home / "s.pkl")
    return {
        "home": str(home),
        "store": str(home / "job" / "checkpoint.orch"),
        "start": outcome.start,
        "end": outcome.end,
        "file": str(home / "s.pkl"),
    }


@pytest.mark.parametrize("what", COMMANDS)
def test_a_failing_fsync_names_a_file(
    wepy: Wepy,
    made: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """The first, the second, … fsync of each command fails, of files and of directories: one line
    with a path that is more than ".", and no traceback or "bug"."""
    real, left = os.fsync, [0]

    def failing(descriptor: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    met = 0
    often = what in ("run", "resume")
    for nth in range(1, 90, 7) if often else range(1, 60):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        os.chdir(tmp_path)
        if what in ("add", "reconcile", "tag", "fsck"):
            shutil.copytree(Path(made["home"]) / "x.orch", "new")
        if what == "resume":
            shutil.copytree(Path(made["home"]) / "job", "job")
        left[0] = nth
        done = wepy(COMMANDS[what].format(**made))
        if left[0] > 0:
            break
        met += 1
        if done.status != 0 and "Input/output error" in done.err:
            line = next(text for text in done.err.splitlines() if "Input/output error" in text)
            assert re.search(r"[\w/.-]*\w[\w/.-]*: Input/output error", line), (nth, line)
            assert not re.search(r"error: Input/output error", line), (nth, line)
        assert "bug in wepystore" not in done.err, (nth, done.err)
        if done.status != 0 and what.startswith("get"):
            assert os.listdir() == [], nth
    assert often or (done.status == 0 and left[0] > 0), done.err
    assert met or what == "fsck"
