"""How many walkers were cloned and merged, over the cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records.recording import LENGTHS
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import (
    BLUE,
    VERMILLION,
    Datasets,
    Spec,
    flowing,
    layer,
    quantity,
    spec,
    told,
    x_of_cycles,
    zoom,
)
from wepystore.report.shown import Shown
from wepystore.report.thinning import Floats, Ints, values

CAPTION = flowing(
    """Clones made (above) and walkers merged away (below) a cycle: means over each stretch of
cycles. While the number of walkers stays, these are equal. A run in which nothing is cloned is
plain dynamics; one in which all walkers are cloned and merged in each cycle forgets its
ancestors within a few, and walkers of one family are no independent samples."""
)

_COLUMNS = ("cycle_idx", "decision_id", "target_idxs", f"target_idxs/{LENGTHS}")


def turnover_spec() -> Spec:
    """Bars up and down from 0."""
    pointed = [
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("clones", "clones a cycle", ".3~g"),
        told("merges", "merges a cycle", ".3~g"),
    ]

    def bars(field: str, colour: str) -> Spec:
        y = quantity(field, "merges · clones")
        y["scale"] = {"zero": True}
        encoding = {
            "x": x_of_cycles("first"),
            "x2": {"field": "end"},
            "y": y,
            "y2": {"datum": 0},
            "tooltip": pointed,
        }
        return layer("turnover", {"type": "rect", "color": colour, "opacity": 0.85}, encoding)

    end = {"calculate": "datum.last + 1", "as": "end"}
    down = {"calculate": "-datum.merges", "as": "merged"}
    return spec(
        [
            {**bars("clones", BLUE), "params": [zoom()], "transform": [end]},
            {**bars("merged", VERMILLION), "transform": [end, down]},
        ],
        height=170,
    )


def turnover_of(run: Shown) -> Datasets:
    """Clones and merges a cycle, of each stretch."""
    stretches = run.stretches()
    clones, merges = _counted(run)
    return {
        "turnover": {
            "first": values(stretches.first),
            "last": values(stretches.last),
            "clones": values(stretches.means(clones), 3),
            "merges": values(stretches.means(merges), 3),
        }
    }


def _counted(run: Shown) -> tuple[Floats, Floats]:
    """Clones and merges of each cycle."""
    names = [f"resampling/{name}" for name in _COLUMNS if f"resampling/{name}" in run.columns]
    held = {name.partition("/")[2]: column for name, column in run.tables.read(names).items()}
    decisions = run.tables.recording.decisions
    clone, squash = decisions.get("CLONE"), decisions.get("SQUASH")
    if clone is None or squash is None or not {"cycle_idx", "decision_id"} <= held.keys():
        raise NothingToShowError(why="its resampler records no decisions that are known here")
    cycle = np.clip(held["cycle_idx"].astype(np.int64), 0, run.n_cycles - 1)
    decision = held["decision_id"].reshape(len(cycle), -1)[:, :1].ravel()
    if len(decision) != len(cycle):
        raise NothingToShowError(why="a decision of its resampler is not one number")
    made = np.where(decision == clone, _slots(held, len(cycle)) - 1, 0)
    return (
        np.bincount(cycle, made, run.n_cycles).astype(np.float64),
        np.bincount(cycle, decision == squash, run.n_cycles).astype(np.float64),
    )


def _slots(held: dict[str, NDArray[Any]], n: int) -> Ints:
    """In how many places the walker of each record goes on."""
    lengths = held.get(f"target_idxs/{LENGTHS}")
    if lengths is not None and len(lengths) == n:
        found: Ints = lengths.astype(np.int64)
        return found
    if "target_idxs" not in held:
        raise NothingToShowError(why="its resampler does not record where walkers go on")
    return np.full(n, held["target_idxs"].size // max(1, n))
