"""Where the walkers were, over the cycles: weight along a recorded coordinate, and warps."""

from __future__ import annotations

import numpy as np

from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import (
    INK,
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
from wepystore.report.shown import Shown, plain
from wepystore.report.thinning import Floats, Values, values

N_BINS = 56
#: So many warps are drawn, the heaviest.
MOST_WARPS = 250

CAPTION = flowing(
    """All walkers of all cycles: a cell holds the weight that there was, a cycle, at this
value of the coordinate, in this stretch of cycles. Empty cells were not visited. The line is
the mean, by weight; a triangle is a walker that arrived and was warped (the {most} heaviest).
Weight that still spreads from left to right says that the run has not come to its steady
state, and that rates and profiles of it are of what it has seen so far."""
)


def caption() -> str:
    """What it says."""
    return CAPTION.format(most=MOST_WARPS)


def landscape_spec(name: str) -> Spec:
    """Cells of weight, the mean, and warps."""
    title = plain(name)
    cell = [
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("low", title, ".4g"),
        told("high", "to", ".4g"),
        told("weight", "weight a cycle", ".3g"),
        told("n", "walkers a cycle", ".2~g"),
    ]
    # Numbers of stretches and bins, and logarithms, are short: most of a page are these cells.
    looked_up = [
        {"calculate": f"floor(datum.cell / {N_BINS})", "as": "stretch"},
        {"calculate": f"datum.cell % {N_BINS}", "as": "bin"},
        _looked_up("stretches", "stretch", ["first", "last"]),
        {"calculate": "datum.last + 1", "as": "end"},
        _looked_up("bins", "bin", ["low", "high"]),
        {"calculate": "pow(10, datum.log_weight)", "as": "weight"},
    ]
    colour = {
        "field": "weight",
        "type": "quantitative",
        "scale": {"type": "log", "scheme": "viridis"},
        "legend": {"title": "weight", "format": ".0e", "tickCount": 5},
    }
    x, y = x_of_cycles("first"), quantity("low", title)
    warp = [
        told("cycle", "warped in cycle", "d"),
        told("walker", "walker", "d"),
        told("at", title, ".4g"),
        told("weight", "weight", ".3g"),
    ]
    size = {"field": "weight", "type": "quantitative", "legend": None}
    scale = {"type": "log", "range": [14, 90]}
    return spec(
        [
            layer(
                "cells",
                {"type": "rect", "invalid": "filter"},
                {
                    "x": x,
                    "x2": {"field": "end"},
                    "y": y,
                    "y2": {"field": "high"},
                    "color": colour,
                    "tooltip": cell,
                },
                params=[zoom(("x", "y"))],
                transform=looked_up,
            ),
            layer(
                "mean",
                {"type": "line", "color": "white", "strokeWidth": 3.5, "opacity": 0.7},
                {"x": x_of_cycles("middle"), "y": quantity("mean", title)},
            ),
            layer(
                "mean",
                {"type": "line", "color": "black", "strokeWidth": 1.5},
                {"x": x_of_cycles("middle"), "y": quantity("mean", title)},
            ),
            layer(
                "warps",
                {
                    "type": "point",
                    "shape": "triangle-up",
                    "filled": True,
                    "color": VERMILLION,
                    "stroke": INK,
                    "strokeWidth": 0.5,
                    "opacity": 1,
                },
                {
                    "x": x_of_cycles(),
                    "y": quantity("at", title),
                    "size": {**size, "scale": scale},
                    "tooltip": warp,
                },
            ),
        ],
        height=320,
        resolve={"scale": {"size": "independent", "color": "independent"}},
    )


def _looked_up(data: str, key: str, fields: list[str]) -> Spec:
    return {"lookup": key, "from": {"data": {"name": data}, "key": key, "fields": fields}}


def edges_of(coordinate: Floats, n_bins: int = N_BINS) -> Floats:
    """Edges of bins over all that is finite. Raises NothingToShowError."""
    finite = coordinate[np.isfinite(coordinate)]
    if not len(finite):
        raise NothingToShowError(why="none of its values is a number")
    low, high = float(finite.min()), float(finite.max())
    if not low < high:
        width = abs(low) * 0.01 or 0.5
        low, high = low - width, high + width
    found: Floats = np.linspace(low, high, n_bins + 1)
    if not (np.isfinite(found).all() and (np.diff(found) > 0).all()):
        raise NothingToShowError(why="its values are too large, or too near to each other, to draw")
    return found


def landscape_of(run: Shown, name: str, most_stretches: int) -> Datasets:
    """The weight in each cell."""
    stretches, coordinate = run.stretches(most_stretches), run.progress(name)
    edges = edges_of(coordinate)
    inside = np.isfinite(coordinate)
    stretch = stretches.of(run.cycle_of[inside])
    # The last bin holds its upper edge.
    row = np.clip(np.searchsorted(edges, coordinate[inside], "right") - 1, 0, N_BINS - 1)
    cell = stretch * N_BINS + row
    n_cells = len(stretches) * N_BINS
    weight = np.bincount(cell, run.weights[inside], n_cells)
    number = np.bincount(cell, minlength=n_cells)
    there = np.flatnonzero(number)
    sizes = stretches.sizes[there // N_BINS]
    return {
        "cells": {
            "cell": values(there),
            "log_weight": values(np.log10(weight[there] / sizes).round(2)),
            "n": values(number[there] / sizes, 2),
        },
        "stretches": {
            "stretch": values(np.arange(len(stretches))),
            "first": values(stretches.first),
            "last": values(stretches.last),
        },
        "bins": {
            "bin": values(np.arange(N_BINS)),
            "low": values(edges[:-1], 6),
            "high": values(edges[1:], 6),
        },
        "mean": _mean(run, coordinate, inside, most_stretches),
        "warps": _warps(run, coordinate),
    }


def _mean(run: Shown, coordinate: Floats, inside: np.ndarray, most: int) -> dict[str, Values]:
    stretches = run.stretches(most)
    cycle, weight = run.cycle_of[inside], run.weights[inside]
    held = stretches.sums(np.bincount(cycle, weight, run.n_cycles))
    moment = stretches.sums(np.bincount(cycle, weight * coordinate[inside], run.n_cycles))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = moment / held
    return {"middle": values((stretches.first + stretches.last + 1) / 2), "mean": values(mean)}


def _warps(run: Shown, coordinate: Floats) -> dict[str, Values]:
    try:
        warps = run.lineages.warps
    except NothingToShowError:
        return {name: [] for name in ("cycle", "walker", "at", "weight")}
    heaviest = np.sort(np.argsort(-warps.weight, kind="stable")[:MOST_WARPS])
    cycle, walker = warps.cycle[heaviest], warps.walker[heaviest]
    return {
        "cycle": values(cycle),
        "walker": values(walker),
        "at": values(coordinate[run.first[cycle] + walker]),
        "weight": values(warps.weight[heaviest], 3),
    }
