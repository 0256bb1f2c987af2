"""Several runs in one file, links into a store, and copies that need no other file."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import (
    Configuration,
    DamagedError,
    Recording,
    SerialMapper,
    Store,
    WepystoreError,
    export_lineages,
    export_run,
    export_runs,
    load_lineages,
    load_run,
    prepare_store,
    reconcile,
    save_configuration,
)
from wepystore.records import frames as blocks
from wepystore.records.frames import FrameField
from wepystore.records.library import find_frames
from wepystore.trajectories import wepy_hdf5
from wepystore.trajectories.copying import copy_hdf5


class Made(NamedTuple):
    """A store with a run and one that goes on from its end, whose frames are in several objects."""

    store: Path
    first: str
    last: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("together")
    prepared = prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    store, start, runs = prepared.store, prepared.snapshot_hash, []
    with pytest.MonkeyPatch.context() as patch:
        # Blocks of two cycles, and three walkers an object.
        patch.setattr(blocks, "block_cycles_for", lambda n_walkers, n_bytes, every: 2)
        patch.setattr(blocks, "PART_BYTES", 3 * 2 * 2 * 12)
        for n_cycles in (5, 3):
            job = folder / f"job{n_cycles}"
            done = run_job(store, start, job, n_cycles=n_cycles)
            reconcile(folder / "a.orch", job)
            store, start = Store.open(folder / "a.orch"), done.end
            runs.append(done.record)
    for run, n_blocks in zip(runs, (3, 2), strict=True):
        (kept,) = find_frames(Store.open(folder / "a.orch"), run)
        parts = [[part.n_walkers for part in block.parts] for block in kept.frames.blocks]
        assert parts == [[3, 3]] * (n_blocks - 1) + [[6]]
    return Made(folder / "a.orch", *runs)


def test_what_is_written_may_be_compared_with_what_was_recorded(made: Made, tmp_path: Path) -> None:
    """A bit that has changed is found before anything is written, with the walkers and cycles that
    it is of; files of others are made."""
    store = Store.open(shutil.copytree(made.store, tmp_path / "a.orch"))
    (kept,) = find_frames(store, made.first)
    # Cycles 2 and 3 of walkers 3 to 5.
    path = store.locate("objects", kept.frames.blocks[1].parts[1].ref.md5)
    data = bytearray(Path(path).read_bytes())
    data[200] ^= 1
    Path(path).chmod(0o644)
    Path(path).write_bytes(data)
    said = rf"of run {made.first} the frames of walkers 3 to 5 in cycles 2 to 3 are not what was"
    for n, cycles, walkers, bad in (
        (0, slice(None), None, True),
        (1, slice(0, 2), None, False),
        (2, slice(None), [0, 2], False),
        (3, slice(2, 3), [1, 4], True),
        (4, slice(4, None), [5], False),
    ):
        for suffix in (".h5", ".dcd"):
            file = tmp_path / f"{n}{suffix}"
            asked = {"cycles": cycles, "walkers": walkers}
            if bad:
                with pytest.raises(DamagedError, match=said):
                    export_run(store, made.first, file, verify=True, **asked)
                export_run(store, made.first, tmp_path / f"any{suffix}", replace=True, **asked)
            else:
                export_run(store, made.first, file, verify=True, **asked)
            several = suffix == ".dcd" and (walkers is None or len(walkers) > 1)
            last = 5 if walkers is None else walkers[-1]
            held = tmp_path / f"{n}-W{last:03}.dcd" if several else file
            assert held.exists() != bad
    way = load_lineages(store, made.first).of(4, 2)
    with pytest.raises(DamagedError, match=said):
        export_lineages(store, made.first, [way], tmp_path / "way.h5", verify=True)
    with pytest.raises(DamagedError, match=said):
        export_runs(store, tmp_path / "all.h5", verify=True)
    assert not (tmp_path / "way.h5").exists() and not (tmp_path / "all.h5").exists()
    export_runs(store, tmp_path / "all.h5")


def positions_of(file: Path | str, run: int = 0) -> list[np.ndarray]:
    with h5py.File(file) as found:
        held = found[f"runs/{run}/trajectories"]
        return [held[str(walker)]["positions"][:] for walker in range(len(held))]


def test_a_linked_file_has_the_frames_of_the_store(made: Made, tmp_path: Path) -> None:
    """In each of its datasets, through runs that continue each other, and of some cycles alone;
    there is next to nothing in it."""
    for run, options in ((made.last, {"joined": True}), (made.first, {"cycles": slice(1, -1)})):
        files = [
            export_run(made.store, run, tmp_path / f"{run}-{link}.h5", link=link, **options)[0]
            for link in (True, False)
        ]
        for ours, true in zip(*map(positions_of, files), strict=True):
            assert_array_equal(ours, true)
        with h5py.File(files[0]) as found:
            held = found["runs/0/trajectories/4/positions"]
            assert held.external
            assert held.id.get_storage_size() == held.size * held.dtype.itemsize
            named = {Path(os.fsdecode(name)) for name, _, _ in held.external}
        assert all(path.is_absolute() and path.parent.parent.name == "objects" for path in named)


def test_any_number_of_stretches_is_linked_to(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than HDF5 takes in one dataset several are put together, in the same file, and a copy
    has all of them."""
    (true,) = export_run(made.store, made.last, tmp_path / "a.h5", joined=True)
    monkeypatch.setattr(wepy_hdf5, "_MOST_STRETCHES", 2)
    (file,) = export_run(made.store, made.last, tmp_path / "b.h5", joined=True, link=True)
    copy_hdf5(file, tmp_path / "c.h5")
    with h5py.File(file) as found:
        held = found["runs/0/trajectories/4/positions"]
        assert held.is_virtual and {source.file_name for source in held.virtual_sources()} == {"."}
        assert len(held.virtual_sources()) == 3
        assert_array_equal(held[1:7:2], positions_of(true)[4][1:7:2])
        assert sorted(found["runs/0/trajectories/4"]) == ["positions", "weights"]
    shutil.move(file, tmp_path / "moved.h5")
    for other in ("moved.h5", "c.h5"):
        for ours, theirs in zip(positions_of(tmp_path / other), positions_of(true), strict=True):
            assert_array_equal(ours, theirs)
    with h5py.File(tmp_path / "c.h5") as found:
        named: list[bool] = []
        found.visititems(lambda _, item: named.append(bool(getattr(item, "external", None))))
        assert not any(named)


def test_a_dataset_takes_as_many_stretches(tmp_path: Path) -> None:
    """As are put in one, and is read to the last."""
    (tmp_path / "raw").write_bytes(np.arange(3000.0).tobytes())
    stretches = [(str(tmp_path / "raw"), 8 * k, 8) for k in range(3000)]
    field = FrameField("x", (1,), "<f8")
    with h5py.File(tmp_path / "a.h5", "w", libver="earliest") as file:
        wepy_hdf5._link(file.create_group("g"), field, (3000, 1), stretches)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["g/x"].is_virtual
        assert_array_equal(file["g/x"][:, 0], np.arange(3000.0))


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """A folder that belongs to a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


#: As a user who is not root, whom no rights hold back.
_USER = 65534
_WRITES = f"""
import os, sys, h5py
if os.geteuid() == 0:
    os.setuid({_USER})
with h5py.File(sys.argv[1], "r+") as file:
    for run in file["runs"].values():
        for trajectory in run["trajectories"].values():
            trajectory["positions"][...] = 0
"""


def test_no_object_is_harmed_by_way_of_a_linked_file(made: Made, users_folder: Path) -> None:
    """Whoever opens it for writing is refused; who makes it writable, and writes, as well."""
    store = users_folder / "a.orch"
    shutil.copytree(made.store, store)
    file = users_folder / "a.h5"
    export_runs(store, file, link=True)
    if os.geteuid() == 0:
        for path in (users_folder, *users_folder.rglob("*")):
            os.chown(path, _USER, -1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    command = [sys.executable, "-c", _WRITES, str(file)]
    for mode, said in ((0o444, "Permission denied"), (0o644, "open external raw data file")):
        file.chmod(mode)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert said in done.stderr
        assert {path: path.read_bytes() for path in before} == before
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o222 for path in _linked_by(file))


def _linked_by(file: Path) -> set[Path]:
    with h5py.File(file) as found:
        held = [run["trajectories/0/positions"].external for run in found["runs"].values()]
    return {Path(os.fsdecode(name)) for each in held for name, _, _ in each}


def test_a_copy_needs_no_other_file(made: Made, tmp_path: Path) -> None:
    """Frames in a store, and runs in another file as wepy links them, are in it; or else the
    links are. Attributes and all other values as they were."""
    export_runs(made.store, tmp_path / "linked.h5", link=True)
    export_runs(made.store, tmp_path / "whole.h5")
    with h5py.File(tmp_path / "first.h5", "w") as file:
        file.attrs["of"] = "wepy"
        file["runs/1"] = h5py.ExternalLink("linked.h5", "/runs/1")
        file["also"] = h5py.SoftLink("/runs/1")
    copy_hdf5(tmp_path / "first.h5", tmp_path / "links.h5", expand=False)
    copy_hdf5(tmp_path / "first.h5", tmp_path / "copy.h5")
    with h5py.File(tmp_path / "links.h5") as file:
        assert isinstance(file.get("runs/1", getlink=True), h5py.ExternalLink)
    with h5py.File(tmp_path / "copy.h5") as file, h5py.File(tmp_path / "whole.h5") as whole:
        assert file.attrs["of"] == "wepy"
        assert file["also"] == file["runs/1"]
        assert dict(file["runs/1"].attrs) == dict(whole["runs/1"].attrs)
        names: list[str] = []
        whole["runs/1"].visit(names.append)
        for name in names:
            one, other = file["runs/1"][name], whole["runs/1"][name]
            if isinstance(other, h5py.Dataset):
                assert not one.external
                assert one.dtype == other.dtype
                if other.dtype != np.dtype(object):
                    assert_array_equal(one[()], other[()])
    copy_hdf5(tmp_path / "linked.h5", tmp_path / "all.h5")
    for run in (0, 1):
        for one, other in zip(
            positions_of(tmp_path / "all.h5", run),
            positions_of(tmp_path / "whole.h5", run),
            strict=True,
        ):
            assert_array_equal(one, other)


def test_a_copy_of_a_strangers_file_holds_no_file_of_mine(tmp_path: Path) -> None:
    """It may name any file as numbers of its own, and one that is not there."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    for name in (secret, tmp_path / "none"):
        with h5py.File(tmp_path / "made.h5", "w") as file:
            file.create_dataset("x", (8,), "f8", external=[(str(name), 0, 64)])
        with pytest.raises(WepystoreError, match="no object of a store"):
            copy_hdf5(tmp_path / "made.h5", tmp_path / "copy.h5")
    # What looks like an object is read as far as there is anything.
    held = tmp_path / "objects" / "ab" / ("ab" + 30 * "0")
    held.parent.mkdir(parents=True)
    held.write_bytes(bytes(64))
    for size in (1 << 50, h5py.h5f.UNLIMITED):
        with h5py.File(tmp_path / "made.h5", "w") as file:
            file.create_dataset("x", (1 << 47,), "f8", external=[(str(held), 0, size)])
        with pytest.raises(WepystoreError, match="shorter than it is said to be"):
            copy_hdf5(tmp_path / "made.h5", tmp_path / "copy.h5")
    # What ends with the object is all there.
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.create_dataset("x", (8,), "f8", external=[(str(held), 0, 64)])
    copy_hdf5(tmp_path / "made.h5", tmp_path / "copy.h5")
    (tmp_path / "copy.h5").unlink()
    shutil.rmtree(tmp_path / "objects")
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(secret), "/")
    with pytest.raises(WepystoreError, match="or no HDF5 file"):
        copy_hdf5(tmp_path / "made.h5", tmp_path / "copy.h5")
    with h5py.File(tmp_path / "made.h5", "w") as file:
        layout = h5py.VirtualLayout((8,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "y", (8,))
        file.create_virtual_dataset("x", layout)
    with pytest.raises(WepystoreError, match=r"y of other.h5: /x is put together out of it"):
        copy_hdf5(tmp_path / "made.h5", tmp_path / "copy.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.h5", "secret"]


def test_what_is_no_hdf5_file_is_not_copied(tmp_path: Path) -> None:
    """A text, a folder, a pipe that nobody writes to, and nothing."""
    (tmp_path / "text").write_text("secret")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("text", "not one"), ("folder", "no plain file"), ("pipe", "no plain file")):
        with pytest.raises(WepystoreError, match=rf"{name} cannot be read as an HDF5.* {why}"):
            copy_hdf5(tmp_path / name, tmp_path / "copy.h5")
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*none'"):
        copy_hdf5(tmp_path / "none", tmp_path / "copy.h5")
    assert not (tmp_path / "copy.h5").exists()


def test_a_copy_of_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    """A group may be in itself, and a file may link to itself."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/x"] = 1.0
        file["group/again"] = file["group"]
        file["file"] = h5py.ExternalLink("a.h5", "/")
    copy_hdf5(tmp_path / "a.h5", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["group/again/again/x"][()] == 1.0
        assert file["file/file/group"] == file["group"]


def test_runs_without_frames_are_left_out_unless_they_are_named(made: Made, tmp_path: Path) -> None:
    """Of a run that was made without a recording, or that keeps no frames, nothing is in the
    file, and somebody is told."""
    store = Store.open(shutil.copytree(made.store, tmp_path / "a.orch"))
    silent = save_configuration(
        store, Configuration(SerialMapper(), recording=Recording(fields=()))
    )
    start = load_run(store, made.first).start.md5
    none = run_job(store, start, tmp_path / "job", configuration=silent, seed=3).record
    reconcile(store.path, tmp_path / "job")
    told = export_runs(store.path, tmp_path / "a.h5")
    assert [each.run for each in told.runs] == [made.first, made.last]
    assert list(told.left_out) == [none]
    with pytest.raises(WepystoreError, match="no frames were kept"):
        export_runs(store.path, tmp_path / "b.h5", [none])
    assert not (tmp_path / "b.h5").exists()


def test_a_run_whose_beginning_is_not_here_goes_on_from_none(made: Made, tmp_path: Path) -> None:
    """Somebody is told; those that go on from it do so in the file. The same where of the beginning
    there are no frames."""
    store = Store.open(shutil.copytree(made.store, tmp_path / "a.orch"))
    end = load_run(store, made.last).end.md5
    more = run_job(store, end, tmp_path / "job", n_cycles=2).record
    assert more is not None
    reconcile(store.path, tmp_path / "job")
    first = store.locate("runs", made.first)
    kept = store.manifest("recordings", load_run(store, made.first).recording.md5)["frames"]
    frames = store.locate("frames", kept["entry"]["md5"])
    spans = [(made.last, 0, 3, None), (more, 0, 2, 0)]
    for number, path in enumerate((frames, first)):
        os.unlink(path)
        told = export_runs(store.path, tmp_path / f"{number}.h5")
        assert [tuple(each) for each in told.runs] == spans
        assert list(told.apart) == [made.last]
        assert list(told.left_out) == [made.first][number:]


def test_runs_of_which_other_things_are_kept_do_not_go_together(made: Made, tmp_path: Path) -> None:
    """Other fields, atoms or precision: a file has one shape and type of each."""
    store = Store.open(shutil.copytree(made.store, tmp_path / "a.orch"))
    start = load_run(store, made.first).start.md5
    for number, recording in enumerate((Recording(precision="float64"), Recording(atoms=[1]))):
        other = save_configuration(store, Configuration(SerialMapper(), recording=recording))
        job = tmp_path / f"job{number}"
        run = run_job(store, start, job, configuration=other, n_cycles=1).record
        reconcile(store.path, job)
        with pytest.raises(WepystoreError, match="do not go into one file"):
            export_runs(store.path, tmp_path / "a.h5", [made.first, run])
        # Alone it does, also where of all atoms the last is kept.
        (alone,) = export_run(store, run, tmp_path / f"{number}.h5")
        assert positions_of(alone)[0].shape == (1, 2 - number, 3)
    assert not (tmp_path / "a.h5").exists()
    with pytest.raises(WepystoreError, match=r"does not go with a \.dcd file"):
        export_runs(store.path, tmp_path / "a.dcd")
