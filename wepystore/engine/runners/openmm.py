"""Molecular dynamics with OpenMM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from openmm import unit

from wepystore.engine import parameters
from wepystore.engine.component import Text
from wepystore.engine.errors import ComponentError
from wepystore.engine.runners.base import Runner
from wepystore.engine.runners.platforms import (
    device_name,
    fastest_platform,
    known_platforms,
    load_platform,
)
from wepystore.engine.runners.seeding import SEEDED_PLATFORMS, forces_with_seeds
from wepystore.engine.runners.simulation import GETSTATE_KEYWORDS, Simulation
from wepystore.engine.runners.xml import check_xml, read_xml
from wepystore.engine.topology import topology_json
from wepystore.engine.walker import Walker, WalkerState

STATE_FIELDS = ("positions", "velocities", "box_vectors", "time")
KNOWN_STATE_FIELDS = (*STATE_FIELDS, "box_volume", *list(GETSTATE_KEYWORDS)[2:])


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
        self.system = _as_xml(system, "system")
        self.integrator = _as_xml(integrator, "integrator")
        self.topology = (
            None
            if topology is None
            else Text(topology)
            if isinstance(topology, str)
            else topology_json(topology)
        )
        self.platform = platform
        self.platform_properties = parameters.platform_properties(platform_properties)
        self.state_fields = tuple(state_fields)
        self.enforce_box = enforce_box
        self._live: _Live | None = None
        self._facts: _Facts | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Contexts stay in the process that made them.
        return {**self.__dict__, "_live": None}

    def drop_contexts(self) -> None:
        """Forget the live context, which may have come to harm; the next segment makes one."""
        self._live = None

    def _system_facts(self) -> _Facts:
        if self._facts is None:
            system = read_xml(self.system, "system")
            integrator = read_xml(self.integrator, "integrator")
            barostats = [f for f in forces_with_seeds(system) if hasattr(f, "getFrequency")]
            self._facts = _Facts(
                periodic=system.usesPeriodicBoundaryConditions(),
                step_ps=integrator.getStepSize().value_in_unit(unit.picosecond),
                barostat_steps=max((force.getFrequency() for force in barostats), default=0),
            )
        return self._facts

    @property
    def periodic(self) -> bool:  # type: ignore[override]
        """Whether the system uses periodic boundary conditions."""
        return self._system_facts().periodic

    @property
    def step_size(self) -> float:
        """The integrator's step, ps."""
        return self._system_facts().step_ps

    def pre_cycle(
        self,
        *,
        n_segment_steps: int = 0,
        platform: str | None = None,
        platform_kwargs: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Refuse segments that would not be what the system says.

        Raises
        ------
        ComponentError : the box would not be kept, or its barostat never act.
        """
        facts = self._system_facts()
        if facts.periodic and "box_vectors" not in self.state_fields:
            raise ComponentError(
                component="OpenMMRunner",
                problem="state_fields must hold 'box_vectors', for the system is periodic: "
                "each segment would begin in the system's own box",
            )
        # A context that is reinitialised counts the steps to the next move anew.
        if 0 < n_segment_steps < facts.barostat_steps:
            name, _ = self.resolve_platform(platform, platform_kwargs)
            if name in SEEDED_PLATFORMS:
                raise ComponentError(
                    component="OpenMMRunner",
                    problem=f"its barostat acts every {facts.barostat_steps} steps of a segment, "
                    f"and a segment has {n_segment_steps}: the box would never change; run longer "
                    "segments, or give the barostat a smaller frequency",
                )

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
        state = walker.state
        simulation = self._simulation(platform, platform_kwargs, state)
        after = simulation.run(state, segment_length, seed, getState_kwargs)
        return type(walker)(after, walker.weight)

    def _simulation(
        self,
        platform: str | None,
        properties: Mapping[str, str] | None,
        state: Mapping[str, Any],
    ) -> Simulation:
        live = self._live
        asked = (platform, properties)
        if live is not None and live.asked == asked:
            return live.simulation
        chosen = self.resolve_platform(platform, properties)
        if live is None or live.chosen != chosen:
            # One at a time: a second context on a GPU would double the memory for nothing.
            self._live = live = None
            simulation = Simulation(
                self.system, self.integrator, *chosen, self.state_fields, self.enforce_box, state
            )
        else:
            simulation = live.simulation
        kept = None if properties is None else dict(properties)
        self._live = _Live((platform, kept), chosen, simulation)
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
        """Platform, properties, device if it has one, and OpenMM's version, for the run record."""
        name, chosen = self.resolve_platform(platform, properties)
        facts: dict[str, Any] = {
            "openmm": openmm.Platform.getOpenMMVersion(),
            "platform": name,
            "platform_properties": chosen,
        }
        device = device_name(name, chosen)
        return facts if device is None else {**facts, "device": device}

    def check_platform(
        self, platform: str | None = None, properties: Mapping[str, str] | None = None
    ) -> None:
        """Raise PlatformError unless a context can be made; cheap only for small systems."""
        name, chosen = self.resolve_platform(platform, properties)
        load_platform(name, chosen)

    def summary(self) -> dict[str, str]:
        name, chosen = self.resolve_platform()
        extra = ", ".join(f"{key}={value}" for key, value in sorted(chosen.items()))
        return {
            "platform": f"{name} ({extra})" if extra else name,
            "step": f"{self.step_size:g} ps",
            "periodic": "yes" if self.periodic else "no",
        }


@dataclass(frozen=True)
class _Facts:
    """What the XML of system and integrator says.

    `barostat_steps` lie between two moves of the slowest barostat; 0 if there is none.
    """

    periodic: bool
    step_ps: float
    barostat_steps: int


@dataclass(frozen=True)
class _Live:
    """A simulation, the platform and properties it was asked for with, and those it got."""

    asked: tuple[str | None, Mapping[str, str] | None]
    chosen: tuple[str, dict[str, str]]
    simulation: Simulation


def _as_xml(thing: Any, what: str) -> Text:
    if isinstance(thing, str):
        check_xml(thing, what)
        return Text(thing)
    xml = openmm.XmlSerializer.serialize(thing)
    # The version of the writer is no part of what is simulated: with it, the
    # same system would get another hash from every OpenMM release (I1).
    return Text(re.sub(r' openmmVersion="[^"]*"', "", xml, count=1))


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
