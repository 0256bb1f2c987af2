"""The commands of docs/dask.md, run as they stand there but for names and numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, blocks
from tests.systems import REPOSITORY, run_job
from tests.waiting import records_in, until
from tests.workers import alive, children_of, seconds_until_gone, stat_of
from wepystore.api import Prepared

N_CYCLES = 30
N_STEPS = 3000
PAGE = [block.text for block in blocks((DOCS / "dask.md").read_text())]
#: `srun --ntasks=N COMMAND…` with N processes of this host instead of N of a cluster.
SRUN = """#!/bin/bash
n=${1#--ntasks=}
shift
for ((k = 0; k < n; k++)); do "$@" & done
wait
"""


def command(start: str, **replaced: str) -> str:
    """The block of the page that begins so, with some of its words replaced, all of them there."""
    (text,) = [block for block in PAGE if block.startswith(start)]
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder to work in, and no process in it afterwards."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "dask": f'#!/bin/sh\nexec "{sys.executable}" -m dask "$@"\n',
        "wepy": f'#!/bin/sh\nexec "{sys.executable}" -m wepystore "$@"\n',
        "srun": SRUN,
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    yield tmp_path


def shell(home: Path, name: str, script: str, **more: str) -> subprocess.Popen[str]:
    """Bash at work on a script, in a session of its own; what it says is in NAME.out, NAME.err."""
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=home,
        env={
            **os.environ,
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(home),
            **more,
        },
        stdin=subprocess.DEVNULL,
        stdout=(home / f"{name}.out").open("w"),
        stderr=(home / f"{name}.err").open("w"),
        text=True,
        start_new_session=True,
    )


def end_session(process: subprocess.Popen[str]) -> None:
    """End a shell and all that it has started, groups of their own among them."""
    found = [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and (stat := stat_of(entry)) and int(stat[3]) == process.pid
    ]
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    seconds_until_gone(found)


def words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def workers_of_nannies(home: Path) -> list[int]:
    """Processes that compute for `dask worker`: not the nannies, which start them again."""
    nannies = [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and "dask worker" in words_of(int(entry)) and alive(int(entry))
        if os.path.samefile(f"/proc/{entry}/cwd", home)
    ]
    return [pid for nanny in nannies for pid in children_of(nanny) if "spawn_main" in words_of(pid)]


@pytest.fixture(scope="module")
def wanted(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The end hash of the same run without dask."""
    job = tmp_path_factory.mktemp("serial") / "job"
    return run_job(
        pair_store.store, pair_store.snapshot_hash, job, n_steps=N_STEPS, n_cycles=N_CYCLES
    ).end


def test_scheduler_and_workers_by_hand(home: Path, pair_store: Prepared, wanted: str) -> None:
    """Two workers; the one that works is killed in the middle of the run, its nanny starts
    another. The end hash is that of the serial run, and the scheduler stays for the next."""
    cluster = shell(
        home, "cluster", command("dask scheduler", **{"--nworkers 8 &": "--nworkers 2 & wait"})
    )
    try:
        until(lambda: (home / "scheduler.json").exists() and len(workers_of_nannies(home)) == 2)
        run = shell(
            home,
            "run",
            command(
                "wepy run orch",
                ORCH=f"--seed 1 --n-cycles {N_CYCLES} --checkpoint-freq 1 --job-dir job "
                f"{pair_store.store.path}",
                START=pair_store.snapshot_hash,
                **{"5000": str(N_STEPS)},
            ),
        )
        until(lambda: records_in(home / "job") or run.poll() is not None)
        assert run.poll() is None, (home / "run.err").read_text()
        # A nanny whose worker dies before the scheduler knows it gives up, and its sister with it.
        until(
            lambda: (
                (home / "cluster.err").read_text().count("Register worker addr") == 2
                or run.poll() is not None
            )
        )
        victims = workers_of_nannies(home)
        os.kill(victims[0], signal.SIGKILL)
        assert run.poll() is None, "it was over before"
        assert run.wait(240) == 0, (home / "run.err").read_text()
        assert (home / "run.out").read_text().split()[-1] == wanted
        until(lambda: len(workers_of_nannies(home)) == 2)
        assert victims[0] not in workers_of_nannies(home)
        assert cluster.poll() is None
    finally:
        end_session(cluster)


def test_the_script_of_one_slurm_job(home: Path, pair_store: Prepared, wanted: str) -> None:
    """With two processes of this host for the tasks of `srun`: started, run, ended with the status
    of `wepy run`."""
    script = command(
        "#!/bin/bash",
        ORCH=str(pair_store.store.path),
        START=f"{pair_store.snapshot_hash} --seed 1 --n-cycles {N_CYCLES}",
        **{"--ntasks=32": "--ntasks=2", " 5000": f" {N_STEPS}"},
    )
    job = shell(home, "run", script, SLURM_JOB_ID="77")
    try:
        assert job.wait(240) == 0, (home / "run.err").read_text()
        assert (home / "run.out").read_text().split()[-1] == wanted
    finally:
        end_session(job)
