"""Show how much weight there is along a coordinate, as a free energy with intervals.

Usage:
  wepy profile [options] [--along COORDINATE]... [--bins BINS]... [ORCH] [RUN...]

RUN is START,END as 'wepy ls runs' prints it, the hash of a run's record or its first digits, or a
tag; without any it is all runs of the store. Which cycles count, and where intervals are from, is
as 'wepy rates' has it: each cycle once, and without --window and --burn-in the last half.

COORDINATE is one of
  progress, or progress/FIELD         what the boundary conditions have measured
  distance(A, B)   angle(A, B, C)     of atoms, or of centres of mass; nm, degrees
  torsion(A, B, C, D)                 or torsion(@phi-5), of residue 5; @psi-, @omega-, @chi1-
  rmsd(A)          rmsd(A, B)         to where the runs began; of A, after B was superposed
  rg(A)            contacts(A, B, 0.4)
  position(A, x)                      where a particle is
  1.5*rg(A) - distance(A, B)          and other sums
  FILE.py:FUNCTION                    of positions (n_frames, n_atoms, 3) and box vectors
A, B, … select atoms: index 0-9, name CA CB, resname ALA, resid 5-9, element C, chain A, protein,
water, all; with 'and', 'or', 'not' and brackets. Of all but progress frames must be here.

A line is a bin: from, to, probability and free energy (-ln of the density, in kT, from its lowest
bin on), each with an interval for 95 %, and how many walkers were there. Empty bins have no free
energy.

Options:
  --along COORDINATE  Along this; twice for two dimensions.
  --bins BINS         Their number, over all there is [default: 50]; or A:B:N, so many from A to B;
                      or edges, A,B,C,…; twice for two dimensions, or once for both.
  --window A:B        Count the cycles from A to before B of each chain, from 0, or with -1 from the
                      end.
  --burn-in N         Leave out the first N cycles of each chain, and count all others.
  --windows K         Show the free energy in K stretches of time as well: of the window, or without
                      one of all cycles.
  --trust             Run the code in FILE.py.
  --json              Print it as JSON, for programs.
  --csv               Print it as CSV.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import count, positive_int, runs_of, table
from wepystore.cli.console import Console
from wepystore.cli.counting import interval_text, tell_left_out, window_of
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.answers.profiles import Histogram, Profile

#: More stretches of time than anybody looks at.
_MOST_WINDOWS = 100
#: The width of the longest bar.
_BAR = 24
#: Of the weight: rounding.
_NOTHING = 1e-9
_VERDICTS = {True: "as far as this tells", False: "not stationary", None: "cannot be said"}


def main(args: dict[str, Any], console: Console) -> int:
    """Print the profile."""
    if args["--json"] and args["--csv"]:
        raise UsageError("--json and --csv do not go together")
    if not 1 <= len(args["--along"]) <= 2:
        problem = "along what is missing" if not args["--along"] else "--along is given thrice"
        raise UsageError(f"{problem}: --along COORDINATE, once or twice; 'wepy profile --help'")
    if len(args["--bins"]) > len(args["--along"]):
        raise UsageError("--bins is given more often than --along")
    asked: dict[str, Any] = window_of(args)
    if args["--windows"] is not None:
        asked["n_windows"] = positive_int(args["--windows"], "--windows", _MOST_WINDOWS)
    bins = [_bins(text) for text in args["--bins"] or ["50"]]
    asked["bins"] = bins if len(bins) > 1 else bins[0]
    store, runs = runs_of(args)
    along = [along_of(text, args["--trust"]) for text in args["--along"]]

    from wepystore.answers.profiles import load_profile

    profile = load_profile(store, runs, along=along, **asked)
    if args["--json"]:
        console.json(_facts(profile))
    elif args["--csv"]:
        for line in _csv(profile):
            console.out(line)
    else:
        for line in _lines(profile):
            console.out(line)
    tell_left_out(profile.study, console)
    return 0


def along_of(text: str, trusted: bool) -> Any:
    """What a text asks for: itself, or the function in a file that it names, which must be trusted.
    Raises CoordinateTextError, UntrustedCodeError, OwnCodeError, NoSuchFunctionError."""
    from wepystore.coordinates.language import FromFile, read

    asked = read(text)
    if not isinstance(asked, FromFile):
        return text

    from wepystore.cli.own_functions import load_function

    return load_function(asked.file, asked.function, trusted)


def _bins(text: str) -> Any:
    """A number of bins, or edges. Raises UsageError."""
    wrong = UsageError(f"--bins is {text!r} and must be a number, A:B:N, or edges A,B,C")
    try:
        if ":" in text:
            first, last, number = text.split(":")
            n_bins = positive_int(number, "N of --bins", 10_000)
            low, high = float(first), float(last)
            return [low + (high - low) * k / n_bins for k in range(n_bins)] + [high]
        if "," in text:
            return [float(each) for each in text.split(",")]
        return positive_int(text, "--bins", 10_000)
    except ValueError:
        raise wrong from None


def _lines(profile: Profile) -> list[str]:
    """For people: what is to be thought of it, and the bins."""
    found = [f"{word:10} {text}" for word, text in _remarks(profile)]
    rows = table(_rows(profile))
    if sys.stdout.isatty() and len(profile.axes) == 1:
        rows = [line + bar for line, bar in zip(_even(rows), _bars(profile), strict=True)]
    found += ["", *rows]
    if profile.windows:
        found += ["", *table(_rows_of_windows(profile))]
    return found


def _remarks(profile: Profile) -> Iterator[tuple[str, str]]:
    yield "along", " and ".join(axis.title for axis in profile.axes)
    yield "interval", interval_text(profile.n_units, profile.within)
    yield "steady", f"{_VERDICTS[profile.stationary]}: {profile.reason}"
    cycles = f"{count(profile.n_cycles, 'cycle')} of {count(profile.n_units, 'independent run')}"
    yield "counted", f"{cycles}: {profile.chosen}"
    if profile.n_left_out:
        yield "left out", f"{count(profile.n_left_out, 'cycle')} of which no frames are kept"
    if profile.outside > _NOTHING:
        yield "outside", f"{profile.outside:.3g} of the weight is in no bin"


def _even(lines: list[str]) -> list[str]:
    width = max(map(len, lines))
    return [line.ljust(width + 2) for line in lines]


def _rows(profile: Profile) -> list[tuple[str, ...]]:
    heading = [*_heading(profile), "probability", "interval", "free energy", "interval", "walkers"]
    rows: list[tuple[str, ...]] = [tuple(heading)]
    held = _columns(profile)
    for place in _shown(profile):
        value, low, high, free, free_low, free_high, n_walkers = (c[place] for c in held)
        numbers = ["", "", "", ""]
        if value > 0:
            numbers = [f"{value:.3g}", "", f"{free:.2f}", ""]
            if math.isfinite(low):
                numbers[1] = f"{low:.2g} to {high:.2g}"
                numbers[3] = f"{free_low:.2f} to {free_high:.2f}"
        rows.append((*_edges(profile, place), *numbers, str(n_walkers)))
    return rows


def _rows_of_windows(profile: Profile) -> list[tuple[str, ...]]:
    """The free energy in each of the stretches of time."""
    names = [_window_name(each, k) for k, each in enumerate(profile.windows, 1)]
    rows: list[tuple[str, ...]] = [(*_heading(profile), *names)]
    columns = [each.free_energy for each in profile.windows]
    for place in _shown(profile):
        values = [column[place] for column in columns]
        shown = [f"{value:.2f}" if math.isfinite(value) else "" for value in values]
        rows.append((*_edges(profile, place), *shown))
    return rows


def _window_name(window: Histogram, number: int) -> str:
    if window.window is None:
        return f"stretch {number}"
    first, last = window.window
    return f"{first}:{last + 1}"


def _heading(profile: Profile) -> list[str]:
    several = len(profile.axes) > 1
    names = [f" {k}" if several else "" for k in range(1, len(profile.axes) + 1)]
    return [word + name for name in names for word in ("from", "to")]


def _edges(profile: Profile, place: tuple[int, ...]) -> Iterator[str]:
    for axis, k in zip(profile.axes, place, strict=True):
        yield from (f"{edge:.6g}" for edge in axis.edges[k : k + 2])


def _columns(found: Histogram) -> tuple[Any, ...]:
    return (
        *(found.probability, found.low, found.high),
        *(found.free_energy, found.free_energy_low, found.free_energy_high),
        found.n_walkers,
    )


def _shown(profile: Profile) -> list[tuple[int, ...]]:
    """The places of bins: all from the first to the last one with weight, in two dimensions those
    with weight."""
    occupied = [*zip(*(each.tolist() for each in profile.n_walkers.nonzero()), strict=True)]
    if len(profile.axes) == 1:
        return [(k,) for k in range(occupied[0][0], occupied[-1][0] + 1)]
    return occupied


def _bars(profile: Profile) -> Iterator[str]:
    """The free energy, drawn; the heading first."""
    yield ""
    free = [profile.free_energy[place] for place in _shown(profile)]
    highest = max((value for value in free if math.isfinite(value)), default=0.0) or 1.0
    try:
        "█".encode(sys.stdout.encoding or "utf-8")
        block = "█"
    except UnicodeEncodeError:
        block = "#"
    for value in free:
        yield block * round(_BAR * value / highest) if math.isfinite(value) else ""


def _facts(profile: Profile) -> dict[str, Any]:
    return {
        "along": [
            {"coordinate": a.label, "unit": a.unit, "period": a.period, "edges": a.edges.tolist()}
            for a in profile.axes
        ],
        "counted": str(profile.chosen),
        **_histogram_facts(profile),
        "interval_from": "batches" if profile.within else "units",
        "stationary": profile.stationary,
        "reason": profile.reason,
        "cycles_left_out": profile.n_left_out,
        "windows": [_histogram_facts(each) for each in profile.windows],
        "left_out": [{"run": run, "why": why} for run, why in profile.study.left_out],
        "apart": [{"run": run, "why": why} for run, why in profile.study.apart],
    }


_NAMES = ("probability", "low", "high", "free_energy", "free_energy_low", "free_energy_high")


def _histogram_facts(found: Histogram) -> dict[str, Any]:
    columns = dict(zip((*_NAMES, "walkers"), _columns(found), strict=True))
    return {
        "window": found.window,
        "units": found.n_units,
        "cycles": found.n_cycles,
        "outside": found.outside,
        **{name: _listed(column.tolist()) for name, column in columns.items()},
    }


def _listed(value: Any) -> Any:
    """With null for what is not a number."""
    if isinstance(value, list):
        return [_listed(each) for each in value]
    return value if isinstance(value, int) or math.isfinite(value) else None


def _csv(profile: Profile) -> Iterator[str]:
    several = len(profile.windows)
    more = [f"{name}_{k}" for k in range(1, several + 1) for name in ("probability", "free_energy")]
    heading = [word.replace(" ", "_") for word in _heading(profile)]
    yield ",".join([*heading, *_NAMES, "walkers", *more])
    columns = [*_columns(profile)]
    for each in profile.windows:
        columns += [each.probability, each.free_energy]
    for place in product(*map(range, profile.probability.shape)):
        edges = [
            repr(float(edge))
            for axis, k in zip(profile.axes, place, strict=True)
            for edge in axis.edges[k : k + 2]
        ]
        values = [column[place].item() for column in columns]
        yield ",".join([*edges, *(repr(v) if math.isfinite(v) else "" for v in values)])
