"""The figures that a reader looks for first, as short texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from wepystore.answers.rates import Rate, Rates
from wepystore.answers.study import Chain, Study

_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Headline(NamedTuple):
    """One of them.

    Attributes
    ----------
    name : str
    value : str
    note : str
        What it is to be taken with.
    """

    name: str
    value: str
    note: str = ""


def headlines_of(study: Study, rates: Rates | str) -> tuple[Headline, ...]:
    """Of the rates, or of why there are none, and of how much was run."""
    found = [Headline("Rate", "none", rates)] if isinstance(rates, str) else list(_rate(rates))
    return (*found, *_amounts(study))


def _rate(rates: Rates) -> list[Headline]:
    pool = rates.pool
    assert pool.flux is not None
    inverse = f"1/{pool.unit}"
    note = interval_text(pool, inverse)
    if pool.lower_bound:
        note += "; a lower bound: the flux still rose"
    several = " into all targets" if any(r.target is not None for r in rates.rows) else ""
    found = [Headline(f"Rate{several}", f"{number_text(pool.flux)} {inverse}", note)]
    if pool.mfpt is not None:
        ends = pool.mfpt_interval
        told = f"{time_text(ends[0], pool.unit)} to {time_text(ends[1], pool.unit)}" if ends else ""
        found.append(
            Headline(f"Mean first passage time{several}", time_text(pool.mfpt, pool.unit), told)
        )
    steady = {True: "yes, as far as this tells", False: "no", None: "cannot be said"}
    found.append(Headline("In a steady state", steady[pool.stationary], pool.reason))
    heaviest = f"; the heaviest is {100 * pool.heaviest:.2g} % of the flux" if pool.heaviest else ""
    told = f"worth {number_text(pool.effective_events, 2)} of equal weight{heaviest}"
    found.append(Headline("Arrivals that count", f"{pool.events:,}", told))
    return found


def table_of(rates: Rates, labels: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    """A row of names and values for each rate: of all together, of units, chains and runs, and of
    each target where there are several.

    Parameters
    ----------
    labels : {run: what it is called}
    """
    several = any(row.target is not None for row in rates.rows)
    return [
        [
            ("of", _whose(row, labels)),
            *([("target", "all" if row.target is None else str(row.target))] if several else []),
            ("cycles", f"{row.n_cycles:,}"),
            ("arrivals", f"{row.events:,}"),
            ("worth", number_text(row.effective_events, 2) if row.events else ""),
            (f"rate (1/{row.unit})", "" if row.flux is None else number_text(row.flux)),
            ("95 %", _ends(row.interval)),
            ("RED", "" if row.red is None else number_text(row.red)),
            ("steady", {True: "yes", False: "no", None: "?"}[row.stationary]),
        ]
        for row in rates.rows
    ]


def _whose(row: Rate, labels: Mapping[str, str]) -> str:
    if row.of == "pool":
        return "all together"
    first, *more = (labels.get(run, run[:8]) for run in row.runs)
    return f"{row.of} {first}" + (f" and {len(more)} more" if more else "")


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else " to ".join(number_text(end, 2) for end in interval)


def interval_text(rate: Rate, unit: str) -> str:
    """An interval, and where it is from."""
    if rate.interval is None:
        return "no interval: too few cycles to compare"
    low, high = (number_text(end, 2) for end in rate.interval)
    each = "one run" if rate.n_units == 1 else "two runs"
    source = f"four parts of {each}" if rate.within else f"{rate.n_units} independent runs"
    return f"{low} to {high} {unit}, 95 % from {source}"


def _amounts(study: Study) -> list[Headline]:
    chains = list(study.chains)
    n_units, counted = len(study.units), sum(unit.n_counted for unit in study.units)
    several = f"{len(chains)} chains of runs" if len(chains) != n_units else ""
    found = [
        Headline("Independent runs", str(n_units), several),
        Headline("Cycles", f"{counted:,}", _walkers(chains)),
    ]
    sampled = _sampled(chains)
    return [*found, sampled] if sampled else found


def _sampled(chains: list[Chain]) -> Headline | None:
    """The time of all walkers together, and how fast; None where a run does not tell."""
    every = {each.run: each.record for chain in chains for each in chain.recorded}.values()
    sampled = [record.execution.sampled_ps(record.n_cycles, record.n_steps) for record in every]
    if None in sampled or not sampled:
        return None
    total = sum(each for each in sampled if each)
    walls = [record.execution.wall_s for record in every]
    wall, speed = sum(each for each in walls if each), ""
    if wall > 0 and None not in walls:
        speed = f"{number_text(total * 1e-3 / (wall / 86400))} ns/day, all walkers together"
    return Headline("Sampled", time_text(total, "ps"), speed)


def _walkers(chains: list[Chain]) -> str:
    numbers = {chain.recorded[-1].record.execution.n_walkers for chain in chains} - {None}
    return f"of {', '.join(map(str, sorted(n for n in numbers if n)))} walkers" if numbers else ""


def number_text(value: float, digits: int = 3) -> str:
    """A number as people write it: 0.0123, 4.5 × 10⁻⁷."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:.{digits}g}"
        return text if "e" not in text else f"{float(text):,.0f}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)}"


def time_text(value: float, unit: str) -> str:
    """A time in a unit; one in ps in that which makes it short."""
    if unit == "ps":
        for larger in ("ns", "µs", "ms", "s"):
            if value < 999.5:
                break
            value, unit = value / 1000, larger
    return f"{number_text(value)} {unit}"
