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
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.answers.arrivals import warps_of
from wepystore.answers.columns import Ints
from wepystore.answers.edges import Edges, edges_of
from wepystore.answers.errors import NotReweightedError, UnfitBinsError
from wepystore.answers.lineages import Lineages
from wepystore.answers.measured import Along, Measure, measure_of, measured
from wepystore.answers.rates import scale_of
from wepystore.answers.starts import starts_in_initial_state
from wepystore.answers.study import Chain, Study, load_study
from wepystore.answers.transitions import Transitions, transitions_of
from wepystore.estimates.ratios import FEWEST_UNITS, N_BATCHES, Ratio, log_interval, pooled
from wepystore.estimates.steady_state import steady_state
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
    coordinate : str
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
        Of each bin, and not of the target, in the steady state; 0 for what is left out.
    recorded : ndarray of float, shape (n_bins,)
        Mean weight in each bin in the cycles that count.
    kept : ndarray of bool, shape (n_bins,)
        Which bins lead from the initial state to the target, and can be reached from it.
    left_out : float
        Part of all weight that begins or ends a segment in another bin.
    relaxation : float
        Time until the slowest part of what is not yet steady has fallen to 1/e, in `unit`. Bins
        that are too wide make it too short, never too long.
    length : float
        Mean time of a chain of runs, in `unit`.
    runs : tuple of str
        Of each independent unit its longest run.
    unit_rates : ndarray of float, shape (n_units,)
        The rate of each alone, 1 / unit; 0 where the target is not reached.
    n_segments, n_arrivals : int
        How many there are, and how many of them ended at the target.
    """

    coordinate: str
    unit: str
    rate: Ratio
    recorded_rate: float
    coarser: Binned
    finer: Binned
    edges: Floats
    probabilities: Floats
    recorded: Floats
    kept: Bools
    left_out: float
    relaxation: float
    length: float
    runs: tuple[str, ...]
    unit_rates: Floats
    n_segments: int
    n_arrivals: int

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
        of = f"{self.n_arrivals} arrivals in {len(self.runs)} units"
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

    Raises
    ------
    WepystoreError : NotReweightedError where no walker was warped, or too little is known of where
        walkers went on from; UnfitBinsError for bins that cannot be; UnknownTimeError; as
        load_study, warps_of, Lineages and measured.
    """
    return reweighting_of(load_study(store, runs), along, bins=bins, unit=unit)


def reweighting_of(
    study: Study, along: Along, *, bins: int | ArrayLike | None = None, unit: str | None = None
) -> Reweighting:
    """As load_reweighting, of a study."""
    base, factor, unit = scale_of(study, unit)
    duration = _one_duration(study, base) * factor
    measure = measure_of(study, along)
    units = [[_segments(chain, measure) for chain in each.chains] for each in study.units]
    every = [each for segments in units for each in segments]
    if not any(each.transitions.arrived.any() for each in every):
        raise NotReweightedError(why="no walker was warped, so that none is known to arrive")
    n_segments = sum(len(each.transitions.end) for each in every)
    edges = edges_of(_sampled(every), _checked_bins(bins, n_segments))
    return _Counts(units, edges).answer(study, measure.label, duration, unit)


class _Segments(NamedTuple):
    """Those of a chain.

    Attributes
    ----------
    values : ndarray of float, shape (number of walkers in all cycles,)
    transitions : Transitions
    counted : ndarray of bool, shape (n_cycles,)
    """

    values: Floats
    transitions: Transitions
    counted: Bools


def _segments(chain: Chain, measure: Measure) -> _Segments:
    every = measured(chain, measure, np.ones(chain.n_cycles, bool))
    if len(every.cycles) < chain.n_cycles:
        lacking = np.setdiff1d(np.arange(chain.n_cycles), every.cycles)
        why = f"{measure.label} is not known in each cycle of run {chain.run}, as in {lacking[0]}"
        raise NotReweightedError(why=f"{why}: its frames are not kept")
    values = every.values
    if values.ndim > 1:
        raise UnfitBinsError(why=f"{measure.label} is {values.shape[1]} numbers, and one is needed")
    # Weights that are none would make no error here, but a number.
    warps_of(chain)
    from_initial = starts_in_initial_state(chain.store, chain.recorded[0].record.start.md5)
    transitions = transitions_of(Lineages(chain.tables), from_initial, chain.counted)
    return _Segments(values, transitions, chain.counted)


def _sampled(every: Sequence[_Segments]) -> Floats:
    """Values at ends of segments that did not arrive. Raises UnfitBinsError."""
    ends = [each.transitions.end[~each.transitions.arrived] for each in every]
    step = 1 + sum(map(len, ends)) // _SAMPLE
    values = np.concatenate([e.values[end[::step]] for e, end in zip(every, ends, strict=True)])
    if not len(values):
        raise UnfitBinsError(why="all walkers arrived in each cycle")
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


class _Counts:
    """The weight that went from bin to bin."""

    def __init__(self, units: Sequence[Sequence[_Segments]], edges: Edges) -> None:
        self.edges = edges
        n_finest, n_bins = len(edges.finer) + 2, len(edges.chosen) + 2
        #: Of all units, in the finest bins.
        self.finest: Floats = np.zeros((n_finest, n_finest))
        #: Of each, or of each batch of one or two, in those that were chosen; and their cycles.
        self.between = len(units) >= FEWEST_UNITS
        n_parts = 1 if self.between else N_BATCHES
        self.parts: Floats = np.zeros((len(units) * n_parts, n_bins, n_bins))
        self.lengths: Floats = np.zeros(len(self.parts))
        self.n_segments = self.n_arrivals = 0
        for place, unit in enumerate(units):
            self._add(unit, slice(place * n_parts, (place + 1) * n_parts))

    def _add(self, unit: Sequence[_Segments], places: slice) -> None:
        """Count the segments of a unit into its parts."""
        parts, lengths = self.parts[places], self.lengths[places]
        counted: Bools = np.concatenate([each.counted for each in unit])
        n_cycles = int(counted.sum())
        rank: Ints = np.cumsum(counted) - counted
        part: Ints = rank * len(parts) // n_cycles
        lengths += np.bincount(part[counted], minlength=len(parts))
        first = 0
        for each in unit:
            self.n_segments += len(each.transitions.end)
            self.n_arrivals += int(each.transitions.arrived.sum())
            bins = np.searchsorted(self.edges.finer, each.values, "right")
            of_segment = part[first + each.transitions.cycle]
            first += len(each.counted)
            for k in range(len(parts)):
                chosen = of_segment == k
                found = each.transitions.matrix(bins, len(self.edges.finer) + 1, chosen)
                self.finest += found
                parts[k] += self.edges.merged(found, self.edges.chosen)

    def answer(self, study: Study, coordinate: str, duration: float, unit: str) -> Reweighting:
        """What came of it. Raises NotReweightedError."""
        counts = self.edges.merged(self.finest, self.edges.chosen)
        steady = steady_state(counts)
        if steady is None:
            raise NotReweightedError(why=_why_not(counts, coordinate))
        rate, total = steady.flux / duration, counts.sum()
        rates = self._rates(self.parts, counts[-1]) / duration
        units = self.parts.reshape(len(study.units), -1, *counts.shape).sum(axis=1)
        _, error = pooled(rates * self.lengths, self.lengths)
        degrees = len(rates) - 1
        low, high = log_interval(rate, error, degrees)
        inner = steady.probabilities[:-1]
        lengths = [chain.n_cycles for chain in study.chains]
        return Reweighting(
            coordinate=coordinate,
            unit=unit,
            rate=Ratio(rate, float(low), float(high), float(error), degrees, self.between),
            recorded_rate=counts[:, -1].sum() / total / duration,
            coarser=self._binned(self.edges.coarser, duration),
            finer=self._binned(self.edges.finer, duration),
            edges=self.edges.chosen,
            probabilities=inner / (inner.sum() or 1.0),
            recorded=counts[:, :-1].sum(axis=0) / total,
            kept=steady.kept[:-1],
            left_out=steady.left_out,
            relaxation=steady.relaxation * duration,
            length=duration * sum(lengths) / len(lengths),
            runs=tuple(unit.chains[0].run for unit in study.units),
            unit_rates=self._rates(units, counts[-1]) / duration,
            n_segments=self.n_segments,
            n_arrivals=self.n_arrivals,
        )

    def _binned(self, edges: Floats, duration: float) -> Binned:
        steady = steady_state(self.edges.merged(self.finest, edges))
        return Binned(len(edges) + 1, None if steady is None else steady.flux / duration)

    def _rates(self, parts: Floats, begins: Floats) -> Floats:
        """The flux of each part a cycle; 0 where the target is not reached.

        Where walkers begin anew is taken from all: few of the segments tell of it, and in a part
        in which none arrived none do.
        """
        found = np.zeros(len(parts))
        for place, counts in enumerate(parts):
            known = counts.copy()
            known[-1] = begins
            steady = steady_state(known)
            found[place] = 0.0 if steady is None else steady.flux
        return found


def _why_not(counts: Floats, coordinate: str) -> str:
    """Why no steady state is known."""
    if not counts[-1].any():
        return "where warped walkers went on to is not recorded: there is no cycle after"
    return (
        f"in bins along {coordinate} no segments lead from the initial state to the target: take "
        "wider bins, or run longer"
    )
