"""Give an OpenMM context a known random generator.

OpenMM takes a new seed only in `Context.reinitialize()`, which costs 0.2 ms for
two particles and 20 ms for a box of water. On the Reference platform a seed may
travel with the state instead, in a checkpoint: see `transfer`.

All contexts of the Reference platform in a process share one generator. It makes
normal numbers in pairs, and the second of a pair that nobody asked for yet is
no part of a checkpoint: see `SharedGenerator`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import openmm

#: Integrators that carry nothing from one step to the next but positions,
#: velocities and the generator. Any other gets a new context for each segment.
MEMORYLESS_INTEGRATORS = (
    openmm.BrownianIntegrator,
    openmm.LangevinIntegrator,
    openmm.LangevinMiddleIntegrator,
    openmm.VerletIntegrator,
)

#: Platforms on which a seed can make a segment the same to the bit.
SEEDED_PLATFORMS = ("Reference", "CPU")

#: Those that draw from the one generator that a context of the CPU platform has. OpenMM refuses
#: to give it two seeds; all others bring one of their own there.
_CPU_GENERATOR = (openmm.LangevinIntegrator, openmm.LangevinMiddleIntegrator)


#: Puts a context's generators into the state that a seed stands for.
Seeder = Callable[[int], None]


def nothing_to_seed(seed: int) -> None:
    """For a context that draws no random numbers."""


class ReinitializingSeeder:
    """The documented way, for every platform: set the seeds, reinitialize."""

    def __init__(self, context: openmm.Context) -> None:
        self._context = context
        self._integrators = integrators_with_seeds(context.getIntegrator())
        self._shares = one_of_a_generator(self._integrators, context.getPlatform().getName())
        self._forces = forces_with_seeds(context.getSystem())

    def __call__(self, seed: int) -> None:
        for k, integrator in zip(self._shares, self._integrators, strict=True):
            integrator.setRandomNumberSeed(seed if k == 0 else _derived(seed, -k))
        # A barostat or thermostat draws from a generator of its own.
        for k, force in enumerate(self._forces, start=1):
            force.setRandomNumberSeed(_derived(seed, k))
        self._context.reinitialize()


class OnceSeeder(ReinitializingSeeder):
    """For platforms that give other bits every time anyway: one seed for the life of a context.

    On a GPU `reinitialize` compiles and allocates everything anew, which takes seconds.
    The generator runs on from segment to segment, so clones part all the same, and contexts in
    several workers, each seeded by the first of its walkers, draw different numbers.
    """

    _done = False

    def __call__(self, seed: int) -> None:
        if not self._done:
            super().__call__(seed)
            self._done = True


def _derived(seed: int, k: int) -> int:
    """Another seed in [1, 2**31) for the k-th generator beside the first."""
    return (seed + k * 0x9E3779B1) % (2**31 - 1) + 1


class SharedGenerator:
    """The generator that all contexts of the Reference platform in this process share.

    After an odd number of normal numbers, drawn in whichever context, one is left
    over. `reinitialize` throws it away, but loading a checkpoint with a bare seed does
    not: the next segment would begin with it. A context of one particle takes care of that.
    """

    def __init__(self) -> None:
        system = openmm.System()
        system.addParticle(1.0)
        integrator = openmm.BrownianIntegrator(300.0, 1.0, 0.001)
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(system, integrator, platform)
        self._context.setPositions([[0.0, 0.0, 0.0]])
        # A step draws three. Whether that leaves none and one is for `transfer.prove` to see.
        integrator.step(2)
        load = self._context.loadCheckpoint
        #: Leaves no normal number over.
        self.sweep: Callable[[], None] = functools.partial(load, self._context.createCheckpoint())
        integrator.step(1)
        #: Leaves one over, as any context may do at any time: for trying things out.
        self.litter: Callable[[], None] = functools.partial(load, self._context.createCheckpoint())


@functools.cache
def shared_generator() -> SharedGenerator:
    """The only one in this process."""
    return SharedGenerator()


def integrators_with_seeds(integrator: openmm.Integrator) -> list[Any]:
    """The integrators that draw random numbers: `integrator`, or those in a compound one."""
    parts = [integrator]
    if isinstance(integrator, openmm.CompoundIntegrator):
        parts = [integrator.getIntegrator(k) for k in range(integrator.getNumIntegrators())]
    return [part for part in parts if hasattr(part, "setRandomNumberSeed")]


def one_of_a_generator(integrators: Sequence[Any], platform: str) -> list[int]:
    """For each integrator the number of the one whose seed it takes: its own, as a rule.

    Those of a compound integrator that share the CPU platform's generator take that of the first.
    """
    shares = list(range(len(integrators)))
    if platform == "CPU":
        together = [k for k in shares if type(integrators[k]) in _CPU_GENERATOR]
        for k in together:
            shares[k] = together[0]
    return shares


def allow_one_generator(integrator: openmm.Integrator, platform: str) -> None:
    """Make seeds such that a context can be made at all; which they are does not matter yet."""
    integrators = integrators_with_seeds(integrator)
    for k, part in zip(one_of_a_generator(integrators, platform), integrators, strict=True):
        if part is not integrators[k]:
            part.setRandomNumberSeed(1)
            integrators[k].setRandomNumberSeed(1)


def forces_with_seeds(system: openmm.System) -> list[Any]:
    """The forces of `system` that draw random numbers themselves."""
    return [force for force in system.getForces() if hasattr(force, "setRandomNumberSeed")]


def is_openmms(force: openmm.Force) -> bool:
    """Whether it is a force of OpenMM's own, and none of a plugin's, which may do what it likes."""
    return type(force).__module__ == "openmm.openmm" and type(force) is not openmm.Force


def keeps_to_itself(system: openmm.System) -> bool:
    """Whether no force of `system` has a memory or a generator that a checkpoint may lack.

    A force that a plugin adds (metadynamics, a neural network) may remember what it likes.
    """
    return not forces_with_seeds(system) and all(map(is_openmms, system.getForces()))


def choose_seeder(context: openmm.Context) -> Seeder:
    """How to seed this context."""
    platform = context.getPlatform().getName()
    seeds = integrators_with_seeds(context.getIntegrator())
    if not seeds and not forces_with_seeds(context.getSystem()):
        # On the CPU platform a context remembers all the same: its list of neighbours, made
        # where an earlier walker was, gives the order of sums, and so the last bits (R1).
        return ReinitializingSeeder(context) if platform == "CPU" else nothing_to_seed
    if platform not in SEEDED_PLATFORMS:
        return OnceSeeder(context)
    return ReinitializingSeeder(context)
