"""Transfer by checkpoints: to the bit what OpenMM's documented calls do (R1)."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from tests.systems import bits, langevin, pair_runner, pair_state, pair_system, salt_system
from wepystore.api import OpenMMRunner, Walker, WalkerState, as_walker_state
from wepystore.engine.errors import ComponentError
from wepystore.engine.mappers.pack import pack_answers, unpack_answers
from wepystore.engine.mappers.segment import Done
from wepystore.engine.runners.openmm import simulation
from wepystore.engine.runners.openmm.seeding import (
    ReinitializingSeeder,
    choose_seeder,
)
from wepystore.engine.runners.openmm.transfer import (
    CheckpointState,
    CheckpointTransfer,
    DocumentedTransfer,
    choose_transfer,
)

Made = tuple[openmm.System, WalkerState]


def take_the_documented_way(monkeypatch: pytest.MonkeyPatch, seeder: Callable[..., Any]) -> None:
    """From now on no state goes in and out by checkpoints."""
    monkeypatch.setattr(
        simulation,
        "choose_transfer",
        lambda context, state: DocumentedTransfer(context, seeder(context)),
    )


def on_reference(system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


def pair() -> Made:
    """Two particles without a box."""
    return pair_system(), pair_state()


def salt() -> Made:
    """PME, with a triclinic box and the motion of the centre of mass removed every 3 steps."""
    system, state = salt_system(n_side=3, spacing=0.5)
    system.addForce(openmm.CMMotionRemover(3))
    box = np.array([[1.5, 0, 0], [0.1, 1.5, 0], [-0.1, 0.2, 1.5]])
    system.setDefaultPeriodicBoxVectors(*box)
    return system, WalkerState(**{**state.dict(), "box_vectors": box})


@functools.cache
def water(model: str) -> Made:
    """A few rigid waters around each other; TIP4P-Ew has virtual sites."""
    topology = app.Topology()
    modeller = app.Modeller(topology, [])
    field = app.ForceField(f"amber14/{model}.xml")
    modeller.addSolvent(
        field,
        model="tip4pew" if model.startswith("tip4p") else "tip3p",
        boxSize=openmm.Vec3(1.4, 1.4, 1.4) * openmm.unit.nanometer,
    )
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.6 * openmm.unit.nanometer,
        rigidWater=True,
    )
    context = on_reference(system, openmm.VerletIntegrator(0.001))
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=10)
    found = context.getState(positions=True)
    return system, as_walker_state(
        found.getPositions(asNumpy=True), found.getPeriodicBoxVectors(asNumpy=True)
    )


def pulled() -> Made:
    """Three particles: a constraint, a massless one, and a force with a global parameter."""
    system = openmm.System()
    for mass in (10.0, 12.0, 0.0):
        system.addParticle(mass)
    system.addConstraint(0, 1, 0.1)
    force = openmm.CustomBondForce("0.5*k*(r-0.2)^2")
    force.addGlobalParameter("k", 300.0)
    force.addBond(1, 2)
    system.addForce(force)
    return system, as_walker_state([[0, 0, 0], [0.1, 0, 0], [0.25, 0.1, 0]])


SYSTEMS: dict[str, Callable[[], Made]] = {
    "pair": pair,
    "salt": salt,
    "tip3p": lambda: water("tip3p"),
    "tip4p": lambda: water("tip4pew"),
    "pulled": pulled,
}
INTEGRATORS: dict[str, Callable[[], openmm.Integrator]] = {
    "Langevin": langevin,
    "LangevinMiddle": lambda: openmm.LangevinMiddleIntegrator(300, 1, 0.002),
    "Brownian": lambda: openmm.BrownianIntegrator(300, 10, 0.0002),
    "Verlet": lambda: openmm.VerletIntegrator(0.001),
}


def moved(state: WalkerState, number: int) -> WalkerState:
    """The state with other velocities, another time, another place and a box a little larger."""
    rng = np.random.default_rng(number)
    fields = dict(state)
    fields["velocities"] = rng.normal(0, 0.1, state["positions"].shape)
    fields["positions"] = state["positions"] + 0.1 * number
    fields["time"] = np.array(3.5 * number)
    if number == 2 and "box_vectors" in fields:
        fields["box_vectors"] = state["box_vectors"] * 1.03125
    return WalkerState(**fields)


def read(context: openmm.Context) -> bytes:
    """All that getState tells of a context."""
    found = context.getState(positions=True, velocities=True)
    return b"".join(
        np.asarray(value, np.float64).tobytes()
        for value in (
            found.getPositions(asNumpy=True)._value,
            found.getVelocities(asNumpy=True)._value,
            found.getPeriodicBoxVectors(asNumpy=True)._value,
            found.getTime()._value,
        )
    ) + bytes(str(found.getStepCount()), "ascii")


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_it_equals_the_documented_way_to_the_bit(name: str, integrator: str) -> None:
    """R1: on every kind of system, step for step, whatever the context did before; what is read
    out of the checkpoint is what getState says."""
    system, state = SYSTEMS[name]()
    context = on_reference(system, INTEGRATORS[integrator]())
    fast = choose_transfer(context, state)
    assert isinstance(fast, CheckpointTransfer)
    get = fast.getter(("time", "box_vectors", "positions", "velocities"))
    assert get is not None
    other = on_reference(system, INTEGRATORS[integrator]())
    slow = DocumentedTransfer(other, ReinitializingSeeder(other))
    long = 3 if name.startswith("tip") else 20
    for number, seed, n_steps in ((0, 5, long), (1, 2**31 - 1, 1), (2, 255, long), (0, 5, 2)):
        begin = moved(state, number)
        # One context after the other: on Reference all contexts share one generator.
        found = []
        for made, transfer in ((context, fast), (other, slow)):
            transfer.put(begin, seed)
            made.getIntegrator().step(n_steps)
            found.append(read(made))
            if transfer is fast:
                fields = get()
                assert b"".join(
                    fields[field].tobytes()
                    for field in ("positions", "velocities", "box_vectors", "time")
                ) + bytes(str(n_steps), "ascii") == read(made)
        assert found[0] == found[1]


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_what_was_read_goes_back_as_it_is(name: str, integrator: str) -> None:
    """R1: a state that keeps a checkpoint's bytes leads to the bits that its arrays lead to, also
    where another walker with another box was in between, and in another context."""
    system, state = SYSTEMS[name]()
    context = on_reference(system, INTEGRATORS[integrator]())
    fast = choose_transfer(context, state)
    assert isinstance(fast, CheckpointTransfer)
    get = fast.getter(("positions", "velocities", "box_vectors", "time"))
    assert get is not None
    fast.put(moved(state, 1), 3)
    context.getIntegrator().step(3)
    kept = get()
    assert isinstance(kept, CheckpointState) and fast.knows(kept)
    plain = WalkerState(**{field: kept[field].copy() for field in kept})
    other = on_reference(system, INTEGRATORS[integrator]())
    elsewhere = choose_transfer(other, state)
    assert not elsewhere.knows(kept) and not fast.knows(plain)
    found = set()
    for made, transfer, begin in (
        (context, fast, kept),
        (context, fast, plain),
        (other, elsewhere, kept),
    ):
        transfer.put(moved(state, 2), 9)
        transfer.put(begin, 5)
        made.getIntegrator().step(2)
        found.add(read(made))
    assert len(found) == 1


def test_a_state_with_a_checkpoint_s_bytes_is_a_state_as_any_other() -> None:
    """It has the fields in the order asked for, cannot be changed, and travels as a plain one."""
    system, state = salt()
    context = on_reference(system, langevin())
    fast = choose_transfer(context, state)
    assert isinstance(fast, CheckpointTransfer)
    names = ("time", "velocities", "positions", "box_vectors")
    get = fast.getter(names)
    assert get is not None
    fast.put(state, 3)
    kept = get()
    assert isinstance(kept, CheckpointState)
    assert kept["positions"] is kept["positions"] is kept.dict()["positions"]
    assert "forces" not in kept and not hasattr(kept, "__dict__")
    with pytest.raises(KeyError, match="forces"):
        kept["forces"]
    with pytest.raises(ValueError, match="read-only"):
        kept["positions"][0, 0] = 1.0
    again = get()
    assert isinstance(again, CheckpointState)
    assert tuple(again) == names and len(again) == 4
    for travelled in (pickle.loads(pickle.dumps(again)), copy.deepcopy(again)):
        assert type(travelled) is WalkerState
        assert tuple(travelled) == names and again.equals(travelled) and travelled.equals(again)
    # As cheaply as plain ones: in one piece with its neighbours.
    walkers = [Walker(each, 0.5) for each in (kept, get())]
    packed = pack_answers([Done(k, walker, 0.1) for k, walker in enumerate(walkers)])
    assert packed[1][0] == "stacked"
    first, second = (each.result.state for each in unpack_answers(packed) if isinstance(each, Done))
    assert first.equals(kept) and second.equals(again)


def test_a_field_that_a_state_lacks_does_not_come_back() -> None:
    """Where a state is not to hold the time, the next segment begins at a new context's."""
    system, state = salt()
    context = on_reference(system, langevin())
    fast = choose_transfer(context, state)
    assert isinstance(fast, CheckpointTransfer)
    get = fast.getter(("positions", "velocities", "box_vectors"))
    assert get is not None
    fast.put(moved(state, 1), 3)
    kept = get()
    assert not isinstance(kept, CheckpointState)
    assert "time" not in kept
    fast.put(kept, 3)
    assert context.getState().getTime()._value == 0.0


@pytest.mark.parametrize("n_particles", [1, 2, 3])
def test_what_another_context_left_over_does_not_matter(n_particles: int) -> None:
    """Contexts on Reference share a generator of pairs: an odd number drawn in another one, before
    or between segments, changes no bit."""
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(20.0)
    odd = openmm.System()
    odd.addParticle(1.0)
    other = on_reference(odd, langevin())
    other.setPositions([[0.0, 0.0, 0.0]])
    state = as_walker_state(np.zeros((n_particles, 3)))
    context = on_reference(system, langevin())
    for seeded in (
        choose_transfer(context, state).put,
        lambda state, seed: DocumentedTransfer(context, choose_seeder(context)).put(state, seed),
    ):
        found = set()
        for number in range(4):
            other.getIntegrator().step(number)
            seeded(state, 7)
            other.getIntegrator().step(0)
            context.getIntegrator().step(3)
            found.add(read(context))
        assert len(found) == 1
    assert isinstance(choose_transfer(context, state), CheckpointTransfer)


def test_a_state_without_box_or_time_gets_a_new_context_s() -> None:
    """Not those of the walker before, which the setters would leave there."""
    system, state = salt()
    context = on_reference(system, langevin())
    transfer = choose_transfer(context, state)
    fresh = on_reference(system, langevin())
    transfer.put(moved(state, 2), 1)
    bare = {name: state[name] for name in ("positions", "velocities")}
    transfer.put(WalkerState(**bare), 1)
    fresh.setPositions(state["positions"])
    fresh.setVelocities(state["velocities"])
    assert read(context) == read(fresh)


def test_parameters_do_not_leak_into_the_next_segment() -> None:
    """A parameter that somebody set is a new context's again."""
    system, state = pulled()
    context = on_reference(system, langevin())
    transfer = choose_transfer(context, state)
    assert isinstance(transfer, CheckpointTransfer)
    context.setParameter("k", 5.0)
    transfer.put(state, 1)
    assert context.getParameter("k") == 300.0


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_a_state_s_parameters_are_the_context_s(platform: str) -> None:
    """Walkers may differ in a global parameter; each is moved by its own, in any order."""
    system, state = pulled()
    fields = ("positions", "velocities", "time", "parameters")
    runner = OpenMMRunner(system, None, langevin(), platform, state_fields=fields)
    stiff = WalkerState(**{**dict(state), "parameters/k": 900.0})
    soft = WalkerState(**{**dict(state), "parameters/k": 30.0})

    def moved_by(each: WalkerState) -> WalkerState:
        after: WalkerState = runner.run_segment(Walker(each, 1.0), 20, seed=3).state
        return after

    found = [moved_by(each) for each in (stiff, soft, state, stiff)]
    assert [float(each["parameters/k"]) for each in found] == [900.0, 30.0, 300.0, 900.0]
    assert bits([Walker(found[0], 1.0)]) == bits([Walker(found[3], 1.0)])
    assert len({each["positions"].tobytes() for each in found}) == 3


def test_parameters_that_an_integrator_changes_go_on() -> None:
    """Slow growth: two segments of ten steps are one of twenty."""
    system, state = pulled()
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addComputePerDof("v", "v+dt*f/m")
    integrator.addComputePerDof("x", "x+dt*v")
    integrator.addComputeGlobal("k", "k*1.0625")
    fields = ("positions", "velocities", "time", "parameters")
    runner = OpenMMRunner(system, None, integrator, "Reference", state_fields=fields)
    whole = runner.run_segment(Walker(state, 1.0), 20, seed=1)
    half = runner.run_segment(Walker(state, 1.0), 10, seed=1)
    rest = runner.run_segment(half, 10, seed=2)
    assert float(whole.state["parameters/k"]) > 2.5 * 300.0
    assert rest.state["positions"].tobytes() == whole.state["positions"].tobytes()
    assert rest.state["parameters/k"] == whole.state["parameters/k"]


def test_a_box_that_openmm_refuses_is_refused() -> None:
    """A box that is not in reduced form is OpenMM's error, as by its setter."""
    system, state = salt()
    context = on_reference(system, langevin())
    transfer = choose_transfer(context, state)
    bad = WalkerState(**{**dict(state), "box_vectors": np.ones((3, 3))})
    for _ in range(2):
        with pytest.raises(openmm.OpenMMException, match="box vector"):
            transfer.put(bad, 1)


def barostat() -> Made:
    system, state = salt()
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 2))
    return system, state


@pytest.mark.parametrize(
    ("made", "integrator", "platform"),
    [
        (pair, langevin, "CPU"),
        (barostat, langevin, "Reference"),
        (pair, lambda: openmm.VariableLangevinIntegrator(300, 1, 1e-4), "Reference"),
        (pair, lambda: openmm.NoseHooverIntegrator(300, 10, 0.002), "Reference"),
        (pair, lambda: openmm.CustomIntegrator(0.001), "Reference"),
    ],
)
def test_elsewhere_the_documented_way_is_taken(made: Any, integrator: Any, platform: str) -> None:
    """Other platforms, forces that draw, integrators that remember."""
    system, state = made()
    context = openmm.Context(system, integrator(), openmm.Platform.getPlatformByName(platform))
    assert isinstance(choose_transfer(context, state), DocumentedTransfer)


class Shuffled:
    """A context whose checkpoints hold the velocities before the positions, as a release might."""

    def __init__(self, context: openmm.Context) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def createCheckpoint(self) -> bytes:  # OpenMM's name.
        data = self._context.createCheckpoint()
        return bytes(data[:67] + data[115:163] + data[67:115] + data[163:])


class Forgetful(Shuffled):
    """A context that keeps its own time when it loads a checkpoint."""

    def createCheckpoint(self) -> bytes:
        return bytes(self._context.createCheckpoint())

    def loadCheckpoint(self, data: bytes) -> None:
        now = self._context.getTime()
        self._context.loadCheckpoint(data)
        self._context.setTime(now)


@pytest.mark.parametrize("kind", [Shuffled, Forgetful])
def test_checkpoints_of_another_kind_are_not_trusted(kind: Any) -> None:
    """A release of OpenMM that lays them out otherwise, or loads less, makes runs slower only."""
    context = on_reference(pair_system(), langevin())
    assert isinstance(choose_transfer(context, pair_state()), CheckpointTransfer)
    assert isinstance(choose_transfer(kind(context), pair_state()), DocumentedTransfer)


@pytest.mark.parametrize("name", ["pair", "salt", "pulled"])
def test_a_runner_gives_the_same_by_both_ways(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole segment, its fields in the order asked for, read-only and aligned."""
    system, state = SYSTEMS[name]()
    walkers = [Walker(moved(state, number), 0.5) for number in (0, 1, 2)]

    def ends() -> str:
        runner = OpenMMRunner(system, None, langevin(), platform="Reference")
        after = [runner.run_segment(walker, 15, seed=9) for walker in walkers]
        for walker in after:
            # Three particles that are pulled have no box, and get none.
            held = [f for f in runner.state_fields if f != "box_vectors" or name != "pulled"]
            assert list(walker.state) == held
            for array in walker.state.values():
                assert array.flags.aligned and array.flags.c_contiguous
                assert not array.flags.writeable
        return bits(after)

    fast = ends()
    take_the_documented_way(monkeypatch, ReinitializingSeeder)
    assert ends() == fast


def test_fields_that_a_checkpoint_lacks_come_by_getstate() -> None:
    """Forces on demand, or positions wrapped into the box, change no other bit."""
    system, state = salt()
    plain, more, wrapped = (
        OpenMMRunner(system, None, langevin(), platform="Reference", **options)
        for options in (
            {},
            {"state_fields": ("positions", "velocities", "box_vectors", "time", "forces")},
            {"enforce_box": True},
        )
    )
    walker = Walker(moved(state, 1), 1.0)
    expected = plain.run_segment(walker, 10, seed=3).state
    found = more.run_segment(walker, 10, seed=3).state
    assert bits([Walker(WalkerState(**{k: found[k] for k in expected}), 1.0)]) == bits(
        [Walker(expected, 1.0)]
    )
    assert found["forces"].shape == expected["positions"].shape
    away = WalkerState(**{**dict(walker.state), "positions": walker.state["positions"] + 20.0})
    assert wrapped.run_segment(Walker(away, 1.0), 10, seed=3).state["positions"].max() < 2.0
    assert plain.run_segment(Walker(away, 1.0), 10, seed=3).state["positions"].min() > 15.0


def test_a_state_of_another_size_is_refused_later_too() -> None:
    """The first walker fitted, the second one does not."""
    runner = pair_runner()
    runner.run_segment(Walker(pair_state(), 1.0), 1, seed=1)
    state = WalkerState(positions=np.zeros((3, 3)), velocities=np.zeros((3, 3)))
    with pytest.raises(ComponentError, match=r"\(3, 3\).*2 particles"):
        runner.run_segment(Walker(state, 1.0), 1, seed=1)
