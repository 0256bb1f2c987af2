"""What `dill.load` of an exported file calls, and the way to write such a file from memory.

The layout of the file is the store's affair (wepystore.store.exports): it is read
and written there without any pickle. Here the objects come out of it.
"""

from __future__ import annotations

import copyreg
import os
from typing import Any

from wepystore.records.configuration import (
    Configuration,
    decode_configuration,
    encode_configuration,
)
from wepystore.records.sinks import Memory, Remembering
from wepystore.records.snapshot import Snapshot, decode_snapshot, encode_snapshot
from wepystore.records.values import Sink
from wepystore.store import exports as files
from wepystore.store.manifests import Manifest
from wepystore.store.names import ONE, Ref


def load(archive: bytes) -> Snapshot | Configuration:
    """The object in an exported file's archive, verified. `dill.load` calls this by name."""
    kind, md5, entries = files.unpack(archive, "the exported file")
    made: Snapshot | Configuration = decode(Manifest.among(entries, kind, md5, md5))
    return made


def decode(found: Manifest) -> Any:
    """The snapshot or configuration of a manifest. Loads its pickled parts, if it has any (S9)."""
    native = decode_snapshot if found.kind == "snapshots" else decode_configuration
    return native(found.value, found.fetch, f"{ONE[found.kind]} {found.ref.md5}")


def encode(thing: Snapshot | Configuration, sink: Sink) -> tuple[str, Ref]:
    """Put a snapshot or configuration into `sink`; its kind and Ref."""
    if isinstance(thing, Snapshot):
        return "snapshots", encode_snapshot(thing, sink)
    return "configs", encode_configuration(thing, sink)


def save(thing: Snapshot | Configuration, path: str | os.PathLike[str]) -> str:
    """Write one self-contained file; returns the hash. Replaces a file."""
    found = encoded(thing)
    files.write_manifest(found, path)
    return found.ref.md5


def reduce(thing: Snapshot | Configuration) -> tuple[Any, tuple[bytes]]:
    """How a snapshot or configuration is pickled: as its own exported file's archive."""
    return load, (files.archive(encoded(thing)),)


def encoded(thing: Snapshot | Configuration) -> Manifest:
    """The entry that it would be in a store, in memory, with all that it names."""
    memory = Memory()
    kind, ref = encode(thing, Remembering(memory, {}))
    return Manifest.among(memory.entries, kind, ref.md5, ref.md5)


# By every pickler of this process. Not as a method of theirs: they would have to know this module.
copyreg.pickle(Snapshot, reduce)
copyreg.pickle(Configuration, reduce)
