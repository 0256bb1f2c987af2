"""Seeding a context: everything in it that draws, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from tests.systems import bits, langevin, pair_state, pair_system, salt_system
from wepystore.api import OpenMMRunner, Walker
from wepystore.engine.runners.openmm.seeding import (
    OnceSeeder,
    ReinitializingSeeder,
    choose_seeder,
    integrators_with_seeds,
    keeps_to_itself,
    nothing_to_seed,
    one_of_a_generator,
)


def context_of(
    integrator: openmm.Integrator, system: openmm.System | None = None, platform: str = "Reference"
) -> openmm.Context:
    return openmm.Context(
        system or pair_system(), integrator, openmm.Platform.getPlatformByName(platform)
    )


def trajectory(context: openmm.Context, seeder: Any, seed: int, n_steps: int = 40) -> bytes:
    state = pair_state()
    seeder(seed)
    context.setPositions(state["positions"])
    context.setVelocities(state["velocities"])
    context.getIntegrator().step(n_steps)
    found = context.getState(positions=True, velocities=True)
    return bytes(
        found.getPositions(asNumpy=True)._value.tobytes()
        + found.getVelocities(asNumpy=True)._value.tobytes()
    )


def test_different_seeds_give_different_noise() -> None:
    """A seeder that seeds nothing would pass every test of equality."""
    context = context_of(langevin())
    seeder = choose_seeder(context)
    assert len({trajectory(context, seeder, seed) for seed in range(1, 30)}) == 29


def test_on_the_cpu_platform_each_segment_is_seeded_anew() -> None:
    """There is no other way: a checkpoint's layout is anybody's guess there."""
    context = context_of(langevin(), platform="CPU")
    assert isinstance(choose_seeder(context), ReinitializingSeeder)


def test_where_bits_cannot_be_the_same_a_context_is_seeded_once() -> None:
    """Re-seeding a GPU's context takes seconds: its generator runs on, from a seed it was given.
    Shown on the CPU platform, whose contexts are re-seeded otherwise."""
    context = context_of(langevin(), platform="CPU")
    seeder = OnceSeeder(context)
    first, second = trajectory(context, seeder, 5), trajectory(context, seeder, 5)
    assert first != second
    other = context_of(langevin(), platform="CPU")
    once = OnceSeeder(other)
    assert [trajectory(other, once, seed) for seed in (5, 6)] == [first, second]
    third = context_of(langevin(), platform="CPU")
    assert trajectory(third, OnceSeeder(third), 6) not in (first, second)


class OfAPlugin(openmm.CustomExternalForce):
    """A force that is not OpenMM's own."""


class SystemWithPlugin:
    """As much of a System as is asked for its forces."""

    def getForces(self) -> list[openmm.Force]:  # OpenMM's name.
        return [openmm.NonbondedForce(), OfAPlugin("x^2")]


def test_a_plugin_s_force_may_remember_anything() -> None:
    """Metadynamics, say: what a checkpoint lacks of it, only reinitialising resets."""
    assert keeps_to_itself(pair_system())
    assert not keeps_to_itself(SystemWithPlugin())  # type: ignore[arg-type]


def test_forces_that_draw_are_seeded_too() -> None:
    """A barostat has a generator of its own, which the checkpoint of the fast way lacks."""
    system, _ = salt_system(n_side=2, spacing=1.0)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 1))
    context = context_of(langevin(), system)
    assert isinstance(choose_seeder(context), ReinitializingSeeder)


def test_what_draws_nothing_is_left_alone() -> None:
    """Verlet has no generator to seed; on the CPU platform it has a list of neighbours."""
    context = context_of(openmm.VerletIntegrator(0.001))
    assert choose_seeder(context) is nothing_to_seed
    context = context_of(openmm.VerletIntegrator(0.001), platform="CPU")
    assert isinstance(choose_seeder(context), ReinitializingSeeder)


def test_what_remembers_is_not_tried_out() -> None:
    """Probing would change the step size that a variable integrator remembers."""
    context = context_of(openmm.VariableLangevinIntegrator(300, 1, 1e-4))
    assert isinstance(choose_seeder(context), ReinitializingSeeder)
    assert context.getIntegrator().getStepSize()._value == 0.0


def test_integrators_inside_a_compound_one_are_found() -> None:
    """Left alone they would take a random seed: the run would be another one every time."""
    compound = openmm.CompoundIntegrator()
    for part in (langevin(), openmm.VerletIntegrator(0.001), langevin()):
        compound.addIntegrator(part)
    assert len(integrators_with_seeds(compound)) == 2
    seeder = ReinitializingSeeder(context_of(compound))
    seeder(5)
    seeds = [part.getRandomNumberSeed() for part in integrators_with_seeds(compound)]
    assert seeds[0] == 5
    assert len(set(seeds)) == 2
    assert np.all(np.array(seeds) > 0)


def compound(*parts: openmm.Integrator) -> openmm.CompoundIntegrator:
    made = openmm.CompoundIntegrator()
    for part in parts:
        made.addIntegrator(part)
    return made


def brownian() -> openmm.BrownianIntegrator:
    return openmm.BrownianIntegrator(300.0, 1.0, 0.001)


@pytest.mark.parametrize("platform", ["CPU", "Reference"])
def test_two_stochastic_integrators_run_in_one(platform: str) -> None:
    """R1: on the CPU platform they share a generator, which takes one seed; segments repeat."""
    integrator = compound(langevin(), openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.002))
    runner = OpenMMRunner(pair_system(), None, integrator, platform=platform)
    here, there = Walker(pair_state(), 0.5), Walker(pair_state(0.4), 0.5)
    first = [bits([runner.run_segment(w, 20, seed=s)]) for s in (5, 6) for w in (here, there)]
    assert len(set(first)) == 4
    other = OpenMMRunner(pair_system(), None, integrator, platform=platform)
    again = [bits([other.run_segment(w, 20, seed=s)]) for s in (6, 5) for w in (there, here)]
    assert again[::-1] == first


def test_a_thermostat_of_a_force_keeps_its_own_seed_beside_them() -> None:
    """Andersen's and a barostat's generators are their own on the CPU platform, too."""
    system, state = salt_system(n_side=3)
    system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 5))
    runner = OpenMMRunner(system, None, compound(langevin(), langevin()), platform="CPU")
    walker = Walker(state, 1.0)
    assert bits([runner.run_segment(walker, 20, seed=5)]) == bits(
        [runner.run_segment(walker, 20, seed=5)]
    )


def test_only_integrators_that_share_a_generator_share_a_seed() -> None:
    """What ran before draws the numbers that it always drew: other integrators keep other seeds."""
    parts = (brownian(), langevin(), brownian(), langevin())
    for platform, n_seeds in (("Reference", 4), ("CPU", 3)):
        assert len(set(one_of_a_generator(parts, platform))) == n_seeds
    made = compound(*(brownian(), langevin()))
    seeder = ReinitializingSeeder(context_of(made, platform="CPU"))
    seeder(5)
    seeds = [part.getRandomNumberSeed() for part in integrators_with_seeds(made)]
    assert seeds == [5, (5 - 0x9E3779B1) % (2**31 - 1) + 1]
