"""The free energy along a coordinate, with its interval, and what it was in stretches of time."""

from __future__ import annotations

import numpy as np

from wepystore.answers.profiles import Histogram, Profile
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
    zoom,
)
from wepystore.report.shown import plain
from wepystore.report.thinning import Floats, values

#: Stretches of time that are shown besides.
N_WINDOWS = 3

CAPTION = flowing(
    """−ln of the probability density along the coordinate, from its lowest place on, in kT, of
the cycles that count ({window}), with an interval for 95 % in each bin, {source}. Thin lines:
{n} stretches of the time of all cycles, from the first (dark) to the last (light). Where these
lie above each other in order the run still drifts, and where few walkers were the interval is
wide, or missing. Of runs that warp walkers this is the profile of the steady state with a sink
at the target, and not of equilibrium. {verdict}"""
)


def caption(profile: Profile) -> str:
    """What it says."""
    each = "this run" if profile.n_units == 1 else "each of two runs"
    source = (
        f"from four parts of {each}, and so optimistic"
        if profile.within
        else f"from the spread between {profile.n_units} independent runs"
    )
    verdict = {
        True: "As far as this tells it is steady",
        False: "It is not steady",
        None: "Whether it is steady cannot be said",
    }[profile.stationary]
    return CAPTION.format(
        window=profile.chosen,
        source=source,
        n=N_WINDOWS,
        verdict=f"{verdict}: {plain(profile.reason, 300)}.",
    )


def energy_spec(profile: Profile) -> Spec:
    """A line with a band, and thin lines."""
    title = plain(profile.axes[0].title)
    x = {**quantity("at", title), "scale": {"zero": False, "nice": False, "padding": 6}}
    y = {**quantity("energy", "free energy (kT)"), "scale": {"zero": True, "padding": 4}}
    pointed = [
        told("low_edge", title, ".4~g"),
        told("high_edge", "to", ".4~g"),
        told("energy", "free energy (kT)", ".3~g"),
        told("low", "from", ".3~g"),
        told("high", "to", ".3~g"),
        told("walkers", "walkers seen", "d"),
    ]
    colour = {
        "field": "window",
        "type": "ordinal",
        "sort": None,
        "scale": {"range": ["#414487", "#22a884", "#bddf26"]},
        "legend": {"title": "cycles", "symbolType": "stroke"},
    }
    whole = {"x": x, "y": y}
    return spec(
        [
            layer(
                "profile",
                {"type": "area", "color": ORANGE, "opacity": 0.3},
                {**whole, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
                params=[zoom()],
            ),
            layer(
                "windows",
                {"type": "line", "strokeWidth": 1.3, "opacity": 0.9},
                {**whole, "color": colour},
            ),
            layer("profile", {"type": "line", "color": INK, "strokeWidth": 2}, whole),
            pointer("profile", x, y, pointed),
        ],
        height=280,
    )


def energy_of(profile: Profile) -> Datasets:
    """The profile, and that of each stretch."""
    axis = profile.axes[0]
    low, high = profile.free_energy_low, profile.free_energy_high
    parts = [_line(part) for part in profile.windows]
    return {
        "profile": {
            "at": values(axis.centres),
            "low_edge": values(axis.edges[:-1]),
            "high_edge": values(axis.edges[1:]),
            "energy": values(profile.free_energy, 3),
            "low": values(low, 3),
            "high": values(high, 3),
            "walkers": values(profile.n_walkers),
        },
        "windows": {
            "at": [at for part in parts for at in values(axis.centres)],
            "energy": [each for part in parts for each in values(part, 3)],
            "window": [
                _name(part, number)
                for number, part in enumerate(profile.windows, 1)
                for _ in range(axis.n_bins)
            ],
        },
    }


def _line(part: Histogram) -> Floats:
    """Its free energy; NaN everywhere for a stretch without any weight."""
    if not (part.probability > 0).any():
        return np.full(part.probability.shape, np.nan)
    return part.free_energy


def _name(part: Histogram, number: int) -> str:
    """Its cycles, or where runs are not equally long, which stretch of each it is."""
    if part.window is None:
        return f"part {number} of {N_WINDOWS} of each run"
    return f"{part.window[0]} to {part.window[1]}"
