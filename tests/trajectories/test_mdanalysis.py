"""Files of trajectories as MDAnalysis reads them, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from tests import installed
from tests.systems import REPOSITORY, langevin, pair_topology, run_job, salt_system
from wepystore.api import (
    Apparatus,
    Configuration,
    OpenMMRunner,
    PairDistance,
    SerialMapper,
    Snapshot,
    Walker,
    WalkerState,
    WExploreResampler,
    export_run,
    load_frames,
    prepare_store,
)

pytestmark = pytest.mark.slow

_PACKAGES = ("MDAnalysis>=2.7",)
_BOX = np.array([[2.0, 0.0, 0.0], [0.5, 2.1, 0.0], [-0.4, 0.3, 2.2]])

#: What is in each pair of a topology and a trajectory: positions, boxes, times.
_READS = """
import json, sys, warnings
warnings.simplefilter("ignore")
import MDAnalysis
from MDAnalysis.lib.mdamath import triclinic_vectors
found = {}
for name, *files in json.loads(sys.argv[1]):
    frames = MDAnalysis.Universe(*files).trajectory
    found[name] = {
        "positions": [each.positions.tolist() for each in frames],
        "boxes": [triclinic_vectors(each.dimensions).tolist() for each in frames],
        "steps": [each.time for each in frames],
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def mdanalysis() -> str:
    """The interpreter of an environment with it."""
    folder = REPOSITORY / ".venv-mdanalysis"
    return str(installed.environment(folder, _PACKAGES, _imports_it) / "python")


def _imports_it(programs: Path) -> bool:
    command = [str(programs / "python"), "-W", "ignore", "-c", "import MDAnalysis"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_positions_boxes_and_cycles(mdanalysis: str, tmp_path: Path) -> None:
    """In angstrom, of a box that is no cube; an .xtc tells the cycles as times."""
    system, state = salt_system(spacing=0.5)
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in _BOX))
    start = WalkerState(**{**state, "box_vectors": _BOX})
    topology = pair_topology(len(start["positions"]))
    runner = OpenMMRunner(system, topology, langevin(), platform="Reference")
    apparatus = Apparatus(runner, None, WExploreResampler(PairDistance(0, 1), pmax=0.6))
    snapshot = Snapshot([Walker(start, 0.25) for _ in range(4)], apparatus)
    prepared = prepare_store(tmp_path / "a.orch", snapshot, Configuration(SerialMapper()))
    run = run_job(prepared.store, prepared.snapshot_hash, tmp_path / "job", n_cycles=4).record
    asked: list[Any] = []
    for suffix in ("dcd", "xtc", "pdb"):
        file = tmp_path / suffix / f"a.{suffix}"
        file.parent.mkdir()
        export_run(tmp_path / "job", run, file, walkers=[1], cycles=slice(1, None))
        top = file.with_suffix(".pdb")
        asked.append([suffix, *map(str, dict.fromkeys((top, file)))])
    command = [mdanalysis, "-c", _READS, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frames = load_frames(tmp_path / "job", run)
    positions, boxes = (frames.walker(1, name, start=1) for name in ("positions", "box_vectors"))
    for suffix, found in json.loads(done.stdout).items():
        # Of an .xtc 0.01 angstrom, of a .pdb 0.001.
        np.testing.assert_allclose(found["positions"], 10 * positions, atol=6e-3)
        np.testing.assert_allclose(found["boxes"], 10 * boxes, atol=2e-3)
        if suffix == "xtc":
            assert found["steps"] == [1.0, 2.0, 3.0]
