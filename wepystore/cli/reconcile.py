"""Bring what other stores have, and this one lacks, into this one.

Usage:
  wepy reconcile orch [options] TARGET SOURCE...

TARGET is made if it does not exist. Only what is missing is brought, verified, as hard links
where both are on one file system. What came is told on stderr. Doing it again is harmless.
What is damaged or incomplete in SOURCE stays out (exit status 3); a tag that differs is left
as it is in TARGET (exit status 4).

Options:
  -n --dry-run  Only tell what would come.
  --json        Print what came as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import HIDDEN, size_text
from wepystore.cli.console import Console
from wepystore.store import Store
from wepystore.store.names import MARK, ONE

if TYPE_CHECKING:
    from wepystore.store.reconcile import Entry, Outcome, Plan

INCOMPLETE, CONFLICT = 3, 4


def main(args: dict[str, Any], console: Console) -> int:
    """Plan, apply, tell."""
    from wepystore.store import reconcile

    sources = [Store.open(_root(source)) for source in args["SOURCE"]]
    plan = reconcile.plan(_root(args["TARGET"]), sources)
    if args["--dry-run"]:
        done: Plan | Outcome = plan
        linked = copied = 0
    else:
        with _Progress(console, len(plan.copies)) as progress:
            outcome = reconcile.apply(plan, progress)
        done, linked, copied = outcome, outcome.linked, outcome.copied
    if args["--json"]:
        console.json(_json(done))
    for entry in done.entries:
        console.note(" * " + _line(entry))
    for name, md5 in done.refs:
        kind = "tag" if name.startswith("tags/") else "default"
        console.note(f" * [new {kind}] {name.removeprefix('tags/')} -> {md5[:8]}…")
    for left in done.left:
        what = "ref" if left.kind == "refs" else ONE[left.kind]
        console.note(f" ! [left out] {what} {left.md5} of {left.source}: {left.why}")
    for conflict in done.conflicts:
        ours = f"{conflict.ours[:8]}… here" if conflict.ours else "not set here"
        console.note(
            f" ! [conflict] {conflict.name.removeprefix('tags/')}: {ours}, "
            f"{conflict.theirs[:8]}… in {conflict.source}; left alone"
        )
    if args["--dry-run"]:
        console.note(f"Would bring {len(plan.copies)} files, {size_text(plan.size)}.")
    elif linked or copied:
        console.note(f"{linked} files linked, {copied} copied, {size_text(done.size)}.")
    elif not (done.entries or done.refs or done.left or done.conflicts):
        console.note("Already up to date.")
    if done.left:
        return INCOMPLETE
    return CONFLICT if done.conflicts else 0


def _root(path: str) -> str:
    """The store a path stands for: a directory that holds a .orch, and is none, stands for it."""
    hidden = Path(path, HIDDEN)
    return str(hidden) if hidden.is_dir() and not _is_store(path) and _is_store(hidden) else path


def _is_store(path: str | Path) -> bool:
    return Path(path, MARK).exists()


def _line(entry: Entry) -> str:
    word = "new" if entry.new else "healed"
    what = {"configs": "config"}.get(entry.kind, ONE[entry.kind])
    if entry.run is None:
        return f"[{word} {what}] {entry.md5[:8]}…"
    run = entry.run
    cycles = f"{run.n_cycles} cycle" + "s" * (run.n_cycles != 1)
    return f"[{word} {what}] {run.start[:7]}..{run.end[:7]} ({cycles})"


def _json(done: Plan | Outcome) -> dict[str, Any]:
    return {
        "entries": [
            {"kind": e.kind, "hash": e.md5, "new": e.new}
            | ({} if e.run is None else {k: v for k, v in e.run._asdict().items() if k != "md5"})
            for e in done.entries
        ],
        "refs": dict(done.refs),
        "conflicts": [
            {"name": c.name, "ours": c.ours, "theirs": c.theirs, "source": str(c.source)}
            for c in done.conflicts
        ],
        "left_out": [
            {"kind": x.kind, "hash": x.md5, "source": str(x.source), "why": x.why}
            for x in done.left
        ],
        "bytes": done.size,
    }


class _Progress:
    """A bar on a terminal, when there is enough to do to look at it."""

    def __init__(self, console: Console, total: int) -> None:
        self._update: Callable[[int, int], None] | None = None
        self._bar: Any = None
        if total > 200 and console.stderr_is_terminal:
            from rich.progress import Progress

            self._bar = Progress(console=console.rich(), transient=True)
            task = self._bar.add_task("files", total=total)
            self._update = lambda done, _: self._bar.update(task, completed=done)

    def __enter__(self) -> Callable[[int, int], None] | None:
        if self._bar is not None:
            self._bar.start()
        return self._update

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
