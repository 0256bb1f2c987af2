"""What OpenMM would run without a word: said when a snapshot is built and when a run begins."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from tests.systems import (
    REPOSITORY,
    Recorder,
    langevin,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    pair_system,
    pair_topology,
    plain_configuration,
    python,
    run_job,
    salt_system,
)
from wepystore.api import (
    Apparatus,
    NoResampler,
    OpenMMRunner,
    Snapshot,
    Walker,
    WalkerState,
    as_walker_state,
    load_snapshot,
    prepare_store,
    save_snapshot,
)
from wepystore.engine.component import Text
from wepystore.engine.errors import ComponentError
from wepystore.engine.fit import doubts
from wepystore.errors import BuildWarning


def custom(*steps: tuple[str, str], **variables: float) -> openmm.CustomIntegrator:
    """An integrator of steps (variable, expression); x and v are computed for each atom."""
    made = openmm.CustomIntegrator(0.001)
    for name, value in variables.items():
        made.addGlobalVariable(name, value)
    for variable, expression in steps:
        if variable in ("x", "v"):
            made.addComputePerDof(variable, expression)
        elif variable == "if":
            made.beginIfBlock(expression)
        elif variable == "end":
            made.endBlock()
        else:
            made.addComputeGlobal(variable, expression)
    return made


def compound(*parts: openmm.Integrator, current: int = 0) -> openmm.CompoundIntegrator:
    made = openmm.CompoundIntegrator()
    for part in parts:
        made.addIntegrator(part)
    made.setCurrentIntegrator(current)
    return made


def with_force(force: openmm.Force) -> openmm.System:
    system = pair_system()
    system.addForce(force)
    return system


VERLET = ("x", "x+dt*v")
NOISE = ("v", "v+0.1*gaussian")

INTEGRATORS: dict[str, tuple[Any, bool]] = {
    "Verlet": (lambda: openmm.VerletIntegrator(0.001), True),
    "VariableVerlet": (lambda: openmm.VariableVerletIntegrator(1e-4), True),
    "NoseHoover": (lambda: openmm.NoseHooverIntegrator(300, 10, 0.002), True),
    "compound of two": (
        lambda: compound(openmm.VerletIntegrator(0.001), openmm.VerletIntegrator(0.002)),
        True,
    ),
    "the one that acts": (lambda: compound(openmm.VerletIntegrator(0.001), langevin()), True),
    "the other one": (
        lambda: compound(openmm.VerletIntegrator(0.001), langevin(), current=1),
        False,
    ),
    "custom without noise": (lambda: custom(VERLET), True),
    "custom with noise": (lambda: custom(VERLET, NOISE), False),
    "cold Langevin": (lambda: openmm.LangevinMiddleIntegrator(0.0, 1.0, 0.001), True),
    "Langevin without friction": (lambda: openmm.LangevinIntegrator(300.0, 0.0, 0.001), True),
    "Langevin": (langevin, False),
    "Brownian": (lambda: openmm.BrownianIntegrator(300, 1, 0.001), False),
    "MTS": (lambda: openmm.MTSIntegrator(0.002, [(0, 1)]), True),
    "MTSLangevin": (lambda: openmm.MTSLangevinIntegrator(300, 1, 0.002, [(0, 1)]), False),
}


def said(system: openmm.System, integrator: openmm.Integrator, state: WalkerState) -> str:
    return "\n".join(OpenMMRunner(system, None, integrator).doubts([state]))


@pytest.mark.parametrize("name", INTEGRATORS)
def test_dynamics_without_noise_are_told(name: str) -> None:
    """From objects and from their XML; an integrator that draws is no reason for a word."""
    make, silent = INTEGRATORS[name]
    assert ("stay identical" in said(pair_system(), make(), pair_state())) is silent
    read = OpenMMRunner(
        openmm.XmlSerializer.serialize(pair_system()), None, openmm.XmlSerializer.serialize(make())
    )
    assert read.facts.deterministic is silent


def test_a_thermostat_or_barostat_is_noise() -> None:
    """Andersen's collisions and a barostat's moves part clones of Verlet, unless they never act."""
    verlet = openmm.VerletIntegrator
    thermostat = openmm.AndersenThermostat(300.0, 1.0)
    assert "identical" not in said(with_force(thermostat), verlet(0.001), pair_state())
    system, state = salt_system(n_side=3)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 25))
    assert "identical" not in said(system, verlet(0.001), state)
    system.getForce(1).setFrequency(0)
    assert "identical" in said(system, verlet(0.001), state)
    assert "identical" in said(with_force(openmm.CMMotionRemover()), verlet(0.001), pair_state())


def test_clones_really_stay_identical_or_part() -> None:
    """What the words say is true of segments with other seeds."""
    for make, silent in (INTEGRATORS[n] for n in ("Verlet", "NoseHoover", "Langevin", "MTS")):
        runner = OpenMMRunner(pair_system(), None, make(), platform="Reference")
        ends = [
            runner.run_segment(Walker(pair_state(0.4), 1.0), 20, seed=s).state["positions"]
            for s in (1, 2)
        ]
        assert np.array_equal(*ends) is silent


def test_variables_that_segments_would_forget_are_named() -> None:
    """A counter and a protocol; scratch that is written before it is read is nobody's business."""
    counter = custom(NOISE, VERLET, ("n", "n+1"), ("k", "100+n"), n=0.0, k=100.0)
    assert "CustomIntegrator: n begin anew" in said(pair_system(), counter, pair_state())
    scratch = custom(NOISE, ("s", "2*dt"), ("x", "x+s*v"), s=1.0, fixed=3.0)
    assert "anew" not in said(pair_system(), scratch, pair_state())
    sometimes = custom(
        NOISE, ("if", "fixed>1"), ("s", "1"), ("end", ""), ("x", "x+s*v"), s=1, fixed=0
    )
    assert "s begin anew" in said(pair_system(), sometimes, pair_state())
    adaptive = custom(NOISE, VERLET, ("dt", "0.9*dt"))
    assert "dt begin anew" in said(pair_system(), adaptive, pair_state())
    runner = OpenMMRunner(pair_system(), None, counter, platform="Reference")
    context = runner._simulation("Reference", None, pair_state())
    context.run(pair_state(), 7, 1)
    context.run(pair_state(), 5, 1)
    assert context._integrator.getGlobalVariableByName("n") == 5


def test_a_nose_hoover_chain_needs_time() -> None:
    """In segments of a step or two it would be no thermostat; longer ones run."""
    runner = OpenMMRunner(pair_system(), None, openmm.NoseHooverIntegrator(300, 2, 0.002))
    runner.pre_cycle(n_segment_steps=10)
    with pytest.raises(ComponentError, match=r"at rest.* 0\.004 ps .*take 62\.5 ps .*longer"):
        runner.pre_cycle(n_segment_steps=2)
    OpenMMRunner(pair_system(), None, openmm.NoseHooverIntegrator(300, 50, 0.002)).pre_cycle(
        n_segment_steps=1
    )


def chain(unit: float) -> tuple[OpenMMRunner, WalkerState]:
    """Ten bonded atoms, 0.15 nm from each other where `unit` is 1."""
    system, topology = openmm.System(), pair_topology(10)
    atoms = list(topology.atoms())
    bonds = openmm.HarmonicBondForce()
    for k in range(10):
        system.addParticle(12.0)
        if k:
            bonds.addBond(k - 1, k, 0.15, 1e5)
            topology.addBond(atoms[k - 1], atoms[k])
    system.addForce(bonds)
    positions = np.zeros((10, 3))
    positions[:, 0] = 0.15 * np.arange(10) * unit
    return OpenMMRunner(system, topology, langevin()), as_walker_state(positions)


def test_positions_in_angstrom_are_told() -> None:
    """At the median of the bonds; of a state in nm nothing is said."""
    runner, state = chain(10.0)
    assert runner.doubts([state]) == [
        "half of the 9 bonds are longer than 1.5 nm: bare positions are taken as nm; divide "
        "angstroms by 10, or give OpenMM's quantities"
    ]
    runner, state = chain(1.0)
    assert runner.doubts([state]) == []


def test_a_first_energy_that_is_no_number_is_told() -> None:
    """Two atoms on each other."""
    words = said(pair_system(), langevin(), as_walker_state(np.zeros((2, 3))))
    assert re.search("potential energy at the start is (nan|inf)", words)


def test_what_was_read_raises_no_doubt_of_ours() -> None:
    """A run begins with what nobody checked: states, topologies and texts of any form."""
    runner, state = chain(10.0)
    for topology in ("[]", "{", '{"bonds": [[0, 99]]}', '{"bonds": 5}', '{"bonds": [["a", {}]]}'):
        runner.topology = Text(topology)
        assert doubts([Walker(state, 1.0)], runner) == []
    runner.topology = None
    for odd in (
        WalkerState(positions=[[0.0]]),
        WalkerState(x=[1.0]),
        WalkerState(**{**state.dict(), "positions": np.full((10, 3), np.nan)}),
        WalkerState(**{**state.dict(), "box_vectors": np.zeros(2)}),
    ):
        assert doubts([Walker(odd, 1.0)], runner) == []
    runner.system = runner.integrator
    assert doubts([Walker(state, 1.0)], runner) == []


def test_a_parameter_that_would_be_forgotten_is_told() -> None:
    """One that the state sets and the runner's states will not hold."""
    force = openmm.CustomExternalForce("scale*x")
    force.addGlobalParameter("scale", 0.25)
    system = with_force(force)
    for value, fields, told in (
        (0.5, ("positions", "velocities"), True),
        (0.25, ("positions", "velocities"), False),
        (0.5, ("positions", "velocities", "parameters"), False),
    ):
        state = WalkerState(**{**pair_state().dict(), "parameters/scale": value})
        runner = OpenMMRunner(system, None, langevin(), state_fields=fields)
        assert ("global parameter scale" in " ".join(runner.doubts([state]))) is told


def test_it_is_a_warning_when_built_and_a_remark_when_run(tmp_path: Path) -> None:
    """Of the line that builds it; never when an entry is read; once when the run begins."""
    runner = OpenMMRunner(pair_system(), pair_topology(), openmm.VerletIntegrator(0.002))
    walkers = [Walker(pair_state(), 0.5) for _ in range(2)]
    with pytest.warns(BuildWarning, match="stay identical") as caught:
        made = Snapshot(walkers, Apparatus(runner, None, NoResampler()))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = prepare_store(tmp_path / "x.orch", made, plain_configuration()).store
        load_snapshot(store, save_snapshot(store, made))
        pair_snapshot()
    watcher = Recorder()
    run_job(store, "default", tmp_path / "job", watcher, n_cycles=1)
    remarks = [event[1] for event in watcher.events if event[0] == "remark"]
    assert sum("stay identical" in text for text in remarks) == 1


MODULE = """
import numpy as np

def pull(state):
    return 0.0, np.zeros((2, 3))
"""

SCRIPT = f"""
import sys, warnings
sys.path[:0] = [{str(REPOSITORY)!r}, sys.argv[1]]
import openmm, only_here
from tests.systems import *
from wepystore.api import NoResampler, prepare_store
system = pair_system()
system.addForce(openmm.PythonForce(only_here.pull))
runner = OpenMMRunner(system, pair_topology(), langevin(), platform="Reference")
apparatus = Apparatus(runner, None, NoResampler())
print(prepare_store(sys.argv[2], Snapshot([Walker(pair_state(), 0.5)] * 2, apparatus),
                    plain_configuration()).snapshot_hash)
"""

RUN = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}]
from wepystore.cli.main import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(openmm, "PythonForce"), reason="this OpenMM has no PythonForce")
@pytest.mark.parametrize("workers", [[], ["--n-workers=2"]])
def test_a_function_that_is_not_here_ends_in_words(workers: list[str], tmp_path: Path) -> None:
    """OpenMM dies by a signal where it cannot import the function of a PythonForce."""
    import subprocess
    import sys

    from tests.systems import environment

    (tmp_path / "only_here.py").write_text(MODULE)
    (tmp_path / "make.py").write_text(SCRIPT)
    (tmp_path / "run.py").write_text(RUN)
    python(tmp_path / "make.py", tmp_path, tmp_path / "x.orch")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run.py").rename(tmp_path / "elsewhere" / "run.py")
    command = ["run", "orch", "--seed=1", "--n-cycles=1", *workers]
    done = subprocess.run(
        [sys.executable, "run.py", *command, str(tmp_path / "x.orch"), "default", "60", "2"],
        cwd=tmp_path / "elsewhere",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "the function of a PythonForce cannot be loaded" in done.stderr
    assert "only_here" in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize("pickled", ["zz", "80", "4e2e"])
@pytest.mark.skipif(not hasattr(openmm, "PythonForce"), reason="this OpenMM has no PythonForce")
def test_a_function_that_is_none_ends_in_words(pickled: str) -> None:
    """No hexadecimal number, half a pickle, and one of None."""
    system = with_force(openmm.PythonForce(np.sum))
    xml = openmm.XmlSerializer.serialize(system)
    runner = OpenMMRunner(pair_system(), None, langevin(), platform="Reference")
    runner.system = Text(re.sub('function="[0-9a-f]+"', f'function="{pickled}"', xml))
    with pytest.raises(ComponentError, match="function of a PythonForce cannot be loaded"):
        runner.run_segment(Walker(pair_state(), 1.0), 1, seed=1)


def test_a_system_that_cannot_be_read_is_no_bug(tmp_path: Path) -> None:
    """Of a store: the run says whose XML it is, and what to do."""
    apparatus = pair_apparatus()
    apparatus.runner.system = Text("<System/>")
    apparatus.runner._facts = None
    walkers = [Walker(pair_state(), 0.5) for _ in range(2)]
    made = prepare_store(
        tmp_path / "x.orch",
        Snapshot.as_found(walkers, Apparatus.as_found(apparatus.runner, None, NoResampler())),
        plain_configuration(),
    )
    with pytest.raises(ComponentError, match="system: it cannot be read"):
        run_job(made.store, "default", tmp_path / "job")
