"""The structure reporters: other programs read what they wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter


def test_openmm_reads_the_first_structure(recording: Recording, tmp_path: Path) -> None:
    """Positions in nm within the three decimals of a PDB file, and the box."""
    pdb = app.PDBFile(replay(InitTopologyReporter(), tmp_path / "job", recording))
    positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    expected = recording.init_walkers[0].state["positions"]
    np.testing.assert_allclose(positions, expected, atol=5.1e-5)
    box = pdb.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    np.testing.assert_allclose(np.array(box), np.eye(3) * 4)


def test_mdtraj_reads_the_walkers_with_the_first_structure(
    recording: Recording, tmp_path: Path
) -> None:
    """One frame a walker, those that go into the next cycle."""
    mdtraj = pytest.importorskip("mdtraj")
    pdb = replay(InitTopologyReporter(), tmp_path / "job", recording)
    dcd = replay(WalkerReporter(), tmp_path / "job", recording)
    trajectory = mdtraj.load(dcd, top=pdb)
    expected = [w.state["positions"] for w in recording.reports[-1]["resampled_walkers"]]
    np.testing.assert_allclose(trajectory.xyz, np.array(expected), atol=1e-6)
    np.testing.assert_allclose(trajectory.unitcell_lengths, 4.0, atol=1e-5)


def test_the_same_walkers_make_the_same_bytes(recording: Recording, tmp_path: Path) -> None:
    """R2: the file is a function of the run, not of the clock."""
    one = replay(WalkerReporter(), tmp_path / "one", recording)
    two = replay(WalkerReporter(), tmp_path / "two", recording)
    assert Path(one).read_bytes() == Path(two).read_bytes()


def test_a_flush_writes_the_walkers_of_that_cycle(recording: Recording, tmp_path: Path) -> None:
    """Between flushes the file is left alone: the cost of a cycle is that of keeping a list."""
    reporter = open_reporter(WalkerReporter(), tmp_path / "job", recording)
    for report in recording.reports[:3]:
        reporter.report(**report)
    assert list(tmp_path.iterdir()) == []
    reporter.flush()
    first = Path(reporter.path).read_bytes()
    reporter.report(**recording.reports[3])
    reporter.flush()
    assert Path(reporter.path).read_bytes() != first


def test_a_resumed_job_keeps_the_true_first_structure(recording: Recording, tmp_path: Path) -> None:
    """A checkpoint's walkers are not the ones the run began with."""
    path = Path(replay(InitTopologyReporter(), tmp_path / "job", recording))
    before = path.read_bytes()
    later = Recording(recording.reports[5]["resampled_walkers"], recording.runner, None, None, [])
    open_reporter(InitTopologyReporter(), tmp_path / "job", later, resume_at=6)
    assert path.read_bytes() == before


def test_a_runner_without_topology_leaves_no_file(recording: Recording, tmp_path: Path) -> None:
    """A model on a grid has no atoms to write."""
    plain = Recording(recording.init_walkers, None, None, None, recording.reports)
    replay(InitTopologyReporter(), tmp_path / "job", plain)
    replay(WalkerReporter(), tmp_path / "job", plain)
    assert list(tmp_path.iterdir()) == []
