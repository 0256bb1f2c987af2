"""How long a run may go on, and what ends it early."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from wepystore.orchestrator.run.request import GRACE_S
from wepystore.records.circumstances import N_CYCLES, SECONDS, UNTIL

#: How much longer than the slowest so far a cycle is taken to last where time is up for good.
_CYCLE_FACTOR = 1.2
#: The same for a checkpoint; at least so many seconds are left for it and the way out.
_CHECKPOINT_FACTOR = 2.0
_ROOM_S = 3.0
#: Of a short grace, the part that is left for the checkpoint.
_ROOM_SHARE = 0.25
#: How soon to look again whether a cycle can be dropped, and how late: the system's timer takes
#: no time in the far future.
_AGAIN_S = 0.02
_LATEST_S = 1e6


class Budget:
    """Wall-clock seconds and cycles; says whether another cycle fits.

    Parameters
    ----------
    seconds : float
        From the moment of construction; infinity for no limit.
    n_cycles : int or None
        At most so many cycles, counted from the start of the run.
    until : float or None
        Seconds since the epoch when the process may be killed.
    first : int
        So many cycles were done before.
    """

    def __init__(
        self,
        seconds: float,
        n_cycles: int | None = None,
        until: float | None = None,
        first: int = 0,
    ) -> None:
        self.seconds = seconds
        self.n_cycles = n_cycles
        self.until = until
        self.first = first
        self.begun = time.monotonic()
        self._opened = 0.0
        self.slowest_cycle = 0.0
        self.slowest_checkpoint = 0.0
        #: Whether one is being written, for which the next one will wait.
        self.is_writing = False

    def checkpoint_written(self, seconds: float) -> None:
        """One is durable, so long after it was begun."""
        self.slowest_checkpoint = max(self.slowest_checkpoint, seconds)
        self.is_writing = False

    def elapsed(self) -> float:
        """Seconds since construction."""
        return time.monotonic() - self.begun

    def cycles_begin(self) -> None:
        """Workers and files are open: what that took is no part of a cycle."""
        self._opened = self.elapsed()

    def cycling(self) -> float:
        """Seconds since the first cycle of this session began."""
        return self.elapsed() - self._opened

    def ends(self, n_done: int) -> str | None:
        """Why no cycle may begin after `n_done` of them: N_CYCLES, SECONDS, UNTIL, or None if
        one may.

        By `seconds` the first always may. A later one may not if, taking as long as
        the slowest so far, it and the final checkpoint would end after the time. The
        other limits hold for the first cycle as well, and `until` leaves some room.
        """
        if self.n_cycles is not None and n_done >= self.n_cycles:
            return N_CYCLES
        needed = self.slowest_cycle + self.slowest_checkpoint
        if n_done > self.first and self.elapsed() + needed > self.seconds:
            return SECONDS
        left = self.drop_in()
        if left is not None and left < _CYCLE_FACTOR * self.slowest_cycle:
            return UNTIL
        return None

    def allows(self, n_done: int) -> bool:
        """Whether a cycle may begin after `n_done` of them."""
        return self.ends(n_done) is None

    def room(self, least: float = _ROOM_S) -> float:
        """Seconds to set aside for a checkpoint and the way out."""
        n_checkpoints = 2 if self.is_writing else 1
        return max(least, n_checkpoints * _CHECKPOINT_FACTOR * self.slowest_checkpoint)

    def drop_in(self) -> float | None:
        """Seconds until a cycle that is not done must be dropped, because of `until`."""
        return None if self.until is None else self.until - time.time() - self.room()

    def remaining(self, n_done: int) -> float:
        """Seconds to go, by the clock or by the mean cycle, whichever ends first; infinite where
        only a signal ends it."""
        left = self.seconds - self.elapsed()
        if self.until is not None:
            left = min(left, self.until - time.time())
        now_done = n_done - self.first
        if self.n_cycles is not None and now_done:
            left = min(left, (self.n_cycles - n_done) * self.cycling() / now_done)
        return max(0.0, left)


class CycleDropped(BaseException):
    """Raised into the segments of a cycle that has no time to end.

    No `Exception`: nothing between here and the run may take it for a failed segment.
    """


class StopSignals:
    """Within the block SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask for an end.

    A second SIGINT is final. A second SIGTERM changes nothing: schedulers tend to deliver it
    to the process and to its group. SIGHUP, the end of a terminal, stays ignored where
    `nohup` has said so.

    The cycle that runs is finished if it can be within the grace. If it cannot, by the
    slowest cycle so far, or if it turns out that it does not, it is dropped: CycleDropped
    is raised while its segments run, where there is nothing to undo. The same happens
    when `until` of the budget draws near.

    Parameters
    ----------
    on_signal : callable
        Called with the signal's name, in the handler: it must do next to nothing.
    budget : Budget or None
    grace : float
        Seconds from a signal to the end of the process.

    Attributes
    ----------
    budget : Budget
    received : str or None
        The name of the signal that came.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

    def __init__(
        self,
        on_signal: Callable[[str], None],
        budget: Budget | None = None,
        grace: float = GRACE_S,
    ) -> None:
        self.received: str | None = None
        self._on_signal = on_signal
        self.budget = budget or Budget(float("inf"))
        self._grace = grace
        self._before: dict[int, Any] = {}
        self._received_at = 0.0
        self._manager: Any = None
        self._cycle_began = 0.0

    def __enter__(self) -> StopSignals:
        # Python only lets the main thread do this; an embedding program keeps its own handlers.
        if threading.current_thread() is threading.main_thread():
            for number in self._SIGNALS:
                if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._handle)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_timer)
        return self

    def cycle_begins(self, manager: Any) -> None:
        """From here to `cycle_ends` a cycle may be dropped, while `manager.interruptible`."""
        self._cycle_began = time.monotonic()
        self._manager = manager
        self._arm()

    def cycle_ends(self) -> None:
        """The cycle is whole, or has failed."""
        self._manager = None
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self._received_at = time.monotonic()
        self.received = signal.Signals(number).name
        # The system's own action, which needs no Python code to run: the next
        # Ctrl-C works even while OpenMM computes. Workers end with our pipe.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._on_signal(self.received)
        self._arm()

    def _drop_in(self) -> float | None:
        """Seconds until this cycle must be dropped; None if nothing presses."""
        now = time.monotonic()
        left = self.budget.drop_in()
        if self.received is not None:
            room = self.budget.room(min(_ROOM_S, _ROOM_SHARE * self._grace))
            grace = self._received_at + self._grace - room - now
            left = grace if left is None else min(left, grace)
            # A cycle that will not be done by then is better dropped now: the time is
            # another job's. One that is slower than all before may end any moment.
            still = self.budget.slowest_cycle - (now - self._cycle_began)
            if still > left:
                left = 0.0
        return left

    def _arm(self) -> None:
        if self._manager is None or not self._before:
            return
        left = self._drop_in()
        if left is not None:
            _wake_in(left)

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        manager = self._manager
        if manager is None:
            return
        left = self._drop_in()
        if left is None:
            return
        if left > 0 or not manager.interruptible:
            _wake_in(left)
            return
        manager.interruptible = False
        raise CycleDropped

    def __exit__(self, *exc_info: object) -> None:
        self.cycle_ends()
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _wake_in(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, min(max(seconds, _AGAIN_S), _LATEST_S))
