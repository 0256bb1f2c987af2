"""WepyHDF5 files that may be anybody's: what is read, and what is refused."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5f, h5p, h5s, h5t

from tests.systems import REPOSITORY
from wepystore.engine.record_fields import Ragged
from wepystore.reporters.hdf5 import run_in_file
from wepystore.reporters.hdf5.journal import journal_name
from wepystore.reporters.hdf5.members import UnreadableHDF5Error
from wepystore.reporters.hdf5.run_in_file import WepyHDF5File

FIXTURE = REPOSITORY / "fixtures" / "wepy1" / "first_job.wepy.h5.gz"

Change = Callable[[h5py.File], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Wepy's own, of ten walkers and 53 cycles."""
    path = tmp_path / "first_job.wepy.h5"
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    return path


def read(file: Path) -> list[Any]:
    """Everything in its run."""
    with WepyHDF5File(file) as held:
        run = held.run()
        found: list[Any] = [run.facts, run.summaries, run.decisions, run.topology]
        found += [*run.beginning(), *run.stretches([*run.shapes])]
        return found


def test_everything_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In stretches of any length: each cycle once, each record in its cycle."""
    for size in (1, 1 << 12, 1 << 24):
        monkeypatch.setattr(run_in_file, "_BLOCK_BYTES", size)
        with WepyHDF5File(file) as held:
            run = held.run()
            stretches = [*run.stretches(["velocities", "box_vectors"])]
            assert run.n_walkers.tolist() == [10] * 53 and run.n_cycles == 53
        cycles = [len(each.weights) for each in stretches]
        assert sum(cycles) == 53 and (len(cycles) == 1) == (size == 1 << 24)
        records = [each for stretch in stretches for each in stretch.records]
        states = [each for stretch in stretches for each in stretch.states]
        with h5py.File(file) as held:
            theirs = held["runs/0/trajectories/7/velocities"][:]
            targets = held["runs/0/resampling/target_idxs"][:]
        assert np.array_equal([each["velocities"][7] for each in states], theirs)
        found = [each["resampling"].columns["target_idxs"] for each in records]
        assert all(isinstance(each, Ragged) and len(each.lengths) == 10 for each in found)
        assert np.array_equal(
            np.concatenate([each.values for each in found]), np.concatenate(targets)
        )
        assert [len(each["boundary_conditions"]) for each in records] == [1] + [0] * 52


def away(name: str) -> Change:
    def apply(held: h5py.File) -> None:
        del held[name]

    return apply


def instead(name: str, value: Any) -> Change:
    def apply(held: h5py.File) -> None:
        del held[name]
        held[name] = value

    return apply


POSITIONS = "runs/0/trajectories/3/positions"
WEIGHTS = "runs/0/trajectories/3/weights"
CYCLES = "runs/0/resampling/_cycle_idxs"


def made(name: str, shape: tuple[int, ...], **options: Any) -> Change:
    """A dataset in place of another, of which nothing is written."""

    def apply(held: h5py.File) -> None:
        del held[name]
        held.create_dataset(name, shape, **{"dtype": "f8", **options})

    return apply


def virtual(held: h5py.File) -> None:
    layout = h5py.VirtualLayout((53, 2, 3), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "it", (53, 2, 3))
    del held[POSITIONS]
    held.create_virtual_dataset(POSITIONS, layout)


def in_a_library(held: h5py.File) -> None:
    """Compressed by a filter that HDF5 would look for in its folder of plug-ins."""
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_chunk((1, 2, 3))
    settings.set_filter(32015, 1)
    group = held["runs/0/trajectories/3"]
    del group["positions"]
    space = h5s.create_simple((53, 2, 3))
    h5d.create(group.id, b"positions", h5t.NATIVE_DOUBLE, space, settings)


def named_twice(held: h5py.File) -> None:
    """One walker's states as those of two hundred."""
    group = held["runs/0/trajectories"]
    for number in range(10, 200):
        group[str(number)] = group["3"]


def a_table_twice(held: h5py.File) -> None:
    held["runs/0/resampling/again"] = held["runs/0/resampling/target_idxs"]


def backwards(held: h5py.File) -> None:
    held[CYCLES][:] = held[CYCLES][:][::-1]


def beyond(held: h5py.File) -> None:
    held[CYCLES][-1] = 53


def shorter(held: h5py.File) -> None:
    held["runs/0/trajectories/0/weights"].resize(52, axis=0)


def later(held: h5py.File) -> None:
    held["runs/0/trajectories/0"].attrs["cycle_idx"] = 1


def one_longest_row(held: h5py.File) -> None:
    """Each of 3000 rows is said to be where a long one is."""
    del held["runs/0/resampling"]
    group = held.create_group("runs/0/resampling")
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    kind = h5t.py_create(h5py.vlen_dtype(np.dtype("i8")), logical=True)
    rows = h5d.create(group.id, b"target_idxs", kind, h5s.create_simple((3000,)), settings)
    h5py.Dataset(rows)[0] = np.arange(5000)
    group["_cycle_idxs"] = np.zeros(3000, int)
    held.flush()
    place = rows.get_offset()
    path = held.filename
    held.close()
    with open(path, "r+b") as raw:
        raw.seek(place)
        row = raw.read(16)
        raw.seek(place)
        raw.write(row * 3000)


def sparse(data: Any, cycles: Any, walker: int = 3) -> Change:
    """Velocities of some cycles alone, which of one walker are these."""

    def apply(held: h5py.File) -> None:
        for number, group in held["runs/0/trajectories"].items():
            kept = group["velocities"][::5]
            del group["velocities"]
            mine = int(number) == walker
            group["velocities/data"] = data if mine else kept
            group["velocities/_sparse_idxs"] = cycles if mine else np.arange(0, 53, 5)

    return apply


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (sparse(np.zeros((2, 2, 3)), [0, 5]), "not those of its cycles that walker 0 has"),
        (sparse(np.zeros((11, 2, 3)), np.arange(11)[::-1], 0), "not those of its cycles"),
        (sparse(np.zeros((3, 2, 3)), [0, 1]), "no numbers of frames"),
        (sparse(np.zeros((11, 5, 3)), np.arange(0, 53, 5)), "another shape"),
        (sparse(np.zeros((2, 2, 3)), [0, 1 << 40], 0), "not those of its cycles"),
        (sparse(np.array(["a"] * 11, "S1"), np.arange(0, 53, 5)), "no number for each"),
        (away("runs/0/trajectories"), "there is no /runs/0/trajectories"),
        (away(WEIGHTS), "there is no"),
        (instead(POSITIONS, h5py.ExternalLink("/etc/passwd", "it")), "a link to another place"),
        (instead(POSITIONS, h5py.SoftLink("/" + POSITIONS)), "a link to another place"),
        (instead("runs/0/trajectories", h5py.SoftLink("/runs")), "a link to another place"),
        (instead("runs", h5py.ExternalLink("/etc/passwd", "it")), "a link to another place"),
        (made(POSITIONS, (53, 2, 3), external=[("/etc/passwd", 0, 2544)]), "in other files"),
        (virtual, "in other files"),
        (in_a_library, "compressed in a way"),
        (made(POSITIONS, (1 << 40, 2, 3), chunks=(1, 2, 3)), "would have"),
        (made(POSITIONS, (53, 1 << 30, 3), chunks=(1, 2, 3)), "would have"),
        (made(POSITIONS, (1 << 40, 2, 3), compression="gzip"), "would have"),
        (made(POSITIONS, (0, 2, 3), chunks=(1 << 22, 2, 3), maxshape=(None, 2, 3)), "would have"),
        (made("runs/0/trajectories/0/weights", (1 << 45, 0)), "weights are not one number"),
        (made(POSITIONS, (53, 2, 3), dtype="S8"), "no number for each cycle"),
        (made(POSITIONS, (53, 3, 3)), "another shape"),
        (made(CYCLES, (530,), dtype="f8"), "no numbers of cycles"),
        (made("runs/0/resampling/step_idx", (529, 1), dtype="i8"), "not a row for each"),
        (made("runs/0/resampling/step_idx", (530,), dtype=[("a", "i8")]), "neither numbers nor"),
        (made("runs/0/resampling/step_idx", (530,), dtype=h5py.ref_dtype), "neither numbers nor"),
        (instead("runs/0/resampling/cycle_idx", np.zeros(530)), "name that is taken"),
        (instead("_settings/main_rep_idxs", np.array([0, 1 << 40, 3])), "not of as many atoms"),
        (instead("_settings/main_rep_idxs", np.array([0, -1])), "no numbers of atoms"),
        (named_twice, "more than the file can hold"),
        (a_table_twice, "has another name"),
        (backwards, "one after the other"),
        (beyond, "one after the other"),
        (shorter, "one after the other"),
        (later, "one after the other"),
        (one_longest_row, "more in its rows"),
        (instead("topology", h5py.Empty("f8")), "no dataset"),
        (instead("topology", "[]"), "it is no JSON object"),
        (instead("runs/0/decision/CLONE", "two"), "cannot be read"),
    ],
)
def test_what_lies_is_refused(file: Path, change: Change, why: str) -> None:
    """With a line that names the file, and the place in it; nothing elsewhere is opened."""
    with h5py.File(file, "r+") as held:
        try:
            change(held)
        except KeyError:
            held["runs/0/resampling/cycle_idx"] = np.zeros(530)
    with pytest.raises(UnreadableHDF5Error, match=why) as told:
        read(file)
    assert str(file) in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("data", [b"", b"a text", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_other_files_are_refused(file: Path, data: bytes) -> None:
    """An empty one, a text, a head without a body; a pipe, and none at all."""
    file.write_bytes(data)
    with pytest.raises(UnreadableHDF5Error):
        WepyHDF5File(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        WepyHDF5File(file)
    os.mkfifo(file)
    with pytest.raises(UnreadableHDF5Error, match="no plain file"):
        WepyHDF5File(file)


@pytest.mark.parametrize("part", range(1, 8))
def test_one_that_is_cut_off_is_refused(file: Path, part: int) -> None:
    """Wherever."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * part // 8])
    with pytest.raises(UnreadableHDF5Error):
        read(file)


def test_one_whose_writer_was_killed_is_refused(file: Path) -> None:
    """A journal beside it holds what is to be put in place first."""
    Path(journal_name(str(file))).write_bytes(b"")
    with pytest.raises(UnreadableHDF5Error, match="has to be resumed first"):
        WepyHDF5File(file)


def test_texts_are_read(file: Path) -> None:
    """Of any length, and of a fixed one, one for each record."""
    with h5py.File(file, "r+") as held:
        group = held["runs/0/boundary_conditions"]
        group.create_dataset("name", data=["näher"], dtype=h5py.string_dtype())
        group.create_dataset("short", data=np.array([[b"abc"]], "S3"))
    (stretch,) = (each for each in read(file) if isinstance(each, run_in_file.Stretch))
    (row,) = stretch.records[0]["boundary_conditions"]
    assert row["name"].decode() == "näher" and row["short"].tolist() == [b"abc"]


def test_packed_files_are_read(file: Path, tmp_path: Path) -> None:
    """As h5repack makes them."""
    packed = tmp_path / "packed.h5"
    with h5py.File(file) as held, h5py.File(packed, "w") as other:
        held.copy(held["/_settings"], other)
        held.copy(held["/runs"], other)
        for walker in held["runs/0/trajectories"]:
            for name in ("positions", "weights"):
                path = f"runs/0/trajectories/{walker}/{name}"
                del other[path]
                other.create_dataset(path, data=held[path], compression="gzip", shuffle=True)
    one, two = (
        [each for each in read(path) if isinstance(each, run_in_file.Stretch)]
        for path in (file, packed)
    )
    assert np.array_equal(one[0].states[9]["positions"], two[0].states[9]["positions"])


def test_it_is_opened_for_reading_alone(file: Path) -> None:
    """A file that nobody may write to is read, and stays as it is."""
    before = file.read_bytes()
    file.chmod(0o444)
    read(file)
    assert file.read_bytes() == before
    assert h5f.is_hdf5(str(file).encode())
