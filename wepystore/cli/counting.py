"""Which cycles of which runs count, for commands that ask runs of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wepystore.cli.common import count, positive_int
from wepystore.cli.console import Console
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.answers.study import Study

#: As many runs are named where they do not count.
_MOST_NAMED = 5


def window_of(args: dict[str, Any]) -> dict[str, Any]:
    """What --window and --burn-in say counts, as load_rates and load_profile take it. Raises
    UsageError."""
    window, burn_in = args["--window"], args["--burn-in"]
    if window is not None and burn_in is not None:
        raise UsageError("--window and --burn-in do not go together")
    if burn_in is not None:
        return {"burn_in": 0 if burn_in == "0" else positive_int(burn_in, "--burn-in")}
    if window is None:
        return {}
    first, colon, stop = window.partition(":")
    try:
        if not colon:
            raise ValueError
        return {"window": (int(first or 0), int(stop) if stop else None)}
    except ValueError:
        raise UsageError(f"--window is {window!r} and must be A:B, such as 100:500") from None


def tell_left_out(study: Study, console: Console) -> None:
    """Name the runs that do not count, or not with all that led to them."""
    for told, runs in (
        ("does not count", study.left_out),
        ("counts without what led to its start", study.apart),
    ):
        for run, why in runs[:_MOST_NAMED]:
            console.note(f"run {run} {told}: {why}")
        if len(runs) > _MOST_NAMED:
            console.note(f"and {count(len(runs) - _MOST_NAMED, 'other run')} likewise")


def interval_text(n_units: int, within: bool) -> str:
    """Where an interval is from."""
    if not within:
        return f"95 %, from the spread between {n_units} independent runs"
    each = "this run" if n_units == 1 else f"each of {n_units} independent runs"
    return (
        f"95 %, from four parts of {each}: optimistic, since what was not met is not in it; runs "
        "with other seeds tell more"
    )
