"""A live OpenMM context, and how a segment is run in it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import openmm

from wepystore.engine import progress
from wepystore.engine.errors import ComponentError
from wepystore.engine.runners.openmm.platforms import load_platform, unusable
from wepystore.engine.runners.openmm.seeding import MEMORYLESS_INTEGRATORS, allow_one_generator
from wepystore.engine.runners.openmm.transfer import CheckpointTransfer, choose_transfer
from wepystore.engine.runners.openmm.xml import read_xml
from wepystore.engine.walker import BOX_FIELDS, WalkerState

#: State field -> the keyword of Context.getState that brings it. Box and time always come.
GETSTATE_KEYWORDS = {
    "positions": "positions",
    "velocities": "velocities",
    "forces": "forces",
    "kinetic_energy": "energy",
    "potential_energy": "energy",
    "parameters": "parameters",
    "parameter_derivatives": "parameterDerivatives",
}

#: A signal is looked at between two pieces of a segment, so none may take much longer.
_STEP_PIECE_S = 0.25


class Simulation:
    """A live context with the way to put walkers' states into it and to get them back.

    Parameters
    ----------
    system, integrator : str
        XML.
    platform : str
    properties : dict of str to str
    fields : tuple of str
        What a state holds after a segment (see OpenMMRunner).
    enforce_box : bool
    state : mapping
        Of the first walker: a sensible one to try things from.
    """

    def __init__(
        self,
        system: str,
        integrator: str,
        platform: str,
        properties: dict[str, str],
        fields: tuple[str, ...],
        enforce_box: bool,
        state: Mapping[str, Any],
    ) -> None:
        self._system = read_xml(system, "system")
        self._integrator_xml = integrator
        self._shape = (self._system.getNumParticles(), 3)
        self._fields = fields
        self._periodic = self._system.usesPeriodicBoundaryConditions()
        self._boxless = tuple(name for name in fields if name not in BOX_FIELDS)
        self._enforce_box = enforce_box
        self._platform = load_platform(platform, properties)
        self._properties = properties
        self._steps_a_piece = 0
        if np.shape(state["positions"]) != self._shape:
            self._refuse(state)
        self._limit_threads()
        self._new_context(state)

    def _refuse(self, state: Mapping[str, Any]) -> NoReturn:
        raise ComponentError(
            component="OpenMMRunner",
            problem=f"positions have shape {np.shape(state['positions'])}, "
            f"but the system has {self._shape[0]} particles",
        )

    def _limit_threads(self) -> None:
        # The CPU platform's PME takes its number of threads from here alone, whatever the
        # property says; the order of its sums, and so the last bits, depend on it (R1).
        if "Threads" in self._properties:
            os.environ["OPENMM_CPU_THREADS"] = self._properties["Threads"]

    def _new_context(self, state: Mapping[str, Any]) -> None:
        self._integrator = read_xml(self._integrator_xml, "integrator")
        allow_one_generator(self._integrator, self._platform.getName())
        try:
            self._context = openmm.Context(
                self._system, self._integrator, self._platform, self._properties
            )
        except openmm.OpenMMException as problem:
            raise unusable(self._platform.getName(), str(problem).splitlines()[0]) from None
        self._memoryless = type(self._integrator) in MEMORYLESS_INTEGRATORS
        self._transfer = choose_transfer(self._context, state)
        # A checkpoint holds positions as they are, not wrapped into the box.
        self._get = self._get_boxless = None
        if isinstance(self._transfer, CheckpointTransfer) and not self._enforce_box:
            self._get = self._transfer.getter(self._fields)
            self._get_boxless = self._transfer.getter(self._boxless, has_box=False)

    def run(
        self,
        state: Mapping[str, Any],
        n_steps: int,
        seed: int,
        getstate_keywords: Mapping[str, Any] | None = None,
    ) -> WalkerState:
        """The state `n_steps` after `state`; nothing that was run before matters to it (R1).

        Of a system that is not periodic it has a box if `state` has one.

        Raises
        ------
        FloatingPointError : the positions are no longer numbers.
        """
        # One from this very context fits; to be asked in numpy would take it longer than a step.
        if not self._transfer.knows(state) and np.shape(state["positions"]) != self._shape:
            self._refuse(state)
        self._limit_threads()
        if not self._memoryless:
            # Thermostat chains, adaptive steps and global variables would leak from the
            # walker before; only a new context is known to be free of them.
            self._new_context(state)
        self._transfer.put(state, seed)
        if 0 < n_steps <= self._steps_a_piece:
            self._integrator.step(n_steps)
        else:
            self._step(n_steps)
        # OpenMM has a box for every context, 2 nm wide if nobody said anything.
        has_box = self._periodic or "box_vectors" in state
        get = self._get if has_box else self._get_boxless
        if get is not None and not getstate_keywords:
            after = get()
        else:
            wanted = self._fields if has_box else self._boxless
            after = WalkerState.adopt(self._get_state(wanted, getstate_keywords or {}))
        # A sum is a number only if all its terms are.
        if not math.isfinite(np.add.reduce(after["positions"], axis=None)):
            raise FloatingPointError("positions became NaN or infinite; try a smaller step")
        return after

    def _step(self, n_steps: int) -> None:
        left = n_steps
        step = self._integrator.step
        while left:
            piece = min(left, self._steps_a_piece or 10)
            begun = time.perf_counter()
            step(piece)
            taken = time.perf_counter() - begun
            left -= piece
            progress.sign()
            if left or not self._steps_a_piece:
                self._steps_a_piece = max(1, int(piece * _STEP_PIECE_S / max(taken, 1e-6)))

    def _get_state(
        self, wanted: tuple[str, ...], extra: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        keywords = {GETSTATE_KEYWORDS[name]: True for name in wanted if name in GETSTATE_KEYWORDS}
        if self._enforce_box:
            keywords["enforcePeriodicBox"] = True
        keywords.update(extra)
        state = self._context.getState(**keywords)
        # _value is the bare array in OpenMM's own units (nm, ps, kJ/mol); value_in_unit copies.
        fields: dict[str, np.ndarray] = {}
        for name in wanted:
            if name == "positions":
                fields[name] = state.getPositions(asNumpy=True)._value
            elif name == "velocities":
                fields[name] = state.getVelocities(asNumpy=True)._value
            elif name == "box_vectors":
                fields[name] = state.getPeriodicBoxVectors(asNumpy=True)._value
            elif name == "time":
                fields[name] = np.array(state.getTime()._value, dtype=np.float64)
            elif name == "forces":
                fields[name] = state.getForces(asNumpy=True)._value
            elif name == "kinetic_energy":
                fields[name] = np.array(state.getKineticEnergy()._value, dtype=np.float64)
            elif name == "potential_energy":
                fields[name] = np.array(state.getPotentialEnergy()._value, dtype=np.float64)
            elif name == "box_volume":
                fields[name] = np.array(state.getPeriodicBoxVolume()._value, dtype=np.float64)
            elif name == "parameters":
                fields.update(_spread(state.getParameters(), "parameters"))
            else:
                fields.update(_spread(state.getEnergyParameterDerivatives(), name))
        return fields


def _spread(values: Mapping[str, float], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": np.array(values[name], dtype=np.float64) for name in sorted(values)}
