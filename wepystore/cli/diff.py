"""Show what differs between two snapshots, configurations or runs.

Usage:
  wepy diff [options] A B
  wepy diff [options] ORCH A B

A and B are hashes, first digits, tags, 'default', or files of 'wepy get'. Prints one difference
a line: where, what A has there, what B has there. Arrays and texts are compared by content,
pickled parts by their hash; nothing is loaded.

Options:
  -e --exit-code  Exit with status 1 if anything differs.
  --json          Print JSON, with all values whole.
"""

from __future__ import annotations

import os
from typing import Any

from wepystore.cli.common import cut, store_of
from wepystore.cli.console import Console
from wepystore.store import Store, bundle, legacy
from wepystore.store.errors import WrongKindError
from wepystore.store.merge.diff import Side, differences
from wepystore.store.names import ONE
from wepystore.store.pickles.pickled import fetch_from_entries

DIFFERENT = 1
_WIDTH = 60


def main(args: dict[str, Any], console: Console) -> int:
    """Compare."""
    hashes = [name for name in ("A", "B") if not os.path.isfile(args[name])]
    store = store_of(args, *hashes) if hashes else None
    kind, a = _side(store, args["A"], ("snapshots", "configs", "runs"))
    other, b = _side(store, args["B"], (kind, "snapshots", "configs", "runs"))
    if other != kind:
        raise WrongKindError(text=args["B"], found=ONE[other], expected=ONE[kind])
    found = differences(a, b)
    if args["--json"]:
        console.json([vars(difference) for difference in found])
    else:
        for each in found:
            how = f" ({each.how})" if each.how else ""
            then, now = (cut("nothing" if t is None else t, _WIDTH) for t in (each.a, each.b))
            console.out(f"{each.path}: {then} -> {now}{how}")
    return DIFFERENT if found and args["--exit-code"] else 0


def _side(store: Store | None, text: str, kinds: tuple[str, ...]) -> tuple[str, Side]:
    if store is None or os.path.isfile(text):
        kind, md5, entries = bundle.read(text)
        manifest = legacy.manifest_of(kind, entries[kind, md5], text)
        return kind, Side(manifest, fetch_from_entries(manifest, entries, text))
    kind, md5 = store.resolve(text, tuple(dict.fromkeys(kinds)))
    return kind, Side(store.manifest(kind, md5), lambda ref: store.read("objects", ref.md5, ref))
