"""A run tells, while it goes on, how far it has come (job/progress_file.py)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wepystore.engine.manager import CycleResult
from wepystore.engine.protocols import SummaryCapabilities
from wepystore.orchestrator.job.progress_file import write_progress
from wepystore.orchestrator.run.account import Account
from wepystore.orchestrator.run.watching import Progress

#: The least time between two tellings, in s,
_EVERY_S = 1.0
#: as long as no more than this part of the time goes to them,
_SHARE = 5e-4
#: and the longest where they are as dear as that: on a network, a disk that others keep busy.
_LATEST_S = 30.0
#: So many workers, of facts of a component, and characters of each are told.
_MOST_WORKERS, _MOST_FACTS, _LONGEST = 512, 16, 200


class Pulse:
    """Tells it at most once a second, and less often where that takes long.

    Parameters
    ----------
    folder : Path
        The job's.
    account : Account
    parts : {name: component}
        Those that say something of themselves.
    """

    def __init__(self, folder: Path, account: Account, parts: Mapping[str, Any]) -> None:
        self._folder, self._account, self._parts = folder, account, parts
        self._progress: Progress | None = None
        # Of each worker: segments, and seconds in them.
        self._workers: dict[str, list[float]] = {}
        self._runner_s = 0.0
        self._n_cycles = 0
        self._next = 0.0

    def after(self, result: CycleResult, progress: Progress) -> None:
        """A cycle is whole."""
        self._progress, self._ended = progress, time.time()
        self._n_cycles += 1
        self._runner_s += result.runner_s
        # Anybody's mapper: what is no number there ends no run.
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            for worker, seconds in result.segment_times.items():
                sums = self._workers.setdefault(str(worker), [0, 0.0])
                sums[0] += len(seconds)
                sums[1] += float(sum(seconds))
        if time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        """Tell it now."""
        if self._progress is not None:
            begun = time.monotonic()
            write_progress(self._folder, self._facts(self._progress))
            now = time.monotonic()
            self._next = now + wait_after(now - begun)

    def _facts(self, progress: Progress) -> dict[str, Any]:
        return {
            "at": self._ended,
            "n_cycles": progress.n_cycles_done,
            "session_cycles": self._n_cycles,
            "session_s": progress.elapsed,
            "wall_s": self._account.wall_s(progress.elapsed),
            "remaining_s": progress.remaining if math.isfinite(progress.remaining) else None,
            "ns_per_day": progress.ns_per_day,
            "weights": progress.spread,
            "n_warped": progress.n_warped,
            "n_cloned": progress.n_cloned,
            "n_merged": progress.n_merged,
            "unit": progress.unit,
            "flux": vars(progress.flux),
            "components": {name: _facts_of(part) for name, part in self._parts.items()},
            "workers": dict(list(self._workers.items())[:_MOST_WORKERS]),
            "runner_s": self._runner_s,
            "checkpoint": self._account.kept,
        }


def wait_after(took: float) -> float:
    """How long not to tell anything where the last time took so long, in s."""
    return min(max(_EVERY_S, took / _SHARE), _LATEST_S)


def _facts_of(part: Any) -> dict[str, str]:
    """What a component says of itself: nothing, if what a user's own says cannot be told."""
    try:
        facts = SummaryCapabilities(part).summary()
        items = list(facts.items())[:_MOST_FACTS]
        return {str(label)[:_LONGEST]: str(value)[:_LONGEST] for label, value in items}
    except Exception:
        return {}
