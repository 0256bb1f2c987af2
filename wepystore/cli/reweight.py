"""Tell the rate that runs lead to, before the flux into the target is steady.

Usage:
  wepy reweight [options] --along COORDINATE [ORCH] [RUN...]

COORDINATE is cut into bins, and each segment tells from which bin to which a walker went, with its
weight. What the matrix of these comes to is the steady state, and what arrives in it is the rate: a
history-augmented Markov state model. It does not wait until the flux is steady, but the bins have
to be so narrow that walkers in one are alike. So the rate with half and with twice as many bins
stands beside it: where these differ, take more bins, or a better coordinate. RUN, and which runs
are independent, are as for 'wepy rates'; all cycles count.

Without --from and --to it is the rate from where warped walkers begin anew to where they arrive.
With these it is that from one state to another, of walkers that were last in the first one, also
of runs in which nothing is warped.

Options:
  --along COORDINATE  Of the walkers after their segments: one number each, as for 'wepy profile',
                      known in each cycle; 'progress' is what the boundary conditions measure.
  --bins BINS         So many, with as many segments in each; or where they meet, from the lowest
                      to the highest, as 0.3,0.5,0.8. Default: 100, or fewer for short runs.
  --from STATE        From this state, as for 'wepy rates', and
  --to STATE          into this one.
  --unit UNIT         Of times: ps, ns, us, ms, s, steps or cycles. Rates are in 1/UNIT.
  --distribution      List the bins, with the probability of each in the steady state.
  --json              Print it as JSON, for programs.
  --csv               Print the bins as CSV.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import count, runs_of, table
from wepystore.cli.console import Console
from wepystore.cli.counting import tell_left_out
from wepystore.cli.rates import with_interval
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.answers.reweighting import Reweighting


def main(args: dict[str, Any], console: Console) -> int:
    """Print what reweighting comes to."""
    if args["--json"] and args["--csv"]:
        raise UsageError("--json and --csv do not go together")
    bins, states = _bins(args["--bins"]), (args["--from"], args["--to"])
    if (states[0] is None) != (states[1] is None):
        raise UsageError("--from and --to go together: the two states")
    store, runs = runs_of(args)

    from wepystore.answers.reweighting import load_reweighting

    found = load_reweighting(
        store,
        args["--along"],
        runs,
        bins=bins,
        unit=args["--unit"],
        states=None if states[0] is None else states,
    )
    if args["--json"]:
        console.json(_facts(found))
    elif args["--csv"]:
        console.out("from,to,probability,recorded,kept")
        for *numbers, kept in _rows(found):
            cells = ("" if number is None else str(number) for number in numbers)
            console.out(",".join((*cells, json.dumps(kept))))
    else:
        for line in _lines(found):
            console.out(line)
        if args["--distribution"]:
            console.out("")
            for line in _distribution(found):
                console.out(line)
    tell_left_out(found.study, console)
    return 0


def _bins(text: str | None) -> int | list[float] | None:
    """Raises UsageError."""
    if text is None:
        return None
    try:
        return int(text) if "," not in text else [float(edge) for edge in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--bins is {text!r} and must be a whole number, or edges such as 0.3,0.5,0.8"
        ) from None


def _lines(found: Reweighting) -> Iterator[str]:
    """For people."""
    label, unit, rate = "{:10} {}".format, found.unit, found.rate
    interval = found.interval
    if found.states is not None:
        yield label("from", f"{found.states[0]}, to {found.states[1]}")
    yield label("rate", f"{with_interval(rate.value, interval)} 1/{unit}")
    passage = (1 / interval[1], 1 / interval[0]) if interval else None
    yield label("MFPT", f"{with_interval(found.mfpt, passage)} {unit}")
    yield label("interval", _of_interval(found))
    yield label("bins", _of_bins(found))
    recorded = f"{with_interval(found.recorded_rate, None)} 1/{unit}"
    share = found.recorded_rate / rate.value
    yield label("recorded", f"{recorded}, the mean of the flux in all cycles: {share:.2g} of it")
    yield label("relaxation", _of_relaxation(found))
    yield label("left out", _of_what_is_left_out(found))
    units = count(len(found.unit_rates), "independent run")
    yield label("counted", f"{count(found.n_segments, 'segment')} of {units}")
    told = f"they tell as much as {found.effective_arrivals:.2g} of equal weight"
    yield label("arrivals", f"{found.n_arrivals}; {told}")


def _of_interval(found: Reweighting) -> str:
    if found.interval is None:
        return "none: there are too few cycles to compare parts of them"
    n_units = len(found.unit_rates)
    if found.rate.between:
        return f"95 %, from the spread between {n_units} independent runs, for these bins"
    each = "this run" if n_units == 1 else "each of 2 independent runs"
    return (
        f"95 %, from four parts of {each}: optimistic, since what was not met is not in it; runs "
        "with other seeds tell more"
    )


def _of_bins(found: Reweighting) -> str:
    others = (
        f"{'none' if rate is None else format(rate, '.3g')} with {n_bins}"
        for n_bins, rate in (found.coarser, found.finer)
    )
    told = f"{found.n_bins}; the rate is {' and '.join(others)}"
    if found.finer.n_bins == found.n_bins:
        return f"{told}; the values tell no more apart"
    if found.bins_matter:
        return f"{told}: they matter, so take more, or a coordinate that tells more apart"
    return told


def _of_relaxation(found: Reweighting) -> str:
    if not math.isfinite(found.relaxation) or not found.relaxation:
        return "cannot be said: " + ("nothing lasts" if not found.relaxation else "all of it does")
    told = f"{found.relaxation:.3g} {found.unit}, or longer, until the flux is steady but for 1/e"
    return f"{told}; the runs have {found.length / found.relaxation:.2g} times that"


def _of_what_is_left_out(found: Reweighting) -> str:
    visited = found.recorded > 0
    n_left = int((visited & ~found.kept).sum())
    told = f"{count(int((~visited).sum()), 'bin')} that nobody visited"
    if not n_left:
        return told
    return (
        f"{told}; {count(n_left, 'bin')} and {100 * found.left_out:.2g} % of the weight that led "
        "to no target, or came from no initial state"
    )


def _rows(found: Reweighting) -> Iterator[tuple[Any, ...]]:
    """Of each bin where it begins and ends, None where it does not; what is known of it."""
    edges = [None, *found.edges.tolist(), None]
    columns = (found.probabilities, found.recorded, found.kept)
    yield from zip(edges, edges[1:], *(each.tolist() for each in columns), strict=False)


def _distribution(found: Reweighting) -> list[str]:
    rows: list[tuple[str, ...]] = [("from", "to", "steady", "recorded")]
    if found.states is not None:
        rows.append(("in", found.states[0], *(f"{share:.3g}" for share in found.initial)))
    for begin, end, steady, recorded, kept in _rows(found):
        ends = ["" if edge is None else f"{edge:.6g}" for edge in (begin, end)]
        rows.append((*ends, f"{steady:.3g}" if kept else "left out", f"{recorded:.3g}"))
    return table(rows)


def _facts(found: Reweighting) -> dict[str, Any]:
    interval = found.interval
    names = ("from", "to", "probability", "recorded", "kept")
    return {
        "along": found.coordinate,
        "states": found.states,
        "unit": found.unit,
        "flux": found.rate.value,
        "interval": interval,
        "mfpt": found.mfpt,
        "mfpt_interval": (1 / interval[1], 1 / interval[0]) if interval else None,
        "within": not found.rate.between,
        "recorded_flux": found.recorded_rate,
        "n_bins": found.n_bins,
        "coarser": found.coarser._asdict(),
        "finer": found.finer._asdict(),
        "bins_matter": found.bins_matter,
        "relaxation": found.relaxation if math.isfinite(found.relaxation) else None,
        "length": found.length,
        "left_out": found.left_out,
        "segments": found.n_segments,
        "arrivals": found.n_arrivals,
        "effective_arrivals": found.effective_arrivals,
        "units": [
            {"run": unit.chains[0].run, "flux": flux}
            for unit, flux in zip(found.study.units, found.unit_rates.tolist(), strict=True)
        ],
        "initial": dict(zip(names[2:4], found.initial, strict=True)),
        "left_out_runs": [{"run": run, "why": why} for run, why in found.study.left_out],
        "apart": [{"run": run, "why": why} for run, why in found.study.apart],
        "bins": [dict(zip(names, row, strict=True)) for row in _rows(found)],
    }
