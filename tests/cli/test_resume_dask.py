"""A job that goes on over dask, or without it: the same run either way (R1, R2)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_resume import records, run_words, start, wepy
from tests.clusters import cluster
from tests.hazard.killing import ENDS, same_in_the_end
from tests.systems import pair_snapshot, plain_configuration
from tests.waiting import PATIENCE_S, until
from tests.workers import children_of, seconds_until_gone
from wepystore.api import (
    DashboardReporter,
    DaskMapper,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    Store,
    WalkerReporter,
    prepare_store,
    save_configuration,
)

pytest.importorskip("distributed")

N_CYCLES = 30
REPORTERS = (
    HDF5Reporter,
    DashboardReporter,
    InitTopologyReporter,
    WalkerReporter,
    FamilyTreeReporter,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume-dask")


@pytest.fixture(scope="module")
def orch(home: Path) -> Path:
    """Six pairs, to be run serially; a tag names a configuration for two workers of dask."""
    made = prepare_store(
        home / "x.orch", pair_snapshot(), plain_configuration(None, [r() for r in REPORTERS])
    )
    other = plain_configuration(DaskMapper(n_workers=2), [r() for r in REPORTERS])
    made.store.set_ref("tags/dask", save_configuration(made.store, other))
    return home / "x.orch"


@pytest.fixture(scope="module")
def whole(orch: Path) -> tuple[Path, str]:
    """The run in one go, serially, and its end's hash."""
    job = orch.parent / "whole"
    result = wepy(*words_for(orch, job))
    found = ENDS.fullmatch(result.out)
    assert found, result.err
    return job, found[2]


@pytest.fixture(scope="module")
def scheduler(home: Path) -> Iterator[str]:
    """The file of a scheduler with one worker, both as a user starts them."""
    with cluster(home, 1) as (file, _):
        yield file


def words_for(orch: Path, job: Path, *options: object) -> list:
    return run_words(orch, job, N_CYCLES, "--checkpoint-freq=2", *options, n_steps=2000)


def killed_after(n_cycles: int, job: Path, *words: object) -> None:
    """`wepy` with these words, killed when the job has a checkpoint of more than so many cycles;
    its workers leave."""
    process = start(*words)
    try:
        until(
            lambda: (
                process.poll() is not None
                or ((job / "job.json").exists() and n_cycles < max([0, *done(job)]))
            )
        )
        workers = children_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    seconds_until_gone(workers)


def done(job: Path) -> list[int]:
    """Cycles of the job's checkpoints; one may just be going."""
    try:
        return [record["n_cycles"] for record in records(job)]
    except FileNotFoundError:
        return []


def test_begun_serially_and_over_a_scheduler_in_turn(
    orch: Path, whole: tuple[Path, str], scheduler: str, tmp_path: Path
) -> None:
    """Begun serially and killed, resumed by --scheduler and killed, resumed serially and killed,
    resumed by --scheduler: end hash, store and all files of the run in one go."""
    job = tmp_path / "job"
    killed_after(2, job, *words_for(orch, job))
    killed_after(max(done(job)) + 2, job, "resume", "--scheduler", scheduler, job)
    killed_after(max(done(job)) + 2, job, "resume", job)
    n_before = max(done(job))
    assert n_before < N_CYCLES
    result = wepy("resume", "--scheduler", scheduler, job)
    assert result.status == 0 and whole[1] in result.out, result.err
    assert f"going on after {n_before} cycles" in result.err
    same_in_the_end(job, whole[0])
    (record,) = records(job)
    assert record["reproducible"] and len(record["execution"]["resumed_from"]) == 3
    assert all(each["differs"] == [] for each in record["execution"]["resumed_from"])


def test_begun_over_a_scheduler_ends_serially(
    orch: Path, whole: tuple[Path, str], scheduler: str, tmp_path: Path
) -> None:
    """The other way round: nothing of the cluster is in the job."""
    job = tmp_path / "job"
    killed_after(2, job, *words_for(orch, job, "--scheduler", scheduler))
    assert scheduler not in (job / "job.json").read_text()
    result = wepy("resume", job)
    assert result.status == 0 and whole[1] in result.out, result.err
    same_in_the_end(job, whole[0])


def test_a_dask_mapper_without_a_scheduler_goes_on(
    orch: Path, whole: tuple[Path, str], scheduler: str, tmp_path: Path
) -> None:
    """A configuration with DaskMapper: killed and resumed three times, on two processes, on one, by
    a scheduler, and on two processes again. The same end as serially."""
    job = tmp_path / "job"
    killed_after(2, job, *words_for(orch, job, "--configuration=dask"))
    killed_after(max(done(job)) + 2, job, "resume", "--n-workers=1", job)
    killed_after(max(done(job)) + 2, job, "resume", "--scheduler", scheduler, job)
    result = wepy("resume", job)
    assert result.status == 0 and whole[1] in result.out, result.err
    assert "the configuration has a DaskMapper, and no scheduler was given" in result.err
    store = Store.open(job / "checkpoint.orch")
    assert len(store.hashes("runs")) == 1 and len(store.hashes("snapshots")) == 2
