"""Figures of a run that goes on, as a page, a line and whoever looks on say them alike."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from wepystore.engine.ensemble import Floats
from wepystore.reporters.flux import Flux


class Spread(NamedTuple):
    """How the weights of the walkers are spread.

    Attributes
    ----------
    n_walkers : int
    total, smallest, largest : float
    entropy : float
        - sum of w log w, w the shares of the total.
    """

    n_walkers: int
    total: float
    smallest: float
    largest: float
    entropy: float

    @property
    def effective(self) -> float:
        """As many walkers of equal weight have this entropy."""
        return math.exp(min(self.entropy, 700.0))

    @classmethod
    def of(cls, weights: Floats) -> Spread | None:
        """Of an array of them; None if there are none."""
        if not len(weights):
            return None
        total = float(weights.sum())
        shares = weights[weights > 0] / total
        entropy = float(-(shares * np.log(shares)).sum())
        return cls(len(weights), total, float(weights.min()), float(weights.max()), entropy)


def ns_per_day(sampled_ps: float, seconds: float) -> float | None:
    """The speed at which so many ps, of all walkers together, were simulated; None if it has not
    begun, or where the runner has no time step."""
    if not sampled_ps > 0 or not seconds > 0:
        return None
    return sampled_ps / 1000 / seconds * 86400


def speed_text(ns_a_day: float) -> str:
    """It in three digits. A figure of one trajectory's speed is what it would be taken for."""
    return f"{ns_a_day:,.3g} ns/day in all".replace("e+0", "e")


def rate_text(flux: Flux, unit: str) -> str | None:
    """The rate of the last half in a few words; None while there is none to be told."""
    found = flux.estimate()
    if found is None or not found.tells:
        return None
    rises = ", rising" if found.rises else ""
    return f"rate {found.rate:.2g} 1/{unit} ({found.low:.2g} to {found.high:.2g}{rises})"
