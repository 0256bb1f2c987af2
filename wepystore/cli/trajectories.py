"""`wepy get trajectories`: what is recorded of a run as files that other programs read."""

from __future__ import annotations

import os
import re
from typing import Any

from wepystore.cli.common import MOST, find_run, positive_int, store_of
from wepystore.cli.console import Console
from wepystore.cli.outputs import FileExistsAlreadyError, check_directory, cleaned_up
from wepystore.errors import UsageError

_NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_CYCLES = re.compile(r"(-?\d{0,12}):(-?\d{0,12})")
#: No run has as many walkers.
_MOST_WALKERS = 10**6


#: What holds nobody else's writing back.
AS_ROOT = "root may write to files that are read-only: do not open a linked file for writing"


def get(args: dict[str, Any], console: Console) -> list[str]:
    """Write the files; their names."""
    file: str | None = args["--output"]
    if file is not None:
        from wepystore.trajectories.files import check_ending

        check_ending(file)
    walkers = _walkers(args["--walkers"])
    cycles = _cycles(args["--cycles"])
    every = 1 if args["--every"] is None else positive_int(args["--every"], "--every")
    store = store_of(args, "RUN")
    run = find_run(store, args["RUN"])
    file = file or f"{run}.wepy.h5"
    check_directory(file)

    from wepystore.trajectories.exporting import export_run

    try:
        with cleaned_up():
            made = export_run(
                store,
                run,
                file,
                joined=args["--joined"],
                walkers=walkers,
                cycles=cycles,
                atoms=args["--atoms"],
                every=every,
                align=args["--align"],
                whole=args["--whole"],
                link=args["--link"],
                verify=args["--verify"],
                replace=args["--force"],
            )
    except FileExistsError as error:
        raise FileExistsAlreadyError(file=error.filename or file) from None
    if args["--link"] and os.geteuid() == 0:
        console.warn(AS_ROOT)
    return made


def _walkers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if not _NUMBERS.fullmatch(text):
        raise UsageError(f"--walkers is {text!r} and must be numbers of walkers, as in 0,3-5")
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = int(first), int(last or first)
        if end < begin or end > _MOST_WALKERS:
            raise UsageError(f"--walkers is {text!r}, and {part} is no walker of any run")
        found += range(begin, end + 1)
    return found


def _cycles(text: str | None) -> slice:
    if text is None:
        return slice(None)
    found = _CYCLES.fullmatch(text)
    bounds = [each if each and each != "-" else None for each in found.groups()] if found else []
    if not found or "-" in found.groups():
        raise UsageError(f"--cycles is {text!r} and must be A:B, as in 100:200, 100: or :-50")
    return slice(*(None if each is None else max(-MOST, min(MOST, int(each))) for each in bounds))
