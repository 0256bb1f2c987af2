"""What a new user sees first is weighted ensemble: the examples clone, merge and warp."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from tests.systems import REPOSITORY, Recorder, run_job
from wepystore.api import Prepared, Store, load_run, prepare_store


def example(name: str) -> ModuleType:
    """The script of an example, as a module."""
    path = REPOSITORY / "fixtures" / name / "make_orchestrator.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The store that the tutorial begins with."""
    module = example("lj_pair")
    out = tmp_path_factory.mktemp("first") / "LJ-pair.orch"
    return prepare_store(out, module.snapshot, module.configuration)


def execution(job: Path) -> dict[str, Any]:
    store = Store.open(job / "checkpoint.orch")
    (md5,) = store.hashes("runs")
    return load_run(store, md5).execution._asdict()


@pytest.mark.parametrize("seed", [1, 2])
def test_cycles_of_10_steps_clone_and_merge_at_once(
    pair: Prepared, tmp_path: Path, seed: int
) -> None:
    """The tutorial's first run: in 150 cycles, a third of a second, there are several regions,
    clones, merges and weights that differ, and no word that nothing happens."""
    watcher = Recorder()
    options: dict[str, Any] = {"n_cycles": 150, "n_steps": 10, "seed": seed}
    run_job(pair.store, pair.snapshot_hash, tmp_path / "job", watcher, **options)
    done = execution(tmp_path / "job")
    assert done["n_cloned"] == done["n_merged"] >= 50
    assert not [event for event in watcher.events if event[0] == "remark"]
    last = watcher.events[-2][1] if watcher.events[-1][0] == "checkpoint" else None
    assert last is not None
    assert last.weight_min < 0.05 < 0.1 < last.weight_max
    (page,) = (tmp_path / "job").glob("*.dash.org")
    text = page.read_text()
    assert f"- clones :: {done['n_cloned']}\n" in text
    assert f"- merges :: {done['n_merged']}\n" in text
    regions = text.partition("- regions per level :: ")[2].partition("\n")[0]
    assert int(regions.split(", ")[-1]) > 1


def test_cycles_of_100_steps_warp(pair: Prepared, tmp_path: Path) -> None:
    """The tutorial's second run: within seconds pairs part, of a weight far below a tenth."""
    run_job(pair.store, pair.snapshot_hash, tmp_path / "job", n_cycles=600, n_steps=100, seed=24)
    assert execution(tmp_path / "job")["n_warped"] > 0
    (file,) = (tmp_path / "job").glob("*.wepy.h5")
    with h5py.File(file) as recorded:
        weights = recorded["runs/0/warping/weight"][:]
    assert 0 < np.max(weights) < 1e-3


def test_ions_are_in_regions_that_their_contact_swings_through() -> None:
    """The regions of sodium and chloride are finer than the 0.03 nm a pair in contact swings by,
    and pmax lets ten equal walkers merge."""
    source = (REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py").read_text()
    assert "max_region_sizes=(0.2, 0.1, 0.05, 0.025)" in source
    assert "pmax=0.25" in source
