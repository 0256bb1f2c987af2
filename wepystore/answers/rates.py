"""Rates: the weight that arrives in a time, at a target (A1) or in a state by a coordinate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from wepystore.answers.arrivals import Arrivals, warps_of
from wepystore.answers.between_states import AState, transitions_of
from wepystore.answers.errors import NoRateError
from wepystore.answers.rating import (
    UNITS,
    Part,
    Rate,
    groups_of,
    rate_of,
    scale_of,
    targets_of,
    traced,
)
from wepystore.answers.study import Study, load_study
from wepystore.answers.windows import Window
from wepystore.records.library import AnyStore

__all__ = [
    "UNITS",
    "Event",
    "Flow",
    "Part",
    "Rate",
    "Rates",
    "load_rates",
    "rates_of",
    "scale_of",
]


class Event(NamedTuple):
    """An arrival that counts.

    Attributes
    ----------
    lineage_of : str
        Hash of the record of the last run of its chain, in whose history `warp` and `joined_cycle`
        are counted.
    warp : int or None
        Its number, from 0 in the first of the runs; None of one that was not warped.
    run : str
        In which it happened.
    cycle : int
        Of that run.
    joined_cycle : int
    walker : int
    weight : float
    target : int or None
        `target_idx` of a warp.
    destination : str or None
        The state that it came to, if that is no target.
    """

    lineage_of: str
    warp: int | None
    run: str
    cycle: int
    joined_cycle: int
    walker: int
    weight: float
    target: int | None
    destination: str | None


class Flow(NamedTuple):
    """Arrivals of one kind, by units; between which states, if they are no warps."""

    states: tuple[str, str] | None
    units: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of a study.

    Attributes
    ----------
    study : Study
    window : Window
    unit : str
    rows : tuple of Rate
        Together first, then units, chains and runs, as far as there are several; of each all
        targets first. Of states the one direction, then the other.
    flows : tuple of Flow
    """

    study: Study
    window: Window
    unit: str
    rows: tuple[Rate, ...]
    flows: tuple[Flow, ...]

    @property
    def pool(self) -> Rate:
        """All units together: into all targets, or in the direction that was asked for."""
        return self.rows[0]

    @property
    def parts(self) -> tuple[tuple[Part, ...], ...]:
        """Of each unit the cycles that count of each chain, of the arrivals that `pool` is of."""
        return self.flows[0].units

    @property
    def events(self) -> Iterator[Event]:
        """Each arrival that counts, chain after chain."""
        for states, units in self.flows:
            for part in (part for unit in units for part in unit):
                yield from _events(part.arrivals, part.counts[part.arrivals.cycle], states)

    def __repr__(self) -> str:
        pool = self.pool
        told = "no event" if pool.flux is None else f"{pool.flux:.3g} 1/{pool.unit}"
        if pool.interval:
            told += " ({:.2g} to {:.2g})".format(*pool.interval)
        return f"<Rates: {told}; {pool.n_units} units, {pool.events} events>"

    def _repr_html_(self) -> str:
        names = ("of", "runs", "target", "flux", "interval", "mfpt", "events", "stationary")
        heading = "".join(f"<th>{name}</th>" for name in names)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(row, name))}</td>" for name in names) + "</tr>"
            for row in self.rows
        )
        return f"<table><caption>{escape(repr(self))}</caption><tr>{heading}</tr>{rows}</table>"


def load_rates(
    store: AnyStore,
    runs: Sequence[str] | None = None,
    *,
    window: tuple[int | None, int | None] | None = None,
    burn_in: int | None = None,
    unit: str | None = None,
    states: tuple[AState, AState] | None = None,
    traced: bool = True,
) -> Rates:
    """The rates into the targets of runs, or between two states.

    Parameters
    ----------
    store, runs : as of load_study
    window : (first, stop) or None
        Cycles of each chain that count, as of a slice.
    burn_in : int or None
        So many cycles of each chain do not count. Without either the first half does not.
    unit : str or None
        One of UNITS; None for ps, or else what is known of all runs.
    states : two of str or State, or None
        From the first into the second, and back: the weight that arrives in a state from those who
        were last in the other, over the weight of these. A text is as of State.read. None for
        warps.
    traced : bool
        Whether it is looked up where those who arrived come from, which takes most of the time:
        for `ancestors` and `red`.

    Raises
    ------
    WepystoreError : as load_study; WindowError, UnknownTimeError; UnusableWeightsError; NoRateError
        where nothing arrives, or nothing can; of states StateTextError, and as measure_of and
        measured.
    """
    if window is not None and burn_in is not None:
        raise ValueError("a window and a burn-in do not go together")
    chosen = Window(*window) if window is not None else Window(burn_in)
    return rates_of(load_study(store, runs), chosen, unit, states, with_ancestors=traced)


def rates_of(
    study: Study,
    window: Window | None = None,
    unit: str | None = None,
    states: tuple[AState, AState] | None = None,
    with_ancestors: bool = True,
) -> Rates:
    """As load_rates, of a study."""
    window = window or Window()
    scale = scale_of(study, unit)
    counts = {
        id(chain): _counts(chain.n_cycles, window.of(chain)) & chain.counted
        for chain in study.chains
    }
    flows = [
        _flow(study, names, arrivals, counts, with_ancestors)
        for names, arrivals in _flows(study, states)
    ]
    if not any(_has_events(flow.units) for flow in flows):
        n_cycles = sum(int(each.sum()) for each in counts.values())
        raise NoRateError(why=_why_none(study, window, n_cycles, states))
    rows = [
        rate_of(group._replace(states=flow.states), target, scale)
        for together in zip(*(groups_of(flow.units) for flow in flows), strict=True)
        for group, flow in zip(together, flows, strict=True)
        for target in _asked(flow)
    ]
    return Rates(study, window, scale.unit, tuple(rows), tuple(flows))


def _flow(
    study: Study,
    names: tuple[str, str] | None,
    arrivals: Mapping[int, Arrivals],
    counts: Mapping[int, np.ndarray],
    with_ancestors: bool,
) -> Flow:
    """The arrivals of one kind, of which cycles that count."""
    units = [
        [Part(arrivals[id(chain)], counts[id(chain)]) for chain in unit.chains]
        for unit in study.units
    ]
    if with_ancestors and _has_events(units):
        units = traced(units, durations=names is None)
    return Flow(names, tuple(map(tuple, units)))


def _has_events(units: Sequence[Sequence[Part]]) -> bool:
    return any(part.counts[part.arrivals.cycle].any() for unit in units for part in unit)


def _flows(
    study: Study, states: tuple[AState, AState] | None
) -> Iterator[tuple[tuple[str, str] | None, dict[int, Arrivals]]]:
    """Each kind of arrivals, of each chain."""
    if states is None:
        _check_targets(study)
        yield None, {id(chain): warps_of(chain) for chain in study.chains}
        return
    names, found = transitions_of(study, states)
    for direction in (0, 1):
        there = names if not direction else names[::-1]
        yield there, {key: both[direction] for key, both in found.items()}


def _asked(flow: Flow) -> list[int | None]:
    targets = targets_of([part for unit in flow.units for part in unit])
    return [None, *targets] if len(targets) > 1 else [None]


def _counts(n_cycles: int, window: slice) -> np.ndarray:
    inside = np.zeros(n_cycles, bool)
    inside[window] = True
    return inside


def _why_none(study: Study, window: Window, n_cycles: int, states: object) -> str:
    n_units = len(study.units)
    runs = f"{n_units} independent runs" if n_units > 1 else "one run"
    what = "was warped" if states is None else "went from one of the states to the other"
    return f"no walker {what} in the {n_cycles} cycles of {runs} that count ({window})"


def _check_targets(study: Study) -> None:
    """Raise NoRateError where nothing can arrive."""
    for chain in study.chains:
        if not any(name.startswith("warping/") for name in chain.tables):
            why = f"the boundary conditions of run {chain.run} record no arrival at a target"
            raise NoRateError(why=why)


def _events(
    arrivals: Arrivals, counts: np.ndarray, states: tuple[str, str] | None
) -> Iterator[Event]:
    chain, numbers = arrivals.chain, np.flatnonzero(counts)
    firsts = np.array([span.first_cycle for span in chain.runs])
    cycles = arrivals.cycle[numbers]
    runs = np.searchsorted(firsts, cycles, "right") - 1
    targets = [None] * len(numbers)
    if arrivals.target is not None:
        targets = arrivals.target[numbers].tolist()
    columns = (numbers, runs, cycles - firsts[runs], cycles, arrivals.walker[numbers])
    for (number, run, cycle, joined, walker), weight, target in zip(
        np.stack(columns, axis=1).tolist(), arrivals.weight[numbers].tolist(), targets, strict=True
    ):
        yield Event(
            lineage_of=chain.run,
            warp=number if arrivals.are_warps else None,
            run=chain.runs[run].run,
            cycle=cycle,
            joined_cycle=joined,
            walker=walker,
            weight=weight,
            target=target,
            destination=states[1] if states else None,
        )


def _cell(row: Rate, name: str) -> str:
    value = getattr(row, name)
    if name == "runs":
        return ", ".join(run[:8] for run in value)
    if name == "target" and row.destination:
        return f"{row.source} to {row.destination}"
    if isinstance(value, tuple):
        return f"{value[0]:.3g} to {value[1]:.3g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
