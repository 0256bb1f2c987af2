"""Run by the interpreter that has wepy: its components under this package's manager.

Usage: python use_wepy.py FOLDER [legacy | again | own]
Prints JSON; what it makes is in FOLDER. With "legacy" it makes a snapshot as wepy 1.x writes one,
with "again" it verifies the runs that are there, with "own" it makes a store with a user's
resampler.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
import zlib
from pathlib import Path

import dill
import numpy as np
import openmm
import wepy_user
from openmm import app, unit

from wepystore.api import (
    Apparatus,
    Configuration,
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    OpenMMRunner,
    PairDistance,
    SerialMapper,
    Snapshot,
    Walker,
    WalkerReporter,
    WalkerState,
    WExploreResampler,
    hash_of,
    load_run,
    load_snapshot,
    prepare_store,
    prepare_wepy,
    save_snapshot,
)
from wepystore.api import UnbindingBC as OurUnbindingBC
from wepystore.engine.manager import CycleManager
from wepystore.engine.record_tables import parents
from wepystore.engine.rng import Streams
from wepystore.orchestrator.run.request import Means, RunRequest
from wepystore.orchestrator.run.run import run
from wepystore.orchestrator.run.start import start_from
from wepystore.orchestrator.run.watching import Watcher
from wepystore.orchestrator.verify.verify import verify
from wepystore.records.run import RunRecord
from wepystore.store import Store

REPAIRED = prepare_wepy()

from wepy.boundary_conditions.boundary import NoBC  # noqa: E402
from wepy.boundary_conditions.randomwalk import RandomWalkBC  # noqa: E402
from wepy.boundary_conditions.receptor import UnbindingBC  # noqa: E402
from wepy.orchestration.snapshot import SimApparatus, SimSnapshot  # noqa: E402
from wepy.resampling.distances.distance import AtomPairDistance  # noqa: E402
from wepy.resampling.distances.randomwalk import RandomWalkDistance  # noqa: E402
from wepy.resampling.resamplers import resampler as wepy_resampler  # noqa: E402
from wepy.resampling.resamplers.revo import REVOResampler  # noqa: E402
from wepy.resampling.resamplers.wexplore import WExploreResampler as WepyWExplore  # noqa: E402
from wepy.runners.openmm import OpenMMRunner as WepyOpenMMRunner  # noqa: E402
from wepy.runners.openmm import OpenMMState, OpenMMWalker, gen_walker_state  # noqa: E402
from wepy.runners.randomwalk import RandomWalkRunner  # noqa: E402
from wepy.walker import Walker as WepyWalker  # noqa: E402
from wepy.walker import WalkerState as WepyWalkerState  # noqa: E402

#: Those that are also run in two worker processes, and gone on with.
WIDE = (
    "all of wepy: WExplore",
    "our runner, wepy's WExplore, a user's distance",
    "wepy's random walk",
)
N_WALKERS, N_CYCLES, N_STEPS = 8, 6, 20
CUTOFF = 0.402


def system(n_atoms: int = 2) -> openmm.System:
    made = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(n_atoms):
        made.addParticle(39.9)
        force.addParticle(0.0, 0.335, 1.0)
    made.addForce(force)
    made.setDefaultPeriodicBoxVectors(*(np.eye(3) * 4 * unit.nanometer))
    return made


def topology(n_atoms: int = 2) -> app.Topology:
    made = app.Topology()
    chain = made.addChain()
    for _ in range(n_atoms):
        made.addAtom("Ar", app.Element.getBySymbol("Ar"), made.addResidue("Ar", chain))
    return made


def integrator() -> openmm.Integrator:
    return openmm.LangevinMiddleIntegrator(300, 1, 0.002)


def wepy_runner() -> WepyOpenMMRunner:
    return WepyOpenMMRunner(system(), topology(), integrator(), platform="Reference")


def start_state() -> OpenMMState:
    positions = np.array([[1.0, 1.0, 1.0], [1.37602479, 1.0, 1.0]])
    # Without forces: such a state of wepy's has the field all the same, and it is None.
    return gen_walker_state(positions, system(), integrator(), {"getForces": False})


def unbinding() -> UnbindingBC:
    return UnbindingBC(
        initial_state=start_state(),
        cutoff_distance=CUTOFF,
        topology=None,
        ligand_idxs=np.array([0]),
        receptor_idxs=np.array([1]),
    )


def our_unbinding() -> OurUnbindingBC:
    return OurUnbindingBC(CUTOFF, [start_state()], [0], [1], periodic=False)


def wexplore(distance: object) -> WepyWExplore:
    return WepyWExplore(
        distance=distance,
        init_state=start_state(),
        max_n_regions=(4, 4),
        max_region_sizes=(0.01, 0.004),
        pmin=1e-12,
        pmax=0.5,
    )


def revo(distance: object, state: object) -> REVOResampler:
    return REVOResampler(
        distance=distance, init_state=state, merge_dist=1.5, char_dist=0.02, pmax=0.5
    )


def our_wexplore(distance: object) -> WExploreResampler:
    return WExploreResampler(distance, (4, 4), (0.01, 0.004), pmax=0.5)


def our_runner() -> OpenMMRunner:
    return OpenMMRunner(system(), topology(), integrator(), "Reference")


def walk_state() -> WepyWalkerState:
    return WepyWalkerState(positions=np.zeros((1, 2)), time=0.0)


def walk_bc() -> RandomWalkBC:
    return RandomWalkBC(threshold=6, initial_states=[walk_state()])


class Witness:
    """Looks whether the records tell the truth about the states that they are about."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.counts = {"warps": 0, "clones": 0, "merges": 0, "regions": 0}

    def init(self, **parts: object) -> None:
        self.global_state = (random.getstate(), np.random.get_state()[1].tobytes())

    def report(self, **report: object) -> None:
        if (random.getstate(), np.random.get_state()[1].tobytes()) != self.global_state:
            self.faults.append("the global generators were not set back")
        after, n_walkers = report["resampled_walkers"], len(report["new_walkers"])
        states = [walker.state for walker in report["new_walkers"]]
        for warp in report["warp_data"]:
            states[int(warp["walker_idx"][0])] = None
        for slot, parent in enumerate(parents(report["resampling_data"], n_walkers)):
            if states[parent] is not None and after[slot].state is not states[parent]:
                self.faults.append(f"cycle {report['cycle_idx']}: slot {slot} is not of {parent}")
        for walker in [*report["new_walkers"], *after]:
            if type(walker) is not Walker or not isinstance(walker.state, WalkerState):
                self.faults.append(f"{type(walker).__name__} of {type(walker.state).__name__}")
        total = float(np.sum([walker.weight for walker in after]))
        if abs(total - 1) > n_walkers * np.finfo(float).eps:
            self.faults.append(f"the weights sum to {total!r}")
        decisions = [int(np.ravel(r["decision_id"])[0]) for r in report["resampling_data"]]
        self.counts["warps"] += len(report["warp_data"])
        self.counts["clones"] += decisions.count(2)
        self.counts["merges"] += decisions.count(4)
        self.counts["regions"] += len(report["resampler_data"])

    def cleanup(self, **parts: object) -> None:
        pass


def walkers(state: object, walker_class: type = WepyWalker) -> list[object]:
    return [walker_class(state, 1 / N_WALKERS) for _ in range(N_WALKERS)]


def combinations() -> dict[str, tuple[list[object], Apparatus]]:
    """Name -> start walkers and apparatus."""
    pair = [(0, 1)]
    md = walkers(start_state(), OpenMMWalker)
    user = wepy_user.BondDistance
    return {
        "all of wepy: WExplore": (
            md,
            Apparatus(wepy_runner(), unbinding(), wexplore(AtomPairDistance(pair, False))),
        ),
        "all of wepy: REVO": (
            md,
            Apparatus(
                wepy_runner(), unbinding(), revo(AtomPairDistance(pair, False), start_state())
            ),
        ),
        "all of wepy: nothing": (
            md,
            Apparatus(wepy_runner(), NoBC(), wepy_resampler.NoResampler()),
        ),
        "our runner, wepy's WExplore, a user's distance": (
            md,
            Apparatus(our_runner(), None, wexplore(user())),
        ),
        "our runner, wepy's REVO": (
            md,
            Apparatus(
                our_runner(), unbinding(), revo(AtomPairDistance(pair, False), start_state())
            ),
        ),
        "wepy's runner, our WExplore, a user's distance": (
            md,
            Apparatus(wepy_runner(), unbinding(), our_wexplore(user())),
        ),
        "wepy's runner, all else ours": (
            md,
            Apparatus(wepy_runner(), our_unbinding(), our_wexplore(PairDistance(periodic=False))),
        ),
        "wepy's random walk": (
            walkers(walk_state()),
            Apparatus(RandomWalkRunner(0.4), walk_bc(), revo(RandomWalkDistance(), walk_state())),
        ),
    }


def witnessed(start: list[object], apparatus: Apparatus) -> dict[str, object]:
    """A run by the manager alone, with a witness."""
    witness = Witness()
    manager = CycleManager(
        init_walkers=start,
        runner=apparatus.runner,
        boundary_conditions=apparatus.boundary_conditions,
        resampler=apparatus.resampler,
        work_mapper=SerialMapper(),
        streams=Streams(7),
        reporters=[witness],
    )
    manager.init()
    now = manager.init_walkers
    for cycle in range(N_CYCLES):
        now = manager.run_cycle(now, N_STEPS, cycle).walkers
    manager.cleanup()
    return {"faults": witness.faults, **witness.counts}


def gone_on_with(name: str, folder: Path, cut: int | None) -> str:
    """The hash of the end; with `cut`, after a way through a store before that cycle."""
    start, apparatus = combinations()[name]
    now: object = Snapshot(start, apparatus)
    for cycle in range(N_CYCLES):
        if cycle in (0, cut):
            if cycle:
                store = Store.create(folder)
                now = load_snapshot(store, save_snapshot(store, now))
            parts = now.apparatus
            manager = CycleManager(
                now.walkers,
                *(parts.runner, parts.boundary_conditions, parts.resampler),
                work_mapper=SerialMapper(),
                streams=Streams(7),
            )
            manager.init()
        now = Snapshot(manager.run_cycle(now.walkers, N_STEPS, cycle).walkers, parts)
    return hash_of(now)


def job(
    folder: Path,
    store: Path,
    name: str,
    start: str = "default",
    n_workers: int = 1,
    platform: str | None = None,
) -> str:
    options = RunRequest(
        seconds=600,
        n_steps=N_STEPS,
        n_cycles=N_CYCLES,
        job_dir=folder / name,
        job_name="job",
        seed=11,
        n_workers=n_workers,
        platform=platform,
        checkpoint_freq=2,
    )
    return run(start_from(Store.open(store), start, None), options, Watcher()).end


def through_a_store(
    folder: Path, start: list[object], apparatus: Apparatus, wide: bool
) -> dict[str, object]:
    """The same from a store, with every reporter; twice, some the second time in two workers."""
    reporters = [
        HDF5Reporter(),
        DashboardReporter(),
        FamilyTreeReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
    ]
    store = folder / "master.orch"
    configuration = Configuration(SerialMapper(), reporters)
    prepare_store(store, Snapshot(start, apparatus), configuration)
    one = job(folder, store, "one")
    two = job(folder, store, "two", n_workers=2 if wide else 1)
    further = job(folder, folder / "one" / "checkpoint.orch", "further", one) if wide else None
    stored = load_snapshot(Store.open(store), Store.open(store).ref("default-snapshot"))
    kept = {name: value for name, value in start[0].state.dict().items() if value is not None}
    same = all(
        np.asarray(value, float).tobytes() == stored.walkers[0].state[name].tobytes()
        for name, value in kept.items()
    )
    same = same and set(stored.walkers[0].state) == set(kept)
    return {"ends": [one, two], "further": further, "start kept to the bit": same}


class OwnREVO(REVOResampler):
    """A user's resampler, which might draw from anywhere."""

    def resample(self, walkers: object) -> object:
        return super().resample(walkers)


def own_revo() -> OwnREVO:
    return OwnREVO(
        distance=RandomWalkDistance(),
        init_state=walk_state(),
        merge_dist=1.5,
        char_dist=1.0,
        pmax=0.5,
    )


class OwnWalk(RandomWalkRunner):
    """A user's runner, which might draw from anywhere."""

    def run_segment(self, walker: object, segment_length: int, **kwargs: object) -> object:
        return super().run_segment(walker, segment_length, **kwargs)


def promises(folder: Path) -> dict[str, object]:
    """What records say of runs whose repetition depends on more than wepy's own components."""
    md, pair = walkers(start_state(), OpenMMWalker), AtomPairDistance([(0, 1)], False)
    walk = walkers(walk_state())
    made = {
        "CPU": (md, Apparatus(wepy_runner(), unbinding(), wexplore(pair)), "CPU"),
        "own resampler": (
            walk,
            Apparatus(RandomWalkRunner(0.4), None, own_revo()),
            None,
        ),
        "own runner": (walk, Apparatus(OwnWalk(0.4), None, wepy_resampler.NoResampler()), None),
    }
    found = {}
    for name, (start, apparatus, platform) in made.items():
        store = folder / name / "master.orch"
        prepare_store(store, Snapshot(start, apparatus), Configuration(SerialMapper()))
        job(folder / name, store, "one", n_workers=2, platform=platform)
        record = record_of(folder / name / "one" / "checkpoint.orch")[1]
        environment = record.environment
        found[name] = [record.reproducible, environment.get("platform_properties")]
    return found


def record_of(path: Path) -> tuple[str, RunRecord]:
    store = Store.open(path)
    (run_md5,) = store.hashes("runs")
    return run_md5, load_run(store, run_md5)


def again(folder: Path) -> dict[str, object]:
    """Every job that is there, repeated by this process: whether to the bit, and as promised."""
    found = {}
    for path in sorted(folder.glob("*/one/checkpoint.orch")):
        verdict = verify(Store.open(path), record_of(path)[0], Means(n_workers=1))
        found[path.parents[1].name] = {
            "reproduced": verdict.reproduced,
            "promised": verdict.promised,
            "differences": [difference.field for difference in verdict.differences],
            "environment": verdict.environment,
        }
    return found


def legacy_file(folder: Path) -> dict[str, object]:
    """A snapshot as wepy 1.x writes it, made of its own classes only, after some cycles."""
    apparatus = Apparatus(wepy_runner(), unbinding(), wexplore(AtomPairDistance([(0, 1)], False)))
    manager = CycleManager(
        walkers(start_state(), OpenMMWalker),
        *(apparatus.runner, apparatus.boundary_conditions, apparatus.resampler),
        work_mapper=SerialMapper(),
        streams=Streams(5),
    )
    manager.init()
    now = manager.init_walkers
    for cycle in range(3):
        now = manager.run_cycle(now, N_STEPS, cycle).walkers
    manager.cleanup()
    theirs = [manager.runner._theirs(walker) for walker in now]
    simulation = SimApparatus(
        [apparatus.runner, apparatus.boundary_conditions, apparatus.resampler]
    )
    data = base64.b64encode(
        zlib.compress(dill.dumps(SimSnapshot(theirs, simulation), recurse=True))
    )
    md5 = hashlib.md5(data).hexdigest()
    (folder / f"{md5}.snap.dill.pkl").write_bytes(data)
    distance = apparatus.resampler.distance
    return {
        "md5": md5,
        "weights": [walker.weight for walker in theirs],
        "positions": [walker.state["positions"].tolist() for walker in theirs],
        "velocities": [walker.state["velocities"].tolist() for walker in theirs],
        "box_vectors": [walker.state["box_vectors"].tolist() for walker in theirs],
        "times": [float(walker.state["time"][0]) for walker in theirs],
        "images": [distance.image(walker.state).tolist() for walker in theirs],
        "min_distances": [
            float(apparatus.boundary_conditions._calc_min_distance(walker)) for walker in theirs
        ],
        "regions": [list(map(int, leaf)) for leaf in apparatus.resampler.region_tree.regions],
    }


def everything(folder: Path) -> dict[str, object]:
    made = combinations()
    return {
        "repaired": REPAIRED,
        "again": prepare_wepy(),
        "witnessed": {name: witnessed(*each) for name, each in combinations().items()},
        "stored": {
            name: {
                "folder": str(folder / str(number)),
                **through_a_store(folder / str(number), *each, wide=name in WIDE),
            }
            for number, (name, each) in enumerate(made.items())
        },
        "gone on with": {
            name: [gone_on_with(name, folder / f"{name}.orch", cut) for cut in (None, 3)]
            for name in ("all of wepy: WExplore", "all of wepy: REVO")
        },
        "promises": promises(folder),
    }


def main(folder: Path, what: str = "everything") -> None:
    if what == "again":
        found = again(folder)
    elif what == "own":
        start, apparatus = combinations()["wepy's random walk"]
        apparatus = Apparatus(apparatus.runner, None, own_revo())
        snapshot = Snapshot(start, apparatus)
        made = prepare_store(folder / "own.orch", snapshot, Configuration(SerialMapper()))
        found = {"own": made.snapshot_hash}
    else:
        found = everything(folder) if what == "everything" else {"legacy": legacy_file(folder)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
