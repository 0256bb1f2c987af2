"""How long cycles took, and with what."""

from __future__ import annotations

import numpy as np

from wepystore.answers.study import Chain
from wepystore.errors import WepystoreError
from wepystore.records.library import load_times
from wepystore.records.times import SPENT
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import (
    Datasets,
    Spec,
    flowing,
    layer,
    quantity,
    spec,
    told,
    x_of_cycles,
)
from wepystore.report.shown import Shown
from wepystore.report.thinning import Floats, Stretches, values

CAPTION = flowing(
    """Time on the clock that a cycle took, and what for: means over each stretch of cycles.
Only the segments move walkers: what else there is should be little beside them. Times are of
the execution that the record is of; those of cycles that a resume did again are not in it, nor
is what the machine did besides."""
)

#: What they are called, from the bottom up, and their colours.
_PARTS = {
    "runner_s": ("segments", "#0072B2"),
    "bc_s": ("boundary conditions", "#56B4E9"),
    "resampling_s": ("resampling", "#E69F00"),
    "reporting_s": ("reporting", "#CC79A7"),
    "checkpoint_s": ("checkpoints", "#009E73"),
}


def cost_spec() -> Spec:
    """Areas on top of each other."""
    names = [name for name, _ in _PARTS.values()]
    pointed = [
        told("part", "of this", kind="nominal"),
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("seconds", "s a cycle", ".3~g"),
    ]
    colour = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": names, "range": [colour for _, colour in _PARTS.values()]},
        "legend": {"title": None},
    }
    y = {**quantity("seconds", "s a cycle"), "stack": "zero", "scale": {"zero": True}}
    bars = layer(
        "spent",
        {"type": "bar", "binSpacing": 0},
        {
            "x": x_of_cycles("first", bin="binned"),
            "x2": {"field": "end"},
            "y": y,
            "color": colour,
            "order": {"field": "place"},
            "tooltip": pointed,
        },
        transform=[
            {"fold": list(_PARTS), "as": ["key", "seconds"]},
            {
                "lookup": "key",
                "from": {"data": {"name": "parts"}, "key": "key", "fields": _OF_PART},
            },
            {"calculate": "datum.last + 1", "as": "end"},
            # Those who would not be seen.
            {"filter": "datum.seconds > 0"},
        ],
    )
    return spec([bars], height=190)


def cost_of(run: Shown, chain: Chain) -> Datasets:
    """Seconds a cycle that each part took, of each stretch."""
    spent = spent_of(chain)
    stretches = run.stretches(100)
    means = {name: _mean(stretches, spent[name]) for name in _PARTS}
    if not any(mean.any() for mean in means.values()):
        raise NothingToShowError(why="its cycles took no time that was measured")
    return {
        "spent": {
            "first": values(stretches.first),
            "last": values(stretches.last),
            **{name: values(mean, 3) for name, mean in means.items()},
        },
        "parts": {
            "key": list(_PARTS),
            "part": [part for part, _ in _PARTS.values()],
            "place": list(range(len(_PARTS))),
        },
    }


_OF_PART = ["part", "place"]


def _mean(stretches: Stretches, seconds: Floats) -> Floats:
    """Over those cycles of which it is known."""
    known = np.isfinite(seconds)
    total = stretches.sums(np.where(known, seconds, 0.0))
    found: Floats = total / np.maximum(1, stretches.sums(known.astype(np.int64)))
    return found


def spent_of(chain: Chain) -> dict[str, Floats]:
    """For each part of a cycle the seconds in each cycle of a chain; NaN where nobody knows.

    Raises NothingToShowError where nothing is known of any.
    """
    found = {name: np.full(chain.n_cycles, np.nan) for name in SPENT}
    why = ""
    for span in chain.runs:
        try:
            times = load_times(chain.store, span.run)
        except WepystoreError as error:
            why = why or str(error)
            continue
        cycle = times["cycle_idx"]
        inside = (cycle >= 0) & (cycle < span.n_cycles)
        for name in SPENT:
            seconds = np.where(times[name] >= 0, times[name], np.nan)
            found[name][span.first_cycle + cycle[inside]] = seconds[inside]
    if all(np.isnan(seconds).all() for seconds in found.values()):
        raise NothingToShowError(why=why or "no times are kept of it")
    return found
