"""Which entries are complete (S5): what several of many name is looked at once. And the one thing
that an entry may lack all the same: the frames of a recording may be elsewhere (D4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from wepystore.errors import DamagedError
from wepystore.store.names import Ref

Part = tuple[str, Ref]


def may_be_elsewhere(by: str, kind: str) -> bool:
    """Whether something of this kind, which an entry of the kind `by` names, may be elsewhere: as a
    whole, so that there is nothing of its name here."""
    return (by, kind) == ("recordings", "frames")


class _Entries(Protocol):
    """What is asked of a store, or of what is like one."""

    def size(self, kind: str, md5: str) -> int | None: ...

    def is_there(self, kind: str, md5: str) -> bool: ...

    def references(self, kind: str, md5: str, ref: Ref | None = None) -> Sequence[Part]: ...


class Completeness:
    """What entries of a store lack, as of the first time that each was looked at.

    Parameters
    ----------
    store : Store, or what is like one
    whole : bool
        Whether what may be elsewhere is lacking too where it is.
    """

    def __init__(self, store: _Entries, whole: bool = False) -> None:
        self._store, self._whole = store, whole
        self._sizes: dict[tuple[str, str], int | None] = {}
        self._below: dict[Part, tuple[Part, ...] | DamagedError] = {}

    def lacking(self, parts: Iterable[Part], by: str = "") -> list[Part]:
        """Of what a manifest of the kind `by` names, directly or through others, what is not here.

        Only existence and size are looked at, and manifests verified. Raises MissingError,
        DamagedError.
        """
        found: dict[Part, None] = {}
        named = []
        for part in parts:
            kind, ref = part
            size = self._size(kind, ref.md5)
            # A link to what is not here is a part that is lacking, as any other.
            is_away = size is None and not self._store.is_there(kind, ref.md5)
            if is_away and not self._whole and may_be_elsewhere(by, kind):
                continue
            if size != ref.size:
                found[part] = None
            elif kind != "objects":
                named.append(part)
        for part in named:
            found.update(dict.fromkeys(self._lacking_below(part)))
        return list(found)

    def _size(self, kind: str, md5: str) -> int | None:
        name = kind, md5
        if name not in self._sizes:
            self._sizes[name] = self._store.size(kind, md5)
        return self._sizes[name]

    def _lacking_below(self, part: Part) -> Sequence[Part]:
        found = self._below.get(part)
        if found is None:
            kind, ref = part
            # Should made-up manifests name each other in a circle, there is nothing new in it.
            self._below[part] = ()
            try:
                found = tuple(self.lacking(self._store.references(kind, ref.md5, ref), kind))
            except DamagedError as error:
                found = error
            self._below[part] = found
        if isinstance(found, DamagedError):
            raise found.with_traceback(None)
        return found
