"""Runs whose terminal, log or reader goes away: what is said is lost, what was run is not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.test_run import one_record, orch
from tests.systems import environment, pair_apparatus, plain_configuration, program
from tests.test_tutorial import ENDS
from tests.waiting import PATIENCE_S, records_in, until
from wepystore.api import (
    MissingError,
    NoResampler,
    ProcessMapper,
    Runner,
    Snapshot,
    Walker,
    WalkerState,
    load_run,
    prepare_store,
)

__all__ = ["orch"]

#: So that there is something to wait for.
EACH = "--checkpoint-freq=1"


def start(
    *words: object, stderr: int | IO[Any], begin: Callable[[], object] = os.getpid
) -> subprocess.Popen[str]:
    """`wepy run`; `begin` is called in the new process, before the program."""
    return subprocess.Popen(
        [sys.executable, "-m", "wepystore", "run", "orch", *map(str, words)],
        stdin=stderr,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment(),
        preexec_fn=begin,
    )


def wait_for_a_checkpoint(job: Path, run: subprocess.Popen[str], after: int = 0) -> int:
    """Until there is one of more than `after` cycles; of how many it is."""
    found = 0

    def there() -> bool:
        nonlocal found
        for md5 in records_in(job):
            with contextlib.suppress(MissingError):  # It was just superseded.
                found = max(found, load_run(job, md5).n_cycles)
        return found > after

    until(there, run)
    return found


@pytest.mark.parametrize("n_workers", [1, 2])
def test_remarks_that_nobody_can_read_do_not_end_a_run(
    orch: Path, tmp_path: Path, n_workers: int
) -> None:
    """A log on a full disk, a `tee` that died: the same answer, status 0, all cycles kept."""
    options = [f"--n-workers={n_workers}", "--seed=1", "--n-cycles=4"]
    reader, broken = os.pipe()
    os.close(reader)
    ends = []
    with open("/dev/full", "w") as full:
        for stderr in (full.fileno(), broken):
            job = tmp_path / f"job{len(ends)}"
            run = start(*options, f"--job-dir={job}", orch, "default", 60, 10, stderr=stderr)
            ends.append(run.communicate(timeout=PATIENCE_S)[0])
            assert run.returncode == 0
            assert one_record(job)["n_cycles"] == 4
    os.close(broken)
    assert ENDS.fullmatch(ends[0]) and ends[0] == ends[1]


def test_a_signal_that_cannot_be_told_of_is_heeded(orch: Path, tmp_path: Path) -> None:
    """Its handler speaks too: on a full disk as well it ends the run after the cycle."""
    with open("/dev/full", "w") as full:
        words = (EACH, f"--job-dir={tmp_path / 'job'}", orch, "default", 600, 2000)
        run = start(*words, stderr=full)
        wait_for_a_checkpoint(tmp_path / "job", run)
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 75 and ENDS.fullmatch(out)
    assert one_record(tmp_path / "job")["execution"]["stopped_by"] == "SIGTERM"


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_end_of_the_terminal_ends_the_run_with_a_checkpoint(
    orch: Path, tmp_path: Path, n_workers: int
) -> None:
    """An ssh that breaks off: SIGHUP, and a terminal on which nothing can be drawn any more."""
    controller, terminal = os.openpty()
    job = tmp_path / "job"

    def session() -> None:
        # As it would be where this suite itself runs under nohup.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    words = (EACH, f"--n-workers={n_workers}", f"--job-dir={job}", orch, "default", 600, 2000)
    run = start(*words, stderr=terminal, begin=session)
    os.close(terminal)
    wait_for_a_checkpoint(job, run)
    os.close(controller)
    out, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 75 and ENDS.fullmatch(out)
    assert one_record(job)["execution"]["stopped_by"] == "SIGHUP"


def test_under_nohup_the_end_of_the_terminal_is_nothing(orch: Path, tmp_path: Path) -> None:
    """SIGHUP stays ignored where it was."""
    job = tmp_path / "job"
    ignored = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    words = (EACH, f"--job-dir={job}", orch, "default", 600, 2000)
    run = start(*words, stderr=subprocess.DEVNULL, begin=ignored)
    done = wait_for_a_checkpoint(job, run)
    run.send_signal(signal.SIGHUP)
    # The cycle in which it came may be finished; two more are not.
    wait_for_a_checkpoint(job, run, done + 2)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=PATIENCE_S)
    assert one_record(job)["execution"]["stopped_by"] == "SIGTERM"


@pytest.mark.parametrize("until", ["2400-01-01T00:00", "99999999999"])
def test_a_limit_in_the_far_future_is_none(orch: Path, tmp_path: Path, until: str) -> None:
    """The system's timers do not reach so far."""
    job = tmp_path / "job"
    words = (f"--until={until}", "--n-cycles=2", f"--job-dir={job}", orch, "default", 60, 10)
    run = start(*words, stderr=subprocess.PIPE)
    _, error = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, error
    assert one_record(job)["n_cycles"] == 2


class Chatty(Runner):
    """Adds one, and says so: by Python, and as compiled code would."""

    def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Walker:
        print("a step forward")
        os.write(1, b"one more\n")
        return Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight)


@pytest.mark.parametrize("mapper", [None, ProcessMapper(2)])
def test_what_components_print_is_no_answer(tmp_path: Path, mapper: Any) -> None:
    """stdout holds the hashes alone, of `run`, `resume` and `verify`; the words are on stderr."""
    parts = pair_apparatus(runner=Chatty(), boundary_conditions=None, resampler=NoResampler())
    walkers = [Walker(WalkerState(x=[float(k)]), 0.5) for k in range(2)]
    configuration = plain_configuration(mapper)
    orch = prepare_store(tmp_path / "x.orch", Snapshot(walkers, parts), configuration).store.path
    job, ends = tmp_path / "job", ""
    words = ("orch", "--n-cycles=2", f"--job-dir={job}", orch, "default", 60, 1)
    for command in (("run", *words), ("resume", "--n-cycles=4", job), ("verify",)):
        if command[0] == "verify":
            command += (job / "checkpoint.orch", ends)
        done = program(*command)
        assert done.returncode == 0, done.stderr
        assert "forward" not in done.stdout and "one more" not in done.stdout
        assert "a step forward\n" in done.stderr and "one more\n" in done.stderr
        if command[0] != "verify":
            assert ENDS.fullmatch(done.stdout)
            ends = done.stdout.split(": ")[1].replace(", ", ",").strip()
