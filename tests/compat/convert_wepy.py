"""Run by the interpreter that has wepy: what `convert` makes of its components.

Usage: python convert_wepy.py FOLDER
Prints JSON; the stores that it makes are in FOLDER.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import openmm
import use_wepy
import wepy_user
from use_wepy import integrator, system, topology, walk_state

from wepystore.api import (
    Apparatus,
    Configuration,
    OpenMMRunner,
    RandomWalkTargetBC,
    SerialMapper,
    Snapshot,
    Walker,
    WalkerState,
    WExploreResampler,
    prepare_store,
    save_snapshot,
)
from wepystore.compat.wepy.convert import convert_snapshot
from wepystore.engine.distances.pairwise import images_of
from wepystore.store import Store

from wepy.boundary_conditions.randomwalk import RandomWalkBC  # isort: skip
from wepy.resampling.distances.distance import (  # isort: skip
    AtomPairDistance,
    XYEuclideanDistance,
)
from wepy.resampling.distances.randomwalk import RandomWalkDistance  # isort: skip
from wepy.resampling.distances.receptor import (  # isort: skip
    RebindingDistance,
    UnbindingDistance,
)
from wepy.resampling.resamplers.wexplore import (  # isort: skip
    WExploreResampler as WepyWExplore,
)
from wepy.runners.randomwalk import RandomWalkRunner  # isort: skip
from wepy.walker import WalkerState as WepyWalkerState  # isort: skip

BOX = np.eye(3) * 4.0


def region_trees_agree() -> dict[str, object]:
    """WExplore of wepy's, with regions it found, and what it is converted to: the same places."""
    found = {}
    rng = np.random.default_rng(3)
    base = rng.normal(size=(6, 3)) * 0.3
    reference = WepyWalkerState(positions=base, box_vectors=np.eye(3) * 4.0)
    distances = {
        "pair": AtomPairDistance([(0, 5)], periodic=False),
        "unbinding": UnbindingDistance([0, 1], [2, 3, 4, 5], reference),
        "rebinding": RebindingDistance([0, 1], [2, 3, 4, 5], reference),
        "user": wepy_user.BondDistance(),
        "walk": RandomWalkDistance(),
        "xy": XYEuclideanDistance(),
    }
    sizes = {"rebinding": (0.6, 0.2), "walk": (0.03, 0.02)}
    for name, distance in distances.items():
        theirs = WepyWExplore(
            distance=distance,
            init_state=WepyWalkerState(**fields(base + 0.01)),
            max_n_regions=(5, 4),
            max_region_sizes=sizes.get(name, (0.06, 0.02)),
            pmin=1e-12,
            pmax=0.9,
        )
        start = []
        for _ in range(30):
            positions = base + rng.normal(size=base.shape) * 0.05
            start.append(Walker(WalkerState(**fields(positions)), 1 / 30))
        theirs.resample(start)
        runner = (
            OpenMMRunner(periodic_system(), topology(6), integrator(), "Reference")
            if name in ("unbinding", "rebinding")
            else OpenMMRunner(system(6), topology(6), integrator(), "Reference")
        )
        converted = convert_snapshot(Snapshot.as_found(start, Apparatus(runner, None, theirs)))
        ours = converted.thing.apparatus.resampler
        states = [walker.state for walker in start]
        paths, _ = ours.tree.place(images_of(ours.distance, states))
        places = [list(ours.tree.ids[leaf]) for leaf in paths[:, -1].tolist()]
        expected = [[int(k) for k in theirs.region_tree.assign(state)[0]] for state in states]
        gaps = [
            abs(
                ours.distance.image_distance(ours.distance.image(a), ours.distance.image(b))
                - distance.distance(a, b)
            )
            for a, b in pairwise(states)
        ]
        found[name] = {
            "class": type(ours.distance).__name__,
            "kept": ours.distance is distance,
            "regions": len(theirs.region_tree.regions),
            "same places": places == expected,
            "largest gap": float(max(gaps)),
            "needs wepy": converted.needs_wepy,
        }
    return found


def fields(positions: np.ndarray) -> dict[str, object]:
    """Of a state, with x and y as wepy's XYEuclideanDistance looks for them."""
    x, y = positions[0, :2].tolist()
    return {"positions": positions, "box_vectors": BOX, "x": x, "y": y}


def periodic_system() -> openmm.System:
    made = system(6)
    made.getForce(0).setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    return made


def walks_agree() -> dict[str, object]:
    """Random walks in several dimensions: distances, and where wepy and its counterparts warp."""
    rng = np.random.default_rng(5)
    found: dict[str, object] = {"distances": [], "warps": [], "targets": []}
    for n_dims in (1, 2, 5, 20):
        positions = [rng.integers(0, 9, size=(1, n_dims)).astype(float) for _ in range(40)]
        # Off the lattice the order of a sum can be seen in its last bit.
        positions += [place + rng.random(place.shape) for place in positions]
        states = [WalkerState(positions=place, time=0.0) for place in positions]
        start = [Walker(state, 1 / len(states)) for state in states]
        threshold = int(np.median([place.sum() for place in positions]))
        origin = [
            WepyWalkerState(positions=np.full((1, n_dims), value), time=0.0) for value in (0.0, 0.5)
        ]
        theirs = RandomWalkBC(
            threshold=threshold, initial_states=origin, initial_weights=[0.25, 0.75]
        )
        resampler = use_wepy.revo(RandomWalkDistance(), walk_state())
        made = convert_snapshot(
            Snapshot(start, Apparatus(RandomWalkRunner(0.4), theirs, resampler))
        )
        apparatus = made.thing.apparatus
        ours, distance = apparatus.boundary_conditions, apparatus.resampler.distance
        assert type(ours) is RandomWalkTargetBC and not made.needs_wepy, made.notes
        wanted = RandomWalkDistance()
        found["distances"].append(
            all(
                distance.image_distance(distance.image(a), distance.image(b))
                == wanted.image_distance(wanted.image(a), wanted.image(b))
                for a, b in pairwise(states)
            )
        )
        np.random.seed(n_dims)
        ours.set_rng(np.random.default_rng(n_dims))
        after = [bc.warp_walkers(start, 3) for bc in (theirs, ours)]
        found["warps"].append(
            {
                "number": len(after[0][1]),
                "same walkers": [int(w["walker_idx"][0]) for w in after[0][1]]
                == [int(w["walker_idx"][0]) for w in after[1][1]],
                "same weights": [w.weight for w in after[0][0]] == [w.weight for w in after[1][0]],
                "same progress": [float(d) for d in after[0][3]["distance"]]
                == list(after[1][3]["distance"]),
                "same boundary records": len(after[0][2]) == len(after[1][2]),
            }
        )
        far = [Walker(WalkerState(positions=np.full((1, n_dims), 99.0), time=0.0), 1 / 4000)] * 4000
        for bc in (theirs, ours):
            targets = [int(w["target_idx"][0]) for w in bc.warp_walkers(far, 3)[1]]
            found["targets"].append(float(np.mean(targets)))
    return found


def user_distances() -> dict[str, object]:
    """What becomes of a user's distances: the class in its place, and what keeps wepy needed."""
    rng = np.random.default_rng(4)
    start = [
        Walker(WalkerState(positions=rng.normal(size=(6, 3)), box_vectors=BOX), 1 / 8)
        for _ in range(8)
    ]
    distances = {
        "BondDistance": wepy_user.BondDistance(),
        "HeightDistance": wepy_user.HeightDistance(3),
        "TwiceDistance": wepy_user.TwiceDistance(2),
        "BoxDistance": wepy_user.BoxDistance(),
        "LazyBoxDistance": wepy_user.LazyBoxDistance(),
        "WidePairDistance": wepy_user.WidePairDistance([(0, 1)], False),
        "StateDistance": wepy_user.StateDistance(),
        "NosyDistance": wepy_user.NosyDistance(),
    }
    found = {}
    for name, distance in distances.items():
        runner = OpenMMRunner(system(6), topology(6), integrator(), "Reference")
        ours = WExploreResampler(distance, (4, 4), (0.2, 0.1), pmax=0.5)
        converted = convert_snapshot(Snapshot.as_found(start, Apparatus(runner, None, ours)))
        new = converted.thing.apparatus.resampler
        states = [walker.state for walker in start]
        found[name] = {
            "needing": converted.needing,
            "notes": converted.notes,
            "kept": new.distance is distance,
            "same": all(
                new.distance.distance(a, b) == distance.distance(a, b) for a, b in pairwise(states)
            ),
        }
    return found


def native_walk(folder: Path) -> dict[str, object]:
    """A store with wepy's random walk, converted."""
    name = "wepy's random walk"
    snapshot = Snapshot(*use_wepy.combinations()[name])
    prepare_store(folder / "walk.orch", snapshot, Configuration(SerialMapper()))
    converted = convert_snapshot(snapshot)
    md5 = save_snapshot(Store.open(folder / "walk.orch"), converted.thing)
    return {"hash": md5, "notes": converted.notes, "needing": converted.needing}


def main(folder: Path) -> None:
    found = {
        "trees": region_trees_agree(),
        "walks": walks_agree(),
        "user": user_distances(),
        "walk": native_walk(folder),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
