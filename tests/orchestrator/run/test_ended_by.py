"""How a run ended stands in its record; what is left is resumed; ends that were told stay."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.run.test_checkpoint import FailsAt, assert_whole
from tests.orchestrator.run.test_resume import Halt, halt_at, stopped
from tests.systems import Recorder, pair_apparatus, plain_configuration, run_job
from wepystore.api import (
    NoResampler,
    Prepared,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    load_run,
    prepare_store,
)
from wepystore.orchestrator.errors import CycleFailedError
from wepystore.orchestrator.job.job import SPEC, JobSpec
from wepystore.orchestrator.run.resume import resume
from wepystore.records.run import RunRecord
from wepystore.store import canonical

#: So short that one cycle is run, which always is, and no second one.
NO_TIME = 1e-9


def records(job: Path) -> list[RunRecord]:
    store = Store.open(job / "checkpoint.orch")
    return sorted((load_run(store, md5) for md5 in store.hashes("runs")), key=lambda r: r.n_cycles)


def told(job: Path) -> list[tuple[Any, ...]]:
    """Of every record in a job's store: cycles, what ended it, whether it is complete."""
    return [
        (each.n_cycles, each.execution.ended_by, each.execution.complete) for each in records(job)
    ]


def on_cycle(n_cycles: int, what: Any) -> Recorder:
    """A watcher that does something after so many cycles."""
    return Recorder(on_cycle=lambda now: what() if now.n_cycles_done == n_cycles else None)


def test_seconds_and_cycles_are_told_apart(pair_store: Prepared, tmp_path: Path) -> None:
    """A run that SECONDS ended before its cycles is not complete; one that was given SECONDS
    alone is, and so is one that has all its cycles."""
    where = (pair_store.store, pair_store.snapshot_hash)
    short = run_job(*where, tmp_path / "short", seconds=NO_TIME)
    timed = run_job(*where, tmp_path / "timed", seconds=NO_TIME, n_cycles=None)
    whole = run_job(*where, tmp_path / "whole")
    assert told(tmp_path / "short") == [(1, "seconds", False)]
    assert told(tmp_path / "timed") == [(1, "seconds", True)]
    assert told(tmp_path / "whole") == [(3, "n_cycles", True)]
    assert [each.ended_by for each in (short, timed, whole)] == ["seconds", "seconds", "n_cycles"]
    assert [each.complete for each in (short, timed, whole)] == [False, True, True]
    assert {each.stopped_by for each in (short, timed, whole)} == {None}
    assert (short.wanted, short.seconds) == (3, NO_TIME)


def test_a_run_that_failed_leaves_nobody_at_work(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its checkpoints superseded is gone when it ends, however slow the disk: whoever goes on
    with the job at once is alone in its store."""
    remove = Store.remove

    def slowly(store: Store, *entry: Any, **how: Any) -> None:
        time.sleep(0.02)
        remove(store, *entry, **how)

    monkeypatch.setattr(Store, "remove", slowly)
    job = tmp_path / "job"
    stopped(pair_store.store, pair_store.snapshot_hash, job, 5, n_cycles=9, checkpoint_freq=1)
    assert [each.n_cycles for each in records(job)] == [3, 4]
    assert_whole(Store.open(job / "checkpoint.orch"))


def test_a_record_says_how_much_was_sampled(pair_store: Prepared, tmp_path: Path) -> None:
    """Walkers and the time step stand beside cycles and steps; a checkpoint on the way was ended
    by nothing; a runner without a time step, or with one that is no number, says null."""
    job = tmp_path / "job"
    stopped(pair_store.store, pair_store.snapshot_hash, job, 3, n_cycles=9, checkpoint_freq=2)
    (record,) = records(job)
    assert record.execution.ended_by is None and record.execution.complete is False
    assert (record.execution.n_walkers, record.execution.step_size_ps) == (6, 0.002)
    for number, step in enumerate((None, "2 fs", math.nan)):
        cls = type("Odd", (FailsAt,), {"step_size": step})
        made = counting(tmp_path / f"{number}.orch", cls(-1))
        run_job(made.store, made.snapshot_hash, tmp_path / str(number))
        (record,) = records(tmp_path / str(number))
        assert record.execution.step_size_ps is None


def counting(path: Path, runner: Any) -> Prepared:
    """A store with four walkers whose state is a number."""
    apparatus = pair_apparatus(runner=runner, boundary_conditions=None, resampler=NoResampler())
    start = Snapshot([Walker(WalkerState(x=[float(k)]), 0.25) for k in range(4)], apparatus)
    return prepare_store(path, start, plain_configuration())


def test_a_run_out_of_time_is_resumed_up_to_its_cycles(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """However short its SECONDS were, and also if it is interrupted on the way; it ends as a run
    that had the time, and the end that was told first is still there."""
    job, where = tmp_path / "job", (pair_store.store, pair_store.snapshot_hash)
    whole = run_job(*where, tmp_path / "whole", n_cycles=6)
    first = run_job(*where, job, n_cycles=6, seconds=NO_TIME)
    with pytest.raises(Halt):
        resume(job, {}, Recorder(on_cycle=halt_at(3)))
    with pytest.raises(Halt):
        resume(job, {"checkpoint_freq": 1}, Recorder(on_cycle=halt_at(5)))
    assert json.loads((job / SPEC).read_text())["seconds"] is None
    last = resume(job, {}, Recorder())
    assert (last.end, last.n_cycles, last.complete) == (whole.end, 6, True)
    assert told(job) == [(1, "seconds", False), (6, "n_cycles", True)]
    assert records(job)[0].end.md5 == first.end
    store = Store.open(job / "checkpoint.orch")
    assert set(store.hashes("snapshots")) == {first.start, first.end, last.end}
    assert_whole(store)
    assert resume(job, {}, Recorder()).was_complete


def test_new_seconds_leave_the_cycles_as_they_were(pair_store: Prepared, tmp_path: Path) -> None:
    """SECONDS given to a job that is out of time count from now, up to the same cycles; a larger
    n_cycles alone gets as much time again; no limit does not mean more cycles than that."""
    job = tmp_path / "job"
    where = (pair_store.store, pair_store.snapshot_hash)
    run_job(*where, job, n_cycles=6, seconds=NO_TIME)
    outcome = resume(job, {"seconds": NO_TIME}, Recorder())
    assert (outcome.n_cycles, outcome.wanted, outcome.ended_by) == (2, 6, "seconds")
    outcome = resume(job, {"n_cycles": 7}, Recorder())
    assert (outcome.wanted, outcome.complete) == (7, outcome.n_cycles == 7)
    for _ in range(2):
        assert resume(job, {"seconds": math.inf}, Recorder()).n_cycles == 7
    assert [each[0] for each in told(job)][:2] == [1, 2]


def test_a_job_of_before_that_was_out_of_time_is_resumed_too(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """Its record says that it is complete, and nothing of what ended it; its job.json names it as
    the end, and no interval of checkpoints."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=4, seconds=NO_TIME)
    store = Store.open(job / "checkpoint.orch")
    (md5,) = store.hashes("runs")
    value = store.manifest("runs", md5)
    value["execution"]["complete"] = True
    for name in ("ended_by", "n_walkers", "step_size_ps"):
        del value["execution"][name]
    old = store.put("runs", canonical.dumps(value)).md5
    store.remove("runs", md5)
    spec = json.loads((job / SPEC).read_text())
    spec.pop("checkpoint_every", None)
    (job / SPEC).write_text(json.dumps({**spec, "ended": old}))
    outcome = resume(job, {}, Recorder())
    assert (outcome.n_cycles, outcome.complete) == (4, True)
    assert old in store.hashes("runs")
    assert_whole(store)


def test_the_end_of_a_signal_stays(pair_store: Prepared, tmp_path: Path) -> None:
    """Its hash was printed, so it is there after every resume, with its record."""
    job, where = tmp_path / "job", (pair_store.store, pair_store.snapshot_hash)
    more = {"n_cycles": 8, "checkpoint_freq": 1}
    kill = lambda: os.kill(os.getpid(), signal.SIGUSR1)
    first = run_job(*where, job, on_cycle(2, kill), **more)
    second = resume(job, {}, on_cycle(4, kill))
    last = resume(job, {}, Recorder())
    assert (first.ended_by, second.stopped_by, first.complete) == ("SIGUSR1", "SIGUSR1", False)
    assert told(job) == [(2, "SIGUSR1", False), (4, "SIGUSR1", False), (8, "n_cycles", True)]
    assert [each.end.md5 for each in records(job)] == [first.end, second.end, last.end]
    assert_whole(Store.open(job / "checkpoint.orch"))


def test_the_end_of_a_limit_stays_once(pair_store: Prepared, tmp_path: Path) -> None:
    """`until`; where no cycle was done since, the newer record of that end takes the older one's
    place."""
    job, where = tmp_path / "job", (pair_store.store, pair_store.snapshot_hash)
    first = run_job(*where, job, on_cycle(2, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    over = {"until": time.time() - 1}
    assert {resume(job, over, Recorder()).end for _ in range(2)} == {first.end}
    assert told(job) == [(2, "until", False)]
    last = resume(job, {"n_cycles": 5}, Recorder())
    assert told(job) == [(2, "until", False), (5, "n_cycles", True)]
    store = Store.open(job / "checkpoint.orch")
    assert set(store.hashes("snapshots")) == {first.start, first.end, last.end}
    assert_whole(store)


def test_the_end_that_an_error_names_stays(tmp_path: Path) -> None:
    """The message of a cycle that failed names the snapshot before it."""
    made = counting(tmp_path / "x.orch", FailsUntil(3, tmp_path / "mended"))
    job = tmp_path / "job"
    with pytest.raises(CycleFailedError) as caught:
        run_job(made.store, made.snapshot_hash, job, n_cycles=6, checkpoint_freq=1)
    (tmp_path / "mended").touch()
    resume(job, {}, Recorder())
    assert told(job) == [(3, "error", False), (6, "n_cycles", True)]
    assert records(job)[0].end.md5 == caught.value.fields["end"]


class FailsUntil(FailsAt):
    """Until there is some file."""

    def __init__(self, cycle: int, mark: Path) -> None:
        super().__init__(cycle)
        self.mark = str(mark)

    def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
        if kwargs["cycle_idx"] == self.cycle and not os.path.exists(self.mark):
            raise ArithmeticError("on request")
        return Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight)


def test_without_a_limit_only_cycles_end_a_run(pair_store: Prepared, tmp_path: Path) -> None:
    """Infinite SECONDS: job.json says null, in a format that older programs say they are too old
    for; the time that is left is told by the cycles."""
    job, watcher = tmp_path / "job", Recorder()
    run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, seconds=math.inf)
    value = json.loads((job / SPEC).read_text())
    assert (value["seconds"], value["format"]) == (None, 2)
    assert JobSpec.read(job / SPEC).request.seconds == math.inf
    told = [event[1].remaining for event in watcher.events if event[0] == "cycle"]
    assert all(math.isfinite(each) for each in told)
    assert told[-1] == 0.0
    with pytest.raises(Halt):
        run_job(
            pair_store.store,
            pair_store.snapshot_hash,
            tmp_path / "open",
            Recorder(on_cycle=halt_at(2)),
            seconds=math.inf,
            n_cycles=None,
        )
