"""When a checkpoint is due by time: every few minutes, less often where one is dear."""

from __future__ import annotations

#: What a kill may cost by default, besides one cycle,
EVERY_S = 300.0
#: as long as no more than this part of the time goes to checkpoints,
_SHARE = 0.03
#: and what it may cost where they are as dear as that.
_LATEST_S = 3600.0


class Pace:
    """Says when the next checkpoint is due.

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

    def written(self, now: float, took: float) -> None:
        """One has been written, for whatever reason, and took so many seconds."""
        self._last = now
        if self._every is None:
            self._interval = min(max(EVERY_S, took / _SHARE - took), _LATEST_S)
