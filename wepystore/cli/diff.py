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
from wepystore.store import Store, exports
from wepystore.store.errors import WrongKindError
from wepystore.store.manifests import Manifest
from wepystore.store.merge.diff import differences
from wepystore.store.names import ONE
from wepystore.store.resolving import resolve

DIFFERENT = 1
_WIDTH = 60


def main(args: dict[str, Any], console: Console) -> int:
    """Compare."""
    hashes = [name for name in ("A", "B") if not os.path.isfile(args[name])]
    store = store_of(args, *hashes) if hashes else None
    a = _manifest(store, args["A"], ("snapshots", "configs", "runs"))
    b = _manifest(store, args["B"], (a.kind, "snapshots", "configs", "runs"))
    if b.kind != a.kind:
        raise WrongKindError(text=args["B"], found=ONE[b.kind], expected=ONE[a.kind])
    found = differences(a, b)
    if args["--json"]:
        console.json([vars(difference) for difference in found])
    else:
        for each in found:
            how = f" ({each.how})" if each.how else ""
            then, now = (cut("nothing" if t is None else t, _WIDTH) for t in (each.a, each.b))
            console.out(f"{each.path}: {then} -> {now}{how}")
    return DIFFERENT if found and args["--exit-code"] else 0


def _manifest(store: Store | None, text: str, kinds: tuple[str, ...]) -> Manifest:
    if store is None or os.path.isfile(text):
        kind, md5, entries = exports.read(text)
        return Manifest.among(entries, kind, md5, text)
    return store.read_manifest(*resolve(store, text, tuple(dict.fromkeys(kinds))))
