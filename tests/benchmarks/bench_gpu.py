"""What a GPU is kept waiting for.

    python -m tests.benchmarks.bench_gpu [options]

    --platform NAME     CUDA, HIP, OpenCL, CPU [default: the fastest here]
    --atoms N,N         sizes of the water boxes [default: 25000,100000]
    --steps N           a segment [default: 1000]
    --walkers N         [default: 8]
    --small N           atoms of the system for several contexts at once [default: 3000]
    --workers N,N       how many contexts at once [default: 1,2,4]

First, for each size, a cycle (NoResampler, no reporters) against as many bare steps in one
context, mixed precision, measured alternately; and how long making the context took, which
happens once. Then, for a small system, walkers a second in several worker processes that
share the device, against one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import app, unit

from tests.benchmarks import table
from tests.benchmarks.bench_nacl import segments
from tests.benchmarks.table import Lacking, Misused, Row
from wepystore.api import (
    NoResampler,
    OpenMMRunner,
    ProcessMapper,
    SerialMapper,
    Walker,
    WalkerState,
    as_walker_state,
)
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams
from wepystore.engine.runners.openmm.platforms import fastest_platform, load_platform

DEFAULTS = {
    "--platform": "",
    "--atoms": "25000,100000",
    "--steps": "1000",
    "--walkers": "8",
    "--small": "3000",
    "--workers": "1,2,4",
}


def properties(platform: str) -> dict[str, str]:
    """Mixed precision where there is a choice, one thread where there are threads."""
    if platform == "CPU":
        return {"Threads": "1"}
    return {} if platform == "Reference" else {"Precision": "mixed"}


def integrator() -> openmm.Integrator:
    """300 K, 1/ps, 2 fs."""
    return openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.002)


def water_box(n_atoms: int, platform: str) -> tuple[openmm.System, Any, WalkerState]:
    """About so many atoms of rigid TIP3P water with PME, minimised a little."""
    field = app.ForceField("amber14/tip3p.xml")
    modeller = app.Modeller(app.Topology(), [])
    # 0.0299 nm³ is the volume of a molecule at 300 K; a cutoff of 0.9 nm needs a box of 1.9 nm.
    edge = max(1.9, (n_atoms / 3 * 0.0299) ** (1 / 3))
    modeller.addSolvent(field, boxSize=openmm.Vec3(edge, edge, edge) * unit.nanometer)
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        rigidWater=True,
    )
    context = openmm.Context(
        system, integrator(), load_platform(platform, {}), properties(platform)
    )
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=30)
    context.setVelocitiesToTemperature(300.0, 1)
    found = context.getState(positions=True, velocities=True)
    state = as_walker_state(
        found.getPositions(asNumpy=True),
        found.getPeriodicBoxVectors(asNumpy=True),
        found.getVelocities(asNumpy=True),
    )
    return system, modeller.topology, state


@dataclass(frozen=True)
class Cycle:
    """A cycle against its bare steps."""

    n_atoms: int
    steps_per_s: float
    ratio: float
    context_s: float


def cycle(n_atoms: int, platform: str, n_steps: int, n_walkers: int, rounds: int = 5) -> Cycle:
    """Cycles and as many bare steps, in turn; medians."""
    system, topology, state = water_box(n_atoms, platform)
    begun = time.perf_counter()
    context = openmm.Context(
        system, integrator(), load_platform(platform, {}), properties(platform)
    )
    context_s = time.perf_counter() - begun
    context.setPositions(state["positions"])
    context.setVelocities(state["velocities"])
    manager = CycleManager(
        init_walkers=[Walker(state, 1 / n_walkers) for _ in range(n_walkers)],
        runner=OpenMMRunner(
            system,
            topology,
            integrator(),
            platform=platform,
            platform_properties=properties(platform),
        ),
        boundary_conditions=None,
        resampler=NoResampler(),
        work_mapper=SerialMapper(),
        streams=Streams(1),
    )
    manager.init()
    walkers = manager.init_walkers
    bare, cycles = [], []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        context.getIntegrator().step(n_walkers * n_steps)
        # A GPU is asked and left alone: what it was asked is done when something is read back.
        context.getState(positions=True)
        between = time.perf_counter()
        walkers = manager.run_cycle(walkers, n_steps, number).walkers
        if number:  # The first ones compile kernels and make contexts.
            bare.append(between - begun)
            cycles.append(time.perf_counter() - between)
    manager.cleanup()
    taken = statistics.median(bare)
    return Cycle(
        n_atoms=system.getNumParticles(),
        steps_per_s=n_walkers * n_steps / taken,
        ratio=statistics.median(cycles) / taken,
        context_s=context_s,
    )


def at_once(
    n_atoms: int, platform: str, n_steps: int, n_walkers: int, workers: list[int], rounds: int = 3
) -> dict[int, float]:
    """{number of workers: walkers a second}, each with a context of its own on one device."""
    system, topology, state = water_box(n_atoms, platform)
    runner = OpenMMRunner(
        system, topology, integrator(), platform=platform, platform_properties=properties(platform)
    )
    walkers = [Walker(state, 1 / n_walkers) for _ in range(n_walkers)]
    found = {}
    for number in workers:
        mapper = ProcessMapper(number)
        mapper.init(segment_func=runner.run_segment)
        try:
            segments(mapper, walkers, 10, 0)
            taken = [segments(mapper, walkers, n_steps, 1 + k) for k in range(rounds)]
        finally:
            mapper.cleanup()
        found[number] = n_walkers / statistics.median(taken)
    return found


def rows(arguments: list[str]) -> Iterator[Row]:
    """Ratios of a cycle at each size, then gains of several contexts."""
    options = dict(DEFAULTS)
    words = iter(arguments)
    for word in words:
        if word not in options:
            raise Misused(f"{word!r} is no option")
        options[word] = next(words, "")
    platform = options["--platform"] or fastest_platform()
    if not options["--platform"] and platform in ("CPU", "Reference"):
        raise Lacking("a GPU (OpenMM has neither CUDA nor HIP nor OpenCL here)")
    n_steps, n_walkers = int(options["--steps"]), int(options["--walkers"])
    on = f"{platform} {' '.join(properties(platform).values())}".rstrip()
    for n_atoms in map(int, options["--atoms"].split(",")):
        one = cycle(n_atoms, platform, n_steps, n_walkers)
        yield Row(
            f"{one.n_atoms} atoms, {n_walkers} walkers x {n_steps} steps, {on}",
            one.ratio,
            "x bare steps",
            detail=f"{one.steps_per_s:.0f} bare steps/s; a context {one.context_s:.2f} s",
        )
    workers = [int(word) for word in options["--workers"].split(",")]
    small = int(options["--small"])
    found = at_once(small, platform, n_steps, n_walkers, workers)
    for number, rate in found.items():
        yield Row(
            f"{small} atoms, {number} contexts at once, {on}",
            rate / found[workers[0]],
            f"x {workers[0]}",
            detail=f"{rate:.3g} walkers/s",
        )


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
