"""Run a recorded run again, in memory, and say whether it ends in the same bits (R1, R2)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wepystore.engine.adapt import adapted_runner, releases
from wepystore.engine.ensemble import weights_of
from wepystore.engine.errors import PlatformError
from wepystore.engine.manager import CycleManager, CycleResult
from wepystore.engine.rng import Streams
from wepystore.errors import FailedError
from wepystore.orchestrator.run.environment import (
    Difference,
    differences,
    environment_of,
    step_size_ps,
)
from wepystore.orchestrator.run.mapping import (
    choose_mapper,
    is_other_platform,
    properties_of_workers,
    useful_workers,
)
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.run.start import Start, start_from_store
from wepystore.orchestrator.run.watching import Begun, Progress, Watcher, added
from wepystore.orchestrator.verify.comparison import Comparison, compare
from wepystore.records import pickles
from wepystore.records.configuration import Configuration
from wepystore.records.library import load_run
from wepystore.records.run import RunRecord
from wepystore.records.sinks import Hashing
from wepystore.records.snapshot import Snapshot, encode_snapshot
from wepystore.records.trust import Trust, tell
from wepystore.store.names import Ref
from wepystore.store.runs import read_run
from wepystore.store.store import Store


class NotRepeatableError(FailedError):
    """run {run} cannot be repeated: it comes from wepy 1.x, which noted neither its seed nor its
    number of steps"""


class RecordedPlatformError(FailedError):
    """the run was made on platform {platform}, which cannot be used here: {problem};
    {to_choose_platform} repeats it on another one, whose last bits may differ"""


@dataclass(frozen=True)
class Verdict:
    """What came of a repetition.

    Attributes
    ----------
    run : str
        Hash of the record.
    end : str
        Hash of the end as it came out now.
    reproduced : bool
        Whether that is the recorded one, to the bit.
    promised : bool
        Whether the record says that it must be, and the platform is the recorded one.
    reason : str or None
        Why the record promises nothing.
    differences : list of Difference
        What of the environment is not as it was.
    changes : list of str
        What of it had changed when the recorded run was resumed.
    comparison : Comparison or None
        None where the run was reproduced, or the recorded end is not in the store.
    same_until, other_after : int or None
        Cycles after which another record of the same run, a checkpoint's, has the same
        and another snapshot. They narrow down where the two came apart.
    """

    run: str
    record: RunRecord
    end: str
    reproduced: bool
    promised: bool
    reason: str | None
    environment: dict[str, Any]
    differences: list[Difference]
    changes: list[str]
    comparison: Comparison | None
    same_until: int | None
    other_after: int | None


def verify(
    store: Store,
    run: str,
    means: Means,
    watcher: Watcher | None = None,
    trust: Trust | None = None,
) -> Verdict:
    """Repeat a run of `store` from its start, without reporters and checkpoints.

    Nothing is written. Without `means.platform` it is on the one that the record names. Raises
    NotRepeatableError, RecordedPlatformError, MissingError and IncompleteError (start or
    configuration are not there), UntrustedPickleError.
    """
    record = load_run(store, run)
    if record.seed is None or record.n_steps is None:
        raise NotRepeatableError(run=run)
    for entry in (record.start, record.config):
        # By SHA-256 as well, which start_from_store cannot know of.
        store.read(entry.kind, entry.md5, entry.ref)
    start = start_from_store(store, record.start.md5, record.config.md5, trust=trust)
    # What it pickles to have a hash is kept nowhere, so nobody will be asked to trust it.
    before = tell(lambda sha256: None)
    try:
        return _Repetition(store, run, record, start, means).verdict(watcher or Watcher())
    finally:
        tell(before)


class _Repetition:
    """One run being repeated."""

    def __init__(
        self, store: Store, run: str, record: RunRecord, start: Start, means: Means
    ) -> None:
        self._store, self._run, self._record = store, run, record
        self._apparatus = start.snapshot.apparatus
        self._runner = adapted_runner(self._apparatus.runner)
        self._init_walkers = start.take_walkers()
        self._n_walkers = len(self._init_walkers)
        self._workers = useful_workers(means.n_workers, self._n_walkers)
        self._platform, self._properties = _platform_of(record, start.configuration, means.platform)
        # Its result may be what the record says, but is not promised to be.
        self._elsewhere = means.platform not in (None, record.environment.get("platform"))
        mapper = start.configuration.work_mapper
        # What the run itself was made with, which decides what its record could promise.
        recorded = record.circumstances.platform_override
        then = choose_mapper(
            mapper,
            None,
            other_platform=is_other_platform(
                recorded if isinstance(recorded, str) else None,
                start.configuration.platform,
                self._runner,
            ),
        )
        self._of_workers = properties_of_workers(
            then, dict(record.environment.get("platform_properties") or {})
        )
        self._mapper = choose_mapper(
            then, self._workers, means.scheduler, other_platform=self._elsewhere
        )
        self._check_platform(means.platform is None)
        runner_options: dict[str, Any] = {}
        if self._platform is not None:
            runner_options["platform"] = self._platform
            if self._properties:
                runner_options["platform_kwargs"] = self._properties
        self._manager = CycleManager(
            init_walkers=self._init_walkers,
            runner=self._runner,
            boundary_conditions=self._apparatus.boundary_conditions,
            resampler=self._apparatus.resampler,
            work_mapper=self._mapper,
            streams=Streams([_whole(record.seed), int(record.start.md5, 16)]),
            runner_options=runner_options,
            dumps=pickles.dumps,
        )
        self._waypoints = _waypoints(store, run, record)
        self._same_until: int | None = None
        self._other_after: int | None = None
        self._sink = Hashing()

    def _check_platform(self, recorded: bool) -> None:
        if not hasattr(self._runner, "check_platform"):
            return
        try:
            for each in properties_of_workers(self._mapper, self._properties):
                self._runner.check_platform(self._platform, each)
        except PlatformError as problem:
            if not recorded:
                raise
            raise RecordedPlatformError(
                platform=self._platform, problem=problem.fields.get("problem", problem)
            ) from None

    def verdict(self, watcher: Watcher) -> Verdict:
        try:
            self._manager.init(
                num_workers=useful_workers(self._workers, self._n_walkers, self._mapper)
            )
            record = self._record
            watcher.begun(Begun(self._n_walkers, _whole(record.n_steps), _whole(record.seed)))
            walkers = self._cycles(watcher)
        finally:
            self._manager.cleanup()
        apparatus = self._apparatus
        end = self._hash(walkers)
        reproduced = end == record.end.ref
        environment = environment_of(self._runner, self._platform, self._properties) | releases(
            apparatus.runner, apparatus.boundary_conditions, apparatus.resampler
        )
        comparison = None
        if not reproduced and self._has_the_end():
            comparison = compare(self._store, record.end.ref, walkers, apparatus)
        return Verdict(
            run=self._run,
            record=record,
            end=end.md5,
            reproduced=reproduced,
            promised=record.reproducible and not self._elsewhere,
            reason=None if record.reproducible else self._reason(),
            environment=environment,
            differences=differences(record.environment, environment),
            changes=_changes_between_sessions(record),
            comparison=comparison,
            same_until=self._same_until,
            other_after=self._other_after,
        )

    def _has_the_end(self) -> bool:
        end = self._record.end.md5
        return self._store.has("snapshots", end) and not self._store.missing("snapshots", end)

    def _cycles(self, watcher: Watcher) -> Sequence[Any]:
        # Large systems' start walkers are not to stay in memory for as long as a run takes.
        walkers, self._init_walkers = self._init_walkers, ()
        self._manager.init_walkers = ()
        begun = time.monotonic()
        n_warped = 0
        n_cloned: int | None = 0
        n_merged: int | None = 0
        for cycle_idx in range(self._record.n_cycles):
            result = self._manager.run_cycle(walkers, _whole(self._record.n_steps), cycle_idx)
            walkers = result.walkers
            n_warped += result.n_warped
            n_cloned = added(n_cloned, result.n_cloned)
            n_merged = added(n_merged, result.n_merged)
            progress = self._progress(result, cycle_idx + 1, time.monotonic() - begun)
            watcher.cycle_done(
                replace(progress, n_warped=n_warped, n_cloned=n_cloned, n_merged=n_merged)
            )
            self._look_at_waypoint(walkers, cycle_idx + 1)
        return walkers

    def _look_at_waypoint(self, walkers: Sequence[Any], n_done: int) -> None:
        recorded = self._waypoints.get(n_done)
        if recorded is None or self._other_after is not None:
            return
        if self._hash(walkers) in recorded:
            self._same_until = n_done
        else:
            self._other_after = n_done

    def _hash(self, walkers: Sequence[Any]) -> Ref:
        return encode_snapshot(Snapshot.as_found(walkers, self._apparatus), self._sink)

    def _progress(self, result: CycleResult, n_done: int, elapsed: float) -> Progress:
        n_cycles = self._record.n_cycles
        weights = weights_of(result.walkers)
        remaining = (n_cycles - n_done) * elapsed / n_done
        step_ps = step_size_ps(self._runner)
        ns_per_day = None
        if step_ps is not None and elapsed > 0:
            sampled_ns = len(weights) * n_done * _whole(self._record.n_steps) * step_ps / 1000
            ns_per_day = sampled_ns / elapsed * 86400
        return Progress(
            n_cycles_done=n_done,
            n_cycles=n_cycles,
            elapsed=elapsed,
            remaining=remaining,
            seconds=elapsed + remaining,
            ns_per_day=ns_per_day,
            weight_min=float(weights.min()),
            weight_max=float(weights.max()),
            n_warped=0,
        )

    def _reason(self) -> str:
        """Why the record promises nothing."""
        environment = self._record.environment
        platform = environment.get("platform")
        properties = dict(environment.get("platform_properties") or {})
        changed = _changes_between_sessions(self._record)
        check = getattr(self._runner, "reproducible", None)
        if check is None:
            return "its runner does not say whether equal seeds give equal bits"
        for own in self._of_workers:
            if own and check(platform, properties) and not check(platform, own):
                shown = ", ".join(f"{name}={value}" for name, value in sorted(own.items()))
                return (
                    f"the configuration gives a worker properties with which platform {platform} "
                    f"is not known to give the same bits twice ({shown})"
                )
        if check(platform, properties) and changed:
            return f"it was resumed in another environment ({', '.join(changed)})"
        if check(platform, properties):
            return "a component of it may draw random numbers that do not come from the seed"
        if platform is None:
            return "its runner is not known to give equal bits for equal seeds"
        shown = ", ".join(f"{name}={value}" for name, value in sorted(properties.items()))
        with_properties = f" with {shown}" if shown else ""
        return f"platform {platform}{with_properties} is not known to give the same bits twice"


def distinct(store: Store, runs: Sequence[str]) -> list[str]:
    """Of each set of records that one repetition can prove or disprove, the first.

    Two machines that executed the same run leave two records, which differ in their times.
    """
    found: dict[str, str] = {}
    for run in runs:
        record = load_run(store, run)
        environment = record.environment
        facts = [
            *(record.start.md5, record.end.md5, record.config.md5),
            *(record.seed, record.n_steps, record.n_cycles, record.reproducible),
            *(environment.get("platform"), environment.get("platform_properties")),
            record.circumstances.platform_override,
        ]
        found.setdefault(json.dumps(facts, sort_keys=True), run)
    return list(found.values())


def _changes_between_sessions(record: RunRecord) -> list[str]:
    """Fields of the environment in which the sessions of an interrupted run differed."""
    fields: list[str] = []
    # A record may come from anybody.
    for each in record.circumstances.resumed_from or ():
        differs = each.get("differs")
        fields += [str(name) for name in differs] if isinstance(differs, list) else []
    return list(dict.fromkeys(fields))


def _platform_of(
    record: RunRecord, configuration: Configuration, override: str | None
) -> tuple[str | None, dict[str, str]]:
    """Platform and properties to repeat a run with.

    The record names what was really used, also where neither the configuration nor the
    runner named one and the machine decided.
    """
    environment = record.environment
    recorded = environment.get("platform")
    name = override or recorded
    if name is not None and name == recorded:
        return name, dict(environment.get("platform_properties") or {})
    name = name or record.circumstances.platform_override or configuration.platform
    if name is not None and name == configuration.platform:
        return name, dict(configuration.platform_properties or {})
    return name, {}


def _waypoints(store: Store, run: str, record: RunRecord) -> dict[int, list[Ref]]:
    """The ends of shorter records of the same run, which are its checkpoints, by their cycles."""
    found: dict[int, list[Ref]] = {}
    for md5 in store.hashes("runs"):
        brief = read_run(store, md5)
        same = (brief.start, brief.config) == (record.start.md5, record.config.md5)
        if md5 == run or not same or not 0 < brief.n_cycles < record.n_cycles:
            continue
        other = load_run(store, md5)
        if (other.seed, other.n_steps) == (record.seed, record.n_steps) and (
            other.environment.get("platform"),
            other.environment.get("platform_properties"),
        ) == (record.environment.get("platform"), record.environment.get("platform_properties")):
            found.setdefault(other.n_cycles, []).append(other.end.ref)
    return found


def _whole(number: int | None) -> int:
    assert number is not None  # verify() has refused records without it.
    return number
