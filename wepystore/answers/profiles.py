"""Profiles: the weight along coordinates, and the free energy that it makes (A4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.answers.binning import MOST_TOGETHER, N_BINS, Axis, axis_of, together
from wepystore.answers.errors import NoProfileError, UnfitBinsError
from wepystore.answers.halves import Halves, Held, halves_of
from wepystore.answers.measured import Along, Measure, Measured, measure_of, measured
from wepystore.answers.study import Chain, Study, load_study
from wepystore.answers.windows import Window
from wepystore.estimates.ratios import FEWEST_UNITS, LEVEL, N_BATCHES, of_parts
from wepystore.records.library import AnyStore

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A bin for each walker's weight, and the axes it is along.
Bins = int | ArrayLike
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Histogram:
    """The weight in bins, in some cycles.

    Attributes
    ----------
    axes : tuple of Axis
        One or two.
    window : (first, last) or None
        The first and the last of the cycles, from 0 in the first run of a chain; None where they
        are not the same in all chains.
    probability : ndarray of float, shape (n_bins,) or (n_bins, n_bins of the second axis)
        With `outside` its sum is 1.
    low, high : ndarray of float, of that shape
        An interval for 95 %; NaN where there is no weight, or nothing to compare.
    n_walkers : ndarray of int, of that shape
        How many walkers were seen in each bin, in all of the cycles.
    outside : float
        The weight that is in no bin.
    n_cycles : int
        In which walkers were measured.
    n_units : int
        Independent units.
    within : bool
        Whether the interval is from batches of one or two units, and so optimistic.
    """

    axes: tuple[Axis, ...]
    window: tuple[int, int] | None
    probability: Floats
    low: Floats
    high: Floats
    n_walkers: Ints
    outside: float
    n_cycles: int
    n_units: int
    within: bool

    @property
    def density(self) -> Floats:
        """Probability by the size of the bins, in 1 / the units of the axes."""
        return self.probability / self._sizes

    @property
    def free_energy(self) -> Floats:
        """-ln of the density, kT, from the lowest bin on; NaN where there is no weight."""
        found: Floats = _minus_log(self.density)
        return found - np.nanmin(found)

    @property
    def free_energy_low(self) -> Floats:
        """Where the interval of `free_energy` begins: that of each bin's own probability."""
        found: Floats = self.free_energy - np.log(self.high / self._occupied)
        return found

    @property
    def free_energy_high(self) -> Floats:
        """Where it ends."""
        found: Floats = self.free_energy + np.log(self._occupied / self.low)
        return found

    @property
    def _occupied(self) -> Floats:
        return np.where(self.probability > 0, self.probability, np.nan)

    @property
    def _sizes(self) -> Floats:
        first, *rest = (axis.sizes for axis in self.axes)
        return first if not rest else np.multiply.outer(first, rest[0])


@dataclass(frozen=True, eq=False)
class Profile(Histogram):
    """The weight along one or two coordinates.

    Attributes
    ----------
    study : Study
    chosen : Window
    n_left_out : int
        Cycles of which no frames are kept.
    windows : tuple of Histogram
        Stretches of time that follow each other, as many as were asked for.
    stationary : bool or None
        Whether the two halves of the window agree; None where that cannot be said.
    reason : str
        Why, in words.
    """

    study: Study
    chosen: Window
    n_left_out: int
    windows: tuple[Histogram, ...]
    stationary: bool | None
    reason: str

    def __repr__(self) -> str:
        along = " and ".join(axis.label for axis in self.axes)
        occupied = int((self.probability > 0).sum())
        bins = f"{occupied} of {self.probability.size} bins"
        return f"<Profile along {along}: {bins}; {self.n_units} units, {self.n_cycles} cycles>"

    def _repr_html_(self) -> str:
        names = [axis.title for axis in self.axes]
        names += ["probability", "interval", "free energy (kT)", "interval", "walkers"]
        heading = "".join(f"<th>{escape(name)}</th>" for name in names)
        rows = [
            "".join(f"<td>{cell}</td>" for cell in _cells(self, place))
            for place in np.argwhere(self.probability > 0)
        ]
        if len(rows) > 2 * _SHOWN + 1:
            rows[_SHOWN:-_SHOWN] = [f"<td>…</td>{'<td></td>' * (len(names) - 1)}"]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><caption>{escape(repr(self))}</caption><tr>{heading}</tr>{body}</table>"


def load_profile(
    store: AnyStore,
    runs: Sequence[str] | None = None,
    *,
    along: Along | Sequence[Along],
    bins: Bins | Sequence[Bins] = N_BINS,
    window: tuple[int | None, int | None] | None = None,
    burn_in: int | None = None,
    n_windows: int = 0,
) -> Profile:
    """The weight along one or two coordinates.

    Parameters
    ----------
    store, runs : as of load_study
    along : str, Coordinate or callable, or a list or tuple of two
        A text such as "distance(index 0, index 1)" or "progress".
    bins : int, sequence of float, or a list or tuple of two of these
        The number of bins, or their edges; for two coordinates one for both, or one for each.
    window : (first, stop) or None
        Cycles of each chain that count, as of a slice.
    burn_in : int or None
        So many cycles of each chain do not count. Without either the first half does not.
    n_windows : int
        So many stretches of time are looked at besides: parts of the window, or without one of all
        cycles.

    Raises
    ------
    WepystoreError : as load_study, measure_of and measured; WindowError, UnfitBinsError;
        NoProfileError where no weight is in any bin.
    """
    if window is not None and burn_in is not None:
        raise ValueError("a window and a burn-in do not go together")
    chosen = Window(*window) if window is not None else Window(burn_in)
    study = load_study(store, runs)
    return profile_of(study, along, bins=bins, window=chosen, n_windows=n_windows)


def profile_of(
    study: Study,
    along: Along | Sequence[Along],
    *,
    bins: Bins | Sequence[Bins] = N_BINS,
    window: Window | None = None,
    n_windows: int = 0,
) -> Profile:
    """As load_profile, of a study."""
    window = window or Window()
    asked: Sequence[Any] = along if isinstance(along, list | tuple) else [along]
    measures = [measure_of(study, each) for each in asked]
    whole = Window(0) if n_windows and window == Window() else window
    units = [[_Series(chain, measures, whole) for chain in unit.chains] for unit in study.units]
    axes = _axes(measures, bins, units)
    for series in _flat(units):
        series.fill(axes)
    main = _histogram(axes, units, window)
    title = " and ".join(axis.label for axis in axes)
    if not main.n_cycles:
        raise NoProfileError(along=title, why="of no cycle that counts there are frames")
    if not main.probability.any():
        raise NoProfileError(along=title, why=f"no walker is in any bin: {_extent(axes, units)}")
    halves = _halves(axes, units, window, main)
    return Profile(
        **vars(main),
        study=study,
        chosen=window,
        n_left_out=sum(each.n_left_out(window) for each in _flat(units)),
        windows=tuple(_histogram(axes, units, whole, (k, n_windows)) for k in range(n_windows)),
        stationary=halves.stationary,
        reason=halves.reason,
    )


class _Series:
    """What is measured in the cycles of a chain that count."""

    def __init__(self, chain: Chain, measures: Sequence[Measure], window: Window) -> None:
        self.chain = chain
        wanted = np.zeros(chain.n_cycles, bool)
        wanted[window.of(chain)] = True
        wanted &= chain.counted
        found = [measured(chain, measure, wanted) for measure in measures]
        known = found[0].cycles
        for each in found[1:]:
            known = np.intersect1d(known, each.cycles)
        self._wanted = wanted
        self._found = [_only(each, known) for each in found]
        self.values = [column for each in self._found for column in _columns(each.values)]
        self._bins = np.empty(0, np.int64)

    def fill(self, axes: Sequence[Axis]) -> None:
        """Find the bin of each walker; the values are not needed any more."""
        if len(self.values[0]):
            self._bins = together(axes, self.values)

    def n_left_out(self, window: Window) -> int:
        """Cycles of a window that were not measured."""
        asked = np.zeros(self.chain.n_cycles, bool)
        asked[window.of(self.chain)] = True
        asked &= self._wanted
        return int(asked.sum()) - int(asked[self._found[0].cycles].sum())

    def part(self, window: Window, stretch: tuple[int, int]) -> Held:
        """One of so many stretches of a window, all of about one length."""
        found, place = self._found[0], window.of(self.chain)
        number, n = stretch
        length = place.stop - place.start
        first, stop = (place.start + length * k // n for k in (number, number + 1))
        some = slice(*np.searchsorted(found.cycles, [first, stop]))
        rows = slice(*found.starts[[some.start, some.stop]])
        return Held(
            found.cycles[some], found.n_walkers[some], self._bins[rows], found.weights[rows]
        )


def _flat(units: Sequence[Sequence[_Series]]) -> Iterator[_Series]:
    return (series for unit in units for series in unit)


def _only(found: Measured, cycles: Ints) -> Measured:
    """What is measured in some of the cycles."""
    if len(cycles) == len(found.cycles):
        return found
    inside = np.isin(found.cycles, cycles)
    rows = np.repeat(inside, found.n_walkers)
    return Measured(
        cycles, found.n_walkers[inside], found.values[rows], found.weights[rows], found.n_left_out
    )


def _columns(values: Floats) -> list[Floats]:
    return [values] if values.ndim == 1 else [*values.T]


def _axes(
    measures: Sequence[Measure], bins: Bins | Sequence[Bins], units: Sequence[Sequence[_Series]]
) -> tuple[Axis, ...]:
    """Raises NoProfileError for no coordinate, or more than two; UnfitBinsError."""
    title = " and ".join(measure.label for measure in measures)
    measured = [series for series in _flat(units) if len(series.values[0])]
    if not measured:
        raise NoProfileError(along=title, why="of no cycle that counts there are frames")
    n_axes = len(measured[0].values)
    if n_axes > 2:
        raise NoProfileError(along=title, why=f"it is of one number a walker or two, not {n_axes}")
    each = [bins] * n_axes
    if n_axes == 2 and isinstance(bins, list | tuple) and len(bins) == 2:
        each = [*bins]
    labels = [measure for measure in measures for _ in range(n_axes // len(measures))]
    axes = tuple(
        axis_of(
            measure.label if len(measures) == n_axes else f"{measure.label} {k}",
            measure.unit,
            measure.period,
            each[k],  # type: ignore[arg-type]
            [series.values[k] for series in measured],
        )
        for k, measure in enumerate(labels)
    )
    n_bins = math.prod(axis.n_bins for axis in axes)
    if n_bins > MOST_TOGETHER:
        why = f"together they are {n_bins:,}, and may be {MOST_TOGETHER:,}"
        raise UnfitBinsError(why=why)
    return axes


def _histogram(
    axes: tuple[Axis, ...],
    units: Sequence[Sequence[_Series]],
    window: Window,
    stretch: tuple[int, int] = (0, 1),
) -> Histogram:
    """Of one of so many stretches of a window."""
    parts = [[series.part(window, stretch) for series in unit] for unit in units]
    parts = [unit for unit in parts if any(len(part.cycles) for part in unit)]
    shape = tuple(axis.n_bins for axis in axes)
    n_bins = math.prod(shape)
    between = len(parts) >= FEWEST_UNITS
    counts = np.zeros(n_bins, np.int64)
    sums, lengths = [], []
    for unit in parts:
        amounts = _sums(unit, n_bins, 1 if between else N_BATCHES)
        # What is in no bin stands last.
        sums.append(amounts[:, :n_bins])
        lengths.append(amounts.sum(axis=1))
        for part in unit:
            counts += np.bincount(part.bins + 1, minlength=n_bins + 1)[1:]
    windows = {(int(p.cycles[0]), int(p.cycles[-1])) for u in parts for p in u if len(p.cycles)}
    if not parts:
        empty = np.full(shape, np.nan)
        nothing = np.zeros(shape)
        return Histogram(axes, None, nothing, empty, empty, counts.reshape(shape), 0.0, 0, 0, False)
    found = of_parts(np.concatenate(sums), np.concatenate(lengths), between, level=LEVEL)
    return Histogram(
        axes=axes,
        window=windows.pop() if len(windows) == 1 else None,
        probability=found.value.reshape(shape),
        low=found.low.reshape(shape),
        # No more than all of it; a NaN stays one.
        high=np.minimum(found.high, 1.0).reshape(shape),
        n_walkers=counts.reshape(shape),
        outside=max(0.0, 1.0 - float(found.value.sum())),
        n_cycles=sum(len(part.cycles) for unit in parts for part in unit),
        n_units=len(parts),
        within=not between,
    )


def _sums(unit: Sequence[Held], n_bins: int, n_batches: int) -> Floats:
    """The weight in each bin, and at last in none, in each of so many batches of a unit's cycles:
    shape (n_batches, n_bins + 1); fewer where there are fewer cycles."""
    n_cycles = sum(len(part.cycles) for part in unit)
    n_batches = min(n_batches, n_cycles)
    found = np.zeros((n_batches, n_bins + 1))
    before = 0
    for part in unit:
        batch = (before + np.arange(len(part.cycles))) * n_batches // n_cycles
        places = part.bins + np.repeat(batch, part.n_walkers) * (n_bins + 1)
        # Of no bin, -1, it is the last place of its batch.
        places[part.bins < 0] += n_bins + 1
        found += np.bincount(places, part.weights, found.size).reshape(found.shape)
        before += len(part.cycles)
    return found


def _halves(
    axes: Sequence[Axis], units: Sequence[Sequence[_Series]], window: Window, main: Histogram
) -> Halves:
    parts = [[series.part(window, (0, 1)) for series in unit] for unit in units]
    parts = [unit for unit in parts if any(len(part.cycles) for part in unit)]
    return halves_of(axes, parts, main.probability)


def _minus_log(values: Floats) -> Floats:
    """NaN of what is not above 0."""
    return -np.log(np.where(values > 0, values, np.nan))


def _extent(axes: Sequence[Axis], units: Sequence[Sequence[_Series]]) -> str:
    """Where values are, for a message."""
    told = []
    for k, axis in enumerate(axes):
        held = [series.values[k] for series in _flat(units) if len(series.values[k])]
        first, last = min(each.min() for each in held), max(each.max() for each in held)
        told.append(f"{axis.label} goes from {first:.4g} to {last:.4g}")
    return ", ".join(told)


def _cells(found: Histogram, place: Any) -> list[str]:
    place = tuple(place)
    shown = [
        f"{axis.edges[k]:.4g} to {axis.edges[k + 1]:.4g}"
        for axis, k in zip(found.axes, place, strict=True)
    ]
    numbers = (
        (found.probability, found.low, found.high),
        (found.free_energy, found.free_energy_low, found.free_energy_high),
    )
    for value, low, high in numbers:
        shown += [f"{value[place]:.3g}", _interval(low[place], high[place])]
    return [*shown, str(found.n_walkers[place])]


def _interval(low: float, high: float) -> str:
    return f"{low:.2g} to {high:.2g}" if math.isfinite(low) else ""
