"""Snapshots and configurations as wepy 1.x writes them; see wepystore.store.formats.

wepy 1.x serialises one to a pickle, compresses it with zlib, encodes that as base64 and names it
by the MD5 of the text. The text is the entry: complete in itself, naming nothing.
"""

from __future__ import annotations

import binascii
import re
import zlib
from array import array
from typing import Any

from wepystore.errors import FailedError

#: "type" of what stands in for the manifest of such an entry.
TYPE = "wepy 1.x"

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_CHUNK = 1 << 20
# The class that a pickle makes is named within its first bytes.
_CLASSES = {b"SimSnapshot": "snapshots", b"orchestration.configuration": "configs"}
# OpenMM pickles a State as its XML; of one state there is one, however many walkers have it.
_STATE, _STATE_ENDS = re.compile(rb"<State [^<>]*>"), b"</State>"
_POSITION = re.compile(rb'<Position x="([^"<>]{1,30})" y="([^"<>]{1,30})" z="([^"<>]{1,30})"/>')
_MOST_BYTES = 1 << 28


class LegacyEntryError(FailedError):
    """{what} was written by wepy 1.x and is a pickle of wepy's own classes: where wepy is installed
    '{to_run}' runs it and '{to_convert}' makes a native one of it"""


def recognises(data: bytes) -> bool:
    """Whether bytes that begin as base64 of a zlib header are base64 as a whole."""
    if len(data) % 4:
        return False
    padding = 2 if data.endswith(b"==") else 1 if data.endswith(b"=") else 0
    return not data[: len(data) - padding].translate(None, _ALPHABET)


def kind_of(data: bytes) -> str | None:
    """The kind of entry, by the name of the class that the pickle begins with; None if it names
    neither. Nothing is unpickled (S9)."""
    head = unpacked(data[:4096], 256)
    return next((kind for name, kind in _CLASSES.items() if name in head), None)


def unpacked(data: bytes, most: int) -> bytes:
    """The pickle in an entry, the first `most` bytes of it; b"" if it is damaged."""
    try:
        return zlib.decompressobj().decompress(binascii.a2b_base64(data), most)
    except (binascii.Error, zlib.error):
        return b""


def positions(data: bytes) -> list[array[float]]:
    """The positions of the states in a snapshot, three numbers for each atom, nm, as far as they
    stand in it as a text: its pickle is not opened."""
    text, place = unpacked(data, _MOST_BYTES), 0
    found = []
    # What begins and never ends is looked for once, and numbers are no objects: of a stranger's
    # text either could take any time and memory.
    while (begin := _STATE.search(text, place)) is not None:
        place = text.find(_STATE_ENDS, begin.end())
        if place < 0:
            break
        numbers = array("d")
        try:
            for row in _POSITION.finditer(text, begin.end(), place):
                numbers.extend(map(float, row.groups()))
        except ValueError:
            return []
        if numbers:
            found.append(numbers)
    return found


def decode(kind: str, data: bytes, where: str) -> Any:
    """What is in an entry. Runs its pickle; raises as `load` of loading.py."""
    from wepystore.compat.wepy.configurations import configuration_of
    from wepystore.compat.wepy.loading import load, snapshot_of

    found = load(kind, data, where)
    return snapshot_of(found, where) if kind == "snapshots" else configuration_of(found)[0]


def refusal(where: str) -> Exception:
    """What to raise where an entry of this package is needed."""
    return LegacyEntryError(what=where)


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
