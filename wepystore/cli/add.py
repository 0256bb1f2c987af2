"""Put a file into a store: one of 'wepy get', or the trajectories of a run.

Usage:
  wepy add (snapshot|config) FILE
  wepy add (snapshot|config) ORCH FILE
  wepy add trajectories [options] RUN FILE
  wepy add trajectories [options] ORCH RUN FILE

Prints the hash. The file is verified and never unpickled.

'add trajectories' takes a WepyHDF5 file, of this program or of wepy 1.x, for what happened in the
run that it is of, if nothing is recorded of that. RUN is START,END as 'wepy ls runs' prints it, the
hash of a run's record or its first digits, or a tag. A file that is of another run is refused.

Options:
  --run-idx N         Which of the runs in the file, if it has several.
  --fields NAMES      The fields of the states to keep, as in positions,velocities; otherwise
                      positions and box_vectors.
  --precision P       float32 or float64; otherwise float32.
  --tables-only       Keep no states: only weights, decisions and what else was recorded.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import find_run, store_of
from wepystore.cli.console import Console
from wepystore.errors import UsageError


def main(args: dict[str, Any], console: Console) -> int:
    """Add the entry and print its hash."""
    if args["trajectories"]:
        console.out(_trajectories(args))
        return 0
    from wepystore.store import exports

    store = store_of(args, "FILE")
    console.out(exports.add(store, args["FILE"], "snapshots" if args["snapshot"] else "configs"))
    return 0


def _trajectories(args: dict[str, Any]) -> str:
    from wepystore.orchestrator.attaching import add_trajectories

    number, fields, precision = args["--run-idx"], args["--fields"], args["--precision"]
    if number is not None and not number.isdecimal():
        raise UsageError(f"--run-idx is {number!r} and must be a number, from 0 on")
    if precision not in (None, "float32", "float64"):
        raise UsageError(f"--precision is {precision!r}, and neither float32 nor float64")
    names = None if fields is None else [name for name in fields.split(",") if name]
    if args["--tables-only"]:
        if names is not None:
            raise UsageError("--tables-only keeps no fields, and --fields names some")
        names = []
    store = store_of(args, "RUN", "FILE")
    return add_trajectories(
        store,
        find_run(store, args["RUN"]),
        args["FILE"],
        run_idx=None if number is None else int(number),
        fields=names,
        precision=precision or "float32",
    )
