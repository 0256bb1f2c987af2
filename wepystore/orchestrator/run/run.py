"""Run an apparatus under a configuration, in a job folder of its own."""

from __future__ import annotations

import dataclasses
import secrets

from wepystore.orchestrator.job.job import Job, JobSpec, limit_or_none
from wepystore.orchestrator.run.budget import Budget, StopSignals
from wepystore.orchestrator.run.request import (
    Past,
    Progress,
    RunOptions,
    RunOutcome,
    Start,
    Watcher,
)
from wepystore.orchestrator.run.session import Execution, now_text


def run(start: Start, options: RunOptions, watcher: Watcher) -> RunOutcome:
    """Run cycles until the budget is used up or a signal or time limit asks for an end.

    The job folder then holds the reporters' files and checkpoint.orch with the
    start and end snapshots, the configuration and the run. Raises before
    anything is written if the job folder holds a run already. What fails before
    one cycle is done takes everything away again; a signal does not: the job
    can then be begun by `resume`.
    """
    seed = secrets.randbits(32) if options.seed is None else options.seed
    execution = Execution(start, options, seed, Past())
    budget = Budget(options.seconds, options.n_cycles, options.until)
    job = Job(options.job_dir, options.job_name)
    try:
        with StopSignals(watcher.stopping, budget, options.grace) as signals:
            try:
                start.bring_into(job.store)
                # The last thing before the reporters' files: from here on it can be resumed.
                job.publish(_spec(start, options, seed))
                return carry_out(execution, job, start, budget, signals, watcher, options.seconds)
            except BaseException:
                # A folder without a cycle would only be in the way of the next try.
                if execution.n_done == 0:
                    job.abandon()
                raise
    finally:
        job.release()


def carry_out(
    execution: Execution,
    job: Job,
    start: Start,
    budget: Budget,
    signals: StopSignals,
    watcher: Watcher,
    asked_s: float,
) -> RunOutcome:
    """The cycles of one session; how they ended. `asked_s` is the time that was asked for, of
    which `budget` may be what is left."""
    end = execution.run(job, budget, signals, watcher)
    assert job.spec is not None and execution.ended_by is not None
    if execution.complete:
        job.publish(dataclasses.replace(job.spec, ended=execution.record_md5))
    return RunOutcome(
        start=start.snapshot_ref.md5,
        end=start.snapshot_ref.md5 if end is None else end.md5,
        n_cycles=execution.n_done,
        seed=job.spec.seed,
        reproducible=execution.reproducible(),
        job_dir=job.path,
        ended_by=execution.ended_by,
        complete=execution.complete,
        wanted=budget.n_cycles,
        seconds=asked_s,
    )


def _spec(start: Start, options: RunOptions, seed: int) -> JobSpec:
    return JobSpec(
        name=options.job_name,
        start=start.snapshot_ref,
        config=start.config_ref,
        seed=seed,
        n_steps=options.n_steps,
        seconds=limit_or_none(options.seconds),
        n_cycles=options.n_cycles,
        checkpoint_freq=options.checkpoint_freq,
        checkpoint_every=options.checkpoint_every,
        n_workers=options.n_workers,
        platform=options.platform,
        narration=options.narration,
        begun=now_text(),
    )


__all__ = ["Progress", "RunOptions", "RunOutcome", "Start", "Watcher", "run"]
