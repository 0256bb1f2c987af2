"""Show what is in a store, what is incomplete, and what nothing refers to.

Usage:
  wepy status [--json] [ORCH]

Reads manifests and no objects; 'wepy fsck' reads everything. Exit status 3 if something is
incomplete or damaged; frames that are elsewhere are neither.

Options:
  --json  Print JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import INCOMPLETE, no_circles, open_store, size_text
from wepystore.cli.console import Console
from wepystore.store import Store, carriers, whereabouts
from wepystore.store.names import KINDS, ONE

if TYPE_CHECKING:
    from wepystore.store.care.status import Incomplete, Status

_SHOWN = 10


@no_circles()
def main(args: dict[str, Any], console: Console) -> int:
    """Look and tell."""
    from wepystore.store.care import status

    found = status.look(open_store(args["ORCH"]))
    if args["--json"]:
        console.json(_json(found))
    else:
        for line in _lines(found):
            console.out(line)
    return 0 if found.whole else INCOMPLETE


def _lines(found: Status) -> Iterator[str]:
    yield f"store {found.path}"
    for kind in reversed(KINDS):
        amount = found.entries[kind]
        yield f"  {kind}: {amount.files}, {size_text(amount.size)}"
    for name, md5 in found.defaults.items():
        yield f"  default {name}: {md5}"
    for tag, md5 in found.tags.items():
        yield f"  tag {tag}: {md5}"
    yield from _first([_incomplete(item) for item in found.incomplete])
    if found.incomplete:
        store = Store(Path(found.path))
        lacking = dict.fromkeys(part for item in found.incomplete for part in item.missing)
        yield "  " + carriers.way([store.file(kind, ref.md5) for kind, ref in lacking])
    if found.elsewhere:
        yield "  " + whereabouts.told(Store(Path(found.path)), found.elsewhere)
    yield from _first([f"damaged: {path}: {why}" for path, why in sorted(found.damaged.items())])
    unnamed = "no run, tag or default needs it"
    yield from _first([f"{ONE[kind]} {md5}: {unnamed}" for kind, md5 in found.unnamed])
    if found.orphans.files:
        size = size_text(found.orphans.size)
        yield f"  {found.orphans.files} objects that nothing names, {size}; see 'wepy gc'"
    if found.leftovers.files:
        size = size_text(found.leftovers.size)
        yield f"  {found.leftovers.files} unfinished writes in tmp/, {size}"
    if found.quarantine:
        yield f"  {len(found.quarantine)} files in quarantine/, {size_text(found.quarantine_size)}"


def _first(lines: list[str]) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield "  " + line
    if len(lines) > _SHOWN:
        yield f"  … and {len(lines) - _SHOWN} more such; --json lists all"


def _incomplete(item: Incomplete) -> str:
    shown = ", ".join(f"{ONE[kind]} {ref.md5}" for kind, ref in item.missing[:2])
    more = f" and {len(item.missing) - 2} more" if len(item.missing) > 2 else ""
    return f"incomplete: {ONE[item.kind]} {item.md5}: without {shown}{more}"


def _json(found: Status) -> dict[str, Any]:
    return {
        "store": found.path,
        "entries": {kind: found.entries[kind]._asdict() for kind in KINDS},
        "defaults": found.defaults,
        "tags": found.tags,
        "incomplete": [
            {
                "kind": item.kind,
                "hash": item.md5,
                "missing": [{"kind": kind, **ref.to_json()} for kind, ref in item.missing],
            }
            for item in found.incomplete
        ],
        "elsewhere": [
            {"frames": md5, "recordings": list(by)} for md5, by in found.elsewhere.items()
        ],
        "damaged": found.damaged,
        "unnamed": [{"kind": kind, "hash": md5} for kind, md5 in found.unnamed],
        "orphans": found.orphans._asdict(),
        "leftovers": found.leftovers._asdict(),
        "quarantine": {"files": list(found.quarantine), "size": found.quarantine_size},
    }
