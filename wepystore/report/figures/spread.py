"""The weights of walkers over the cycles, and how many equal walkers they are worth."""

from __future__ import annotations

import numpy as np

from wepystore.report.figure import (
    BLUE,
    INK,
    VERMILLION,
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
from wepystore.report.shown import Shown
from wepystore.report.thinning import values

_QUANTILES = {
    "min": 0.0,
    "low": 0.1,
    "lower": 0.25,
    "median": 0.5,
    "upper": 0.75,
    "high": 0.9,
    "max": 1.0,
}
_LEVELS = np.array(list(_QUANTILES.values()))

WEIGHTS_CAPTION = flowing(
    """The weights of the walkers: all of them lie in the palest band, eight of ten in the
next, half in the darkest; the line is the median. A step covers a stretch of cycles, and
extremes of all of them. Rare states are reached with small weights, so a wide band is weighted
ensemble at work. If the smallest weight stays where it is from some cycle on, the resampler's
lower limit may hold it there, and what is rarer than that is not sampled."""
)
EFFECTIVE_CAPTION = flowing(
    """As many walkers of equal weight would be spread as evenly as these are: exp(−Σ w ln w),
its mean over each stretch of cycles, under the number of walkers that there are. A small
number is no fault, since walkers are meant to be where little weight is. Averages over states,
unlike a flux, are then no better than so many walkers make them."""
)


def weights_spec() -> Spec:
    """Bands of quantiles over the cycles."""
    pointed = [
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("max", "largest", ".3g"),
        told("median", "median", ".3g"),
        told("min", "smallest", ".3g"),
    ]

    def band(low: str, high: str, opacity: float) -> Spec:
        mark = {"type": "area", "color": BLUE, "opacity": opacity, "interpolate": "step-after"}
        y = quantity(low, "weight", log=True)
        return layer("weights", mark, {"x": x_of_cycles("first"), "y": y, "y2": {"field": high}})

    line = {"type": "line", "color": INK, "strokeWidth": 1.5, "interpolate": "step-after"}
    median = {"x": x_of_cycles("first"), "y": quantity("median", "weight", log=True)}
    return spec(
        [
            {**band("min", "max", 0.2), "params": [zoom()]},
            band("low", "high", 0.3),
            band("lower", "upper", 0.45),
            layer("weights", line, median),
            pointer("weights", median["x"], median["y"], pointed),
        ]
    )


def weights_of(run: Shown) -> Datasets:
    """Quantiles of all weights of each stretch."""
    stretches = run.stretches()
    found = np.full((len(stretches), len(_QUANTILES)), np.nan)
    for place, part in enumerate(stretches.rows(run.n_walkers)):
        row = np.sort(run.weights[part])
        if len(row):
            found[place] = row[np.rint(_LEVELS * (len(row) - 1)).astype(np.int64)]
    columns = {name: values(found[:, k], 3) for k, name in enumerate(_QUANTILES)}
    return {
        "weights": {"first": values(stretches.first), "last": values(stretches.last), **columns}
    }


def effective_spec() -> Spec:
    """The effective number over the cycles."""
    pointed = [
        told("first", "from cycle", "d"),
        told("last", "to cycle", "d"),
        told("effective", "effective number", ".3g"),
        told("walkers", "walkers", ".4~g"),
    ]
    y = quantity("effective", "walkers")
    y["scale"] = {"zero": True, "nice": True}
    walkers = {**y, "field": "walkers"}
    line = {"type": "line", "color": VERMILLION, "strokeWidth": 1.5, "interpolate": "step-after"}
    dashed = {"type": "line", "color": INK, "opacity": 0.6, "strokeDash": [4, 4]}
    x = x_of_cycles("first")
    return spec(
        [
            layer("effective", line, {"x": x, "y": y}, params=[zoom()]),
            layer("effective", dashed, {"x": x, "y": walkers}),
            pointer("effective", x, y, pointed),
        ],
        height=160,
    )


def effective_of(run: Shown) -> Datasets:
    """The mean effective number of each stretch, and the mean number of walkers."""
    stretches = run.stretches()
    weight = run.weights
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(weight > 0, -weight * np.log(weight), 0.0)
    entropy = np.bincount(run.cycle_of, terms, run.n_cycles)
    return {
        "effective": {
            "first": values(stretches.first),
            "last": values(stretches.last),
            "effective": values(stretches.means(np.exp(entropy)), 3),
            "walkers": values(stretches.means(run.n_walkers)),
        }
    }
