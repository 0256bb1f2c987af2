"""One real run, recorded: what the reporters are shown in their tests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from wepystore.engine.boundary_conditions.unbinding import UnbindingBC
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.manager import CycleManager
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
from wepystore.engine.rng import Streams
from wepystore.engine.runners.openmm import OpenMMRunner
from wepystore.engine.walker import Walker, WalkerState
from wepystore.reporters.base import Reporter
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter

ALL_REPORTERS = (
    HDF5Reporter,
    DashboardReporter,
    InitTopologyReporter,
    WalkerReporter,
    FamilyTreeReporter,
)


@dataclass
class Recording:
    """A run's parts and every report of it, in order."""

    init_walkers: list[Walker]
    runner: Any
    resampler: Any
    boundary_conditions: Any
    reports: list[dict[str, Any]]

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "runner": self.runner,
            "resampler": self.resampler,
            "boundary_conditions": self.boundary_conditions,
        }


class Witness(Reporter):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    def report(self, **report: Any) -> None:
        self.reports.append(report)


def lj_pair() -> tuple[openmm.System, app.Topology, openmm.Integrator]:
    """Two argon atoms that attract each other, in a periodic box of 4 nm."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(1.9)
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(2):
        system.addParticle(39.9)
        force.addParticle(0.0, 0.335, 2.0)
        topology.addAtom("Ar", app.element.argon, topology.addResidue("Ar", chain))
    system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * 4.0))
    integrator = openmm.LangevinMiddleIntegrator(
        300 * unit.kelvin, 1 / unit.picosecond, 0.002 * unit.picosecond
    )
    return system, topology, integrator


def record(n_cycles: int, n_walkers: int = 8, n_steps: int = 60) -> Recording:
    """Run the pair with WExplore and an unbinding boundary it often meets."""
    system, topology, integrator = lj_pair()
    state = WalkerState(
        positions=[[1.0, 1.0, 1.0], [1.376, 1.0, 1.0]],
        velocities=np.zeros((2, 3)),
        box_vectors=np.eye(3) * 4.0,
        time=0.0,
    )
    walkers = [Walker(state, 1 / n_walkers) for _ in range(n_walkers)]
    witness = Witness()
    recording = Recording(
        init_walkers=walkers,
        runner=OpenMMRunner(system, topology, integrator, platform="Reference"),
        resampler=WExploreResampler(
            PairDistance(0, 1, periodic=False),
            max_n_regions=(10, 10),
            max_region_sizes=(0.03, 0.01),
            pmax=0.5,
        ),
        boundary_conditions=UnbindingBC(
            cutoff_distance=0.43,
            initial_states=[state],
            ligand_idxs=[0],
            receptor_idxs=[1],
            periodic=False,
        ),
        reports=witness.reports,
    )
    manager = CycleManager(
        init_walkers=walkers,
        work_mapper=SerialMapper(),
        streams=Streams(7),
        reporters=[witness],
        **recording.parts,
    )
    manager.init()
    for cycle in range(n_cycles):
        walkers = manager.run_cycle(walkers, n_steps, cycle).walkers
    manager.cleanup()
    return recording


def open_reporter(
    reporter: Any, base: str | os.PathLike[str], recording: Recording, resume_at: int | None = None
) -> Any:
    """Bind and begin a reporter as a job does."""
    reporter.bind(base)
    reporter.annotate(start_snapshot_hash="0" * 32, seed=7)
    if resume_at is not None:
        reporter.resume(resume_at)
    reporter.init(init_walkers=recording.init_walkers, reporters=[reporter], **recording.parts)
    return reporter


def replay(
    reporter: Any,
    base: str | os.PathLike[str],
    recording: Recording,
    reports: Iterable[dict[str, Any]] | None = None,
) -> str:
    """Show a reporter a whole run; returns the path of its file."""
    open_reporter(reporter, base, recording)
    for report in recording.reports if reports is None else reports:
        reporter.report(**report)
    reporter.annotate(end_snapshot_hash="f" * 32)
    reporter.cleanup(work_mapper=None, reporters=[reporter], **recording.parts)
    return str(reporter.path)
