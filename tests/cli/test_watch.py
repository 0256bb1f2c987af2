"""wepy watch: how a job stands, before, while and after it runs, without disturbing it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy
from tests.systems import environment, tree_of
from tests.waiting import PATIENCE_S, until
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    DashboardReporter,
    PositionCoordinate,
    RandomWalkRunner,
    RandomWalkTargetBC,
    SerialMapper,
    Snapshot,
    Walker,
    prepare_store,
)

RUNNER = RandomWalkRunner(probability=0.4)
N_WALKERS = 20


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with walks from 0 that go back there from 8, in bins."""
    path = tmp_path_factory.mktemp("watch") / "walks.orch"
    origin = RUNNER.initial_state()
    apparatus = Apparatus(
        RUNNER,
        RandomWalkTargetBC(8, [origin]),
        BinResampler(PositionCoordinate(), edges=[k + 0.5 for k in range(8)], pmax=1.0),
    )
    start = Snapshot([Walker(origin, 1 / N_WALKERS)] * N_WALKERS, apparatus)
    prepare_store(path, start, Configuration(SerialMapper(), [DashboardReporter()]))
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "wepystore", *map(str, words)]


@pytest.fixture
def job(walks: Path, tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A job that goes on without end, and its process."""
    folder = tmp_path / "job"
    words = ("--checkpoint-freq=50", "--seed=1", "--job-name=walk", f"--job-dir={folder}")
    run = subprocess.Popen(
        command("run", "orch", *words, walks, "default", "-", 2),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (folder / ".progress").exists(), run)
        yield folder, run
    finally:
        run.kill()
        run.wait()


def looked_at(wepy: Wepy, folder: Path, status: int = 0) -> dict[str, Any]:
    """What one look tells."""
    result = wepy("watch --once --json", folder)
    assert (result.status, result.err) == (status, "")
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_from_beginning_to_end(
    wepy: Wepy, job: tuple[Path, subprocess.Popen[bytes]], walks: Path
) -> None:
    """While it runs, after kill -9, and when it has done all it was asked for; a look changes no
    file, not even a moment of one."""
    folder, run = job
    until(lambda: list((folder / "checkpoint.orch" / "runs").rglob("*.json")), run)
    os.kill(run.pid, signal.SIGSTOP)
    before = tree_of(folder)
    told = looked_at(wepy, folder)
    page = wepy("watch --once", folder)
    assert tree_of(folder) == before
    assert told["state"] == "running" and told["holder"]["pid"] == run.pid
    assert told["n_cycles"] >= 1 and told["n_cycles_wanted"] is None
    assert told["weights"]["n_walkers"] == N_WALKERS
    assert 1 <= told["weights"]["effective"] <= N_WALKERS
    assert "bins" in told["components"]["resampler"]
    assert page.status == 0 and f"process {run.pid} on" in page.lines[0]
    assert any(line.startswith("resampler: bins: ") for line in page.lines)

    run.kill()
    run.wait()
    told = looked_at(wepy, folder, status=75)
    assert told["state"] == "killed" and told["ended_by"] is None
    assert told["checkpoint"]["n_cycles"] % 50 == 0
    page = wepy("watch", folder)
    assert page.status == 75
    assert "was killed" in page.lines[0] and page.lines[-1] == f"to go on: wepy resume {folder}"

    n_cycles = told["checkpoint"]["n_cycles"] + 64
    assert wepy(f"resume --n-cycles={n_cycles}", folder).status == 0
    told = looked_at(wepy, folder)
    assert (told["state"], told["ended_by"]) == ("complete", "n_cycles")
    assert told["n_cycles"] == told["n_cycles_wanted"] == n_cycles
    assert told["n_warped"] > 0 and told["weights"]["n_walkers"] == N_WALKERS
    assert not (folder / ".progress").exists()
    # What the page of the dashboard says of the rate, from figures that it has kept itself.
    (dashboard,) = folder.glob("*.dash.org")
    rate = re.search(r"^- rate :: (.*)$", dashboard.read_text(), re.M)
    assert rate is not None and told["rate_text"] == rate[1]


def test_a_job_that_a_signal_has_stopped(
    wepy: Wepy, job: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    """It says by what, and how to go on."""
    folder, run = job
    run.send_signal(signal.SIGTERM)
    assert run.wait(PATIENCE_S) == 75
    assert looked_at(wepy, folder, status=75)["ended_by"] == "SIGTERM"
    lines = wepy("watch --once", folder).lines
    assert lines[0].endswith("stopped early: by SIGTERM") and "wepy resume" in lines[-1]


def test_it_waits_for_a_job_and_ends_with_it(walks: Path, tmp_path: Path) -> None:
    """One line of JSON for each change, from before it begins to its end; status 0."""
    folder = tmp_path / "later"
    watch = subprocess.Popen(
        command("watch", "--json", "--interval=0.05", folder),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert first["state"] == "not begun" and first["n_cycles"] == 0
    words = ("--n-cycles=300", "--seed=1", f"--job-dir={folder}")
    subprocess.run(
        command("run", "orch", *words, walks, "default", "-", 2), env=environment(), check=True
    )
    told = [json.loads(line) for line in watch.communicate(timeout=PATIENCE_S)[0].splitlines()]
    assert watch.returncode == 0
    assert [told[0]["state"], told[-1]["state"]] == ["running", "complete"]
    assert told[-1]["n_cycles"] == 300
    cycles = [each["n_cycles"] for each in told]
    assert cycles == sorted(cycles)
    assert all(one != other for one, other in pairwise(told))


def test_ctrl_c_ends_the_look_and_not_the_run(job: tuple[Path, subprocess.Popen[bytes]]) -> None:
    """Status 130; what goes where no terminal is, are plain lines as the run itself tells them."""
    folder, run = job
    watch = subprocess.Popen(
        command("watch", "--interval=0.05", folder),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert watch.stdout is not None
    line = watch.stdout.readline()
    assert re.match(r"cycle \d+ · .* · weights ", line) and "\x1b" not in line
    watch.send_signal(signal.SIGINT)
    assert watch.wait(PATIENCE_S) == 130
    assert run.poll() is None


def test_on_a_terminal_a_page_is_drawn_anew(job: tuple[Path, subprocess.Popen[bytes]]) -> None:
    """No line is longer than the window; without colours; the last page stays."""
    folder, run = job
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 44, 0, 0))
    watch = subprocess.Popen(
        command("watch", "--interval=0.05", folder),
        env=environment(NO_COLOR="1", TERM="xterm-256color"),
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown = b""
    while shown.count(b"seed 1, 2 steps a cycle") < 3:
        shown += os.read(controller, 65536)
    run.send_signal(signal.SIGTERM)
    while watch.poll() is None:
        time.sleep(0.01)
    while chunk := _rest(controller):
        shown += chunk
    os.close(controller)
    assert watch.returncode == 75
    text = shown.decode()
    drawn, _, last = text.rpartition("\x1b[2K")
    assert "\x1b[1A" in drawn  # It went up, to draw over what was there.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 44
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)
    assert "stopped early: by SIGTERM" in last


def _rest(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # The other end is closed.
        return b""


def test_what_is_no_job_is_said_at_once(wepy: Wepy, walks: Path, tmp_path: Path) -> None:
    """Nothing that never becomes a job is waited for."""
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    for path in (walks, tmp_path / "file", tmp_path / "full", tmp_path / "no" / "where"):
        result = wepy("watch", path)
        assert (result.status, result.out) == (1, "")
        assert len(result.err.splitlines()) == 1 and "holds no job" in result.err
    assert wepy("watch --interval=0", tmp_path).status == 2
