"""wepy watch: how a job stands, before, while and after it runs, without disturbing it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
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
    read_job,
    run,
)
from wepystore.orchestrator.job.job_status import JobReader
from wepystore.store.system import process_start

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
    process = subprocess.Popen(
        command("run", "orch", *words, walks, "default", "-", 2),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (folder / ".progress").exists(), process)
        yield folder, process
    finally:
        process.kill()
        process.wait()


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
    folder, process = job
    until(lambda: list((folder / "checkpoint.orch" / "runs").rglob("*.json")), process)
    os.kill(process.pid, signal.SIGSTOP)
    before = tree_of(folder)
    told = looked_at(wepy, folder)
    page = wepy("watch --once", folder)
    assert tree_of(folder) == before
    assert told["state"] == "running" and told["holder"]["pid"] == process.pid
    assert told["n_cycles"] >= 1 and told["n_cycles_wanted"] is None
    assert told["weights"]["n_walkers"] == N_WALKERS
    assert 1 <= told["weights"]["effective"] <= N_WALKERS
    assert "bins" in told["components"]["resampler"]
    assert page.status == 0 and f"process {process.pid} on" in page.lines[1]
    assert any(line.startswith("resampler: bins: ") for line in page.lines)

    process.kill()
    process.wait()
    told = looked_at(wepy, folder, status=75)
    assert told["state"] == "killed" and told["ended_by"] is None
    assert told["checkpoint"]["n_cycles"] % 50 == 0
    page = wepy("watch", folder)
    assert page.status == 75
    assert (
        page.lines[1].startswith("state: killed: process ")
        and page.lines[-1] == f"to go on: wepy resume {folder}"
    )

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
    folder, process = job
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 75
    assert looked_at(wepy, folder, status=75)["ended_by"] == "SIGTERM"
    lines = wepy("watch --once", folder).lines
    assert lines[1] == "state: stopped: by SIGTERM" and "wepy resume" in lines[-1]


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
    folder, process = job
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
    assert process.poll() is None


def test_on_a_terminal_a_page_is_drawn_anew(job: tuple[Path, subprocess.Popen[bytes]]) -> None:
    """No line is longer than the window; without colours; the last page stays."""
    folder, process = job
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 44, 0, 0))
    env = environment(NO_COLOR="1", TERM="xterm-256color")
    # What runs tests on several workers sets it, and it is believed more than the window.
    env.pop("COLUMNS", None)
    watch = subprocess.Popen(
        command("watch", "--interval=0.05", folder),
        env=env,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown, deadline, asked = b"", time.monotonic() + PATIENCE_S, False
    # Read to its end: a terminal that nobody reads from holds up who writes to it.
    while chunk := _rest(controller):
        shown += chunk
        assert time.monotonic() < deadline, shown[-2000:]
        if not asked and shown.count(b"seed 1, 2 steps a cycle") > 2:
            process.send_signal(signal.SIGTERM)
            asked = True
    os.close(controller)
    assert watch.wait(PATIENCE_S) == 75
    text = shown.decode()
    drawn, _, last = text.rpartition("\x1b[2K")
    assert "\x1b[1A" in drawn  # It went up, to draw over what was there.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 44
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)
    assert "state: stopped: by SIGTERM" in last


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


@pytest.fixture(scope="module")
def done(walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that has done all it was asked for."""
    folder = tmp_path_factory.mktemp("done") / "job"
    run("default", store=walks, n_steps=2, n_cycles=40, seed=1, job_dir=folder)
    return folder


def test_the_report_beside_it(wepy: Wepy, done: Path, tmp_path: Path) -> None:
    """Written anew for each checkpoint; never into the job's folder, never over a file that is
    somebody else's."""
    before = tree_of(done)
    result = wepy("watch --html page.html", done)
    assert (result.status, result.err) == (0, "")
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    again = wepy("watch --once --html page.html", done)
    assert (again.status, again.out) == (1, "") and "is there already" in again.err
    assert wepy("watch --once --force --html page.html", done / "checkpoint.orch").status == 0
    inside = wepy("watch --once --html", done / "page.html", done)
    assert inside.status == 2 and "in the job's folder" in inside.err
    assert tree_of(done) == before


def test_the_report_of_a_job_that_goes_on(
    job: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """There after the first checkpoint, and at the end it is of the end."""
    folder, process = job
    watch = subprocess.Popen(
        command("watch", "--json", "--interval=0.05", "--html=page.html", folder),
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    until((tmp_path / "page.html").exists, watch)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    *_, last = watch.communicate(timeout=PATIENCE_S)[0].splitlines()
    assert watch.returncode == 75
    page, status = (tmp_path / "page.html").read_text(), json.loads(last)
    assert status["state"] == "stopped" and status["record"][:8] in page


def test_a_store_that_changes_while_it_is_read(walks: Path, tmp_path: Path) -> None:
    """Of a process that tells nothing the last checkpoint is shown: many looks, while a new one
    supersedes it each cycle; no cycle comes twice, and none is lost from the flux."""
    folder = tmp_path / "job"
    (folder / ".progress").mkdir(parents=True)  # So that none can be written.
    words = ("--checkpoint-freq=1", "--n-cycles=40", "--seed=1", f"--job-dir={folder}")
    process = subprocess.Popen(
        command("run", "orch", *words, walks, "default", "-", 2),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    reader, seen = JobReader(folder), [0]
    until(lambda: (folder / "job.json").exists(), process)
    while not (status := reader.read()).is_over:
        seen.append(status.standing.n_cycles)
        time.sleep(0.01)
    assert process.wait(PATIENCE_S) == 0
    assert seen == sorted(seen) and len(set(seen)) > 4
    assert status.state == "complete"
    # Joined from many looks it is what one look finds.
    assert status.standing == read_job(folder).standing
    assert status.standing.flux.estimate() is not None


def test_who_a_process_is(wepy: Wepy, done: Path, tmp_path: Path) -> None:
    """A number that another process has by now is no holder; one on another host may be."""
    folder = Path(shutil.copytree(done, tmp_path / "job"))
    holder = {"lock": "wepystore job", "host": os.uname().nodename, "pid": os.getpid()}
    began = process_start(os.getpid())
    assert began is not None
    for changes, state in [
        ({}, "running"),  # As older versions have it.
        ({"began": began}, "running"),
        ({"began": began - 1.0}, "complete"),
        ({"began": began - 1.0, "host": "elsewhere"}, "running"),
        ({"pid": 2**31 - 1}, "complete"),
    ]:
        (folder / ".lock").write_text(json.dumps({**holder, "since": "then", **changes}))
        assert looked_at(wepy, folder)["state"] == state


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("bomb", 3, "does not say what was run"),
        ("huge", 3, "does not say what was run"),
        ("pipe", 3, "does not say what was run"),
        ("newer", 1, "newer wepystore"),
        ("link", 1, "symbolic link"),
        ("gone", 1, "has lost checkpoint.orch"),
    ],
)
def test_a_hostile_folder(
    wepy: Wepy, done: Path, tmp_path: Path, what: str, status: int, said: str
) -> None:
    """One line, and nothing followed, waited for or filled into memory."""
    folder = Path(shutil.copytree(done, tmp_path / "job"))
    spec, store = folder / "job.json", folder / "checkpoint.orch"
    if what == "bomb":
        spec.write_text("[" * 100_000)
    elif what == "huge":
        os.truncate(spec, 1 << 40)
    elif what == "newer":
        spec.write_text(re.sub('"format":.', '"format":99', spec.read_text()))
    elif what == "pipe":
        spec.unlink()
        os.mkfifo(spec)
    else:
        store.rename(tmp_path / "away")
        if what == "link":
            store.symlink_to(tmp_path / "away")
    for options in ("--once", "--json", ""):
        result = wepy(f"watch {options}", folder)
        assert (result.status, result.out) == (status, "")
        assert said in result.err and len(result.err.splitlines()) == 1


def test_what_a_component_says_moves_no_cursor(
    wepy: Wepy, job: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    """Texts of a stranger's job are shown with what is not to be seen escaped."""
    folder, process = job
    process.kill()
    process.wait()
    told = json.loads((folder / ".progress").read_text())
    told["components"]["resampler"] = {"\x1b[2J": "a\nb\u202e"}
    (folder / ".progress").write_text(json.dumps(told))
    page, line = wepy("watch --once", folder).out, wepy("watch --json", folder).out
    assert "\x1b" not in page + line and "\u202e" not in page + line
    assert len(line.splitlines()) == 1 and json.loads(line)["components"]["resampler"]
    # Of a process on another host old news is no proof of its end.
    (folder / ".progress").write_text(json.dumps({**told, "at": 1e9}))
    lock = json.loads((folder / ".lock").read_text())
    (folder / ".lock").write_text(json.dumps({**lock, "host": "elsewhere"}))
    assert "cannot be asked from here" in wepy("watch --once", folder).lines[1]


def test_a_run_that_takes_its_folder_away(walks: Path, tmp_path: Path, wepy: Wepy) -> None:
    """What fails before its first cycle is done leaves nothing: whoever watched is told."""
    folder = tmp_path / "job"
    folder.mkdir()
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    holder = {"lock": "wepystore job", "host": os.uname().nodename, "pid": os.getpid()}
    (folder / ".lock").write_text(json.dumps({**holder, "since": now}))
    watch = subprocess.Popen(
        command("watch", "--interval=0.05", folder),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None and "running: process" in watch.stdout.readline()
    shutil.rmtree(folder)
    _, error = watch.communicate(timeout=PATIENCE_S)
    assert watch.returncode == 1 and "has gone" in error
