"""The family tree of who arrived, and of who is there at the end: over cycles and progress."""

from __future__ import annotations

import numpy as np

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
from wepystore.report.pedigree import ARRIVED, MOST_ARRIVALS, MOST_STAYED, STAYED, Pedigree
from wepystore.report.shown import Shown, plain
from wepystore.report.thinning import Ints, values

_LED_TO = {ARRIVED: "arrived", STAYED: "there at the end", ARRIVED | STAYED: "both"}

_WHOSE = """the ancestors of the {arrivals} heaviest walkers that arrived at a target and of
the {stayed} heaviest that are there at the end, all others left away; as wide as their weight,
on a scale of logarithms"""

WAYS_CAPTION = flowing(
    """Where they were on their way: {whose}. Ways that begin low were begun anew in place of a
walker that had arrived. If all ways to the target leave the others at one place and time, they
are one event that was cloned, and not many."""
)
TREE_CAPTION = flowing(
    """Who descends from whom: {whose}. Heights mean nothing. If all that arrived come from one
branch late in the run, all that this run knows of the target hangs on the chance that made
that one: then more walkers, or other runs, tell more than more cycles do."""
)


def caption(name: str | None) -> str:
    """What it says, laid out along a coordinate or not."""
    whose = flowing(_WHOSE).format(arrivals=MOST_ARRIVALS, stayed=MOST_STAYED)
    return (TREE_CAPTION if name is None else WAYS_CAPTION).format(whose=whose)


def tree_spec(name: str | None) -> Spec:
    """Branches as trails over cycles, and leaves as points.

    Parameters
    ----------
    name : str or None
        The coordinate along which it is laid out; None to lay it out so that it can be read.
    """
    title = plain(name) if name is not None else ""
    x, y = x_of_cycles(), quantity("at", title or None)
    if name is None:
        y |= {"axis": None, "scale": {"zero": False, "padding": 10}}
    size = {
        "field": "weight",
        "type": "quantitative",
        "scale": {"type": "log", "range": [0.5, 5]},
        "legend": None,
    }
    colour = {
        "field": "led_to",
        "type": "nominal",
        "scale": {"domain": list(_LED_TO.values()), "range": [VERMILLION, BLUE, "#8793a3"]},
        "legend": {"title": "led to a walker that", "symbolType": "stroke"},
    }
    pointed = [
        told("led_to", "led to", kind="nominal"),
        told("cycle", "cycle", "d"),
        told("walker", "walker", "d"),
        *([told("at", title, ".4g")] if name is not None else []),
        told("weight", "weight", ".3g"),
    ]
    from_log = [{"calculate": "pow(10, datum.log_weight)", "as": "weight"}]
    led = {"data": {"name": "led"}, "key": "branch", "fields": ["to"]}
    names = " : ".join(f"datum.to === {k} ? '{name}'" for k, name in _LED_TO.items()) + " : ''"
    named = {"calculate": names, "as": "led_to"}
    trails = layer(
        "branches",
        {"type": "trail", "opacity": 0.8},
        {
            "x": x,
            "y": y,
            "size": size,
            "color": colour,
            "detail": {"field": "branch", "type": "nominal"},
        },
        transform=[*from_log, {"lookup": "branch", "from": led}, named],
        params=[zoom(("x", "y"))],
    )
    leaves = layer(
        "leaves",
        {"type": "circle", "opacity": 1, "stroke": "white", "strokeWidth": 0.8},
        {
            "x": x,
            "y": y,
            "size": {**size, "scale": {"type": "log", "range": [10, 90]}},
            "color": colour,
            "tooltip": pointed,
        },
        transform=[*from_log, named],
    )
    return spec([trails, leaves], height=380, resolve={"scale": {"size": "independent"}})


def tree_of(run: Shown, name: str | None, most_points: int) -> Datasets:
    """Branches and leaves of a run."""
    tree = run.pedigree
    at = tree.heights()[tree.branch] if name is None else run.progress(name)[tree.rows]
    log_weight = np.log10(run.weights[tree.rows]).round(2)
    point, branch = _points(tree, most_points)
    leaf = np.flatnonzero(tree.leaf)
    by_branch = _led_to_by_branch(tree)
    walker = tree.rows - run.first[tree.cycle]
    return {
        "branches": {
            "branch": values(branch),
            "cycle": values(tree.cycle[point]),
            "at": values(at[point], 3),
            "log_weight": values(log_weight[point], 3),
        },
        "led": {
            "branch": values(np.arange(len(by_branch))),
            "to": values(by_branch),
        },
        "leaves": {
            "cycle": values(tree.cycle[leaf]),
            "walker": values(walker[leaf]),
            "at": values(at[leaf], 3),
            "log_weight": values(log_weight[leaf], 3),
            "to": values(tree.leaf[leaf]),
        },
    }


def _led_to_by_branch(tree: Pedigree) -> Ints:
    found: Ints = np.zeros(tree.branch.max(initial=-1) + 1, np.int64)
    found[tree.branch] = tree.led_to
    return found


def _points(tree: Pedigree, most: int) -> tuple[Ints, Ints]:
    """Which walkers branches are drawn through, and for each of these the branch: ends and
    beginnings, with whom a branch comes from, and in between every k-th cycle."""
    n = len(tree.rows)
    if not n:
        raise NothingToShowError(why="nobody is left of its walkers")
    every = max(1, -(-n // most))
    comes_from = tree.branch_parent()
    order = np.lexsort((tree.cycle, tree.branch))
    branch = tree.branch[order]
    is_end = (np.diff(branch, append=-1) != 0) | (np.diff(branch, prepend=-1) != 0)
    kept = order[is_end | (tree.cycle[order] % every == 0)]
    joined = np.flatnonzero(comes_from >= 0)
    point = np.concatenate([comes_from[joined], kept])
    of = np.concatenate([joined, tree.branch[kept]])
    by_branch = np.lexsort((tree.cycle[point], of))
    return point[by_branch], of[by_branch]
