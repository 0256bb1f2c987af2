"""Names under which built-in components stand in a store.

A name, once released, keeps its meaning for ever: manifests use it instead of
the class's place in the package, which may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from wepystore.records.errors import UnknownComponentError

#: Stored name -> the module of its class.
PLACES = {
    "OpenMMRunner": "wepystore.engine.runners.openmm",
    "RandomWalkRunner": "wepystore.engine.runners.random_walk",
    "OverdampedLangevinRunner": "wepystore.engine.runners.langevin",
    "DoubleWell": "wepystore.engine.runners.langevin",
    "Harmonic": "wepystore.engine.runners.langevin",
    "FunctionPotential": "wepystore.engine.runners.langevin",
    "WExploreResampler": "wepystore.engine.resamplers.wexplore.resampler",
    "NoResampler": "wepystore.engine.resamplers.noop",
    "REVOResampler": "wepystore.engine.resamplers.revo",
    "BinResampler": "wepystore.engine.resamplers.bins",
    "UnbindingBC": "wepystore.engine.boundary_conditions.unbinding",
    "RebindingBC": "wepystore.engine.boundary_conditions.rebinding",
    "TargetBC": "wepystore.engine.boundary_conditions.target",
    "RandomWalkTargetBC": "wepystore.engine.boundary_conditions.target",
    "NoBC": "wepystore.engine.boundary_conditions.base",
    "PairDistance": "wepystore.engine.distances.pair",
    "ReceptorLigandDistance": "wepystore.engine.distances.receptor",
    "RebindingDistance": "wepystore.engine.distances.receptor",
    "UnbindingDistance": "wepystore.engine.distances.receptor",
    "RMSDDistance": "wepystore.engine.distances.rmsd",
    "XYDistance": "wepystore.engine.distances.xy",
    "CoordinateDistance": "wepystore.engine.distances.coordinate",
    "PositionCoordinate": "wepystore.engine.distances.coordinate",
    "FieldCoordinate": "wepystore.engine.distances.fields",
    "RandomWalkDistance": "wepystore.engine.distances.random_walk",
    "ImageCoordinate": "wepystore.engine.distances.coordinate",
    "ReferenceCoordinate": "wepystore.engine.distances.coordinate",
    "SerialMapper": "wepystore.engine.mappers.serial",
    "ProcessMapper": "wepystore.engine.mappers.processes",
    "DaskMapper": "wepystore.engine.mappers.dask",
    "Recording": "wepystore.engine.kept_frames",
    "HDF5Reporter": "wepystore.reporters.hdf5",
    "DashboardReporter": "wepystore.reporters.dashboard",
    "InitTopologyReporter": "wepystore.reporters.structures",
    "WalkerReporter": "wepystore.reporters.structures",
    "FamilyTreeReporter": "wepystore.reporters.family_tree",
}


def builtin_name(component: object) -> str | None:
    """The stored name of a built-in component; None for anything else, subclasses included."""
    cls = type(component)
    name = cls.__name__
    if name not in PLACES or not cls.__module__.startswith("wepystore."):
        return None
    return name if builtin_class(name, "") is cls else None


def builtin_class(name: str, where: str) -> Any:
    """The class a stored name stands for."""
    if name not in PLACES:
        raise UnknownComponentError(where=where, name=name)
    return getattr(import_module(PLACES[name]), name)
