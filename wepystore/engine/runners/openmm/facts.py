"""What a system and an integrator of OpenMM's say of themselves."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import unit

from wepystore.engine.runners.facts import Facts
from wepystore.engine.runners.openmm.doubts import acting, carried_variables, is_deterministic
from wepystore.engine.runners.openmm.seeding import forces_with_seeds


def facts_of(system: openmm.System, integrator: openmm.Integrator) -> Facts:
    """The facts of the two."""
    barostats = [force for force in forces_with_seeds(system) if hasattr(force, "getFrequency")]
    box = system.getDefaultPeriodicBoxVectors()
    return Facts(
        n_particles=system.getNumParticles(),
        periodic=system.usesPeriodicBoundaryConditions(),
        step_ps=integrator.getStepSize().value_in_unit(unit.picosecond),
        barostat_steps=max((force.getFrequency() for force in barostats), default=0),
        cutoff=max((_cutoff(force) for force in system.getForces()), default=0.0),
        default_box=np.array([edge.value_in_unit(unit.nanometer) for edge in box]),
        integrator=type(acting(integrator)).__name__,
        deterministic=is_deterministic(system, integrator),
        carried=tuple(carried_variables(integrator)),
        chain_time=_chain_time(acting(integrator)),
    )


def _chain_time(integrator: openmm.Integrator) -> float:
    """The slowest of a Nose-Hoover integrator's chains, ps; 0 where there is none."""
    if not isinstance(integrator, openmm.NoseHooverIntegrator):
        return 0.0
    frequencies = [
        integrator.getCollisionFrequency(k).value_in_unit(unit.picosecond**-1)
        for k in range(integrator.getNumThermostats())
    ]
    return max((1.0 / each for each in frequencies if each > 0), default=0.0)


def _cutoff(force: openmm.Force) -> float:
    """The cutoff of one force, nm; 0 where it has none or looks for no nearest images."""
    if not isinstance(force, (openmm.NonbondedForce, openmm.CustomNonbondedForce)):
        return 0.0
    if not force.usesPeriodicBoundaryConditions():
        return 0.0
    return float(force.getCutoffDistance().value_in_unit(unit.nanometer))
