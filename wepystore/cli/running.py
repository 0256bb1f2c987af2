"""What `wepy run` and `wepy resume` have in common: time limits, and what is said at the end."""

from __future__ import annotations

import contextlib
import datetime
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import positive_int, positive_number
from wepystore.errors import UsageError
from wepystore.orchestrator.run.request import (
    COUNT,
    DURATION,
    FOLDER,
    INTERVAL,
    JOB_NAME,
    MOMENT,
    NAME,
    SEED,
    TEXT,
    Kind,
    Means,
    check_job_name,
    options,
)
from wepystore.records.circumstances import UNTIL

if TYPE_CHECKING:
    from wepystore.cli.console import Console
    from wepystore.orchestrator.run.watching import RunOutcome

#: Set by SLURM 23.02 and later in every job: seconds since the epoch.
END_TIME = "SLURM_JOB_END_TIME"
_FROM_ENVIRONMENT = f"${END_TIME}"

#: In place of SECONDS.
NO_LIMIT = "-"
#: 30 million years; what is far beyond is a slip, or stands for no limit.
_MOST_SECONDS = 1e15

_INTERVAL = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(s|m|min|h|)", re.ASCII)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?")
_EPOCH = re.compile(r"\d{9,11}(\.\d+)?")


def options_of(args: dict[str, Any], request: type[Means]) -> dict[str, Any]:
    """The options of a request that were typed, by the names of its fields. Raises UsageError."""
    words = {name: "--" + name.replace("_", "-") for name in options(request)}
    return {
        name: _READERS[option.kind](args[words[name]], words[name])
        for name, option in options(request).items()
        if args.get(words[name]) is not None
    }


def _name_of(text: str, word: str) -> str:
    """Raises UsageError: an empty one is most often a variable that is not set, and would stand for
    something that nobody has chosen."""
    if not text:
        raise UsageError(f"{word} is empty; leave it out, or give a value")
    return text


def _seed_of(text: str, word: str) -> int:
    # Python refuses to read thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) < 100) or int(text) >= 2**63:
        raise UsageError(f"{word} must be a whole number from 0 to 2^63 - 1, not {text!r}")
    return int(text)


def folder_of(text: str, name: str) -> Path:
    """A job folder. Raises UsageError: an empty name, most often a variable that is not set,
    would be this very directory."""
    if not text:
        raise UsageError(f"{name} is empty; for this directory say '.'")
    return Path(text)


def seconds_of(text: str) -> float:
    """The time that a run may take; "-" stands for no limit, infinity. Raises UsageError."""
    if text == NO_LIMIT:
        return math.inf
    try:
        return positive_number(text, "SECONDS", most=_MOST_SECONDS)
    except UsageError as problem:
        raise UsageError(f"{problem}, or '-' for no limit") from None


def interval_of(text: str, name: str) -> float:
    """The seconds of "90", "90s", "5m", "2h", 0 for "never"."""
    found = _INTERVAL.fullmatch("0" if text == "never" else text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else -1.0
    if not 0 <= seconds <= _MOST_SECONDS:
        raise UsageError(f"{name} is {text!r} and must be a time as 90s, 5m or 2h, or 'never'")
    return seconds


def _duration_of(text: str, word: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"{word} is {text!r} and must be a number of seconds, 0 or more")
    return seconds


def until_of(text: str | None) -> float | None:
    """The moment by which all must be done, in seconds since the epoch; None for no limit.

    Without --until it is what the scheduler's environment says, if anything. Raises UsageError:
    what is typed must be one moment, and one to come.
    """
    if text is not None and text != _FROM_ENVIRONMENT:
        now = datetime.datetime.now()
        moment = _moment(text, now)
        if moment <= now.timestamp():
            raise UsageError(
                f"--until is {text!r}, and that time has passed: it is {now:%Y-%m-%dT%H:%M:%S} "
                "now; give a later one"
            )
        return moment
    told = os.environ.get(END_TIME, "")
    # 0 and NONE stand for no limit; what cannot be read is no reason not to run.
    return float(told) if _EPOCH.fullmatch(told) else None


def _moment(text: str, now: datetime.datetime) -> float:
    word = text.strip()
    if _EPOCH.fullmatch(word):
        return float(word)
    try:
        clock = _CLOCK.fullmatch(word)
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            today = now.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
            # A time of day that is over is tomorrow's.
            day = datetime.timedelta(days=0 if _only(text, today) > now.timestamp() else 1)
            return _only(text, today + day)
        return _only(text, datetime.datetime.fromisoformat(word))
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--until is {text!r} and must be a time: 2026-01-31T18:00, 2026-01-31T17:00Z, 18:00, "
            "18:00:00, or seconds since 1970"
        ) from None


def _only(text: str, moment: datetime.datetime) -> float:
    """Seconds since the epoch. Raises UsageError for local times of the nights in which clocks
    are changed: one hour comes twice, another one never."""
    if moment.tzinfo is None:
        first, second = (moment.replace(fold=fold).timestamp() for fold in (0, 1))
        if first != second:
            often = "twice" if first < second else "never"
            raise UsageError(
                f"--until is {text!r}, which comes {often} here on {moment:%Y-%m-%d}, when the "
                "clocks are changed; give it with its offset from UTC, "
                f"{moment:%Y-%m-%dT%H:%M}+00:00, or as seconds since 1970"
            )
    return moment.timestamp()


#: How what is typed for an option becomes its value.
_READERS: dict[Kind, Callable[[str, str], Any]] = {
    COUNT: positive_int,
    SEED: _seed_of,
    NAME: _name_of,
    TEXT: lambda text, word: text,
    JOB_NAME: lambda text, word: check_job_name(text),
    FOLDER: folder_of,
    DURATION: _duration_of,
    INTERVAL: interval_of,
    MOMENT: lambda text, word: until_of(text),
}


@contextlib.contextmanager
def components_on_stderr() -> Iterator[None]:
    """Meanwhile what users' components print goes to stderr, in worker processes too: stdout
    carries the answer and nothing else, so that `ends=$(wepy run ...)` works."""
    try:
        stdout, stderr = sys.stdout.fileno(), sys.stderr.fileno()
    except io.UnsupportedOperation:  # Called from Python, with streams that are no files.
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(stdout)
    try:
        # The descriptor and not only the stream: workers and compiled code print to it.
        os.dup2(stderr, stdout)
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # A log on a full disk: their words are lost, and are not to come out with the answer.
            lost = os.open(os.devnull, os.O_WRONLY)
            os.dup2(lost, stdout)
            os.close(lost)
            sys.stdout.flush()
        os.dup2(kept, stdout)
        os.close(kept)


def tell_outcome(outcome: RunOutcome, console: Console) -> int:
    """Say how a run ended and how to go on; the exit status. Raises StoppedEarlyError."""
    from wepystore.orchestrator.errors import StoppedEarlyError
    from wepystore.orchestrator.run.watching import cycles_text
    from wepystore.records.trust import arguments

    job = arguments(outcome.job_dir)
    reason = "the time is up" if outcome.stopped_by == UNTIL else f"stopped by {outcome.stopped_by}"
    if outcome.stopped_by and outcome.n_cycles == 0:
        raise StoppedEarlyError(reason=reason, job_dir=job)
    console.out(f"Run start and end hashes: {outcome.start}, {outcome.end}")
    store = arguments(outcome.store)
    cycles = cycles_text(outcome.n_cycles)
    exact = "" if outcome.reproducible else ", not reproducible to the bit"
    if outcome.stopped_by:
        console.note(f"{reason[0].upper()}{reason[1:]} after {cycles}; nothing of them is lost.")
        console.note(f"To go on: wepy resume {job}")
    elif not outcome.complete:
        limit = f"{outcome.seconds:,.0f}" if outcome.seconds >= 10 else f"{outcome.seconds:g}"
        console.note(
            f"The time limit of {limit} s ended it after {outcome.n_cycles} of "
            f"{cycles_text(outcome.wanted)}; for the rest: wepy resume {job}"
        )
    elif outcome.was_complete:
        console.note(
            f"{job} has done all it was asked for, {cycles}; give SECONDS or a larger --n-cycles "
            "to go on with it"
        )
    if not outcome.was_complete:
        console.note(f"{cycles} with seed {outcome.seed}{exact}; everything is in {job}")
    if outcome.complete:
        console.note(f"For more of the same run: wepy resume {job} SECONDS")
    console.note(f"To keep it: wepy reconcile orch ORCH {store}")
    return 75 if outcome.stopped_by else 0
