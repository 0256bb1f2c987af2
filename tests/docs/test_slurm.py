"""The scripts of docs/slurm.md, run as SLURM would run them: same files, its variables and signals.

What stands in for SLURM is a queue: `sbatch` and `scontrol` write down what they are asked for,
`squeue` says what it is told to, and the launcher below starts the scripts, warns and ends them,
and starts again what was requeued. test_real_slurm.py has the real one.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from glob import glob
from pathlib import Path

import pytest

from tests.hazard.killing import hdf5_contents
from tests.systems import REPOSITORY, pair_snapshot, plain_configuration
from tests.waiting import PATIENCE_S, until
from wepystore.api import HDF5Reporter, Prepared, Store, prepare_store

SCRIPTS = REPOSITORY / "docs" / "slurm"

SBATCH = """#!/bin/sh
n=$(($(cat "$QUEUE/last" 2>/dev/null || echo 100) + 1))
echo $n > "$QUEUE/last"
for word; do printf '%s\\n' "$word"; done > "$QUEUE/$n.job"
echo $n
"""
SCONTROL = '#!/bin/sh\n[ "$1" = requeue ] && echo "$2" >> "$QUEUE/requeued"\n'
SQUEUE = """#!/bin/sh
case "$*" in
*%e*) echo "${ENDS:-NONE}" ;;
*%T*) echo "${STATE:-RUNNING None}" ;;
esac
"""
WEPY = f'#!/bin/sh\nexec "{sys.executable}" -m wepystore "$@"\n'


class Slurm:
    """A scheduler of one node that runs one task at a time."""

    def __init__(self, home: Path) -> None:
        self.queue = home / "queue"
        self.bin = home / "bin"
        self.home = home
        self.queue.mkdir()
        self.bin.mkdir()
        programs = {"sbatch": SBATCH, "scontrol": SCONTROL, "squeue": SQUEUE, "wepy": WEPY}
        for name, text in programs.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "QUEUE": str(self.queue),
        }
        self.log: list[str] = []

    def shell(self, script: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(script), *words],
            cwd=self.home,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def task(self, script: Path, warn_after: str | None, **variables: str) -> int:
        """One allocation. The warning that the script asks for comes when the file
        `warn_after` is there; to the batch shell alone if it says B:, as SLURM does it."""
        asked = re.search(r"^#SBATCH --signal=(B:)?(\w+)@\d+$", script.read_text(), re.MULTILINE)
        process = self.shell(script, **variables)
        if warn_after is not None and asked is not None:
            # (Not Path.glob, which fails where a directory goes that it is about to look into.)
            there = partial(glob, warn_after, root_dir=self.home)
            until(lambda: there() or process.poll() is not None)
            assert asked[1], "without B: only steps of srun are warned"
            process.send_signal(signal.Signals[f"SIG{asked[2]}"])
        out, _ = process.communicate(timeout=PATIENCE_S)
        self.log.append(out)
        return process.returncode

    def requeued(self) -> list[str]:
        """What was asked to be requeued since the last look."""
        file = self.queue / "requeued"
        if not file.exists():
            return []
        names = file.read_text().split()
        file.unlink()
        return names


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_store(
        tmp_path_factory.mktemp("slurm") / "x.orch",
        pair_snapshot(),
        plain_configuration(None, [HDF5Reporter()]),
    )


def record_of(job: Path) -> dict:
    """The last one: ends of earlier allocations stay."""
    files = (job / "checkpoint.orch" / "runs").glob("*/*.json")
    found: list[dict] = [json.loads(file.read_text()) for file in files]
    return max(found, key=lambda record: record["n_cycles"])


def test_a_run_is_warned_requeued_and_resumed(slurm: Slurm, made: Prepared) -> None:
    """run.sbatch over three allocations: a warning, the end of the allocation as the queue knows
    it (SLURM before 23.02 does not set SLURM_JOB_END_TIME), and the rest. The run is one run, whose
    end is that of one that was never stopped."""
    script = SCRIPTS / "run.sbatch"
    variables = {
        "ORCH": str(made.store.path),
        "STEPS": "3000",
        "N_CYCLES": "50",
        "CHECKPOINT_EVERY": "0.1s",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "1",
    }
    job = slurm.home / "jobs" / "1"
    first = slurm.task(script, "jobs/1/checkpoint.orch/runs/*/*.json", **variables)
    assert first == 75, slurm.log
    assert slurm.requeued() == ["7"]
    assert record_of(job)["execution"]["stopped_by"] == "SIGUSR1"
    done = record_of(job)["n_cycles"]
    assert 0 < done < 50
    # The allocation ends in the middle: nobody warns, but the program knows when.
    end = str(int(time.time()) + 6)
    second = slurm.task(script, None, ENDS=end, **variables)
    assert time.time() < float(end) + 1
    assert second in (0, 75), slurm.log
    if second == 75:
        assert slurm.requeued() == ["7"]
        assert record_of(job)["execution"]["stopped_by"] == "until"
        assert slurm.task(script, None, **variables) == 0, slurm.log
    assert slurm.requeued() == []
    record = record_of(job)
    assert record["n_cycles"] == 50 and record["execution"]["complete"]
    assert record["execution"]["resumed_from"][0]["n_cycles"] == done
    # Where SLURM says itself when the allocation ends, nobody else is asked.
    now = int(time.time())
    told = {"SLURM_JOB_END_TIME": str(now + 1000), "ENDS": str(now - 1000)}
    whole = {**variables, "JOBS": "whole", **told}
    assert slurm.task(script, None, **whole) == 0, slurm.log
    assert record_of(slurm.home / "whole" / "1")["end"] == record["end"]


@pytest.mark.parametrize(
    ("state", "comes_back"),
    [("RUNNING None", True), ("COMPLETING TimeLimit", True), ("COMPLETING None", False)],
)
def test_who_is_cancelled_does_not_come_back(slurm: Slurm, state: str, comes_back: bool) -> None:
    """A job is requeued where it was warned or its time is up, and not after scancel, whose
    SIGTERM is the same; so are those that are told before the program listens."""
    program = slurm.bin / "wepy"
    for status in (75, 138, 143):
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        facts = {"ORCH": "x.orch", "SLURM_JOB_ID": "7", "STATE": state}
        assert slurm.task(SCRIPTS / "run.sbatch", None, **facts) == status, slurm.log
        assert slurm.requeued() == (["7"] if comes_back else [])


def test_an_array_is_reconciled_at_the_end(slurm: Slurm, made: Prepared, tmp_path: Path) -> None:
    """submit.sh: three tasks with seeds of their own, one of them warned and requeued; then one
    store that has all three runs, and where the warned one stopped."""
    orch = tmp_path / "mine.orch"
    prepare_store(orch, pair_snapshot(), plain_configuration(None, [HDF5Reporter()]))
    variables = {"ORCH": str(orch), "STEPS": "200", "N_CYCLES": "12", "TASKS": "1-3"}
    submitting = slurm.shell(SCRIPTS / "submit.sh", **variables)
    assert submitting.communicate(timeout=PATIENCE_S)[0] == "102\n" and submitting.returncode == 0
    array, merge = ((slurm.queue / f"{n}.job").read_text().split() for n in (101, 102))
    assert "--array=1-3" in array and "--dependency=afterok:101" in merge
    script = Path(array[-1])
    waiting = ["101_1", "101_2", "101_3"]
    warned = False
    while waiting:
        name = waiting.pop(0)
        number = name.partition("_")[2]
        facts = {
            "SLURM_JOB_ID": str(200 + int(number)),
            "SLURM_ARRAY_JOB_ID": "101",
            "SLURM_ARRAY_TASK_ID": number,
        }
        warn = None if warned or number != "2" else "jobs/2/job.json"
        warned = warned or warn is not None
        status = slurm.task(script, warn, **variables, **facts)
        assert status in (0, 75, 138), slurm.log
        waiting += slurm.requeued()
    assert warned
    assert slurm.task(Path(merge[-1]), None, **variables) == 0, slurm.log
    store = Store.open(orch)
    runs = [store.manifest("runs", md5) for md5 in store.hashes("runs")]
    assert sorted(run["seed"] for run in runs if run["n_cycles"] == 12) == [1, 2, 3]
    shorter = [run for run in runs if run["n_cycles"] < 12]
    assert all(run["execution"]["ended_by"] == "SIGUSR1" and run["seed"] == 2 for run in shorter)


def test_a_loop_of_short_sessions(slurm: Slurm, made: Prepared) -> None:
    """loop.sh: sessions that each end by the clock, until the job is done; the same bytes in its
    files as in one session."""
    words = [
        *("run", "orch", "--job-name=job", "--seed=3", "--n-cycles=20", "--checkpoint-freq=3"),
        *(str(made.store.path), "default", "600", "8000"),
    ]
    for job in ("whole", "job"):
        begun = time.monotonic()
        end = [f"--until={int(time.time()) + 10}"] if job == "job" else []
        done = subprocess.run(
            [sys.executable, "-m", "wepystore", *words, f"--job-dir={job}", *end],
            cwd=slurm.home,
            env=slurm.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode in ((0,) if job == "whole" else (0, 75)), done.stderr
        taken = time.monotonic() - begun
    # As short as sessions can be that still get on, on a machine as busy as this one.
    loop = slurm.shell(SCRIPTS / "loop.sh", "job", HOUR=str(10 + 2 * math.ceil(taken)))
    out, _ = loop.communicate(timeout=PATIENCE_S)
    assert loop.returncode == 0, out
    job, whole = slurm.home / "job", slurm.home / "whole"
    assert record_of(job)["end"] == record_of(whole)["end"]
    assert record_of(job)["n_cycles"] == 20
    assert hdf5_contents(job / "job.wepy.h5") == hdf5_contents(whole / "job.wepy.h5")


def test_every_script_is_on_the_page() -> None:
    """And the page links to no other."""
    page = (SCRIPTS.parent / "slurm.md").read_text()
    linked = set(re.findall(r"\(slurm/([\w.]+)\)", page))
    assert linked == {file.name for file in SCRIPTS.iterdir()}
