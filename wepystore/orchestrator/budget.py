"""How long a run may go on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any


class Budget:
    """Wall-clock seconds and cycles; says whether another cycle fits.

    Parameters
    ----------
    seconds : float
        From the moment of construction.
    n_cycles : int or None
        At most so many cycles.
    """

    def __init__(self, seconds: float, n_cycles: int | None = None) -> None:
        self.seconds = seconds
        self.n_cycles = n_cycles
        self.begun = time.monotonic()
        self.slowest_cycle = 0.0
        self.slowest_checkpoint = 0.0

    def elapsed(self) -> float:
        """Seconds since construction."""
        return time.monotonic() - self.begun

    def allows(self, n_done: int) -> bool:
        """Whether a cycle may begin after `n_done` of them.

        The first always may. A later one may not if, taking as long as the
        slowest so far, it and the final checkpoint would end after the time.
        """
        if n_done == 0:
            return True
        if self.n_cycles is not None and n_done >= self.n_cycles:
            return False
        return self.elapsed() + self.slowest_cycle + self.slowest_checkpoint <= self.seconds

    def remaining(self, n_done: int) -> float:
        """Seconds to go, by the clock or by the mean cycle, whichever ends first."""
        left = self.seconds - self.elapsed()
        if self.n_cycles is not None and n_done:
            left = min(left, (self.n_cycles - n_done) * self.elapsed() / n_done)
        return max(0.0, left)


class StopSignals:
    """Within the block SIGINT and SIGTERM ask for an end after the cycle; a second SIGINT is final.

    A second SIGTERM changes nothing: schedulers tend to deliver it to the
    process and to its group.

    Parameters
    ----------
    on_signal : callable
        Called with the signal's name, in the handler: it must do next to nothing.

    Attributes
    ----------
    received : str or None
        The name of the signal that came.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, on_signal: Callable[[str], None]) -> None:
        self.received: str | None = None
        self._on_signal = on_signal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        # Python only lets the main thread do this; an embedding program keeps its own handlers.
        if threading.current_thread() is threading.main_thread():
            for number in self._SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = signal.Signals(number).name
        # The system's own action, which needs no Python code to run: the next
        # Ctrl-C works even while OpenMM computes. Workers end with our pipe.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._on_signal(self.received)

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
