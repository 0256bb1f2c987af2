"""What a person puts together is checked when it is built; what is read never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import numpy as np
import openmm
import pytest
from openmm import app, unit

from tests.systems import (
    langevin,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    pair_state,
    pair_system,
    pair_topology,
    plain_configuration,
    salt_apparatus,
    salt_system,
)
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    Ensemble,
    HDF5Reporter,
    ImageCoordinate,
    NoBC,
    NoResampler,
    OpenMMRunner,
    PairDistance,
    PositionCoordinate,
    RandomWalkRunner,
    REVOResampler,
    SerialMapper,
    Snapshot,
    Store,
    TargetBC,
    UnbindingBC,
    Walker,
    WalkerState,
    WExploreResampler,
    as_walker_state,
    hash_of,
    load_configuration,
    load_snapshot,
    prepare_store,
    save_configuration,
    save_snapshot,
)
from wepystore.errors import WepystoreError
from wepystore.records import bundle


class OwnRunner:
    """A stranger's runner: one method, any state."""

    def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
        return walker


class OwnResampler:
    """A stranger's resampler, of functions that need no instance."""

    @staticmethod
    def resample(walkers: Any) -> Any:
        return walkers, [], []


class OwnReporter:
    """A stranger's reporter."""

    def init(self, **parts: Any) -> None: ...

    def report(self, **report: Any) -> None: ...

    def cleanup(self, **parts: Any) -> None: ...


class Choosy(NoResampler):
    """A resampler that looks at the weights it is to start from."""

    def check_start(self, weights: Any) -> None:
        if len(weights) < 4:
            raise WepystoreError(f"{len(weights)} walkers are too few")


def walkers(n: int = 4, state: Any = None, weight: float | None = None) -> list[Walker]:
    return [Walker(pair_state() if state is None else state, weight or 1 / n) for _ in range(n)]


def apparatus_of(distance: Any) -> Apparatus:
    return pair_apparatus(resampler=WExploreResampler(distance, (10,), (0.1,)))


def unbinding(*states: WalkerState) -> UnbindingBC:
    return UnbindingBC(0.42, states, ligand_idxs=[0], receptor_idxs=[1], periodic=False)


def five_atoms() -> WalkerState:
    return as_walker_state(np.arange(15.0).reshape(5, 3) / 100)


def changed(**fields: Any) -> WalkerState:
    return WalkerState(**{**pair_state().dict(), **fields})


def small_box() -> Snapshot:
    apparatus, state = salt_apparatus()
    box = WalkerState(**{**state.dict(), "box_vectors": state["box_vectors"] * 0.8})
    return Snapshot(walkers(4, box), apparatus)


#: What is refused, and words of the message: the culprit and the way out.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "weights sum to 10": (
        lambda: Snapshot(walkers(10, weight=1.0), pair_apparatus()),
        r"^walkers: the weights sum to 10\.0, not 1; .* divide each by their sum$",
    ),
    "weights nearly 1": (
        lambda: Snapshot(walkers(3, weight=0.3333333), pair_apparatus()),
        r"the weights sum to 0\.99999989+, not 1",
    ),
    "a negative weight": (
        lambda: Snapshot([Walker(pair_state(), w) for w in (1.5, -0.5)], pair_apparatus()),
        r"walker 1 has weight -0\.5, not > 0",
    ),
    "NaN weight": (
        lambda: Snapshot([Walker(pair_state(), w) for w in (1.0, np.nan)], pair_apparatus()),
        r"walker 1 has weight nan",
    ),
    "a weight that is no number": (
        lambda: Snapshot(walkers(1, weight="much"), pair_apparatus()),  # type: ignore[arg-type]
        r"walker 0 has weight nan, not > 0",
    ),
    "no walkers": (lambda: Snapshot([], pair_apparatus()), r"walkers: there are none"),
    "other atoms than the system": (
        lambda: Snapshot(walkers(4, five_atoms()), pair_apparatus()),
        r"walker 0: its positions have shape \(5, 3\), but the system has 2 particles",
    ),
    "one walker of another system": (
        lambda: Snapshot([*walkers(3, weight=0.25), Walker(five_atoms(), 0.25)], pair_apparatus()),
        r"the state of walker 3: its positions",
    ),
    "an ensemble of another system": (
        lambda: Snapshot(Ensemble.of(walkers(4, five_atoms())), pair_apparatus()),
        r"the system has 2 particles",
    ),
    "other atoms than the topology": (
        lambda: pair_apparatus(runner=OpenMMRunner(pair_system(), pair_topology(3), langevin())),
        r"topology has 3 atoms, its system 2 particles; give the topology .* or None",
    ),
    "boundary conditions and resampler swapped": (
        lambda: Apparatus(pair_runner(), NoResampler(), NoBC()),
        r"boundary_conditions must be boundary conditions, with a method warp_walkers, but is "
        r"NoResampler, which is a resampler; the order is Apparatus\(runner, boundary_cond",
    ),
    "no resampler": (
        lambda: Apparatus(pair_runner(), None, None),
        r"resampler must be a resampler.* but is None; .*NoResampler\(\) for none",
    ),
    "no runner": (lambda: Apparatus(None, None, NoResampler()), r"runner must be a runner"),
    "a runner's class": (
        lambda: Apparatus(RandomWalkRunner, None, NoResampler()),
        r"but is the class RandomWalkRunner; make one of it: RandomWalkRunner\(\.\.\.\)",
    ),
    "a resampler's class": (
        lambda: pair_apparatus(resampler=NoResampler),
        r"but is the class NoResampler; make one",
    ),
    "walkers and apparatus swapped": (
        lambda: Snapshot(pair_apparatus(), walkers()),  # type: ignore[arg-type]
        r"apparatus must be an Apparatus, but is \[.*the order is Snapshot\(walkers, apparatus\)",
    ),
    "states for walkers": (
        lambda: Snapshot([pair_state()], pair_apparatus()),  # type: ignore[list-item]
        r"walkers\[0\] must be a walker.*WalkerState; .*Walker\(state, weight\)",
    ),
    "one walker without a list": (
        lambda: Snapshot(Walker(pair_state(), 1.0), pair_apparatus()),  # type: ignore[arg-type]
        r"walkers must be a list of walkers",
    ),
    "positions for a state": (
        lambda: Snapshot([Walker([[0.0, 0.0, 0.0]], 1.0)], pair_apparatus()),
        r"the state of walkers\[0\] must be a WalkerState.*as_walker_state",
    ),
    "an apparatus of three parts": (
        lambda: Snapshot(walkers(), (pair_runner(), None, NoResampler())),  # type: ignore[arg-type]
        r"apparatus must be an Apparatus, but is \(",
    ),
    "a resampler that can never resample": (
        lambda: Snapshot(walkers(3), pair_apparatus(resampler=Choosy())),
        r"3 walkers are too few",
    ),
    "a position that is no number": (
        lambda: Snapshot(walkers(4, changed(positions=[[0, 0, 0], [np.nan, 0, 0]])), APPARATUS()),
        r"NaN or infinite",
    ),
    "velocities of another shape": (
        lambda: Snapshot(walkers(4, changed(velocities=np.zeros((1, 3)))), APPARATUS()),
        r"its velocities have shape \(1, 3\), but the system has 2 particles",
    ),
    "no velocities": (
        lambda: Snapshot(walkers(4, WalkerState(positions=np.zeros((2, 3)))), APPARATUS()),
        r"it has no velocities; as_walker_state",
    ),
    "a box smaller than twice the cutoff": (small_box, r"1\.6 nm wide, less than twice the cutoff"),
    "a distance of atoms that are not there": (
        lambda: Snapshot(walkers(), apparatus_of(PairDistance(0, 2, periodic=False))),
        r"PairDistance, j: it names atom 2, but the walkers have 2 atoms; .* the last is 1",
    ),
    "atoms twice": (lambda: PairDistance(1, 1), r"atom 1 more than once"),
    "a coordinate of atoms that are not there": (
        lambda: Snapshot(
            walkers(), pair_apparatus(resampler=BinResampler(PositionCoordinate([7]), [0.0]))
        ),
        r"PositionCoordinate, atoms: it names atom 7",
    ),
    "boundary conditions of atoms that are not there": (
        lambda: Snapshot(
            walkers(),
            pair_apparatus(
                boundary_conditions=TargetBC(
                    ImageCoordinate(PairDistance(0, 4, periodic=False)), [five_atoms()], 90.0
                )
            ),
        ),
        r"PairDistance, j: it names atom 4",
    ),
    "initial states of another system": (
        lambda: Snapshot(walkers(), pair_apparatus(boundary_conditions=unbinding(five_atoms()))),
        r"initial_states\[0\]: its positions have shape \(5, 3\), those of the walkers \(2, 3\)",
    ),
    "initial states without velocities": (
        lambda: Snapshot(
            walkers(),
            pair_apparatus(
                boundary_conditions=unbinding(WalkerState(positions=pair_state()["positions"]))
            ),
        ),
        r"UnbindingBC, initial_states\[0\]: it has no velocities",
    ),
    "periodic distances without a box": (
        lambda: apparatus_of(PairDistance(0, 1)),
        r"PairDistance folds distances into the periodic box, but .* periodic=False",
    ),
    "periodic boundary conditions without a box": (
        lambda: pair_apparatus(
            boundary_conditions=UnbindingBC(
                0.42, [pair_state()], ligand_idxs=[0], receptor_idxs=[1]
            )
        ),
        r"UnbindingBC folds distances",
    ),
    "a mapper that is a number": (
        lambda: Configuration(2),
        r"work_mapper must be a work mapper.* but is 2; .*SerialMapper\(\)",
    ),
    "a mapper's class": (
        lambda: Configuration(SerialMapper),
        r"but is the class SerialMapper; make one of it: SerialMapper\(\.\.\.\)",
    ),
    "no mapper": (lambda: Configuration(None), r"work_mapper must be .* but is None"),
    "the builtin map": (lambda: Configuration(map), r"work_mapper must be .*the class map"),
    "a reporter without a list": (
        lambda: Configuration(SerialMapper(), HDF5Reporter()),  # type: ignore[arg-type]
        r"reporters must be a list.*HDF5Reporter, which is a reporter; put it into one, \[rep",
    ),
    "a reporter's class": (
        lambda: Configuration(SerialMapper(), [HDF5Reporter]),
        r"reporters\[0\] must be a reporter.* the class HDF5Reporter; make .* HDF5Reporter\(",
    ),
    "mapper and reporters swapped": (
        lambda: Configuration([HDF5Reporter()], SerialMapper()),  # type: ignore[arg-type]
        r"work_mapper must be",
    ),
    "a monitor's class": (
        lambda: Configuration(SerialMapper(), [], OwnReporter),
        r"monitor must be a monitor",
    ),
    "an OpenMM platform for its name": (
        lambda: Configuration(
            SerialMapper(),
            platform=openmm.Platform.getPlatformByName("CPU"),  # type: ignore[arg-type]
        ),
        r'platform must be the name .* as in platform="CPU"',
    ),
    "a property that is a number": (
        lambda: Configuration(
            SerialMapper(),
            platform_properties={"Threads": 1},  # type: ignore[dict-item]
        ),
        r'platform_properties must be a dict of texts.*"Threads": "1"',
    ),
    "an integrator for the topology": (
        lambda: OpenMMRunner(pair_system(), langevin(), pair_topology()),  # type: ignore[arg-type]
        r"integrator of an OpenMMRunner must be an openmm.Integrator.* but is a Topology; "
        r"the order is OpenMMRunner\(system, topology, integrator\)",
    ),
    "a topology for the system": (
        lambda: OpenMMRunner(pair_topology(), pair_system(), langevin()),  # type: ignore[arg-type]
        r"system of an OpenMMRunner must be an openmm.System.* but is a Topology",
    ),
    "an integrator's class": (
        lambda: OpenMMRunner(pair_system(), None, openmm.VerletIntegrator),  # type: ignore[arg-type]
        r"the class VerletIntegrator; make one of it",
    ),
    "XML in the wrong order": (
        lambda: pair_apparatus(
            runner=OpenMMRunner(xml(langevin()), None, xml(pair_system())),
        ),
        r"system: it is a Langevin\w+; the order is OpenMMRunner\(",
    ),
    "XML that is none": (
        lambda: pair_apparatus(runner=OpenMMRunner("<System", None, langevin())),
        r"OpenMMRunner: system: it is no XML",
    ),
    "a file with a topology": (
        lambda: OpenMMRunner(pair_system(), app.Modeller(pair_topology(), []), langevin()),
        r"topology of an OpenMMRunner .* but is a Modeller; give its .topology",
    ),
    "a snapshot for a configuration": (
        lambda: prepare_store("never", plain_configuration(), pair_snapshot()),  # type: ignore[arg-type]
        r"snapshot must be a Snapshot.*prepare_store\(path, snapshot, configuration\)",
    ),
    "a configuration twice": (
        lambda: prepare_store("never", pair_snapshot(), pair_snapshot()),  # type: ignore[arg-type]
        r"configuration must be a Configuration",
    ),
    "a file of atoms that are not there": (
        lambda: prepare_store(
            "never",
            pair_snapshot(),
            plain_configuration(reporters=[HDF5Reporter(main_rep_idxs=[0, 5])]),
        ),
        r"HDF5Reporter, main_rep_idxs: it names atom 5, but the walkers have 2 atoms",
    ),
    "the hash of something else": (lambda: hash_of(walkers()), r"hash_of"),  # type: ignore[arg-type]
}


def APPARATUS() -> Apparatus:
    return pair_apparatus()


def xml(thing: Any) -> str:
    return str(openmm.XmlSerializer.serialize(thing))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_not_built(case: str, tmp_path: Path, monkeypatch: Any) -> None:
    """One line that names the culprit and the way out, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    build, words = REFUSED[case]
    with pytest.raises((WepystoreError, ValueError), match=words) as refused:
        build()
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_save_takes_only_its_kind(tmp_path: Path) -> None:
    """A configuration saved as a snapshot is refused by name, and the other way round."""
    store = Store.create(tmp_path / "x.orch")
    with pytest.raises(WepystoreError, match=r"snapshot must be a Snapshot.*save_snapshot"):
        save_snapshot(store, plain_configuration())  # type: ignore[arg-type]
    with pytest.raises(WepystoreError, match=r"must be a Configuration.*save_configuration"):
        save_configuration(store, pair_snapshot())  # type: ignore[arg-type]


def test_parts_of_ones_own_are_taken_as_they_are() -> None:
    """Whoever has the methods that are called is a part, of whatever class and with any state."""
    apparatus = Apparatus(OwnRunner(), None, OwnResampler)
    Snapshot([Walker({"anything": np.array([np.nan])}, 1.0)], apparatus)
    Snapshot([Walker(WalkerState(positions=[[np.nan]]), 0.5) for _ in range(2)], apparatus)
    Configuration(SerialMapper(), (OwnReporter(),), platform_properties={})
    Snapshot(
        [Walker(WalkerState(positions=[0.0, 1.0]), 0.25) for _ in range(4)],
        Apparatus(OwnRunner(), None, BinResampler(PositionCoordinate(), [1.0])),
    )
    REVOResampler(PairDistance(0, 1, periodic=False), merge_dist=0.1, char_dist=0.1)


@pytest.mark.parametrize(
    "case", ["weights", "atoms", "swapped", "reporters", "never resamples", "XML of something else"]
)
def test_what_is_read_is_not_checked(case: str, tmp_path: Path) -> None:
    """An entry that could not be built today is read, exported, loaded and keeps its hash."""
    store = Store.create(tmp_path / "x.orch")
    if case == "reporters":
        configuration = plain_configuration()
        object.__setattr__(configuration, "work_mapper", 2)
        name = save_configuration(store, configuration)
        assert hash_of(load_configuration(store, name)) == name
        bundle.save(load_configuration(store, name), tmp_path / "file")
    else:
        walkers_, apparatus = walkers(), pair_apparatus()
        if case == "weights":
            walkers_ = walkers(weight=3.0)
        elif case == "atoms":
            walkers_ = walkers(4, five_atoms())
        elif case == "swapped":
            apparatus = Apparatus.as_found(pair_runner(), NoResampler(), NoBC())
        elif case == "never resamples":
            walkers_ = walkers(1)
        else:
            runner = pair_runner()
            runner.system = runner.integrator
            apparatus = Apparatus.as_found(runner, None, NoResampler())
        name = save_snapshot(store, Snapshot.as_found(walkers_, apparatus))
        assert hash_of(load_snapshot(store, name)) == name
        bundle.save(load_snapshot(store, name), tmp_path / "file")
    with open(tmp_path / "file", "rb") as file:
        assert hash_of(dill.load(file)) == name


def test_a_changed_snapshot_is_checked_anew(tmp_path: Path) -> None:
    """What is put together from the parts of a loaded one is a person's, and looked at."""
    store = Store.create(tmp_path / "x.orch")
    loaded = load_snapshot(store, save_snapshot(store, pair_snapshot()))
    Snapshot(loaded.walkers, loaded.apparatus)
    with pytest.raises(WepystoreError, match="the weights sum to"):
        Snapshot(loaded.walkers[:2], loaded.apparatus)


def test_mdtraj_topologies_are_taken() -> None:
    """One of mdtraj's is the same to a runner as OpenMM's."""
    mdtraj = pytest.importorskip("mdtraj")
    theirs = mdtraj.Topology.from_openmm(pair_topology())
    made = OpenMMRunner(pair_system(), theirs, langevin())
    made.check()
    assert made.topology is not None
    again = OpenMMRunner(pair_system(), theirs.to_openmm(), langevin())
    assert made.topology == again.topology


def test_a_state_of_openmm_is_a_walkers_state() -> None:
    """Positions, velocities, box, time and parameters, to the bit."""
    system, start = salt_system()
    force = openmm.CustomExternalForce("scale*x")
    force.addGlobalParameter("scale", 0.25)
    system.addForce(force)
    context = openmm.Context(system, langevin(), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start["positions"])
    context.setVelocitiesToTemperature(300.0, 1)
    context.setTime(2.5)
    state = as_walker_state(context.getState(positions=True, velocities=True, parameters=True))
    assert sorted(state) == ["box_vectors", "parameters/scale", "positions", "time", "velocities"]
    assert np.array_equal(state["positions"], start["positions"])
    assert np.array_equal(state["box_vectors"], start["box_vectors"])
    assert state["time"] == 2.5 and state["parameters/scale"] == 0.25
    assert state["velocities"].any() and state["velocities"].shape == state["positions"].shape
    Snapshot(
        walkers(4, state), Apparatus(OpenMMRunner(system, None, langevin()), None, NoResampler())
    )


def test_a_state_of_a_system_without_a_box_has_none() -> None:
    """OpenMM gives every State a box; walkers and warps of a system without one get none."""
    context = openmm.Context(
        pair_system(), langevin(), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(pair_state()["positions"])
    found = context.getState(positions=True, velocities=True)
    state = as_walker_state(found)
    made = Snapshot(walkers(4, state), pair_apparatus(boundary_conditions=unbinding(state)))
    bare = as_walker_state(pair_state()["positions"])
    assert hash_of(made) == hash_of(
        Snapshot(walkers(4, bare), pair_apparatus(boundary_conditions=unbinding(bare)))
    )
    asked = as_walker_state(found, np.eye(3) * 4.0)
    kept = Snapshot(walkers(4, asked), pair_apparatus(boundary_conditions=unbinding(asked)))
    assert hash_of(kept) == hash_of(
        Snapshot(
            walkers(4, pair_state()), pair_apparatus(boundary_conditions=unbinding(pair_state()))
        )
    )


def test_what_a_state_of_openmm_lacks_is_named() -> None:
    """Positions and velocities are needed; velocities may come from elsewhere."""
    context = openmm.Context(
        pair_system(), langevin(), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(pair_state()["positions"])
    with pytest.raises(WepystoreError, match=r"holds no positions and no velocities; .*getState"):
        as_walker_state(context.getState(energy=True))
    with pytest.raises(WepystoreError, match="holds no velocities"):
        as_walker_state(context.getState(positions=True))
    given = as_walker_state(context.getState(positions=True), velocities=np.zeros((2, 3)))
    assert not given["velocities"].any()


def test_quantities_become_nanometers() -> None:
    """Whole quantities, lists of them, lists of vectors; another dimension is refused."""
    wanted = np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]])
    angstroms = unit.Quantity((10 * wanted).tolist(), unit.angstrom)
    for given in (
        angstroms,
        list(angstroms),
        wanted * unit.nanometer,
        [openmm.Vec3(*row) for row in wanted],
        [openmm.Vec3(*row) for row in wanted] * unit.nanometer,
    ):
        assert np.allclose(as_walker_state(given)["positions"], wanted, atol=1e-15)
    full = as_walker_state(
        angstroms,
        [openmm.Vec3(30, 0, 0), openmm.Vec3(0, 30, 0), openmm.Vec3(0, 0, 30)] * unit.angstrom,
        wanted * unit.angstrom / unit.picosecond,
        2 * unit.femtoseconds,
    )
    assert np.allclose(full["box_vectors"], 3 * np.eye(3))
    assert np.allclose(full["velocities"], wanted / 10)
    assert full["time"] == pytest.approx(0.002)
    with pytest.raises(WepystoreError, match=r"positions are given in .*; nanometer is needed"):
        as_walker_state(wanted * unit.picosecond)
    for nothing in ("positions", [[0.0], [1.0, 2.0]], app.Modeller(pair_topology(), []), None):
        with pytest.raises(WepystoreError, match=r"positions of a state must be"):
            as_walker_state(nothing)
