"""How long a worker may take before it is taken for one that hangs.

A heartbeat from a thread of the worker would not do: a runner may hold the
interpreter's lock for as long as its segment takes, and a deadlocked one beats
happily. What is looked at instead is what the system knows of a process, and
the time that other segments took.
"""

from __future__ import annotations

import time
from typing import Protocol

#: A segment may take so many times what the slowest one so far took, by the step,
FACTOR = 20.0
#: and this long in any case, s.
FLOOR_S = 60.0
#: As long as no segment has ever ended: so long without using the processor at all,
FIRST_IDLE_S = 600.0
#: and so long whatever it does.
FIRST_S = 86_400.0
#: Stopped (SIGSTOP) for so long. Schedulers that suspend a job continue its processes in any order.
STOPPED_S = 10.0
#: From the start of a worker's process to its first word; imports over a network can be slow.
START_S = 600.0
#: So many processes in a row may end before they are ready; then it lies with something else.
MOST_STARTS = 3
#: How often workers are looked at, s.
TICK_S = 0.5


class AwakeClock:
    """A clock that stands still while this process does.

    Parent and workers are stopped and continued together (a suspended job, a
    closed laptop, a debugger) in no order that could be relied on; the time in
    between says nothing about anybody.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._seen = time.monotonic()

    def tick(self) -> float:
        """The time now, s; to be called at least every TICK_S while awake."""
        seen = time.monotonic()
        self._now += min(seen - self._seen, 2 * TICK_S)
        self._seen = seen
        return self._now


class Pace:
    """What segments take, s a step."""

    def __init__(self) -> None:
        self.slowest = 0.0
        self.recent = 0.0

    def note(self, seconds: float, length: int) -> None:
        """Take note of a segment that ended."""
        rate = seconds / max(1, length)
        self.slowest = max(self.slowest, rate)
        self.recent = rate if not self.recent else 0.8 * self.recent + 0.2 * rate

    def expected(self, length: int) -> float | None:
        """Seconds a segment should take; None before the first has ended."""
        return self.recent * max(1, length) if self.recent else None

    def limit(self, length: int, segment_timeout: float | None) -> float | None:
        """Seconds a segment may take; None if nothing is known."""
        if segment_timeout is not None:
            return segment_timeout
        if not self.slowest:
            return None
        return max(FLOOR_S, FACTOR * self.slowest * max(1, length))


class Process(Protocol):
    """What the system tells of a worker."""

    def stopped(self) -> bool: ...

    def cpu_seconds(self) -> float | None: ...


class Watch:
    """Keeps an eye on one worker."""

    def __init__(self, now: float) -> None:
        self._marker: object = None
        self._since = self._used_at = now
        self._used: float | None = None
        self._stopped_since: float | None = None

    def look(self, now: float, marker: object, limit: float | None, process: Process) -> str | None:
        """Why this worker is to be given up; None if it is not.

        `marker` changes whenever the worker begins something else; `limit` is how
        long one thing may take, in s, None if nobody knows.
        """
        if process.stopped():
            if self._stopped_since is None:
                self._stopped_since = now
            if now - self._stopped_since >= STOPPED_S:
                return f"was stopped (SIGSTOP) and not continued for {STOPPED_S:g} s"
        else:
            self._stopped_since = None
        if marker != self._marker:
            self._marker = marker
            self._since = self._used_at = now
            self._used = None
            return None
        taken = now - self._since
        if limit is not None:
            return f"gave no answer for {taken:.1f} s" if taken > limit else None
        used = process.cpu_seconds()
        if used is None or used != self._used:
            self._used, self._used_at = used, now
        idle = now - self._used_at
        if idle > FIRST_IDLE_S:
            return f"has not used the processor for {idle:.0f} s"
        return f"gave no answer for {taken:.0f} s" if taken > FIRST_S else None
