"""Run cycles of a simulation and keep them in a job folder.

Usage:
  wepy run orch [options] ORCH START SECONDS STEPS
  wepy run orch [options] START SECONDS STEPS
  wepy run snapshot [options] SNAPSHOT_FILE CONFIG_FILE SECONDS STEPS

START is a snapshot's hash, a prefix of it, a tag, or "default". SNAPSHOT_FILE
and CONFIG_FILE are files of `wepy get`. Cycles of STEPS steps are run as long
as another one fits into SECONDS of wall-clock time; one is always run. Without
ORCH the store is $WEPY_ORCH, or the nearest one upwards from here.

Parts that are pickled run code. They are loaded only if you made them here or
trust them; see `wepy trust`.

The job folder then holds the reporters' files and checkpoint.orch, a store with
the start, the end, the configuration and the run; ORCH itself is not touched.
Ctrl-C and SIGTERM end the run after the cycle, with a checkpoint; a second
Ctrl-C ends it at once.

Options:
  --job-dir DIR          Folder to make [default: the start's hash].
  --job-name NAME        What its files are called [default: the start's hash].
  --narration TEXT       A note to keep in the run's record.
  --n-workers N          Worker processes, instead of the configuration's number.
  --platform NAME        OpenMM platform, instead of the configuration's.
  --checkpoint-freq N    Write a checkpoint every N cycles, not only at the end.
  --seed S               Where all random numbers come from; drawn if not given.
  --n-cycles N           Stop after N cycles.
  --configuration C      A configuration's file, hash or tag, instead of the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import open_store, positive_int, positive_number, user_trust
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.cli.console import Console
    from wepystore.orchestrator.run import RunOutcome, Start

_START_HASH = "the start's hash"


def main(args: dict[str, Any], console: Console) -> int:
    """Check what was typed before anything slow is imported, then run."""
    seconds = positive_number(args["SECONDS"], "SECONDS")
    n_steps = positive_int(args["STEPS"], "STEPS")
    n_cycles = _optional_int(args, "--n-cycles")
    n_workers = _optional_int(args, "--n-workers")
    checkpoint_freq = _optional_int(args, "--checkpoint-freq")
    seed = _seed(args["--seed"])

    from wepystore.cli.progress import RunProgress
    from wepystore.orchestrator.job import check_job_name
    from wepystore.orchestrator.run import RunOptions, run
    from wepystore.orchestrator.trust import note_own_pickles

    if args["--job-name"] not in (None, _START_HASH):
        check_job_name(args["--job-name"])
    start = _start(args)
    # Checkpoints pickle the same parts again: what was trusted stays so at the end of its run.
    note_own_pickles(user_trust, console.warn)
    start_hash = start.snapshot_ref.md5
    options = RunOptions(
        seconds=seconds,
        n_steps=n_steps,
        n_cycles=n_cycles,
        job_dir=Path(_or(args["--job-dir"], start_hash)),
        job_name=_or(args["--job-name"], start_hash),
        narration=args["--narration"] or "",
        n_workers=n_workers,
        platform=args["--platform"],
        checkpoint_freq=checkpoint_freq,
        seed=seed,
    )
    with RunProgress(console) as progress:
        outcome = run(start, options, progress)
    console.out(f"Run start and end hashes: {outcome.start}, {outcome.end}")
    _say_how_to_go_on(outcome, options, console)
    return 75 if outcome.stopped_by else 0


def _start(args: dict[str, Any]) -> Start:
    from wepystore.orchestrator.start import start_from_files, start_from_store

    trust = user_trust()
    if args["snapshot"]:
        return start_from_files(
            args["SNAPSHOT_FILE"], args["--configuration"] or args["CONFIG_FILE"], trust=trust
        )
    store = open_store(args["ORCH"])
    return start_from_store(store, args["START"], args["--configuration"], trust=trust)


def _say_how_to_go_on(outcome: RunOutcome, options: Any, console: Console) -> None:
    store = outcome.job_dir / "checkpoint.orch"
    cycles = "1 cycle" if outcome.n_cycles == 1 else f"{outcome.n_cycles} cycles"
    exact = "" if outcome.reproducible else ", not reproducible to the bit on this platform"
    if outcome.stopped_by:
        console.note(f"Stopped by {outcome.stopped_by} after {cycles}; nothing of them is lost.")
    console.note(f"{cycles} with seed {outcome.seed}{exact}; everything is in {outcome.job_dir}")
    console.note(
        f"To go on: wepy run orch {store} {outcome.end[:12]} "
        f"{options.seconds:g} {options.n_steps}\n"
        f"To keep it: wepy reconcile orch ORCH {store}"
    )


def _or(text: str | None, default: str) -> str:
    return default if text in (None, _START_HASH) else str(text)


def _optional_int(args: dict[str, Any], name: str) -> int | None:
    return None if args[name] is None else positive_int(args[name], name)


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**63:
        raise UsageError(f"--seed must be a whole number from 0 to 2^63 - 1, not {text!r}")
    return int(text)
