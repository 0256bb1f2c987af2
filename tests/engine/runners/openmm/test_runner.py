"""OpenMMRunner: what a segment is, and that only state, length and seed matter to it (R1)."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from tests.systems import (
    bits,
    langevin,
    pair_runner,
    pair_state,
    pair_system,
    pair_topology,
    python,
    salt_system,
)
from wepystore.api import OpenMMRunner, Walker, WalkerState
from wepystore.engine.errors import ComponentError, PlatformError
from wepystore.engine.runners import openmm as module
from wepystore.engine.runners.openmm import simulation


def segment(runner: OpenMMRunner, state: Any, n_steps: int, seed: int, **options: Any) -> str:
    return bits([runner.run_segment(Walker(state, 0.5), n_steps, seed=seed, **options)])


def custom() -> openmm.CustomIntegrator:
    """Langevin-like, with a global variable that grows and drives the noise."""
    integrator = openmm.CustomIntegrator(0.002)
    integrator.addGlobalVariable("age", 0)
    integrator.addComputeGlobal("age", "age+1")
    integrator.addComputePerDof("v", "0.99*v+dt*f/m+0.01*age*gaussian")
    integrator.addComputePerDof("x", "x+dt*v")
    return integrator


def compound() -> openmm.CompoundIntegrator:
    integrator = openmm.CompoundIntegrator()
    integrator.addIntegrator(langevin())
    integrator.addIntegrator(openmm.VerletIntegrator(0.001))
    return integrator


INTEGRATORS: dict[str, Callable[[], openmm.Integrator]] = {
    "Langevin": langevin,
    "LangevinMiddle": lambda: openmm.LangevinMiddleIntegrator(300, 1, 0.002),
    "Brownian": lambda: openmm.BrownianIntegrator(300, 1, 0.0005),
    "Verlet": lambda: openmm.VerletIntegrator(0.002),
    "NoseHoover": lambda: openmm.NoseHooverIntegrator(300, 10, 0.002),
    "VariableLangevin": lambda: openmm.VariableLangevinIntegrator(300, 1, 1e-4),
    "VariableVerlet": lambda: openmm.VariableVerletIntegrator(1e-4),
    "Custom": custom,
    "Compound": compound,
}


def moving(seed: int) -> WalkerState:
    start = pair_state()
    velocities = np.random.default_rng(seed).normal(0, 0.2, (2, 3))
    return WalkerState(**{**start.dict(), "velocities": velocities})


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_segment_does_not_depend_on_what_the_runner_did_before(name: str) -> None:
    """R1: in any order, in a used and in a fresh runner, every segment gives the same bits."""
    work = [(moving(k), 10 + 7 * k, seed) for k in range(3) for seed in (3, 4)]
    used = OpenMMRunner(pair_system(), None, INTEGRATORS[name](), platform="Reference")
    forwards = [segment(used, *each) for each in work]
    backwards = [segment(used, *each) for each in reversed(work)][::-1]
    fresh = [
        segment(OpenMMRunner(pair_system(), None, INTEGRATORS[name](), platform="Reference"), *each)
        for each in work
    ]
    assert forwards == backwards == fresh


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_segment_is_what_bare_openmm_gives(name: str) -> None:
    """A new context, the seed, the state, one call of step: the same bits as run_segment."""
    state, seed, n_steps = moving(1), 1234, 57
    integrator = INTEGRATORS[name]()
    inner = integrator.getIntegrator(0) if name == "Compound" else integrator
    if hasattr(inner, "setRandomNumberSeed"):
        inner.setRandomNumberSeed(seed)
    context = openmm.Context(
        pair_system(), integrator, openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(state["positions"])
    context.setVelocities(state["velocities"])
    integrator.step(n_steps)
    bare = context.getState(positions=True, velocities=True)
    runner = OpenMMRunner(pair_system(), None, INTEGRATORS[name](), platform="Reference")
    ours = runner.run_segment(Walker(state, 0.5), n_steps, seed=seed).state
    assert np.array_equal(ours["positions"], bare.getPositions(asNumpy=True)._value)
    assert np.array_equal(ours["velocities"], bare.getVelocities(asNumpy=True)._value)
    assert float(ours["time"]) == bare.getTime()._value


@pytest.mark.parametrize("name", INTEGRATORS)
def test_steps_in_pieces_are_steps_in_one_go(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces, between which signals are looked at, change no bit, whatever their length."""
    found = set()
    for piece_s in (1e-9, 2e-4, 1e3):
        monkeypatch.setattr(simulation, "_STEP_PIECE_S", piece_s)
        runner = OpenMMRunner(pair_system(), None, INTEGRATORS[name](), platform="Reference")
        found.add(segment(runner, moving(2), 101, 9))
    assert len(found) == 1


@pytest.mark.parametrize("name", ["Langevin", "Custom", "Compound", "VariableLangevin"])
def test_seeds_matter(name: str) -> None:
    """Clones part: other seeds give other segments where the integrator draws."""
    runner = OpenMMRunner(pair_system(), None, INTEGRATORS[name](), platform="Reference")
    assert len({segment(runner, moving(1), 10, seed) for seed in range(1, 6)}) == 5
    unseeded = [bits([runner.run_segment(Walker(moving(1), 0.5), 10)]) for _ in range(2)]
    assert unseeded[0] != unseeded[1]


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_a_context_lives_on_over_segments(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU making one takes seconds: one for all segments, until another platform is asked
    for or `drop_contexts` is called."""
    made = []
    new_context = simulation.Simulation._new_context
    monkeypatch.setattr(
        simulation.Simulation,
        "_new_context",
        lambda self, state: (made.append(self), new_context(self, state)),
    )
    runner = pair_runner(platform=platform)
    expected = [segment(runner, moving(k), 10, k + 1) for k in range(4)]
    assert len(made) == 1
    segment(runner, moving(1), 10, 1, platform=platform)
    segment(runner, moving(1), 10, 1, platform_kwargs={})
    assert len(made) == 1
    runner.drop_contexts()
    assert [segment(runner, moving(k), 10, k + 1) for k in range(4)] == expected
    assert len(made) == 2
    segment(runner, moving(1), 10, 1, platform="CPU", platform_kwargs={"Threads": "2"})
    assert len(made) == 3


def test_a_segment_changes_nothing_but_the_state() -> None:
    """The input walker is left alone; weight kept, time and step counted on."""
    walker = Walker(pair_state(), 0.25)
    before = bits([walker])
    after = pair_runner().run_segment(walker, 50, seed=1)
    assert bits([walker]) == before
    assert after.weight == 0.25
    assert float(after.state["time"]) == pytest.approx(0.1)
    again = pair_runner().run_segment(after, 50, seed=2)
    assert float(again.state["time"]) == pytest.approx(0.2)
    assert list(after.state) == ["positions", "velocities", "box_vectors", "time"]


@pytest.mark.parametrize("name", ["Langevin", "Verlet", "VariableVerlet"])
def test_on_cpu_the_neighbours_of_an_earlier_walker_do_not_matter(name: str) -> None:
    """R1: the CPU platform keeps its list of neighbours while atoms move little, and the order of
    its sums with it; walkers that are nearly alike must not meet each other's."""
    system, state = salt_system(n_side=3)
    places = [
        state["positions"] + 0.01 * np.random.default_rng(k).normal(size=state["positions"].shape)
        for k in range(3)
    ]
    work = [(WalkerState(**{**state.dict(), "positions": x}), 5, 1) for x in places]
    used = OpenMMRunner(system, None, INTEGRATORS[name](), platform="CPU")
    found = [segment(used, *each) for each in work]
    fresh = [
        segment(OpenMMRunner(system, None, INTEGRATORS[name](), platform="CPU"), *each)
        for each in work
    ]
    assert found == fresh


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_a_barostat_is_reproducible_in_any_order(platform: str) -> None:
    """R1: its own generator and its adapted step are seeded anew; the box follows the walker."""
    system, state = salt_system()
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 2))
    runner = OpenMMRunner(system, None, langevin(), platform=platform)
    work = [(state, 20, seed) for seed in (1, 2, 3)]
    forwards = [segment(runner, *each) for each in work]
    backwards = [segment(runner, *each) for each in reversed(work)][::-1]
    assert forwards == backwards
    assert len(set(forwards)) == 3
    moved = runner.run_segment(Walker(state, 1.0), 20, seed=1).state
    assert not np.array_equal(moved["box_vectors"], state["box_vectors"])
    # The next walker has its own box again.
    assert segment(runner, *work[1]) == forwards[1]


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_segments_too_short_for_their_barostat_are_refused(platform: str) -> None:
    """It counts its steps from the start of a segment: constant pressure would be constant volume,
    and nobody would be told."""
    system, state = salt_system(n_side=3, spacing=0.6)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 25))
    runner = OpenMMRunner(system, None, langevin(), platform=platform)
    walker = Walker(state, 1.0)
    boxes = [runner.run_segment(walker, 24, seed=seed).state["box_vectors"] for seed in range(1, 9)]
    assert all(np.array_equal(box, state["box_vectors"]) for box in boxes)
    with pytest.raises(ComponentError, match=r"every 25 steps .* has 24"):
        runner.pre_cycle(n_segment_steps=24)
    boxes = [runner.run_segment(walker, 25, seed=seed).state["box_vectors"] for seed in range(1, 9)]
    assert not all(np.array_equal(box, state["box_vectors"]) for box in boxes)
    runner.pre_cycle(n_segment_steps=25)
    # Where contexts live on, so does the count.
    runner.resolve_platform = lambda *asked: ("CUDA", {})  # type: ignore[method-assign]
    runner.pre_cycle(n_segment_steps=24)


def test_a_periodic_system_needs_its_box_in_the_state() -> None:
    """Else the second segment begins in the system's own box, whatever box the walker had."""
    system, _ = salt_system(n_side=2, spacing=1.0)
    fields = ("positions", "velocities")
    runner = OpenMMRunner(system, None, langevin(), platform="Reference", state_fields=fields)
    with pytest.raises(ComponentError, match="must hold 'box_vectors'"):
        runner.pre_cycle(n_segment_steps=10)
    OpenMMRunner(
        pair_system(), None, langevin(), platform="Reference", state_fields=fields
    ).pre_cycle(n_segment_steps=10)


PME_SCRIPT = """
import sys
from tests.systems import bits, salt_apparatus
from wepystore.api import Walker

apparatus, state = salt_apparatus("CPU")
for seed in range(1, 9):
    print(bits([apparatus.runner.run_segment(Walker(state, 1.0), 20, seed=seed)]))
"""


def test_pme_on_cpu_does_not_depend_on_the_host_s_cores(tmp_path: Path) -> None:
    """R1: the PME part takes its threads from the environment (else: all cores), and its bits with
    them; a runner with Threads=1 gives the same bits whatever the environment says."""
    script = tmp_path / "pme.py"
    script.write_text(PME_SCRIPT)
    outputs = {python(script, OPENMM_CPU_THREADS=threads) for threads in ("1", "2", "3", "7")}
    assert len(outputs) == 1
    if len(os.sched_getaffinity(0)) > 1:
        bare = {name: value for name, value in os.environ.items() if name != "OPENMM_CPU_THREADS"}
        os.environ.pop("OPENMM_CPU_THREADS", None)
        try:
            assert python(script) in outputs
        finally:
            os.environ.update(bare)


THREADS_SCRIPT = """
import openmm
from tests.systems import salt_system
from wepystore.engine.runners.openmm.platforms import pme_is_on_threads

system, state = salt_system()
cpu = openmm.Platform.getPlatformByName("CPU")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), cpu)
context.setPositions(state["positions"])
context.getState(energy=True)
print(pme_is_on_threads(system), pme_is_on_threads(openmm.System()))
"""


def test_a_process_knows_how_its_pme_adds_up(tmp_path: Path) -> None:
    """What PME was first used with in a process stays, and nothing but its bits tells."""
    script = tmp_path / "threads.py"
    script.write_text(THREADS_SCRIPT)
    for threads in ("1", "2", "48"):
        assert python(script, OPENMM_CPU_THREADS=threads) == f"{threads != '1'} False"


def test_state_fields_on_demand() -> None:
    """Forces, energies, volume, parameters and derivatives when asked for, in OpenMM's units."""
    system = pair_system()
    restraint = openmm.CustomBondForce("0.5*k*(r-0.3)^2")
    restraint.addGlobalParameter("k", 10.0)
    restraint.addEnergyParameterDerivative("k")
    restraint.addBond(0, 1)
    system.addForce(restraint)
    runner = OpenMMRunner(
        system,
        pair_topology(),
        langevin(),
        platform="Reference",
        state_fields=module.KNOWN_STATE_FIELDS,
    )
    state = runner.run_segment(Walker(moving(1), 1.0), 10, seed=1).state
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(state["positions"])
    bare = context.getState(forces=True, energy=True)
    assert np.allclose(state["forces"], bare.getForces(asNumpy=True)._value)
    assert float(state["potential_energy"]) == pytest.approx(bare.getPotentialEnergy()._value)
    # Leapfrog velocities are shifted by half a step for the kinetic energy, so only roughly equal.
    assert float(state["kinetic_energy"]) > 0
    assert float(state["box_volume"]) == pytest.approx(64.0)
    assert float(state["parameters/k"]) == 10.0
    distance = np.linalg.norm(np.subtract(*state["positions"]))
    assert float(state["parameter_derivatives/k"]) == pytest.approx(0.5 * (distance - 0.3) ** 2)
    assert all(array.dtype == np.float64 for array in state.values())


def test_enforce_box_wraps() -> None:
    """With enforce_box positions end inside the box, without it they go where they go."""
    system, state = salt_system(n_side=2, spacing=1.0)
    shifted = WalkerState(**{**state.dict(), "positions": state["positions"] + 20.0})
    for enforce in (False, True):
        runner = OpenMMRunner(system, None, langevin(), platform="Reference", enforce_box=enforce)
        found = runner.run_segment(Walker(shifted, 1.0), 1, seed=1).state["positions"]
        assert bool(found.max() < 3.0) is enforce


def test_getstate_keywords_are_passed_on() -> None:
    """wepy's getState_kwargs reach Context.getState."""
    system, state = salt_system(n_side=2, spacing=1.0)
    shifted = WalkerState(**{**state.dict(), "positions": state["positions"] + 20.0})
    runner = OpenMMRunner(system, None, langevin(), platform="Reference")
    found = runner.run_segment(
        Walker(shifted, 1.0), 1, seed=1, getState_kwargs={"enforcePeriodicBox": True}
    )
    assert found.state["positions"].max() < 3.0


@pytest.mark.parametrize("fields", [("positions", "velocities", "speed"), ("positions",), ()])
def test_wrong_state_fields_are_refused(fields: tuple[str, ...]) -> None:
    """An unknown field, or a state no run could go on from, is named when the runner is made."""
    with pytest.raises(ComponentError, match=r"speed|velocities|positions"):
        pair_runner(state_fields=fields)


def test_a_state_of_another_system_is_refused() -> None:
    """Both numbers of particles are in the message."""
    state = WalkerState(positions=np.zeros((3, 3)), velocities=np.zeros((3, 3)))
    with pytest.raises(ComponentError, match=r"\(3, 3\).*2 particles"):
        pair_runner().run_segment(Walker(state, 1.0), 1, seed=1)


def test_an_unknown_platform_is_refused_with_the_known_ones() -> None:
    """check_platform, called before a job folder is made, says what there is."""
    with pytest.raises(PlatformError, match=r"'Refrence'.*Reference.*CPU"):
        pair_runner(platform="Refrence").check_platform()
    with pytest.raises(PlatformError, match="'GPU'"):
        pair_runner().check_platform("GPU")


def test_an_unknown_property_is_refused_with_the_known_ones() -> None:
    """A property of another platform is named, with those there are."""
    runner = pair_runner(platform="CPU", platform_properties={"Precision": "mixed"})
    with pytest.raises(PlatformError, match=r"'Precision'.*Threads"):
        runner.check_platform()


def test_properties_belong_to_their_platform() -> None:
    """Overriding the platform leaves the properties of the runner's own one behind."""
    runner = pair_runner(platform="CPU", platform_properties={"Threads": "3"})
    assert runner.resolve_platform() == ("CPU", {"Threads": "3", "DeterministicForces": "true"})
    assert runner.resolve_platform("Reference") == ("Reference", {})
    assert runner.resolve_platform("CPU", {"Threads": "2"})[1]["Threads"] == "2"


@pytest.mark.parametrize(
    ("platform", "properties", "expected"),
    [
        ("Reference", {}, True),
        ("CPU", {}, True),
        ("CPU", {"Threads": "2"}, False),
        ("CPU", {"DeterministicForces": "false"}, False),
        ("CUDA", {}, False),
        ("OpenCL", {}, False),
    ],
)
def test_reproducible_only_where_it_is(
    platform: str, properties: dict[str, str], expected: bool
) -> None:
    """R1: the run record says false where the platform cannot."""
    assert pair_runner().reproducible(platform, properties) is expected


def test_blowing_up_is_an_error() -> None:
    """NaN positions never enter an ensemble."""
    with pytest.raises(FloatingPointError, match="NaN"):
        pair_runner().run_segment(Walker(pair_state(0.0), 1.0), 10, seed=1)


def test_a_runner_is_its_parameters() -> None:
    """Copies and pickles run the same; live contexts stay behind."""
    runner = pair_runner(state_fields=("positions", "velocities", "forces"))
    expected = segment(runner, pair_state(), 10, 1)
    for other in (
        pickle.loads(pickle.dumps(runner)),
        copy.deepcopy(runner),
        OpenMMRunner.from_params(runner.params(), runner.version),
    ):
        assert other._live is None
        assert other.params() == runner.params()
        assert segment(other, pair_state(), 10, 1) == expected


class Marked(OpenMMRunner):
    """A user's own."""

    mark = ""


def test_a_copy_of_a_user_s_own_class_is_one() -> None:
    """With all that it has; the context stays with the first."""
    runner = Marked(pair_system(), None, langevin(), platform="Reference")
    runner.mark = "mine"
    runner.run_segment(Walker(pair_state(), 1.0), 1, seed=1)
    for other in (copy.copy(runner), copy.deepcopy(runner)):
        assert type(other) is Marked
        assert (other.mark, other._live) == ("mine", None)


def test_no_openmm_version_in_the_xml() -> None:
    """I1: a system has the same text whichever OpenMM release wrote it."""
    runner = pair_runner()
    assert "openmmVersion" not in runner.system
    assert "openmmVersion" not in runner.integrator


def test_periodicity_and_step_are_the_system_s() -> None:
    """What the manager and the progress line ask for."""
    assert pair_runner().periodic is False
    assert OpenMMRunner(salt_system()[0], None, langevin()).periodic is True
    assert pair_runner().step_size == pytest.approx(0.002)
    assert pair_runner().summary()["platform"] == "Reference"
