"""What `wepy run` and `wepy resume` have in common: time limits, and what is said at the end."""

from __future__ import annotations

import datetime
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import positive_int
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.cli.console import Console
    from wepystore.orchestrator.run import RunOutcome

#: Set by SLURM 22.05 and later in every job: seconds since the epoch.
END_TIME = "SLURM_JOB_END_TIME"
_FROM_ENVIRONMENT = f"${END_TIME}"

_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?")
_EPOCH = re.compile(r"\d{9,11}(\.\d+)?")


def optional_int(args: dict[str, Any], name: str) -> int | None:
    """The whole number (>= 1) of an option, if it was given. Raises UsageError."""
    return None if args[name] is None else positive_int(args[name], name)


def folder_of(text: str, name: str) -> Path:
    """A job folder. Raises UsageError: an empty name, most often a variable that is not set,
    would be this very directory."""
    if not text:
        raise UsageError(f"{name} is empty; for this directory say '.'")
    return Path(text)


def grace_of(text: str) -> float:
    """Seconds, 0 or more. Raises UsageError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"--grace is {text!r} and must be a number of seconds, 0 or more")
    return seconds


def until_of(text: str | None) -> float | None:
    """The moment by which all must be done, in seconds since the epoch; None for no limit.

    Without --until it is what the scheduler's environment says, if anything. Raises UsageError.
    """
    if text is not None and text != _FROM_ENVIRONMENT:
        return _moment(text, datetime.datetime.now().astimezone())
    told = os.environ.get(END_TIME, "")
    # 0 and NONE stand for no limit; what cannot be read is no reason not to run.
    return float(told) if _EPOCH.fullmatch(told) else None


def _moment(text: str, now: datetime.datetime) -> float:
    text = text.strip()
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        clock = _CLOCK.fullmatch(text)
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            # A time of day that is over is tomorrow's.
            moment = today if today > now else today + datetime.timedelta(days=1)
            return moment.timestamp()
        # Without an offset it is local time.
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--until is {text!r} and must be a time: 2026-01-31T18:00, 2026-01-31T17:00Z, 18:00, "
            "18:00:00, or seconds since 1970"
        ) from None


def tell_outcome(outcome: RunOutcome, console: Console) -> int:
    """Say how a run ended and how to go on; the exit status. Raises StoppedEarlyError."""
    from wepystore.orchestrator.errors import StoppedEarlyError
    from wepystore.orchestrator.options import UNTIL
    from wepystore.orchestrator.trust import arguments

    job = arguments(outcome.job_dir)
    reason = "the time is up" if outcome.stopped_by == UNTIL else f"stopped by {outcome.stopped_by}"
    if outcome.stopped_by and outcome.n_cycles == 0:
        raise StoppedEarlyError(reason=reason, job_dir=job)
    console.out(f"Run start and end hashes: {outcome.start}, {outcome.end}")
    store = arguments(outcome.job_dir / "checkpoint.orch")
    cycles = "1 cycle" if outcome.n_cycles == 1 else f"{outcome.n_cycles} cycles"
    exact = "" if outcome.reproducible else ", not reproducible to the bit"
    if outcome.stopped_by:
        console.note(
            f"{reason[0].upper()}{reason[1:]} after {cycles}; nothing of them is lost.\n"
            f"To go on: wepy resume {job}"
        )
    elif outcome.was_complete:
        console.note(
            f"{job} has done all it was asked for, {cycles}; give SECONDS or a larger --n-cycles "
            "to go on with it"
        )
    if not outcome.was_complete:
        console.note(f"{cycles} with seed {outcome.seed}{exact}; everything is in {job}")
    if not outcome.stopped_by:
        console.note(f"For more of the same run: wepy resume {job} SECONDS")
    console.note(f"To keep it: wepy reconcile orch ORCH {store}")
    return 75 if outcome.stopped_by else 0
