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
#: A runner that gives signs of life from within segments may be silent for so many times its
#: longest silence so far by FACTOR, and this long in any case, s.
SILENT_S = 600.0
#: As long as there was neither a segment that ended nor a sign: without using the processor at all,
FIRST_IDLE_S = 600.0
#: and whatever it does. Nobody makes segments, the grain of resampling and loss, as long as this.
FIRST_S = 4 * 3600.0
#: As long as none has ended: a segment that takes so long is remarked on, s.
LONG_FIRST_S = 3600.0
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
        self.now = 0.0
        self._seen = time.monotonic()

    def tick(self) -> float:
        """The time now, s; to be called at least every TICK_S while awake."""
        seen = time.monotonic()
        self.now += min(seen - self._seen, 2 * TICK_S)
        self._seen = seen
        return self.now


class Pace:
    """What segments take, s a step, and how long runners are silent within them, s."""

    def __init__(self) -> None:
        self.slowest = 0.0
        self.recent = 0.0
        self.longest_silence = 0.0

    def note(self, seconds: float, length: int) -> None:
        """Take note of a segment that ended."""
        rate = seconds / max(1, length)
        self.slowest = max(self.slowest, rate)
        self.recent = rate if not self.recent else 0.8 * self.recent + 0.2 * rate

    def expected(self, length: int) -> float | None:
        """Seconds a segment should take; None before the first has ended."""
        return self.recent * max(1, length) if self.recent else None

    def note_silence(self, seconds: float) -> None:
        """Take note of a sign of life, so long after what was heard before."""
        self.longest_silence = max(self.longest_silence, seconds)

    def limit(self, length: int) -> float | None:
        """Seconds in which something must be heard of a segment; None if nothing is known."""
        limits = []
        if self.slowest:
            limits.append(max(FLOOR_S, FACTOR * self.slowest * max(1, length)))
        if self.longest_silence:
            limits.append(max(SILENT_S, FACTOR * self.longest_silence))
        return min(limits, default=None)

    def long(self, length: int) -> float:
        """Seconds after which a segment is worth a remark, though it gives signs of life."""
        if not self.slowest:
            return LONG_FIRST_S
        return max(SILENT_S, FACTOR * self.slowest * max(1, length))


class Process(Protocol):
    """What the system tells of a worker."""

    def stopped(self) -> bool: ...

    def cpu_seconds(self) -> float | None: ...


class Watch:
    """Keeps an eye on one worker."""

    def __init__(self, now: float) -> None:
        self._marker: object = None
        self._since = self._heard_at = self._used_at = now
        self._signs = 0
        self._used: float | None = None
        self._stopped_since: float | None = None

    def busy_for(self, now: float) -> float:
        """Seconds since the last look that found something else begun."""
        return now - self._since

    def look(
        self,
        now: float,
        marker: object,
        process: Process | None,
        *,
        pace: Pace,
        timeout: float | None = None,
        length: int = 0,
        signs: int = 0,
    ) -> str | None:
        """Why this worker is to be given up; None if it is not.

        Parameters
        ----------
        now : float
            By an AwakeClock.
        marker : object
            Changes whenever the worker begins something else.
        process : Process or None
            None for a worker elsewhere, of which the system here knows nothing.
        timeout : float or None
            How long one thing may take, s, whatever is heard of it. None: what `pace`
            allows for so many steps (`length`), counted from the last sign of life.
        signs : int
            How many signs of life the worker has given so far.
        """
        if process is not None and process.stopped():
            if self._stopped_since is None:
                self._stopped_since = now
            if now - self._stopped_since >= STOPPED_S:
                return f"was stopped (SIGSTOP) and not continued for {STOPPED_S:g} s"
        else:
            self._stopped_since = None
        if marker != self._marker:
            self._marker, self._signs = marker, signs
            self._since = self._heard_at = self._used_at = now
            self._used = None
            return None
        limit, silent = timeout, now - self._since
        if timeout is None:
            if signs != self._signs:
                pace.note_silence(now - self._heard_at)
                self._signs, self._used = signs, None
                self._heard_at = self._used_at = now
                return None
            limit, silent = pace.limit(length), now - self._heard_at
        if limit is not None:
            return f"gave no answer for {silent:.1f} s" if silent > limit else None
        used = None if process is None else process.cpu_seconds()
        if used is None or used != self._used:
            self._used, self._used_at = used, now
        idle = now - self._used_at
        if idle > FIRST_IDLE_S:
            return f"has not used the processor for {idle:.0f} s"
        return f"gave no answer for {silent:.0f} s" if silent > FIRST_S else None
