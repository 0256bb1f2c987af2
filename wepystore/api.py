"""Everything a script needs, in one place: to describe a simulation, to run it, and to read what is
stored.

from wepystore.api import OpenMMRunner, WExploreResampler, Snapshot, run

Nothing happens when it is imported. What a program pickles by way of it, its user trusts from then
on: see wepystore.records.trust.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

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
from wepystore.engine.errors import (
    ComponentError,
    NeverResamplesError,
    PlatformError,
    SegmentError,
    StepError,
    UnfitError,
    WeightError,
    WorkerDiedError,
    WrongPartError,
)
from wepystore.engine.fit import check_type
from wepystore.engine.mappers.dask import DaskMapper
from wepystore.engine.mappers.processes import ProcessMapper
from wepystore.engine.mappers.serial import SerialMapper
from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.bins import BinResampler
from wepystore.engine.resamplers.clone_merge import CloneMergeResampler
from wepystore.engine.resamplers.decision import apply_decisions
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.resamplers.revo import REVOResampler
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
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
from wepystore.errors import (
    BuildWarning,
    DamagedError,
    FailedError,
    StoppedError,
    UntrustedError,
    UsageError,
    WepystoreError,
)
from wepystore.orchestrator.errors import (
    CheckpointFailedError,
    CycleFailedError,
    FewerCyclesError,
    JobBusyError,
    JobExistsError,
    MalformedJobError,
    NoConfigurationError,
    NoJobError,
)
from wepystore.orchestrator.run.request import Means, RequestError, RunRequest
from wepystore.orchestrator.run.resume import resume as _resume
from wepystore.orchestrator.run.run import run as _run
from wepystore.orchestrator.run.start import (
    start_from_files,
    start_from_objects,
    start_from_store,
)
from wepystore.orchestrator.run.watching import Begun, Progress, RunOutcome, Watcher
from wepystore.orchestrator.setup import DefaultStaysWarning, Prepared, prepare_store
from wepystore.orchestrator.verify.verify import NotRepeatableError, RecordedPlatformError, Verdict
from wepystore.orchestrator.verify.verify import verify as _verify
from wepystore.records.configuration import Configuration
from wepystore.records.library import (
    hash_of,
    load_configuration,
    load_run,
    load_snapshot,
    save_configuration,
    save_snapshot,
)
from wepystore.records.run import RunRecord
from wepystore.records.snapshot import Apparatus, Snapshot
from wepystore.records.trust import UntrustedPickleError, users_own
from wepystore.remotes import sources as _sources
from wepystore.remotes.errors import BrokenOffError, NotAStoreThereError, UnreachableError
from wepystore.reporters.base import Reporter
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter
from wepystore.store import merge
from wepystore.store.errors import (
    AmbiguousHashError,
    IncompleteError,
    MissingError,
    NotAStoreError,
    UnknownHashError,
)
from wepystore.store.merge import Outcome, Plan
from wepystore.store.resolving import resolve
from wepystore.store.store import Store

# fmt: off
__all__ = [
    "AmbiguousHashError", "Apparatus", "Begun", "BinResampler", "BoundaryConditions",
    "BrokenOffError", "BuildWarning", "CheckpointFailedError", "CloneMergeResampler", "Component",
    "ComponentError", "Configuration", "CoordinateDistance", "CycleFailedError",
    "DamagedError", "DashboardReporter", "DaskMapper", "DefaultStaysWarning", "Distance",
    "DoubleWell", "Ensemble", "EnsembleRunner", "FailedError", "FamilyTreeReporter",
    "FewerCyclesError", "FieldCoordinate", "FunctionPotential", "HDF5Reporter", "Harmonic",
    "ImageCoordinate", "IncompleteError", "InitTopologyReporter", "JobBusyError",
    "JobExistsError", "MalformedJobError", "Manager", "MissingError", "NeverResamplesError",
    "NoBC", "NoConfigurationError", "NoJobError", "NoResampler", "NotAStoreError",
    "NotAStoreThereError", "NotRepeatableError", "OpenMMRunner", "Outcome",
    "OverdampedLangevinRunner", "PairDistance", "Plan", "PlatformError", "PositionCoordinate",
    "Potential", "Prepared", "ProcessMapper", "Progress", "ProgressCoordinate", "REVOResampler",
    "RMSDDistance", "RandomWalkDistance", "RandomWalkRunner", "RandomWalkTargetBC", "RebindingBC",
    "RebindingDistance", "ReceptorLigandDistance", "RecordedPlatformError", "ReferenceCoordinate",
    "Reporter", "RequestError", "Resampler", "RunOutcome", "RunRecord", "Runner", "SegmentError",
    "SerialMapper", "Snapshot", "StepError", "StoppedError", "Store", "TargetBC", "UnbindingBC",
    "UnbindingDistance", "UnfitError", "UnknownHashError", "UnreachableError", "UntrustedError",
    "UntrustedPickleError", "UsageError", "Verdict", "WExploreResampler", "Walker",
    "WalkerReporter", "WalkerState", "WarpBC", "Watcher", "WeightError", "WepystoreError",
    "WorkerDiedError", "WrongPartError", "XYDistance", "apply_decisions", "as_walker_state",
    "hash_of", "load_configuration", "load_run", "load_snapshot", "plan_reconcile",
    "prepare_store", "prepare_wepy", "reconcile", "resume", "run", "save_configuration",
    "save_snapshot", "verify",
]
# fmt: on


_Path = str | os.PathLike[str]
_F = TypeVar("_F", bound=Callable[..., Any])


def _with_options(request: type[Means], *fixed: str) -> Callable[[_F], _F]:
    """The options of `request` are the decorated function's `**options`: `help` shows them.

    Where some are fixed, since a run has begun with them, the default of the others is None.
    """

    def show(function: _F) -> _F:
        hints = get_type_hints(request)
        options = [
            each.replace(
                kind=inspect.Parameter.KEYWORD_ONLY,
                annotation=hints[name] | None if fixed else hints[name],
                default=None if fixed else each.default,
            )
            for name, each in inspect.signature(request).parameters.items()
            if name not in fixed
        ]
        own = inspect.signature(function)
        named = list(own.parameters.values())[:-1]
        function.__dict__["__signature__"] = own.replace(parameters=[*named, *options])
        # What RunRequest says comes before what it has of Means.
        said = [inspect.getdoc(each) or "" for each in request.__mro__ if issubclass(each, Means)]
        function.__doc__ = "\n\n".join([inspect.getdoc(function) or "", "Options\n-------", *said])
        return function

    return show


def _store(store: Store | _Path) -> Store:
    return store if isinstance(store, Store) else Store.open(store)


@_with_options(RunRequest)
def run(
    snapshot: Snapshot | _Path,
    configuration: Configuration | _Path | None = None,
    *,
    store: Store | _Path | None = None,
    watcher: Watcher | None = None,
    **options: Any,
) -> RunOutcome:
    """Run cycles in a job folder of their own, as the command of that name does.

    Objects that are given stay as they are: any number of runs may begin from one snapshot, one
    after the other. Ctrl-C and other signals end the run after the cycle, with a checkpoint:
    `stopped_by` of what is returned names it.

    Parameters
    ----------
    snapshot : Snapshot, str or path
        The object; or in `store` a hash, a prefix of one, a tag or "default"; or without a store
        the path of an exported file.
    configuration : Configuration, str, path or None
        Likewise. In a store, None takes its default, or its only one.
    store : Store, str, path or None
    watcher : Watcher or None
        Told of every cycle.
    **options
        What is asked for: n_steps, and one of n_cycles, seconds and until (`seconds=math.inf` is
        no limit: a signal ends the run). See below.

    Returns
    -------
    RunOutcome
        `store` of it is the job's own store, with start and `end`.

    Raises
    ------
    WepystoreError
        RequestError and WrongPartError for what cannot be asked for, JobExistsError for a folder
        that holds a run, UntrustedPickleError for pickles that are neither this user's own nor
        trusted, CycleFailedError for a cycle that failed: what was done before it is kept.
    OSError
        For a file that is not there.
    """
    if options.get("job_dir") is not None:
        options["job_dir"] = Path(options["job_dir"])
    request = RunRequest(**options)
    if all(options.get(limit) is None for limit in ("n_cycles", "seconds", "until")):
        raise RequestError(option="n_cycles", value=None, kind="given, or else seconds or until")
    if not isinstance(snapshot, str | os.PathLike):
        check_type(snapshot, Snapshot, "run(snapshot, configuration)")
        check_type(configuration, Configuration, "run(snapshot, configuration)")
        assert isinstance(configuration, Configuration)
        start = start_from_objects(snapshot, configuration)
    elif store is not None:
        wanted = configuration
        if not isinstance(wanted, Configuration | None):
            wanted = os.fspath(wanted)
        start = start_from_store(_store(store), os.fspath(snapshot), wanted, users_own())
    else:
        if not isinstance(configuration, str | os.PathLike):
            raise UsageError("run(snapshot, configuration) without a store takes two files")
        start = start_from_files(os.fspath(snapshot), os.fspath(configuration), users_own())
    return _run(start, request, watcher or Watcher())


@_with_options(RunRequest, "n_steps", "seed", "job_dir", "job_name", "narration")
def resume(job_dir: _Path, *, watcher: Watcher | None = None, **changes: Any) -> RunOutcome:
    """Go on with a job that was interrupted, or that is to do more, as the command does.

    Parameters
    ----------
    job_dir : str or path
    watcher : Watcher or None
    **changes
        What is to be different from now on, None for as it was. `seconds` are new ones.

    Raises
    ------
    WepystoreError
        NoJobError, JobBusyError, MalformedJobError, FewerCyclesError, UntrustedPickleError.
    """
    return _resume(Path(job_dir), changes, watcher or Watcher(), users_own())


@_with_options(Means)
def verify(
    store: Store | _Path, run: str, *, watcher: Watcher | None = None, **means: Any
) -> Verdict:
    """Repeat a recorded run in memory and compare its end, as the command does.

    Parameters
    ----------
    store : Store, str or path
    run : str
        Hash of its record, or a prefix of it: `store.hashes("runs")`, RunOutcome.record.
    watcher : Watcher or None
    **means
        None of them but the platform can change the result.

    Raises
    ------
    WepystoreError
        NotRepeatableError, RecordedPlatformError, MissingError, UntrustedPickleError.
    """
    found = _store(store)
    _, md5 = resolve(found, run, ("runs",))
    return _verify(found, md5, Means(**means), watcher, users_own())


def plan_reconcile(target: _Path, *sources: _Path, ssh: str | None = None) -> Plan:
    """What `reconcile` would bring; nothing is written."""
    with _sources(target, [os.fspath(each) for each in sources], shell=ssh, dry=True) as found:
        return merge.plan(target, found)


def reconcile(target: _Path, *sources: _Path, ssh: str | None = None) -> Outcome:
    """Bring what other stores have, and `target` lacks, into it, as the command does.

    Doing it again brings nothing. What is damaged or incomplete in a source is left out, a tag that
    differs is left as it is: `left` and `conflicts` of what is returned say so.

    Parameters
    ----------
    target : str or path
        Made if it is not there.
    *sources : str or path
        Stores, databases of wepy 1.x, HOST:PATH, or URLs.
    ssh : str or None
        The command to reach other hosts with.

    Raises
    ------
    WepystoreError
        NotAStoreError, UnreachableError, NotAStoreThereError, BrokenOffError.
    """
    with _sources(target, [os.fspath(each) for each in sources], shell=ssh) as found:
        plan = merge.plan(target, found)
        merge.fetch(plan)
        return merge.apply(plan)


class Manager:
    """Runs a simulation as a script for wepy asks its class of that name to.

    Each call is a run of its own, recorded in a job folder, from the walkers given here.

    Parameters
    ----------
    init_walkers : sequence of Walker
    runner, work_mapper, resampler, boundary_conditions, reporters
        As for Apparatus and Configuration; without, in this process, with no boundary and no
        files.
    """

    def __init__(
        self,
        init_walkers: Sequence[Any],
        runner: Any,
        work_mapper: Any = None,
        resampler: Any = None,
        boundary_conditions: Any = None,
        reporters: Sequence[Any] | None = None,
        sim_monitor: Any = None,
    ) -> None:
        apparatus = Apparatus(runner, boundary_conditions or NoBC(), resampler or NoResampler())
        self.snapshot = Snapshot(init_walkers, apparatus)
        self.configuration = Configuration(
            work_mapper or SerialMapper(), list(reporters or ()), sim_monitor
        )

    def run_simulation(
        self,
        n_cycles: int,
        segment_lengths: int | Sequence[int],
        num_workers: int | None = None,
        **options: Any,
    ) -> tuple[Sequence[Any], list[Any]]:
        """Run cycles of `segment_lengths` steps: a number, or one for each cycle, all the same.

        `options` are those of `run`, such as seed and job_dir. Returns the walkers, and
        [runner, boundary conditions, resampler] as they are at the end. Raises as `run`, and
        UnfitError for segments of different lengths.
        """
        lengths = {segment_lengths} if isinstance(segment_lengths, int) else set(segment_lengths)
        if len(lengths) != 1:
            raise UnfitError(
                where="run_simulation",
                problem="its segments are of different lengths",
                way_out="cycles of other lengths are another run, from the end of this one",
            )
        done = run(
            self.snapshot,
            self.configuration,
            n_steps=lengths.pop(),
            n_cycles=n_cycles,
            n_workers=num_workers,
            **options,
        )
        end = load_snapshot(Store.open(done.store), done.end)
        parts = end.apparatus
        return end.walkers, [parts.runner, parts.boundary_conditions, parts.resampler]
