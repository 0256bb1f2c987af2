"""Run an apparatus under a configuration, in a job folder of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wepystore.orchestrator.job.job import Job, JobSpec
from wepystore.orchestrator.run.budget import Budget, StopSignals
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.session import Execution, now_text
from wepystore.orchestrator.run.start import Past, Start
from wepystore.orchestrator.run.watching import RunOutcome, Watcher


def run(start: Start, request: RunRequest, watcher: Watcher) -> RunOutcome:
    """Run cycles until the budget is used up or a signal or time limit asks for an end.

    The job folder then holds the reporters' files and checkpoint.orch with the
    start and end snapshots, the configuration and the run. Raises before
    anything is written if the job folder holds a run already. What fails before
    one cycle is done takes everything away again; a signal does not: the job
    can then be begun by `resume`.
    """
    start_hash = start.snapshot_ref.md5
    name = start_hash if request.job_name is None else request.job_name
    folder = Path(start_hash) if request.job_dir is None else request.job_dir
    request = dataclasses.replace(request, job_name=name, job_dir=folder)
    execution = Execution(start, request, Past())
    budget = Budget(request.seconds, request.n_cycles, request.until)
    job = Job(folder, name)
    try:
        with StopSignals(watcher.stopping, budget, request.grace) as signals:
            try:
                start.bring_into(job.store)
                # The last thing before the reporters' files: from here on it can be resumed.
                job.publish(JobSpec(request, start.snapshot_ref, start.config_ref, now_text()))
                return carry_out(execution, job, start, budget, signals, watcher, request.seconds)
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
        seed=job.spec.request.seed,
        reproducible=execution.reproducible(),
        job_dir=job.path,
        ended_by=execution.ended_by,
        complete=execution.complete,
        wanted=budget.n_cycles,
        seconds=asked_s,
    )
