"""Show or set what the word 'default' stands for.

Usage:
  wepy default [--json] [ORCH]
  wepy default (snapshot|config) [ORCH]
  wepy default (snapshot|config) HASH
  wepy default (snapshot|config) ORCH HASH

Without HASH: prints the hash, or lists both defaults as 'snapshot HASH' and 'config HASH'. With it:
sets the default. HASH is a hash, its first digits or a tag. 'wepy run orch ORCH default …' begins
from the default snapshot, under the default configuration. What was the default stays in the store.

Options:
  --json  Print JSON.
"""

from __future__ import annotations

import os
from typing import Any

from wepystore.cli.common import looks_like_a_path, store_of
from wepystore.cli.console import Console
from wepystore.errors import DamagedError, FailedError
from wepystore.store import Store
from wepystore.store.names import ONE
from wepystore.store.places import is_place
from wepystore.store.resolving import resolve
from wepystore.store.store import DEFAULTS

_KINDS = {"snapshot": "snapshots", "config": "configs"}


class NoDefaultError(FailedError):
    """{path} has no default {kind}: 'wepy default {word} {path} HASH' sets one"""


def main(args: dict[str, Any], console: Console) -> int:
    """List, print or set."""
    word = next((word for word in _KINDS if args[word]), None)
    if word is None and args["ORCH"] in _KINDS and not os.path.isdir(args["ORCH"]):
        # Of the usage lines the first one fits this too.
        word, args["ORCH"] = args["ORCH"], None
    if word is not None and args["HASH"] is None:
        # One word is what it looks like: a store whose default is asked for, or a new default.
        place = args["ORCH"]
        if place is not None and not is_place(place) and not looks_like_a_path(place):
            args["ORCH"], args["HASH"] = None, place
    store = store_of(args, "HASH")
    if word is None:
        _list(store, args["--json"], console)
    elif args["HASH"] is None:
        md5 = store.ref(DEFAULTS[_KINDS[word]])
        if md5 is None:
            raise NoDefaultError(path=store.path, kind=ONE[_KINDS[word]], word=word)
        console.out(md5)
    else:
        _set(store, word, args["HASH"], console)
    return 0


def _list(store: Store, as_json: bool, console: Console) -> None:
    found = {word: store.ref(DEFAULTS[kind]) for word, kind in _KINDS.items()}
    if as_json:
        console.json(found)
        return
    for word, md5 in found.items():
        if md5 is not None:
            console.out(f"{word} {md5}")


def _set(store: Store, word: str, text: str, console: Console) -> None:
    kind = _KINDS[word]
    _, md5 = resolve(store, text, (kind,))
    try:
        before = store.ref(DEFAULTS[kind])
    except DamagedError:
        before = "what could not be read"  # It is about to be whole again.
    store.set_ref(DEFAULTS[kind], md5)
    if before != md5:
        console.note(f"default {word}: {before or 'none'} -> {md5}")
