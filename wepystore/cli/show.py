"""Show what a snapshot, a configuration or a run consists of.

Usage:
  wepy show [options] HASH
  wepy show [options] ORCH HASH

HASH is a hash, its first digits, a tag, 'default', or 'START,END' for runs. Parts that are
pickled are marked so; they are never opened here.

Options:
  --json  Print the manifest, with what is known of each object, as JSON.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli import describe
from wepystore.cli.common import find_runs, names_of, open_store
from wepystore.cli.console import Console
from wepystore.store import Store
from wepystore.store.names import ONE

INCOMPLETE = 3


def main(args: dict[str, Any], console: Console) -> int:
    """Show one entry, or the runs between two snapshots."""
    store = open_store(args["ORCH"])
    found = _find(store, args["HASH"])
    if args["--json"]:
        shown = [describe.as_json(store, kind, md5) for kind, md5 in found]
        console.json(shown[0] if len(shown) == 1 else shown)
    names = names_of(store, console)
    status = 0
    for kind, md5 in found:
        if not args["--json"]:
            text = list(describe.lines(store, kind, md5))
            note = f" ({', '.join(names[md5])})" if md5 in names else ""
            console.out(f"{ONE[kind]} {md5}{note}")
            for line in text:
                console.out("  " + line)
        missing = store.missing(kind, md5)
        for part, ref in missing:
            console.warn(f"{ONE[part]} {ref.md5} is missing, or has the wrong size")
        if missing:
            status = INCOMPLETE
    return status


def _find(store: Store, text: str) -> list[tuple[str, str]]:
    if "," not in text:
        return [store.resolve(text, ("snapshots", "configs", "runs", "objects"))]
    first, _, second = text.partition(",")
    return [("runs", run.md5) for run in find_runs(store, first.strip(), second.strip())]
