"""Frames of real runs: recorded, resumed, verified, read."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest

from tests.orchestrator.run.test_checkpoint import assert_whole
from tests.orchestrator.run.test_recorder import (
    Wavering,
    job_store,
    record_of,
    recording_of,
    small_blocks,
)
from tests.systems import (
    Recorder,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    plain_configuration,
    run_job,
)
from wepystore.api import (
    Configuration,
    HDF5Reporter,
    NoFramesError,
    Prepared,
    Recording,
    RunFrames,
    Snapshot,
    Store,
    UnbindingBC,
    WrongPartError,
    hash_of,
    load_configuration,
    load_frames,
    prepare_store,
    verify,
)
from wepystore.orchestrator.run import film, recorder
from wepystore.orchestrator.run.resume import resume
from wepystore.records import frames, npy, run_frames
from wepystore.records.errors import CannotRecordError
from wepystore.records.run_frames import read_frames
from wepystore.records.snapshot import Apparatus
from wepystore.store.errors import DamagedEntryError
from wepystore.store.names import Ref

__all__ = ["small_blocks"]


def frames_of(job: Path) -> RunFrames:
    (md5,) = job_store(job).hashes("runs")
    return load_frames(job, md5)


def recorded(tmp_path: Path, choice: Any, n_walkers: int = 4, **options: Any) -> Path:
    """A job of the LJ pair that records so."""
    configuration = plain_configuration()
    configuration = Configuration(
        configuration.work_mapper, configuration.reporters, recording=choice
    )
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(n_walkers), configuration)
    run_job(made.store, made.snapshot_hash, tmp_path / "job", **{"n_cycles": 7, **options})
    return tmp_path / "job"


def test_the_frames_are_those_of_the_file(tmp_path: Path, small_blocks: None) -> None:
    """Positions of all atoms in each cycle, as in the WepyHDF5 file of the same run, to single
    precision, with no setting at all (D1)."""
    near = UnbindingBC(0.39, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False)
    snapshot = pair_snapshot(6, pair_apparatus(boundary_conditions=near))
    configuration = plain_configuration(reporters=[HDF5Reporter()])
    made = prepare_store(tmp_path / "a.orch", snapshot, configuration)
    options = {"n_cycles": 11, "n_steps": 50, "checkpoint_freq": 3}
    run_job(made.store, made.snapshot_hash, tmp_path / "job", **options)
    found = frames_of(tmp_path / "job")
    (field,) = found.fields
    assert (field.name, field.shape, field.unit) == ("positions", (2, 3), "nanometer")
    assert repr(found) == "<RunFrames: 11 of 11 cycles; positions>"
    assert "<td>(2, 3)</td><td>&lt;f4</td><td>nanometer</td>" in found._repr_html_()
    recording = recording_of(tmp_path / "job")
    assert isinstance(recording.masses, Ref) and recording.step_size_ps == 0.002
    masses = npy.load(job_store(tmp_path / "job").object(recording.masses), "it")
    assert masses.tolist() == [39.9, 39.9]
    assert found.cycles.tolist() == [*range(11)] and found.n_walkers.tolist() == [6] * 11
    with h5py.File(tmp_path / "job" / "job.wepy.h5") as file:
        for walker, theirs in file["runs/0/trajectories"].items():
            mine = found.walker(int(walker))
            assert mine.dtype == np.float32
            assert np.array_equal(mine, theirs["positions"][:].astype(np.float32))
    everything = np.stack([found.walker(k) for k in range(6)], axis=1)
    assert np.array_equal(found.cycle(8), everything[8])
    assert np.array_equal(
        found.of(np.array([10, 3]), np.array([5, 0])), everything[[10, 3], [5, 0]]
    )
    assert np.array_equal(found.walker(2, start=3, stop=7), everything[3:7, 2])
    with pytest.raises(ValueError, match="read-only"):
        found.walker(2)[:] = 0
    with pytest.raises(IndexError, match="no such walker"):
        found.of(np.array([3]), np.array([6]))
    with pytest.raises(KeyError, match="forces"):
        found.walker(0, "forces")


def test_a_stretch_of_a_full_block_is_mapped(tmp_path: Path, small_blocks: None) -> None:
    """No bytes are read before they are looked at (D6); of what a job may supersede, and of what
    others could shorten, the same rows are read."""
    job = recorded(tmp_path, None)
    found = frames_of(job)
    stretches = [found.walker(1, start=4, stop=6), found.walker(1, start=6), found.walker(2)]
    assert [len(each) for each in stretches] == [2, 1, 7]
    assert [is_mapped(each) for each in stretches] == [True, False, False]
    for file in (job / "checkpoint.orch" / "objects").rglob("*"):
        file.chmod(0o775)
    read = frames_of(job)
    again = [read.walker(1, start=4, stop=6), read.walker(1, start=6), read.walker(2)]
    assert not any(map(is_mapped, again))
    assert all(np.array_equal(a, b) for a, b in zip(stretches, again, strict=True))
    assert not any(each.flags.writeable for each in stretches + again)


def test_frames_are_verified_on_request(tmp_path: Path, small_blocks: None) -> None:
    """The same ones; and a bit that has turned is seen then, and only then (D6)."""
    job = recorded(tmp_path, None)
    store = job_store(job)
    (run,) = store.hashes("runs")
    expected = load_frames(job, run).walker(3)
    assert np.array_equal(load_frames(job, run, verify=True).walker(3), expected)
    manifest = read_frames(store, recording_of(job), run)
    file = store.file("objects", manifest.blocks[1].parts[0].ref.md5)
    data = bytearray(file.read_bytes())
    data[-200] ^= 1
    file.write_bytes(data)
    assert load_frames(job, run).walker(3).shape == expected.shape
    damaged = load_frames(job, run, verify=True)
    assert np.array_equal(damaged.walker(3, stop=2), expected[:2])
    with pytest.raises(DamagedEntryError):
        damaged.walker(3)


class Watched(Store):
    """A store that notes, whenever one of its objects is opened, how many are mapped."""

    mapped: ClassVar[list[int]] = []

    def open_object(self, ref: Ref) -> int:
        lines = Path("/proc/self/maps").read_text().splitlines()
        self.mapped.append(sum("/objects/" in line for line in lines))
        return super().open_object(ref)


def test_no_more_objects_stay_mapped_than_are_kept(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many a stretch of cycles is in: each map holds a descriptor."""
    job = recorded(tmp_path, None, n_cycles=40)
    (run,) = job_store(job).hashes("runs")
    monkeypatch.setattr(run_frames, "_MAPPED", 2)
    found = load_frames(Watched.open(job / "checkpoint.orch"), run)
    assert found.walker(1).shape == (40, 2, 3)
    assert len(Watched.mapped) > 20 and 2 <= max(Watched.mapped) <= 5


def is_mapped(array: Any) -> bool:
    """Whether its bytes are those of the file."""
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


@pytest.mark.parametrize("blocks", [2, 1 << 10])
def test_one_run_has_one_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    """Whatever the checkpoints and interruptions; also of cycles that are far apart (D2)."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: 4)
    monkeypatch.setattr(
        frames, "block_cycles_for", lambda n_walkers, n_bytes, every: blocks * every
    )
    # Each walker in an object of its own.
    monkeypatch.setattr(frames, "PART_BYTES", 100)
    configuration = plain_configuration()
    choice = Recording(["positions", "velocities"], atoms=[1], every=2, precision="float64")
    configuration = Configuration(configuration.work_mapper, recording=choice)
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(3), configuration)
    found = set()
    for name, freq, stops in (("once", None, ()), ("each", 1, ()), ("stopped", 2, (1, 4, 5))):
        job, wanted = tmp_path / name, [*stops, 11]
        options = {"checkpoint_freq": freq, "n_cycles": wanted[0]}
        run_job(made.store, made.snapshot_hash, job, **options)
        for n_cycles in wanted[1:]:
            resume(job, {"n_cycles": n_cycles}, Recorder())
        found.add(record_of(job).recording)
        assert_whole(job_store(job))
    assert len(found) == 1
    held = load_frames(tmp_path / "once", job_store(tmp_path / "once").hashes("runs")[0])
    assert held.cycles.tolist() == [0, 2, 4, 6, 8, 10]
    assert held.walker(2, "velocities").shape == (6, 1, 3)
    assert held.atoms is not None and held.atoms.tolist() == [1]
    summary = recording_of(tmp_path / "once").frames
    assert summary is not None
    assert (summary.fields, summary.n_atoms) == (("positions", "velocities"), 1)
    assert (summary.every, summary.precision) == (2, "float64")


def test_an_extended_run_shares_all_full_blocks(
    pair_store: Prepared, tmp_path: Path, small_blocks: None
) -> None:
    """Of frames as of tables (D3)."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=5)
    before = read_frames(job_store(job), recording_of(job), "it")
    resume(job, {"n_cycles": 8}, Recorder())
    after = read_frames(job_store(job), recording_of(job), "it")
    assert [block.n_cycles for block in before.blocks] == [2, 2, 1]
    assert [block.n_cycles for block in after.blocks] == [2, 2, 2, 2]
    assert after.blocks[:2] == before.blocks[:2]


def test_walkers_may_come_and_go(tmp_path: Path, small_blocks: None) -> None:
    """A walker has frames of the cycles in which it is there (D2)."""
    apparatus = Apparatus.as_found(pair_snapshot().apparatus.runner, None, Wavering())
    snapshot = Snapshot.as_found(pair_snapshot(4).walkers, apparatus)
    made = prepare_store(tmp_path / "a.orch", snapshot, plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=9, checkpoint_freq=2)
    found = frames_of(tmp_path / "job")
    assert found.n_walkers.tolist() == [4, 5, 6, 7, 3, 4, 5, 6, 7]
    assert found.cycles_of(5).tolist() == [2, 3, 7, 8]
    assert found.walker(5).shape == (4, 2, 3)
    for cycle_idx in range(9):
        every = found.cycle(cycle_idx)
        assert len(every) == found.n_walkers[cycle_idx]
        one = found.of(np.array([cycle_idx]), np.array([len(every) - 1]))
        assert np.array_equal(every[-1:], one)


def test_a_configuration_says_what_is_recorded(tmp_path: Path) -> None:
    """None at all, or other fields; what is usual adds nothing to it, so it keeps its hash (D1)."""
    usual, none = plain_configuration(), Recording(fields=())
    assert hash_of(usual) == hash_of(Configuration(usual.work_mapper, usual.reporters))
    without = Configuration(usual.work_mapper, usual.reporters, recording=none)
    assert hash_of(without) != hash_of(usual)
    job = recorded(tmp_path, none)
    assert load_configuration(job).recording.fields == []  # type: ignore[union-attr]
    assert recording_of(job).frames is None and not job_store(job).hashes("frames")
    with pytest.raises(NoFramesError, match="no frames were kept of run"):
        frames_of(job)
    with pytest.raises(WrongPartError, match="recording"):
        Configuration(usual.work_mapper, recording=[])  # type: ignore[arg-type]


def test_what_states_do_not_have_is_refused(tmp_path: Path) -> None:
    """In the first cycle, which has to show what a runner's states hold; no run is left."""
    with pytest.raises(CannotRecordError, match="states have no 'charges', but"):
        recorded(tmp_path, Recording(["charges"]))
    assert not (tmp_path / "job" / "checkpoint.orch").exists()


def test_verify_compares_frames(tmp_path: Path, small_blocks: None) -> None:
    """The first cycle, field and walker that differ are named, in a block and in what is left."""
    job = recorded(tmp_path, Recording(["positions"], every=2))
    (md5,) = job_store(job).hashes("runs")
    assert verify(job, md5).is_same
    held = frames_of(job)
    real = film.frames_of
    for cycle_idx in (2, 6):
        wanted = held.of(np.array([cycle_idx]), np.array([1]))[0]

        def shaken(walkers: Any, fields: Any, atoms: Any, wanted: Any = wanted) -> Any:
            arrays, missing = real(walkers, fields, atoms)
            if np.array_equal(arrays["positions"][1], wanted):
                arrays["positions"][1, 0, 0] += 1
            return arrays, missing

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(film, "frames_of", shaken)
            parting = verify(job, md5).parting
        assert parting is not None
        found = (parting.cycle_idx, parting.column, parting.walker_idx)
        assert found == (cycle_idx, "frames/positions", 1)
