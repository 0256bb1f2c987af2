"""Runners of wepy 1.x under this package's manager, mappers and seeds."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from wepystore.compat.wepy.classes import is_derived, is_known_release, is_wepy, wepy_class
from wepystore.compat.wepy.repairs import installed
from wepystore.compat.wepy.walkers import openmm_state
from wepystore.engine.adapt import native_walkers, seeded_globals
from wepystore.engine.component import Text
from wepystore.engine.errors import UnfitError
from wepystore.engine.protocols import Capabilities, Properties
from wepystore.engine.runners.base import AdaptedRunner

_PARAMETERS = "parameters/"


class NotedByRunner(Capabilities):
    """What a runner of wepy's has in attributes, if it has it."""

    topology: Any = None
    system: Any = None
    platform_name: str | None = None
    platform_kwargs: Mapping[str, Any] | None = None
    _last_cycle_segments_split_times: Any = None


class WepyRunner(AdaptedRunner):
    """Lets a runner of wepy's propagate this package's walkers.

    It gives wepy's runner wepy's walkers, draws all of its random numbers from
    the segment's seed, OpenMM's included, and turns what comes back into a
    `Walker`. It works on a copy: wepy's runner notes wall-clock times in itself,
    and a snapshot is to hold none.

    Parameters
    ----------
    original : object of a class of wepy's
    """

    # Whether the box means anything is for wepy's own components to know.
    periodic = True

    def __init__(self, original: Any) -> None:
        self.original = copy.copy(original)
        self._carrier: _Carrier | None = None
        self._topology: Text | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Contexts stay in the process that made them.
        return {**self.__dict__, "_carrier": None}

    @property
    def _has_openmm(self) -> bool:
        return is_derived(type(self.original), "wepy.runners.openmm.OpenMMRunner")

    @property
    def topology(self) -> Text | None:  # type: ignore[override]
        """Topology JSON (engine.topology), or None where there are no atoms."""
        if self._topology is None:
            self._topology = topology_text(NotedByRunner(self.original).topology)
        return self._topology

    @property
    def has_box(self) -> bool:
        """Whether the system is periodic, where there is one: OpenMM gives all of them a box."""
        if not self._has_openmm:
            return True
        periodic: bool = self.original.system.usesPeriodicBoundaryConditions()
        return periodic

    @property
    def step_size(self) -> float | None:
        """The integrator's step, ps, if there is one."""
        if not self._has_openmm:
            return None
        step: float = self.original.integrator.getStepSize()._value
        return step

    @property
    def split_times(self) -> Any:
        """What wepy's OpenMM runner notes; of any other there is nothing."""
        return NotedByRunner(self.original)._last_cycle_segments_split_times

    def check_state(self, state: Mapping[str, Any], where: str) -> None:
        """Raise UnfitError unless there is a position for each particle of the system."""
        count = getattr(NotedByRunner(self.original).system, "getNumParticles", None)
        found = np.shape(state["positions"])
        if callable(count) and found != (n := count(), 3):
            raise UnfitError(
                where=where,
                problem=f"its positions have shape {found}, but the system has {n} particles",
                way_out=f"shape {(n, 3)} is needed",
            )

    def pre_cycle(self, **kwargs: Any) -> None:
        self.original.pre_cycle(**kwargs)

    def post_cycle(self, **kwargs: Any) -> None:
        self.original.post_cycle(**kwargs)

    def run_segment(
        self, walker: Any, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Any:
        """Propagate `walker`; without a seed the random numbers are the process's own.

        Raises FloatingPointError where positions became NaN, which wepy passes on.
        """
        given = self._theirs(walker)
        if self._has_openmm:
            name, chosen = self.resolve_platform(
                kwargs.get("platform"), kwargs.get("platform_kwargs")
            )
            if name is not None:
                kwargs.update(platform=name, platform_kwargs=chosen)
            if name == "CPU":
                # What PME looks at instead of the property; it does so once a process.
                os.environ["OPENMM_CPU_THREADS"] = chosen["Threads"]
        if seed is None:
            done = self.original.run_segment(given, segment_length, **kwargs)
        else:
            with seeded_globals(np.random.default_rng(seed)), self._openmm_seeded(seed):
                done = self.original.run_segment(given, segment_length, **kwargs)
        (native,) = native_walkers([done])
        positions = native.state.get("positions")
        if positions is not None and not np.isfinite(positions.sum()):
            raise FloatingPointError("positions became NaN or infinite; try a smaller step")
        return native

    def _theirs(self, walker: Any) -> Any:
        """A walker of wepy's with the same bits, which its runner may write to."""
        if is_wepy(walker.state):
            return walker
        fields = {name: np.array(value) for name, value in walker.state.dict().items()}
        if not self._has_openmm:
            theirs = import_module("wepy.walker")
            return theirs.Walker(theirs.WalkerState(**fields), walker.weight)
        if self._carrier is None:
            self._carrier = _Carrier(self.original.system.getNumParticles(), fields)
        state = openmm_state(self._carrier.state(fields), fields)
        return import_module("wepy.runners.openmm").OpenMMWalker(state, walker.weight)

    @contextmanager
    def _openmm_seeded(self, seed: int) -> Iterator[None]:
        """Within the block, the contexts that wepy's runner makes draw from `seed`.

        It sets the integrator's seed to 0 ("choose one yourself") on a copy, each segment.
        """
        if not self._has_openmm:
            yield
            return
        from wepystore.engine.runners.openmm.seeding import forces_with_seeds

        runner = self.original
        integrator = runner.integrator
        # The system is the snapshot's own: it must come out as it went in.
        forces = forces_with_seeds(runner.system)
        before = [force.getRandomNumberSeed() for force in forces]
        others = np.random.default_rng([seed, 1]).integers(1, 2**31 - 1, size=len(forces))
        for force, number in zip(forces, others.tolist(), strict=True):
            force.setRandomNumberSeed(number)
        runner.integrator = _SeededIntegrator(integrator, seed)
        try:
            yield
        finally:
            runner.integrator = integrator
            for force, number in zip(forces, before, strict=True):
                force.setRandomNumberSeed(number)

    def resolve_platform(
        self, platform: str | None = None, properties: Properties = None
    ) -> tuple[str | None, dict[str, str]]:
        """The platform and properties a segment runs with; None where the machine decides.

        As with wepy the properties are those of whoever names the platform. On the CPU platform,
        one thread and a fixed order of sums unless they say otherwise: only so it repeats (R1).
        """
        noted = NotedByRunner(self.original)
        own = noted.platform_name
        name = platform or own
        if platform is None or (properties is None and name == own):
            properties = noted.platform_kwargs
        chosen = {key: str(value) for key, value in (properties or {}).items()}
        if name == "CPU":
            chosen.setdefault("Threads", "1")
            chosen.setdefault("DeterministicForces", "true")
        return name, chosen

    def reproducible(self, platform: str | None = None, properties: Properties = None) -> bool:
        """Whether equal seeds give equal bits.

        True for the runners of wepy 1.2 as they are: the random walk, and OpenMM's on
        the Reference platform, or on CPU with Threads=1 and DeterministicForces=true.
        Of a user's subclass it cannot be known.
        """
        known = wepy_class(type(self.original))
        if not is_known_release():
            return False
        if known == "wepy.runners.randomwalk.RandomWalkRunner":
            return True
        if known != "wepy.runners.openmm.OpenMMRunner":
            return False
        name, chosen = self.resolve_platform(platform, properties)
        if name == "CPU":
            return chosen["Threads"] == "1" and chosen["DeterministicForces"].lower() == "true"
        return name == "Reference"

    def needs_own_process(self, platform: str | None = None, properties: Properties = None) -> bool:
        """Whether this process can no longer give the bits that `reproducible` promises."""
        name, _ = self.resolve_platform(platform, properties)
        if name != "CPU" or not self.reproducible(platform, properties):
            return False
        from wepystore.engine.runners.openmm.platforms import pme_is_on_threads

        return pme_is_on_threads(self.original.system)

    def check_platform(self, platform: str | None = None, properties: Properties = None) -> None:
        """Raise PlatformError unless OpenMM has the platform."""
        name, _ = self.resolve_platform(platform)
        if self._has_openmm and name is not None:
            from wepystore.engine.runners.openmm.platforms import load_platform

            # Properties it has not are only warned of by wepy.
            load_platform(name, {})

    def environment(
        self, platform: str | None = None, properties: Properties = None
    ) -> dict[str, Any]:
        """wepy's version; with OpenMM its version, platform and properties."""
        facts: dict[str, Any] = {"wepy": _version()}
        if self._has_openmm:
            import openmm

            name, chosen = self.resolve_platform(platform, properties)
            facts["openmm"] = openmm.Platform.getOpenMMVersion()
            facts["platform"] = name
            facts["platform_properties"] = chosen
        return facts

    def summary(self) -> dict[str, str]:
        facts = {"runner": f"{type(self.original).__name__} of wepy {_version()}"}
        if self._has_openmm:
            facts["platform"] = str(self.resolve_platform()[0])
            facts["step"] = f"{self.step_size:g} ps"
        return facts


class _SeededIntegrator:
    """Stands in for an integrator: its copies keep the seed they were given here."""

    def __init__(self, integrator: Any, seed: int) -> None:
        self._integrator = integrator
        self._seed = seed

    def __copy__(self) -> Any:
        made = copy.copy(self._integrator)
        if hasattr(made, "setRandomNumberSeed"):
            made.setRandomNumberSeed(self._seed)
            made.setRandomNumberSeed = lambda seed: None
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._integrator, name)


class _Carrier:
    """Makes openmm.State objects out of arrays, to the bit.

    A state comes only out of a context. This one has as many particles as the
    system and no forces but one without energy that holds the global parameters.

    Parameters
    ----------
    n_particles : int
    fields : mapping
        Of a state: its fields "parameters/NAME" say which parameters there are.
    """

    def __init__(self, n_particles: int, fields: Mapping[str, Any]) -> None:
        import openmm

        system = openmm.System()
        for _ in range(n_particles):
            system.addParticle(1.0)
        self._names = [name for name in fields if name.startswith(_PARAMETERS)]
        if self._names:
            force = openmm.CustomExternalForce("0")
            for name in self._names:
                force.addGlobalParameter(name.removeprefix(_PARAMETERS), 0.0)
            system.addForce(force)
        self._integrator = openmm.VerletIntegrator(0.001)
        # In double precision, whatever the runner's own platform is.
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(system, self._integrator, platform)

    def state(self, fields: Mapping[str, np.ndarray]) -> Any:
        """An openmm.State with the positions, velocities, box, time and parameters of `fields`."""
        context = self._context
        if "box_vectors" in fields:
            context.setPeriodicBoxVectors(*fields["box_vectors"])
        if "time" in fields:
            context.setTime(float(fields["time"].reshape(-1)[0]))
        context.setPositions(fields["positions"])
        velocities = fields.get("velocities")
        has_velocities = velocities is not None
        if has_velocities:
            context.setVelocities(velocities)
        for name in self._names:
            context.setParameter(name.removeprefix(_PARAMETERS), float(fields[name]))
        return context.getState(
            positions=True, velocities=has_velocities, parameters=bool(self._names)
        )


def topology_text(topology: Any) -> Text | None:
    """Topology JSON of what a wepy component calls its topology: OpenMM's, mdtraj's, or JSON."""
    if topology is None:
        return None
    if isinstance(topology, str):
        return Text(topology)
    if hasattr(topology, "to_openmm"):
        topology = topology.to_openmm()
    from wepystore.engine.topology import topology_json

    return topology_json(topology)


def _version() -> str:
    return installed("wepy") or "1.x"


__all__: Sequence[str] = ["WepyRunner", "topology_text"]
