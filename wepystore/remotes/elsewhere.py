"""A store that is elsewhere: the way to it, what it holds, and the source that it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wepystore.errors import WepystoreError
from wepystore.remotes.errors import NoRoomError
from wepystore.store import Store
from wepystore.store.carriers import FILES
from wepystore.store.files import MAX_MANIFEST
from wepystore.store.merge.source import Listed, Progress
from wepystore.store.names import KINDS, MARK, Name, Ref, is_tag, path_of
from wepystore.store.store import DEFAULTS, DIRECTORIES

# No other name of a remote's listing is ever used as a path here (S10).
_ENTRY = re.compile(
    rf"(?:({'|'.join(kind for kind in KINDS if kind != 'runs')})/([0-9a-f]{{2}})/(\2[0-9a-f]{{30}})"
    r"|(runs)/([0-9a-f]{2})/(\5[0-9a-f]{30})\.json)"
)
# A ref is a hash and a newline; nobody is to make us fetch a gigabyte for one.
_REF_SIZE = 100
# What is in a store before it has its mark (see Store.create).
_MADE_FIRST = {*DIRECTORIES, "refs/tags", *FILES}
# What rsync calls the first files of a store while it writes them.
_COMING = re.compile(r"\.\.?(?:gitattributes|wepystore\.json)\.\w{6}")


@dataclass(frozen=True)
class Inventory:
    """What a store that is elsewhere holds."""

    is_store: bool
    exists: bool = True
    holds: str | None = None
    """When it is no store: a name in that directory, if there is any."""
    half_made: bool = False
    """Whether it is no store yet, and all there is a `create` leaves that was killed or goes on."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Bytes of every entry, by kind and MD5."""
    refs: tuple[str, ...] = ()
    """Paths of the refs in it."""

    def fault(self) -> str:
        """Why what was listed is not a store."""
        if not self.exists:
            return "there is no such directory"
        holds = f"; it holds {self.holds}" if self.holds else "; it is empty"
        return f"it has no {MARK}{holds}"


def no_store(paths: Iterable[str]) -> Inventory:
    """What is in a directory without a mark, from the paths in it, those of directories too."""
    names = {path.rstrip("/") for path in paths} - {"", "."}
    first = min((name.partition("/")[0] for name in names), default=None)
    half_made = all(name in _MADE_FIRST or _COMING.fullmatch(name) for name in names)
    return Inventory(False, holds=first, half_made=half_made)


def inventory_of(files: Iterable[tuple[str, int]]) -> Inventory:
    """What a store holds, from (path in it, bytes); paths that mean nothing are passed over."""
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
    return Inventory(True, sizes=sizes, refs=tuple(sorted(refs)))


class Transport(Protocol):
    """A way to another place. Paths are relative to the store there; `into` and `root` are
    directories here with the same layout."""

    @property
    def address(self) -> str:
        """As the user typed it."""

    def listing(self) -> Inventory:
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


class Elsewhere(Listed):
    """A store behind a Transport, as a source. What it holds is known from its listing; what has
    come of it lies in a folder of this machine, with the layout of a store."""

    def __init__(self, way: Transport, found: Inventory, folder: Path, target: Path) -> None:
        """`target`: for whom it comes, for a message. The mark and the refs come at once: what
        Store.open raises is raised for a store there that cannot be read."""
        super().__init__(way.address, found.sizes)
        self._way = way
        self._refs = found.refs
        self._near = Store(folder)
        self._target = target
        if found.is_store:
            # Refs change, and one hash in the place of another has the same size.
            shutil.rmtree(folder / "refs", ignore_errors=True)
            (folder / MARK).unlink(missing_ok=True)
            way.fetch([MARK, *found.refs], folder)
            with self._in_user_words():
                Store.open(folder)

    @contextmanager
    def _in_user_words(self) -> Iterator[None]:
        """What is said of a file in the folder is said of that which it came from."""
        try:
            yield
        except WepystoreError as error:
            folder = str(self._near.path)
            fields = {key: str(x).replace(folder, self.label) for key, x in error.fields.items()}
            raise type(error)(**fields) from None

    def is_there(self, kind: str, md5: str) -> bool:
        return self.has(kind, md5) and (kind, md5) not in self.faults

    def is_near(self, kind: str, md5: str) -> bool:
        size = self.size(kind, md5)
        return size is not None and self._near.size(kind, md5) == size

    def fetch(self, names: Sequence[Name], progress: Progress | None = None) -> None:
        """As Source.fetch. Raises BrokenOffError, NoRoomError."""
        wanted = {}
        total = 0
        for kind, md5 in names:
            size = self.size(kind, md5) or 0
            if kind != "objects" and size > MAX_MANIFEST:
                self.faults[kind, md5] = f"its manifest has {size} bytes, which none has"
            elif not self.is_near(kind, md5):
                wanted[path_of(kind, md5)] = kind, md5
                total += size
        free = shutil.disk_usage(self._near.path).free
        if total > free:
            raise NoRoomError(path=self._target, free=free, needed=total)
        problems = self._way.fetch(list(wanted), self._near.path, progress, total)
        self.faults |= {wanted[path]: why for path, why in problems.items()}
        for kind, md5 in wanted.values():
            came = self._near.size(kind, md5)
            if came is not None:
                self._sizes[kind][md5] = came
            elif (kind, md5) not in self.faults:
                self._sizes[kind].pop(md5, None)

    def read(self, kind: str, md5: str, ref: Ref | None = None) -> bytes:
        with self._in_user_words():
            return self._near.read(kind, md5, ref)

    def locate(self, kind: str, md5: str) -> str:
        return self._near.locate(kind, md5)

    def where(self, kind: str, md5: str) -> str:
        return f"{self.label}/{path_of(kind, md5)}"

    def ref(self, name: str) -> str | None:
        with self._in_user_words():
            return self._near.ref(name)

    def has_ref(self, name: str) -> bool:
        return f"refs/{name}" in self._refs

    def tag_names(self) -> list[str]:
        return self._near.tag_names()
