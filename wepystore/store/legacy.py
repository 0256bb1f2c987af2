"""Snapshots and configurations of wepy 1.x (I3): kept byte for byte, never opened.

wepy 1.x serialises one to a pickle, compresses it with zlib, encodes that as base64 and names it
by the MD5 of the text. The text is the entry: complete in itself, naming nothing. All other
entries of these kinds are JSON, so that nobody can take the one for the other.
"""

from __future__ import annotations

import binascii
import zlib
from typing import Any

from wepystore.errors import FailedError
from wepystore.store import canonical
from wepystore.store.names import ONE

#: "type" of what stands in for the manifest of such an entry.
TYPE = "wepy 1.x"

#: How base64 of a zlib header begins, for the four levels of compression that it tells apart.
HEADS = (b"eA", b"eF", b"eJ", b"eN")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_CHUNK = 1 << 20
# The class that a pickle makes is named within its first bytes.
_CLASSES = {b"SimSnapshot": "snapshots", b"orchestration.configuration": "configs"}


class LegacyEntryError(FailedError):
    """{what} was written by wepy 1.x and is a pickle of wepy's own classes: where wepy is installed
    '{to_run}' runs it and '{to_convert}' makes a native one of it"""


def is_legacy(data: bytes) -> bool:
    """Whether these bytes are what wepy 1.x makes of a snapshot or a configuration."""
    if len(data) % 4 or not data.startswith(HEADS):
        return False
    padding = 2 if data.endswith(b"==") else 1 if data.endswith(b"=") else 0
    return not data[: len(data) - padding].translate(None, _ALPHABET)


def manifest_of(kind: str, data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in an entry's bytes; for one of wepy 1.x what stands in for it: its type,
    kind and size. Raises BadJSONError, naming `what`."""
    if kind in ("snapshots", "configs") and is_legacy(data):
        return {"type": TYPE, "kind": kind, "size": len(data)}
    return canonical.load_object(data, what)


def is_stand_in(manifest: Any) -> bool:
    """Whether this is what `manifest_of` gives for an entry of wepy 1.x."""
    return isinstance(manifest, dict) and manifest.get("type") == TYPE


def in_words(manifest: dict[str, Any]) -> str:
    """One line about an entry of wepy 1.x."""
    kind = ONE.get(manifest["kind"], "entry")
    return f"wepy 1.x {kind}, {manifest['size']} bytes, pickled; shown without opening"


def kind_of(data: bytes) -> str | None:
    """The kind of entry, by the name of the class that the pickle begins with; None if it names
    neither. Nothing is unpickled (S9)."""
    try:
        head = zlib.decompressobj().decompress(binascii.a2b_base64(data[:4096]), 256)
    except (binascii.Error, zlib.error):
        return None
    return next((kind for name, kind in _CLASSES.items() if name in head), None)


def fault(data: bytes) -> str | None:
    """Why this text, though it looks like one of wepy 1.x, is not whole; None if it is.

    It is decoded and decompressed to its end, where zlib keeps a checksum, and thrown away.
    """
    stream = zlib.decompressobj()
    try:
        for first in range(0, len(data), _CHUNK):
            pending = binascii.a2b_base64(data[first : first + _CHUNK])
            while pending:
                stream.decompress(pending, _CHUNK)
                pending = stream.unconsumed_tail
    except (binascii.Error, zlib.error):
        return "the compressed data in it are damaged"
    if not stream.eof:
        return f"it is truncated after {len(data)} bytes"
    return "more follows its end" if stream.unused_data else None
