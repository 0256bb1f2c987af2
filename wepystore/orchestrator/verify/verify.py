"""Run a recorded run again, in memory, and say whether it ends in the same bits (R1, R2)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wepystore.engine.adapt import adapted_runner
from wepystore.engine.errors import PlatformError
from wepystore.engine.kept_frames import Recording
from wepystore.errors import FailedError
from wepystore.orchestrator.run.environment import (
    EnvironmentDifference,
    differences,
    step_size_ps,
)
from wepystore.orchestrator.run.mapping import (
    choose_mapper,
    is_other_platform,
    properties_of_workers,
)
from wepystore.orchestrator.run.preparation import Preparation
from wepystore.orchestrator.run.recorder import Recorder, SoFar
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.run.start import Start, start_from
from wepystore.orchestrator.run.watching import Begun, Progress, Watcher
from wepystore.orchestrator.verify.comparison import Comparison, compare
from wepystore.orchestrator.verify.recordings import Parting, Recorded
from wepystore.records.circumstances import NOTHING_YET
from wepystore.records.configuration import Configuration
from wepystore.records.library import load_run
from wepystore.records.run import RunRecord
from wepystore.records.run_frames import read_frames
from wepystore.records.sinks import Hashing, Remembering
from wepystore.records.snapshot import Snapshot, encode_snapshot
from wepystore.records.tables import read_recording
from wepystore.records.trust import Trust, tell
from wepystore.reporters.flux import Flux
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
    record : RunRecord
    end : str
        Hash of the end as it came out now.
    reproduced : bool
        Whether that is the recorded one, to the bit.
    promised : bool
        Whether the record says that it must be, and the platform is the recorded one.
    reason : str or None
        Why the record promises nothing.
    differences : list of EnvironmentDifference
        What of the environment is not as it was.
    changes : list of str
        What of it had changed when the recorded run was resumed.
    comparison : Comparison or None
        None where the run was reproduced, or the recorded end is not in the store.
    same_until, other_after : int or None
        Cycles after which another record of the same run, a checkpoint's, has the same
        and another snapshot. They narrow down where the two came apart.
    is_recorded : bool
        Whether the run has a recording that is here whole, which was compared.
    frames_elsewhere : str or None
        Hash of its frames, if these are not here, and so were not compared.
    parting : Parting or None
        The first thing in which that differs from what happened now.
    other_facts : list of str
        What it tells of the run as a whole that is other now, such as "masses" or "frames/fields":
        keys of its manifest.
    """

    run: str
    record: RunRecord
    end: str
    reproduced: bool
    promised: bool
    reason: str | None
    environment: dict[str, Any] = field(repr=False)
    differences: list[EnvironmentDifference]
    changes: list[str]
    comparison: Comparison | None
    same_until: int | None
    other_after: int | None
    is_recorded: bool
    frames_elsewhere: str | None
    parting: Parting | None
    other_facts: list[str]

    @property
    def is_same(self) -> bool:
        """Whether the end and all that is recorded are as they were."""
        return self.reproduced and self.parting is None and not self.other_facts


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
        # By SHA-256 as well, which start_from cannot know of.
        store.read(entry.kind, entry.md5, entry.ref)
    start = start_from(store, record.start.md5, record.config.md5, trust=trust)
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
        assert record.seed is not None and record.n_steps is not None
        self._n_steps, self._seed = record.n_steps, record.seed
        configuration = start.configuration
        platform, properties = _platform_of(record, configuration, means.platform)
        # Its result may be what the record says, but is not promised to be.
        self._elsewhere = means.platform not in (None, record.environment.get("platform"))
        # What the run itself was made with, which decides what its record could promise.
        override = record.execution.platform_override
        runner = adapted_runner(start.snapshot.apparatus.runner)
        then = choose_mapper(
            configuration.work_mapper,
            None,
            other_platform=is_other_platform(override, configuration.platform, runner),
        )
        self._of_workers = properties_of_workers(
            then, dict(record.environment.get("platform_properties") or {})
        )
        try:
            self._prepared = Preparation(
                start, means, self._seed, platform, properties, then, self._elsewhere
            )
        except PlatformError as problem:
            if means.platform is not None:
                raise
            raise RecordedPlatformError(
                platform=platform, problem=problem.fields.get("problem", problem)
            ) from None
        self._waypoints = _waypoints(store, run, record)
        self._same_until: int | None = None
        self._other_after: int | None = None
        self._sink = Remembering(Hashing(), {})
        self._recorded = self._recorder = None
        self._frames_elsewhere: str | None = None
        if record.recording is not None and not store.lacking([record.recording]):
            recording = read_recording(store, record)
            assert recording is not None
            frames = None
            if recording.frames is not None:
                md5 = recording.frames.entry.md5
                if not store.is_there("frames", md5):
                    self._frames_elsewhere = md5
                else:
                    frames = read_frames(store, recording, "its recording")
            self._recorded = Recorded(store, recording, frames)
            self._recorder = Recorder.begun(
                self._prepared.manager,
                self._n_steps,
                configuration.recording or Recording(),
                SoFar(recording, frames=frames),
            )
            self._recorder.put_with(self._recorded)
            self._prepared.manager.record = self._recorder

    def verdict(self, watcher: Watcher) -> Verdict:
        record, prepared = self._record, self._prepared
        try:
            prepared.manager.init(num_workers=prepared.n_workers)
            watcher.begun(Begun(prepared.n_walkers, self._n_steps, self._seed))
            walkers = self._cycles(watcher)
        finally:
            prepared.manager.cleanup()
        apparatus, environment = prepared.apparatus, prepared.environment
        end, recorded = self._hash(walkers), record.end.ref
        reproduced = end == recorded
        has_the_end = self._store.has("snapshots", recorded.md5)
        other_facts: list[str] = []
        if self._recorded is not None and self._recorder is not None:
            assert record.recording is not None
            self._recorded.take_rest(*self._recorder.rest())
            other_facts = self._recorded.other_facts(record.recording, self._recorder)
        comparison = None
        if not reproduced and has_the_end and not self._store.missing("snapshots", recorded.md5):
            comparison = compare(self._store, recorded, walkers, apparatus)
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
            is_recorded=self._recorded is not None,
            frames_elsewhere=self._frames_elsewhere,
            parting=self._recorded.parting if self._recorded is not None else None,
            other_facts=other_facts,
        )

    def _cycles(self, watcher: Watcher) -> Sequence[Any]:
        manager, record = self._prepared.manager, self._record
        # Large systems' start walkers are not to stay in memory for as long as a run takes.
        walkers, manager.init_walkers = manager.init_walkers, ()
        begun, sampled_ps, flux = time.monotonic(), 0.0, Flux()
        how = NOTHING_YET._replace(step_size_ps=step_size_ps(self._prepared.runner))
        for n_done in range(1, record.n_cycles + 1):
            result = manager.run_cycle(walkers, self._n_steps, n_done - 1)
            one = how.time_of(self._n_steps)
            sampled_ps += one * len(walkers) if how.step_size_ps else 0.0
            flux = flux.after(one, result.warped)
            walkers = result.walkers
            how = how.counting(result.n_warped, result.n_cloned, result.n_merged)
            elapsed = time.monotonic() - begun
            remaining = (record.n_cycles - n_done) * elapsed / n_done
            watcher.cycle_done(
                Progress.after(
                    result,
                    how,
                    sampled_ps=sampled_ps,
                    cycling=elapsed,
                    elapsed=elapsed,
                    n_cycles_done=n_done,
                    n_cycles=record.n_cycles,
                    remaining=remaining,
                    seconds=elapsed + remaining,
                    flux=flux,
                )
            )
            if n_done in self._waypoints and self._other_after is None:
                if self._hash(walkers) in self._waypoints[n_done]:
                    self._same_until = n_done
                else:
                    self._other_after = n_done
        return walkers

    def _hash(self, walkers: Sequence[Any]) -> Ref:
        return encode_snapshot(Snapshot.as_found(walkers, self._prepared.apparatus), self._sink)

    def _reason(self) -> str:
        """Why the record promises nothing."""
        environment = self._record.environment
        platform = environment.get("platform")
        properties = dict(environment.get("platform_properties") or {})
        changed = _changes_between_sessions(self._record)
        check = self._prepared.can.reproducible
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
            None if record.recording is None else record.recording.md5,
            *(environment.get("platform"), environment.get("platform_properties")),
            record.execution.platform_override,
        ]
        found.setdefault(json.dumps(facts, sort_keys=True), run)
    return list(found.values())


def _changes_between_sessions(record: RunRecord) -> list[str]:
    """Fields of the environment in which the sessions of an interrupted run differed."""
    fields: list[str] = []
    # A record may come from anybody.
    for each in record.execution.resumed_from or ():
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
    name = name or record.execution.platform_override or configuration.platform
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
