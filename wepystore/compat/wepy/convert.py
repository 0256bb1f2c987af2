"""What wepy 1.x wrote, as native as it can be had.

A component of wepy's becomes ours only where ours does the same to the bit or up
to the last bits of its arithmetic; where it would behave otherwise, or where
a user's class is in between, the object stays what it is, pickled, and a
note says so. docs/from-wepy.md lists what becomes what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wepystore.compat.wepy import without
from wepystore.compat.wepy.classes import is_wepy, wepy_class
from wepystore.compat.wepy.configurations import configuration_of, native_configuration
from wepystore.compat.wepy.loading import load, snapshot_of
from wepystore.compat.wepy.runner import topology_text
from wepystore.compat.wepy.without import NeedsWepy
from wepystore.engine.adapt import native_state, native_walkers
from wepystore.engine.boundary_conditions.base import NoBC
from wepystore.engine.boundary_conditions.target import RandomWalkTargetBC
from wepystore.engine.boundary_conditions.unbinding import UnbindingBC
from wepystore.engine.component import Component
from wepystore.engine.distances.coordinate import CoordinateDistance
from wepystore.engine.distances.fields import FieldCoordinate
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.random_walk import RandomWalkDistance
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)
from wepystore.engine.protocols import MeasuringCapabilities, PeriodicCapabilities
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.resamplers.revo import REVOResampler
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
from wepystore.engine.runners.openmm import OpenMMRunner
from wepystore.engine.runners.random_walk import RandomWalkRunner
from wepystore.engine.walker import Walker, WalkerState
from wepystore.errors import FailedError, WepystoreError
from wepystore.records.bundle import decode
from wepystore.records.configuration import Configuration
from wepystore.records.library import save
from wepystore.records.registry import builtin_name
from wepystore.records.snapshot import Apparatus, Snapshot
from wepystore.records.trust import Asked, Trust, arguments
from wepystore.store.formats import stands_for
from wepystore.store.names import ONE
from wepystore.store.pickles.pickled import parts_in
from wepystore.store.store import Store

#: Fields that wepy keeps as arrays of one number, and this package as numbers.
_SCALARS = ("time", "kinetic_energy", "potential_energy", "box_volume")

#: Keyword of Context.getState as wepy spells it -> the state fields that it brings.
_FIELDS_OF = {
    "getPositions": ("positions",),
    "getVelocities": ("velocities",),
    "getForces": ("forces",),
    "getEnergy": ("kinetic_energy", "potential_energy"),
    "getParameters": ("parameters",),
    "getParameterDerivatives": ("parameter_derivatives",),
}


class NothingToConvertError(FailedError):
    """{what} is neither of wepy 1.x nor made of wepy's components: there is nothing to convert"""


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes
    ----------
    thing : Snapshot or Configuration
    notes : list of str
        For a person: what became what, what was left as it is, and why.
    needing : dict of str to str
        The parts for which wepy must be installed wherever it is used, and why.
    """

    thing: Snapshot | Configuration
    notes: list[str] = field(default_factory=list)
    needing: dict[str, str] = field(default_factory=dict)

    @property
    def needs_wepy(self) -> bool:
        """Whether wepy must be installed wherever it is used."""
        return bool(self.needing)


def convert_entry(
    store: Store, kind: str, md5: str, trust: Trust, write: bool = True
) -> tuple[Converted, str | None]:
    """Convert an entry of a store: what came of it, and its hash in the store.

    Parameters
    ----------
    kind : "snapshots" or "configs"
    trust : Trust
        UntrustedPickleError, before anything is opened, unless all of it is trusted.
    write : bool
        False leaves the store as it is; the hash is then None.

    Raises
    ------
    NothingToConvertError : nothing in it is of wepy's.
    """
    found = store.read_manifest(kind, md5)
    where = f"{ONE[kind]} {md5}"
    trust.require([Asked(where, arguments(store.path, md5), parts_in(found))])
    if stands_for(found.value) is not None:
        converted = convert_bytes(kind, found.data, where)
    elif kind == "configs":
        configuration, notes = native_configuration(decode(found))
        if configuration is None:
            raise NothingToConvertError(what=where)
        converted = _needing(configuration, notes)
    else:
        snapshot = decode(found)
        apparatus = snapshot.apparatus
        distance = MeasuringCapabilities(apparatus.resampler).distance
        inside = (apparatus.runner, apparatus.boundary_conditions, apparatus.resampler, distance)
        if not any(is_wepy(part) for part in inside):
            raise NothingToConvertError(what=where)
        converted = convert_snapshot(snapshot)
    if not write:
        return converted, None
    return converted, save(store, converted.thing)


def convert_bytes(kind: str, data: bytes, where: str) -> Converted:
    """Convert an entry of wepy 1.x; runs its pickle. Raises as loading.load."""
    found = load(kind, data, where)
    if kind == "snapshots":
        return convert_snapshot(snapshot_of(found, where))
    return _needing(*configuration_of(found))


def _needing(configuration: Configuration, notes: list[str]) -> Converted:
    parts: dict[str, Any] = {
        f"reporters[{k}]": reporter for k, reporter in enumerate(configuration.reporters)
    }
    parts.update(monitor=configuration.monitor, work_mapper=configuration.work_mapper)
    return Converted(configuration, notes, without.needing(parts))


def convert_snapshot(snapshot: Snapshot) -> Converted:
    """A snapshot of these walkers and, as far as there are counterparts, native components."""
    notes: list[str] = []
    walkers = list(native_walkers(snapshot.walkers))
    parts = snapshot.apparatus
    reasons: dict[str, str] = {}
    setting = _Setting(walkers, True, notes, reasons)
    runner = _part("runner", parts.runner, _RUNNERS, setting)
    if isinstance(runner, OpenMMRunner):
        walkers = _plain_scalars(walkers)
    folds = PeriodicCapabilities(runner).periodic
    setting = _Setting(walkers, folds is None or folds, notes, reasons)
    bc = _part("boundary conditions", parts.boundary_conditions, _BOUNDARIES, setting)
    resampler = _part("resampler", parts.resampler, _RESAMPLERS, setting)
    needing = without.needing({"runner": runner, "boundary_conditions": bc, "resampler": resampler})
    for where in needing:
        # Why it was kept says more than what in it needs wepy.
        part = where.rpartition(".")[2].replace("_", " ")
        needing[where] = reasons.get(part, needing[where])
    apparatus = Apparatus.as_found(runner, bc, resampler)
    return Converted(Snapshot.as_found(walkers, apparatus), notes, needing)


@dataclass(frozen=True)
class _Setting:
    """What a component's conversion depends on besides the component."""

    walkers: Sequence[Any]
    periodic: bool
    notes: list[str]
    reasons: dict[str, str]
    """Of the parts that stay wepy's, by name."""

    @property
    def state(self) -> WalkerState:
        state: WalkerState = self.walkers[0].state
        return state

    @property
    def rectangular(self) -> bool:
        boxes = [w.state["box_vectors"] for w in self.walkers if "box_vectors" in w.state]
        return all(not (box - np.diag(np.diag(box))).any() for box in boxes)

    def shared_box(self, what: str) -> bool:
        """Whether the counterpart of a component that folds by the box is to fold."""
        if not self.periodic:
            self.notes.append(
                f"{what}: without periodic images, for the runner's system has none (wepy takes "
                "the box of the states all the same)"
            )
        elif not self.rectangular:
            raise NeedsWepy("wepy takes a box that is not rectangular for a rectangular one")
        return self.periodic


Converter = Callable[[Any, _Setting], Any]


def _part(name: str, thing: Any, table: dict[str, Converter], setting: _Setting) -> Any:
    notes = setting.notes
    if thing is None or not is_wepy(thing):
        if isinstance(thing, (WExploreResampler, REVOResampler)) and is_wepy(thing.distance):
            return _with_native_distance(thing, setting)
        if thing is not None and not (isinstance(thing, Component) and builtin_name(thing)):
            notes.append(f"{name}: {type(thing).__name__} stays as it is, pickled")
        return thing
    known = wepy_class(type(thing))
    try:
        if known is None and name == "distance":
            made = without.rebased(thing, [walker.state for walker in setting.walkers])
            notes.append(
                f"{name}: {type(made).__name__}, a class of your own, stays pickled; derived from "
                "this package's Distance now, it measures the same, to the bit, without wepy"
            )
            return made
        if known not in table:
            own = "a class of your own" if known is None else "no counterpart"
            raise NeedsWepy(own)
        made = table[known](thing, setting)
    except (NeedsWepy, ValueError, WepystoreError) as problem:
        notes.append(
            f"{name}: {type(thing).__name__} stays as it is, pickled, and needs wepy: {problem}"
        )
        setting.reasons[name] = f"{type(thing).__name__}: {problem}"
        return thing
    notes.append(f"{name}: {type(thing).__name__} of wepy is now {type(made).__name__}")
    return made


def _with_native_distance(resampler: Any, setting: _Setting) -> Any:
    """A resampler of ours, and all that it remembers, with what became of wepy's distance."""
    theirs = resampler.distance
    distance = _part("distance", theirs, _DISTANCES, setting)
    if distance is theirs:
        return resampler
    made = type(resampler).from_params(
        {**resampler.params(), "distance": distance}, resampler.version
    )
    state = resampler.state()
    images = state.pop("images", state.pop("image_list", None))
    if images is not None:
        state |= _stored_images([_image(image, theirs, distance) for image in images])
    made.restore(state)
    return made


def _plain_scalars(walkers: Sequence[Any]) -> list[Walker]:
    known: dict[int, WalkerState] = {}
    for walker in walkers:
        state = walker.state
        if id(state) not in known:
            known[id(state)] = WalkerState(
                **{
                    name: array.reshape(()) if name in _SCALARS and array.size == 1 else array
                    for name, array in state.items()
                }
            )
    return [Walker(known[id(walker.state)], walker.weight) for walker in walkers]


# ---- runners


def _openmm(runner: Any, setting: _Setting) -> OpenMMRunner:
    asked = dict(runner.getState_kwargs)
    enforce_box = bool(asked.pop("enforcePeriodicBox", False))
    # What wepy's own constructor adds to it by mistake, and OpenMM has no keyword for.
    asked.pop("enforce_box", None)
    unknown = sorted(set(asked) - set(_FIELDS_OF))
    if unknown:
        raise NeedsWepy(f"its states are asked for with {unknown[0]}")
    fields = [name for key, names in _FIELDS_OF.items() if asked.get(key) for name in names]
    made = OpenMMRunner(
        system=runner.system,
        topology=topology_text(runner.topology),
        integrator=runner.integrator,
        platform=runner.platform_name,
        platform_properties={k: str(v) for k, v in (runner.platform_kwargs or {}).items()},
        state_fields=(*fields, "box_vectors", "time", "box_volume"),
        enforce_box=enforce_box,
    )
    if enforce_box and not made.periodic:
        # Wrapping particles of a system without a box would tear them apart.
        made.enforce_box = False
        setting.notes.append(
            "runner: positions are no longer wrapped into the box, which the system has not"
        )
    return made


def _random_walk(runner: Any, setting: _Setting) -> RandomWalkRunner:
    positions = setting.state["positions"]
    if positions.ndim != 2 or len(positions) != 1:
        raise NeedsWepy(f"positions of shape {positions.shape}, not (1, n)")
    return RandomWalkRunner(runner.probability, positions.shape[1])


_RUNNERS: dict[str, Converter] = {
    "wepy.runners.openmm.OpenMMRunner": _openmm,
    "wepy.runners.randomwalk.RandomWalkRunner": _random_walk,
}


# ---- boundary conditions


def _unbinding(bc: Any, setting: _Setting) -> UnbindingBC:
    return UnbindingBC(
        cutoff_distance=bc.cutoff_distance,
        ligand_idxs=[int(i) for i in bc.ligand_idxs],
        receptor_idxs=[int(i) for i in bc.receptor_idxs],
        periodic=setting.shared_box("UnbindingBC"),
        **_initial(bc),
    )


def _random_walk_target(bc: Any, setting: _Setting) -> RandomWalkTargetBC:
    return RandomWalkTargetBC(threshold=bc.threshold, **_initial(bc))


def _initial(bc: Any) -> dict[str, Any]:
    states = [s if isinstance(s, WalkerState) else native_state(s) for s in bc.initial_states]
    return {
        "initial_states": [w.state for w in _plain_scalars([Walker(s, 1.0) for s in states])],
        "initial_weights": [float(weight) for weight in bc.initial_weights],
    }


_BOUNDARIES: dict[str, Converter] = {
    "wepy.boundary_conditions.receptor.UnbindingBC": _unbinding,
    "wepy.boundary_conditions.randomwalk.RandomWalkBC": _random_walk_target,
    "wepy.boundary_conditions.boundary.NoBC": lambda bc, setting: NoBC(),
}


# ---- distances


def _pair(distance: Any, setting: _Setting) -> PairDistance:
    pairs = [(int(i), int(j)) for i, j in distance.pair_list]
    if len(pairs) != 1:
        raise NeedsWepy(f"{len(pairs)} pairs of atoms")
    ((i, j),) = pairs
    periodic = bool(distance.periodic) and setting.shared_box("PairDistance")
    return PairDistance(i, j, periodic=periodic)


def _xy(distance: Any, setting: _Setting) -> CoordinateDistance:
    sizes = {name: np.size(setting.state.get(name, ())) for name in ("x", "y")}
    if set(sizes.values()) != {1}:
        raise NeedsWepy("it looks at fields x and y of a state, of one number each")
    return CoordinateDistance(FieldCoordinate(["x", "y"]))


def _receptor(cls: Any) -> Converter:
    def make(distance: Any, setting: _Setting) -> Any:
        ligand = [int(i) for i in distance._lig_idxs]
        site = [int(i) for i in distance._bs_idxs]
        # wepy keeps of the reference only these atoms, centred on the binding site.
        positions = np.zeros_like(setting.state["positions"])
        positions[[*ligand, *site]] = distance.ref_image
        periodic = setting.shared_box(cls.__name__)
        box = {"box_vectors": setting.state["box_vectors"]} if periodic else {}
        return cls(ligand, site, WalkerState(positions=positions, **box), periodic=periodic)

    return make


_DISTANCES: dict[str, Converter] = {
    "wepy.resampling.distances.distance.XYEuclideanDistance": _xy,
    "wepy.resampling.distances.randomwalk.RandomWalkDistance": lambda distance, setting: (
        RandomWalkDistance()
    ),
    "wepy.resampling.distances.distance.AtomPairDistance": _pair,
    "wepy.resampling.distances.receptor.UnbindingDistance": _receptor(UnbindingDistance),
    "wepy.resampling.distances.receptor.RebindingDistance": _receptor(RebindingDistance),
}


# ---- resamplers


def _wexplore(resampler: Any, setting: _Setting) -> WExploreResampler:
    theirs = resampler.distance
    distance = _part("distance", theirs, _DISTANCES, setting)
    made = WExploreResampler(
        distance=distance,
        max_n_regions=resampler.max_n_regions,
        max_region_sizes=resampler.max_region_sizes,
        pmin=resampler.pmin,
        pmax=resampler.pmax,
    )
    tree = resampler.region_tree
    made.restore(_regions(tree.regions, [_image(image, theirs, distance) for image in tree.images]))
    return made


def _regions(leaves: Sequence[Any], images: list[Any]) -> dict[str, Any]:
    """The state of a WExploreResampler: for each region where it left those before it."""
    known: set[tuple[int, ...]] = {()}
    branches = []
    for leaf_id in leaves:
        leaf = tuple(int(ordinal) for ordinal in leaf_id)
        level = max(k for k in range(len(leaf)) if leaf[:k] in known)
        branches.append([level, list(leaf)])
        known.update(leaf[:k] for k in range(len(leaf) + 1))
    return {"branches": branches, **_stored_images(images)}


def _stored_images(images: list[Any]) -> dict[str, Any]:
    alike = len({np.shape(image) for image in images}) == 1
    if alike and all(isinstance(image, np.ndarray) for image in images):
        return {"images": np.array(images, dtype=np.float64)}
    return {"image_list": images}


def _image(image: Any, theirs: Any, ours: Any) -> Any:
    """An image of wepy's distance as one of the distance that took its place."""
    if isinstance(ours, CoordinateDistance):
        return np.ravel(image)
    if not isinstance(ours, ReceptorLigandDistance):
        return image
    ligand = np.asarray(image)[: len(ours.ligand_idxs)]
    if isinstance(ours, UnbindingDistance):
        return ligand
    deviation = ligand - np.asarray(theirs.ref_image)[: len(ligand)]
    return np.sqrt((deviation**2).sum(axis=1).mean(keepdims=True))


_OF_REVO = ("merge_dist", "char_dist", "dist_exponent", "merge_alg", "pmin", "pmax")


def _revo(resampler: Any, setting: _Setting) -> REVOResampler:
    return REVOResampler(
        distance=_part("distance", resampler.distance, _DISTANCES, setting),
        weights=bool(resampler.weights),
        **{name: getattr(resampler, name) for name in _OF_REVO},
    )


_RESAMPLERS: dict[str, Converter] = {
    "wepy.resampling.resamplers.wexplore.WExploreResampler": _wexplore,
    "wepy.resampling.resamplers.revo.REVOResampler": _revo,
    "wepy.resampling.resamplers.resampler.NoResampler": lambda resampler, setting: NoResampler(),
}
