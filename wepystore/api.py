"""Everything a script needs to describe a simulation, in one place.

from wepystore.api import OpenMMRunner, WExploreResampler, Snapshot, prepare_store

Nothing happens when it is imported. What a program pickles by way of it, its user trusts from then
on: see wepystore.records.trust.
"""

from wepystore.compat.wepy.repairs import prepare_wepy
from wepystore.engine.boundary_conditions.base import BoundaryConditions, NoBC, WarpBC
from wepystore.engine.boundary_conditions.rebinding import RebindingBC
from wepystore.engine.boundary_conditions.target import RandomWalkTargetBC, TargetBC
from wepystore.engine.boundary_conditions.unbinding import UnbindingBC
from wepystore.engine.component import Component
from wepystore.engine.distances.base import Distance
from wepystore.engine.distances.coordinate import (
    CoordinateDistance,
    ImageCoordinate,
    PositionCoordinate,
    ProgressCoordinate,
    ReferenceCoordinate,
)
from wepystore.engine.distances.fields import FieldCoordinate
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.distances.random_walk import RandomWalkDistance
from wepystore.engine.distances.receptor import (
    RebindingDistance,
    ReceptorLigandDistance,
    UnbindingDistance,
)
from wepystore.engine.distances.rmsd import RMSDDistance
from wepystore.engine.distances.xy import XYDistance
from wepystore.engine.ensemble import Ensemble
from wepystore.engine.mappers.dask import DaskMapper
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.bins import BinResampler
from wepystore.engine.resamplers.clone_merge import CloneMergeResampler
from wepystore.engine.resamplers.decision import apply_decisions
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.resamplers.revo import REVOResampler
from wepystore.engine.resamplers.wexplore import WExploreResampler
from wepystore.engine.runners.base import EnsembleRunner, Runner
from wepystore.engine.runners.langevin import (
    DoubleWell,
    FunctionPotential,
    Harmonic,
    OverdampedLangevinRunner,
    Potential,
)
from wepystore.engine.runners.openmm import OpenMMRunner, as_walker_state
from wepystore.engine.runners.random_walk import RandomWalkRunner
from wepystore.engine.walker import Walker, WalkerState
from wepystore.orchestrator.setup import Prepared, prepare_store
from wepystore.records.configuration import Configuration
from wepystore.records.library import (
    hash_of,
    load_configuration,
    load_run,
    load_snapshot,
    save_configuration,
    save_snapshot,
)
from wepystore.records.snapshot import Apparatus, Snapshot
from wepystore.reporters.base import Reporter
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter
from wepystore.store.store import Store

__all__ = [
    "Apparatus",
    "BinResampler",
    "BoundaryConditions",
    "CloneMergeResampler",
    "Component",
    "Configuration",
    "CoordinateDistance",
    "DashboardReporter",
    "DaskMapper",
    "Distance",
    "DoubleWell",
    "Ensemble",
    "EnsembleRunner",
    "FamilyTreeReporter",
    "FieldCoordinate",
    "FunctionPotential",
    "HDF5Reporter",
    "Harmonic",
    "ImageCoordinate",
    "InitTopologyReporter",
    "NoBC",
    "NoResampler",
    "OpenMMRunner",
    "OverdampedLangevinRunner",
    "PairDistance",
    "PositionCoordinate",
    "Potential",
    "Prepared",
    "ProcessMapper",
    "ProgressCoordinate",
    "REVOResampler",
    "RMSDDistance",
    "RandomWalkDistance",
    "RandomWalkRunner",
    "RandomWalkTargetBC",
    "RebindingBC",
    "RebindingDistance",
    "ReceptorLigandDistance",
    "ReferenceCoordinate",
    "Reporter",
    "Resampler",
    "Runner",
    "SerialMapper",
    "Snapshot",
    "Store",
    "TargetBC",
    "UnbindingBC",
    "UnbindingDistance",
    "WExploreResampler",
    "Walker",
    "WalkerReporter",
    "WalkerState",
    "WarpBC",
    "XYDistance",
    "apply_decisions",
    "as_walker_state",
    "hash_of",
    "load_configuration",
    "load_run",
    "load_snapshot",
    "prepare_store",
    "prepare_wepy",
    "save_configuration",
    "save_snapshot",
]
