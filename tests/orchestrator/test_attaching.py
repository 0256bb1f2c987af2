"""WepyHDF5 files become recordings: of the run that they are of, and of no other (D7)."""

from __future__ import annotations

import base64
import gzip
import resource
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.store.care.test_gc import in_child
from tests.store.helpers import attach
from tests.systems import (
    REPOSITORY,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    plain_configuration,
    run_job,
    tree_of,
)
from wepystore.api import (
    AttachedAlreadyError,
    AttachmentsDifferError,
    FramesElsewhereError,
    HDF5Reporter,
    NoFramesError,
    NoResampler,
    NoSuchFieldError,
    NoSuchRunInFileError,
    NotRecordedError,
    OfAnotherRunError,
    RecordedAlreadyError,
    SeveralRunsInFileError,
    Snapshot,
    Store,
    UnbindingBC,
    Walker,
    add_trajectories,
    export_run,
    load_frames,
    load_lineages,
    load_run,
    load_tables,
    prepare_store,
    reconcile,
)
from wepystore.compat.wepy import entries
from wepystore.orchestrator import attaching
from wepystore.orchestrator.run import recorder
from wepystore.records import frames
from wepystore.records.library import find_frames
from wepystore.records.run import encode_run
from wepystore.records.run_frames import read_cycles
from wepystore.records.sinks import Remembering
from wepystore.records.spare_frames import frames_to_spare
from wepystore.records.trust import users_own
from wepystore.reporters.hdf5 import run_in_file
from wepystore.store.care import fsck, gc
from wepystore.store.names import Ref

WEPY = REPOSITORY / "fixtures" / "wepy1"


def bare(job: Path, path: Path) -> tuple[Store, str]:
    """A store with the run of a job, as if it had been made without a recording; its record."""
    reconcile(path, job)
    store = Store.open(path)
    (own,) = store.hashes("runs")
    record = replace(load_run(store, own), recording=None)
    with store.batch() as batch:
        ref = encode_run(record, Remembering(batch, {}))
    store.remove("runs", own)
    for kind in ("recordings", "frames"):
        for md5 in store.hashes(kind):
            store.remove(kind, md5)
    gc.apply(gc.plan(store, grace_s=-1))
    return store, ref.md5


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full blocks of four cycles; of two, of those of which frames are kept; in the file, three
    cycles are read at once."""
    for module in (recorder, attaching):
        monkeypatch.setattr(module, "block_cycles_for", lambda n_walkers: 4)
    monkeypatch.setattr(frames, "block_cycles_for", lambda n_walkers, n_bytes, every: 2 * every)
    monkeypatch.setattr(run_in_file, "_BLOCK_BYTES", 3 * 8 * 6 * 7)


def job_of(tmp_path: Path, snapshot: Snapshot, **options: Any) -> Path:
    """A job with a WepyHDF5 file."""
    made = prepare_store(
        tmp_path / "a.orch", snapshot, plain_configuration(reporters=[HDF5Reporter()])
    )
    run_job(made.store, made.snapshot_hash, tmp_path / "job", **{"n_cycles": 11, **options})
    return tmp_path / "job"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    near = UnbindingBC(0.39, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False)
    return job_of(tmp_path, pair_snapshot(6, pair_apparatus(boundary_conditions=near)), n_steps=50)


class Growing(NoResampler):
    """One walker more in each cycle, up to nine."""

    def resample(self, walkers: Any) -> Any:
        n_walkers = min(9, len(walkers) + 1)
        every = [Walker(walkers[k % len(walkers)].state, 1 / n_walkers) for k in range(n_walkers)]
        return every, [], []


@pytest.mark.parametrize("varying", [False, True])
def test_a_file_of_ours_gives_the_recording_of_its_run(
    tmp_path: Path, small_blocks: None, varying: bool
) -> None:
    """To the bit, of any number of walkers: it is recorded by the same program; once more, nothing
    is new."""
    apparatus = pair_apparatus(resampler=Growing()) if varying else None
    job = job_of(tmp_path, pair_snapshot(6, apparatus), n_steps=50)
    store, run = bare(job, tmp_path / "bare.orch")
    with pytest.raises(NotRecordedError):
        load_tables(store, run)
    for _ in range(2):
        added = add_trajectories(store, run, job / "job.wepy.h5")
        assert store.hashes("attachments") == [added]
    own = Store.open(job / "checkpoint.orch")
    assert store.hashes("recordings") == own.hashes("recordings")
    assert store.hashes("frames") == own.hashes("frames")
    assert fsck.check(store).healthy and not fsck.check(store).notes
    (md5,) = own.hashes("runs")
    assert load_tables(store, run)["n_walkers"].tolist()[-1] == (9 if varying else 6)
    if not varying:
        theirs = load_lineages(own, md5).parents
        assert load_lineages(store, run).parents.tolist() == theirs.tolist()


@pytest.fixture
def of_wepy(tmp_path: Path) -> tuple[Store, str, Path]:
    """A store with the run of wepy's fixture, its record, and its file."""
    path = tmp_path / "wepy.orch"
    reconcile(path, WEPY / "first_job.checkpoint.orch.sqlite")
    file = tmp_path / "first_job.wepy.h5"
    file.write_bytes(gzip.decompress((WEPY / "first_job.wepy.h5.gz").read_bytes()))
    store = Store.open(path)
    (run,) = store.hashes("runs")
    return store, run, file


def test_a_file_of_wepys(of_wepy: tuple[Store, str, Path], tmp_path: Path) -> None:
    """What is in it, value for value, positions to single precision; how long its segments are
    nobody knows. A union brings it, and fsck and gc find nothing amiss."""
    store, run, file = of_wepy
    added = add_trajectories(store, run, file)
    reconcile(tmp_path / "master.orch", store.path)
    master = Store.open(tmp_path / "master.orch")
    assert master.hashes("attachments") == [added] and fsck.check(master).healthy
    assert not gc.plan(master, grace_s=-1, unnamed=True).items
    tables, kept = load_tables(master, run, verify=True), load_frames(master, run)
    assert tables.recording.n_steps is None and tables.runs[0].n_cycles == 53
    with h5py.File(file) as held:
        theirs = held["runs/0"]
        for walker in range(10):
            each = theirs[f"trajectories/{walker}"]
            assert np.array_equal(tables.by_walker("weights")[:, walker], each["weights"][:, 0])
            assert np.array_equal(kept.walker(walker), np.float32(each["positions"][:]))
            assert np.array_equal(
                kept.walker(walker, "box_vectors"), np.float32(each["box_vectors"][:])
            )
        decisions = theirs["resampling/decision_id"][:]
        assert np.array_equal(tables["resampling/decision_id"], decisions)
        regions = np.concatenate(theirs["resampling/region_assignment"][:])
        assert np.array_equal(tables["resampling/region_assignment"], regions)
        distances = np.stack(theirs["progress/min_distances"][:])
        assert np.array_equal(tables.by_walker("progress/min_distances"), distances)
        assert tables["boundary_conditions/boundary_distance"].tolist() == [[1.0]]
    assert tables.recording.decisions["CLONE"] == 2
    assert len(load_lineages(master, run).of(walker=3)) == 53


def change(file: Path, name: str, by: float) -> None:
    with h5py.File(file, "r+") as held:
        held[name][-1] += by


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("runs/0/init_walkers/3/positions", "walker 3 did not begin"),
        ("runs/0/trajectories", "does not end where"),
    ],
)
def test_wepys_file_of_another_run_is_refused(
    of_wepy: tuple[Store, str, Path], name: str, why: str
) -> None:
    """By what its snapshots tell without being unpickled."""
    store, run, file = of_wepy
    names = [f"{name}/{k}/positions" for k in range(10)] if "traj" in name else [name]
    for each in names:
        change(file, each, 1e-4)
    with pytest.raises(OfAnotherRunError, match=why):
        add_trajectories(store, run, file)
    # That is beyond single precision.
    for each in names:
        change(file, each, 1e-8 - 1e-4)
    add_trajectories(store, run, file)


def test_a_text_that_begins_again_and_again_is_read_once() -> None:
    """Some kB of a stranger's, which were looked through from each of a million places on."""
    text = zlib.compress(b"<State a='1'>" * (1 << 20))

    def work() -> bool:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        return entries.positions(base64.b64encode(text)) == []

    assert in_child(work) == 0


def annotated(**facts: Any) -> Callable[[h5py.File], None]:
    def apply(held: h5py.File) -> None:
        held["runs/0"].attrs.update(facts)

    return apply


def without_last_cycle(held: h5py.File) -> None:
    for group in held["runs/0/trajectories"].values():
        for each in group.values():
            each.resize(10, axis=0)
    held["runs/0/progress/min_distances"].resize(10, axis=0)
    for table in ("resampling", "resampler", "warping", "boundary_conditions"):
        group = held[f"runs/0/{table}"]
        there = int((group["_cycle_idxs"][:] < 10).sum())
        for each in group.values():
            each.resize(there, axis=0)


def with_other_weights(held: h5py.File) -> None:
    held["runs/0/init_walkers/1/weights"][:] *= 1 + 1e-6


def with_a_walker_less(held: h5py.File) -> None:
    del held["runs/0/init_walkers/5"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (annotated(start_snapshot_hash="a" * 32), "start: aaaa"),
        (annotated(end_snapshot_hash="a" * 32), "end: aaaa"),
        (annotated(config_hash="a" * 32), "configuration: aaaa"),
        (annotated(seed=7), "seed: 7 in the file"),
        (annotated(n_segment_steps=51), "steps of a segment: 51 in the file, 50 in the run"),
        (without_last_cycle, "cycles: 10 in the file, 11 in the run"),
        (with_other_weights, "weight of walker 1"),
        (with_a_walker_less, "walkers at the start: 5 in the file, 6 in the run"),
    ],
)
def test_what_is_of_another_run_is_refused(
    job: Path, tmp_path: Path, change: Callable[[h5py.File], None], why: str
) -> None:
    """By name, and nothing is left in the store."""
    store, run = bare(job, tmp_path / "bare.orch")
    with h5py.File(job / "job.wepy.h5", "r+") as held:
        change(held)
    before = tree_of(store.path)
    with pytest.raises(OfAnotherRunError, match=f"not of run {run}: {why}"):
        add_trajectories(store, run, job / "job.wepy.h5")
    assert tree_of(store.path) == before


def test_states_as_asked(job: Path, tmp_path: Path) -> None:
    """Any fields of the file, in double precision; or none, and then the tables alone."""
    store, run = bare(job, tmp_path / "bare.orch")
    file = job / "job.wepy.h5"
    add_trajectories(store, run, file, fields=["velocities", "positions"], precision="float64")
    kept = load_frames(store, run)
    with h5py.File(file) as held:
        theirs = held["runs/0/trajectories/2/velocities"][:]
    assert np.array_equal(kept.walker(2, "velocities"), theirs)
    assert [field.name for field in kept.fields] == ["positions", "velocities"]
    bare_store, same = bare(job, tmp_path / "second.orch")
    add_trajectories(bare_store, same, file, fields=())
    with pytest.raises(NoFramesError):
        load_frames(bare_store, same)
    assert load_tables(bare_store, same).by_walker("weights").shape == (11, 6)
    with pytest.raises(NoSuchFieldError, match=r"no 'forces'; they have positions, velocities"):
        add_trajectories(bare_store, same, file, fields=["forces"])


def test_sparse_fields_are_taken_in_where_they_are_asked_for(
    of_wepy: tuple[Store, str, Path],
) -> None:
    """As wepy keeps those of some cycles: in the others they are NaN, and known to be missing."""
    store, run, file = of_wepy
    with h5py.File(file, "r+") as held:
        true = held["runs/0/trajectories/7/velocities"][::5]
        for group in held["runs/0/trajectories"].values():
            for name in ("velocities", "box_vectors"):
                kept = group[name][::5]
                del group[name]
                group[f"{name}/data"] = kept
                group[f"{name}/_sparse_idxs"] = np.arange(0, 53, 5)
    add_trajectories(store, run, file)
    # Nobody has asked for them.
    assert [field.name for field in load_frames(store, run).fields] == ["positions"]
    for path in store.path.glob("attachments/*/*"):
        path.unlink()
    add_trajectories(store, run, file, fields=["positions", "velocities"])
    found = load_frames(store, run, verify=True).walker(7, "velocities")
    assert np.array_equal(found[::5], np.float32(true))
    assert np.isnan(np.delete(found, np.s_[::5], axis=0)).all()
    (kept,) = find_frames(store, run)
    cycles = read_cycles(store, kept.frames, kept.counts, 0, 53, "")
    missing = [{field for field, _ in lacking} for _, lacking in cycles]
    assert missing == [set() if k % 5 == 0 else {1} for k in range(53)]


def test_some_atoms(tmp_path: Path) -> None:
    """Of a file that has some atoms only the frames have those, and say which."""
    snapshot = pair_snapshot(6)
    configuration = plain_configuration(reporters=[HDF5Reporter(main_rep_idxs=[1])])
    made = prepare_store(tmp_path / "a.orch", snapshot, configuration)
    job = tmp_path / "job"
    run_job(made.store, made.snapshot_hash, job, n_cycles=3)
    own = load_frames(job, Store.open(job / "checkpoint.orch").hashes("runs")[0])
    store, run = bare(job, tmp_path / "bare.orch")
    added = add_trajectories(store, run, job / "job.wepy.h5")
    kept = load_frames(store, run)
    with h5py.File(job / "job.wepy.h5", "r+") as held:
        # As wepy has it.
        for walker in held["runs/0/init_walkers"].values():
            del walker["positions"]
            walker["positions"] = pair_state()["positions"][None]
    assert add_trajectories(store, run, job / "job.wepy.h5") == added
    assert kept.atoms is not None and kept.atoms.tolist() == [1]
    assert np.array_equal(kept.walker(4), own.walker(4)[:, [1]])


def test_a_records_own_recording_wins(job: Path, tmp_path: Path) -> None:
    """Nothing can be attached to it; what a stranger has attached is passed over."""
    store, run = bare(job, tmp_path / "bare.orch")
    add_trajectories(store, run, job / "job.wepy.h5", fields=())
    (other,) = store.hashes("recordings")
    reconcile(store.path, job)
    (own,) = set(store.hashes("runs")) - {run}
    with pytest.raises(RecordedAlreadyError, match=own):
        add_trajectories(store, own, job / "job.wepy.h5")
    attach(store, own, other)
    assert load_frames(store, own).n_walkers.tolist() == [6] * 11


def test_others_that_differ_are_a_conflict(job: Path, tmp_path: Path) -> None:
    """A second one is refused; where two have come together, whoever reads is told of both, until
    one of them is removed."""
    store, run = bare(job, tmp_path / "bare.orch")
    file = job / "job.wepy.h5"
    first = add_trajectories(store, run, file)
    with pytest.raises(AttachedAlreadyError, match=first):
        add_trajectories(store, run, file, fields=())
    assert store.hashes("attachments") == [first]
    other, _ = bare(job, tmp_path / "other.orch")
    second = add_trajectories(other, run, file, fields=())
    (conflict,) = reconcile(store.path, other.path).conflicts
    assert (conflict.name, conflict.ours, conflict.theirs) == (f"runs/{run}", first, second)
    for joined in (False, True):
        with pytest.raises(AttachmentsDifferError) as told:
            load_tables(store, run, joined=joined)
        assert first in str(told.value) and second in str(told.value)
    store.remove("attachments", second)
    assert load_frames(store, run).n_walkers.tolist() == [6] * 11


def test_histories_are_joined_with_what_is_attached(job: Path, tmp_path: Path) -> None:
    """A run with a recording of its own that goes on from the end of one with an attachment."""
    record = load_run(job, Store.open(job / "checkpoint.orch").hashes("runs")[0])
    run_job(Store.open(job / "checkpoint.orch"), record.end.md5, tmp_path / "more", n_cycles=2)
    store, run = bare(job, tmp_path / "bare.orch")
    reconcile(store.path, tmp_path / "more")
    (last,) = set(store.hashes("runs")) - {run}
    with pytest.raises(NotRecordedError):
        load_tables(store, last, joined=True)
    add_trajectories(store, run, job / "job.wepy.h5")
    tables = load_tables(store, last, joined=True)
    assert [(span.run, span.n_cycles) for span in tables.runs] == [(run, 11), (last, 2)]
    assert load_frames(store, last, joined=True).cycles.tolist() == [*range(13)]


def test_several_runs_in_a_file(of_wepy: tuple[Store, str, Path]) -> None:
    """One of them is to be named, and has to be there."""
    store, run, file = of_wepy
    with h5py.File(file, "r+") as held:
        held.copy(held["runs/0"], held["runs"], "3")
    with pytest.raises(SeveralRunsInFileError, match="the runs 0, 3"):
        add_trajectories(store, run, file)
    with pytest.raises(NoSuchRunInFileError, match="no run 1: it has 0, 3"):
        add_trajectories(store, run, file, run_idx=1)
    assert add_trajectories(store, run, file, run_idx=3) == add_trajectories(
        store, run, file, run_idx=0
    )


def test_what_a_stranger_wrote_is_not_trusted(of_wepy: tuple[Store, str, Path]) -> None:
    """S9: a topology that would be a pickle elsewhere is kept, and not as a text of one's own."""
    store, run, file = of_wepy
    with h5py.File(file, "r+") as held:
        told = held["topology"][()].decode()
        del held["topology"]
        held["topology"] = told.replace("Ar", '<Force type=\\"PythonForce\\" function=\\"80\\"/>')
    before = users_own().trusted()
    add_trajectories(store, run, file)
    recording = load_tables(store, run).recording
    assert isinstance(recording.topology, Ref) and b"PythonForce" in store.object(
        recording.topology
    )
    assert users_own().trusted() == before


def test_what_is_exported_can_be_taken_in_again(
    job: Path, of_wepy: tuple[Store, str, Path], tmp_path: Path
) -> None:
    """To the bit, of ours and of wepy's."""
    own = Store.open(job / "checkpoint.orch")
    store, run = bare(job, tmp_path / "bare.orch")
    wepys, of_wepys, file = of_wepy
    add_trajectories(wepys, of_wepys, file)
    again = tmp_path / "again.orch"
    reconcile(again, WEPY / "first_job.checkpoint.orch.sqlite")
    for source, asked, target, into in (
        (own, *own.hashes("runs"), store, run),
        (wepys, of_wepys, Store.open(again), of_wepys),
    ):
        (written,) = export_run(source, asked, tmp_path / f"{asked}.h5")
        add_trajectories(target, into, written)
        for kind in ("recordings", "frames"):
            assert target.hashes(kind) == source.hashes(kind) != []


def test_the_frames_of_what_is_attached_may_be_elsewhere(
    of_wepy: tuple[Store, str, Path], tmp_path: Path
) -> None:
    """D4, as of a run's own recording: a union without them, and later with them."""
    store, run, file = of_wepy
    add_trajectories(store, run, file)
    there = tmp_path / "there.orch"
    assert not reconcile(there, store.path, frames=False).left
    assert fsck.check(Store.open(there)).healthy
    assert load_tables(there, run).by_walker("weights").shape == (53, 10)
    with pytest.raises(FramesElsewhereError):
        load_frames(there, run)
    reconcile(there, store.path)
    assert load_frames(there, run).cycles.tolist() == [*range(53)]
    # wepy's record tells of no end, and no job needs them to go on.
    assert frames_to_spare(store, [run]) == store.hashes("frames")
