"""What there is to tell of a run while it goes on: its record so far."""

from __future__ import annotations

import datetime
import functools

from wepystore.engine.manager import CycleResult
from wepystore.orchestrator.run.environment import differences, step_size_ps
from wepystore.orchestrator.run.mapping import workers_of
from wepystore.orchestrator.run.preparation import Preparation
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.start import Past, Start
from wepystore.orchestrator.run.watching import RunOutcome
from wepystore.records.circumstances import N_CYCLES, SECONDS, stopper
from wepystore.records.run import RunRecord, Unfinished
from wepystore.store.names import EntryRef

#: A record lists so many checkpoints at most; beyond that, every second one is left out, but not
#: the first: by that one records of one execution are known (covering.py).
_MOST_CHECKPOINTS = 100

#: Where sessions differ in one of these, no repetition in one environment need end the same.
_BEARS_ON_BITS = ("platform", "openmm", "device", "machine", "libm", "cpu_flags", "numpy")


def now_text() -> str:
    """This moment, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Account:
    """The account of one run.

    Attributes
    ----------
    n_done : int
        Cycles since the start of the run.
    how : Circumstances
        `ended_by` and `complete` are None and False while it goes on.
    changes : tuple of str
        Fields of the environment that are not what they were in the session before.
    flux : Flux
        What was warped in all sessions, as far as it is recorded.
    sampled_ps : float
        Of all walkers together, in this session; 0 where the runner has no time step.
    kept : (int, float) or None
        Cycles in the last checkpoint of this session, and when it was durable, in s since 1970.
    """

    def __init__(
        self, start: Start, request: RunRequest, past: Past, prepared: Preparation
    ) -> None:
        self._start, self._request, self._past, self._prepared = start, request, past, prepared
        self.n_done = past.n_cycles
        self.how = past.how._replace(
            **request.recorded(),
            begun=past.how.begun or now_text(),
            n_workers=workers_of(prepared.mapper, prepared.n_workers),
            n_walkers=prepared.n_walkers,
            step_size_ps=step_size_ps(prepared.runner),
            continues=past.how.continues if past.resumed else start.place,
            ended_by=past.how.ended_by if past.how.complete else None,
            stopped_by=None,
        )
        found = differences(past.environment or {}, prepared.environment)
        self.changes = tuple(difference.field for difference in found)
        self.flux = past.flux
        self.sampled_ps = 0.0
        self.kept: tuple[int, float] | None = None

    def note_resumption(self) -> None:
        """This session goes on from a checkpoint, if one was written and something is left."""
        if self._past.record is None or self.how.complete:
            return
        session = {
            "snapshot": self._past.end,
            "n_cycles": self._past.n_cycles,
            "at": now_text(),
            "differs": list(self.changes),
        }
        self.how = self.how._replace(resumed_from=[*(self.how.resumed_from or ()), session])

    def note_cycle(self, result: CycleResult, n_walkers: int) -> None:
        """One more is whole, of so many walkers."""
        self.n_done += 1
        time = self.how.time_of(self._request.n_steps)
        self.flux = self.flux.after(time, result.warped)
        self.sampled_ps += time * n_walkers if self.how.step_size_ps else 0.0
        self.how = self.how.counting(result.n_warped, result.n_cloned, result.n_merged)

    def wall_s(self, elapsed: float) -> float:
        """Seconds of all sessions, after so many of this one."""
        return self._past.wall_s + elapsed

    def note_checkpoint(self, elapsed: float) -> None:
        """One is about to be written, after so many seconds of this session."""
        wall_s = round(self.wall_s(elapsed), 3)
        listed = [each for each in self.how.checkpoints or () if each[0] != self.n_done]
        if len(listed) >= _MOST_CHECKPOINTS:
            listed = listed[::2]
        listed.append([self.n_done, wall_s])
        self.how = self.how._replace(wall_s=wall_s, checkpoints=listed)

    def note_end(self, ended_by: str, complete: bool = False) -> None:
        """N_CYCLES, SECONDS, UNTIL, ERROR or a signal has ended it; whether it has done all it was
        asked for."""
        self.how = self.how._replace(
            ended_by=ended_by, stopped_by=stopper(ended_by), complete=complete
        )

    def record(self, n_cycles: int) -> Unfinished:
        """The record of the run so far, but for what it names: `(end=, execution=, recording=)`
        gives it."""
        return functools.partial(
            RunRecord,
            start=self._start.snapshot_ref,
            config=self._start.config_ref,
            n_cycles=n_cycles,
            n_steps=self._request.n_steps,
            seed=self._request.seed,
            reproducible=self.reproducible(),
            environment=self._prepared.environment,
            execution=self.how,
        )

    def outcome(self, end: EntryRef | None, record: str | None) -> RunOutcome:
        """How the run has ended, in this snapshot, or where it began, with this record."""
        request, n_cycles = self._request, self._request.n_cycles
        assert request.job_dir is not None
        return RunOutcome(
            start=self._start.snapshot_ref.md5,
            end=(end or self._start.snapshot_ref).md5,
            record=record,
            n_cycles=self.n_done,
            seed=request.seed,
            reproducible=self.reproducible(),
            job_dir=request.job_dir,
            ended_by=self.how.ended_by or (SECONDS if n_cycles is None else N_CYCLES),
            complete=self.how.complete is True,
            wanted=n_cycles,
            seconds=request.seconds,
        )

    def reproducible(self) -> bool:
        """Whether another execution of the whole run gives the same end to the bit (R1)."""
        mixed = any(field.partition(".")[0].startswith(_BEARS_ON_BITS) for field in self.changes)
        return self._prepared.reproducible(self.n_done) and self._past.reproducible and not mixed
