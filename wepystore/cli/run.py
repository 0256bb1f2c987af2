"""Run cycles of a simulation and keep them in a job folder.

Usage:
  wepy run orch [options] ORCH START SECONDS STEPS
  wepy run orch [options] START SECONDS STEPS
  wepy run snapshot [options] SNAPSHOT_FILE CONFIG_FILE SECONDS STEPS

START is a snapshot's hash, a prefix of it, a tag, or "default". SNAPSHOT_FILE
and CONFIG_FILE are files of `wepy get`. Cycles of STEPS steps are run as long
as another one fits into SECONDS of wall-clock time; one is always run. "-" in place
of SECONDS means no limit: --n-cycles, --until or a signal ends the run. Without
ORCH the store is $WEPY_ORCH, or the nearest one upwards from here.

Parts that are pickled run code. They are loaded only if you made them here or
trust them; see `wepy trust`.

The job folder then holds the reporters' files and checkpoint.orch, a store with
the start, the end, the configuration and the run; ORCH itself is not touched.
Ctrl-C, SIGTERM, SIGUSR1 and the end of the terminal end the run after the cycle,
with a checkpoint and status 75: `wepy resume` goes on with it. A second Ctrl-C
ends it at once.

Options:
  --job-dir DIR          Folder to make [default: the start's hash].
  --job-name NAME        What its files are called [default: the start's hash].
  --narration TEXT       A note to keep in the run's record.
  --n-workers N          Worker processes, instead of the configuration's number.
  --platform NAME        OpenMM platform, instead of the configuration's.
  --checkpoint-every TIME  Write a checkpoint every TIME (90s, 5m, 2h; "never"); without it
                         every 5 minutes, less often where one takes long.
  --checkpoint-freq N    Write a checkpoint every N cycles as well.
  --seed S               Where all random numbers come from; drawn if not given.
  --n-cycles N           Stop after N cycles.
  --until TIME           Be done by TIME, with a checkpoint (2026-01-31T18:00, 18:00,
                         or seconds since 1970) [default: $SLURM_JOB_END_TIME].
  --grace SECONDS        How long a signal leaves for cycle and checkpoint [default: 30].
  --scheduler ADDRESS    Run the segments on the workers of this dask scheduler.
  --configuration C      A configuration's file, hash or tag, instead of the default.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import open_store, positive_int
from wepystore.cli.running import (
    NO_LIMIT,
    components_on_stderr,
    options_of,
    seconds_of,
    tell_outcome,
)
from wepystore.cli.usage import WrongUsageError, is_number, usage_lines
from wepystore.orchestrator.run.request import RunRequest

if TYPE_CHECKING:
    from wepystore.cli.console import Console

_START_HASH = "the start's hash"

#: Integrators count with 32 bits.
_MOST_STEPS = 2**31 - 1


def main(args: dict[str, Any], console: Console) -> int:
    """Check what was typed before anything slow is imported, then run."""
    _check_words(args)
    for name in ("--job-dir", "--job-name"):
        if args[name] == _START_HASH:
            args[name] = None
    request = RunRequest(
        seconds=seconds_of(args["SECONDS"]),
        n_steps=positive_int(args["STEPS"], "STEPS", most=_MOST_STEPS),
        **options_of(args, RunRequest),
    )

    from wepystore.cli.run_display import RunDisplay
    from wepystore.orchestrator.run.run import run
    from wepystore.orchestrator.run.start import start_from
    from wepystore.records.trust import noting, tell, users_own

    store = None if args["snapshot"] else open_store(args["ORCH"])
    configuration = args["--configuration"] or args["CONFIG_FILE"]
    with components_on_stderr():
        start = start_from(
            store, args["SNAPSHOT_FILE"] or args["START"], configuration, trust=users_own()
        )
    # Checkpoints pickle the same parts again: what was trusted stays so at the end of its run.
    tell(noting(users_own, console.warn))
    with components_on_stderr(), RunDisplay(console) as display:
        outcome = run(start, request, display)
    return tell_outcome(outcome, console)


def _check_words(args: dict[str, Any]) -> None:
    """Raises WrongUsageError if of ORCH START SECONDS STEPS one is missing.

    Then the others look like START SECONDS STEPS, where ORCH is left out.
    """
    if args["snapshot"] or args["ORCH"] is not None:
        return
    first, second, third = args["START"], args["SECONDS"], args["STEPS"]
    named = f"{first!r} is a folder, so it stands for ORCH"
    if not os.path.isdir(first):
        return
    if second == NO_LIMIT or is_number(second):
        says = (
            f"START is missing: {named}, and after it comes {second!r}; say 'default' between them"
        )
    else:
        says = f"STEPS is missing: {named}, {second!r} for START and {third!r} for SECONDS"
    raise WrongUsageError(says, usage_lines(__doc__)[:1])
