"""Check that everything in a store is there and whole, and heal it.

Usage:
  wepy fsck [options] [ORCH]
  wepy fsck [options] --repair [--from OTHER]... [ORCH]

Reads every file. Each thing that is damaged or missing is told on stdout, with what needs it
(exit status 3); leftovers, what nothing needs, and how many recordings' frames are elsewhere are
noted on stderr. --repair moves what is damaged to quarantine/ and fetches the right content from
other stores; nothing is deleted.

Options:
  --fast        Look at names, sizes and completeness, and read no objects.
  --subset n/t  Read only the n-th of t parts of the objects, such as 2/7 on Tuesdays.
  --sha256      Compare with the SHA-256 of each object too.
  --repair      Set aside what is damaged.
  --from OTHER  Where to fetch from: all that 'wepy reconcile orch' takes; may be given again.
  --json        Print JSON.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import INCOMPLETE, open_store, size_text
from wepystore.cli.console import Console, printable
from wepystore.errors import DamagedError, UsageError
from wepystore.store import Store, whereabouts
from wepystore.store.errors import NotAStoreError
from wepystore.store.names import KINDS, ONE

if TYPE_CHECKING:
    from wepystore.store.care.fsck import Need, Note, Problem, Repaired, Report

# Of each kind of remark, and of what needs a damaged file, so many are shown; --json has all.
_SHOWN_NOTES = 10
_SHOWN_NEEDS = 4


def main(args: dict[str, Any], console: Console) -> int:
    """Check, repair if asked to, tell."""
    from wepystore.store.care import fsck

    subset = None if args["--subset"] is None else _subset(args["--subset"])
    if subset is not None and args["--fast"]:
        raise UsageError("--fast reads no objects, so --subset has nothing to choose from")
    if args["--from"] and not args["--repair"]:
        raise UsageError("--from says where --repair fetches from; give --repair too")
    store = _open_damaged(args["ORCH"])
    with _progress(console) as progress:
        report = fsck.check(
            store,
            fast=args["--fast"],
            sha256=args["--sha256"],
            subset=subset,
            progress=progress,
        )
    repaired = None
    if args["--repair"] and not report.healthy:
        repaired = _repair(store, report, args["--from"])
    if args["--json"]:
        console.json(_json(report, repaired))
    else:
        for problem in report.problems:
            console.out(_line(problem))
    _notes(report.notes, console)
    return _conclude(report, repaired, console)


def _open_damaged(path: str | None) -> Store:
    """The store, also if what is damaged is the very file that makes it one."""
    try:
        return open_store(path)
    except (DamagedError, NotAStoreError, PermissionError) as error:
        if isinstance(error, PermissionError):
            root = Path(error.filename).parent
        else:
            root = Path(str(error.fields["path"]))
        if any((root / kind).is_dir() for kind in KINDS):
            return Store(root)
        raise


def _repair(store: Store, report: Report, others: list[str]) -> Repaired:
    """Heal from any sources that reconcile takes."""
    from wepystore.cli import merging
    from wepystore.remotes import sources
    from wepystore.store.care import fsck

    with sources(store, others, shell=merging.shell()) as found:
        return fsck.repair(store, report, found)


def _subset(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 1 << 32:
        return int(number), int(of)
    raise UsageError(f"--subset is {text!r} and must be n/t with 1 <= n <= t, such as 1/7")


def _line(problem: Problem) -> str:
    needs = f"; needed by {_needs(problem.needed_by)}" if problem.needed_by else ""
    return f"{problem.what}: {problem.path}: {problem.why}{needs}"


def _needs(needs: tuple[Need, ...]) -> str:
    # Tags and defaults first: those are the names people know; then runs.
    order = ("refs", *reversed(KINDS))
    ordered = sorted(needs, key=lambda need: order.index(need.kind))
    shown = ", ".join(_need(need) for need in ordered[:_SHOWN_NEEDS])
    more = len(needs) - _SHOWN_NEEDS
    return shown + (f" and {more} more" if more > 0 else "")


def _need(need: Need) -> str:
    if need.kind == "refs":
        tag = need.name.removeprefix("tags/")
        return f"tag {tag}" if tag != need.name else f"refs/{need.name}"
    return f"{ONE[need.kind]} {need.name}"


def _notes(notes: tuple[Note, ...], console: Console) -> None:
    by_what: dict[str, list[Note]] = {}
    for note in notes:
        by_what.setdefault(note.what, []).append(note)
    for what, found in by_what.items():
        for note in found[:_SHOWN_NOTES]:
            console.note(f"{what}: {note.path}: {note.why}")
        if len(found) > _SHOWN_NOTES:
            console.note(f"{what}: {len(found) - _SHOWN_NOTES} more; --json lists all")


def _conclude(report: Report, repaired: Repaired | None, console: Console) -> int:
    counts = ", ".join(f"{report.entries[kind]} {kind}" for kind in KINDS)
    read = f"{report.files_read} files read, {size_text(report.bytes_read)}"
    console.note(f"{counts}; {read}")
    if report.elsewhere:
        console.note(whereabouts.told(Store(Path(report.path)), report.elsewhere))
    if report.healthy:
        return 0
    n = len(report.problems)
    if repaired is None:
        console.warn(
            f"{n} damaged or missing in {report.path}: "
            "'wepy fsck --repair --from OTHER' heals it from another store"
        )
        return INCOMPLETE
    for path, aside in repaired.quarantined:
        console.note(f" * [set aside] {path} -> {aside}")
    for kind, md5 in repaired.brought:
        console.note(f" * [brought] {ONE[kind]} {md5}")
    for problem in repaired.unhealed:
        console.note(f" ! [not healed] {_line(problem)}")
    console.note(
        f"{len(repaired.healed)} of {n} healed, {len(repaired.brought)} files brought "
        f"({size_text(repaired.size)}), {len(repaired.quarantined)} set aside"
    )
    return INCOMPLETE if repaired.unhealed else 0


def _json(report: Report, repaired: Repaired | None) -> dict[str, Any]:
    value: dict[str, Any] = {
        "store": printable(report.path),
        "healthy": report.healthy,
        "problems": [_problem(problem) for problem in report.problems],
        "notes": [_shown(note) for note in report.notes],
        "elsewhere": [
            {"frames": md5, "recordings": list(by)} for md5, by in report.elsewhere.items()
        ],
        "entries": report.entries,
        "files_read": report.files_read,
        "bytes_read": report.bytes_read,
    }
    if repaired is not None:
        value["repaired"] = {
            "healed": [_problem(problem) for problem in repaired.healed],
            "unhealed": [_problem(problem) for problem in repaired.unhealed],
            "quarantined": [
                {"from": printable(a), "to": printable(b)} for a, b in repaired.quarantined
            ],
            "brought": [{"kind": kind, "hash": md5} for kind, md5 in repaired.brought],
            "bytes": repaired.size,
        }
    return value


def _problem(problem: Problem) -> dict[str, Any]:
    return {**_shown(problem), "needed_by": [need._asdict() for need in problem.needed_by]}


def _shown(found: Problem | Note) -> dict[str, Any]:
    return {key: printable(text) for key, text in vars(found).items() if isinstance(text, str)}


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, when there is enough to do to look at it."""
    bar: Any = None

    def update(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total > 2000:
            from rich.progress import Progress

            # No thread to draw it: the check forks where there is none.
            bar = Progress(console=console.rich(), transient=True, auto_refresh=False)
            bar.add_task("files", total=total)
            bar.start()
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done, total=total, refresh=True)

    try:
        yield update if console.stderr_is_terminal else None
    finally:
        if bar is not None:
            bar.stop()
