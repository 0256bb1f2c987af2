"""Run an apparatus under a configuration, in a job folder."""

from __future__ import annotations

import datetime
import platform as host_platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wepystore._version import __version__
from wepystore.engine.component import Component
from wepystore.engine.manager import CycleManager, CycleResult
from wepystore.engine.rng import Streams
from wepystore.errors import WepystoreError
from wepystore.orchestrator.budget import Budget, StopSignals
from wepystore.orchestrator.checkpoint import Checkpointer
from wepystore.orchestrator.errors import CycleFailedError
from wepystore.orchestrator.job import Job
from wepystore.orchestrator.mapping import choose_mapper, workers_of
from wepystore.records import pickles
from wepystore.records.configuration import Configuration
from wepystore.records.run import RunRecord
from wepystore.records.snapshot import Snapshot
from wepystore.store.names import EntryRef
from wepystore.store.store import Store


@dataclass(frozen=True)
class RunOptions:
    """How long and where to run, and what to override.

    Attributes
    ----------
    seconds : float, > 0
        Wall-clock budget; see Budget.
    n_steps : int, > 0
        Steps in each segment.
    n_cycles : int or None
        Stop after so many cycles.
    job_dir, job_name : Path, str
    narration : str
        A note for the run record.
    n_workers, platform : int, str or None
        Override the configuration for this run. They are noted in the record;
        the configuration keeps its hash.
    checkpoint_freq : int or None
        Cycles between checkpoints; None writes one at the end only.
    seed : int or None
        None draws one from the system.
    """

    seconds: float
    n_steps: int
    job_dir: Path
    job_name: str
    n_cycles: int | None = None
    narration: str = ""
    n_workers: int | None = None
    platform: str | None = None
    checkpoint_freq: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Progress:
    """How a run stands after a cycle. Times in s; ns_per_day over all walkers, None if unknown."""

    n_cycles_done: int
    n_cycles: int | None
    elapsed: float
    remaining: float
    seconds: float
    ns_per_day: float | None
    weight_min: float
    weight_max: float
    n_warped: int


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes
    ----------
    start, end : str
        Hashes.
    stopped_by : str or None
        Name of the signal that ended it early.
    """

    start: str
    end: str
    n_cycles: int
    seed: int
    reproducible: bool
    job_dir: Path
    stopped_by: str | None


class Watcher(Protocol):
    """Who looks on; nothing it does can change the result."""

    def begun(self, job: Job, options: RunOptions, seed: int, n_walkers: int) -> None: ...

    def cycle_done(self, progress: Progress) -> None: ...

    def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None: ...

    def stopping(self, signal_name: str) -> None: ...


def run(
    start: Start,
    options: RunOptions,
    watcher: Watcher,
) -> RunOutcome:
    """Run cycles until the budget is used up or a signal asks for an end.

    The job folder then holds the reporters' files and checkpoint.orch with the
    start and end snapshots, the configuration and the run. Raises before
    anything is written if the job folder holds a run already; takes everything
    away again if not even one cycle could be done.
    """
    budget = Budget(options.seconds, options.n_cycles)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    execution = _Execution(start, options, seed)
    job = Job(options.job_dir, options.job_name)
    try:
        start.bring_into(job.store)
        return execution.run(job, budget, watcher)
    except BaseException:
        # Also on Ctrl-C: a folder without a cycle would only be in the way of the next try.
        if execution.n_done == 0:
            job.abandon()
        raise


@dataclass(frozen=True)
class Start:
    """What a run begins from: objects in memory, and the way to copy them into the job's store."""

    snapshot: Snapshot
    configuration: Configuration
    snapshot_ref: EntryRef
    config_ref: EntryRef
    bring_into: Callable[[Store], None]


class _Execution:
    """One run being executed."""

    def __init__(self, start: Start, options: RunOptions, seed: int) -> None:
        self.n_done = 0
        self._start = start
        self._options = options
        self._seed = seed
        self._n_warped = 0
        self._begun_at = datetime.datetime.now(datetime.UTC)
        self._stopped_by: str | None = None
        self._wall_s = 0.0
        configuration = start.configuration
        apparatus = start.snapshot.apparatus
        self._runner = apparatus.runner
        self._runner_options = _runner_options(configuration, options.platform)
        self._mapper = choose_mapper(configuration.work_mapper, options.n_workers)
        self._reporters = list(configuration.reporters)
        if hasattr(self._runner, "check_platform"):
            self._runner.check_platform(*self._platform_choice())
        self._manager = CycleManager(
            init_walkers=start.snapshot.walkers,
            runner=self._runner,
            boundary_conditions=apparatus.boundary_conditions,
            resampler=apparatus.resampler,
            work_mapper=self._mapper,
            # The start's hash makes a continuation with the same seed draw other numbers.
            streams=Streams([seed, int(start.snapshot_ref.md5, 16)]),
            reporters=self._reporters,
            monitor=configuration.monitor,
            runner_options=self._runner_options,
            dumps=pickles.dumps,
        )

    def _platform_choice(self) -> tuple[str | None, dict[str, str] | None]:
        return self._runner_options.get("platform"), self._runner_options.get("platform_kwargs")

    def run(self, job: Job, budget: Budget, watcher: Watcher) -> RunOutcome:
        for reporter in self._reporters:
            if hasattr(reporter, "bind"):
                reporter.bind(job.prefix)
        self._annotate(
            start_snapshot_hash=self._start.snapshot_ref.md5,
            config_hash=self._start.config_ref.md5,
            seed=self._seed,
            narration=self._options.narration,
        )
        checkpointer = Checkpointer(job.store, self._start.snapshot.apparatus, self._record)
        watcher.begun(job, self._options, self._seed, len(self._start.snapshot.walkers))
        with StopSignals(watcher.stopping) as signals:
            try:
                self._manager.init(num_workers=self._options.n_workers)
                end = self._cycles(checkpointer, budget, signals, watcher)
                self._annotate(end_snapshot_hash=end.md5)
            finally:
                self._manager.cleanup()
        return RunOutcome(
            start=self._start.snapshot_ref.md5,
            end=end.md5,
            n_cycles=self.n_done,
            seed=self._seed,
            reproducible=self._reproducible(),
            job_dir=job.path,
            stopped_by=signals.received,
        )

    def _cycles(
        self,
        checkpointer: Checkpointer,
        budget: Budget,
        signals: StopSignals,
        watcher: Watcher,
    ) -> EntryRef:
        walkers = list(self._start.snapshot.walkers)
        every = self._options.checkpoint_freq
        while budget.allows(self.n_done) and signals.received is None:
            before = self._resampler_state()
            try:
                result = self._manager.run_cycle(walkers, self._options.n_steps, self.n_done)
            except (WepystoreError, OSError) as problem:
                if self.n_done == 0:
                    raise
                # Back to the end of the cycle before, which was whole.
                if before is not None:
                    self._start.snapshot.apparatus.resampler.restore(before)
                end = self._write(checkpointer, walkers, budget, watcher, last=True)
                raise CycleFailedError(
                    problem=problem, n_cycles=self.n_done, end=end.md5
                ) from problem
            walkers = result.walkers
            self.n_done += 1
            budget.slowest_cycle = max(budget.slowest_cycle, result.times.total)
            watcher.cycle_done(self._progress(result, budget))
            if every and self.n_done % every == 0 and budget.allows(self.n_done):
                self._write(checkpointer, walkers, budget, watcher)
        if self.n_done == 0:
            raise KeyboardInterrupt
        self._stopped_by = signals.received
        return self._write(checkpointer, walkers, budget, watcher, last=True)

    def _resampler_state(self) -> dict[str, Any] | None:
        resampler = self._start.snapshot.apparatus.resampler
        return resampler.state() if isinstance(resampler, Component) else None

    def _write(
        self,
        checkpointer: Checkpointer,
        walkers: list[Any],
        budget: Budget,
        watcher: Watcher,
        last: bool = False,
    ) -> EntryRef:
        # Files first: a checkpoint vouches for all that the reporters were told before it.
        for reporter in self._reporters:
            if hasattr(reporter, "flush"):
                reporter.flush()
        self._wall_s = budget.elapsed()
        end = checkpointer.write(walkers, self.n_done, last=last)
        # Whoever finds a killed job's store goes on from "default".
        checkpointer.store.set_ref("default-snapshot", end.md5)
        seconds = checkpointer.seconds[-1]
        budget.slowest_checkpoint = max(budget.slowest_checkpoint, seconds)
        watcher.checkpoint_written(end.md5, self.n_done, seconds)
        return end

    def _progress(self, result: CycleResult, budget: Budget) -> Progress:
        weights = [walker.weight for walker in result.walkers]
        self._n_warped += result.n_warped
        elapsed = budget.elapsed()
        step_ps = getattr(self._runner, "step_size", None)
        ns_per_day = None
        if step_ps is not None:
            sampled_ns = len(weights) * self.n_done * self._options.n_steps * step_ps / 1000
            ns_per_day = sampled_ns / elapsed * 86400
        return Progress(
            n_cycles_done=self.n_done,
            n_cycles=self._options.n_cycles,
            elapsed=elapsed,
            remaining=budget.remaining(self.n_done),
            seconds=budget.seconds,
            ns_per_day=ns_per_day,
            weight_min=min(weights),
            weight_max=max(weights),
            n_warped=self._n_warped,
        )

    def _record(self, end: EntryRef, n_cycles: int) -> RunRecord:
        import numpy as np

        environment = {
            "wepystore": __version__,
            "python": host_platform.python_version(),
            "numpy": np.__version__,
            "machine": host_platform.machine(),
        }
        if hasattr(self._runner, "environment"):
            environment.update(self._runner.environment(*self._platform_choice()))
        return RunRecord(
            start=self._start.snapshot_ref,
            end=end,
            config=self._start.config_ref,
            n_cycles=n_cycles,
            n_steps=self._options.n_steps,
            seed=self._seed,
            reproducible=self._reproducible(),
            environment=environment,
            execution={
                "job_name": self._options.job_name,
                "narration": self._options.narration,
                "begun": self._begun_at.isoformat(timespec="seconds"),
                "wall_s": round(self._wall_s, 3),
                "n_workers": workers_of(self._mapper, self._options.n_workers),
                "platform_override": self._options.platform,
                "stopped_by": self._stopped_by,
            },
        )

    def _reproducible(self) -> bool:
        # Who does not say so is not known to be.
        apparatus = self._start.snapshot.apparatus
        check = getattr(self._runner, "reproducible", None)
        return (
            check is not None
            and bool(check(*self._platform_choice()))
            and _draws_from_the_run(apparatus.resampler)
            and _draws_from_the_run(apparatus.boundary_conditions)
        )

    def _annotate(self, **facts: Any) -> None:
        for reporter in self._reporters:
            if hasattr(reporter, "annotate"):
                reporter.annotate(**facts)


def _draws_from_the_run(component: Any) -> bool:
    """Whether all random numbers of a component come from the run's seed.

    So it is with built-in ones and with those that take a generator by set_rng;
    any other may draw from wherever it likes.
    """
    return (
        component is None
        or type(component).__module__.startswith("wepystore.")
        or hasattr(component, "set_rng")
    )


def _runner_options(configuration: Configuration, override: str | None) -> dict[str, Any]:
    name = override or configuration.platform
    if name is None:
        return {}
    options: dict[str, Any] = {"platform": name}
    if name == configuration.platform and configuration.platform_properties:
        options["platform_kwargs"] = dict(configuration.platform_properties)
    return options
