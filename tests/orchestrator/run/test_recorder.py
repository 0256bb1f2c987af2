"""The recording of a run: whole at every checkpoint, and one however the run came about (D1-D3)."""

from __future__ import annotations

import errno
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.orchestrator.run.test_checkpoint import assert_whole
from tests.systems import (
    Recorder,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    plain_configuration,
    run_job,
    save_run,
)
from wepystore.api import (
    HDF5Reporter,
    MissingError,
    NoResampler,
    NotRecordedError,
    Prepared,
    ProcessMapper,
    RunTables,
    Snapshot,
    Store,
    UnbindingBC,
    Walker,
    Watcher,
    load_run,
    load_tables,
    prepare_store,
)
from wepystore.orchestrator.errors import CycleFailedError
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run import recorder, series
from wepystore.orchestrator.run.resume import resume
from wepystore.orchestrator.run.writer import Writer
from wepystore.records import frames
from wepystore.records.errors import CannotRecordError
from wepystore.records.recording import Recording
from wepystore.records.run import RunRecord
from wepystore.records.snapshot import Apparatus
from wepystore.records.tables import read_recording


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Full blocks of four cycles; of two, of those of which frames are kept."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: 4)
    monkeypatch.setattr(frames, "block_cycles_for", lambda n_walkers, n_bytes, every: 2 * every)
    return 4


def job_store(job: Path) -> Store:
    return Store.open(job / "checkpoint.orch")


def record_of(job: Path) -> RunRecord:
    """The longest: the end that somebody was told of stays beside a later one."""
    every = []
    for md5 in job_store(job).hashes("runs"):
        with suppress(MissingError):  # A superseded one goes beside the run.
            every.append(load_run(job_store(job), md5))
    return max(every, key=lambda record: record.n_cycles)


def recording_of(job: Path) -> Recording:
    """The recording of the longest."""
    found = read_recording(job_store(job), record_of(job))
    assert found is not None
    return found


def tables_of(job: Path) -> RunTables:
    (md5,) = job_store(job).hashes("runs")
    return load_tables(job, md5)


@pytest.mark.parametrize("blocks", [4, 1 << 14])
def test_one_run_has_one_recording(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    """Whatever the checkpoints, and with one interruption or more (D2)."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: blocks)
    found = set()
    for name, freq, stops in (
        ("once", None, ()),
        ("each", 1, ()),
        ("third", 3, ()),
        ("stopped", 1, (1, 4, 5)),
        ("seldom", 100, (2, 9)),
    ):
        job = tmp_path / name
        wanted = [*stops, 11]
        options = {"checkpoint_freq": freq, "n_cycles": wanted[0]}
        run_job(pair_store.store, pair_store.snapshot_hash, job, **options)
        for n_cycles in wanted[1:]:
            resume(job, {"n_cycles": n_cycles}, Recorder())
        record = record_of(job)
        assert record.recording is not None and record.n_cycles == 11
        found.add((record.end, record.recording))
        assert_whole(job_store(job))
    assert len(found) == 1
    recording = recording_of(job)
    assert [part.n_cycles for part in recording.tables] == ([4, 4, 3] if blocks == 4 else [11])


def test_workers_make_no_difference(pair_store: Prepared, tmp_path: Path) -> None:
    """Serial, or two processes (R1)."""
    made = prepare_store(
        tmp_path / "two.orch", pair_snapshot(), plain_configuration(ProcessMapper(2))
    )
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "one", n_cycles=5)
    run_job(made.store, made.snapshot_hash, tmp_path / "two", n_cycles=5)
    assert record_of(tmp_path / "one").recording == record_of(tmp_path / "two").recording


@pytest.mark.parametrize(("blocks", "little"), [(4, 1 << 14), (64, 0), (64, 1 << 14)])
def test_every_checkpoint_holds_every_cycle_in_few_parts(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, little: int
) -> None:
    """After each of them the recording has all cycles: in full blocks, pieces of a sixteenth of a
    block, and one for each power of two of the rest, or one where that is little (D5)."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: blocks)
    monkeypatch.setattr(series, "_LITTLE", little)
    job = tmp_path / "job"
    seen = []

    class Looking(Watcher):
        def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
            record = record_of(job)
            assert (record.n_cycles, record.end.md5) == (n_cycles, end)
            assert record.recording is not None
            recording = recording_of(job)
            assert not job_store(job).missing("recordings", record.recording.md5)
            seen.append([part.n_cycles for part in recording.tables])

    n_cycles, most = (12, 1) if blocks == 4 else (70, 4)
    options = {"n_cycles": n_cycles, "checkpoint_freq": 1}
    run_job(pair_store.store, pair_store.snapshot_hash, job, Looking(), **options)
    rests = [[], [1], [2], [3] if little else [2, 1]]
    expected = [
        [blocks] * (n // blocks) + [most] * (n % blocks // most) + rests[n % most]
        for n in range(1, n_cycles)
    ]
    assert seen == [*expected, [4, 4, 4] if blocks == 4 else [64, 6]]


def test_what_a_checkpoint_supersedes_costs_what_is_new(
    pair_store: Prepared, tmp_path: Path, small_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the run: each manifest is read once, and no full block, nor an empty directory,
    is carried from checkpoint to checkpoint (D3)."""
    job, read = tmp_path / "job", []
    references = Store.references

    def counted(store: Store, kind: str, md5: str, ref: Any = None) -> Any:
        read.append((kind, md5))
        return references(store, kind, md5, ref)

    class Looking(Watcher):
        def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
            blocks = {part.ref.md5 for part in recording_of(job).tables if part.n_cycles == 4}
            listed = {md5 for kind, md5 in Ledger(job).read()}
            assert not blocks & listed

    monkeypatch.setattr(Store, "references", counted)
    options = {"n_cycles": 40, "checkpoint_freq": 1}
    run_job(pair_store.store, pair_store.snapshot_hash, job, Looking(), **options)
    mine = [each for each in read if each[0] != "configs"]
    assert len(mine) == len(set(mine)) <= 4 * 40 + 1
    store = job_store(job)
    assert_whole(store)
    for kind in ("snapshots", "frames", "recordings", "runs", "objects"):
        assert all(any(each.iterdir()) for each in (store.path / kind).iterdir())


def test_an_extended_run_shares_all_full_blocks(
    pair_store: Prepared, tmp_path: Path, small_blocks: int
) -> None:
    """What was recorded of the shorter run stays as it is in the longer one (D3)."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=9)
    shorter = record_of(job).recording
    assert shorter is not None
    before = recording_of(job)
    resume(job, {"n_cycles": 14}, Recorder())
    longer = record_of(job).recording
    assert longer is not None
    after = recording_of(job)
    assert [part.n_cycles for part in before.tables] == [4, 4, 1]
    assert [part.n_cycles for part in after.tables] == [4, 4, 4, 2]
    assert after.tables[:2] == before.tables[:2]
    assert not job_store(job).missing("recordings", shorter.md5)
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "twin", n_cycles=14)
    assert record_of(tmp_path / "twin").recording == longer


def test_the_tables_are_those_of_the_file(tmp_path: Path) -> None:
    """Weights and all records, value for value as in the WepyHDF5 file of the same run (D1)."""
    configuration = plain_configuration(reporters=[HDF5Reporter()])
    near = UnbindingBC(0.39, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False)
    snapshot = pair_snapshot(6, pair_apparatus(boundary_conditions=near))
    made = prepare_store(tmp_path / "a.orch", snapshot, configuration)
    options = {"n_cycles": 40, "n_steps": 100, "checkpoint_freq": 7}
    run_job(made.store, made.snapshot_hash, tmp_path / "job", **options)
    tables = tables_of(tmp_path / "job")
    n_warps = len(tables["warping/walker_idx"])
    assert n_warps and (tables["resampling/decision_id"] == 2).any()
    with h5py.File(tmp_path / "job" / "job.wepy.h5") as file:
        run = file["runs/0"]
        for walker, weights in enumerate(tables.by_walker("weights").T):
            assert np.array_equal(run[f"trajectories/{walker}/weights"][:, 0], weights)
        for name in ("resampling", "resampler", "warping", "progress", "boundary_conditions"):
            held = tables.table(name)
            n_compared = 0
            for field, dataset in run[name].items():
                if field == "_cycle_idxs":
                    assert np.array_equal(held["cycle_idx"], dataset[:])
                elif f"{field}/lengths" in held:
                    ends = np.cumsum(held[f"{field}/lengths"])
                    rows = np.split(held[field], ends[:-1])
                    assert len(rows) == len(dataset)
                    for row, theirs in zip(rows, dataset[:], strict=True):
                        assert np.array_equal(row, theirs)
                else:
                    assert np.array_equal(held[field], dataset[:])
                n_compared += 1
            assert n_compared == len(held) - sum(key.endswith("/lengths") for key in held)


class Wavering(NoResampler):
    """One walker more in each cycle, up to seven, and then three again."""

    def resample(self, walkers: Any) -> Any:
        n_walkers = len(walkers) + 1 if len(walkers) < 7 else 3
        every = [Walker(walkers[k % len(walkers)].state, 1 / n_walkers) for k in range(n_walkers)]
        return every, [], []


def test_walkers_may_come_and_go(tmp_path: Path) -> None:
    """A number of walkers for each cycle, and as many weights (D1)."""
    apparatus = Apparatus.as_found(pair_snapshot().apparatus.runner, None, Wavering())
    snapshot = Snapshot.as_found(pair_snapshot(4).walkers, apparatus)
    made = prepare_store(tmp_path / "a.orch", snapshot, plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=9, checkpoint_freq=2)
    tables = tables_of(tmp_path / "job")
    assert tables["n_walkers"].tolist() == [4, 5, 6, 7, 3, 4, 5, 6, 7]
    weights = tables.by_walker("weights")
    assert np.allclose(np.nansum(weights, axis=1), 1) and weights.shape == (9, 7)


class Odd(NoResampler):
    """Declares what can be stored in no table."""

    RESAMPLER_FIELDS = ("thing",)
    RESAMPLER_SHAPES = ((2,),)
    RESAMPLER_DTYPES = (object,)


def test_records_of_no_kind_are_refused_before_the_first_cycle(tmp_path: Path) -> None:
    """No job folder is left, and the message names table and field."""
    apparatus = Apparatus(pair_snapshot().apparatus.runner, None, Odd())
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(4, apparatus), plain_configuration())
    with pytest.raises(CannotRecordError, match="resampler field 'thing'"):
        run_job(made.store, made.snapshot_hash, tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_a_job_of_before_goes_on_without(pair_store: Prepared, tmp_path: Path) -> None:
    """Whose checkpoint has no recording: it is resumed as it was run, and says so when asked."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=4)
    store = job_store(job)
    (md5,) = store.hashes("runs")
    record = load_run(store, md5)
    values = {**vars(record), "recording": None}
    for name in [*store.hashes("recordings")]:
        store.remove("recordings", name)
    store.remove("runs", md5)
    save_run(store, RunRecord(**values))
    resume(job, {"n_cycles": 6}, Recorder())
    longer = next(r for r in store.hashes("runs") if load_run(store, r).n_cycles == 6)
    assert load_run(store, longer).recording is None
    with pytest.raises(NotRecordedError, match=longer):
        load_tables(store, longer)
    whole = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "w", n_cycles=6)
    assert load_run(store, longer).end.md5 == whole.end


class Fails:
    """A reporter that cannot write its third cycle the first time."""

    def __init__(self) -> None:
        self.n_told = 0

    def init(self, **parts: Any) -> None:
        pass

    def report(self, **report: Any) -> None:
        self.n_told += 1
        if report["cycle_idx"] == 2 and self.n_told == 3:
            raise OSError(errno.ENOSPC, "No space left on device", "a file")

    def cleanup(self, **parts: Any) -> None:
        pass


def test_a_cycle_that_a_reporter_cannot_be_told_of_is_not_recorded(
    pair_store: Prepared, tmp_path: Path, small_blocks: int
) -> None:
    """The recording has the cycles of the record, and the resumed run that of one that never
    failed (R2, D5)."""
    made = prepare_store(
        tmp_path / "a.orch", pair_snapshot(), plain_configuration(reporters=[Fails()])
    )
    job = tmp_path / "job"
    with pytest.raises(CycleFailedError, match="No space left"):
        run_job(made.store, made.snapshot_hash, job, n_cycles=7)
    assert recording_of(job).n_cycles == record_of(job).n_cycles == 2
    assert_resumed_as_one(pair_store, job, tmp_path / "whole")


@pytest.mark.parametrize("n_failures", [1, 2])
def test_a_block_that_cannot_be_written_ends_the_run_without_a_gap(
    pair_store: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_blocks: int,
    n_failures: int,
) -> None:
    """It is tried once more; then the cycle after it has not been (R2, D5)."""
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(), plain_configuration())
    left, failed = [True] * n_failures, threading.Event()
    real = Writer._write_block

    def write_block(self: Writer, objects: Any) -> Any:
        if left:
            left.pop()
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device", "a file")
        return real(self, objects)

    class Waits(Watcher):
        def cycle_done(self, progress: Any) -> None:
            # The thread that writes has come to its end before the next cycle does.
            if progress.n_cycles_done == 2:
                failed.wait()
                time.sleep(0.1)

    monkeypatch.setattr(Writer, "_write_block", write_block)
    job = tmp_path / "job"
    if n_failures == 2:
        with pytest.raises(CycleFailedError, match="No space left"):
            run_job(made.store, made.snapshot_hash, job, Waits(), n_cycles=7)
        assert recording_of(job).n_cycles == record_of(job).n_cycles == 2
        assert_resumed_as_one(pair_store, job, tmp_path / "whole")
    else:
        run_job(made.store, made.snapshot_hash, job, Waits(), n_cycles=7)
        assert recording_of(job).n_cycles == 7


def assert_resumed_as_one(made: Prepared, job: Path, whole: Path) -> None:
    """Gone on with to 7 cycles, a job has the end and the recording of one that never failed."""
    resume(job, {"n_cycles": 7}, Recorder())
    run_job(made.store, made.snapshot_hash, whole, n_cycles=7)
    assert record_of(job).end == record_of(whole).end
    assert record_of(job).recording == record_of(whole).recording
