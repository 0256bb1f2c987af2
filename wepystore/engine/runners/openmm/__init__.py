"""Molecular dynamics with OpenMM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm

from wepystore.engine import parameters
from wepystore.engine.component import Text
from wepystore.engine.errors import ComponentError, UnfitError, WrongPartError
from wepystore.engine.protocols import Properties, TopologyCapabilities
from wepystore.engine.runners.base import Runner
from wepystore.engine.runners.facts import Facts
from wepystore.engine.runners.openmm.doubts import first_energy, long_bonds
from wepystore.engine.runners.openmm.facts import facts_of
from wepystore.engine.runners.openmm.platforms import (
    device_name,
    fastest_platform,
    load_platform,
    pme_is_on_threads,
)
from wepystore.engine.runners.openmm.seeding import SEEDED_PLATFORMS
from wepystore.engine.runners.openmm.simulation import GETSTATE_KEYWORDS, Simulation
from wepystore.engine.runners.openmm.xml import as_xml, particle_masses, read_xml
from wepystore.engine.runners.states import as_walker_state
from wepystore.engine.topology import n_atoms, topology_json

STATE_FIELDS = ("positions", "velocities", "box_vectors", "time")
#: In a shorter part of its chains' time a Nose-Hoover thermostat is none (docs/components.md).
_LEAST_OF_CHAIN = 0.01
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
        _check_argument("system", system, openmm.System, "an openmm.System")
        _check_argument("integrator", integrator, openmm.Integrator, "an openmm.Integrator")
        topology = _openmm_topology(topology)
        self.system = as_xml(system, "system")
        self.integrator = as_xml(integrator, "integrator")
        self.topology = None
        if topology is not None:
            is_text = isinstance(topology, str)
            self.topology = Text(topology) if is_text else topology_json(topology)
        self.platform = platform
        self.platform_properties = parameters.platform_properties(platform_properties)
        self.state_fields = tuple(state_fields)
        self.enforce_box = enforce_box
        self._live: _Live | None = None
        self._facts: Facts | None = None
        if not (isinstance(system, str) or isinstance(integrator, str)):
            self._facts = facts_of(system, integrator)

    def __getstate__(self) -> dict[str, Any]:
        # Contexts stay in the process that made them.
        return {**self.__dict__, "_live": None}

    def drop_contexts(self) -> None:
        """Forget the live context, which may have come to harm; the next segment makes one."""
        self._live = None

    @property
    def facts(self) -> Facts:
        """What system and integrator say; ComponentError where they cannot be read."""
        if self._facts is None:
            self._facts = facts_of(
                read_xml(self.system, "system"), read_xml(self.integrator, "integrator")
            )
        return self._facts

    def check(self) -> None:
        """Raise UnfitError or ComponentError unless system, topology and integrator fit."""
        n_particles = self.facts.n_particles
        if self.enforce_box and not self.facts.periodic:
            raise UnfitError(
                where="OpenMMRunner",
                problem="enforce_box=True would move molecules by a box, but its system is not "
                "periodic",
                way_out="leave it out",
            )
        if self.topology is not None and (found := n_atoms(self.topology)) != n_particles:
            raise UnfitError(
                where="OpenMMRunner",
                problem=f"its topology has {found} atoms, its system {n_particles} particles",
                way_out="give the topology that the system was made from, or None",
            )

    def check_state(self, state: Mapping[str, Any], where: str) -> None:
        """Raise UnfitError if no segment can begin from `state`."""
        for problem, way_out in self._unfit(state):
            raise UnfitError(where=where, problem=problem, way_out=way_out)

    def _unfit(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What is wrong with a state, and what to do."""
        wanted = (self.facts.n_particles, 3)
        for name in ("positions", "velocities"):
            if name not in state:
                way_out = "as_walker_state(positions, box_vectors, velocities) makes one that fits"
                yield f"it has no {name}", way_out
            shape = np.shape(state[name])
            if shape != wanted:
                yield (
                    f"its {name} have shape {shape}, but the system has {wanted[0]} particles",
                    f"shape {wanted} is needed, of all of them and in the system's order",
                )
            if not np.isfinite(state[name]).all():
                yield f"of its {name} some are NaN or infinite", "look at where they came from"
        if not self.facts.periodic:
            return
        box = state.get("box_vectors", self.facts.default_box)
        if np.shape(box) != (3, 3):
            way_out = "three vectors are needed, shape (3, 3), nm"
            yield f"its box_vectors have shape {np.shape(box)}", way_out
        if self.facts.too_small(box):
            yield (
                f"the box is {np.diagonal(box).min():g} nm wide, less than twice the cutoff of "
                f"the forces, {self.facts.cutoff:g} nm",
                "take a larger box (in nm), or a shorter cutoff",
            )

    def doubts(self, states: Sequence[Mapping[str, Any]]) -> list[str]:
        """Deterministic dynamics, variables that no state holds, positions that are not in nm."""
        facts, found = self.facts, []
        if facts.deterministic:
            found.append(
                f"{facts.integrator} draws no random numbers, nor does a force: clones of a "
                "walker, and walkers that start alike, stay identical for ever; take a stochastic "
                "integrator, such as LangevinMiddleIntegrator"
            )
        if facts.carried:
            found.append(
                f"{facts.integrator}: {', '.join(facts.carried)} begin anew in each segment, for "
                "they are no part of a walker's state (docs/components.md)"
            )
        for state in states[:1]:
            odd = long_bonds(self.topology, state["positions"]) if self.topology else None
            found += [odd] if odd else []
            system = read_xml(self.system, "system")
            found += first_energy(system, state, "parameters" in self.state_fields)
        return found

    @property
    def periodic(self) -> bool:  # type: ignore[override]
        """Whether the system uses periodic boundary conditions."""
        return self.facts.periodic

    @property
    def has_box(self) -> bool:
        """As `periodic`: OpenMM gives every system a box."""
        return self.periodic

    @property
    def masses(self) -> np.ndarray | None:
        """Of the particles, Da, shape (n_particles,); None if the XML tells them otherwise than
        OpenMM writes it."""
        masses = particle_masses(self.system)
        fits = masses is not None and len(masses) == self.facts.n_particles
        return masses if fits else None

    @property
    def step_size(self) -> float:
        """The integrator's step, ps."""
        return self.facts.step_ps

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
        ComponentError : the box would not be kept, its barostat or its thermostat never act.
        """
        facts = self.facts
        if facts.periodic and "box_vectors" not in self.state_fields:
            raise ComponentError(
                component="OpenMMRunner",
                problem="state_fields must hold 'box_vectors', for the system is periodic: "
                "each segment would begin in the system's own box",
            )
        self._check_chains(n_segment_steps)
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

    def _check_chains(self, n_steps: int) -> None:
        """A Nose-Hoover chain starts each segment at rest, and acts in proportion to its length."""
        facts = self.facts
        length = n_steps * facts.step_ps
        if facts.chain_time and 0 < length < _LEAST_OF_CHAIN * facts.chain_time:
            raise ComponentError(
                component="OpenMMRunner",
                problem=f"the chains of {facts.integrator} begin each segment at rest, and in "
                f"{length:g} ps do next to nothing: it would take "
                f"{facts.chain_time**2 / length:.3g} ps until the temperature follows; run longer "
                "segments, or take LangevinMiddleIntegrator",
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
        self, platform: str | None = None, properties: Properties = None
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

    def reproducible(self, platform: str | None = None, properties: Properties = None) -> bool:
        """True on Reference, and on CPU with Threads=1 and DeterministicForces=true."""
        name, chosen = self.resolve_platform(platform, properties)
        if name == "CPU":
            return chosen["Threads"] == "1" and chosen["DeterministicForces"].lower() == "true"
        return name == "Reference"

    def needs_own_process(self, platform: str | None = None, properties: Properties = None) -> bool:
        """Whether this process can no longer give the bits that `reproducible` promises."""
        name, _ = self.resolve_platform(platform, properties)
        promised = name == "CPU" and self.reproducible(platform, properties)
        return promised and pme_is_on_threads(read_xml(self.system, "system"))

    def environment(
        self, platform: str | None = None, properties: Properties = None
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

    def check_platform(self, platform: str | None = None, properties: Properties = None) -> None:
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
class _Live:
    """A simulation, the platform and properties it was asked for with, and those it got."""

    asked: tuple[str | None, Mapping[str, str] | None]
    chosen: tuple[str, dict[str, str]]
    simulation: Simulation


_ORDER = "the order is OpenMMRunner(system, topology, integrator)"


def _check_argument(name: str, value: Any, wanted: type, words: str) -> None:
    """Types only: a text is looked at by `check`, so that whatever is kept can be read."""
    if isinstance(value, (str, wanted)):
        return
    is_class = isinstance(value, type)
    way_out = f"make one of it: {value.__name__}(...)" if is_class else _ORDER
    raise _wrong(name, f"{words}, or its XML", value, way_out)


def _wrong(name: str, wanted: str, value: Any, way_out: str) -> WrongPartError:
    is_class = isinstance(value, type)
    got = f"the class {value.__name__}" if is_class else f"a {type(value).__name__}"
    part = f"the {name} of an OpenMMRunner"
    return WrongPartError(part=part, wanted=wanted, got=got, way_out=way_out)


def _openmm_topology(topology: Any) -> Any:
    """None, a text or an OpenMM topology as it is; one of mdtraj's as OpenMM's."""
    if topology is None or isinstance(topology, str):
        return topology
    # It takes longer to import than all of OpenMM's rest, and workers need none of it.
    from openmm import app

    if isinstance(topology, app.Topology):
        return topology
    way_out = _ORDER
    if not isinstance(topology, type):
        has = TopologyCapabilities(topology)
        converted = has.to_openmm()
        if isinstance(converted, app.Topology):
            return converted
        way_out = _ORDER if has.topology is None else "give its .topology"
    wanted = "an openmm.app.Topology, one of mdtraj's, its JSON, or None"
    raise _wrong("topology", wanted, topology, way_out)


__all__ = ["OpenMMRunner", "as_walker_state"]
