"""How a run shows itself: one moving line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import size_text
from wepystore.orchestrator.run.watching import (
    Begun,
    FramesToCome,
    Progress,
    Watcher,
    cycles_text,
)
from wepystore.reporters.told import rate_text, speed_text

if TYPE_CHECKING:
    from wepystore.cli.console import Console

#: On a terminal: often enough to look alive, too seldom to cost anything.
_REDRAW_S = 0.2
#: In a log: every half minute at first, and at least every 5 minutes later.
_FIRST_LINE_S = 30.0
_LAST_LINE_S = 300.0


class RunDisplay(Watcher):
    """A Watcher that draws on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Any = None
        self._next = 0.0
        self._interval = _REDRAW_S if console.stderr_is_terminal else _FIRST_LINE_S
        self._latest: Progress | None = None
        self._shown: Progress | None = None

    def __enter__(self) -> RunDisplay:
        return self

    def begun(self, what: Begun) -> None:
        job = "repeated in memory" if what.job_dir is None else what.job_dir
        self._console.note(
            f"{what.n_walkers} walkers, {what.n_steps} steps a cycle, seed {what.seed}, job {job}"
        )
        if what.n_resumed is not None:
            cycles = cycles_text(what.n_resumed)
            limit = "" if math.isfinite(what.seconds) else ", without a time limit"
            self._console.note(f"going on after {cycles}{limit}")
        if what.frames is not None:
            self._tell_of_frames(what.frames, what.job_dir)
        if what.changes:
            self._console.warn(
                f"not as it was before: {', '.join(what.changes)}; the end may differ in its bits"
            )
        if self._console.stderr_is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console.rich(), auto_refresh=False, transient=True)
            self._draw(self._live.start)

    def _tell_of_frames(self, frames: FramesToCome, job_dir: Path | None) -> None:
        size, in_all = size_text(round(frames.cycle_bytes)), ""
        if frames.n_bytes is not None:
            in_all = f", {size_text(frames.n_bytes)} in all"
        self._console.note(f"frames: {', '.join(frames.fields)}; {size} a cycle{in_all}")
        if frames.n_bytes is None or job_dir is None:
            return
        free = shutil.disk_usage(job_dir).free
        if frames.n_bytes > free:
            self._console.warn(
                f"the disk has room for {size_text(free)} of frames: where it is full the run "
                "ends; a configuration with a Recording keeps fewer, or none"
            )

    def cycle_done(self, progress: Progress) -> None:
        self._latest = progress
        now = time.monotonic()
        if now >= self._next:
            self._show(progress)
            self._next = now + self._interval
            if self._live is None:
                self._interval = min(self._interval * 1.5, _LAST_LINE_S)

    def _show(self, progress: Progress) -> None:
        self._shown = progress
        line = describe(progress)
        if self._live is not None:
            from rich.text import Text

            text = Text(line, no_wrap=True, overflow="ellipsis")
            self._draw(lambda: self._live.update(text, refresh=True))
        else:
            self._console.note(line)

    def _draw(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError:
            # The terminal is gone, and with it only what was drawn; rich gives stdout back.
            live, self._live = self._live, None
            with contextlib.suppress(OSError):
                live.stop()

    def remark(self, text: str) -> None:
        if self._live is not None:
            self._draw(self._live.stop)
        self._console.warn(text)
        if self._live is not None:
            self._draw(self._live.start)

    def stopping(self, signal_name: str) -> None:
        # In a signal handler: one system call, no locks, no buffers.
        text = (
            f"\n{signal_name}: finishing this cycle if there is time, then a checkpoint. "
            "Ctrl-C: stop at once.\n"
        )
        with contextlib.suppress(OSError):
            os.write(2, text.encode())

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._draw(self._live.stop)
            self._live = None
        if self._latest is not None and (
            self._latest is not self._shown or self._console.stderr_is_terminal
        ):
            self._console.note(describe(self._latest))


def describe(progress: Progress) -> str:
    """One line: cycle, times, what was cloned, merged and warped so far, weights, speed."""
    of = f"/{progress.n_cycles}" if progress.n_cycles else ""
    parts = [
        f"cycle {progress.n_cycles_done}{of}",
        f"{clock(progress.elapsed)} elapsed",
    ]
    if math.isfinite(progress.remaining):
        parts.append(f"{clock(progress.remaining)} left")
    if progress.n_cloned is not None:
        parts.append(f"{progress.n_cloned} clones")
    if progress.n_merged is not None:
        parts.append(f"{progress.n_merged} merges")
    if progress.n_warped:
        parts.append(f"{progress.n_warped} warps")
    parts.append(f"weights {progress.weight_min:.2g} to {progress.weight_max:.2g}")
    if (rate := rate_text(progress.flux, progress.unit)) is not None:
        parts.append(rate)
    if progress.ns_per_day is not None:
        parts.append(speed_text(progress.ns_per_day))
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """h:mm:ss, or seconds below a minute."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
