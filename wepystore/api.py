"""Everything a script needs, in one place.

from wepystore.api import OpenMMRunner, WExploreResampler, Snapshot, run

Describe: Snapshot of Walkers and an Apparatus (Runner, BoundaryConditions, Resampler with a
Distance), Configuration (mapper, Reporters); prepare_store, save_snapshot, save_configuration.
Run: run, resume, verify, plan_reconcile, reconcile, with a Watcher; Manager for scripts of wepy's.
Read: Store, resolve, load_snapshot, load_configuration, load_run, load_runs, load_tables,
load_lineages, history; read_job. Answer: load_study, load_rates, load_profile, load_reweighting.
Catch: WepystoreError, and below it FailedError, UsageError, DamagedError, UntrustedError and
StoppedError, one for each exit status of the command line, of which all others are.

Positions are in nm, times in ps, durations of runs in s; hashes are 32 digits as a text. Nothing
happens when it is imported. What a program pickles by way of it, its user trusts from then on: see
wepystore.records.trust.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

from wepystore import remotes
from wepystore.answers.between_states import State
from wepystore.answers.errors import (
    AtomsNotKeptError,
    NoProfileError,
    NoRateError,
    NoSuchProgressError,
    NoSuchWalkerError,
    NoSuchWarpError,
    NotAlikeError,
    NotANumberError,
    NothingToCountError,
    NotReweightedError,
    StatesOverlapError,
    StateTextError,
    UnfitBinsError,
    UnknownTimeError,
    UntraceableError,
    UnusableWeightsError,
    WindowError,
)
from wepystore.answers.lineages import Lineage, Lineages, load_lineages
from wepystore.answers.profiles import Profile, load_profile
from wepystore.answers.rates import Rate, Rates, load_rates
from wepystore.answers.reweighting import Reweighting, load_reweighting
from wepystore.answers.study import Study, load_study
from wepystore.answers.through import FluxProfile, flux_profile
from wepystore.compat.wepy.repairs import WepyMissingError, prepare_wepy
from wepystore.coordinates.base import Coordinate
from wepystore.coordinates.composed import Combination, OwnCoordinate
from wepystore.coordinates.errors import (
    CoordinateTextError,
    SelectionTextError,
    UnfitCoordinateError,
    UnknownSystemError,
)
from wepystore.coordinates.geometry import Angle, AtomDistance, Position, Torsion
from wepystore.coordinates.shapes import RMSD, Contacts, RadiusOfGyration
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
    MeasureError,
    NeverResamplesError,
    PlatformError,
    SegmentError,
    StepError,
    UnfitError,
    WeightError,
    WorkerDiedError,
    WrongPartError,
)
from wepystore.engine.kept_frames import Recording
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
from wepystore.orchestrator.attaching import (
    AttachedAlreadyError,
    NoSuchFieldError,
    OfAnotherRunError,
    RecordedAlreadyError,
    add_trajectories,
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
from wepystore.orchestrator.history import history
from wepystore.orchestrator.job.job_status import JobStatus, read_job
from wepystore.orchestrator.run.request import (
    JobOptions,
    Means,
    MeansOptions,
    RequestError,
    RunRequest,
    SessionOptions,
    with_options,
)
from wepystore.orchestrator.run.resume import resume as _resume
from wepystore.orchestrator.run.run import run as _run
from wepystore.orchestrator.run.start import start_from
from wepystore.orchestrator.run.watching import Begun, Progress, RunOutcome, Watcher
from wepystore.orchestrator.setup import DefaultStaysWarning, Prepared, prepare_store
from wepystore.orchestrator.verify.verify import NotRepeatableError, RecordedPlatformError, Verdict
from wepystore.orchestrator.verify.verify import verify as _verify
from wepystore.records.attached import AttachmentsDifferError
from wepystore.records.configuration import Configuration
from wepystore.records.errors import PickleLoadError
from wepystore.records.library import (
    hash_of,
    load_configuration,
    load_frames,
    load_run,
    load_runs,
    load_snapshot,
    load_tables,
    load_times,
    opened,
    save_configuration,
    save_snapshot,
)
from wepystore.records.run import RunRecord
from wepystore.records.run_frames import FramesElsewhereError, NoFramesError, RunFrames
from wepystore.records.snapshot import Apparatus, Snapshot
from wepystore.records.tables import NotJoinableError, NotRecordedError, RunTables
from wepystore.records.times import NoTimesError
from wepystore.records.trust import UntrustedPickleError, users_own
from wepystore.remotes.errors import (
    BrokenOffError,
    MalformedAddressError,
    NoRoomError,
    NotAStoreThereError,
    NotInstalledError,
    UnreachableError,
)
from wepystore.report.figure import Figure
from wepystore.report.making import Report, make_report
from wepystore.report.page import report_html
from wepystore.reporters.base import Reporter
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.family_tree import FamilyTreeReporter
from wepystore.reporters.hdf5 import HDF5Reporter
from wepystore.reporters.hdf5.members import UnreadableHDF5Error
from wepystore.reporters.hdf5.run_in_file import NoSuchRunInFileError, SeveralRunsInFileError
from wepystore.reporters.structures import InitTopologyReporter, WalkerReporter
from wepystore.store.errors import (
    AmbiguousHashError,
    DamagedEntryError,
    IncompleteError,
    MissingError,
    NewerFormatError,
    NoSuchStoreError,
    NotAStoreError,
    NotEmptyError,
    StoreExistsError,
    UnknownHashError,
    WrongKindError,
)
from wepystore.store.merge import Outcome, Plan
from wepystore.store.resolving import resolve
from wepystore.store.store import Store
from wepystore.trajectories.errors import NotAsRecordedError, NothingToWriteError, NotTogetherError
from wepystore.trajectories.exporting import export_lineages, export_run
from wepystore.trajectories.together import export_runs

# fmt: off
__all__ = [
    "RMSD", "AmbiguousHashError", "Angle", "Apparatus", "AtomDistance", "AtomsNotKeptError",
    "AttachedAlreadyError", "AttachmentsDifferError", "Begun", "BinResampler", "BoundaryConditions",
    "BrokenOffError", "BuildWarning", "CheckpointFailedError", "CloneMergeResampler", "Combination",
    "Component", "ComponentError", "Configuration", "Contacts", "Coordinate", "CoordinateDistance",
    "CoordinateTextError", "CycleFailedError", "DamagedEntryError", "DamagedError",
    "DashboardReporter", "DaskMapper", "DefaultStaysWarning", "Distance", "DoubleWell", "Ensemble",
    "EnsembleRunner", "FailedError", "FamilyTreeReporter", "FewerCyclesError", "FieldCoordinate",
    "Figure", "FluxProfile", "FramesElsewhereError", "FunctionPotential", "HDF5Reporter",
    "Harmonic", "ImageCoordinate", "IncompleteError", "InitTopologyReporter", "JobBusyError",
    "JobExistsError", "JobStatus", "Lineage", "Lineages", "MalformedAddressError",
    "MalformedJobError", "Manager", "MeasureError", "MissingError", "NeverResamplesError",
    "NewerFormatError", "NoBC", "NoConfigurationError", "NoFramesError", "NoJobError",
    "NoProfileError", "NoRateError", "NoResampler", "NoRoomError", "NoSuchFieldError",
    "NoSuchProgressError", "NoSuchRunInFileError", "NoSuchStoreError", "NoSuchWalkerError",
    "NoSuchWarpError", "NoTimesError", "NotANumberError", "NotAStoreError", "NotAStoreThereError",
    "NotAlikeError", "NotAsRecordedError", "NotEmptyError", "NotInstalledError", "NotJoinableError",
    "NotRecordedError", "NotRepeatableError", "NotReweightedError", "NotTogetherError",
    "NothingToCountError", "NothingToWriteError", "OfAnotherRunError", "OpenMMRunner", "Outcome",
    "OverdampedLangevinRunner", "OwnCoordinate", "PairDistance", "PickleLoadError", "Plan",
    "PlatformError", "Position", "PositionCoordinate", "Potential", "Prepared", "ProcessMapper",
    "Profile", "Progress", "ProgressCoordinate", "REVOResampler", "RMSDDistance",
    "RadiusOfGyration", "RandomWalkDistance", "RandomWalkRunner", "RandomWalkTargetBC", "Rate",
    "Rates", "RebindingBC", "RebindingDistance", "ReceptorLigandDistance", "RecordedAlreadyError",
    "RecordedPlatformError", "Recording", "ReferenceCoordinate", "Report", "Reporter",
    "RequestError", "Resampler", "Reweighting", "RunFrames", "RunOutcome", "RunRecord", "RunTables",
    "Runner", "SegmentError", "SelectionTextError", "SerialMapper", "SeveralRunsInFileError",
    "Snapshot", "State", "StateTextError", "StatesOverlapError", "StepError", "StoppedError",
    "Store", "StoreExistsError", "Study", "TargetBC", "Torsion", "UnbindingBC", "UnbindingDistance",
    "UnfitBinsError", "UnfitCoordinateError", "UnfitError", "UnknownHashError",
    "UnknownSystemError", "UnknownTimeError", "UnreachableError", "UnreadableHDF5Error",
    "UntraceableError", "UntrustedError", "UntrustedPickleError", "UnusableWeightsError",
    "UsageError", "Verdict", "WExploreResampler", "Walker", "WalkerReporter", "WalkerState",
    "WarpBC", "Watcher", "WeightError", "WepyMissingError", "WepystoreError", "WindowError",
    "WorkerDiedError", "WrongKindError", "WrongPartError", "XYDistance", "add_trajectories",
    "apply_decisions", "as_walker_state", "export_lineages", "export_run", "export_runs",
    "flux_profile", "hash_of", "history", "load_configuration", "load_frames", "load_lineages",
    "load_profile", "load_rates", "load_reweighting", "load_run", "load_runs", "load_snapshot",
    "load_study", "load_tables", "load_times", "make_report", "plan_reconcile", "prepare_store",
    "prepare_wepy", "read_job", "reconcile", "report_html", "resolve", "resume", "run",
    "save_configuration", "save_snapshot", "verify",
]
# fmt: on


StrPath = str | os.PathLike[str]
#: Walkers, and the parts of the apparatus, at the end of a run.
Ended = tuple[Sequence[Any], list[Any]]


@with_options(RunRequest, JobOptions)
def run(
    snapshot: Snapshot | StrPath,
    configuration: Configuration | StrPath | None = None,
    *,
    n_steps: int,
    n_cycles: int | None = None,
    store: Store | StrPath | None = None,
    watcher: Watcher | None = None,
    **options: Unpack[JobOptions],
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
    n_steps, n_cycles, and others
        See Options; None stands for not given. Of n_cycles, seconds and until one must be given:
        with `seconds=math.inf` the run goes on until a signal ends it.
    store : Store, str, path or None
        The store, or a job folder that one is in.
    watcher : Watcher or None
        Told of every cycle.

    Returns
    -------
    RunOutcome
        `store` of it is the job's own store, with start and `end`.

    Raises
    ------
    TypeError
        For what is no option.
    WepystoreError
        RequestError and WrongPartError for what cannot be asked for, JobExistsError for a folder
        that holds a run, UntrustedPickleError for pickles that are neither this user's own nor
        trusted, CycleFailedError for a cycle that failed: what was done before it is kept.
    OSError
        For a file that is not there.
    """
    request = RunRequest.given(n_steps=n_steps, n_cycles=n_cycles, **options)
    if n_cycles is None and options.get("seconds") is None and options.get("until") is None:
        raise RequestError(option="n_cycles", value=None, kind="given, or else seconds or until")
    found = None if store is None else opened(store)
    start = start_from(found, snapshot, configuration, users_own())
    return _run(start, request, watcher or Watcher())


@with_options(RunRequest, SessionOptions, goes_on=True)
def resume(
    job_dir: StrPath,
    *,
    n_cycles: int | None = None,
    watcher: Watcher | None = None,
    **changes: Unpack[SessionOptions],
) -> RunOutcome:
    """Go on with a job that was interrupted, or that is to do more, as the command does.

    Parameters
    ----------
    job_dir : str or path
    n_cycles, and others
        What is to be different from now on, see Options; None for as it was. `seconds` are new
        ones.
    watcher : Watcher or None

    Raises
    ------
    TypeError
        For what is no option, or cannot be another one in a run that has begun.
    WepystoreError
        NoJobError, JobBusyError, MalformedJobError, FewerCyclesError, UntrustedPickleError.
    """
    return _resume(
        Path(job_dir), {"n_cycles": n_cycles, **changes}, watcher or Watcher(), users_own()
    )


@with_options(Means, MeansOptions)
def verify(
    store: Store | StrPath,
    run: str,
    *,
    watcher: Watcher | None = None,
    **means: Unpack[MeansOptions],
) -> Verdict:
    """Repeat a recorded run in memory and compare its end, as the command does.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    run : str
        Hash of its record, or a prefix of it: `record` of a RunOutcome, or of load_runs.
    watcher : Watcher or None

    Raises
    ------
    TypeError
        For what is no option.
    WepystoreError
        NotRepeatableError, RecordedPlatformError, MissingError, UntrustedPickleError.
    """
    found = opened(store)
    _, md5 = resolve(found, run, ("runs",))
    return _verify(found, md5, Means.given(**means), watcher, users_own())


def plan_reconcile(
    target: StrPath,
    source: StrPath,
    *more: StrPath,
    ssh: str | None = None,
    frames: bool = True,
) -> Plan:
    """What `reconcile` would bring; nothing is written."""
    addresses = [os.fspath(each) for each in (source, *more)]
    return remotes.plan_reconcile(target, addresses, ssh, frames=frames)


def reconcile(
    target: StrPath,
    source: StrPath,
    *more: StrPath,
    ssh: str | None = None,
    frames: bool = True,
) -> Outcome:
    """Bring what other stores have, and `target` lacks, into it, as the command does.

    Doing it again brings nothing. What is damaged or incomplete in a source is left out, a tag that
    differs is left as it is: `left` and `conflicts` of what is returned say so.

    Parameters
    ----------
    target : str or path
        A store or a job folder; made if it is not there.
    source, *more : str or path
        Stores, job folders, databases of wepy 1.x, HOST:PATH, or URLs.
    ssh : str or None
        The command to reach other hosts with.
    frames : bool
        False leaves frames where they are. All else comes; they come when it is done without.

    Raises
    ------
    WepystoreError
        NotAStoreError, MalformedAddressError, UnreachableError, NotAStoreThereError,
        NotInstalledError, NoRoomError, BrokenOffError.
    """
    addresses = [os.fspath(each) for each in (source, *more)]
    return remotes.reconcile(target, addresses, ssh, frames=frames)


class Manager:
    """Runs a simulation as a script for wepy asks its class of that name to.

    Each call is a run of its own, recorded in a job folder: options are those of `run`, such as
    seed and job_dir, which the start's hash names where none is given. Returned is what wepy's
    class returns, the walkers and [runner, boundary conditions, resampler] as they are at the end.

    Parameters
    ----------
    init_walkers : sequence of Walker
    runner, work_mapper, resampler, boundary_conditions, reporters, sim_monitor
        As for Apparatus and Configuration; without, in this process, with no boundary and no
        files.

    Attributes
    ----------
    snapshot : Snapshot
        Where runs begin.
    configuration : Configuration
    runs : list of RunOutcome
        Of each call.
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
        self.runs: list[RunOutcome] = []

    def run_simulation(
        self,
        n_cycles: int | None,
        segment_lengths: int | Sequence[int],
        num_workers: int | None = None,
        **options: Unpack[JobOptions],
    ) -> Ended:
        """Run cycles of `segment_lengths` steps: a number, or one for each cycle, all the same (an
        UnfitError if not). None for n_cycles with `seconds` is wepy's run_simulation_by_time."""
        return self._run(self.snapshot, n_cycles, segment_lengths, num_workers, options)

    def continue_run_simulation(
        self,
        run_idx: int,
        n_cycles: int | None,
        segment_lengths: int | Sequence[int],
        num_workers: int | None = None,
        **options: Unpack[JobOptions],
    ) -> Ended:
        """As run_simulation, from the end of the run at `run_idx` of `runs`, -1 for the last.

        A manager without runs begins with its own walkers, as wepy's class always does: if these
        and its parts are what another one returned, that is where its run goes on from.
        """
        start = self._end(run_idx) if self.runs else self.snapshot
        return self._run(start, n_cycles, segment_lengths, num_workers, options)

    def _end(self, run_idx: int) -> Snapshot:
        done = self.runs[run_idx]
        # Pickles of this very process, also where they could not be noted as trusted.
        return load_snapshot(done.store, done.end, lambda parts: None)

    def _run(
        self,
        start: Snapshot,
        n_cycles: int | None,
        lengths: int | Sequence[int],
        num_workers: int | None,
        options: JobOptions,
    ) -> Ended:
        each = set(lengths) if isinstance(lengths, Iterable) else {lengths}
        if len(each) != 1:
            raise UnfitError(
                where="run_simulation",
                problem="its segments are of different lengths",
                way_out="cycles of other lengths are another run: continue_run_simulation",
            )
        options.setdefault("n_workers", num_workers)
        done = run(start, self.configuration, n_steps=each.pop(), n_cycles=n_cycles, **options)
        self.runs.append(done)
        end = self._end(-1)
        parts = end.apparatus
        return end.walkers, [parts.runner, parts.boundary_conditions, parts.resampler]
