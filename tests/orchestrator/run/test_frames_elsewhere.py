"""A job needs its frames to go on; a repetition does not (D4)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.orchestrator.run.test_recorder import job_store, recording_of
from tests.systems import Recorder, run_job
from wepystore.api import FramesElsewhereError, Prepared, Store, load_runs, reconcile, verify
from wepystore.orchestrator.errors import CheckpointFailedError
from wepystore.orchestrator.run.resume import resume
from wepystore.store import whereabouts
from wepystore.store.care import fsck


def put_away(job: Path) -> None:
    """Remove the frames of the job's one run."""
    summary, store = recording_of(job).frames, job_store(job)
    assert summary is not None
    parts = store.references("frames", summary.entry.md5)
    store.remove("frames", summary.entry.md5)
    for _, ref in parts:
        store.remove("objects", ref.md5)


@pytest.fixture
def job(pair_store: Prepared, tmp_path: Path) -> Path:
    """A job of three cycles whose frames are only in a copy of its folder."""
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", n_cycles=3)
    shutil.copytree(tmp_path / "job", tmp_path / "copy")
    put_away(tmp_path / "job")
    return tmp_path / "job"


def test_a_job_does_not_begin_anew_because_of_that(job: Path) -> None:
    """It says what brings them, changes nothing, and goes on when they are back."""
    store = job_store(job)
    (run,) = store.hashes("runs")
    assert fsck.check(store).healthy
    whereabouts.note(store, "host:there", fsck.check(store).elsewhere)
    with pytest.raises(FramesElsewhereError, match=rf"run {run} .*reconcile orch .* host:there'"):
        resume(job, {"n_cycles": 5}, Recorder())
    assert store.hashes("runs") == [run]
    reconcile(store.path, job.with_name("copy"))
    watcher = Recorder()
    resume(job, {"n_cycles": 5}, watcher)
    assert [event[0] for event in watcher.events].count("cycle") == 2


def test_partly_here_is_damage(job: Path) -> None:
    """As ever: that checkpoint is passed over, with a reason."""
    source = job_store(job.with_name("copy"))
    (md5,) = source.hashes("frames")
    job_store(job).put("frames", source.read("frames", md5))
    watcher = Recorder()
    resume(job, {"n_cycles": 5}, watcher)
    (remark,) = (event[1] for event in watcher.events if event[0] == "remark")
    assert "the checkpoint after 3 cycles is passed over" in remark and "lacks 1" in remark


@pytest.mark.parametrize("removes", [False, True])
def test_a_checkpoint_without_its_frames_is_not_said_to_be_kept(
    pair_store: Prepared, tmp_path: Path, removes: bool
) -> None:
    """Somebody removes them under the run, and then nothing can be written any more."""
    job = tmp_path / "job"

    def harm(n_cycles: int) -> None:
        if n_cycles == 2:
            if removes:
                put_away(job)
            shutil.rmtree(job / "checkpoint.orch" / "tmp")
            (job / "checkpoint.orch" / "tmp").write_text("")

    options = {"n_cycles": 5, "checkpoint_freq": 2}
    watcher = Recorder(on_checkpoint=harm)
    with pytest.raises(CheckpointFailedError) as caught:
        run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, **options)
    assert ("2 cycles up to the last checkpoint: kept" in str(caught.value)) is not removes


def test_a_repetition_compares_the_rest(job: Path) -> None:
    """And tells which frames it could not compare."""
    store = job_store(job)
    ((run, record),) = load_runs(store).items()
    verdict = verify(store, run)
    assert verdict.is_same and verdict.is_recorded
    assert [verdict.frames_elsewhere] == list(fsck.check(store).elsewhere)
    whole = verify(job_store(job.with_name("copy")), run)
    assert whole.is_same and whole.frames_elsewhere is None and record.reproducible


def test_the_api_leaves_them(job: Path, tmp_path: Path) -> None:
    """As the option does; the target knows where they are."""
    source = job.with_name("copy")
    reconcile(tmp_path / "m.orch", source, frames=False)
    store = Store.open(tmp_path / "m.orch")
    (md5,) = fsck.check(store).elsewhere
    assert whereabouts.places_of(store, [md5]) == [str(source / "checkpoint.orch")]
    reconcile(tmp_path / "m.orch", source)
    assert store.hashes("frames") == [md5]
