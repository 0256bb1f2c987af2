"""How many walkers were in each bin or region, over the cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records.recording import LENGTHS
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import Datasets, Spec, flowing, layer, spec, told, x_of_cycles, zoom
from wepystore.report.shown import Shown
from wepystore.report.thinning import Ints, values

#: So many bins or regions have a line; of regions within regions the outer ones, if there are more.
MOST_REGIONS = 48

_MOST_KEYS = 1 << 20

#: What resamplers of this package and of wepy call it.
_FIELDS = ("bin_idx", "region_assignment")

CAPTION = flowing(
    """Walkers a cycle in each bin or region of the resampler, means over each stretch of
cycles; empty cells held nobody. Where bins are left empty again and again nothing is learned
of them, and a gap between bins that are full is a step that walkers cannot climb: there the
bins want to be narrower. Regions stand in the order of their numbers, at most {most}; of
regions within regions the outer ones where there are more."""
)


def caption() -> str:
    """What it says."""
    return CAPTION.format(most=MOST_REGIONS)


def occupancy_spec() -> Spec:
    """Cells of numbers of walkers."""
    pointed = [
        told("name", "bin or region", kind="nominal"),
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("n", "walkers a cycle", ".2~g"),
    ]
    y = {
        "field": "name",
        "type": "ordinal",
        "sort": {"field": "region", "op": "min", "order": "descending"},
        "axis": {
            "title": "bin or region",
            "labelLimit": 90,
            "labelOverlap": "greedy",
            "ticks": False,
            "domain": False,
        },
        "scale": {"paddingInner": 0.06},
    }
    colour = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "sqrt", "scheme": "viridis", "domainMin": 0},
        "legend": {"title": "walkers a cycle", "tickCount": 4},
    }
    names = {"data": {"name": "regions"}, "key": "region", "fields": ["name"]}
    ends = {"data": {"name": "stretches"}, "key": "stretch", "fields": ["first", "last"]}
    cells = layer(
        "cells",
        {"type": "rect"},
        {
            "x": x_of_cycles("first"),
            "x2": {"field": "end"},
            "y": y,
            "color": colour,
            "tooltip": pointed,
        },
        transform=[
            {"calculate": f"floor(datum.cell / {MOST_REGIONS})", "as": "stretch"},
            {"calculate": f"datum.cell % {MOST_REGIONS}", "as": "region"},
            {"lookup": "region", "from": names},
            {"lookup": "stretch", "from": ends},
            {"calculate": "datum.last + 1", "as": "end"},
        ],
        params=[zoom()],
    )
    return spec([cells], height=240)


def occupancy_of(run: Shown, most_stretches: int) -> Datasets:
    """Walkers a cycle in each cell."""
    stretches = run.stretches(most_stretches)
    cycle, assigned = _assigned(run)
    names, region = _regions(assigned)
    cell = stretches.of(cycle) * MOST_REGIONS + region
    number = np.bincount(cell, minlength=len(stretches) * MOST_REGIONS)
    there = np.flatnonzero(number)
    sizes = stretches.sizes[there // MOST_REGIONS]
    return {
        "cells": {
            "cell": values(there),
            "n": values(number[there] / sizes, 2),
        },
        "stretches": {
            "stretch": values(np.arange(len(stretches))),
            "first": values(stretches.first),
            "last": values(stretches.last),
        },
        "regions": {"region": values(np.arange(len(names))), "name": names},
    }


def _assigned(run: Shown) -> tuple[Ints, Ints]:
    """For each record the cycle, and the numbers of the region, the outermost first."""
    field = next((name for name in _FIELDS if f"resampling/{name}" in run.columns), None)
    if field is None:
        raise NothingToShowError(why="its resampler records no bins or regions")
    wanted = [
        f"resampling/{name}" for name in (field, f"{field}/{LENGTHS}", "cycle_idx", "step_idx")
    ]
    held = run.tables.read([name for name in wanted if name in run.columns])
    cycle = held["resampling/cycle_idx"].astype(np.int64)
    n = len(cycle)
    lengths = held.get(f"resampling/{field}/{LENGTHS}")
    column: NDArray[Any] = held[f"resampling/{field}"]
    is_even = lengths is None or len(set(lengths.tolist())) < 2
    whole = column.dtype.kind in "iuf" and bool(np.isfinite(column).all())
    if not n or not whole or not is_even or column.size % n or not column.size:
        raise NothingToShowError(
            why="the bins or regions of its walkers are not recorded as numbers"
        )
    assigned = column.reshape(n, -1).astype(np.int64)
    inside = (cycle >= 0) & (cycle < run.n_cycles)
    step = held.get("resampling/step_idx")
    if step is not None and step.size == n:
        # Of several steps in a cycle the first: where walkers were after their segments.
        inside &= step.ravel() == 0
    if not inside.any():
        raise NothingToShowError(why="of no walker it is recorded in which bin or region it was")
    return cycle[inside], assigned[inside]


def _regions(assigned: Ints) -> tuple[list[str], Ints]:
    """Names of the regions that have a line, and for each record the number of its own."""
    for n_levels in range(assigned.shape[1], 0, -1):
        found, region = _different(assigned[:, :n_levels])
        if len(found) <= MOST_REGIONS:
            return ["·".join(map(str, row)) for row in found.tolist()], region
    busiest = np.argsort(-np.bincount(region), kind="stable")[: MOST_REGIONS - 1]
    kept = np.sort(busiest)
    place = np.full(len(found), len(kept))
    place[kept] = np.arange(len(kept))
    return ["·".join(map(str, row)) for row in found[kept].tolist()] + ["others"], place[region]


def _different(rows: Ints) -> tuple[Ints, Ints]:
    """The rows that differ, sorted, and for each row which of them it is."""
    low = rows.min(axis=0)
    widths = rows.max(axis=0) - low + 1
    if float(np.prod(widths.astype(np.float64))) > _MOST_KEYS:
        found, region = np.unique(rows, axis=0, return_inverse=True)
        return found, region.ravel()
    # As one number each, of which there are few: counting is faster than sorting.
    key = np.zeros(len(rows), np.int64)
    for column, width in zip((rows - low).T, widths, strict=True):
        key = key * width + column
    there = np.bincount(key) > 0
    first = np.full(len(there), -1)
    first[key[::-1]] = np.arange(len(key))[::-1]
    return rows[first[there]], (np.cumsum(there) - 1)[key]
