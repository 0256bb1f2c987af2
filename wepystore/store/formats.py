"""Snapshots and configurations in the formats of other programs (I3): kept byte for byte.

Such an entry is recognised by how it begins: all others of these kinds are JSON. What else there
is to know of it says a module that is imported when such bytes are met.
"""

from __future__ import annotations

from array import array
from importlib import import_module
from typing import Any, Protocol, cast

from wepystore.store import canonical
from wepystore.store.errors import BadJSONError


class Format(Protocol):
    """What a module knows of the entries of another program; each is complete in itself and names
    nothing."""

    TYPE: str

    def recognises(self, data: bytes) -> bool:
        """Whether these bytes are such an entry."""

    def kind_of(self, data: bytes) -> str | None:
        """ "snapshots" or "configs", as far as that can be told without opening it (S9)."""

    def fault(self, data: bytes) -> str | None:
        """Why bytes that look like an entry are not whole; None if they are."""

    def unpacked(self, data: bytes, most: int) -> bytes:
        """The pickle in it, so many bytes of it at most; b"" if it is damaged."""

    def positions(self, data: bytes) -> list[array[float]]:
        """The positions of the states in a snapshot, three numbers for each atom, nm, as far as
        they can be told without opening it."""

    def decode(self, kind: str, data: bytes, where: str) -> Any:
        """The Snapshot or Configuration in it. Runs its pickle."""

    def refusal(self, where: str) -> Exception:
        """What to raise where an entry of this package is needed."""


#: "type" of what stands in for the manifest -> how the entries begin, and who knows them. Of wepy
#: 1.x: as base64 of a zlib header does, for the four levels of compression that it tells apart.
FORMATS = {"wepy 1.x": ((b"eA", b"eF", b"eJ", b"eN"), "wepystore.compat.wepy.entries")}

#: The kinds of entries that there are in other formats.
KINDS = ("snapshots", "configs")

#: How entries in other formats begin.
HEADS = tuple(head for heads, _ in FORMATS.values() for head in heads)


def format_of(data: bytes) -> Format | None:
    """The format of another program that an entry's bytes are in; None for one of ours."""
    for name, (heads, _) in FORMATS.items():
        if data.startswith(heads) and _known(name).recognises(data):
            return _known(name)
    return None


def manifest_of(kind: str, data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in an entry's bytes; for one in another format what stands in for it: its
    type, kind and size. Raises BadJSONError, naming `what`."""
    found = format_of(data) if kind in KINDS else None
    if found is not None:
        return {"type": found.TYPE, "kind": kind, "size": len(data)}
    value = canonical.load_object(data, what)
    if stands_for(value) is not None:
        raise BadJSONError(what=what, why="it is JSON, and says that it is of another program")
    return value


def stands_for(manifest: Any) -> Format | None:
    """The format of the entry for which this stands, if `manifest_of` gave it for one."""
    name = manifest.get("type") if isinstance(manifest, dict) else None
    return _known(name) if isinstance(name, str) and name in FORMATS else None


def _known(name: str) -> Format:
    return cast(Format, import_module(FORMATS[name][1]))
