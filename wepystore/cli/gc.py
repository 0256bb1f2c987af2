"""Remove what nothing needs from a store.

Usage:
  wepy gc [options] [--run RUN]... [ORCH]

Only tells what would go, unless --apply is given. What goes is objects that no snapshot, no
configuration and no recording names, and unfinished writes of programs that were killed; nothing
that was changed within the grace period. All that a run, a tag or a default needs stays. Refuses
while another program writes to the store.

Options:
  --apply                   Do it.
  --yes                     The same.
  --grace DURATION          Such as 36h, 90m or 2w [default: 14d].
  --unreferenced-snapshots  Snapshots, configurations and recordings that no run, tag or default
                            needs go too.
  --covered                 Runs that a longer one tells all of go too, with their recordings and
                            ends; not those that are tagged, or that another run goes on from.
  --frames                  Frames go too: of --run, and of --older-than. Their runs stay whole, and
                            'wepy reconcile orch' with a store that has them brings them back. Not
                            those of a job that goes on.
  --run RUN                 Whose frames; may be given again.
  --older-than DURATION     The frames of all runs that began longer ago, as 90d; not of those that
                            are tagged, or whose end is tagged or the default.
  --json                    Print JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import count, find_run, open_store, size_text
from wepystore.cli.console import Console
from wepystore.errors import UsageError
from wepystore.store.places import CHECKPOINT

if TYPE_CHECKING:
    from wepystore.store import Store
    from wepystore.store.care.gc import Item

# A thousand years: longer ago nothing began.
_MOST_S = 3.2e10
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def main(args: dict[str, Any], console: Console) -> int:
    """Plan; apply if asked to; tell."""
    from wepystore.store import whereabouts
    from wepystore.store.care import gc

    grace_s = _seconds(args["--grace"], "--grace")
    apply = args["--apply"] or args["--yes"]
    store, covered = open_store(args["ORCH"]), None
    if args["--covered"]:
        from wepystore.records.covering import superfluous

        covered = partial(superfluous, store)
    unnamed, frames = args["--unreferenced-snapshots"], _frames(args, store)
    plan = gc.plan(store, grace_s, unnamed, covered=covered, frames=frames)
    returned: tuple[Item, ...] = ()
    items = plan.items
    if apply:
        with _alone(store) if frames is not None else nullcontext():
            done = gc.apply(plan)
        items, returned = done.removed, done.returned
    size = sum(item.size for item in items)
    if args["--json"]:
        console.json(
            {
                "applied": apply,
                "items": [item._asdict() for item in items],
                "bytes": size,
                "young": plan.young,
                "returned": [item._asdict() for item in returned],
            }
        )
    else:
        for item in items:
            console.out(f"{item.path} {item.size}")
    _conclude(console, items, size, apply)
    gone = [item.name for item in items if item.kind == "frames"]
    if args["--frames"] and gone:
        console.note(f"These frames are elsewhere then; {whereabouts.way(store, gone)}.")
    if plan.young:
        console.note(f"{plan.young} more stay for now: they are within the grace period (--grace).")
    if returned:
        console.note(f"{len(returned)} stay: somebody came to need them meanwhile.")
    return 0


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Of a job's own store: nobody goes on with the job meanwhile, and with its frames. Raises
    JobBusyError."""
    from wepystore.orchestrator.job.job import SPEC
    from wepystore.orchestrator.job.lock import JobLock

    folder = store.path.parent
    if store.path.name != CHECKPOINT or not (folder / SPEC).is_file():
        yield
        return
    lock = JobLock.acquire(folder)
    try:
        yield
    finally:
        # That its last holder was killed is for a resume to know.
        lock.release(remove=not lock.signed)


def _conclude(console: Console, items: Sequence[Item], size: int, applied: bool) -> None:
    files = f"{count(len(items), 'file')}, {size_text(size)}"
    if not items:
        console.note("Nothing to remove.")
    else:
        console.note(f"Removed {files}." if applied else f"Would remove {files}; --apply does it.")


def _frames(args: dict[str, Any], store: Store) -> Callable[[], list[str]] | None:
    """What tells which frames are asked to go; None if none are."""
    runs, age = args["--run"], args["--older-than"]
    if not args["--frames"]:
        if runs or age is not None:
            raise UsageError(f"{'--run' if runs else '--older-than'} is for --frames; give it too")
        return None
    if not runs and age is None:
        raise UsageError("--frames removes those of --run RUN, or of runs --older-than DURATION")
    from wepystore.records.spare_frames import frames_to_spare

    before = None
    if age is not None:
        before = datetime.now(UTC) - timedelta(seconds=_seconds(age, "--older-than"))
    return partial(frames_to_spare, store, [find_run(store, run) for run in runs], before)


def _seconds(text: str, option: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)", text)
    if found is None or (not found[2] and float(found[1])):
        raise UsageError(f"{option} is {text!r} and must be a number with s, m, h, d or w")
    return min(float(found[1]) * _UNITS_S.get(found[2], 1), _MOST_S)
