"""A store with frames, and a job, that an earlier version has written: read, gone on with.

If a test here fails, the program is wrong and not the fixture: fixtures/store-frames/README.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openmm
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import REPOSITORY, tree_of
from wepystore.api import (
    NoFramesError,
    Recording,
    Store,
    add_trajectories,
    load_configuration,
    load_frames,
    load_run,
    load_runs,
    load_tables,
    save_configuration,
)
from wepystore.records.run_frames import read_frames
from wepystore.store.names import KINDS

__all__ = ["wepy"]

FIXTURE = REPOSITORY / "fixtures/store-frames"
ROOT, JOB = FIXTURE / "LJ-pair.orch", FIXTURE / "job"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_bytes())
RUNS: dict[str, Any] = EXPECTED["runs"]
IMPORTED: str = EXPECTED["imported"]
WEPY1 = REPOSITORY / "fixtures/wepy1/first_job.wepy.h5.gz"

#: Whoever has other versions may come to other bits.
HERE = (np.__version__, openmm.version.version, platform.machine())
SAME = (EXPECTED["numpy"], EXPECTED["openmm"], EXPECTED["machine"]) == HERE


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy; the fixture itself is only read."""
    return Store.open(shutil.copytree(ROOT, tmp_path / "frames.orch"))


def digest(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    md5 = hashlib.md5(np.ascontiguousarray(values).tobytes()).hexdigest()
    return {"dtype": str(values.dtype), "shape": list(values.shape), "md5": md5}


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("md5", RUNS, ids=lambda md5: f"{md5[:8]}-{RUNS[md5]['n_cycles']}")
def test_what_was_recorded(md5: str, verify: bool) -> None:
    """Every column and every frame of each run, to the bit, verified or not (D6)."""
    expected, record = RUNS[md5], load_run(ROOT, md5)
    assert (record.n_cycles, record.end.md5) == (expected["n_cycles"], expected["end"])
    assert record.config.md5 == expected["config"]
    assert (record.recording.md5 if record.recording else None) == expected["recording"]
    tables = load_tables(ROOT, md5, verify=verify)
    assert [part.n_cycles for part in tables.recording.tables] == expected["tables"]
    assert {name: digest(values) for name, values in tables.items()} == expected["columns"]
    if expected["frames"] is None:
        with pytest.raises(NoFramesError):
            load_frames(ROOT, md5, verify=verify)
        return
    _same_frames(md5, expected["frames"], verify)


def _same_frames(md5: str, expected: dict[str, Any], verify: bool) -> None:
    recording = load_tables(ROOT, md5).recording
    assert recording.frames is not None and recording.frames.entry.md5 == expected["entry"]
    blocks = read_frames(Store.open(ROOT), recording, md5).blocks
    assert [block.n_cycles for block in blocks] == expected["blocks"]
    found = load_frames(ROOT, md5, verify=verify)
    assert found.cycles.tolist() == expected["cycles"]
    assert (found.atoms.tolist() if found.atoms is not None else None) == expected["atoms"]
    assert [field.name for field in found.fields] == sorted(expected["fields"])
    for field in found.fields:
        kept = dict(expected["fields"][field.name])
        values, unit = kept.pop("values", None), kept.pop("unit")
        every = np.stack([found.walker(k, field.name) for k in range(int(found.n_walkers.max()))])
        assert field.unit == unit and digest(every) == kept
        if values is not None:
            assert every.tolist() == values
        for place, cycle_idx in enumerate(found.cycles.tolist()):
            assert np.array_equal(found.cycle(cycle_idx, field.name), every[:, place])


def test_tables_are_those_of_before_there_were_frames() -> None:
    """Frames changed no snapshot and no table of the same runs (D2)."""
    before = json.loads((FIXTURE.parent / "store-recorded/expected.json").read_bytes())["files"]
    same = {path for path in before if path.startswith(("objects/", "snapshots/"))}
    assert len(same) == 21 and same <= EXPECTED["files"].keys()


def test_runs_that_continue_each_other() -> None:
    """Frames of both, one after the other (D4)."""
    by_start = {load_run(ROOT, md5).start.md5: md5 for md5 in RUNS if RUNS[md5]["frames"]}
    ((first, last),) = (
        (md5, by_start[run["end"]]) for md5, run in RUNS.items() if run["end"] in by_start
    )
    found = load_frames(ROOT, last, joined=True)
    assert [(s.run, s.n_cycles) for s in found.runs] == [(first, 11), (last, 3)]
    parts = [RUNS[md5]["frames"]["fields"]["positions"]["values"] for md5 in (first, last)]
    for walker, (one, other) in enumerate(zip(*parts, strict=True)):
        assert found.walker(walker).tolist() == one + other


def test_what_is_attached(store: Store, tmp_path: Path) -> None:
    """It is what wepy's own file holds, to single precision; the file once more changes nothing
    (D7)."""
    file = tmp_path / "first_job.wepy.h5"
    file.write_bytes(gzip.decompress(WEPY1.read_bytes()))
    found, tables = load_frames(store, IMPORTED), load_tables(store, IMPORTED)
    assert tables.recording.n_steps is None and load_run(store, IMPORTED).recording is None
    weights = tables.by_walker("weights")
    with h5py.File(file) as opened:
        for walker, theirs in opened["runs/0/trajectories"].items():
            for name in ("positions", "box_vectors"):
                single = theirs[name][:].astype(np.float32)
                assert np.array_equal(found.walker(int(walker), name), single)
            assert np.array_equal(weights[:, int(walker)], theirs["weights"][:, 0])
    before = _entries(store.path)
    assert add_trajectories(store, IMPORTED, file) == store.hashes("attachments")[0]
    assert _entries(store.path) == before


def _entries(root: Path) -> dict[str, str]:
    tree = tree_of(root)
    return {path: tree[path][2] for path in tree if path.split("/")[0] in (*KINDS, "refs")}


def test_the_configurations(tmp_path: Path) -> None:
    """What of the frames is kept; what is default is no key, and their hashes stay (I2)."""
    store, other = Store.open(ROOT), Store.create(tmp_path / "today.orch")
    formats = {}
    for md5 in {run["config"] for found, run in RUNS.items() if found != IMPORTED}:
        configuration = load_configuration(store, md5)
        assert save_configuration(other, configuration) == md5
        choice = configuration.recording or Recording()
        formats[tuple(choice.fields)] = store.manifest("configs", md5)["format"]
        if "velocities" in choice.fields:
            assert choice.atoms is not None and choice.atoms.tolist() == [1]
            assert (choice.every, choice.precision) == (2, "float64")
    assert formats == {("positions", "box_vectors"): 1, ("positions", "velocities"): 2, (): 2}


def test_every_listing(wepy: Wepy) -> None:
    """fsck, ls, log, show and status know all of it, and write nothing."""
    before = tree_of(ROOT)
    fsck = wepy("fsck --sha256", ROOT)
    assert (fsck.status, fsck.out) == (0, "")
    assert len(wepy("ls runs", ROOT).lines) == len(RUNS) == 6
    assert wepy("log", ROOT).status == wepy("status", ROOT).status == 0
    for md5, expected in RUNS.items():
        shown = wepy("show", ROOT, md5).out
        assert f"recorded: {expected['n_cycles']} cycles" in shown
        for field in (expected["frames"] or {"fields": ()})["fields"]:
            assert field in shown
    assert tree_of(ROOT) == before


def test_reconciled(wepy: Wepy, store: Store, tmp_path: Path) -> None:
    """In a store of today's all entries have the same names (I2, S6)."""
    third = tmp_path / "third.orch"
    assert wepy("reconcile orch", third, store.path).status == 0
    assert _entries(third) == _entries(store.path)
    assert len(_entries(third)) == len(EXPECTED["files"]) - 2
    assert wepy("fsck", third).status == 0


def test_it_happens_again(wepy: Wepy) -> None:
    """R1, D2: all runs repeated; with the versions that they were made with, recordings to the
    bit."""
    for md5 in RUNS.keys() - {IMPORTED}:
        result = wepy("verify --json", ROOT, md5)
        verdict = json.loads(result.out)
        assert verdict["recorded"]
        if SAME:
            assert result.status == 0 and verdict["reproduced"] and verdict["parting"] is None


def test_the_job_goes_on(wepy: Wepy, store: Store, tmp_path: Path) -> None:
    """From blocks that are not full, and with the versions that it was made with to the same
    recording; what had been told of stays (D2, D3)."""
    expected, job = EXPECTED["job"], shutil.copytree(JOB, tmp_path / "job")
    (before,) = load_runs(job)
    resumed = wepy(f"resume --n-cycles={expected['n_cycles']}", job)
    assert resumed.status == 0, resumed.err
    runs = load_runs(job)
    (md5,) = runs.keys() - {before}
    assert runs[md5].n_cycles == expected["n_cycles"] and runs[before].recording is not None
    longer, shorter = (load_frames(job, each, verify=True) for each in (md5, before))
    for name in ("positions", "velocities"):
        values = RUNS[before]["frames"]["fields"][name]["values"]
        for walker in range(6):
            assert shorter.walker(walker, name).tolist() == values[walker]
            assert longer.walker(walker, name)[:3].tolist() == values[walker]
    assert longer.cycles.tolist() == [0, 2, 4, 6, 8]
    if SAME:
        assert runs[md5].end.md5 == expected["end"]
        assert runs[md5].recording.md5 == expected["recording"]
    assert wepy("reconcile orch", store.path, job).status == 0
    assert load_runs(store).keys() == {*RUNS, md5}
    assert wepy("fsck", store.path).status == 0
