"""`wepy reconcile hdf5`, `wepy reconcile orch --hdf5` and `wepy hdf5 copy`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import h5py
import pytest

from tests.cli.conftest import Wepy
from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import Store, prepare_store


class Made(NamedTuple):
    """Two jobs of one start, and their runs."""

    jobs: list[Path]
    runs: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("hdf5")
    prepared = prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    jobs = [folder / "job1", folder / "job2"]
    runs = [
        run_job(prepared.store, prepared.snapshot_hash, job, seed=seed).record
        for seed, job in enumerate(jobs)
    ]
    return Made(jobs, runs)


def runs_in(file: Path) -> list[str]:
    with h5py.File(file) as found:
        return [found[f"runs/{number}"].attrs["run_record"] for number in range(len(found["runs"]))]


def test_runs_of_a_merge_are_in_one_file(wepy: Wepy, made: Made, tmp_path: Path) -> None:
    """The name of the file is the answer; what is in it is told beside it."""
    result = wepy("reconcile orch --hdf5 all.h5 all.orch", *made.jobs)
    assert (result.status, result.out) == (0, "all.h5\n")
    assert " * run 1: cycles 0:3 of " in result.err
    assert sorted(runs_in(tmp_path / "all.h5")) == sorted(made.runs)
    again = wepy("reconcile hdf5 all.orch all.h5")
    assert (again.status, again.out) == (1, "")
    assert "all.h5 is there already" in again.err
    assert wepy("reconcile hdf5 -f all.orch all.h5", made.runs[1]).lines == ["all.h5"]
    assert runs_in(tmp_path / "all.h5") == made.runs[1:]
    one = wepy("ls runs", made.jobs[0]).lines[0]
    told = wepy("reconcile hdf5 --json --link all.orch one.h5", one.replace(" ", ""))
    assert json.loads(told.out) == {
        "file": "one.h5",
        "runs": [{"run": made.runs[0], "start": 0, "stop": 3, "continues": None}],
        "apart": {},
        "left_out": {},
    }
    assert wepy("hdf5 copy one.h5 copy.h5").lines == ["copy.h5"]
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "copy.h5") as copy:
        held = "runs/0/trajectories/0/positions"
        assert one[held].external
        assert not copy[held].external


def test_runs_whose_frames_are_elsewhere_are_told_of(
    wepy: Wepy, made: Made, tmp_path: Path
) -> None:
    """The file has the others; the exit status says that something is missing."""
    wepy("reconcile orch all.orch", *made.jobs)
    store = Store.open(tmp_path / "all.orch")
    recording = store.manifest("runs", made.runs[0])["recording"]["md5"]
    kept = store.manifest("recordings", recording)["frames"]["entry"]["md5"]
    os.unlink(store.locate("frames", kept))
    result = wepy("reconcile hdf5 all.orch all.h5")
    assert (result.status, result.out) == (3, "all.h5\n")
    assert f" ! [left out] run {made.runs[0]}: the frames of run" in result.err
    assert runs_in(tmp_path / "all.h5") == made.runs[1:]
    wepy("reconcile orch --without frames none.orch", made.jobs[0])
    result = wepy("reconcile hdf5 none.orch none.h5")
    assert (result.status, result.out) == (1, "")
    assert "of which there are frames: the frames of run" in result.err and " brings " in result.err
    result = wepy("get trajectories all.orch", made.runs[0])
    assert (result.status, result.out) == (1, "")
    assert "are not in" in result.err


def test_the_store_may_be_left_out(
    wepy: Wepy, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before runs."""
    monkeypatch.setenv("WEPY_ORCH", str(made.jobs[0]))
    assert wepy("reconcile hdf5 a.h5").lines == ["a.h5"]
    assert wepy("reconcile hdf5 b.h5", made.runs[0][:8]).lines == ["b.h5"]
    assert runs_in(tmp_path / "b.h5") == made.runs[:1]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("reconcile hdf5 {job} a.dcd", 2, "a.dcd must end in .h5"),
        ("reconcile hdf5 {job} none/a.h5", 1, "there is no directory none"),
        ("reconcile hdf5 {job} a.h5 abcdabcd", 1, "abcdabcd"),
        ("reconcile hdf5 --dry-run {job} a.h5", 2, "--dry-run is for 'wepy reconcile orch'"),
        ("reconcile orch --force x.orch {job}", 2, "--force is for the file of --hdf5"),
        ("reconcile orch --hdf5 a.txt x.orch {job}", 2, "a.txt must end in .h5"),
        ("hdf5 copy {job}/job.json a.h5", 1, "job.json"),
        ("hdf5 copy none.h5 a.h5", 1, "none.h5"),
    ],
)
def test_wrong_words(
    wepy: Wepy, made: Made, tmp_path: Path, words: str, status: int, said: str
) -> None:
    """Are told in one line, and leave nothing."""
    result = wepy(words.format(job=made.jobs[0]))
    assert (result.status, result.out) == (status, "")
    assert said in result.err.splitlines()[0]
    assert list(tmp_path.iterdir()) == []
