"""Checkpoints by time: how often, and that they bear on nothing but what a kill costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hazard.killing import same_in_the_end
from tests.orchestrator.run.test_ended_by import records
from tests.orchestrator.run.test_resume import stopped
from tests.systems import Recorder, pair_snapshot, plain_configuration, run_job
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    Prepared,
    Store,
    WalkerReporter,
    prepare_store,
)
from wepystore.orchestrator.job.job import SPEC, JobSpec
from wepystore.orchestrator.run.cycles import Due
from wepystore.orchestrator.run.resume import resume

#: So often that one is due after every cycle.
ALWAYS = 1e-9


def due_after(due: Due, since: float) -> float:
    """The whole seconds from `since` on after which one is due."""
    return next(n for n in range(10_000) if due.is_due(since + n))


def test_without_a_word_there_is_one_every_five_minutes() -> None:
    """From the beginning, and from the end of the last one, whatever that was written for."""
    due = Due(None, now=1000.0)
    assert due_after(due, 1000.0) == 300
    due.written(now=1100.0, took=0.5)
    assert due_after(due, 1100.0) == 300


@pytest.mark.parametrize(("took", "wait"), [(9.0, 300), (20.0, 647), (60.0, 1940), (500.0, 3600)])
def test_dear_ones_are_written_less_often(took: float, wait: int) -> None:
    """No more than 3 % of the time goes to them, but there is one an hour; a cheaper one brings
    the five minutes back."""
    due = Due(None, now=0.0)
    due.written(now=1000.0, took=took)
    assert due_after(due, 1000.0) == wait
    assert wait == 3600 or took / (took + wait) <= 0.03
    due.written(now=9000.0, took=1.0)
    assert due_after(due, 9000.0) == 300


def test_what_was_asked_for_is_done() -> None:
    """However dear they are; 0 is never."""
    due = Due(10.0, now=0.0)
    due.written(now=100.0, took=60.0)
    assert due_after(due, 100.0) == 10
    assert not Due(0, now=0.0).is_due(1e12)


def test_checkpoints_by_time_are_written(pair_store: Prepared, tmp_path: Path) -> None:
    """After every cycle but the last where the interval is that short; none where there is to be
    none, and none in a run of seconds by default; by cycles and by time together."""
    told: dict[str, list[int]] = {}
    cases = {
        "always": {"checkpoint_every": ALWAYS},
        "never": {"checkpoint_every": 0},
        "default": {},
        "both": {"checkpoint_every": 1e6, "checkpoint_freq": 2},
    }
    for name, options in cases.items():
        watcher, job = Recorder(), tmp_path / name
        run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, n_cycles=4, **options)
        told[name] = [event[2] for event in watcher.events if event[0] == "checkpoint"]
    assert told == {"always": [1, 2, 3, 4], "never": [4], "default": [4], "both": [2, 4]}
    ends = {records(tmp_path / name)[0].end for name in cases}
    assert len(ends) == 1


def test_a_job_knows_its_interval(pair_store: Prepared, tmp_path: Path) -> None:
    """job.json carries it; resume takes it up, or another one for itself; a job.json of before,
    without the field, gets what is usual."""
    job, where = tmp_path / "job", (pair_store.store, pair_store.snapshot_hash)
    stopped(*where, job, 2, n_cycles=9, checkpoint_every=ALWAYS)
    assert JobSpec.read(job / SPEC).request.checkpoint_every == ALWAYS
    (last,) = (record.n_cycles for record in records(job))
    assert last == 1
    watcher = Recorder()
    resume(job, {"n_cycles": 4}, watcher)
    assert [event[2] for event in watcher.events if event[0] == "checkpoint"] == [2, 3, 4]
    watcher = Recorder()
    resume(job, {"n_cycles": 6, "checkpoint_every": 0}, watcher)
    assert [event[2] for event in watcher.events if event[0] == "checkpoint"] == [6]
    value = json.loads((job / SPEC).read_text())
    del value["checkpoint_every"]
    (job / SPEC).write_text(json.dumps(value))
    assert JobSpec.read(job / SPEC).request.checkpoint_every is None
    assert resume(job, {"n_cycles": 7}, Recorder()).n_cycles == 7


def test_when_checkpoints_were_leaves_no_trace(tmp_path: Path) -> None:
    """R2: with every reporter, a job with one after each cycle, which is stopped and gone on with,
    ends as one without any: hashes, and all data in all files."""
    reporters = [
        HDF5Reporter(),
        DashboardReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
        FamilyTreeReporter(),
    ]
    made = prepare_store(tmp_path / "x.orch", pair_snapshot(), plain_configuration(None, reporters))
    where = (made.store, made.snapshot_hash)
    more = {"n_cycles": 12, "n_steps": 40}
    run_job(*where, tmp_path / "never", checkpoint_every=0, **more)
    run_job(*where, tmp_path / "always", checkpoint_every=ALWAYS, **more)
    stopped(*where, tmp_path / "stopped", 7, checkpoint_every=ALWAYS, **more)
    resume(tmp_path / "stopped", {}, Recorder())
    for name in ("always", "stopped"):
        same_in_the_end(tmp_path / name, tmp_path / "never")
    assert len(Store.open(tmp_path / "always" / "checkpoint.orch").hashes("runs")) == 1
