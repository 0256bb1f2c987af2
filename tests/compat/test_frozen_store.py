"""Stores that earlier versions have written are read by every later one.

If a test here fails, the program is wrong and not the fixture: fixtures/store-v1/README.md,
fixtures/store-recorded/README.md, fixtures/store-frames/README.md.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import REPOSITORY, tree_of
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    OpenMMRunner,
    PairDistance,
    SerialMapper,
    UnbindingBC,
    WalkerReporter,
    WExploreResampler,
)
from wepystore.records.library import (
    load_configuration,
    load_run,
    load_snapshot,
    load_tables,
)
from wepystore.store import Store
from wepystore.store.names import KINDS

__all__ = ["wepy"]

FIXTURE = REPOSITORY / "fixtures/store-v1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_bytes())
START, END, CONFIG = EXPECTED["start"], EXPECTED["end"], EXPECTED["config"]
RUN = EXPECTED["runs"][0]
TAG = "several-regions"

#: With recordings of two runs, of which one is the beginning of the other.
RECORDED = REPOSITORY / "fixtures/store-recorded"

#: With frames, and a job that goes on: tests/compat/test_frozen_frames.py.
FRAMES = REPOSITORY / "fixtures/store-frames"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A copy; the fixture itself is only read."""
    return Store.open(shutil.copytree(FIXTURE / "LJ-pair.orch", tmp_path / "v1.orch"))


def all_of(fixture: Path) -> dict[str, Any]:
    """What a fixture has to hold."""
    found: dict[str, Any] = json.loads((fixture / "expected.json").read_bytes())
    return found


@pytest.mark.parametrize("fixture", [FIXTURE, RECORDED, FRAMES], ids=lambda path: path.name)
def test_no_byte_has_changed(fixture: Path) -> None:
    """Neither git nor anybody else has touched a file, and none has come or gone."""
    expected = all_of(fixture)
    assert files_in(fixture / "LJ-pair.orch") == expected["files"]
    if "job" in expected:
        assert files_in(fixture / "job") == expected["job"]["files"]


def files_in(root: Path) -> dict[str, Any]:
    """Hashes and size of each file below a directory."""
    found = {}
    for file in root.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            found[str(file.relative_to(root))] = {
                "md5": hashlib.md5(data).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
            }
    return found


@pytest.mark.parametrize("fixture", [FIXTURE, RECORDED, FRAMES], ids=lambda path: path.name)
def test_names_of_the_files(fixture: Path) -> None:
    """S1: where an entry is, and what it is called, follows from its MD5 alone."""
    for path, file in all_of(fixture)["files"].items():
        kind, *rest = path.split("/")
        if kind in KINDS:
            name = file["md5"] + (".json" if kind == "runs" else "")
            assert rest == [file["md5"][:2], name]


def test_every_listing(wepy: Wepy) -> None:
    """ls, tag, log, show, status and fsck say what they always said, and write nothing."""
    root = FIXTURE / "LJ-pair.orch"
    before = tree_of(root)
    assert wepy("ls snapshots", root).lines == sorted([START, END])
    assert wepy("ls configs", root).lines == [CONFIG]
    assert wepy("ls runs", root).lines == [f"{START}, {END}"]
    assert wepy("tag", root).lines == [f"{TAG} {END}"]
    assert wepy("get run-cycles", root, START, END).lines == [str(EXPECTED["n_cycles"])]
    log = wepy("log", root)
    assert log.lines[0] == f"snapshot {END} (tag: {TAG})"
    assert f"{EXPECTED['n_cycles']} cycles of {EXPECTED['n_steps']} steps" in log.out
    assert log.lines[-1] == f"snapshot {START} (default)"
    show = wepy("show", root, TAG)
    assert show.lines[0].startswith(f"snapshot {END}")
    assert "10 walkers, weights 0.0125 to 0.375, sum 1" in show.out
    assert "resampler: WExploreResampler" in show.out
    for name in (START, CONFIG, RUN, f"{START},{END}"):
        assert wepy("show", root, name).status == 0
    assert wepy("status", root).status == 0
    fsck = wepy("fsck --sha256", root)
    assert (fsck.status, fsck.out) == (0, "")
    assert tree_of(root) == before


@pytest.mark.parametrize("md5", [START, END])
def test_values_of_a_snapshot(store: Store, md5: str) -> None:
    """Every weight, position, velocity, box and time, to the bit."""
    snapshot = load_snapshot(store, md5)
    expected = EXPECTED["snapshots"][md5]
    walkers = snapshot.walkers
    assert [walker.weight for walker in walkers] == expected["weights"]
    for field in ("positions", "velocities"):
        found = np.array([walker.state[field] for walker in walkers])
        assert found.shape == (10, 2, 3)
        np.testing.assert_array_equal(found, np.array(expected[field]))
    for walker, time in zip(walkers, expected["times"], strict=True):
        assert float(walker.state["time"]) == time
        np.testing.assert_array_equal(walker.state["box_vectors"], expected["box_vectors"])


def test_the_apparatus(store: Store) -> None:
    """The components with their parameters, and the regions that WExplore had found."""
    apparatus = load_snapshot(store, END).apparatus
    runner, boundary, resampler = (
        apparatus.runner,
        apparatus.boundary_conditions,
        apparatus.resampler,
    )
    assert type(runner) is OpenMMRunner
    assert runner.periodic is False
    assert runner.step_size == pytest.approx(0.002)
    assert json.loads(runner.topology)["chains"]
    assert type(boundary) is UnbindingBC
    assert boundary.params()["cutoff_distance"] == 1.0
    assert type(resampler) is WExploreResampler
    assert type(resampler.distance) is PairDistance
    assert resampler.params()["max_region_sizes"] == (0.05, 0.02, 0.008, 0.003)
    assert len(resampler.state()["branches"]) == EXPECTED["snapshots"][END]["n_branches"] == 17


def test_the_configuration_and_the_run(store: Store) -> None:
    """How it was executed."""
    configuration = load_configuration(store, CONFIG)
    assert type(configuration.work_mapper) is SerialMapper
    assert [type(reporter) for reporter in configuration.reporters] == [
        HDF5Reporter,
        DashboardReporter,
        InitTopologyReporter,
        WalkerReporter,
        FamilyTreeReporter,
    ]
    record = load_run(store, RUN)
    assert (record.start.md5, record.end.md5, record.config.md5) == (START, END, CONFIG)
    assert (record.n_cycles, record.n_steps) == (EXPECTED["n_cycles"], EXPECTED["n_steps"])
    assert record.seed == EXPECTED["seed"]
    assert record.reproducible is True


def test_exported_and_added_again(store: Store, tmp_path: Path, wepy: Wepy) -> None:
    """I2: in a store of today's the same entries have the same hashes."""
    other = Store.create(tmp_path / "today.orch")
    for kind, md5 in (("snapshot", START), ("snapshot", END), ("config", CONFIG)):
        file = wepy(f"get {kind}", store.path, md5).out.strip()
        assert wepy(f"add {kind}", other.path, file).lines == [md5]
    third = tmp_path / "third.orch"
    assert wepy("reconcile orch", third, other.path, store.path).status == 0
    old, new = tree_of(store.path), tree_of(third)
    entries = [path for path in old if path.split("/")[0] in (*KINDS, "refs")]
    assert len(entries) == len(EXPECTED["files"]) - 2
    assert {path: old[path][2] for path in entries} == {path: new[path][2] for path in entries}
    assert wepy("fsck", third).status == 0


def test_one_more_cycle(store: Store, tmp_path: Path, wepy: Wepy) -> None:
    """R1: a run goes on from it, and with the versions that it was made with to the same bits."""
    more = EXPECTED["one_more_cycle"]
    job = tmp_path / "job"
    options = f"--n-cycles={more['n_cycles']} --seed={more['seed']} --job-dir={job}"
    result = wepy(f"run orch {options} {store.path} {TAG} 600 {more['n_steps']}")
    assert result.status == 0, result.err
    start, end = result.lines[-1].removeprefix("Run start and end hashes: ").split(", ")
    assert start == END
    assert len(load_snapshot(Store.open(job / "checkpoint.orch"), end).walkers) == 10
    assert wepy("reconcile orch", store.path, job / "checkpoint.orch").status == 0
    assert wepy("ls runs", store.path).lines == sorted([f"{START}, {END}", f"{END}, {end}"])
    here = (np.__version__, openmm.version.version, platform.machine())
    if here == (more["numpy"], more["openmm"], more["machine"]):
        assert end == more["end"]


def test_what_was_recorded(wepy: Wepy) -> None:
    """Every value of every column of both runs; the shorter one's full blocks are the longer's; and
    nothing is written."""
    root = RECORDED / "LJ-pair.orch"
    before = tree_of(root)
    parts = []
    for md5, expected in all_of(RECORDED)["runs"].items():
        record = load_run(root, md5)
        assert record.recording is not None
        assert (record.n_cycles, record.end.md5) == (expected["n_cycles"], expected["end"])
        assert record.recording.md5 == expected["recording"]
        tables = load_tables(root, md5)
        assert [part.n_cycles for part in tables.recording.tables] == expected["tables"]
        assert dict(tables.recording.decisions) == expected["decisions"]
        assert set(tables) == set(expected["columns"])
        for name, column in expected["columns"].items():
            assert str(tables[name].dtype) == column["dtype"], name
            assert tables[name].tolist() == column["values"], name
        assert len(tables["warping/weight"]) and (tables["resampling/decision_id"] == 2).any()
        shown = wepy("show", root, md5)
        assert shown.status == 0 and f"recorded: {record.n_cycles} cycles" in shown.out
        parts.append(tables.recording.tables)
    shorter, longer = sorted(parts, key=len)
    assert shorter[0] == longer[0] and shorter[1] != longer[1]
    assert [part.n_cycles for part in shorter] == [4, 2]
    assert [part.n_cycles for part in longer] == [4, 4, 3]
    fsck = wepy("fsck --sha256", root)
    assert (fsck.status, fsck.out) == (0, "")
    assert wepy("status", root).status == 0
    assert tree_of(root) == before


def test_what_was_recorded_happens_again(wepy: Wepy) -> None:
    """R1, D2: both runs repeated; with the versions that they were made with, recordings to the
    bit."""
    root, expected = RECORDED / "LJ-pair.orch", all_of(RECORDED)
    for md5 in expected["runs"]:
        result = wepy("verify --json", root, md5)
        verdict = json.loads(result.out)
        assert verdict["recorded"]
        here = (np.__version__, openmm.version.version, platform.machine())
        if here == (expected["numpy"], expected["openmm"], expected["machine"]):
            assert result.status == 0 and verdict["reproduced"] and verdict["parting"] is None
