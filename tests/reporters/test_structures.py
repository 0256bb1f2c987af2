"""The structure reporters: other programs read what they wrote."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from openmm import app, unit

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.api import Walker, WalkerState
from wepystore.engine.topology import topology_json
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
    """One frame a walker, those that go into the next cycle, each laid over the first; weights
    beside them."""
    mdtraj = pytest.importorskip("mdtraj")
    pdb = replay(InitTopologyReporter(), tmp_path / "job", recording)
    dcd = replay(WalkerReporter(), tmp_path / "job", recording)
    trajectory = mdtraj.load(dcd, top=pdb)
    walkers = recording.reports[-1]["resampled_walkers"]
    first, *others = np.array([w.state["positions"] for w in walkers])
    np.testing.assert_allclose(trajectory.xyz[0], first, atol=1e-6)
    np.testing.assert_allclose(trajectory.unitcell_lengths, 4.0, atol=1e-5)
    between = first[1] - first[0]
    for shown, was in zip(trajectory.xyz[1:], others, strict=True):
        # Two atoms on the line of the first two, about their middle, as far apart as they were.
        np.testing.assert_allclose(shown.mean(axis=0), first.mean(axis=0), atol=1e-6)
        along = shown[1] - shown[0]
        np.testing.assert_allclose(
            np.linalg.norm(along), np.linalg.norm(was[1] - was[0]), rtol=1e-5
        )
        cosine = along @ between / np.linalg.norm(along) / np.linalg.norm(between)
        assert cosine == pytest.approx(1, abs=1e-6)
    table = np.genfromtxt(Path(dcd).with_suffix(".csv"), delimiter=",", names=True)
    assert table["walker"].tolist() == list(range(len(walkers)))
    assert table["weight"].tolist() == [w.weight for w in walkers]


def test_water_has_no_say_in_how_walkers_lie(tmp_path: Path) -> None:
    """Three atoms and a molecule of water that is somewhere else in each walker, turned round."""
    rng = np.random.default_rng(3)
    solute, walkers = rng.normal(size=(3, 3)), []
    for _ in range(4):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        there = np.concatenate([solute @ turn, rng.normal(size=(3, 3))]) + rng.normal(size=3)
        walkers.append(Walker(WalkerState(positions=there), 0.25))
    topology = app.Topology()
    chain = topology.addChain()
    for name, atoms in (("LIG", "CNO"), ("HOH", "OHH")):
        residue = topology.addResidue(name, chain)
        for symbol in atoms:
            topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)

    runner = SimpleNamespace(topology=topology_json(topology), has_box=False)
    reporter = WalkerReporter()
    reporter.bind(tmp_path / "job")
    reporter.init(init_walkers=walkers, runner=runner)
    reporter.report(resampled_walkers=walkers)
    reporter.cleanup()
    mdtraj = pytest.importorskip("mdtraj")
    shown = mdtraj.load(reporter.path, top=mdtraj.Topology.from_openmm(topology)).xyz
    np.testing.assert_allclose(shown[:, :3], np.broadcast_to(shown[0, :3], (4, 3, 3)), atol=1e-5)
    assert np.ptp(shown[:, 3:], axis=0).min() > 0.01


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
