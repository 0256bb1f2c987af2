"""The rate in a steady state that runs have not reached yet, from transitions between bins.

In runs whose walkers begin anew when they arrive at a target, all have come from the initial state:
that is the history which a history-augmented Markov state model keeps (Suarez et al., J. Chem.
Theory Comput. 10, 2658, 2014; Copperman and Zuckerman, ibid. 16, 6763, 2020). Each segment says
from which bin to which a walker went. The steady state of the matrix of these is what the weights
would come to, and the probability that arrives in it in each segment is the rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.answers.arrivals import warps_of
from wepystore.answers.between_states import AState, Colours, colours_of
from wepystore.answers.bin_counts import BinCounts, Placed, steady
from wepystore.answers.edges import edges_of
from wepystore.answers.errors import NotReweightedError, UnfitBinsError
from wepystore.answers.lineages import Lineages
from wepystore.answers.measured import Along, Measure, measure_of, measured
from wepystore.answers.rating import scale_of
from wepystore.answers.segments import segments_between, segments_to_warps
from wepystore.answers.starts import starts_in_initial_state
from wepystore.answers.study import Chain, Study, load_study
from wepystore.estimates.ratios import Ratio, effective_number, log_interval, pooled
from wepystore.records.library import AnyStore

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: So many bins, or fewer, so that there are so many segments for each.
_BINS, _SEGMENTS = 100, 50
#: A matrix of more is no matter of a moment.
MOST_BINS = 500
#: Bins that change the rate by such a factor are too wide.
_CHANGE = 1.5
#: Edges are found from about so many of the values, evenly taken.
_SAMPLE = 200_000


class Binned(NamedTuple):
    """What other bins give.

    Attributes
    ----------
    n_bins : int
    rate : float or None
        None where the target is not reached.
    """

    n_bins: int
    rate: float | None


@dataclass(frozen=True, eq=False)
class Reweighting:
    """The steady state that runs lead to, in bins along a coordinate.

    Attributes
    ----------
    study : Study
    coordinate : str
    states : (str, str), or None
        From which state to which; None for where warped walkers begin anew, and the target.
    unit : str
        Of time: "ps", …, "steps" or "cycles".
    rate : Ratio
        1 / unit, with an interval for 95 %: between independent units, or within one or two.
    recorded_rate : float
        What arrived in the cycles that count over their time, 1 / unit: the rate only in a steady
        state.
    coarser, finer : Binned
        The rate with half and with twice as many bins, as far as values differ.
    edges : ndarray of float, shape (n_bins - 1,)
        Where bins meet; the first and the last have no end. A value that is an edge is in the bin
        above it.
    probabilities : ndarray of float, shape (n_bins,)
        Of each bin in the steady state, of walkers that are neither at the target nor in the first
        of `states`; 0 for what is left out.
    recorded : ndarray of float, shape (n_bins,)
        Mean weight in each bin in the cycles that count, of what is known to come from there.
    initial : (float, float)
        Probability in the first of `states`, and mean weight there.
    kept : ndarray of bool, shape (n_bins,)
        Which bins lead from the initial state to the target, and can be reached from it.
    left_out : float
        Part of all weight that begins or ends a segment in another bin.
    relaxation : float
        Time until the slowest part of what is not yet steady has fallen to 1/e, in `unit`. Bins
        that are too wide make it too short.
    length : float
        Mean time of a chain of runs, in `unit`.
    unit_rates : ndarray of float, shape (n_units,)
        The rate of each independent unit alone, 1 / unit; 0 where the target is not reached.
    n_segments, n_arrivals : int
        How many there are, and how many of them ended at the target.
    effective_arrivals : float
        So many of equal weight tell as much.
    """

    study: Study
    coordinate: str
    states: tuple[str, str] | None
    unit: str
    rate: Ratio
    recorded_rate: float
    coarser: Binned
    finer: Binned
    edges: Floats
    probabilities: Floats
    recorded: Floats
    initial: tuple[float, float]
    kept: Bools
    left_out: float
    relaxation: float
    length: float
    unit_rates: Floats
    n_segments: int
    n_arrivals: int
    effective_arrivals: float

    @property
    def n_bins(self) -> int:
        """With those that nobody visited."""
        return len(self.probabilities)

    @property
    def mfpt(self) -> float:
        """Mean first passage time, one over the rate, in `unit`."""
        return float(1 / self.rate.value)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the rate, for 95 %; None where there are no parts to compare."""
        low, high = self.rate.low, self.rate.high
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None

    @property
    def bins_matter(self) -> bool:
        """Whether bins that are half as wide give a rate that differs by half, or that the interval
        leaves no room for."""
        value, rate, interval = self.rate.value, self.finer.rate, self.interval
        if rate is None or not value / _CHANGE <= rate <= value * _CHANGE:
            return True
        return interval is not None and not interval[0] <= rate <= interval[1]

    def __repr__(self) -> str:
        told = f"{self.rate.value:.3g} 1/{self.unit}"
        if self.interval:
            told += " ({:.2g} to {:.2g})".format(*self.interval)
        of = f"{self.n_arrivals} arrivals in {len(self.unit_rates)} units"
        return f"<Reweighting along {self.coordinate}: {told}, {self.n_bins} bins; {of}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{n_bins} bins</th><td>{'none' if rate is None else f'{rate:.3g}'}</td></tr>"
            for n_bins, rate in (self.coarser, (self.n_bins, self.rate.value), self.finer)
        )
        return f"<table><caption>{escape(repr(self))}</caption>{rows}</table>"


def load_reweighting(
    store: AnyStore,
    along: Along,
    runs: Sequence[str] | None = None,
    *,
    bins: int | ArrayLike | None = None,
    unit: str | None = None,
    states: tuple[AState, AState] | None = None,
) -> Reweighting:
    """The rate in the steady state that runs lead to, and how far it depends on the bins.

    Parameters
    ----------
    store, runs : as of load_study
    along : str, Coordinate or callable
        One number of a walker after a segment, as of measure_of; it must be known of each cycle.
    bins : int, array_like or None
        So many with as many segments in each; or where they meet, in the unit of the coordinate,
        from the lowest to the highest; None for 100, or fewer where there are few segments.
    unit : str or None
        As of load_rates.
    states : None or two of State or str
        From the first to the second one, as of load_rates, of walkers that were last in the first,
        which are taken to be alike whenever they are there. None for runs whose walkers begin anew
        when they arrive at a target.

    Raises
    ------
    WepystoreError : NotReweightedError where no walker arrived, or too little is known of where
        walkers went on from; UnfitBinsError for bins that cannot be; UnknownTimeError; as
        load_study, warps_of, Lineages and measured.
    """
    study = load_study(store, runs)
    return reweighting_of(study, along, bins=bins, unit=unit, states=states)


def reweighting_of(
    study: Study,
    along: Along,
    *,
    bins: int | ArrayLike | None = None,
    unit: str | None = None,
    states: tuple[AState, AState] | None = None,
) -> Reweighting:
    """As load_reweighting, of a study."""
    base, factor, unit = scale_of(study, unit)
    duration = _one_duration(study, base) * factor
    measure = measure_of(study, along)
    names, colours = (None, {}) if states is None else colours_of(study, states)
    units = [
        [_placed(chain, measure, colours.get(id(chain))) for chain in each.chains]
        for each in study.units
    ]
    every = [each for unit in units for each in unit]
    segments = [each.segments for each in every]
    n_arrivals = sum(int(each.arrived.sum()) for each in segments)
    if not n_arrivals:
        raise NotReweightedError(why=_nobody_arrived(names))
    n_segments = sum(len(each.end) for each in segments)
    counts = BinCounts(units, edges_of(_sampled(every), _checked_bins(bins, n_segments)))
    return Reweighting(
        study=study,
        coordinate=measure.label,
        states=names,
        unit=unit,
        length=duration * float(np.mean([chain.n_cycles for chain in study.chains])),
        n_segments=n_segments,
        n_arrivals=n_arrivals,
        **_estimates(counts, duration, measure.label, len(study.units)),
    )


def _placed(chain: Chain, measure: Measure, colours: Colours | None) -> Placed:
    every = measured(chain, measure, np.ones(chain.n_cycles, bool))
    if len(every.cycles) < chain.n_cycles:
        lacking = np.setdiff1d(np.arange(chain.n_cycles), every.cycles)
        why = f"{measure.label} is not known in each cycle of run {chain.run}, as in {lacking[0]}"
        raise NotReweightedError(why=f"{why}: its frames are not kept")
    values = every.values
    if values.ndim > 1:
        raise UnfitBinsError(why=f"{measure.label} is {values.shape[1]} numbers, and one is needed")
    if colours is not None:
        return Placed(values, segments_between(colours, chain.counted), chain.counted)
    # Weights that are none would make no error here, but a number.
    warps_of(chain)
    anew = starts_in_initial_state(chain.store, chain.recorded[0].record.start.md5)
    segments = segments_to_warps(Lineages(chain.tables), anew, chain.counted)
    return Placed(values, segments, chain.counted)


def _nobody_arrived(names: tuple[str, str] | None) -> str:
    if names is None:
        return "no walker was warped"
    return f"no walker that was last in {names[0]} came to {names[1]}"


def _sampled(every: Sequence[Placed]) -> Floats:
    """Values at ends of segments in bins. Raises UnfitBinsError."""
    ends = [s.end[~(s.arrived | s.returned)] for _, s, _ in every]
    step = 1 + sum(map(len, ends)) // _SAMPLE
    values = np.concatenate([e.values[end[::step]] for e, end in zip(every, ends, strict=True)])
    if not len(values):
        raise UnfitBinsError(why="no segment ends anywhere but at the target or where all began")
    return values


def _checked_bins(bins: int | ArrayLike | None, n_segments: int) -> int | Floats:
    """How many, or where they meet. Raises UnfitBinsError."""
    if bins is None:
        return max(2, min(_BINS, n_segments // _SEGMENTS))
    if isinstance(bins, int):
        if not 2 <= bins <= MOST_BINS:
            raise UnfitBinsError(why=f"{bins} is no number from 2 to {MOST_BINS}")
        return bins
    edges = np.atleast_1d(np.asarray(bins, dtype=np.float64))
    if edges.ndim != 1 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        raise UnfitBinsError(why="edges are finite numbers, each larger than the one before it")
    if not 1 <= len(edges) < MOST_BINS:
        raise UnfitBinsError(why=f"of {len(edges)} edges; from 1 to {MOST_BINS - 1} can be")
    return edges


def _one_duration(study: Study, unit: str) -> float:
    """Of every cycle. Raises NotReweightedError."""
    known: dict[tuple[float, int | None], str] = {}
    for chain in study.chains:
        durations = chain.durations(study.unit)
        for span in chain.runs:
            known.setdefault((float(durations[span.first_cycle]), span.n_steps), span.run)
    if len(known) > 1:
        one, other, *_ = known.values()
        raise NotReweightedError(why=f"cycles of runs {one} and {other} are not equally long")
    return float(next(study.chains).durations(unit)[0])


def _estimates(counts: BinCounts, duration: float, coordinate: str, n_units: int) -> dict[str, Any]:
    """What the counts come to. Raises NotReweightedError."""
    edges = counts.edges
    together = counts.together(edges.chosen)
    found = steady(together)
    if found is None:
        raise NotReweightedError(why=_why_not(together, coordinate))
    rate, total = found.flux / duration, together.sum()
    fluxes = counts.fluxes(counts.parts) / duration
    unit_rates = fluxes
    if not counts.between:
        units = counts.parts.reshape(n_units, -1, *together.shape).sum(axis=1)
        unit_rates = counts.fluxes(units) / duration
    error = float(pooled(fluxes * counts.lengths, counts.lengths)[1])
    effective, degrees = effective_number(np.concatenate(counts.arrived)), len(fluxes) - 1
    if not counts.between:
        # Batches that are few agree by chance.
        error = max(error, rate / math.sqrt(effective))
    low, high = log_interval(rate, error, degrees)
    # Of what did not arrive.
    share = found.probabilities[:-1] / (found.probabilities[:-1].sum() or 1.0)
    recorded = together.sum(axis=0) / total
    return {
        "rate": Ratio(rate, float(low), float(high), error, degrees, counts.between),
        "recorded_rate": float(recorded[-1]) / duration,
        "coarser": _binned(counts, edges.coarser, duration),
        "finer": _binned(counts, edges.finer, duration),
        "edges": edges.chosen,
        "probabilities": share[:-1],
        "recorded": recorded[:-2],
        "initial": (float(share[-1]), float(recorded[-2])),
        "kept": found.kept[:-2],
        "left_out": found.left_out,
        "relaxation": found.relaxation * duration,
        "effective_arrivals": effective,
        "unit_rates": unit_rates,
    }


def _binned(counts: BinCounts, edges: Floats, duration: float) -> Binned:
    found = steady(counts.together(edges))
    return Binned(len(edges) + 1, None if found is None else found.flux / duration)


def _why_not(counts: Floats, coordinate: str) -> str:
    """Why no steady state is known."""
    if not counts[-2].any():
        return "where walkers went on to from the initial state is not known: no cycle comes after"
    return (
        f"in bins along {coordinate} no segments lead from the initial state to the target: take "
        "wider bins, or run longer"
    )
