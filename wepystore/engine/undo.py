"""Take back what a cycle that failed has changed of the parts that decide (R2)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from wepystore.engine.adapt import plug_of
from wepystore.engine.component import Component


def undoing(boundary_conditions: Any, resampler: Any) -> Callable[[], None]:
    """What makes both again what they are now; to be called before a cycle.

    Either may be None. A component says by `state` what changes while it runs. Of any other object
    all attributes are copied, since a checkpoint keeps all of them; what cannot be copied
    cannot be taken back. Boundary conditions of another program may be known never to change.
    """
    plug = plug_of(boundary_conditions)
    fixed = plug is not None and plug.never_changes(boundary_conditions)
    parts = [resampler] if fixed else [boundary_conditions, resampler]
    steps = [_undoing(part) for part in parts]

    def undo() -> None:
        for step in steps:
            step()

    return undo


def _undoing(part: Any) -> Callable[[], None]:
    if isinstance(part, Component):
        return partial(part.restore, part.state())
    try:
        before = copy.deepcopy(vars(part))
    except Exception:  # No attributes, or a lock, an open file: whatever its own hooks raise.
        return lambda: None
    return partial(_set_back, part, before)


def _set_back(part: Any, before: dict[str, Any]) -> None:
    vars(part).clear()
    vars(part).update(before)
