"""What `reconcile` and `push` tell of what came, or went: lines like those of git fetch, JSON, a
bar."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import INCOMPLETE, count, size_text
from wepystore.cli.console import Console
from wepystore.errors import UsageError
from wepystore.store.names import ONE

if TYPE_CHECKING:
    from wepystore.store.merge import Plan
    from wepystore.store.merge.plans import Arrival, Conflict, Copy
    from wepystore.store.merge.source import Progress

CONFLICT = 4
# Less than this is done before a bar could be looked at.
_LONG_BYTES = 8_000_000
_LONG_FILES = 200


def shell() -> str | None:
    """The command to connect to other hosts with, in place of ssh."""
    return os.environ.get("WEPY_SSH") or None


def with_frames(args: dict[str, Any]) -> bool:
    """Whether frames come along. Raises UsageError for what else is to be left out."""
    if args["--without"] not in (None, "frames"):
        raise UsageError(f"--without is {args['--without']!r}; all that can be left is 'frames'")
    return args["--without"] is None


@contextlib.contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Whoever breaks it off is told that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        console.note("What has crossed is kept: run the same command again to go on from there.")
        raise


def tell(console: Console, done: Plan, heading: str, moved: str = "", as_json: bool = False) -> int:
    """What came, or would come: lines on stderr, and JSON. `moved` says how much, if anything is.
    Returns the exit status: something was left out, or tags or attachments differ, or neither."""
    if as_json:
        console.json(_json(done))
    if done.unread:
        console.note(
            f"{done.unread} entries that both sides have were not looked into; "
            "'wepy fsck --fast' looks at all."
        )
    lines = list(_lines(done))
    for line in [heading, *lines] if lines else ():
        console.note(line)
    if moved or not lines:
        console.note(moved or f"Already up to date.{_kept(done)}")
    if done.left:
        return INCOMPLETE
    return CONFLICT if done.conflicts else 0


def _lines(done: Plan) -> Iterator[str]:
    comes_a_run = any(entry.kind == "runs" for entry in done.entries)
    for entry in done.entries:
        # It is part of a run, which has a line.
        if (entry.kind == "recordings" and entry.new) or (entry.kind == "frames" and comes_a_run):
            continue
        yield " * " + _line(entry)
    for name, md5 in done.refs:
        kind = "tag" if name.startswith("tags/") else "default"
        why = ""
        if name == "default-snapshot" and done.end:
            why = f", where the runs began that led to {done.end[:8]}…, the default there"
        yield f" * [new {kind}] {name.removeprefix('tags/')} -> {md5[:8]}…{why}"
    for left in done.left:
        what = "ref" if left.kind == "refs" else ONE[left.kind]
        yield f" ! [left out] {what} {left.md5} of {left.source}: {left.why}"
    for conflict in done.conflicts:
        yield f" ! [conflict] {_conflict(conflict)}"


def _conflict(conflict: Conflict) -> str:
    kind, _, name = conflict.name.partition("/")
    theirs = f"{conflict.theirs[:8]}… in {conflict.source}"
    ours = f"{conflict.ours[:8]}… here" if conflict.ours else ""
    if kind != "runs":
        return f"{name}: {ours or 'not set here'}, {theirs}; left alone"
    both = f"{theirs} and {ours}" if ours else theirs
    return f"run {name[:8]}… has attachments that differ: {both}"


def _json(done: Plan) -> dict[str, Any]:
    """What came, or would come, for programs."""
    return {
        "entries": [
            {"kind": e.kind, "hash": e.md5, "new": e.new}
            | ({} if e.run is None else {k: v for k, v in e.run._asdict().items() if k != "md5"})
            for e in done.entries
        ],
        "refs": dict(done.refs),
        "default_there": done.end or None,
        "conflicts": [vars(conflict) for conflict in done.conflicts],
        "left_out": [
            {"kind": x.kind, "hash": x.md5, "source": x.source, "why": x.why} for x in done.left
        ],
        "bytes": done.size,
        "bytes_of_frames": _size(done.of_frames),
        "bytes_left_there": _size(done.withheld),
    }


def _line(entry: Arrival) -> str:
    word = "new" if entry.new else "healed"
    what = {"configs": "config"}.get(entry.kind, ONE[entry.kind])
    if entry.run is None:
        return f"[{word} {what}] {entry.md5[:8]}…"
    run = entry.run
    cycles = count(run.n_cycles, "cycle")
    return f"[{word} {what}] {run.start[:7]}..{run.end[:7]} ({cycles})"


@contextlib.contextmanager
def bar(console: Console, what: str, plan: Plan) -> Iterator[Progress | None]:
    """Bytes, speed and time left, on a terminal, when there is enough to do to look at it. Gives
    what to call with (bytes done, bytes in all); None where there is no bar."""
    is_long = plan.size > _LONG_BYTES or len(plan.copies) > _LONG_FILES
    if not (console.stderr_is_terminal and is_long):
        yield None
        return
    from rich import progress

    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=console.rich(),
        transient=True,
    ) as shown:
        task = shown.add_task(what, total=plan.size)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def would(verb: str, plan: Plan) -> str:
    """The last line of a dry run."""
    return f"Would {verb} {_amount(f'{len(plan.copies)} files', plan)}"


def moved(how: str, done: Plan) -> str:
    """The last line, if anything came or went: how many files did so in which way, and sizes."""
    return _amount(how, done) if done.copies else ""


def _amount(how: str, done: Plan) -> str:
    """How many files, and their size with frames and without."""
    frames = _size(done.of_frames)
    of_these = f", {size_text(frames)} of them frames" if frames else ""
    return f"{how}, {size_text(done.size)}{of_these}.{_kept(done)}"


def _kept(done: Plan) -> str:
    size = _size(done.withheld)
    return f" Frames, {size_text(size)}, stay where they are." if size else ""


def _size(copies: Sequence[Copy]) -> int:
    return sum(copy.ref.size for copy in copies)
