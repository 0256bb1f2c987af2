"""Run an apparatus under a configuration, in a job folder of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wepystore.orchestrator.job.job import Job, JobSpec
from wepystore.orchestrator.run.account import now_text
from wepystore.orchestrator.run.budget import Budget, StopSignals
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.session import Session
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
    session = Session(start, request, Past())
    budget = Budget(request.seconds, request.n_cycles, request.until)
    job = Job(folder, name)
    try:
        with StopSignals(watcher.stopping, budget, request.grace) as signals:
            try:
                start.bring_into(job.store)
                # The last thing before the reporters' files: from here on it can be resumed.
                job.publish(JobSpec(request, start.snapshot_ref, start.config_ref, now_text()))
                return session.run(job, signals, watcher)
            except BaseException:
                # A folder without a cycle would only be in the way of the next try.
                if session.account.n_done == 0:
                    job.abandon()
                raise
    finally:
        job.release()
