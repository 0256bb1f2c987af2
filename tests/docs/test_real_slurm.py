"""The scripts of docs/slurm.md and the recipes of docs/dask.md on a real SLURM of one node.

What test_slurm.py asks of a stand-in in seconds, and what no stand-in knows: what SLURM tells a
job, when it warns, whom its signals reach, and what becomes of one that is requeued, cancelled or
lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import installed
from tests.docs.slurm_cluster import PROGRAMS, Cluster, wait_until
from tests.docs.test_dask import command
from tests.docs.test_slurm import SCRIPTS, record_of
from tests.hazard.killing import hdf5_contents
from tests.systems import (
    REPOSITORY,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    plain_configuration,
)
from tests.waiting import records_in
from wepystore.api import HDF5Reporter, OpenMMRunner, Prepared, Store, prepare_store

pytestmark = pytest.mark.slow

RUN = SCRIPTS / "run.sbatch"
N_STEPS = 200
#: SLURM's least time limit is a minute: a run of so many cycles of half a second takes longer.
N_CYCLES = 140
_PATIENCE_S = 300


class Paced(OpenMMRunner):
    """The pair's runner, whose segments take $PACE_S seconds at least: as many cycles fit into a
    minute on any machine, idle or not."""

    def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
        end = time.monotonic() + float(os.environ.get("PACE_S", "0"))
        walker = super().run_segment(walker, segment_length, **keywords)
        while time.monotonic() < end:
            time.sleep(0.01)
        return walker


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM of our own. Nothing of it is left."""
    installed.need(*PROGRAMS)
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A store with six pairs that can be slowed down."""
    plain = pair_runner()
    runner = Paced(plain.system, plain.topology, plain.integrator, plain.platform)
    return prepare_store(
        tmp_path_factory.mktemp("real") / "x.orch",
        pair_snapshot(6, pair_apparatus(runner=runner)),
        plain_configuration(None, [HDF5Reporter()]),
    )


@pytest.fixture(scope="module")
def whole(made: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The job of so many cycles with seed 1, as it is done without SLURM."""
    folder = tmp_path_factory.mktemp("whole")

    def job(n_cycles: int) -> Path:
        path = folder / str(n_cycles)
        if not path.exists():
            words = [
                *("run", "orch", f"--job-dir={path}", "--seed=1", f"--n-cycles={n_cycles}"),
                *(str(made.store.path), "default", "1000", str(N_STEPS)),
            ]
            done = subprocess.run(
                [sys.executable, "-m", "wepystore", *words],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
        return path

    return job


class Desk:
    """A folder from which jobs are submitted, as a user does it."""

    def __init__(self, cluster: Cluster, folder: Path, store: Store) -> None:
        self.cluster = cluster
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, module in (("wepy", "wepystore"), ("dask", "dask")):
            (self.bin / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            (self.bin / name).chmod(0o755)
        self.variables = {
            "CHECKPOINT_EVERY": "0.2s",
            "PATH": f"{self.bin}:{cluster.environment['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ORCH": str(store.path),
            "STEPS": str(N_STEPS),
        }

    def told(self, *words: str | Path, **variables: str) -> str:
        return self.cluster.told(
            *map(str, words), cwd=self.folder, **{**self.variables, **variables}
        )

    def sbatch(self, *words: str | Path, **variables: str) -> str:
        """The number of the job."""
        return self.told("sbatch", "--parsable", *words, **variables)

    def said(self, number: str) -> str:
        return (self.folder / f"slurm-{number}.out").read_text()

    def await_checkpoint(self, job: str, number: str) -> None:
        """Wait until a run is on its way."""
        wait_until(
            lambda: records_in(self.folder / job),
            60,
            lambda: f"{self.cluster.job(number)} {self.said(number)}",
        )


@pytest.fixture
def desk(cluster: Cluster, made: Prepared, tmp_path: Path) -> Desk:
    return Desk(cluster, tmp_path, made.store)


def assert_same(job: Path, wanted: Path) -> None:
    """Two jobs have ended alike: the end hash, and every byte of the trajectories."""
    assert record_of(job)["end"] == record_of(wanted)["end"]
    (ours,), (theirs,) = job.glob("*.wepy.h5"), wanted.glob("*.wepy.h5")
    assert hdf5_contents(ours) == hdf5_contents(theirs)


def test_a_run_is_stopped_and_requeued(desk: Desk, whole: Callable[[int], Path]) -> None:
    """run.sbatch with a limit of one minute, three times: warned by SLURM; not warned, stopping by
    the clock; and neither, so that SLURM's SIGTERM comes when the time is up. All are requeued by
    the script, and end as if never stopped."""
    slow = {"N_CYCLES": str(N_CYCLES), "PACE_S": "0.25"}
    # A signal that does nothing in place of SIGUSR1.
    unwarned = ("--time=1", "--signal=B:CONT@1", RUN)
    jobs = {
        "Stopped by SIGUSR1": desk.sbatch("--time=1", RUN, JOBS="warned", **slow),
        "The time is up": desk.sbatch(*unwarned, JOBS="by-clock", **slow),
        "DUE TO TIME LIMIT": desk.sbatch(
            *unwarned,
            JOBS="late",
            SLURM_JOB_END_TIME="NONE",
            N_CYCLES=str(N_CYCLES),
            PACE_S="0.4",
        ),
    }
    for reason, number in jobs.items():
        known = desk.cluster.await_job(number, _PATIENCE_S, JobState="COMPLETED")
        said = desk.said(number)
        assert int(known["Restarts"]) == said.count("going on after") >= 1, said
        assert reason in said
        assert ("DUE TO TIME LIMIT" in said) == (reason == "DUE TO TIME LIMIT"), said
    for name in ("warned", "by-clock", "late"):
        assert_same(desk.folder / name / "1", whole(N_CYCLES))


def test_an_array_is_reconciled_at_the_end(desk: Desk, tmp_path: Path) -> None:
    """submit.sh: three tasks, the second of them warned and requeued. The reconcile waits for it
    all the while; then one store has all three runs."""
    orch = tmp_path / "mine.orch"
    desk.told("wepy", "init", orch)
    desk.told("wepy", "reconcile", "orch", orch, desk.variables["ORCH"])
    desk.variables["ORCH"] = str(orch)
    n_cycles = 80
    reconcile = desk.told(
        *(SCRIPTS / "submit.sh", "--time=10"), TASKS="1-3", N_CYCLES=str(n_cycles), PACE_S="0.05"
    )
    array = desk.cluster.job(reconcile)["Dependency"].partition(":")[2].partition("_")[0]
    second = f"{array}_2"
    desk.await_checkpoint("jobs/2", second)
    desk.told("scancel", "--signal=USR1", "--batch", second)
    desk.cluster.await_job(second, 60, JobState="PENDING", Restarts="1")
    for _ in range(20):
        assert desk.cluster.job(reconcile)["Reason"] == "Dependency"
        time.sleep(0.1)
    desk.cluster.await_job(reconcile, _PATIENCE_S, JobState="COMPLETED")
    assert "Stopped by SIGUSR1 after" in desk.said(second)
    store = Store.open(orch)
    runs = [store.manifest("runs", md5) for md5 in store.hashes("runs")]
    assert sorted(run["seed"] for run in runs if run["n_cycles"] == n_cycles) == [1, 2, 3]
    # The end that the warned one told of stays.
    shorter = [run for run in runs if run["n_cycles"] < n_cycles]
    assert [(run["seed"], run["execution"]["ended_by"]) for run in shorter] == [(2, "SIGUSR1")]


def test_a_cancelled_job_stays_cancelled(desk: Desk, whole: Callable[[int], Path]) -> None:
    """scancel sends the SIGTERM that a time limit sends. The run keeps what it has, and does not
    come back, but when it is submitted again: then it goes on to the same end."""
    slow = {"N_CYCLES": "40", "PACE_S": "0.15"}
    first = desk.sbatch("--time=10", RUN, **slow)
    desk.await_checkpoint("jobs/1", first)
    desk.told("scancel", first)
    assert desk.cluster.await_job(first, 60, JobState="CANCELLED")["Restarts"] == "0"
    said = desk.said(first)
    assert "nothing of them is lost" in said
    assert record_of(desk.folder / "jobs" / "1")["execution"]["stopped_by"]
    again = desk.sbatch("--time=10", RUN, **slow)
    desk.cluster.await_job(again, _PATIENCE_S, JobState="COMPLETED")
    assert "going on after" in desk.said(again)
    assert desk.cluster.job(first)["JobState"] == "CANCELLED"
    assert_same(desk.folder / "jobs" / "1", whole(40))


def test_a_job_outlives_its_node(desk: Desk, whole: Callable[[int], Path]) -> None:
    """The node goes down with all its processes and comes back: SLURM itself requeues the job,
    which goes on from its last checkpoint to the same end."""
    number = desk.sbatch("--time=10", RUN, N_CYCLES="80", PACE_S="0.25")
    desk.await_checkpoint("jobs/1", number)
    # SLURM does not miss a job that it has just started.
    time.sleep(15)
    desk.cluster.lose_node(number)
    assert desk.cluster.steps_of(number) == []
    desk.cluster.start_node()
    desk.cluster.await_job(number, 60, Restarts="1")
    desk.cluster.await_job(number, _PATIENCE_S, JobState="COMPLETED")
    assert "going on after" in desk.said(number)
    assert_same(desk.folder / "jobs" / "1", whole(80))


def test_dask_in_one_job(desk: Desk, whole: Callable[[int], Path]) -> None:
    """The script of docs/dask.md with two workers by srun: the end hash is that of a serial run,
    and nothing stays behind in the job."""
    script = command(
        "#!/bin/bash",
        ORCH=desk.variables["ORCH"],
        START="default --seed 1 --n-cycles 40",
        **{"ntasks=33": "ntasks=3", "ntasks=32": "ntasks=2", " 5000": f" {N_STEPS}"},
    )
    (desk.folder / "dask.sbatch").write_text(script)
    number = desk.sbatch("dask.sbatch")
    desk.cluster.await_job(number, _PATIENCE_S, JobState="COMPLETED")
    assert_same(desk.folder / "job", whole(40))
    wait_until(lambda: not desk.cluster.steps_of(number), 30, lambda: desk.said(number))


@pytest.fixture(scope="module")
def jobqueue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dask-jobqueue; what it needs besides is here."""
    folder = tmp_path_factory.mktemp("jobqueue")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *(f"--target={folder}", "dask-jobqueue>=0.9,<0.10"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"no dask-jobqueue: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.parametrize("walltime", ["02:00:00", "00:01:00"])
def test_dask_jobqueue(
    desk: Desk, whole: Callable[[int], Path], jobqueue: Path, walltime: str
) -> None:
    """The recipe of docs/dask.md: the end hash is that of a serial run, also where the run takes
    longer than its workers may live; afterwards no worker is in the queue."""
    brief = walltime == "00:01:00"
    n_cycles = N_CYCLES if brief else 40
    script = command(
        "import subprocess",
        ORCH=desk.variables["ORCH"],
        START=f"default --seed 1 --n-cycles {n_cycles}",
        **{"02:00:00": walltime, " 5000": f" {N_STEPS}"},
    )
    (desk.folder / "cluster.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "cluster.py"],
        cwd=desk.folder,
        env={
            **desk.cluster.environment,
            **desk.variables,
            "PYTHONPATH": f"{jobqueue}:{REPOSITORY}",
            # Six walkers on four workers: two rounds.
            "PACE_S": "0.35" if brief else "0",
        },
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert_same(desk.folder / "job", whole(n_cycles))
    ended = [out.read_text() for out in desk.folder.glob("slurm-*.out")]
    assert any("DUE TO TIME LIMIT" in out for out in ended) == brief
    wait_until(lambda: not desk.told("squeue", "--noheader"), 30, lambda: desk.told("squeue"))
