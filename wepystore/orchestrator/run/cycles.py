"""The cycles of one session of a run, with the checkpoints between them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wepystore.engine.manager import CycleManager, CycleResult
from wepystore.engine.undo import undoing
from wepystore.errors import WepystoreError
from wepystore.orchestrator.errors import CheckpointFailedError, CycleFailedError
from wepystore.orchestrator.run.account import Account
from wepystore.orchestrator.run.budget import Budget, CycleDropped, StopSignals
from wepystore.orchestrator.run.checkpoint import Checkpointer, Handed
from wepystore.orchestrator.run.desk import Desk
from wepystore.orchestrator.run.pulse import Pulse
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.stillness import Stillness
from wepystore.orchestrator.run.watching import Progress, Watcher, cycles_text
from wepystore.records.circumstances import ERROR, N_CYCLES, SECONDS, UNTIL
from wepystore.records.trust import arguments
from wepystore.store.names import EntryRef

#: What a kill may cost by default, besides one cycle,
EVERY_S = 300.0
#: as long as no more than this part of the time goes to checkpoints,
_SHARE = 0.03
#: and what it may cost where they are as dear as that.
_LATEST_S = 3600.0


class Due:
    """Says when the next checkpoint is due by time: less often where one is dear, which is
    written behind the run, but takes its processors and its disk.

    Parameters
    ----------
    every : float or None
        Seconds between the end of one checkpoint and the next, at least; 0 for none by time.
        None for EVERY_S, or longer where a checkpoint takes so long that this would be more than
        3 % of the time, up to an hour.
    now : float
        When the run began or went on, in seconds of any clock.
    """

    def __init__(self, every: float | None, now: float) -> None:
        self._every = every
        self._last = now
        self._interval = EVERY_S if every is None else every

    def is_due(self, now: float) -> bool:
        """Whether it is time for one."""
        return self._every != 0 and now - self._last >= self._interval

    def begun(self, now: float) -> None:
        """One is being written, for whatever reason."""
        self._last = now

    def written(self, now: float, took: float) -> None:
        """It is, and took so many seconds."""
        self._last = now
        if self._every is None:
            self._interval = min(max(EVERY_S, took / _SHARE - took), _LATEST_S)


@dataclass
class Saving:
    """Has a checkpoint written when one is due, after the reporters' files, while the run goes on;
    `folder` is the job's."""

    checkpointer: Checkpointer
    desk: Desk
    account: Account
    request: RunRequest
    budget: Budget
    watcher: Watcher
    folder: Path

    def __post_init__(self) -> None:
        self._due = Due(self.request.checkpoint_every, self.budget.elapsed())
        self._n_kept = self.account.n_done
        #: What was handed over, after how many cycles and seconds.
        self._handed: tuple[Handed, int, float] | None = None

    def is_due(self) -> bool:
        """Whether it is time for one, and another cycle follows."""
        n_done = self.account.n_done
        every = self.request.checkpoint_freq
        due = bool(every and n_done % every == 0)
        return (due or self._due.is_due(self.budget.elapsed())) and self.budget.allows(n_done)

    def begin(self, walkers: Sequence[Any]) -> None:
        """Have one written while the run goes on, once the one before is durable."""
        begun = self.budget.elapsed()
        self.settle()
        self._hand_over(walkers)
        self.checkpointer.note_time(self.budget.elapsed() - begun)

    def write(self, walkers: Sequence[Any]) -> EntryRef:
        """The last one; the end, when that is durable."""
        self.settle()
        self._hand_over(walkers, last=True)
        end = self.settle()
        assert end is not None
        return end

    def settle(self, wait: bool = True) -> EntryRef | None:
        """Tell of the one that was handed over, if it is durable by now, or when it is; its end.

        Raises CheckpointFailedError, if it could not be written.
        """
        if self._handed is None or not (wait or self._handed[0].durable.done()):
            return None
        handed, n_cycles, at = self._handed
        with self._failing():
            end, seconds = handed.durable.result()
        self._handed = None
        self._n_kept = n_cycles
        ago = self.budget.elapsed() - at - seconds
        self.account.kept = (n_cycles, time.time() - ago)
        self._due.written(at + seconds, seconds)
        self.budget.checkpoint_written(seconds)
        self.watcher.checkpoint_written(end.md5, n_cycles, seconds)
        return end

    def before_cycle(self) -> None:
        """Tell of what is durable. Walkers of three cycles are not held: of one that was handed
        over a cycle ago they are written first. Raises as settle."""
        if self._handed is not None and self._handed[1] < self.account.n_done:
            begun = self.budget.elapsed()
            self._handed[0].taken.wait()
            self.checkpointer.note_time(self.budget.elapsed() - begun)
        self.settle(wait=False)

    def _hand_over(self, walkers: Sequence[Any], last: bool = False) -> None:
        n_done, now = self.account.n_done, self.budget.elapsed()
        with self._failing():
            # Files first: a checkpoint vouches for all that the reporters were told before it.
            self.desk.tell("flush", n_done)
            self.account.note_checkpoint(self.budget.elapsed())
            handed = self.checkpointer.begin(walkers, n_done, last)
        self._handed = handed, n_done, now
        self._due.begun(now)
        self.budget.is_writing = True

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            # A full disk, most often.
            raise CheckpointFailedError(
                problem=_in_words(problem),
                kept=self._kept_text(),
                job_dir=arguments(self.folder),
            ) from problem

    def _kept_text(self) -> str:
        """What there is to go on from where a checkpoint could not be written."""
        if not self._n_kept:
            return "it was to be the first checkpoint, so no cycle is kept"
        cycles = f"{cycles_text(self._n_kept)} up to the last checkpoint"
        if self.checkpointer.is_there():
            return f"{cycles}: kept"
        # Somebody has removed the store, or what was in it, under the run.
        store = arguments(self.checkpointer.store.path)
        return f"{cycles} are gone from {store}, and must come back"


@dataclass
class Cycles:
    """Runs one cycle after the other until something ends them."""

    manager: CycleManager
    request: RunRequest
    account: Account
    saving: Saving
    signals: StopSignals
    watcher: Watcher
    stillness: Stillness
    pulse: Pulse

    def run(self) -> EntryRef | None:
        """The end, whose checkpoint is written; None if not one cycle is done."""
        # Those of the start are not to stay in memory for as long as a run takes.
        walkers, self.manager.init_walkers = self.manager.init_walkers, ()
        account, signals = self.account, self.signals
        signals.budget.cycles_begin()
        while (why := signals.budget.ends(account.n_done)) is None and signals.received is None:
            self.saving.before_cycle()
            undo = undoing(self.manager.boundary_conditions, self.manager.resampler)
            try:
                result = self._cycle(walkers)
            except CycleDropped:
                break
            except (WepystoreError, OSError) as problem:
                if account.n_done == 0:
                    raise
                # Back to the end of the cycle before, which was whole.
                undo()
                account.note_end(ERROR)
                raise CycleFailedError(
                    problem=_in_words(problem),
                    n_cycles=account.n_done,
                    cycles=cycles_text(account.n_done),
                    end=self.saving.write(walkers).md5,
                    job_dir=arguments(self.saving.folder),
                ) from problem
            n_walkers, walkers = len(walkers), result.walkers
            self._tell(result, n_walkers)
            if self.saving.is_due():
                self.saving.begin(walkers)
        ended_by = why if why in (N_CYCLES, SECONDS) else signals.received or UNTIL
        has_all = why == N_CYCLES or (why == SECONDS and self.request.n_cycles is None)
        account.note_end(ended_by, has_all)
        return self.saving.write(walkers) if account.n_done else None

    def _cycle(self, walkers: Sequence[Any]) -> CycleResult:
        self.signals.cycle_begins(self.manager)
        try:
            return self.manager.run_cycle(walkers, self.request.n_steps, self.account.n_done)
        finally:
            self.signals.cycle_ends()

    def _tell(self, result: CycleResult, n_walkers: int) -> None:
        account, budget = self.account, self.signals.budget
        account.note_cycle(result, n_walkers)
        budget.slowest_cycle = max(budget.slowest_cycle, result.seconds)
        progress = Progress.after(
            result,
            account.how,
            sampled_ps=account.sampled_ps,
            cycling=budget.cycling(),
            elapsed=budget.elapsed(),
            n_cycles_done=account.n_done,
            n_cycles=self.request.n_cycles,
            remaining=budget.remaining(account.n_done),
            seconds=budget.seconds,
            flux=account.flux,
        )
        self.pulse.after(result, progress)
        self.watcher.cycle_done(progress)
        if (still := self.stillness.after(result, account.n_done - 1)) is not None:
            self.watcher.remark(still)


def _in_words(problem: Exception) -> Any:
    if not isinstance(problem, OSError) or problem.strerror is None:
        return problem
    return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
