"""Tell the rate into a target, with an interval, from runs of a store.

Usage:
  wepy rates [options] [ORCH] [RUN...]

RUN is START,END as 'wepy ls runs' prints it, the hash of a run's record or its first digits, or a
tag; without any it is all runs of the store. With a run come those that led to its start, and they
are one chain. Repeats, and records that are the beginning of others, count once. The rate is the
weight that was warped in a time, over all cycles that count: without --window and --burn-in the
last half of each chain. In a steady state one over it is the mean first passage time (MFPT).

Runs from one start with seeds of their own are independent. Of three and more the interval is from
the spread between them; of one or two it is from four parts of each, and optimistic, since what
these have not met is not in it. Whether the flux was steady is told from the two halves of what
counts, and from RED, which foretells the flux from how long events take, from the first cycle on.

With --from and --to it is the rate from one state into another, and back, also of runs in which
nothing is warped: the weight that arrives in a state, of walkers that were last in the other one,
over the weight of these. A state is a coordinate and its bounds, 'progress < 0.4', '-80 <
torsion(@phi-2) <= -40', or several of these with 'and' between them. Coordinates are 'progress',
'progress/FIELD' and those of 'wepy profile', of the walkers after their segments. Who begins anew
after a warp was last in the --from state.

Options:
  --from STATE  From this state, and with --to back into it.
  --to STATE    Into this state, which no walker is in that is in the other.
  --trust       Run the code in FILE.py, where a state is of a FILE.py:FUNCTION.
  --window A:B  Count the cycles from A to before B of each chain, from 0, or with -1 from the end.
  --burn-in N   Leave out the first N cycles of each chain, and count all others.
  --unit UNIT   Of times: ps, ns, us, ms, s, steps or cycles. Rates are in 1/UNIT.
  --events      List the arrivals that count, the heaviest first, with the K by which 'wepy get
                lineage --warp K RUN' knows them.
  --through C   Instead, the net flux through values of the coordinate C, from where half of the
                weight is to where walkers arrive: in a steady state it is the same everywhere.
  --json        Print it as JSON, for programs.
  --csv         Print it as CSV.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import count, runs_of, table
from wepystore.cli.console import Console
from wepystore.cli.counting import interval_text, tell_left_out, window_of
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.answers.between_states import State
    from wepystore.answers.rates import Event, Rate, Rates
    from wepystore.store import Store


def main(args: dict[str, Any], console: Console) -> int:
    chosen = _chosen(args)
    store, runs = runs_of(args)
    if args["--through"] is not None:
        return _print_profile(store, runs, chosen, args, console)

    from wepystore.answers.rates import load_rates

    rates = load_rates(store, runs, **chosen, unit=args["--unit"], traced=not args["--events"])
    events = None
    if args["--events"]:
        events = sorted(rates.events, key=lambda event: -event.weight)
    if args["--json"]:
        console.json(_facts(rates, events))
    elif args["--csv"]:
        for line in _csv(rates.rows if events is None else events):
            console.out(line)
    else:
        for line in _lines(rates) if events is None else _event_lines(events):
            console.out(line)
    tell_left_out(rates.study, console)
    return 0


def _chosen(args: dict[str, Any]) -> dict[str, Any]:
    """What is counted, and between which states. Raises UsageError."""
    if args["--json"] and args["--csv"]:
        raise UsageError("--json and --csv do not go together")
    chosen = window_of(args)
    states = args["--from"], args["--to"]
    if (states[0] is None) != (states[1] is None):
        raise UsageError("--from and --to go together: the two states")
    if states[0] is not None:
        chosen["states"] = tuple(_state(text, args["--trust"]) for text in states)
    if args["--through"] is not None and (args["--events"] or states[0] is not None):
        raise UsageError("--through does not go together with --events, --from and --to")
    return chosen


def _print_profile(
    store: Store, runs: list[str] | None, chosen: dict[str, Any], args: dict[str, Any], out: Console
) -> int:
    """The net flux along a coordinate."""
    from wepystore.answers.study import load_study
    from wepystore.answers.through import flux_profile
    from wepystore.answers.windows import Window
    from wepystore.cli.profile import along_of

    first, stop = chosen.get("window", (chosen.get("burn_in"), None))
    study = load_study(store, runs)
    along = along_of(args["--through"], args["--trust"])
    found = flux_profile(study, along, window=Window(first, stop), unit=args["--unit"])
    columns = (found.at, found.flux, found.low, found.high)
    rows = [
        [value if math.isfinite(value) else None for value in row]
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    names = ("at", "flux", "low", "high")
    if args["--json"]:
        known = {"along": found.along, "along_unit": found.along_unit, "unit": found.unit}
        points = [dict(zip(names, row, strict=True)) for row in rows]
        out.json({**known, "within": found.within, "points": points})
    elif args["--csv"]:
        for row in (names, *rows):
            out.out(",".join(_cell(value) for value in row))
    else:
        heading = (f"{found.along} {found.along_unit}".strip(), f"net flux (1/{found.unit})")
        shown = ((f"{row[0]:.4g}", _net(row)) for row in rows)
        for line in table([heading, *shown]):
            out.out(line)
    tell_left_out(study, out)
    return 0


def _net(row: Sequence[Any]) -> str:
    _, flux, low, high = row
    return with_interval(flux, None if low is None or high is None else (low, high))


def _state(text: str, trusted: bool) -> State:
    """With the functions loaded that it names, if they are trusted. Raises StateTextError,
    UntrustedCodeError, OwnCodeError, NoSuchFunctionError."""
    from wepystore.answers.between_states import State
    from wepystore.cli.profile import along_of

    found = State.read(text)
    bounds = (each._replace(along=along_of(str(each.along), trusted)) for each in found.bounds)
    return State(found.text, tuple(bounds))


def _lines(rates: Rates) -> Iterator[str]:
    """For people."""
    shown = rates.rows[: len(rates.flows)]
    for number, pool in enumerate(shown):
        if number:
            yield ""
        yield from _of_all(pool, rates)
    others = rates.rows[len(shown) :]
    if others:
        yield ""
        yield from _table(others)


def _of_all(pool: Rate, rates: Rates) -> Iterator[str]:
    label = "{:10} {}".format
    if pool.source is not None:
        yield label("from", f"{pool.source}, to {pool.destination}")
    if pool.flux is None:
        yield label("rate", f"none: {pool.reason}")
        return
    yield label("rate", f"{with_interval(pool.flux, pool.interval)} 1/{pool.unit}")
    mfpt = "none: walkers went on from the target, and passed it more than once"
    if pool.mfpt is not None:
        mfpt = f"{with_interval(pool.mfpt, pool.mfpt_interval)} {pool.unit}"
    yield label("MFPT", mfpt)
    yield label("interval", _of_interval(pool))
    yield label("steady", _of_steadiness(pool))
    if pool.red is not None:
        yield label(
            "RED", f"{with_interval(pool.red, None)} 1/{pool.unit}, from how long events take"
        )
    cycles = f"{count(pool.n_cycles, 'cycle')} of {count(pool.n_units, 'independent run')}"
    time = "" if pool.unit == "cycles" else f", {pool.time:.4g} {pool.unit}"
    yield label("counted", f"{cycles}{time}: {rates.window}")
    if pool.source is not None:
        yield label("weight", f"{100 * pool.occupied:.3g} % was last in {pool.source}")
    told = f"they tell as much as {pool.effective_events:.2g} of equal weight"
    heaviest = f"the heaviest is {100 * (pool.heaviest or 0):.2g} % of the flux"
    yield label("events", f"{pool.events}; {told}, {heaviest}")
    if pool.ancestors is not None:
        yield label(
            "ancestors", f"{count(pool.ancestors, 'walker')} of the first cycles that count"
        )


def _of_interval(rate: Rate) -> str:
    if rate.interval is None:
        return "none: there are too few cycles to compare parts of them"
    return interval_text(rate.n_units, rate.within)


def _of_steadiness(rate: Rate) -> str:
    if rate.stationary is None:
        return f"cannot be said: {rate.reason}"
    if rate.stationary:
        return f"as far as this tells: {rate.reason}"
    bound = ". The rate is a lower bound, the MFPT an upper one" if rate.lower_bound else ""
    return f"not stationary: {rate.reason}{bound}"


_SHORT = {True: "yes", False: "no", None: "?"}


def _table(rows: Sequence[Rate]) -> list[str]:
    unit = rows[0].unit
    has_targets = any(row.target is not None or row.destination for row in rows)
    heading = [
        "of",
        "into",
        "cycles",
        "events",
        "effective",
        f"rate (1/{unit})",
        f"MFPT ({unit})",
    ]
    lines: list[tuple[str, ...]] = [(*heading, "steady")]
    for row in rows:
        of = {"pool": "all", "unit": _unit_name(row)}.get(row.of, f"{row.of} {row.runs[0][:8]}")
        rate = "no event" if row.flux is None else with_interval(row.flux, row.interval)
        mfpt = "" if row.mfpt is None else with_interval(row.mfpt, row.mfpt_interval)
        target = row.destination or ("all" if row.target is None else f"target {row.target}")
        numbers = (str(row.n_cycles), str(row.events), f"{row.effective_events:.2g}")
        lines.append((of, target, *numbers, rate, mfpt, _SHORT[row.stationary]))
    if not has_targets:
        lines = [(line[0], *line[2:]) for line in lines]
    return table(lines)


def _unit_name(row: Rate) -> str:
    more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
    return f"run {row.runs[0][:8]}{more}"


def with_interval(value: float, interval: tuple[float, float] | None) -> str:
    """A number, and its interval, with no more digits than are known."""
    digits = 2
    if interval is not None and interval[1] > interval[0] > 0:
        digits = max(2, min(4, 2 - math.floor(math.log10(math.log(interval[1] / interval[0])))))
    if interval is None:
        return f"{value:.{digits}g}"
    low, high = interval
    return f"{value:.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


def _event_lines(events: Sequence[Event]) -> list[str]:
    rows: list[tuple[str, ...]] = [("K", "of", "run", "cycle", "walker", "weight", "into")]
    for event in events:
        numbers = (str(event.cycle), str(event.walker), f"{event.weight:.6g}")
        target = event.destination or ("" if event.target is None else str(event.target))
        warp = "-" if event.warp is None else str(event.warp)
        rows.append((warp, event.lineage_of[:8], event.run[:8], *numbers, target))
    return table(rows)


def _facts(rates: Rates, events: Sequence[Event] | None) -> dict[str, Any]:
    found = {
        "unit": rates.unit,
        "window": str(rates.window),
        "rates": [asdict(row) for row in rates.rows],
        "left_out": [{"run": run, "why": why} for run, why in rates.study.left_out],
        "apart": [{"run": run, "why": why} for run, why in rates.study.apart],
    }
    if events is not None:
        found["events"] = [event._asdict() for event in events]
    return found


def _csv(rows: Sequence[Rate] | Sequence[Event]) -> Iterator[str]:
    records = [row._asdict() if hasattr(row, "_asdict") else _flat(asdict(row)) for row in rows]
    for number, record in enumerate(records):
        if not number:
            yield ",".join(record)
        yield ",".join(_cell(value) for value in record.values())


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """With pairs in columns of their own."""
    ends = {"window": ("first_cycle", "last_cycle")}
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in ("interval", "mfpt_interval", "window"):
            low, high = ends.get(name, (f"{name}_low", f"{name}_high"))
            found[low], found[high] = value or (None, None)
        else:
            found[name] = " ".join(value) if name == "runs" else value
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text
