"""A store that is elsewhere, as far as it is known here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wepystore.store import Store
from wepystore.store.carriers import FILES
from wepystore.store.names import KINDS, is_tag
from wepystore.store.store import DEFAULTS, DIRECTORIES

#: progress(bytes done, bytes in all)
Progress = Callable[[int, int], None]

# No other name of a remote's listing is ever used as a path here (S10).
_ENTRY = re.compile(
    r"(?:(objects|configs|snapshots)/([0-9a-f]{2})/(\2[0-9a-f]{30})"
    r"|(runs)/([0-9a-f]{2})/(\5[0-9a-f]{30})\.json)"
)
# A ref is a hash and a newline; nobody is to make us fetch a gigabyte for one.
_REF_SIZE = 100
# What is in a store before it has its mark (see Store.create).
_MADE_FIRST = {*DIRECTORIES, "refs/tags", *FILES}
# What rsync calls the first files of a store while it writes them.
_COMING = re.compile(r"\.\.?(?:gitattributes|wepystore\.json)\.\w{6}")


@dataclass(frozen=True)
class Listing:
    """What a store that is elsewhere holds."""

    is_store: bool
    exists: bool = True
    foreign: str | None = None
    """When it is no store: a name in that directory, if there is any."""
    half_made: bool = False
    """Whether it is no store yet, and all there is a `create` leaves that was killed or goes on."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Bytes of every entry, by kind and MD5."""
    refs: tuple[str, ...] = ()


def no_store(paths: Iterable[str]) -> Listing:
    """The listing of a directory without a mark, from the paths in it, those of directories too."""
    names = {path.rstrip("/") for path in paths} - {"", "."}
    foreign = min((name.partition("/")[0] for name in names), default=None)
    half_made = all(name in _MADE_FIRST or _COMING.fullmatch(name) for name in names)
    return Listing(False, foreign=foreign, half_made=half_made)


def listing_of(files: Iterable[tuple[str, int]]) -> Listing:
    """A store's listing from (path in it, bytes); paths that mean nothing are passed over."""
    sizes: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    refs = []
    for path, size in files:
        found = _ENTRY.fullmatch(path)
        if found is not None:
            sizes[found[1] or found[4]][found[3] or found[6]] = size
        elif path.startswith("refs/") and size <= _REF_SIZE:
            name = path.removeprefix("refs/")
            if name in DEFAULTS.values() or (
                name.startswith("tags/") and is_tag(name.removeprefix("tags/"))
            ):
                refs.append(path)
    return Listing(True, sizes=sizes, refs=tuple(sorted(refs)))


class Transport(Protocol):
    """A way to another place. Paths are relative to the store there; `into` and `root` are
    directories here with the same layout."""

    @property
    def address(self) -> str:
        """As the user typed it."""

    def listing(self) -> Listing:
        """What is there. Raises UnreachableError, NotInstalledError."""

    def fetch(
        self, paths: Sequence[str], into: Path, progress: Progress | None = None, total: int = 0
    ) -> dict[str, str]:
        """Bring files; each is whole when it has its name. Returns why those that are there and
        could not be read stayed out; what has gone meanwhile is just not there afterwards.
        Raises BrokenOffError."""

    def create(self) -> None:
        """Make an empty store there. Raises CannotWriteThereError."""

    def send(
        self, paths: Sequence[str], root: Path, progress: Progress | None = None, total: int = 0
    ) -> None:
        """Put files there that are not there yet; each is whole when it has its name. Raises
        BrokenOffError."""


class Mirror(Store):
    """What `reconcile` sees of such a store: `list`, `has` and `size` tell what is there, `file`
    and `read` what has been brought to the staging folder `path`; refs are all brought."""

    def __init__(self, path: Path, listing: Listing) -> None:
        super().__init__(path)
        self.listing = listing
        self._sizes = listing.sizes

    def settle(self, path: Path) -> None:
        """Take another staging folder, while there is nothing in the first."""
        Store.__init__(self, path)

    def hashes(self, kind: str) -> list[str]:
        return sorted(self._sizes.get(kind, ()))

    def has(self, kind: str, md5: str) -> bool:
        return md5 in self._sizes.get(kind, ())

    def size(self, kind: str, md5: str) -> int | None:
        return self._sizes.get(kind, {}).get(md5)

    def is_staged(self, kind: str, md5: str) -> bool:
        """Whether the file is here, with the size it has there."""
        try:
            return self.file(kind, md5).stat().st_size == self.size(kind, md5)
        except FileNotFoundError:
            return False
