"""The flux of weight into targets over the cycles, and what has been known of its rate so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.rates import UNITS, Part, Rates
from wepystore.answers.windows import Window
from wepystore.estimates.ratios import effective_number, over_units
from wepystore.report.figure import (
    INK,
    ORANGE,
    Datasets,
    Spec,
    flowing,
    layer,
    pointer,
    quantity,
    spec,
    told,
    x_of_cycles,
    zoom,
)
from wepystore.report.thinning import Floats, Stretches, Values, values

#: So many points the running estimate has; and so many, at most, the flux of all runs.
N_POINTS, MOST_POINTS = 48, 240

CAPTION = flowing(
    """Points: the weight that arrived in a stretch of cycles, by its time, of each run in its
own colour; stretches in which nobody arrived have none. Line: the rate that all runs together
would have given had they ended there, with its interval for 95 %, from the cycles that count
({window}); shaded is what does not count in the end. Trust it when the line has been level for
longer than the shaded part is, and the interval narrows. While the line still rises the rate
is a lower bound; one point that stands far above all others says that one event makes the
rate."""
)


def caption(rates: Rates) -> str:
    """What it says."""
    return CAPTION.format(window=rates.window)


def convergence_spec(unit: str, colours: Mapping[str, str]) -> Spec:
    """Points, a line with a band, and what does not count.

    Parameters
    ----------
    unit : str
        Of time.
    colours : {run: colour}
    """
    title = f"flux (1/{unit})"
    x = x_of_cycles("middle")
    y = quantity("flux", title, log=True)
    point = [
        told("run", "run", kind="nominal"),
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("flux", title, ".3g"),
        told("n", "arrivals", "d"),
    ]
    estimate = [
        told("cycle", "until cycle", "d"),
        told("flux", f"rate (1/{unit})", ".3g"),
        told("low", "from", ".3g"),
        told("high", "to", ".3g"),
        told("n", "arrivals that count", "d"),
    ]
    colour = {
        "field": "run",
        "type": "nominal",
        "scale": {"domain": list(colours), "range": list(colours.values())},
        "legend": {"title": "run"} if len(colours) > 1 else None,
    }
    running = {"x": x_of_cycles(), "y": y}
    return spec(
        [
            layer(
                "burnt",
                {"type": "rect", "color": INK, "opacity": 0.06},
                {"x": x_of_cycles("first"), "x2": {"field": "last"}},
            ),
            layer(
                "flux",
                {"type": "circle", "opacity": 0.75, "size": 22},
                {"x": x, "y": y, "color": colour, "tooltip": point},
                params=[zoom()],
            ),
            layer(
                "running",
                {"type": "area", "color": ORANGE, "opacity": 0.3, "invalid": "filter"},
                {**running, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            ),
            layer("running", {"type": "line", "color": INK, "strokeWidth": 2}, running),
            pointer("running", running["x"], y, estimate),
        ],
        height=300,
    )


class _Course:
    """What arrived in a chain, cycle by cycle."""

    def __init__(self, part: Part, unit: str) -> None:
        self.arrivals, self.chain = part.arrivals, part.arrivals.chain
        self.per_cycle = part.arrivals.per_cycle()
        factor = UNITS[unit]
        base = unit if factor is None else "ps"
        self.lengths: Floats = self.chain.durations(base) * (factor or 1.0)

    def counting(self, window: Window, end: int) -> NDArray[np.bool_]:
        """Which of its cycles would count had it ended before a cycle."""
        n = min(end, self.chain.n_cycles)
        first, stop = window.first, window.stop
        if first is None and stop is None:
            first = n // 2
        inside = np.zeros(self.chain.n_cycles, bool)
        inside[slice(*slice(first, stop).indices(n))] = True
        return inside & self.chain.counted


def convergence_of(rates: Rates, labels: Mapping[str, str]) -> Datasets:
    """Of all targets together.

    Parameters
    ----------
    labels : {run: what it is called}
        Of the last run of each chain.
    """
    units = [[_Course(part, rates.unit) for part in unit] for unit in rates.parts]
    every = [course for unit in units for course in unit]
    burnt = min(rates.window.of(course.chain).start for course in every)
    return {
        "flux": _fluxes(every, labels),
        "running": _running(units, rates.window),
        "burnt": {"first": [0], "last": [burnt]} if burnt else {"first": [], "last": []},
    }


def _fluxes(every: Sequence[_Course], labels: Mapping[str, str]) -> dict[str, Values]:
    """Of the stretches of each chain in which somebody arrived."""
    names = ("run", "first", "last", "middle", "flux", "n")
    columns: dict[str, Values] = {name: [] for name in names}
    for course in every:
        n_cycles = course.chain.n_cycles
        stretches = Stretches(n_cycles, max(8, min(60, MOST_POINTS // len(every))))
        number = stretches.sums(np.bincount(course.arrivals.cycle, minlength=n_cycles))
        weight = stretches.sums(course.per_cycle)
        there = np.flatnonzero((number > 0) & (weight > 0))
        first, last = stretches.first[there], stretches.last[there]
        time = stretches.sums(course.lengths)[there]
        columns["run"] += [labels[course.chain.run]] * len(there)
        columns["first"] += values(first)
        columns["last"] += values(last)
        columns["middle"] += values((first + last + 1) / 2, 6)
        columns["flux"] += values(weight[there] / time, 3)
        columns["n"] += values(number[there])
    return columns


def _running(units: Sequence[Sequence[_Course]], window: Window) -> dict[str, Values]:
    """The estimate as it would have been, from the first one on."""
    longest = max(course.chain.n_cycles for unit in units for course in unit)
    ends = np.unique(np.rint(np.linspace(0, longest, N_POINTS + 1)[1:]).astype(np.int64))
    rows = [row for end in ends.tolist() if (row := _until(units, window, end)) is not None]
    columns = np.array(rows, np.float64).reshape(-1, 5).T
    names = ("cycle", "flux", "low", "high", "n")
    return {name: values(column) for name, column in zip(names, columns, strict=True)}


def _until(
    units: Sequence[Sequence[_Course]], window: Window, end: int
) -> tuple[float, float, float, float, float] | None:
    """The end, the rate, its interval and the arrivals that count, had all runs ended before a
    cycle; None where nobody had arrived that counts."""
    series, weights = [], [np.empty(0)]
    for unit in units:
        counting = [(course, course.counting(window, end)) for course in unit]
        arrived = np.concatenate([course.per_cycle[inside] for course, inside in counting])
        lengths = np.concatenate([course.lengths[inside] for course, inside in counting])
        if len(lengths):
            series.append((arrived, lengths))
        weights += [c.arrivals.weight[inside[c.arrivals.cycle]] for c, inside in counting]
    every = np.concatenate(weights)
    if not series or not every.sum() > 0:
        return None
    found = over_units(series, effective_number(every))
    return end, found.value, found.low, found.high, len(every)
