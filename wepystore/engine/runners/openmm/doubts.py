"""What OpenMM would run without a word, and what is seldom meant."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import openmm

from wepystore.engine.runners.openmm.seeding import (
    forces_with_seeds,
    integrators_with_seeds,
    is_openmms,
    nothing_to_seed,
)
from wepystore.engine.runners.openmm.transfer import DocumentedTransfer
from wepystore.engine.walker import PARAMETERS

#: No bond is so long, nm; in angstroms every one is.
_LONGEST_BOND = 0.5

#: Beyond so many particles an energy on the Reference platform would take seconds: with a cutoff,
#: and where every pair is looked at.
_MOST_PARTICLES = 20_000
_MOST_OF_ALL_PAIRS = 5_000

_RANDOM = re.compile(r"\b(gaussian|uniform)\b")
_WORD = re.compile(r"[A-Za-z_]\w*")
_BLOCKS = (openmm.CustomIntegrator.IfBlockStart, openmm.CustomIntegrator.WhileBlockStart)
_WRITES = (
    openmm.CustomIntegrator.ComputeGlobal,
    openmm.CustomIntegrator.ComputePerDof,
    openmm.CustomIntegrator.ComputeSum,
)


def acting(integrator: openmm.Integrator) -> openmm.Integrator:
    """The integrator that makes the steps: of a compound one the one that it is set to."""
    if isinstance(integrator, openmm.CompoundIntegrator):
        return integrator.getIntegrator(integrator.getCurrentIntegrator())
    return integrator


def is_deterministic(system: openmm.System, integrator: openmm.Integrator) -> bool:
    """Whether nothing in a step is random, so that clones of a walker never part."""
    part = acting(integrator)
    if integrators_with_seeds(part) and not _draws_nothing(part):
        return False
    for force in forces_with_seeds(system):
        frequency = getattr(force, "getFrequency", None)
        if frequency is None or frequency() > 0:
            return False
    # What a plugin's force or a function of Python's does, nobody knows.
    return all(
        is_openmms(force) and type(force).__name__ != "PythonForce" for force in system.getForces()
    )


def _draws_nothing(integrator: Any) -> bool:
    """Of one that could: whether its noise is turned off, or its steps use none."""
    if isinstance(integrator, openmm.CustomIntegrator):
        return not any(_RANDOM.search(expression) for _, _, expression in _steps(integrator))
    for name in ("getTemperature", "getFriction"):
        value = getattr(integrator, name, None)
        if value is not None and value()._value == 0.0:
            return True
    return type(integrator).__name__ == "DrudeSCFIntegrator"


def _steps(integrator: openmm.CustomIntegrator) -> Iterable[tuple[int, str, str]]:
    """Kind, variable and expression of each step."""
    return (integrator.getComputationStep(k) for k in range(integrator.getNumComputations()))


def carried_variables(integrator: openmm.Integrator) -> list[str]:
    """Variables of a custom integrator whose value goes from one step into the next.

    Such a one is read before it is surely written: a counter, a protocol, a memory. Those that
    are written first are scratch, and may begin as they like.
    """
    part = acting(integrator)
    if not isinstance(part, openmm.CustomIntegrator):
        return []
    steps = list(_steps(part))
    own = {part.getGlobalVariableName(k) for k in range(part.getNumGlobalVariables())}
    own |= {part.getPerDofVariableName(k) for k in range(part.getNumPerDofVariables())}
    own.add("dt")
    changed = own & {variable for kind, variable, _ in steps if kind in _WRITES}
    surely: set[str] = set()
    carried: list[str] = []
    depth = 0
    for kind, variable, expression in steps:
        for word in _WORD.findall(expression):
            if word in changed and word not in surely and word not in carried:
                carried.append(word)
        depth += (kind in _BLOCKS) - (kind == openmm.CustomIntegrator.BlockEnd)
        if kind in _WRITES and not depth:
            surely.add(variable)
    return carried


def long_bonds(topology: str, positions: Any) -> str | None:
    """In words, if half of the bonds of a topology (JSON) are too long for nm."""
    bonds = np.array(json.loads(topology).get("bonds") or [], dtype=np.int64).reshape(-1, 2)
    if not len(bonds):
        return None
    ends = np.asarray(positions)[bonds]
    median = float(np.median(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)))
    if not median > _LONGEST_BOND:
        return None
    return (
        f"half of the {len(bonds)} bonds are longer than {median:.3g} nm: bare positions are taken "
        "as nm; divide angstroms by 10, or give OpenMM's quantities"
    )


def first_energy(
    system: openmm.System, state: Mapping[str, Any], keeps_parameters: bool
) -> list[str]:
    """In words, what is odd about the energy and the parameters with which a state begins.

    On the Reference platform, where it costs nothing but time; [] where that cannot tell.
    """
    most = _MOST_PARTICLES if system.usesPeriodicBoundaryConditions() else _MOST_OF_ALL_PAIRS
    if system.getNumParticles() > most:
        return []
    if not all(np.isfinite(state[name]).all() for name in state):
        return []  # OpenMM might do anything.
    found = []
    try:
        context = openmm.Context(
            system,
            openmm.VerletIntegrator(0.001),
            openmm.Platform.getPlatformByName("Reference"),
        )
        defaults = context.getParameters()
        DocumentedTransfer(context, nothing_to_seed).put(state, 1)
        energy = context.getState(energy=True).getPotentialEnergy()._value
    except openmm.OpenMMException:
        return []  # Of a platform that lacks something; a run says what is wrong on its own.
    if not math.isfinite(energy):
        found.append(
            f"the potential energy at the start is {energy}: atoms lie on each other, or positions "
            "are not in nm; a run will most likely fail"
        )
    if not keeps_parameters:
        lost = [
            name
            for name in defaults
            if PARAMETERS + name in state
            and float(np.ravel(state[PARAMETERS + name])[0]) != defaults[name]
        ]
        if lost:
            found.append(
                f"the state sets the global parameter {lost[0]}, and the first segment will forget "
                "it: put 'parameters' into the runner's state_fields"
            )
    return found
