"""What `dill.load` of an exported file calls, and the way to write such a file from memory.

The layout of the file is the store's affair (wepystore.store.bundle): it is read
and written there without any pickle. Here the objects come out of it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from wepystore.records.configuration import Configuration, decode_configuration
from wepystore.records.library import Remembering, encode
from wepystore.records.snapshot import Snapshot, decode_snapshot
from wepystore.store import bundle as files
from wepystore.store import legacy
from wepystore.store.pickles.pickled import fetch_from_entries
from wepystore.store.store import Store

Entries = dict[tuple[str, str], bytes]


def load(archive: bytes) -> Snapshot | Configuration:
    """The object in an exported file's archive, verified. `dill.load` calls this by name."""
    kind, md5, entries = files.unpack(archive, "the exported file")
    return decode(kind, md5, entries)


def decode(kind: str, md5: str, entries: Entries) -> Snapshot | Configuration:
    """The object of entries that `wepystore.store.bundle.read` gave."""

    manifest = legacy.manifest_of(kind, entries[kind, md5], md5)
    fetch = fetch_from_entries(manifest, entries, md5)
    if kind == "snapshots":
        return decode_snapshot(manifest, fetch, f"snapshot {md5}")
    return decode_configuration(manifest, fetch, f"configuration {md5}")


def save(thing: Snapshot | Configuration, path: str | os.PathLike[str]) -> str:
    """Write one self-contained file, as `wepy get` does; returns the hash. Replaces a file."""
    with tempfile.TemporaryDirectory(prefix="wepystore-") as scratch:
        store = Store.create(Path(scratch) / "one.orch")
        with store.batch() as batch:
            kind, ref = encode(thing, Remembering(batch, {}))
        files.write(store, kind, ref.md5, path)
    return ref.md5


def reduce(thing: Snapshot | Configuration) -> tuple[Any, tuple[bytes]]:
    """How a snapshot or configuration is pickled: as its own exported file's archive."""
    with tempfile.TemporaryDirectory(prefix="wepystore-") as scratch:
        path = Path(scratch) / "one"
        save(thing, path)
        data = path.read_bytes()
    start = len(files.HEAD) + 8
    return load, (data[start : -len(files.TAIL)],)
