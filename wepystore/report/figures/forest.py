"""The rates of runs beside each other, and of all together, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping

from wepystore.answers.rates import Rate, Rates
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import (
    INK,
    Datasets,
    Spec,
    flowing,
    layer,
    quantity,
    spec,
    told,
)
from wepystore.report.thinning import values

POOLED = "all together"

CAPTION = flowing(
    """The rate of each independent unit (a run, or runs that have an ancestor in common) and
of all together, with intervals for 95 %. That of all is from the spread between units where
there are three and more; those of one are from four parts of it alone, and too narrow: what a
run has not met is not in it. Units that lie apart by more than these say so. A diamond is what
RED foretells of the steady state from how long events take; right of the interval, the flux
was still rising."""
)


def forest_spec(unit: str, n_rows: int, colours: Mapping[str, str]) -> Spec:
    """A line for each unit.

    Parameters
    ----------
    unit : str
        Of time.
    n_rows : int
    colours : {label: colour}
    """
    title = f"rate (1/{unit})"
    x = {
        **quantity("flux", title, log=True),
        "axis": {"title": title, "format": ".1e", "tickCount": 6},
    }
    y = {
        "field": "label",
        "type": "ordinal",
        "sort": None,
        "axis": {"title": None, "ticks": False, "domain": False, "labelLimit": 160},
    }
    colour = {
        "field": "label",
        "type": "nominal",
        "scale": {
            "domain": [POOLED, *colours],
            "range": [INK, *colours.values()],
        },
        "legend": None,
    }
    pointed = [
        told("label", "of", kind="nominal"),
        told("flux", title, ".3g"),
        told("low", "from", ".3g"),
        told("high", "to", ".3g"),
        told("red", "RED", ".3g"),
        told("events", "arrivals", "d"),
        told("effective", "worth so many of equal weight", ".2~g"),
    ]
    bars = {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour}
    point = {"x": x, "y": y, "color": colour, "tooltip": pointed}
    red = {"x": {**x, "field": "red"}, "y": y, "color": colour}
    hollow = {"type": "point", "shape": "diamond", "size": 70, "opacity": 0.8, "invalid": "filter"}
    return spec(
        [
            layer("rates", {"type": "rule", "strokeWidth": 3, "opacity": 0.6}, bars),
            layer("rates", {"type": "circle", "size": 110, "opacity": 1}, point),
            layer("rates", hollow, red, transform=[{"filter": "isValid(datum.red)"}]),
        ],
        height=n_rows * max(14, min(30, 420 // n_rows)),
    )


def rows_of(rates: Rates, labels: Mapping[str, str]) -> list[tuple[str, Rate]]:
    """What has a line: all together, and each unit that has a rate."""
    found = [(POOLED, rates.pool)]
    for row in rates.rows:
        if row.of == "unit" and row.target is None and row.flux is not None:
            more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
            found.append((labels[row.runs[0]] + more, row))
    return found


def forest_of(rates: Rates, labels: Mapping[str, str]) -> Datasets:
    """Rates and intervals."""
    rows = rows_of(rates, labels)
    if len(rows) < 2:
        why = (
            "there is one independent run with arrivals that count, and nothing to compare it with"
        )
        raise NothingToShowError(why=why)
    nan = float("nan")
    ends = [row.interval or (nan, nan) for _, row in rows]
    return {
        "rates": {
            "label": [label for label, _ in rows],
            "flux": values([row.flux or nan for _, row in rows]),
            "low": values([low for low, _ in ends]),
            "high": values([high for _, high in ends]),
            "red": values([row.red or nan for _, row in rows]),
            "events": values([row.events for _, row in rows]),
            "effective": values([row.effective_events for _, row in rows]),
        }
    }
