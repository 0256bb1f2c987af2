"""Bring what other stores have, and this one lacks, into this one.

Usage:
  wepy reconcile orch [options] TARGET SOURCE...
  wepy reconcile hdf5 [options] FILE
  wepy reconcile hdf5 [options] ORCH FILE [RUN...]

TARGET is made if it does not exist. SOURCE is a store; a database of wepy 1.x (.orch.sqlite); a
store on another host as HOST:PATH or USER@HOST:PATH (only ssh and rsync are needed there); or a
URL as s3://BUCKET/PATH, sftp://USER@HOST/PATH, file:///PATH (with the extra 'remote' installed).
Only what is missing is brought, and each file is verified before it gets its name. What came is
told on stderr. Doing it again is harmless, and goes on where it was cut off. What is damaged or
incomplete in SOURCE stays out (exit status 3); a tag that differs is left as it is in TARGET
(exit status 4).

With --without frames all else comes: tables, weights and every end. TARGET is whole without them,
and remembers where they are. The same command without the option brings them.

'reconcile hdf5' writes what is recorded of several runs to one FILE.h5, which wepy 1.x and its
analysis read, and prints its name. RUN is START,END as 'wepy ls runs' prints it, the hash of a
run's record or its first digits, or a tag; without any it is all of which there are frames. With
each come the runs that led to its start, and the file tells which goes on from which. A run that
another one left before its end is cut there: what comes after is a run of its own in the file.

Options:
  -n --dry-run    Only tell what would come.
  --without WHAT  Leave the 'frames' of runs where they are.
  --hdf5 FILE     Afterwards write all runs of TARGET to this file, as 'reconcile hdf5' does.
  --link          Leave the frames in the store: FILE has some kilobytes, and says where on this
                  machine they are. It and these objects become read-only.
  --verify        Compare what is written to FILE with what was recorded, byte by byte, before.
  -f --force      Replace FILE if it is there.
  --json          Print what came, or what is in FILE, as JSON.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from wepystore.cli.common import INCOMPLETE, find_run, open_store
from wepystore.cli.console import Console
from wepystore.cli.outputs import FileExistsAlreadyError, check_directory, cleaned_up
from wepystore.errors import UsageError
from wepystore.store import Store

_ENDINGS = (".h5", ".hdf5")


def main(args: dict[str, Any], console: Console) -> int:
    """Bring what there is to bring, or write runs to a file; or one after the other."""
    if args["hdf5"]:
        return _hdf5(args, console)
    file: str | None = args["--hdf5"]
    if file is not None:
        if args["--dry-run"] or args["--json"]:
            raise UsageError("--hdf5 goes with neither --dry-run nor --json")
        _check(file, args["--force"])
    else:
        for option in ("--force", "--link", "--verify"):
            if args[option]:
                raise UsageError(f"{option} is for the file of --hdf5")
    status = _orch(args, console)
    if file is not None:
        status = max(status, _write(args["TARGET"], file, None, args, console))
    return status


def _orch(args: dict[str, Any], console: Console) -> int:
    from wepystore.cli import merging
    from wepystore.remotes import plan_reconcile, reconcile

    target, addresses, shell = args["TARGET"], args["SOURCE"], merging.shell()
    heading, as_json = f"From {', '.join(addresses)}", args["--json"]
    frames = merging.with_frames(args)
    if args["--dry-run"]:
        plan = plan_reconcile(target, addresses, shell, frames)
        return merging.tell(console, plan, heading, merging.would("bring", plan), as_json)
    with merging.resumable(console):
        came = reconcile(target, addresses, shell, partial(merging.bar, console), frames)
    moved = merging.moved(f"{came.linked} files linked, {came.copied} copied", came)
    return merging.tell(console, came, heading, moved, as_json)


def _hdf5(args: dict[str, Any], console: Console) -> int:
    for option in ("--dry-run", "--without", "--hdf5"):
        if args[option]:
            raise UsageError(f"{option} is for 'wepy reconcile orch'")
    if args["ORCH"] is not None and args["ORCH"].endswith(_ENDINGS):
        # The store may be left out before runs as well.
        args["RUN"].insert(0, args["FILE"])
        args["ORCH"], args["FILE"] = None, args["ORCH"]
    _check(args["FILE"], args["--force"])
    store = open_store(args["ORCH"])
    runs = [find_run(store, run) for run in args["RUN"]] or None
    return _write(store, args["FILE"], runs, args, console)


def _check(file: str, force: bool) -> None:
    """What is wrong with the name of a file is told before anything is done."""
    if not file.endswith(_ENDINGS):
        raise UsageError(f"{file} must end in .h5: it is a WepyHDF5 file that is written")
    check_directory(file)
    if not force and os.path.lexists(file):
        raise FileExistsAlreadyError(file=file)


def _write(
    store: Store | str, file: str, runs: list[str] | None, args: dict[str, Any], console: Console
) -> int:
    from wepystore.cli.trajectories import AS_ROOT
    from wepystore.records.run_frames import FramesElsewhereError
    from wepystore.trajectories.together import export_runs

    try:
        with cleaned_up():
            made = export_runs(
                store,
                file,
                runs,
                link=args["--link"],
                verify=args["--verify"],
                replace=args["--force"],
            )
    except FileExistsError:
        raise FileExistsAlreadyError(file=file) from None
    if args["--link"] and os.geteuid() == 0:
        console.warn(AS_ROOT)
    for number, each in enumerate(made.runs):
        on = "" if each.continues is None else f", goes on from run {each.continues}"
        console.note(f" * run {number}: cycles {each.start}:{each.stop} of {each.run}{on}")
    for md5, problem in made.apart.items():
        console.warn(f"run {md5} goes on from none: {problem}")
    for md5, problem in made.left_out.items():
        console.note(f" ! [left out] run {md5}: {problem}")
    if args["--json"]:
        told = {"apart": made.apart, "left_out": made.left_out}
        console.json(
            {"file": file, "runs": [each._asdict() for each in made.runs]}
            | {name: {md5: str(why) for md5, why in found.items()} for name, found in told.items()}
        )
    else:
        console.out(file)
    elsewhere = (*made.left_out.values(), *made.apart.values())
    return INCOMPLETE if any(isinstance(e, FramesElsewhereError) for e in elsewhere) else 0
