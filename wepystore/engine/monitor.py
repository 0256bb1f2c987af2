"""Monitors: objects that look on once a cycle, by the protocol that wepy has for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from wepystore.engine.errors import ComponentError, StepError
from wepystore.engine.protocols import name_of
from wepystore.engine.runners.base import AdaptedRunner
from wepystore.errors import WepystoreError

_METHODS = ("init", "cycle_monitor", "cleanup")

#: What a monitor finds in the manager: wepy's has the same, and `init_walkers` besides.
_SEEN = (
    *("runner", "resampler", "boundary_conditions", "work_mapper", "reporters", "monitor"),
    "n_init_walkers",
)


def check_monitor(monitor: Any) -> None:
    """Raise ComponentError unless it is None or has what is called of a monitor."""
    if monitor is None:
        return
    lacking = [name for name in _METHODS if not callable(getattr(monitor, name, None))]
    if lacking or isinstance(monitor, type):
        problem = f"it has no {lacking[0]}()" if lacking else "it is a class, and not an object"
        raise ComponentError(
            component=f"the monitor {name_of(monitor)}",
            problem=f"{problem}; a monitor has init(), cycle_monitor(manager, walkers), cleanup()",
        )


class Monitored:
    """What a monitor is given as the manager, for one call.

    It has the components (another program's runner itself, not what stands for it here), the
    number of walkers at the start, and of the cycle what reporters are told, as `_last_report`,
    which wepy's own monitor reads.
    """

    def __init__(self, manager: Any, report: Mapping[str, Any]) -> None:
        self._manager = manager
        runner = manager.runner
        adapted = isinstance(runner, AdaptedRunner)
        self._runner = runner.original if adapted else runner
        splits = runner.split_times if adapted else None
        self._last_report = {**report, "runner_splits_time": splits or []}

    def __getattr__(self, name: str) -> Any:
        if name == "runner":
            return self._runner
        if name in _SEEN:
            return getattr(self._manager, name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a monitor finds no {name!r} in the manager; there are _last_report, "
            f"{', '.join(_SEEN)}"
        )


@contextlib.contextmanager
def of_monitor(monitor: Any, cycle_idx: int) -> Iterator[None]:
    """Give an exception out of a monitor its name; also an OSError, which may name no file: that
    of a port that is taken does not.

    Raises StepError.
    """
    try:
        yield
    except WepystoreError:
        raise
    except (Exception, SystemExit) as problem:
        raise StepError(
            cycle_idx=cycle_idx,
            component=f"the monitor {type(monitor).__name__}",
            problem=f"{type(problem).__name__}: {problem}",
        ) from problem


def ended(monitor: Any) -> None:
    """Let a monitor go. Raises ComponentError."""
    try:
        monitor.cleanup()
    except WepystoreError:
        raise
    except Exception as problem:
        why = f"it failed at the end: {type(problem).__name__}: {problem}"
        raise ComponentError(component=f"the monitor {type(monitor).__name__}", problem=why) from (
            problem
        )
