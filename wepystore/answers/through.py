"""The net flux of weight through values of a coordinate, towards the target (A3).

In a steady state it is the same everywhere. While it still rises it is larger near to where walkers
begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.ancestry import parent_rows
from wepystore.answers.arrivals import Arrivals, warps_of
from wepystore.answers.errors import NoRateError
from wepystore.answers.measured import Along, Measure, measure_of, measured
from wepystore.answers.rating import scale_of
from wepystore.answers.study import Chain, Study
from wepystore.answers.windows import Window
from wepystore.estimates.ratios import over_units
from wepystore.records.recording import WEIGHTS

Floats = NDArray[np.float64]

#: As many values are looked at where nobody names any.
N_VALUES = 8


@dataclass(frozen=True, eq=False)
class FluxProfile:
    """Net flux towards the target through values of a coordinate.

    Attributes
    ----------
    along : str
        The coordinate, and
    along_unit : str
        its unit.
    at : ndarray of float, shape (n,)
        Its values, from where walkers begin to where they arrive; through the last one goes what
        arrives.
    flux, low, high : ndarray of float, shape (n,)
        In 1/`unit`, and an interval for 95 %; NaN where there is none, as where the flux is not
        above 0.
    unit : str
    within : bool
        Whether intervals are from batches of one or two units.
    """

    along: str
    along_unit: str
    at: Floats
    flux: Floats
    low: Floats
    high: Floats
    unit: str
    within: bool

    def __repr__(self) -> str:
        first, last = (f"{self.flux[k]:.3g} at {self.at[k]:.3g}" for k in (0, -1))
        return f"<FluxProfile along {self.along}: {first} to {last}, 1/{self.unit}>"


class _Steps:
    """From which value to which each walker of a chain went in each cycle."""

    def __init__(self, chain: Chain, measure: Measure) -> None:
        self.warps: Arrivals = warps_of(chain)
        known = measured(chain, measure, np.ones(chain.n_cycles, bool))
        if known.n_left_out or known.values.ndim != 1:
            several = "it is several numbers"
            why = "frames are kept of some cycles only" if known.n_left_out else several
            raise NoRateError(why=f"of run {chain.run} along {measure.label}: {why}")
        self.after = known.values
        parents = parent_rows(chain)
        ended = np.zeros(len(parents), bool)
        ended[self.warps.ended_rows] = True
        self.begins = (parents >= 0) & ended[parents]
        self.known = parents >= 0
        self.before = self.after[parents]
        self.weights = chain.tables[WEIGHTS]
        self.cycles = np.repeat(np.arange(chain.n_cycles), np.diff(self.warps.first))

    def through(self, at: Floats, upwards: bool) -> Floats:
        """Of each cycle the net weight that went through each of these, shape (n_cycles, n)."""
        # Who begins anew comes from the far end.
        before = np.where(self.begins, -np.inf if upwards else np.inf, self.before)
        # Who comes to a value has gone through it, from either side.
        below = np.less if upwards else np.less_equal
        n_cycles = len(self.warps.first) - 1
        found = np.empty((n_cycles, len(at)))
        for k, value in enumerate(at.tolist()):
            moved = below(before, value).astype(np.int64) - below(self.after, value)
            moved[~self.known] = 0
            found[:, k] = np.bincount(self.cycles, self.weights * moved, n_cycles)
        return found if upwards else -found


def flux_profile(
    study: Study,
    along: Along = "progress",
    at: Sequence[float] | None = None,
    window: Window | None = None,
    unit: str | None = None,
) -> FluxProfile:
    """The net flux along a coordinate.

    Parameters
    ----------
    study : Study
    along : as of measure_of
    at : sequence of float, or None
        Values of it; None for some between the median of the weight and where walkers arrive.
    window, unit : as of rates_of

    Raises
    ------
    WepystoreError : as rates_of, measure_of and measured; NoRateError where nothing arrives.
    """
    window, scale = window or Window(), scale_of(study, unit)
    measure = measure_of(study, along)
    units = []
    for each in study.units:
        parts = []
        for chain in each.chains:
            counts = np.zeros(chain.n_cycles, bool)
            counts[window.of(chain)] = True
            parts.append((_Steps(chain, measure), counts & chain.counted))
        units.append(parts)
    every = [part for parts in units for part in parts]
    median, nearest = _ends(every, measure.label)
    values = np.linspace(median, nearest, N_VALUES + 1)[1:]
    if at is not None:
        values = np.asarray(at, np.float64)
    series = []
    for parts in units:
        flux = [steps.through(values, nearest > median)[counts] for steps, counts in parts]
        lengths = [
            steps.warps.chain.durations(scale.base)[counts] * scale.factor
            for steps, counts in parts
        ]
        series.append((np.concatenate(flux), np.concatenate(lengths)))
    found = over_units(series)
    return FluxProfile(
        measure.label,
        measure.unit,
        values,
        found.value,
        found.low,
        found.high,
        scale.unit,
        not found.between,
    )


def _ends(parts: Sequence[tuple[_Steps, NDArray[np.bool_]]], label: str) -> tuple[float, float]:
    """The median of the weight that counts, and the arrival that is nearest to it. Raises
    NoRateError."""
    inside = [counts[steps.cycles] for steps, counts in parts]
    values = np.concatenate([s.after[rows] for (s, _), rows in zip(parts, inside, strict=True)])
    weights = np.concatenate([s.weights[rows] for (s, _), rows in zip(parts, inside, strict=True)])
    arrived = np.concatenate(
        [steps.after[steps.warps.rows[counts[steps.warps.cycle]]] for steps, counts in parts]
    )
    if not len(arrived):
        raise NoRateError(why=f"no walker was warped, so there is no way to one along {label}")
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order])
    median = float(values[order][np.searchsorted(shares, shares[-1] / 2)])
    return median, float(arrived[np.abs(arrived - median).argmin()])
