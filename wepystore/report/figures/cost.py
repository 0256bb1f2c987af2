"""How long cycles took, and with what."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    y = quantity("low", "s a cycle")
    y["scale"] = {"zero": True}
    bars = layer(
        "spent",
        {"type": "rect"},
        {
            "x": x_of_cycles("first"),
            "x2": {"field": "end"},
            "y": y,
            "y2": {"field": "high"},
            "color": colour,
            "tooltip": pointed,
        },
    )
    return spec([bars], height=190)


def cost_of(run: Shown, chain: Chain) -> Datasets:
    """Seconds a cycle that each part took, of each stretch."""
    spent = spent_of(chain)
    stretches = run.stretches(100)
    low = np.zeros(len(stretches))
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("part", *_COLUMNS)}
    for name, (part, _) in _PARTS.items():
        mean = _mean(stretches, spent[name])
        if not mean.any():
            continue
        found = (stretches.first, stretches.last, stretches.last + 1, low, low + mean, mean)
        for column, each in zip(_COLUMNS, found, strict=True):
            columns[column].append(each)
        columns["part"].append(np.repeat(part, len(stretches)))
        low = low + mean
    if not columns["part"]:
        raise NothingToShowError(why="its cycles took no time that was measured")
    joined = {name: np.concatenate(held) for name, held in columns.items()}
    return {
        "spent": {
            name: column.tolist() if name == "part" else values(column)
            for name, column in joined.items()
        }
    }


_COLUMNS = ("first", "last", "end", "low", "high", "seconds")


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
