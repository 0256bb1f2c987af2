"""Go on with a job that was interrupted, as if it never had been (R2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wepystore.errors import DamagedError
from wepystore.orchestrator.errors import FewerCyclesError, MalformedJobError
from wepystore.orchestrator.job.job import SPEC, Job, JobSpec, limit_or_none
from wepystore.orchestrator.run.budget import Budget, StopSignals
from wepystore.orchestrator.run.request import (
    GRACE_S,
    N_CYCLES,
    SECONDS,
    Past,
    RunOptions,
    RunOutcome,
    Start,
    Watcher,
)
from wepystore.orchestrator.run.run import carry_out
from wepystore.orchestrator.run.session import Execution
from wepystore.orchestrator.run.start import start_from_store
from wepystore.orchestrator.trust import Trust, arguments
from wepystore.records.library import load_run
from wepystore.records.run import RunRecord
from wepystore.store.places import CHECKPOINT


@dataclass(frozen=True)
class ResumeOptions:
    """What may be different this time; None for as it was.

    Attributes
    ----------
    seconds : float or None
        A new budget from now, infinity for no limit; else what is left of the job's, or no
        limit where that had ended it before its cycles were done.
    n_cycles : int or None
        A new total, counted from the start of the run.
    n_workers, platform, checkpoint_freq, checkpoint_every, grace, until, scheduler
        As in RunOptions. None of them but the platform can change the result.
    """

    seconds: float | None = None
    n_cycles: int | None = None
    n_workers: int | None = None
    platform: str | None = None
    checkpoint_freq: int | None = None
    checkpoint_every: float | None = None
    grace: float = GRACE_S
    until: float | None = None
    scheduler: str | None = None


def resume(
    job_dir: Path, options: ResumeOptions, watcher: Watcher, trust: Trust | None = None
) -> RunOutcome:
    """Run the rest of a job from its last checkpoint: the same run, seed and files.

    Without limits of its own a job that has done all it was asked for is left as it
    is, but for what a kill after its last cycle has left undone. `trust` as in
    start_from_store. Raises NoJobError, JobBusyError, MalformedJobError,
    FewerCyclesError, UntrustedPickleError.
    """
    job = Job.reopen(job_dir)
    try:
        spec = job.spec
        assert spec is not None
        start, past = _last(job, spec, trust, watcher.remark)
        if options.n_cycles is not None and options.n_cycles < past.n_cycles:
            raise FewerCyclesError(n_cycles=options.n_cycles, job_dir=job_dir, n_done=past.n_cycles)
        wanted = spec.n_cycles if options.n_cycles is None else options.n_cycles
        lacks = wanted is not None and wanted > past.n_cycles
        # Without a limit it would never end; with one, a job that has its cycles gets more.
        timed = options.seconds is not None and (wanted is None or math.isfinite(options.seconds))
        extends = timed or lacks or spec.extends == past.record
        if past.complete and not extends and spec.ended == past.record:
            return _nothing_to_do(spec, past, job)
        # Its time or its cycles were used up, and that is the last that was asked for.
        used_up = past.complete or past.ended_by == SECONDS
        anew = used_up and extends and spec.extends != past.record
        limits = _limits(spec, past, options, anew)
        if used_up and extends:
            spec = dataclasses.replace(spec, extends=past.record)
            past = dataclasses.replace(past, complete=False)
        if anew or options.seconds is not None or options.n_cycles is not None:
            # Interrupted again, the job is still to do what it was asked for last.
            spec = dataclasses.replace(
                spec,
                seconds=limit_or_none(past.wall_s + limits.seconds),
                n_cycles=limits.n_cycles,
                ended=None,
            )
        return _go_on(job, spec, start, past, options, limits, watcher)
    finally:
        job.release()


@dataclass(frozen=True)
class _Limits:
    seconds: float
    """Of this session; may be infinite."""
    n_cycles: int | None


def _limits(spec: JobSpec, past: Past, options: ResumeOptions, anew: bool) -> _Limits:
    n_cycles = options.n_cycles if options.n_cycles is not None else spec.n_cycles
    if options.seconds is not None:
        has_all = n_cycles is not None and n_cycles <= past.n_cycles
        if options.n_cycles is None and has_all and math.isfinite(options.seconds):
            # More time for a job that has all its cycles: it is the time that counts now.
            n_cycles = None
        return _Limits(options.seconds, n_cycles)
    if spec.seconds is None:
        return _Limits(math.inf, n_cycles)
    if anew:
        # More cycles for a job whose time was used up: as much time once more. For the cycles
        # that it lacked because of that time: as long as they take.
        return _Limits(math.inf if options.n_cycles is None else spec.seconds, n_cycles)
    return _Limits(max(0.0, spec.seconds - past.wall_s), n_cycles)


def _go_on(
    job: Job,
    spec: JobSpec,
    start: Start,
    past: Past,
    options: ResumeOptions,
    limits: _Limits,
    watcher: Watcher,
) -> RunOutcome:
    chosen = RunOptions(
        seconds=limits.seconds,
        n_steps=spec.n_steps,
        job_dir=job.path,
        job_name=spec.name,
        n_cycles=limits.n_cycles,
        narration=spec.narration,
        n_workers=options.n_workers or spec.n_workers,
        platform=options.platform or spec.platform,
        checkpoint_freq=options.checkpoint_freq or spec.checkpoint_freq,
        checkpoint_every=(
            spec.checkpoint_every if options.checkpoint_every is None else options.checkpoint_every
        ),
        seed=spec.seed,
        grace=options.grace,
        until=options.until,
        scheduler=options.scheduler,
    )
    budget = Budget(limits.seconds, limits.n_cycles, options.until, first=past.n_cycles)
    with StopSignals(watcher.stopping, budget, options.grace) as signals:
        execution = Execution(start, chosen, spec.seed, past)
        job.n_resumed = past.n_cycles
        job.changes = execution.changes
        if spec != job.spec:
            job.publish(spec)
        asked_s = options.seconds or (math.inf if spec.seconds is None else spec.seconds)
        return carry_out(execution, job, start, budget, signals, watcher, asked_s)


def _last(
    job: Job, spec: JobSpec, trust: Trust | None, remark: Callable[[str], None]
) -> tuple[Start, Past]:
    """The last checkpoint of the job that is whole, or else its start; and what went before.

    Whoever waits for hours of cycles once more is told why, by `remark`.
    """
    store, config = job.store, spec.config.md5
    records = _records(job, spec, remark)
    for md5, record in reversed(records):
        passed = f"the checkpoint after {record.n_cycles} cycles is passed over"
        try:
            lacking = store.missing("snapshots", record.end.md5)
            if lacking:
                remark(f"{passed}: {store.path} lacks {len(lacking)} of its parts")
                continue
            start = start_from_store(store, record.end.md5, config, trust=trust)
        except DamagedError as problem:
            # Nothing is lost but time: from an earlier one the run comes by here again.
            remark(f"{passed}: {problem}")
            continue
        return dataclasses.replace(start, snapshot_ref=spec.start), _past(md5, record)
    return start_from_store(store, spec.start.md5, config, trust=trust), Past(begun=spec.begun)


def _records(job: Job, spec: JobSpec, remark: Callable[[str], None]) -> list[tuple[str, RunRecord]]:
    """The records of this run in the job's store, the longest one last.

    Raises MalformedJobError if the job has records, and all are of another run: to begin
    at the start again would cut the files of what was run.
    """
    found, others = [], 0
    for md5 in job.store.list("runs"):
        try:
            record = load_run(job.store, md5)
        except DamagedError as problem:
            remark(f"the record of a checkpoint is passed over: {problem}")
            continue
        # As in Execution: these make it this very run, however long.
        identity = (record.start, record.config, record.seed, record.n_steps)
        if identity == (spec.start, spec.config, spec.seed, spec.n_steps):
            found.append((md5, record))
        elif record.circumstances.job_name == spec.name:
            others += 1
    if others and not found:
        raise MalformedJobError(
            file=job.path / SPEC,
            problem=f"its start, config, seed or n_steps is not what {CHECKPOINT} has a run of",
            store=arguments(job.path / CHECKPOINT),
        )
    return sorted(found, key=lambda each: (each[1].n_cycles, _complete(each[1])))


def _complete(record: RunRecord) -> bool:
    return record.circumstances.complete is True


def _past(md5: str, record: RunRecord) -> Past:
    how = record.circumstances
    return Past(
        end=record.end.md5,
        record=md5,
        n_cycles=record.n_cycles,
        n_warped=how.n_warped or 0,
        n_cloned=how.n_cloned,
        n_merged=how.n_merged,
        wall_s=how.wall_s or 0.0,
        begun=how.begun,
        checkpoints=how.checkpoints or [],
        resumed_from=how.resumed_from or [],
        environment=record.environment,
        reproducible=record.reproducible,
        complete=_complete(record),
        ended_by=how.ended_by,
    )


def _nothing_to_do(spec: JobSpec, past: Past, job: Job) -> RunOutcome:
    assert past.end is not None
    return RunOutcome(
        start=spec.start.md5,
        end=past.end,
        n_cycles=past.n_cycles,
        seed=spec.seed,
        reproducible=past.reproducible,
        job_dir=job.path,
        ended_by=past.ended_by or (SECONDS if spec.n_cycles is None else N_CYCLES),
        complete=True,
        wanted=spec.n_cycles,
        seconds=math.inf if spec.seconds is None else spec.seconds,
        was_complete=True,
    )
