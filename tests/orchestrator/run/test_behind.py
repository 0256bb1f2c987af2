"""Checkpoints are written behind the run, and are those that it would have waited for."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.run.test_recorder import record_of, recording_of
from tests.systems import Recorder, pair_snapshot, plain_configuration, run_job
from wepystore.api import HDF5Reporter, Prepared, prepare_store
from wepystore.orchestrator.errors import CheckpointFailedError
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.resume import resume

#: Seconds after which something has not happened.
LONG = 60.0


class Late(Recorder):
    """Each checkpoint but the last is written when the cycle after it is done, if ever."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.done = [threading.Event() for _ in range(100)]
        self.n_under_way = self.most_under_way = 0
        begin, write = Checkpointer.begin, Checkpointer._written_of

        def counted(writer: Checkpointer, *of: Any, **options: Any) -> Any:
            self.n_under_way += 1
            self.most_under_way = max(self.most_under_way, self.n_under_way)
            return begin(writer, *of, **options)

        def late(writer: Checkpointer, made: Any) -> Any:
            assert made.is_last or self.done[made.n_cycles + 1].wait(LONG)
            found = write(writer, made)
            self.n_under_way -= 1
            return found

        patch.setattr(Checkpointer, "begin", counted)
        patch.setattr(Checkpointer, "_written_of", late)

    def cycle_done(self, progress: Any) -> None:
        super().cycle_done(progress)
        self.done[progress.n_cycles_done].set()


def test_the_run_goes_on_while_one_is_written(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time is under way; each has the snapshot, and the cycles, of the moment when it was
    handed over, whatever has changed since; and all are told of in their order, the last too."""
    ends = {}
    for n_cycles in (2, 4, 6, 7):
        job = tmp_path / str(n_cycles)
        ends[n_cycles] = run_job(
            pair_store.store, pair_store.snapshot_hash, job, n_cycles=n_cycles
        ).end
    watcher, job = Late(monkeypatch), tmp_path / "job"
    kept = []

    def look(n_cycles: int) -> None:
        record = record_of(job)
        assert (record.n_cycles, recording_of(job).n_cycles) == (n_cycles, n_cycles)
        kept.append((n_cycles, record.end.md5))

    watcher.on_checkpoint = look
    options = {"n_cycles": 7, "checkpoint_freq": 2}
    run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, **options)
    assert dict(kept) == ends and len(kept) == 4
    assert watcher.most_under_way == 1
    told = [event[1:] for event in watcher.events if event[0] == "checkpoint"]
    assert told == [(ends[n_cycles], n_cycles) for n_cycles in ends]
    assert record_of(job).recording == record_of(tmp_path / "7").recording


def test_no_more_than_two_cycles_walkers_are_held(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second cycle after a checkpoint does not begin before the walkers of that are written."""
    watcher, write, came = Recorder(), Checkpointer._written_of, []
    done = [threading.Event() for _ in range(10)]
    watcher.on_cycle = lambda progress: done[progress.n_cycles_done].set()

    def slow(writer: Checkpointer, made: Any) -> Any:
        if not made.is_last:
            assert done[made.n_cycles + 1].wait(LONG)
            came.append(done[made.n_cycles + 2].wait(0.3))
        return write(writer, made)

    monkeypatch.setattr(Checkpointer, "_written_of", slow)
    options = {"n_cycles": 7, "checkpoint_freq": 3}
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", watcher, **options)
    assert came == [False, False]


@pytest.mark.parametrize("is_late", [False, True])
def test_one_that_cannot_be_written_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """At the next cycle, or when the next one is due, as one that the run has waited for would:
    what is kept is said, and it goes on from there to the same end and the same files (R2)."""
    made = prepare_store(
        tmp_path / "a.orch", pair_snapshot(), plain_configuration(None, [HDF5Reporter()])
    )
    more: dict[str, Any] = {"n_cycles": 9, "checkpoint_freq": 2}
    job, watcher = tmp_path / "job", Recorder()
    with monkeypatch.context() as patch:
        watcher = Late(patch) if is_late else watcher
        write = Checkpointer._written_of

        def full(writer: Checkpointer, made: Any) -> Any:
            found = write(writer, made) if made.n_cycles < 4 or is_late else None
            if made.n_cycles == 4:
                raise OSError(errno.ENOSPC, "No space left on device", "a file")
            return found

        patch.setattr(Checkpointer, "_written_of", full)
        with pytest.raises(CheckpointFailedError, match="a file: No space left") as caught:
            run_job(made.store, made.snapshot_hash, job, watcher, **more)
    assert "2 cycles up to the last checkpoint: kept" in str(caught.value)
    assert 4 <= [event[0] for event in watcher.events].count("cycle") <= 6
    resume(job, {}, Recorder())
    run_job(made.store, made.snapshot_hash, tmp_path / "whole", **more)
    assert record_of(job).recording == record_of(tmp_path / "whole").recording


def test_a_run_that_fails_waits_for_what_is_under_way(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is at work in the job's folder any more, and the checkpoint is there."""
    watcher, job = Late(monkeypatch), tmp_path / "job"

    def fail(progress: Any) -> None:
        if progress.n_cycles_done == 3:
            watcher.done[3].set()
            raise ZeroDivisionError

    watcher.on_cycle = fail
    options = {"n_cycles": 7, "checkpoint_freq": 2}
    with pytest.raises(ZeroDivisionError):
        run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, **options)
    assert record_of(job).n_cycles == 2
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("wepystore-")]
