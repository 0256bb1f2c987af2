"""Monitors: objects that look on once a cycle, by the protocol that wepy has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wepystore.engine.errors import ComponentError
from wepystore.engine.protocols import name_of
from wepystore.engine.runners.base import AdaptedRunner

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
        self.runner = runner.original if adapted else runner
        splits = runner.split_times if adapted else None
        self._last_report = {**report, "runner_splits_time": splits or []}

    def __getattr__(self, name: str) -> Any:
        if name in _SEEN:
            return getattr(self._manager, name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a monitor finds no {name!r} in the manager; there are _last_report, "
            f"{', '.join(_SEEN)}"
        )
