"""The cycles of one session of a run, with its checkpoints and its record."""

from __future__ import annotations

import datetime
import errno
from typing import Any

from wepystore.engine.adapt import adapted_runner, draws_from_the_run, releases
from wepystore.engine.ensemble import weights_of
from wepystore.engine.fit import doubts
from wepystore.engine.manager import CycleManager, CycleResult, named
from wepystore.engine.mappers.base import WorkMapper
from wepystore.engine.rng import Streams
from wepystore.engine.undo import undoing
from wepystore.errors import WepystoreError
from wepystore.orchestrator.errors import (
    CheckpointFailedError,
    CycleFailedError,
    NotContinuedError,
)
from wepystore.orchestrator.job.job import RESERVED, Job
from wepystore.orchestrator.run.budget import Budget, CycleDropped, StopSignals
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.environment import differences, environment_of, step_size_ps
from wepystore.orchestrator.run.keeping import Keeper
from wepystore.orchestrator.run.mapping import (
    WITHOUT_SCHEDULER,
    choose_mapper,
    is_other_platform,
    needs_scheduler,
    properties_of_workers,
    useful_workers,
    workers_of,
)
from wepystore.orchestrator.run.pace import Pace
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.start import Past, Start
from wepystore.orchestrator.run.stillness import Stillness
from wepystore.orchestrator.run.watching import Begun, Progress, Watcher, added
from wepystore.records import pickles
from wepystore.records.circumstances import (
    ERROR,
    N_CYCLES,
    SECONDS,
    UNTIL,
    Circumstances,
    stopper,
)
from wepystore.records.configuration import Configuration
from wepystore.records.library import load_run
from wepystore.records.run import RunRecord
from wepystore.records.trust import arguments
from wepystore.reporters import files
from wepystore.reporters.placing import placed
from wepystore.store.names import EntryRef

#: Of these the disk is the cause, or a lack of rights, and not what is in a file.
_NOT_THE_FILE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO))

#: A record lists so many checkpoints at most; beyond that, every second one is left out.
_MOST_CHECKPOINTS = 1000

#: Where sessions differ in one of these, no repetition in one environment need end the same.
_BEARS_ON_BITS = ("platform", "openmm", "device", "machine", "libm", "cpu_flags", "numpy")


class Execution:
    """One run being executed, from its start or from a checkpoint of it.

    Parameters
    ----------
    start : Start
    request : RunRequest
        With its job_dir and job_name.
    past : Past
        What was done before this session.

    Attributes
    ----------
    n_done : int
        Cycles since the start of the run.
    ended_by : str or None
        N_CYCLES, SECONDS, UNTIL, ERROR or the name of a signal; None while it goes on.
    complete : bool
        It has done all it was asked for: its cycles, or as many as fitted into SECONDS
        where no number was given.
    record_md5 : str or None
        The record of the last checkpoint, when all is done.
    changes : tuple of str
        Fields of the environment that are not what they were in the session before.
    """

    def __init__(self, start: Start, request: RunRequest, past: Past) -> None:
        self.n_done = self._n_kept = past.n_cycles
        self.ended_by = past.ended_by if past.complete else None
        self.record_md5: str | None = None
        self.complete = past.complete
        self._start = start
        self._request = request
        self._past = past
        self._n_warped = past.n_warped
        self._n_cloned, self._n_merged = past.n_cloned, past.n_merged
        self._begun_at = past.begun or now_text()
        self._wall_s = past.wall_s
        self._checkpoints = list(past.checkpoints)
        self._pace = Pace(request.checkpoint_every, 0.0)
        self._walkers = start.take_walkers()
        self._n_walkers = len(self._walkers)
        assert request.job_dir is not None and request.job_name is not None
        configuration = start.configuration
        apparatus = start.snapshot.apparatus
        # One of wepy's is asked through what makes it run here.
        self._runner = adapted_runner(apparatus.runner)
        self._stillness = Stillness(apparatus.resampler)
        self._runner_options = _runner_options(configuration, request.platform)
        self._n_workers = useful_workers(request.n_workers, self._n_walkers)
        self._mapper = choose_mapper(
            configuration.work_mapper,
            self._n_workers,
            scheduler=request.scheduler,
            other_platform=is_other_platform(
                request.platform, configuration.platform, self._runner
            ),
        )
        self._n_workers = useful_workers(self._n_workers, self._n_walkers, self._mapper)
        self._placed = placed(
            configuration.reporters,
            configuration.monitor,
            str(request.job_dir / request.job_name),
            [str(request.job_dir / name) for name in RESERVED],
        )
        self._reporters = self._placed.reporters
        with named(self._runner, self.n_done):
            if hasattr(self._runner, "check_platform"):
                platform, chosen = self._platform_choice()
                for each in properties_of_workers(self._mapper, chosen):
                    self._runner.check_platform(platform, each)
            environment = environment_of(self._runner, *self._platform_choice())
        self._environment = environment | releases(
            apparatus.runner, apparatus.boundary_conditions, apparatus.resampler
        )
        self._resumed_from = list(past.resumed_from)
        self.changes: tuple[str, ...] = ()
        if past.environment is not None:
            found = differences(past.environment, self._environment)
            self.changes = tuple(difference.field for difference in found)
        self._manager = CycleManager(
            init_walkers=self._walkers,
            runner=self._runner,
            boundary_conditions=apparatus.boundary_conditions,
            resampler=apparatus.resampler,
            work_mapper=self._mapper,
            # The start's hash makes a continuation with the same seed draw other numbers.
            # It is that of the run, also when this session begins at a checkpoint (R2).
            streams=Streams([request.seed, int(start.snapshot_ref.md5, 16)]),
            reporters=self._reporters,
            monitor=self._placed.monitor,
            runner_options=self._runner_options,
            dumps=pickles.dumps,
        )

    def _platform_choice(self) -> tuple[str | None, dict[str, str] | None]:
        return self._runner_options.get("platform"), self._runner_options.get("platform_kwargs")

    def run(
        self, job: Job, budget: Budget, signals: StopSignals, watcher: Watcher
    ) -> EntryRef | None:
        """Run cycles until something ends them; the end, or None if there is no cycle yet."""
        for reporter in self._reporters:
            with named(reporter, self.n_done):
                if hasattr(reporter, "bind"):
                    reporter.bind(job.prefix)
                if hasattr(reporter, "keep_with"):
                    reporter.keep_with(Keeper(self._start.trust))
        self._annotate(
            start_snapshot_hash=self._start.snapshot_ref.md5,
            config_hash=self._start.config_ref.md5,
            seed=self._request.seed,
            narration=self._request.narration,
        )
        checkpointer = Checkpointer(
            job.store, self._start.snapshot.apparatus, self._record, job.written
        )
        if job.n_resumed is not None:
            self._note_resumption()
            checkpointer.adopt(self._start.snapshot_ref, self._past.end, self._past.record)
            for reporter in self._reporters:
                if hasattr(reporter, "resume"):
                    with named(reporter, self.n_done):
                        reporter.resume(self.n_done)
        watcher.begun(
            Begun(
                n_walkers=self._n_walkers,
                n_steps=self._request.n_steps,
                seed=self._request.seed,
                seconds=self._request.seconds,
                job_dir=job.path,
                n_resumed=job.n_resumed,
                changes=self.changes,
            )
        )
        if isinstance(self._mapper, WorkMapper):
            self._mapper.remark = watcher.remark
        if needs_scheduler(self._start.configuration.work_mapper) and not self._request.scheduler:
            watcher.remark(WITHOUT_SCHEDULER)
        for text in self._placed.remarks:
            watcher.remark(text)
        if (still := self._stillness.at_start(self._walkers)) is not None:
            watcher.remark(still)
        try:
            for folder in self._placed.folders:
                files.make_own_folder(folder)
            self._open(job)
            self._manager.init_walkers = ()  # The reporters have seen them.
            if not self.n_done:
                for text in doubts(self._walkers, self._runner):
                    watcher.remark(text)
            for reporter in self._reporters:
                with named(reporter, self.n_done):
                    remarks = [str(text) for text in getattr(reporter, "remarks", ())]
                for text in remarks:
                    watcher.remark(text)
            end = self._cycles(job, checkpointer, budget, signals, watcher)
            if end is not None:
                self._annotate(end_snapshot_hash=end.md5)
        finally:
            self._manager.cleanup()
        self.record_md5 = checkpointer.run
        return end

    def _open(self, job: Job) -> None:
        try:
            self._manager.init(num_workers=self._n_workers)
        except OSError as problem:
            if job.n_resumed is None or problem.errno in _NOT_THE_FILE:
                raise
            raise NotContinuedError(
                file=problem.filename or job.path,
                problem=problem.strerror or problem,
                store=arguments(job.store.path),
                end=self._past.end or self._start.snapshot_ref.md5,
            ) from problem

    def _note_resumption(self) -> None:
        if self._past.record is None or self.complete:
            # Nothing was done before, or nothing is left to do.
            return
        self._resumed_from.append(
            {
                "snapshot": self._past.end,
                "n_cycles": self._past.n_cycles,
                "at": now_text(),
                "differs": list(self.changes),
            }
        )

    def _cycles(
        self,
        job: Job,
        checkpointer: Checkpointer,
        budget: Budget,
        signals: StopSignals,
        watcher: Watcher,
    ) -> EntryRef | None:
        walkers, self._walkers = self._walkers, ()
        every = self._request.checkpoint_freq
        self._pace = Pace(self._request.checkpoint_every, budget.elapsed())
        apparatus = self._start.snapshot.apparatus
        if self.complete:
            # All that is left is to put the files in order.
            checkpointer.finish()
            assert self._past.record is not None
            return load_run(job.store, self._past.record).end
        while (why := budget.ends(self.n_done)) is None and signals.received is None:
            undo = undoing(apparatus.boundary_conditions, apparatus.resampler)
            try:
                signals.cycle_begins(self._manager)
                try:
                    result = self._manager.run_cycle(walkers, self._request.n_steps, self.n_done)
                finally:
                    signals.cycle_ends()
            except CycleDropped:
                break
            except (WepystoreError, OSError) as problem:
                if self.n_done == 0:
                    raise
                # Back to the end of the cycle before, which was whole.
                undo()
                self.ended_by = ERROR
                end = self._write(checkpointer, walkers, budget, watcher, last=True)
                raise CycleFailedError(
                    problem=_in_words(problem),
                    n_cycles=self.n_done,
                    cycles=_cycles_text(self.n_done),
                    end=end.md5,
                    job_dir=arguments(job.path),
                ) from problem
            walkers = result.walkers
            self.n_done += 1
            budget.slowest_cycle = max(budget.slowest_cycle, result.times.total)
            watcher.cycle_done(self._progress(result, budget))
            if (still := self._stillness.after(result, self.n_done - 1)) is not None:
                watcher.remark(still)
            due = bool(every and self.n_done % every == 0) or self._pace.is_due(budget.elapsed())
            if due and budget.allows(self.n_done):
                self._write(checkpointer, walkers, budget, watcher)
        self.ended_by = why if why in (N_CYCLES, SECONDS) else signals.received or UNTIL
        self.complete = why == N_CYCLES or (why == SECONDS and self._request.n_cycles is None)
        if self.n_done == 0:
            return None
        return self._write(checkpointer, walkers, budget, watcher, last=True)

    def _write(
        self,
        checkpointer: Checkpointer,
        walkers: Any,
        budget: Budget,
        watcher: Watcher,
        last: bool = False,
    ) -> EntryRef:
        begun = budget.elapsed()
        try:
            # Files first: a checkpoint vouches for all that the reporters were told before it.
            for reporter in self._reporters:
                if hasattr(reporter, "flush"):
                    with named(reporter, self.n_done):
                        reporter.flush()
            self._wall_s = self._past.wall_s + budget.elapsed()
            self._note_checkpoint()
            end = checkpointer.write(walkers, self.n_done, last=last)
        except OSError as problem:
            # A full disk, most often.
            raise CheckpointFailedError(
                problem=_in_words(problem),
                kept=self._kept_text(checkpointer),
                job_dir=arguments(self._request.job_dir),
            ) from problem
        self._n_kept = self.n_done
        now = budget.elapsed()
        seconds = now - begun
        self._pace.written(now, seconds)
        budget.slowest_checkpoint = max(budget.slowest_checkpoint, seconds)
        watcher.checkpoint_written(end.md5, self.n_done, seconds)
        return end

    def _kept_text(self, checkpointer: Checkpointer) -> str:
        """What there is to go on from where a checkpoint could not be written."""
        if not self._n_kept:
            return "it was to be the first checkpoint, so no cycle is kept"
        cycles = f"{_cycles_text(self._n_kept)} up to the last checkpoint"
        if checkpointer.is_there():
            return f"{cycles}: kept"
        # Somebody has removed the store, or what was in it, under the run.
        return f"{cycles} are gone from {arguments(checkpointer.store.path)}, and must come back"

    def _note_checkpoint(self) -> None:
        if self._checkpoints and self._checkpoints[-1][0] == self.n_done:
            self._checkpoints.pop()
        if len(self._checkpoints) >= _MOST_CHECKPOINTS:
            self._checkpoints = self._checkpoints[1::2]
        self._checkpoints.append([self.n_done, round(self._wall_s, 3)])

    def _progress(self, result: CycleResult, budget: Budget) -> Progress:
        weights = weights_of(result.walkers)
        self._n_warped += result.n_warped
        self._n_cloned = added(self._n_cloned, result.n_cloned)
        self._n_merged = added(self._n_merged, result.n_merged)
        elapsed = budget.elapsed()
        step_ps = step_size_ps(self._runner)
        ns_per_day = None
        if step_ps is not None:
            n_cycles = self.n_done - self._past.n_cycles
            sampled_ns = len(weights) * n_cycles * self._request.n_steps * step_ps / 1000
            ns_per_day = sampled_ns / elapsed * 86400
        return Progress(
            n_cycles_done=self.n_done,
            n_cycles=self._request.n_cycles,
            elapsed=elapsed,
            remaining=budget.remaining(self.n_done),
            seconds=budget.seconds,
            ns_per_day=ns_per_day,
            weight_min=float(weights.min()),
            weight_max=float(weights.max()),
            n_warped=self._n_warped,
            n_cloned=self._n_cloned,
            n_merged=self._n_merged,
        )

    def _record(self, end: EntryRef, n_cycles: int) -> RunRecord:
        return RunRecord(
            start=self._start.snapshot_ref,
            end=end,
            config=self._start.config_ref,
            n_cycles=n_cycles,
            n_steps=self._request.n_steps,
            seed=self._request.seed,
            reproducible=self.reproducible(),
            environment=self._environment,
            execution=Circumstances(
                **self._request.recorded(),
                begun=self._begun_at,
                wall_s=round(self._wall_s, 3),
                n_workers=workers_of(self._mapper, self._n_workers),
                stopped_by=stopper(self.ended_by),
                ended_by=self.ended_by,
                complete=self.complete,
                n_walkers=self._n_walkers,
                step_size_ps=step_size_ps(self._runner),
                n_warped=self._n_warped,
                n_cloned=self._n_cloned,
                n_merged=self._n_merged,
                checkpoints=self._checkpoints,
                resumed_from=self._resumed_from,
            )._asdict(),
        )

    def reproducible(self) -> bool:
        """Whether another execution of the whole run gives the same end to the bit (R1)."""
        # Who does not say so is not known to be.
        apparatus = self._start.snapshot.apparatus
        check = getattr(self._runner, "reproducible", None)
        platform, chosen = self._platform_choice()
        with named(self._runner, self.n_done):
            says = check is not None and all(
                check(platform, each) for each in properties_of_workers(self._mapper, chosen)
            )
        mixed = any(field.partition(".")[0].startswith(_BEARS_ON_BITS) for field in self.changes)
        return (
            says
            and draws_from_the_run(apparatus.resampler)
            and draws_from_the_run(apparatus.boundary_conditions)
            and self._past.reproducible
            and not mixed
        )

    def _annotate(self, **facts: Any) -> None:
        for reporter in self._reporters:
            if hasattr(reporter, "annotate"):
                with named(reporter, self.n_done):
                    reporter.annotate(**facts)


def _cycles_text(n_cycles: int) -> str:
    return "1 cycle" if n_cycles == 1 else f"{n_cycles} cycles"


def _in_words(problem: Exception) -> Any:
    if not isinstance(problem, OSError) or problem.strerror is None:
        return problem
    return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror


def now_text() -> str:
    """This moment, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _runner_options(configuration: Configuration, override: str | None) -> dict[str, Any]:
    name = override or configuration.platform
    if name is None:
        return {}
    options: dict[str, Any] = {"platform": name}
    if name == configuration.platform and configuration.platform_properties:
        options["platform_kwargs"] = dict(configuration.platform_properties)
    return options
