"""Go on with a job that was interrupted, as if it never had been (R2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wepystore.errors import DamagedError
from wepystore.orchestrator.errors import FewerCyclesError, MalformedJobError
from wepystore.orchestrator.job.job import SPEC, Job, JobSpec
from wepystore.orchestrator.run.budget import Budget, StopSignals
from wepystore.orchestrator.run.recorder import SoFar
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.session import Session
from wepystore.orchestrator.run.start import Past, Start, start_from
from wepystore.orchestrator.run.watching import RunOutcome, Watcher
from wepystore.records.circumstances import N_CYCLES, NOTHING_YET, SECONDS
from wepystore.records.library import load_run
from wepystore.records.parts import read_parts
from wepystore.records.recording import N_WALKERS
from wepystore.records.run import RunRecord
from wepystore.records.run_frames import FramesElsewhereError, read_frames, read_left_over
from wepystore.records.tables import RunTables, read_recording
from wepystore.records.times import read_stretches, times_of
from wepystore.records.trust import Trust, arguments
from wepystore.records.warped import flux_after
from wepystore.reporters.flux import Flux
from wepystore.store.places import CHECKPOINT
from wepystore.store.store import Store


def resume(
    job_dir: Path, changes: Mapping[str, Any], watcher: Watcher, trust: Trust | None = None
) -> RunOutcome:
    """Run the rest of a job from its last checkpoint: the same run, seed and files.

    `changes` are options of RunRequest that are to be different in this session, by their names.
    `seconds` are a new budget from now; else it is what is left of the job's, or no limit where
    that had ended it before its cycles were done. Without limits of its own a job that has done
    all it was asked for is left as it is, but for what a kill after its last cycle has left
    undone. `trust` as in start_from. Raises NoJobError, JobBusyError, MalformedJobError,
    FewerCyclesError, FramesElsewhereError, UntrustedPickleError.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    job = Job.reopen(job_dir)
    try:
        spec = job.spec
        assert spec is not None
        request = spec.request.merged(changes)
        start, past = _last(job, spec, trust, watcher.remark)
        if "n_cycles" in changes and changes["n_cycles"] < past.n_cycles:
            n_cycles = changes["n_cycles"]
            raise FewerCyclesError(n_cycles=n_cycles, job_dir=job_dir, n_done=past.n_cycles)
        chosen = _chosen(spec, past, request, changes)
        if chosen is None:
            return _nothing_to_do(spec, past, job)
        spec, past, request = chosen
        request = dataclasses.replace(request, job_dir=job.path)
        budget = Budget(request.seconds, request.n_cycles, request.until, first=past.n_cycles)
        with StopSignals(watcher.stopping, budget, request.grace) as signals:
            session = Session(start, request, past)
            if spec != job.spec:
                job.publish(spec)
            outcome = session.run(job, signals, watcher)
        # Of which what is left may have been the budget.
        asked_s = changes.get("seconds", spec.request.seconds)
        return dataclasses.replace(outcome, seconds=asked_s)
    finally:
        job.release()


def _chosen(
    spec: JobSpec, past: Past, request: RunRequest, changes: Mapping[str, Any]
) -> tuple[JobSpec, Past, RunRequest] | None:
    """What the job is now, what went before and what this session is; None if it has nothing left
    to do."""
    extends = _goes_on(request, past, "seconds" in changes) or spec.extends == past.record
    if past.how.complete and not extends and spec.ended == past.record:
        return None
    # Its time or its cycles were used up, and that is the last that was asked for.
    used_up = past.how.complete or past.how.ended_by == SECONDS
    anew = used_up and extends and spec.extends != past.record
    request = _limited(request, past, changes, anew)
    if used_up and extends:
        spec = dataclasses.replace(spec, extends=past.record)
        past = dataclasses.replace(past, how=past.how._replace(complete=False))
    if anew or "seconds" in changes or "n_cycles" in changes:
        # Interrupted again, the job is still to do what it was asked for last.
        asked = dataclasses.replace(
            spec.request,
            seconds=past.wall_s + request.seconds,
            n_cycles=request.n_cycles,
        )
        spec = dataclasses.replace(spec, request=asked, ended=None)
    return spec, past, request


def _goes_on(request: RunRequest, past: Past, timed: bool) -> bool:
    """Whether it asks for more than there is."""
    if request.n_cycles is None:
        return timed
    # Without a limit it would never end; with one, a job that has its cycles gets more.
    return request.n_cycles > past.n_cycles or (timed and math.isfinite(request.seconds))


def _limited(request: RunRequest, past: Past, changes: Mapping[str, Any], anew: bool) -> RunRequest:
    """The request with the limits of this session: its seconds begin now."""
    if "seconds" in changes:
        has_all = request.n_cycles is not None and request.n_cycles <= past.n_cycles
        if "n_cycles" not in changes and has_all and math.isfinite(request.seconds):
            # More time for a job that has all its cycles: it is the time that counts now.
            return dataclasses.replace(request, n_cycles=None)
        return request
    seconds = request.seconds
    if not anew:
        seconds = max(0.0, seconds - past.wall_s)
    elif "n_cycles" not in changes:
        # More cycles for a job whose time was used up: as much time once more. For the cycles
        # that it lacked because of that time: as long as they take.
        seconds = math.inf
    return dataclasses.replace(request, seconds=seconds)


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
            # Of its own it names only objects with its times.
            named = store.references("runs", md5)
            lacking += store.lacking([each for each in named if each[0] == "objects"])
            if record.recording is not None:
                lacking += store.missing("recordings", record.recording.md5)
                _check_frames(store, md5, record)
            if lacking:
                remark(f"{passed}: {store.path} lacks {len(lacking)} of its parts")
                continue
            start = start_from(store, record.end.md5, config, trust=trust)
            past = _past(md5, record, _recorded(store, record), store)
        except DamagedError as problem:
            # Nothing is lost but time: from an earlier one the run comes by here again.
            remark(f"{passed}: {problem}")
            continue
        return dataclasses.replace(start, snapshot_ref=spec.start), past
    return start_from(store, spec.start.md5, config, trust=trust), Past(
        resumed=True, how=NOTHING_YET._replace(begun=spec.begun)
    )


def _check_frames(store: Store, md5: str, record: RunRecord) -> None:
    """Raise FramesElsewhereError if the frames up to a checkpoint are not in the job's own store.

    They can come back, so to begin before them again would waste what has been computed."""
    recording = read_recording(store, record)
    frames = recording.frames if recording is not None else None
    if frames is not None and store.size("frames", frames.entry.md5) is None:
        assert recording is not None
        raise FramesElsewhereError.of(store, md5, recording)


def _recorded(store: Store, record: RunRecord) -> SoFar | None:
    """What is recorded up to a checkpoint."""
    found = read_recording(store, record)
    if found is None:
        return None
    where = "its recording"
    pieces = read_parts(found.tables[found.n_full :], found.columns, store.object, where)
    so_far = SoFar(found, pieces)
    times = times_of(record, "its record")
    if times is not None:
        timed = read_stretches(times.parts[times.n_full :], store.object, "its times")
        so_far = dataclasses.replace(so_far, times=times, timed=timed)
    if found.frames is None:
        return so_far
    frames = read_frames(store, found, where)
    counts = RunTables([("", found, found.n_cycles)], store.object)[N_WALKERS]
    shots = read_left_over(store, frames, counts, where)
    return dataclasses.replace(so_far, frames=frames, shots=shots)


def _records(job: Job, spec: JobSpec, remark: Callable[[str], None]) -> list[tuple[str, RunRecord]]:
    """The records of this run in the job's store, the longest one last.

    Raises MalformedJobError if the job has records, and all are of another run: to begin
    at the start again would cut the files of what was run.
    """
    found, others = [], 0
    for md5 in job.store.hashes("runs"):
        try:
            record = load_run(job.store, md5)
        except DamagedError as problem:
            remark(f"the record of a checkpoint is passed over: {problem}")
            continue
        # These make it this very run, however long.
        identity = (record.start, record.config, record.seed, record.n_steps)
        if identity == (spec.start, spec.config, spec.request.seed, spec.request.n_steps):
            found.append((md5, record))
        elif record.execution.job_name == job.name:
            others += 1
    if others and not found:
        raise MalformedJobError(
            file=job.path / SPEC,
            problem=f"its start, config, seed or n_steps is not what {CHECKPOINT} has a run of",
            store=arguments(job.path / CHECKPOINT),
        )
    return sorted(found, key=lambda each: (each[1].n_cycles, each[1].execution.complete is True))


def _past(md5: str, record: RunRecord, recorded: SoFar | None, store: Store) -> Past:
    how, flux = record.execution, Flux(first=record.n_cycles)
    if recorded is not None:
        time = how.time_of(record.n_steps)
        flux = flux_after(Flux(), 0, recorded.recording, time, store)
    return Past(
        resumed=True,
        end=record.end.md5,
        record=md5,
        n_cycles=record.n_cycles,
        how=how._replace(
            complete=how.complete is True,
            n_warped=how.n_warped or 0,
            resumed_from=how.resumed_from or [],
        ),
        environment=record.environment,
        reproducible=record.reproducible,
        recorded=recorded,
        flux=flux,
    )


def _nothing_to_do(spec: JobSpec, past: Past, job: Job) -> RunOutcome:
    assert past.end is not None
    return RunOutcome(
        start=spec.start.md5,
        end=past.end,
        record=past.record,
        n_cycles=past.n_cycles,
        seed=spec.request.seed,
        reproducible=past.reproducible,
        job_dir=job.path,
        ended_by=past.how.ended_by or (SECONDS if spec.request.n_cycles is None else N_CYCLES),
        complete=True,
        wanted=spec.request.n_cycles,
        seconds=spec.request.seconds,
        was_complete=True,
    )
