"""What the arrivals of some cycles of chains come to: a rate, its interval, and how far to trust
it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.ancestry import Traced, initial_state, trace
from wepystore.answers.arrivals import Arrivals
from wepystore.answers.errors import UnknownTimeError, UntraceableError
from wepystore.answers.study import Study
from wepystore.estimates.durations import red_flux
from wepystore.estimates.ratios import Ratio, effective_number, over_units
from wepystore.estimates.stationarity import Stationarity, stationarity

Floats = NDArray[np.float64]
Interval = tuple[float, float]

#: Units of time, and how many of each a ps has.
UNITS: dict[str, float | None] = {
    "ps": 1.0,
    "ns": 1e-3,
    "us": 1e-6,
    "ms": 1e-9,
    "s": 1e-12,
    "cycles": None,
    "steps": None,
}


#: What RED foretells is no contradiction if it is not more by this factor.
_BEYOND = 1.1


class Part(NamedTuple):
    """Some cycles of a chain, and where its arrivals came from, if that is known."""

    arrivals: Arrivals
    counts: NDArray[np.bool_]
    traced: Traced | None = None

    def time(self, scale: Scale) -> float:
        """Of the cycles."""
        durations = self.arrivals.chain.durations(scale.base)[self.counts]
        return float(durations.sum()) * scale.factor


@dataclass(frozen=True)
class Rate:
    """The rate into a target, of one run, chain or unit, or of all together.

    Attributes
    ----------
    of : str
        "pool", "unit", "chain" or "run".
    runs : tuple of str
        Hashes of records: of a run itself, of others the last run of each chain.
    target : int or None
        `target_idx` of the warps; None for all of them.
    source, destination : str or None
        Of a rate between two states, what they are; None of one into a target of warps.
    n_units : int
        Of how many independent units it is.
    n_cycles : int
        Cycles that count.
    time : float
        Of one walker in these cycles, in `unit`.
    occupied : float
        What part of the weight came from the source, on average: what the flux is divided by.
        1 of warps.
    unit : str
        "ps", …, "steps" or "cycles": rates are in 1/unit.
    window : (first, last) or None
        The first and the last cycle that counts, from 0 in the first run of a chain; None where it
        is not the same in all chains.
    events : int
        Arrivals.
    effective_events : float
        So many of equal weight tell as much.
    heaviest : float or None
        What part of the flux the heaviest arrival is.
    ancestors : int or None
        From how many walkers of the first cycle that counts those who arrived got their weight,
        back through warps; None where that is not recorded, or was not asked for.
    flux : float or None
        The rate; None without an event.
    interval : (low, high) or None
        For 95 %; None where there are no parts to compare.
    mfpt, mfpt_interval : as flux and interval
        Mean first passage time, 1 / flux, in `unit`: of warps by the Hill relation. None for one of
        several targets, and where walkers went on as they were from a target.
    within : bool
        Whether the interval is from batches of one or two units, and so optimistic.
    stationary : bool or None
        None where it cannot be said.
    lower_bound : bool
        Whether the flux is known to rise still.
    reason : str
        Why, in words.
    red : float or None
        The flux that the durations of the events foretell for the steady state (RED), from the
        first cycle on, those that do not count too; None where they are not known.
    """

    of: str
    runs: tuple[str, ...]
    target: int | None
    source: str | None
    destination: str | None
    n_units: int
    n_cycles: int
    time: float
    occupied: float
    unit: str
    window: tuple[int, int] | None
    events: int
    effective_events: float
    heaviest: float | None
    ancestors: int | None
    flux: float | None
    interval: Interval | None
    mfpt: float | None
    mfpt_interval: Interval | None
    within: bool
    stationary: bool | None
    lower_bound: bool
    reason: str
    red: float | None = None


class Scale(NamedTuple):
    """How cycles become times: durations in `base`, times `factor`, are in `unit`."""

    base: str
    factor: float
    unit: str


def scale_of(study: Study, unit: str | None) -> Scale:
    """Raises UnknownTimeError."""
    if unit is None:
        return Scale(study.unit, 1.0, study.unit)
    if unit not in UNITS:
        raise UnknownTimeError(unit=repr(unit), why=f"the units are {', '.join(UNITS)}")
    base = unit if UNITS[unit] is None else "ps"
    order = ("cycles", "steps", "ps")
    if order.index(base) > order.index(study.unit):
        lacking = "how long a step is" if study.unit == "steps" else "of how many steps a cycle is"
        why = f"{lacking} is not known of all runs, but {study.unit} are"
        raise UnknownTimeError(unit=unit, why=why)
    return Scale(base, UNITS[unit] or 1.0, unit)


def traced(units: Sequence[Sequence[Part]], durations: bool) -> list[list[Part]]:
    """With where those who arrived come from, as far as that is recorded; with `durations` how long
    they took, too."""
    every = [(part.arrivals, part.counts) for unit in units for part in unit]
    state = initial_state(every) if durations else None
    found = []
    for unit in units:
        parts = []
        for part in unit:
            with suppress(UntraceableError):
                part = part._replace(traced=trace(part.arrivals, part.counts, state))
            parts.append(part)
        found.append(parts)
    return found


def _targets(part: Part) -> Any:
    found = part.arrivals.target
    return np.empty(0, np.int64) if found is None else found


class Group(NamedTuple):
    """What a rate is told of."""

    of: str
    runs: tuple[str, ...]
    units: Sequence[Sequence[Part]]
    states: tuple[str, str] | None = None

    @property
    def parts(self) -> list[Part]:
        """Of all units."""
        return [part for unit in self.units for part in unit]


def targets_of(parts: Sequence[Part]) -> list[int]:
    """Every `target_idx` of warps, each once."""
    found: list[int] = np.unique(np.concatenate([_targets(part) for part in parts])).tolist()
    return found


def groups_of(units: Sequence[Sequence[Part]]) -> Iterator[Group]:
    """All together; and each unit, chain and run of which there are several."""
    yield Group("pool", _lasts([part for unit in units for part in unit]), units)
    for unit in units if len(units) > 1 else ():
        yield Group("unit", _lasts(unit), [unit])
    for unit in units:
        for part in unit if len(unit) > 1 else ():
            # All that counts of it may stand in a chain before it.
            if part.counts.any():
                yield Group("chain", _lasts([part]), [[part]])
    for part in (part for unit in units for part in unit):
        spans = part.arrivals.chain.runs
        for span in spans if len(spans) > 1 else ():
            counts = np.zeros_like(part.counts)
            cycles = slice(span.first_cycle, span.first_cycle + span.n_cycles)
            counts[cycles] = part.counts[cycles]
            if counts.any():
                # Where somebody came from is told of chains.
                yield Group("run", (span.run,), [[part._replace(counts=counts, traced=None)]])


def _lasts(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(part.arrivals.chain.run for part in parts)


def rate_of(group: Group, target: int | None, scale: Scale) -> Rate:
    """The rate of a group, into one of the targets or into all."""
    series = [_series(unit, target, scale) for unit in group.units]
    weights = np.concatenate([_weights(part, target) for part in group.parts])
    known = _counted(group, target, scale, series, weights)
    if not weights.any():
        return Rate(**known, **_NOTHING, reason="no event")
    found = over_units(series, known["effective_events"])
    red = _red(group.parts, target, scale)
    verdict = stationarity(series, known["effective_events"])
    verdict = _beside_red(verdict, found, red, scale.unit)
    interval = (found.low, found.high) if math.isfinite(found.low) and found.low > 0 else None
    is_passage = target is None and not any(_some_go_on(part) for part in group.parts)
    return Rate(
        **known,
        flux=found.value,
        interval=interval,
        mfpt=1 / found.value if is_passage else None,
        mfpt_interval=(1 / interval[1], 1 / interval[0]) if interval and is_passage else None,
        within=not found.between,
        stationary=verdict.stationary,
        lower_bound=verdict.rises,
        reason=verdict.reason,
        red=red,
    )


def _counted(
    group: Group,
    target: int | None,
    scale: Scale,
    series: Sequence[tuple[Floats, Floats]],
    weights: Floats,
) -> dict[str, Any]:
    """What there is of a group, whatever it comes to."""
    time = sum(part.time(scale) for part in group.parts)
    exposure = sum(float(lengths.sum()) for _, lengths in series)
    windows = {_extent(part) for part in group.parts}
    source, destination = group.states or (None, None)
    return {
        "of": group.of,
        "runs": group.runs,
        "target": target,
        "source": source,
        "destination": destination,
        "n_units": len(series),
        "n_cycles": sum(len(lengths) for _, lengths in series),
        "time": time,
        "occupied": exposure / time,
        "unit": scale.unit,
        "window": windows.pop() if len(windows) == 1 else None,
        "events": len(weights),
        "effective_events": effective_number(weights),
        "heaviest": float(weights.max() / weights.sum()) if weights.any() else None,
        "ancestors": _ancestors(group.parts, target),
    }


def _beside_red(verdict: Stationarity, found: Ratio, red: float | None, unit: str) -> Stationarity:
    """The verdict, unless RED is above the interval, and not by a little."""
    if verdict.stationary is False or not red or not math.isfinite(found.high):
        return verdict
    if red <= max(found.high, _BEYOND * found.value):
        return verdict
    why = f"how long events take foretells {red:.2g} 1/{unit} (RED), above the interval"
    return Stationarity(False, True, f"{why}; {verdict.reason}")


def _ancestors(parts: Sequence[Part], target: int | None) -> int | None:
    found: set[tuple[str, int, int]] = set()
    for part in parts:
        if part.traced is None:
            return None
        cycle = _extent(part)[0]
        # Chains of a unit may begin alike.
        span = next(s for s in reversed(part.arrivals.chain.runs) if s.first_cycle <= cycle)
        place = (span.run, cycle - span.first_cycle)
        origins = part.traced.origins[_chosen(part, target)]
        found.update((*place, walker) for walker in np.unique(origins).tolist() if walker >= 0)
    return len(found)


def _red(parts: Sequence[Part], target: int | None, scale: Scale) -> float | None:
    """RED's flux of chains, each from its first cycle to the last one that counts."""
    found = total = 0.0
    for arrivals, counts, traced in parts:
        if not counts.any():
            continue
        if traced is None or traced.durations is None:
            return None
        lengths = arrivals.chain.durations(scale.base) * scale.factor
        stop = int(np.flatnonzero(counts)[-1]) + 1
        chosen = arrivals.cycle < stop
        if target is not None:
            chosen &= _targets(Part(arrivals, counts)) == target
        flux = red_flux(arrivals.weight[chosen], traced.durations[chosen], stop)
        time = float(lengths[counts].sum())
        found, total = found + flux / float(lengths[:stop].mean()) * time, total + time
    return found / total


_NOTHING: dict[str, Any] = {
    "flux": None,
    "interval": None,
    "mfpt": None,
    "mfpt_interval": None,
    "within": False,
    "stationary": None,
    "lower_bound": False,
}


def _series(unit: Sequence[Part], target: int | None, scale: Scale) -> tuple[Floats, Floats]:
    """Of the cycles of a unit that count what arrived, and how long they are, of as much of the
    weight as could."""
    values = [part.arrivals.per_cycle(target)[part.counts] for part in unit]
    lengths = [
        (part.arrivals.chain.durations(scale.base) * part.arrivals.exposure)[part.counts]
        for part in unit
    ]
    return np.concatenate(values), np.concatenate(lengths) * scale.factor


def _some_go_on(part: Part) -> bool:
    """Whether a walker went on from a target as it was: then the flux is of no first passages."""
    goes_on, inside = part.arrivals.goes_on, part.counts[part.arrivals.cycle]
    return goes_on is not None and bool(goes_on[inside].any())


def _chosen(part: Part, target: int | None) -> NDArray[np.bool_]:
    """Which arrivals count."""
    inside = part.counts[part.arrivals.cycle]
    if target is not None:
        inside &= _targets(part) == target
    return inside


def _weights(part: Part, target: int | None) -> Floats:
    found: Floats = part.arrivals.weight[_chosen(part, target)]
    return found


def _extent(part: Part) -> tuple[int, int]:
    """The first and the last cycle that counts."""
    cycles = np.flatnonzero(part.counts)
    return (int(cycles[0]), int(cycles[-1])) if len(cycles) else (0, -1)
