"""Going on with a job inside one process: what is kept, adopted and left alone."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hazard.killing import timeless_in
from tests.orchestrator.run.test_checkpoint import KINDS, assert_whole, entries
from tests.store.helpers import check
from tests.systems import (
    Recorder,
    pair_snapshot,
    plain_configuration,
    python,
    run_job,
)
from wepystore.api import (
    HDF5Reporter,
    NoResampler,
    Prepared,
    RandomWalkRunner,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    load_run,
    load_snapshot,
    prepare_store,
)
from wepystore.orchestrator.errors import (
    CycleFailedError,
    MalformedJobError,
    NoJobStoreError,
    NotContinuedError,
)
from wepystore.orchestrator.job.ledger import LISTED, Ledger
from wepystore.orchestrator.run.resume import resume
from wepystore.records.library import save_snapshot
from wepystore.records.snapshot import Apparatus
from wepystore.store import canonical
from wepystore.store.merge import apply, plan

STOPS = """
import os, sys
from pathlib import Path
from tests.systems import Recorder, run_job
from wepystore.api import Store
from wepystore.store.store import Store as Opened
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.store import publish
calls = 0
def dying(owner, name, nth):
    real = getattr(owner, name)
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == nth:
            os._exit(9)
        return real(*args, **kwargs)
    setattr(owner, name, call)
owners = {"remove": Opened, "set_ref": Opened, "_write": Checkpointer, "add": Ledger,
          "strike": Ledger, "replace": os, "clear": Ledger, "place": publish}
dying(owners[sys.argv[4]], sys.argv[4], int(sys.argv[5]))
run_job(Store.open(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), n_cycles=7, checkpoint_freq=1)
"""


@pytest.mark.parametrize(
    ("what", "nth"),
    [
        *(("remove", nth) for nth in (1, 3, 20)),
        ("set_ref", 5),
        ("_write", 3),
        ("add", 4),
        ("strike", 2),
        ("replace", 8),
        ("clear", 1),
        *(("place", nth) for nth in (13, 16, 19)),
        *(pytest.param("remove", nth, marks=pytest.mark.slow) for nth in (2, 8)),
        *(pytest.param("place", nth, marks=pytest.mark.slow) for nth in (14, 15, 17, 18, 23)),
        pytest.param("add", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_between_two_steps_of_a_checkpoint(
    pair_store: Prepared, tmp_path: Path, what: str, nth: int
) -> None:
    """The process ends before the nth entry of superseded checkpoints goes or one of a new one
    comes, a ref moves, or either is noted: resumed, the job leaves start, end and one record, and
    every object is needed."""
    (tmp_path / "stops.py").write_text(STOPS)
    job = tmp_path / "job"
    words = (pair_store.store.path, pair_store.snapshot_hash, job, what, str(nth))
    with pytest.raises(AssertionError):
        python(tmp_path / "stops.py", *words)
    outcome = resume(job, {}, Recorder())
    whole = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "whole", n_cycles=7)
    assert outcome.end == whole.end and outcome.n_cycles == 7
    store, twin = (Store.open(tmp_path / name / "checkpoint.orch") for name in ("job", "whole"))
    ours, theirs = ({kind: timeless_in(each, kind) for kind in KINDS} for each in (store, twin))
    assert len(ours.pop("runs")) == len(theirs.pop("runs")) == 1
    assert ours == theirs
    assert store.ref("default-snapshot") == outcome.end
    assert_whole(store)
    assert not (job / LISTED).exists()


class Halt(BaseException):
    """Comes from outside, as a bug would."""


def halt_at(n_cycles: int) -> Callable[[Any], None]:
    """For a watcher: raise Halt after so many cycles."""

    def halt(progress: Any) -> None:
        if progress.n_cycles_done == n_cycles:
            raise Halt

    return halt


def stopped(store: Store, snapshot: str, job: Path, at: int, **options: Any) -> None:
    """A run that is stopped by an exception from outside after `at` cycles."""
    with pytest.raises(Halt):
        run_job(store, snapshot, job, Recorder(on_cycle=halt_at(at)), **options)


@pytest.mark.parametrize("what", ["the snapshot", "the record"])
def test_what_somebody_tagged_stays(pair_store: Prepared, tmp_path: Path, what: str) -> None:
    """A tag on a checkpoint keeps that snapshot, or the record with all it names, when the
    checkpoint is superseded."""
    job = tmp_path / "job"
    words = {"n_cycles": 9, "checkpoint_freq": 2}
    stopped(pair_store.store, pair_store.snapshot_hash, job, 5, **words)
    store = Store.open(job / "checkpoint.orch")
    tagged = store.ref("default-snapshot")
    assert tagged is not None
    (record,) = [md5 for md5 in store.hashes("runs") if load_run(store, md5).end.md5 == tagged]
    store.set_ref("tags/mine", tagged if what == "the snapshot" else record)
    outcome = resume(job, {}, Recorder())
    assert set(store.hashes("snapshots")) == {outcome.start, outcome.end, tagged}
    assert load_snapshot(store, tagged).walkers
    kept = set(store.hashes("runs")) - {outcome.record}
    assert kept == ({record} if what == "the record" else set())
    assert all(store.missing("runs", md5) == [] for md5 in kept)
    assert_whole(store)


def test_what_somebody_put_into_the_jobs_store_stays(pair_store: Prepared, tmp_path: Path) -> None:
    """While the job is dead: the end of another run of the same start, without record and tag; a
    copy of a checkpoint that this job had superseded; an object that nothing names. The resumed
    job removes what it has written itself, and no more."""
    job, words = tmp_path / "job", {"n_cycles": 9, "checkpoint_freq": 1}
    stopped(pair_store.store, pair_store.snapshot_hash, job, 2, **words)
    early = shutil.copytree(job, tmp_path / "early") / "checkpoint.orch"
    with pytest.raises(Halt):
        resume(job, {}, Recorder(on_cycle=halt_at(6)))
    other = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "other", seed=8)
    store = Store.open(job / "checkpoint.orch")
    before = entries(store)
    own = before["snapshots"] - {other.start}
    put = save_snapshot(
        store, load_snapshot(Store.open(tmp_path / "other" / "checkpoint.orch"), other.end)
    )
    bare = store.put("objects", b"somebody's own").md5
    apply(plan(store, [Store.open(early)]))
    theirs = {kind: found - before[kind] for kind, found in entries(store).items()}
    assert len(theirs["runs"]) == 1 and len(theirs["snapshots"]) == 2
    assert put in theirs["snapshots"] and bare in theirs["objects"]

    outcome = resume(job, {}, Recorder())
    left = entries(store)
    for kind, each in theirs.items():
        assert each <= left[kind], kind
    assert left["snapshots"] == {outcome.start, outcome.end} | theirs["snapshots"]
    assert len(left["runs"]) == 2 and not own & left["snapshots"]
    assert load_snapshot(store, put).walkers
    assert (
        outcome.end
        == run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "whole", n_cycles=9).end
    )


def test_a_list_that_is_lost_or_odd_costs_nothing_but_space(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """The list of what the job has written: gone, cut short, of nonsense, or naming the start.
    The end is the same, and nothing that is needed goes."""
    job = tmp_path / "job"
    stopped(pair_store.store, pair_store.snapshot_hash, job, 5, n_cycles=7, checkpoint_freq=1)
    whole = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "whole", n_cycles=7)
    listed = (job / LISTED).read_bytes()
    start = f"+ snapshots {whole.start}\n+ objects {whole.start}\n+ configs {whole.start}\n"
    for k, data in enumerate((None, b"", listed[:-20], b"\xff\n+ objects\0", start.encode())):
        copy = shutil.copytree(job, tmp_path / f"job{k}")
        (copy / LISTED).unlink()
        shutil.rmtree(copy / "checkpoint.orch" / "tmp")  # As by rsync --exclude=/tmp/.
        if data is not None:
            (copy / LISTED).write_bytes(data)
        assert resume(copy, {}, Recorder()).end == whole.end
        store = Store.open(copy / "checkpoint.orch")
        check(store.path)
        assert {whole.start, whole.end} <= set(store.hashes("snapshots"))
        assert not any(store.missing("snapshots", md5) for md5 in store.hashes("snapshots"))
        assert not (copy / LISTED).exists()


def test_what_is_listed_is_what_the_job_has_written(tmp_path: Path) -> None:
    """The file holds at any time what was listed and not struck off, also where a line was cut
    short, where the file went away, and when it has become long and is written anew."""
    written = Ledger(tmp_path)
    everything = [("objects", f"{number:032x}") for number in range(5000)]
    written.add(everything[:3])
    with (tmp_path / LISTED).open("ab") as file:
        file.write(b"+ objects 0123")  # By a full disk.
    written.add(everything[2:6])
    written.strike(everything[:2])
    assert Ledger(tmp_path).read() == everything[2:6]
    (tmp_path / LISTED).unlink()
    written.add(everything[6:8])
    assert Ledger(tmp_path).read() == everything[2:8]
    for k in range(8, 5000, 4):
        written.add(everything[k : k + 4])
        written.strike(everything[k - 6 : k - 2])
    assert Ledger(tmp_path).read() == everything[4994:]
    assert (tmp_path / LISTED).stat().st_size < 100_000
    written.clear()
    assert Ledger(tmp_path).read() == [] == list(tmp_path.iterdir())


def test_checkpoints_go_on_in_step(pair_store: Prepared, tmp_path: Path) -> None:
    """Every third cycle of the run, not of the session; progress counts from the run's start."""
    job = tmp_path / "job"
    stopped(pair_store.store, pair_store.snapshot_hash, job, 5, n_cycles=11, checkpoint_freq=3)
    watcher = Recorder()
    resume(job, {}, watcher)
    assert [e[2] for e in watcher.events if e[0] == "checkpoint"] == [6, 9, 11]
    assert [e[1].n_cycles_done for e in watcher.events if e[0] == "cycle"] == list(range(4, 12))


def test_another_frequency_and_other_workers_end_the_same(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """R1: options of a session change nothing; a platform does, is noted, and costs the promise
    of reproducibility."""
    whole = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "whole", n_cycles=8)
    options: list[dict[str, Any]] = [{"checkpoint_freq": 1}, {"n_workers": 2}, {"platform": "CPU"}]
    for k, each in enumerate(options):
        job = tmp_path / str(k)
        stopped(pair_store.store, pair_store.snapshot_hash, job, 5, n_cycles=8, checkpoint_freq=2)
        outcome = resume(job, each, Recorder())
        store = Store.open(job / "checkpoint.orch")
        record = load_run(store, store.hashes("runs")[0])
        (session,) = record.execution.resumed_from
        if "platform" in each:
            assert "platform" in session["differs"]
            assert not outcome.reproducible and not record.reproducible
        else:
            assert outcome.end == whole.end and record.reproducible
            assert session["differs"] == []


def full_once(marker: Path) -> Any:
    """A reporter that meets a full disk in cycle 4, once."""
    place = str(marker)

    class Full:
        def init(self, **kwargs: Any) -> None: ...

        def report(self, **kwargs: Any) -> None:
            marker = Path(place)
            if kwargs["cycle_idx"] == 4 and not marker.exists():
                marker.touch()
                raise OSError(28, "No space left on device", "x")

        def cleanup(self, **kwargs: Any) -> None: ...

    return Full()


def goes_on_after_the_error(made: Prepared, folder: Path) -> None:
    """The message says how to go on, and the end is that of a run without the error."""
    job = folder / "job"
    with pytest.raises(CycleFailedError, match=f"wepy resume {job}"):
        run_job(made.store, made.snapshot_hash, job, n_cycles=9)
    outcome = resume(job, {}, Recorder())
    whole = run_job(made.store, made.snapshot_hash, folder / "whole", n_cycles=9)
    assert (outcome.end, outcome.n_cycles) == (whole.end, 9)


def test_an_error_leaves_a_job_that_goes_on(tmp_path: Path) -> None:
    """A full disk in one cycle: the message says how to go on, and the end is that of a run
    without the error."""
    reporters = [HDF5Reporter(), full_once(tmp_path / "failed")]
    configuration = plain_configuration(None, reporters)
    made = prepare_store(tmp_path / "x.orch", pair_snapshot(), configuration)
    goes_on_after_the_error(made, tmp_path)


def test_walkers_in_one_array_resume_too(tmp_path: Path) -> None:
    """Runners of whole ensembles: the end of a resumed run is that of an undisturbed one."""
    walkers = [Walker(WalkerState(positions=[[0.0, 0.0]]), 0.125) for _ in range(8)]
    start = Snapshot(walkers, Apparatus(RandomWalkRunner(n_dims=2), None, NoResampler()))
    made = prepare_store(tmp_path / "x.orch", start, plain_configuration())
    whole = run_job(made.store, made.snapshot_hash, tmp_path / "whole", n_cycles=9)
    job = tmp_path / "job"
    stopped(made.store, made.snapshot_hash, job, 6, n_cycles=9, checkpoint_freq=2)
    assert resume(job, {}, Recorder()).end == whole.end


def test_many_checkpoints_are_thinned(pair_store: Prepared, tmp_path: Path) -> None:
    """A record lists at most some 100 checkpoints, the first and the last among them."""
    from wepystore.orchestrator.run import account

    most = account._MOST_CHECKPOINTS
    try:
        account._MOST_CHECKPOINTS = 5
        run_job(
            pair_store.store,
            pair_store.snapshot_hash,
            tmp_path / "job",
            n_cycles=23,
            checkpoint_freq=1,
        )
    finally:
        account._MOST_CHECKPOINTS = most
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    told = load_run(store, store.hashes("runs")[0]).execution.checkpoints
    assert len(told) <= 5 and (told[0][0], told[-1][0]) == (1, 23)
    assert all(a < b and s <= t for (a, s), (b, t) in itertools.pairwise(told))


def test_a_complete_job_whose_files_were_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the last checkpoint, in the reporters' way out: resume puts the files in order
    without a cycle, and the record stays what it was."""
    made = prepare_store(
        tmp_path / "x.orch", pair_snapshot(), plain_configuration(None, [HDF5Reporter()])
    )
    real: Callable[..., None] = HDF5Reporter.cleanup

    def dies(self: Any, **parts: Any) -> None:
        self._abandon()
        raise OSError(5, "Input/output error", "x")

    monkeypatch.setattr(HDF5Reporter, "cleanup", dies)
    job = tmp_path / "job"
    with pytest.raises(OSError, match="Input/output"):
        run_job(made.store, made.snapshot_hash, job, n_cycles=4)
    monkeypatch.setattr(HDF5Reporter, "cleanup", real)
    store = Store.open(job / "checkpoint.orch")
    before = store.hashes("runs")
    watcher = Recorder()
    outcome = resume(job, {}, watcher)
    assert not [e for e in watcher.events if e[0] == "cycle"]
    assert store.hashes("runs") == before and outcome.n_cycles == 4
    import h5py

    with h5py.File(job / "job.wepy.h5") as file:
        assert file["runs/0"].attrs["end_snapshot_hash"] == outcome.end
    assert resume(job, {}, Recorder()).was_complete


def interrupted(tmp_path: Path) -> Path:
    """A job with a checkpoint after 2 of 4 cycles, and a trajectory of 3."""
    made = prepare_store(
        tmp_path / "x.orch", pair_snapshot(), plain_configuration(None, [HDF5Reporter()])
    )
    job = tmp_path / "job"
    stopped(made.store, made.snapshot_hash, job, 3, n_cycles=4, checkpoint_freq=2)
    return job


def test_another_jobs_job_json_is_not_begun_anew(tmp_path: Path) -> None:
    """It would be a run from the start, and cut the trajectory that is there."""
    job = interrupted(tmp_path)
    file, before = job / "job.json", (job / "job.wepy.h5").read_bytes()
    was = file.read_text()
    for change in (('"n_steps":10', '"n_steps":11'), ('"seed":1', '"seed":2')):
        file.write_text(was.replace(*change))
        with pytest.raises(MalformedJobError, match=r"not what checkpoint\.orch has a run of"):
            resume(job, {}, Recorder())
    assert (job / "job.wepy.h5").read_bytes() == before
    file.write_text(was)
    assert resume(job, {}, Recorder()).n_cycles == 4


def test_a_lost_trajectory_is_named_with_the_way_on(tmp_path: Path) -> None:
    """No new file that lacks the first cycles is begun; put back, the job goes on."""
    job = interrupted(tmp_path)
    file = job / "job.wepy.h5"
    whole = file.read_bytes()
    for data in (None, b"", whole[:3000]):
        file.unlink()
        if data is not None:
            file.write_bytes(data)
        with pytest.raises(NotContinuedError, match=r"job\.wepy\.h5.*wepy run orch"):
            resume(job, {}, Recorder())
        assert file.exists() == (data is not None)
        file.write_bytes(whole)
    assert resume(job, {}, Recorder()).n_cycles == 4


def test_a_job_that_lost_its_store_begins_anew_from_its_start(tmp_path: Path) -> None:
    """The message names how; the end is that of the run that was lost."""
    job = interrupted(tmp_path)
    whole = resume(shutil.copytree(job, tmp_path / "copy"), {}, Recorder())
    shutil.rmtree(job / "checkpoint.orch")
    with pytest.raises(NoJobStoreError, match=r"wepy reconcile orch .*checkpoint\.orch ORCH"):
        resume(job, {}, Recorder())
    store = Store.create(job / "checkpoint.orch")
    apply(plan(store, [Store.open(tmp_path / "x.orch")]))
    assert resume(job, {}, Recorder()).end == whole.end


def test_odd_facts_of_a_record_keep_nobody_from_going_on(tmp_path: Path) -> None:
    """What stands under `execution` bears on no bit, and is not checked when a record is read."""
    job = interrupted(tmp_path)
    whole = resume(shutil.copytree(job, tmp_path / "copy"), {}, Recorder())
    store = Store.open(job / "checkpoint.orch")
    (run,) = store.hashes("runs")
    odd = {"wall_s": "x", "n_warped": [], "checkpoints": 5, "resumed_from": {"a": 1}}
    value = {**store.manifest("runs", run), "execution": odd}
    store.remove("runs", run)
    store.put("runs", canonical.dumps(value))
    assert resume(job, {}, Recorder()).end == whole.end


def test_no_more_workers_than_walkers(pair_store: Prepared, tmp_path: Path) -> None:
    """A thousand processes by a slip of the hand are not started; the record says how many were."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=1, n_workers=1000)
    store = Store.open(job / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    assert record.execution.n_workers == len(pair_snapshot().walkers)
