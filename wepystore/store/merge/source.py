"""What a reconcile takes from: the protocol that every kind of source keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from wepystore.store.manifests import Manifest
from wepystore.store.names import Name, Ref

#: progress(bytes done, bytes in all)
Progress = Callable[[int, int], None]


class Source(Protocol):
    """Entries and refs that are somewhere: in a store of this machine (a Store is a source), in one
    that is elsewhere, in a database. Planning, applying and repairing ask for nothing else, so a
    new kind of source is a class with these methods."""

    @property
    def label(self) -> str:
        """What the user calls it, for messages."""

    @property
    def faults(self) -> Mapping[Name, str]:
        """What could not be read there, and why."""

    def hashes(self, kind: str) -> list[str]:
        """The hashes of all entries of a kind, sorted."""

    def has(self, kind: str, md5: str) -> bool:
        """Whether it holds an entry (its bytes are not looked at)."""

    def size(self, kind: str, md5: str) -> int | None:
        """The bytes of an entry; None when it is not there."""

    def is_there(self, kind: str, md5: str) -> bool:
        """Whether anything has this name now, be it damaged or a link to nothing."""

    def is_near(self, kind: str, md5: str) -> bool:
        """Whether `read` and `locate` give it as things are; else it has to be fetched."""

    def fetch(self, names: Sequence[Name], progress: Progress | None = None) -> None:
        """Have these near. What has gone is no longer listed afterwards; what could not be read is
        among the faults. Raises what a transport raises (wepystore/remotes/errors.py)."""

    def read(self, kind: str, md5: str, ref: Ref | None = None) -> bytes:
        """The bytes of an entry that is near, verified (S10). Raises DamagedError, OSError."""

    def locate(self, kind: str, md5: str) -> str:
        """The path of the file of an entry that is near. Its bytes are not verified."""

    def where(self, kind: str, md5: str) -> str:
        """An entry's place in the user's words, for messages."""

    def ref(self, name: str) -> str | None:
        """The hash that a ref holds; None when it is not set. Raises DamagedError."""

    def has_ref(self, name: str) -> bool:
        """Whether there is a ref of this name, be it damaged."""

    def tag_names(self) -> list[str]:
        """The names of all tags, sorted."""


class Listed:
    """Base of sources that know what they hold: `sizes` are the bytes of each entry, by kind and
    MD5."""

    def __init__(self, label: str, sizes: dict[str, dict[str, int]]) -> None:
        self.label = label
        self.faults: dict[Name, str] = {}
        self._sizes = sizes

    def hashes(self, kind: str) -> list[str]:
        return sorted(self._sizes.get(kind, ()))

    def has(self, kind: str, md5: str) -> bool:
        return md5 in self._sizes.get(kind, ())

    def size(self, kind: str, md5: str) -> int | None:
        return self._sizes.get(kind, {}).get(md5)


def bring_near(wanted: Mapping[Source, Sequence[Name]], progress: Progress | None = None) -> None:
    """Have near, from each source, what is wanted of it."""
    sizes = {
        source: sum(source.size(*name) or 0 for name in names) for source, names in wanted.items()
    }
    total = sum(sizes.values())
    done = 0

    def told(now: int, _: int) -> None:
        if progress is not None:
            progress(done + now, total)

    for source, names in wanted.items():
        source.fetch(names, told)
        done += sizes[source]


def read_manifest(source: Source, kind: str, md5: str) -> Manifest:
    """A snapshot, configuration or run that is near. Raises as Source.read, and BadJSONError."""

    def fetch(ref: Ref) -> bytes:
        return source.read("objects", ref.md5, ref)

    return Manifest.of(kind, source.read(kind, md5), fetch, source.where(kind, md5))
