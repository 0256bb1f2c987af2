"""Give an OpenMM context a fresh, known random generator, as cheaply as its platform allows.

OpenMM takes a new seed only in `Context.reinitialize()`, which costs 0.2 ms for
two particles and 20 ms for a box of water. On the Reference platform the same
effect is to be had in a microsecond: a checkpoint taken before the first random
number holds the bare seed, so a context that loads such a checkpoint with other
seed bytes starts its generator from that seed. Where in the checkpoint the seed
lies is not documented; it is found by comparing two checkpoints, and nothing is
used that has not been seen, in this process and for this very system, to give
the bits that `reinitialize` gives.
"""

from __future__ import annotations

import random
from typing import Any, Protocol

import numpy as np
import openmm

#: Integrators that carry nothing from one step to the next but positions,
#: velocities and the generator. Any other gets a new context for each segment.
MEMORYLESS_INTEGRATORS = (
    openmm.BrownianIntegrator,
    openmm.LangevinIntegrator,
    openmm.LangevinMiddleIntegrator,
    openmm.VerletIntegrator,
)

_PROBE_SEEDS = (0x01020304, 0x51626374)
_PROBE_STEPS = 5


class Seeder(Protocol):
    """Puts a context's generators into the state that `seed` stands for."""

    def __call__(self, seed: int) -> None: ...


class ReinitializingSeeder:
    """The documented way, for every platform: set the seeds, reinitialize."""

    def __init__(self, context: openmm.Context) -> None:
        self._context = context
        self._integrators = integrators_with_seeds(context.getIntegrator())
        self._forces = forces_with_seeds(context.getSystem())

    def __call__(self, seed: int) -> None:
        for k, integrator in enumerate(self._integrators):
            integrator.setRandomNumberSeed(seed if k == 0 else _derived(seed, -k))
        # A barostat or thermostat draws from a generator of its own.
        for k, force in enumerate(self._forces, start=1):
            force.setRandomNumberSeed(_derived(seed, k))
        self._context.reinitialize()


def _derived(seed: int, k: int) -> int:
    """Another seed in [1, 2**31) for the k-th generator beside the first."""
    return (seed + k * 0x9E3779B1) % (2**31 - 1) + 1


class NothingToSeed:
    """For a context that draws no random numbers."""

    def __call__(self, seed: int) -> None:
        pass


class CheckpointSeeder:
    """The fast way on the Reference platform: load a checkpoint with other seed bytes."""

    def __init__(self, context: openmm.Context, checkpoint: bytes, offset: int) -> None:
        self._context = context
        self._head = checkpoint[:offset]
        self._tail = checkpoint[offset + 4 :]

    def __call__(self, seed: int) -> None:
        self._context.loadCheckpoint(self._head + seed.to_bytes(4, "little") + self._tail)


def integrators_with_seeds(integrator: openmm.Integrator) -> list[Any]:
    """The integrators that draw random numbers: `integrator`, or those in a compound one."""
    parts = [integrator]
    if isinstance(integrator, openmm.CompoundIntegrator):
        parts = [integrator.getIntegrator(k) for k in range(integrator.getNumIntegrators())]
    return [part for part in parts if hasattr(part, "setRandomNumberSeed")]


def forces_with_seeds(system: openmm.System) -> list[Any]:
    """The forces of `system` that draw random numbers themselves."""
    return [force for force in system.getForces() if hasattr(force, "setRandomNumberSeed")]


def choose_seeder(context: openmm.Context, positions: np.ndarray) -> Seeder:
    """The fastest seeder that provably equals `reinitialize` for this context.

    Parameters
    ----------
    context : openmm.Context
        Its state is lost.
    positions : ndarray, shape (n_particles, 3), nm
        A physically sensible conformation to try a few steps from.
    """
    integrator = context.getIntegrator()
    forces = forces_with_seeds(context.getSystem())
    if not integrators_with_seeds(integrator) and not forces:
        return NothingToSeed()
    slow = ReinitializingSeeder(context)
    if context.getPlatform().getName() != "Reference" or forces:
        return slow
    if type(integrator) not in MEMORYLESS_INTEGRATORS:
        # Trying it out would leave traces in what such an integrator remembers.
        return slow
    first, second = (_seeded_checkpoint(context, slow, seed) for seed in _PROBE_SEEDS)
    offset = first.find(_PROBE_SEEDS[0].to_bytes(4, "little"))
    if offset < 0:
        return slow
    fast = CheckpointSeeder(context, first, offset)
    spliced = first[:offset] + _PROBE_SEEDS[1].to_bytes(4, "little") + first[offset + 4 :]
    if spliced != second:
        return slow
    for seed in (7, random.Random(len(positions)).randrange(1, 2**31)):
        if not np.array_equal(
            _trial(context, slow, seed, positions), _trial(context, fast, seed, positions)
        ):
            return slow
    return fast


def _seeded_checkpoint(context: openmm.Context, seeder: Seeder, seed: int) -> bytes:
    seeder(seed)
    checkpoint: bytes = context.createCheckpoint()
    return checkpoint


def _trial(context: openmm.Context, seeder: Seeder, seed: int, positions: np.ndarray) -> np.ndarray:
    # Velocities of zero let the thermostat's first kicks show at once.
    seeder(seed)
    context.setPositions(positions)
    context.setVelocities(np.zeros_like(positions))
    context.getIntegrator().step(_PROBE_STEPS)
    state = context.getState(positions=True, velocities=True)
    return np.concatenate(
        [state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value]
    )
