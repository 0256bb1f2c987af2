"""What `reconcile` and `push` tell of what came, or went: lines like those of git fetch, JSON, a
bar."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import INCOMPLETE, count, size_text
from wepystore.cli.console import Console
from wepystore.store.names import ONE

if TYPE_CHECKING:
    from wepystore.store.merge import Plan
    from wepystore.store.merge.planning import Arrival
    from wepystore.store.merge.source import Progress

CONFLICT = 4
# Less than this is done before a bar could be looked at.
_LONG_BYTES = 8_000_000
_LONG_FILES = 200


def shell() -> str | None:
    """The command to connect to other hosts with, in place of ssh."""
    return os.environ.get("WEPY_SSH") or None


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
        console.note(moved or "Already up to date.")
    if done.left:
        return INCOMPLETE
    return CONFLICT if done.conflicts else 0


def _lines(done: Plan) -> Iterator[str]:
    for entry in done.entries:
        # They are part of a run, which has a line.
        if entry.kind not in ("recordings", "frames") or not entry.new:
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
        kind, _, name = conflict.name.partition("/")
        theirs = f"{conflict.theirs[:8]}… in {conflict.source}"
        if kind == "runs":
            ours = f" and {conflict.ours[:8]}… here" if conflict.ours else ""
            yield f" ! [conflict] run {name[:8]}… has attachments that differ: {theirs}{ours}"
        else:
            ours = f"{conflict.ours[:8]}… here" if conflict.ours else "not set here"
            yield f" ! [conflict] {name}: {ours}, {theirs}; left alone"


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
    return f"Would {verb} {len(plan.copies)} files, {size_text(plan.size)}."
