"""Go on with a run that was interrupted, as if it had never been.

Usage:
  wepy resume [options] JOB_DIR [SECONDS]

JOB_DIR is the job folder of a `wepy run` that a kill, a signal, a time limit or
an error has ended. It is the same run: the same start, seed and files, cycles
counted on from its last checkpoint. Where the platform is reproducible it ends
in the hash in which it would have ended anyway.

It goes on for what is left of the SECONDS and cycles that were asked for; SECONDS
given here are new ones from now, and "-" means no limit. Where SECONDS had ended it
before --n-cycles it goes on up to these, without a limit. A run that has done all
it was asked for goes on only with SECONDS or more cycles. Signals are as with
`wepy run`.

Options:
  --n-cycles N           Stop after N cycles, counted from the start of the run.
  --checkpoint-every TIME  Write a checkpoint every TIME (90s, 5m, 2h; "never"), instead of
                         as before.
  --checkpoint-freq N    Write a checkpoint every N cycles, instead of as before.
  --n-workers N          Worker processes, instead of as many as before.
  --platform NAME        OpenMM platform, instead of the one before; the end may
                         then be another one.
  --until TIME           Be done by TIME, with a checkpoint (2026-01-31T18:00, 18:00,
                         or seconds since 1970) [default: $SLURM_JOB_END_TIME].
  --grace SECONDS        How long a signal leaves for cycle and checkpoint [default: 30].
  --scheduler ADDRESS    Run the segments on the workers of this dask scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wepystore.cli.running import (
    components_on_stderr,
    folder_of,
    options_of,
    seconds_of,
    tell_outcome,
)
from wepystore.orchestrator.run.request import RunRequest

if TYPE_CHECKING:
    from wepystore.cli.console import Console


def main(args: dict[str, Any], console: Console) -> int:
    """Check what was typed before anything slow is imported, then go on."""
    job_dir = folder_of(args["JOB_DIR"], "JOB_DIR")
    changes = options_of(args, RunRequest)
    if args["SECONDS"] is not None:
        changes["seconds"] = seconds_of(args["SECONDS"])

    from wepystore.cli.run_display import RunDisplay
    from wepystore.orchestrator.run.resume import resume
    from wepystore.records.trust import noting, tell, users_own

    # Checkpoints pickle the same parts again: what was trusted stays so at the end of its run.
    tell(noting(users_own, console.warn))
    with components_on_stderr(), RunDisplay(console) as display:
        outcome = resume(job_dir, changes, display, trust=users_own())
    return tell_outcome(outcome, console)
