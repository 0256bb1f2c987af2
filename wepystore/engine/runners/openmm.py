"""Molecular dynamics with OpenMM."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openmm
from openmm import unit

from wepystore.engine.component import Text
from wepystore.engine.errors import ComponentError, PlatformError
from wepystore.engine.runners.base import Runner
from wepystore.engine.runners.seeding import MEMORYLESS_INTEGRATORS, Seeder, choose_seeder
from wepystore.engine.topology import topology_json
from wepystore.engine.walker import Walker, WalkerState

#: State field -> the keyword of Context.getState that brings it. Box and time always come.
_GETSTATE_KEYWORDS = {
    "positions": "positions",
    "velocities": "velocities",
    "forces": "forces",
    "kinetic_energy": "energy",
    "potential_energy": "energy",
    "parameters": "parameters",
    "parameter_derivatives": "parameterDerivatives",
}
STATE_FIELDS = ("positions", "velocities", "box_vectors", "time")
KNOWN_STATE_FIELDS = (*STATE_FIELDS, "box_volume", *list(_GETSTATE_KEYWORDS)[2:])

#: A signal is looked at between two pieces of a segment, so none may take much longer.
_STEP_PIECE_S = 0.25


class OpenMMRunner(Runner):
    """Propagates walkers with OpenMM, to the bit where the platform can (R1).

    Parameters
    ----------
    system : openmm.System, or its XML
    topology : openmm.app.Topology, its JSON (engine.topology), or None
        Only the reporters look at it.
    integrator : openmm.Integrator, or its XML
        Its own random seed is of no consequence: every segment is seeded anew.
    platform : str or None
        "Reference", "CPU", "CUDA", "OpenCL", "HIP"; None takes the fastest at hand.
    platform_properties : dict of str to str
        Platform-specific properties. On the CPU platform Threads=1 and
        DeterministicForces=true are set unless given otherwise, since one thread
        a worker is both faster over an ensemble and reproducible.
    state_fields : sequence of str
        What a state holds after a segment: positions, velocities, box_vectors,
        time, and on demand box_volume, forces (kJ/mol/nm), kinetic_energy and
        potential_energy (kJ/mol), parameters and parameter_derivatives.
    enforce_box : bool
        Wrap molecules into the periodic box (OpenMM's enforcePeriodicBox).
    """

    def __init__(
        self,
        system: openmm.System | str,
        topology: Any,
        integrator: openmm.Integrator | str,
        platform: str | None = None,
        platform_properties: Mapping[str, str] | None = None,
        state_fields: Sequence[str] = STATE_FIELDS,
        enforce_box: bool = False,
    ) -> None:
        unknown = sorted(set(state_fields) - set(KNOWN_STATE_FIELDS))
        if unknown:
            raise ComponentError(
                component="OpenMMRunner",
                problem=f"unknown state field {unknown[0]!r}; "
                f"the fields are {', '.join(KNOWN_STATE_FIELDS)}",
            )
        for needed in ("positions", "velocities"):
            if needed not in state_fields:
                raise ComponentError(
                    component="OpenMMRunner",
                    problem=f"state_fields must hold {needed!r}, or no run could go on",
                )
        self.system = _as_xml(system)
        self.integrator = _as_xml(integrator)
        self.topology = (
            None
            if topology is None
            else Text(topology)
            if isinstance(topology, str)
            else topology_json(topology)
        )
        self.platform = platform
        self.platform_properties = dict(platform_properties or {})
        self.state_fields = tuple(state_fields)
        self.enforce_box = enforce_box
        self._simulations: dict[tuple[Any, ...], _Simulation] = {}
        self._facts: tuple[bool, float, bool] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Contexts stay in the process that made them.
        return {**self.__dict__, "_simulations": {}}

    def __deepcopy__(self, memo: dict[int, Any]) -> OpenMMRunner:
        return OpenMMRunner.from_params(self.params(), self.version)  # type: ignore[return-value]

    def _system_facts(self) -> tuple[bool, float, bool]:
        if self._facts is None:
            system = openmm.XmlSerializer.deserialize(self.system)
            integrator = openmm.XmlSerializer.deserialize(self.integrator)
            self._facts = (
                system.usesPeriodicBoundaryConditions(),
                integrator.getStepSize().value_in_unit(unit.picosecond),
                type(integrator) in MEMORYLESS_INTEGRATORS,
            )
        return self._facts

    @property
    def periodic(self) -> bool:  # type: ignore[override]
        """Whether the system uses periodic boundary conditions."""
        return self._system_facts()[0]

    @property
    def step_size(self) -> float:
        """The integrator's step, ps."""
        return self._system_facts()[1]

    def run_segment(
        self,
        walker: Any,
        segment_length: int,
        *,
        seed: int | None = None,
        platform: str | None = None,
        platform_kwargs: Mapping[str, str] | None = None,
        getState_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Propagate `walker` by `segment_length` steps.

        `platform` and `platform_kwargs` override the runner's own;
        `getState_kwargs` are passed on to Context.getState on top of what
        `state_fields` needs. Without a seed, one is drawn from the system.
        """
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0]) % (2**31 - 1) + 1
        simulation = self._simulation(platform, platform_kwargs, walker.state)
        fields = simulation.run(walker.state, segment_length, seed, dict(getState_kwargs or {}))
        return type(walker)(WalkerState.adopt(fields), walker.weight)

    def _simulation(
        self,
        platform: str | None,
        properties: Mapping[str, str] | None,
        state: Mapping[str, np.ndarray],
    ) -> _Simulation:
        name, chosen = self.resolve_platform(platform, properties)
        key = (name, tuple(sorted(chosen.items())))
        simulation = self._simulations.get(key)
        if simulation is None:
            simulation = _Simulation(self, name, chosen, np.asarray(state["positions"]))
            # One at a time: a second context on a GPU would double the memory for nothing.
            self._simulations = {key: simulation}
        return simulation

    def resolve_platform(
        self, platform: str | None = None, properties: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, str]]:
        """The platform and properties a segment would run with."""
        if platform is None:
            platform, inherited = self.platform, self.platform_properties
        else:
            # Properties belong to a platform: those of another would be refused by OpenMM.
            inherited = self.platform_properties if platform == self.platform else {}
        chosen = {**inherited, **(properties or {})}
        if platform is None:
            platform = fastest_platform()
        if platform == "CPU":
            chosen.setdefault("Threads", "1")
            chosen.setdefault("DeterministicForces", "true")
        return platform, chosen

    def reproducible(
        self, platform: str | None = None, properties: Mapping[str, str] | None = None
    ) -> bool:
        """True on Reference, and on CPU with Threads=1 and DeterministicForces=true."""
        name, chosen = self.resolve_platform(platform, properties)
        if name == "CPU":
            return chosen["Threads"] == "1" and chosen["DeterministicForces"].lower() == "true"
        return name == "Reference"

    def environment(
        self, platform: str | None = None, properties: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Platform, properties and OpenMM's version, for the run record."""
        name, chosen = self.resolve_platform(platform, properties)
        return {
            "openmm": openmm.Platform.getOpenMMVersion(),
            "platform": name,
            "platform_properties": chosen,
        }

    def check_platform(
        self, platform: str | None = None, properties: Mapping[str, str] | None = None
    ) -> None:
        """Raise PlatformError unless a context can be made; cheap only for small systems."""
        name, chosen = self.resolve_platform(platform, properties)
        _platform(name, chosen)

    def summary(self) -> dict[str, str]:
        name, chosen = self.resolve_platform()
        extra = ", ".join(f"{key}={value}" for key, value in sorted(chosen.items()))
        return {
            "platform": f"{name} ({extra})" if extra else name,
            "step": f"{self.step_size:g} ps",
            "periodic": "yes" if self.periodic else "no",
        }


class _Simulation:
    """A live context with the way to seed it."""

    def __init__(
        self, runner: OpenMMRunner, name: str, properties: dict[str, str], positions: np.ndarray
    ) -> None:
        self._runner = runner
        self._system = openmm.XmlSerializer.deserialize(runner.system)
        n_particles = self._system.getNumParticles()
        if positions.shape != (n_particles, 3):
            raise ComponentError(
                component="OpenMMRunner",
                problem=f"positions have shape {positions.shape}, "
                f"but the system has {n_particles} particles",
            )
        self._platform = _platform(name, properties)
        self._properties = properties
        self._limit_threads()
        self._new_context(positions)
        self._steps_a_piece = 0

    def _limit_threads(self) -> None:
        # The CPU platform's PME takes its number of threads from here alone, whatever the
        # property says; the order of its sums, and so the last bits, depend on it (R1).
        if "Threads" in self._properties:
            os.environ["OPENMM_CPU_THREADS"] = self._properties["Threads"]

    def _new_context(self, positions: np.ndarray) -> None:
        self._integrator = openmm.XmlSerializer.deserialize(self._runner.integrator)
        try:
            self._context = openmm.Context(
                self._system, self._integrator, self._platform, self._properties
            )
        except openmm.OpenMMException as problem:
            raise PlatformError(
                platform=self._platform.getName(),
                problem=str(problem).splitlines()[0],
                known=", ".join(known_platforms()),
            ) from None
        self._memoryless = type(self._integrator) in MEMORYLESS_INTEGRATORS
        self._seed: Seeder = choose_seeder(self._context, positions)

    def run(
        self,
        state: Mapping[str, np.ndarray],
        n_steps: int,
        seed: int,
        getstate_keywords: dict[str, Any],
    ) -> dict[str, np.ndarray]:
        self._limit_threads()
        if not self._memoryless:
            # Thermostat chains, adaptive steps and global variables would leak from the
            # walker before; only a new context is known to be free of them.
            self._new_context(np.asarray(state["positions"]))
        context = self._context
        self._seed(seed)
        context.setStepCount(0)
        if "box_vectors" in state:
            context.setPeriodicBoxVectors(*state["box_vectors"])
        if "time" in state:
            context.setTime(float(np.asarray(state["time"]).reshape(-1)[0]))
        context.setPositions(np.asarray(state["positions"]))
        context.setVelocities(np.asarray(state["velocities"]))
        self._step(n_steps)
        return self._fields(getstate_keywords)

    def _step(self, n_steps: int) -> None:
        left = n_steps
        step = self._integrator.step
        while left:
            piece = min(left, self._steps_a_piece or 10)
            begun = time.perf_counter()
            step(piece)
            taken = time.perf_counter() - begun
            left -= piece
            if left or not self._steps_a_piece:
                self._steps_a_piece = max(1, int(piece * _STEP_PIECE_S / max(taken, 1e-6)))

    def _fields(self, extra: dict[str, Any]) -> dict[str, np.ndarray]:
        wanted = self._runner.state_fields
        keywords = {_GETSTATE_KEYWORDS[name]: True for name in wanted if name in _GETSTATE_KEYWORDS}
        if self._runner.enforce_box:
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
        if not np.isfinite(fields["positions"].sum()):
            raise FloatingPointError("positions became NaN or infinite; try a smaller step")
        return fields


def _spread(values: Mapping[str, float], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": np.array(values[name], dtype=np.float64) for name in sorted(values)}


def _as_xml(thing: Any) -> Text:
    if isinstance(thing, str):
        return Text(thing)
    xml = openmm.XmlSerializer.serialize(thing)
    # The version of the writer is no part of what is simulated: with it, the
    # same system would get another hash from every OpenMM release (I1).
    return Text(re.sub(r' openmmVersion="[^"]*"', "", xml, count=1))


def known_platforms() -> list[str]:
    """Names of the platforms this OpenMM can load."""
    return [
        openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())
    ]


_fastest: str | None = None


def fastest_platform() -> str:
    """The fastest platform on which a context can really be made here."""
    global _fastest
    if _fastest is None:
        platforms = [
            openmm.Platform.getPlatform(k) for k in range(openmm.Platform.getNumPlatforms())
        ]
        for platform in sorted(platforms, key=lambda p: -p.getSpeed()):
            system = openmm.System()
            system.addParticle(1.0)
            try:
                openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
            except openmm.OpenMMException:
                continue
            _fastest = platform.getName()
            break
        else:
            raise PlatformError(platform="any", problem="none works", known="none")
    return _fastest


def _platform(name: str, properties: Mapping[str, str]) -> openmm.Platform:
    try:
        platform = openmm.Platform.getPlatformByName(name)
    except openmm.OpenMMException:
        raise PlatformError(
            platform=name, problem="there is no such platform", known=", ".join(known_platforms())
        ) from None
    for key in properties:
        if key not in platform.getPropertyNames():
            raise PlatformError(
                platform=name,
                problem=f"it has no property {key!r} (it has: "
                f"{', '.join(platform.getPropertyNames()) or 'none'})",
                known=", ".join(known_platforms()),
            )
    return platform


def as_walker_state(
    positions: Any,
    box_vectors: Any = None,
    velocities: Any = None,
    time_ps: float = 0.0,
) -> WalkerState:
    """A state from OpenMM quantities or bare arrays in nm and nm/ps.

    Parameters
    ----------
    positions : Quantity or array_like, shape (n_atoms, 3), nm
    box_vectors : Quantity or array_like, shape (3, 3), nm
    velocities : Quantity or array_like, shape (n_atoms, 3), nm/ps; zero if None
    time_ps : float, ps
    """

    def bare(value: Any, in_unit: Any) -> np.ndarray:
        if unit.is_quantity(value):
            value = value.value_in_unit(in_unit)
        return np.array(value, dtype=np.float64)

    fields: dict[str, Any] = {"positions": bare(positions, unit.nanometer)}
    fields["velocities"] = (
        np.zeros_like(fields["positions"])
        if velocities is None
        else bare(velocities, unit.nanometer / unit.picosecond)
    )
    if box_vectors is not None:
        fields["box_vectors"] = bare(box_vectors, unit.nanometer)
    fields["time"] = np.array(time_ps)
    return WalkerState(**fields)


__all__ = ["OpenMMRunner", "Walker", "as_walker_state", "fastest_platform", "known_platforms"]
