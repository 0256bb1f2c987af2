"""The store: a directory of files named by their MD5 (see docs/format.md)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.durable import make_directory, sync_directory
from wepystore.errors import WepystoreError, way_out
from wepystore.store import canonical, carriers, files, names
from wepystore.store.completeness import Completeness
from wepystore.store.errors import (
    BadJSONError,
    DamagedEntryError,
    DamagedMarkError,
    MissingError,
    NewerFormatError,
    NoSuchStoreError,
    NotAStoreError,
    NotEmptyError,
    StoreExistsError,
    WrongKindError,
)
from wepystore.store.manifests import Manifest
from wepystore.store.names import KINDS, MARK, ONE, Ref, difference
from wepystore.store.places import CHECKPOINT

if TYPE_CHECKING:
    from wepystore.store.batch import Batch
    from wepystore.store.publish import Data, Workers

FORMAT = 1
# Versions do not go so far: a larger number is damage.
_NO_FORMAT = 10**6
# What is in the file MARK of every store.
MARKED = canonical.dumps({"format": FORMAT, "type": "store"})
DIRECTORIES = (*KINDS, "refs", "tmp", "quarantine")
_HEX_DIGITS = b"0123456789abcdef"
_UNREADABLE = (FileNotFoundError, NotADirectoryError, DamagedEntryError)
DEFAULTS = {"snapshots": "default-snapshot", "configs": "default-config"}


class Store:
    """A store that is there, as Store.open(path) finds it and Store.create(path) makes it.

    It holds no lock and no handle. A kind of entry is "snapshots", "runs" or what else is in KINDS,
    a ref "default-snapshot", "default-config" or "tags/NAME".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: What the user calls it, for messages.
        self.label = self._root = os.fspath(path)

    def __repr__(self) -> str:
        return f"Store({self._root!r})"

    def __fspath__(self) -> str:
        return self._root

    # ---- the store itself

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Store:
        """Make an empty store; its directory may be there if it is empty, or a half-made store.

        Of several at once, just one makes it. Raises StoreExistsError, NotEmptyError.
        """
        from wepystore.store import publish

        root = Path(path)
        if os.path.lexists(root / MARK):
            raise StoreExistsError(path=root)
        if root.exists():
            foreign = _foreign(root)
            if os.path.lexists(root / MARK):
                # Made since, and what was found in it are its first entries.
                raise StoreExistsError(path=root)
            if foreign:
                raise NotEmptyError(path=root, found=foreign)
        changed = make_directory(root)
        for name in DIRECTORIES:
            changed |= make_directory(root / name)
        changed |= make_directory(root / "refs" / "tags")
        if not os.path.lexists(root / carriers.GIT_ATTRIBUTES):
            # Somebody who makes it at the same time may have written it since.
            with suppress(FileExistsError):
                publish.write_file(root, root / carriers.GIT_ATTRIBUTES, carriers.GIT_RULES)
        for directory in changed:
            sync_directory(directory)
        # Last: a directory with this file in it is a store.
        try:
            publish.write_file(root, root / MARK, MARKED)
        except FileExistsError:
            raise StoreExistsError(path=root) from None
        return cls(root)

    @classmethod
    def ensure(cls, path: str | os.PathLike[str]) -> Store:
        """The store at a path, made if it is not there or only half-made, by any number at once.

        Raises NotEmptyError, and what open raises for what is damaged there.
        """
        try:
            return cls.create(path)
        except StoreExistsError:
            return cls.open(path)

    @staticmethod
    def can_create(path: str | os.PathLike[str]) -> bool:
        """Whether nothing is there, or an empty directory, or what a killed `create` has left."""
        root = Path(path)
        if not os.path.lexists(root):
            return True
        return root.is_dir() and not os.path.lexists(root / MARK) and _foreign(root) is None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """The store at a path. Raises NoSuchStoreError, NotAStoreError, NewerFormatError, and
        DamagedMarkError when its wepystore.json is damaged."""
        root = Path(path)
        found = _format_of(root)
        if found > FORMAT:
            raise NewerFormatError(path=root, found=found, known=FORMAT)
        return cls(root)

    # ---- what is in it

    def file(self, kind: str, md5: str) -> Path:
        """Where an entry is, or would be."""
        return Path(self.locate(kind, md5))

    def locate(self, kind: str, md5: str) -> str:
        """The path of an entry as text, which is several times faster than `file`."""
        return f"{self._root}/{names.path_of(kind, names.check_hash(md5))}"

    def hashes(self, kind: str, prefix: str = "") -> list[str]:
        """The hashes of all entries of a kind, or of those that begin with these digits, sorted.
        Foreign files are passed over."""
        if kind not in ONE:
            raise ValueError(f"{kind!r} is no kind of entry")
        return list(chain.from_iterable(self._directories(kind, prefix)))

    def _directories(self, kind: str, prefix: str) -> Iterator[list[str]]:
        """The hashes that begin with `prefix`, a sorted list for each directory."""
        root = os.path.join(self.path, kind)
        try:
            directories = [prefix[:2]] if len(prefix) >= 2 else sorted(os.listdir(root))
        except (FileNotFoundError, NotADirectoryError):
            return
        suffix = ".json" if kind == "runs" else ""
        for directory in directories:
            if len(directory) != 2 or not names.is_hex(directory):
                continue
            start = prefix if len(prefix) > 2 else directory
            inside = os.path.join(root, directory)
            try:
                found = _plain_names(inside, suffix)
                entries = found if found is not None else _checked_names(inside, suffix)
            except (FileNotFoundError, NotADirectoryError):
                continue
            entries.sort()
            if entries and not (entries[0].startswith(start) and entries[-1].startswith(start)):
                entries = [md5 for md5 in entries if md5.startswith(start)]
            if directory.startswith(prefix[:2]):
                yield entries

    def has(self, kind: str, md5: str) -> bool:
        """Whether the file is there (its bytes are not looked at)."""
        return os.path.isfile(self.locate(kind, md5))

    def read(self, kind: str, md5: str, ref: Ref | None = None) -> bytes:
        """The bytes of an entry, verified by MD5 and, with ref, by SHA-256 and size (S10).

        Raises MissingError, DamagedEntryError.
        """
        file = self.locate(kind, md5)
        try:
            return self._verified(kind, file, md5, ref)
        except _UNREADABLE as error:
            raise _why_unreadable(file, error) from None

    def _verified(self, kind: str, file: str, md5: str, ref: Ref | None) -> bytes:
        limit = None if kind == "objects" else files.MAX_MANIFEST
        data = files.read_plain(file, limit, None if ref is None else ref.size, kind != "objects")
        if ref is None and names.md5_of(data) == md5:
            return data
        found = Ref.of(data)
        if found.md5 != md5 or (ref is not None and found.sha256 != ref.sha256):
            raise DamagedEntryError(file=file, why=difference(found, ref, md5))
        return data

    def object(self, ref: Ref) -> bytes:
        """The bytes of an object that something names. Raises as read."""
        return self.read("objects", ref.md5, ref)

    def open_object(self, ref: Ref) -> int:
        """A descriptor for reading an object of which not all is wanted: a plain file with its name
        and size. Its bytes are not verified, the one exception to S10. Raises as read."""
        file = self.locate("objects", ref.md5)
        try:
            return files.open_plain(file, size=ref.size)
        except _UNREADABLE as error:
            raise _why_unreadable(file, error) from None

    def read_manifest(self, kind: str, md5: str, ref: Ref | None = None) -> Manifest:
        """A manifest or run record, for whoever needs more of it than its JSON object.
        Raises as read, and BadJSONError."""
        data = self.read(kind, md5, ref)
        return Manifest.of(kind, data, self.object, self.locate(kind, md5))

    def manifest(self, kind: str, md5: str, ref: Ref | None = None) -> dict[str, Any]:
        """The JSON object of a manifest or run record; of an entry of wepy 1.x what
        stands in for it (see formats.py). Raises as read_manifest."""
        return self.read_manifest(kind, md5, ref).value

    def references(self, kind: str, md5: str, ref: Ref | None = None) -> list[tuple[str, Ref]]:
        """What a manifest or record names; nothing for an object. Raises as read_manifest."""
        return [] if kind == "objects" else self.read_manifest(kind, md5, ref).parts()

    def missing(self, kind: str, md5: str, whole: bool = False) -> list[tuple[str, Ref]]:
        """What an entry names, directly or through others, and is not here (S5): with `whole` also
        frames that are elsewhere, which it does not need (D4).

        Only existence and size are looked at. Raises MissingError or DamagedError when the
        entry itself, or a manifest it names, cannot be read.
        """
        return Completeness(self, whole).lacking(self.references(kind, md5), kind)

    def lacking(self, parts: Sequence[tuple[str, Ref]]) -> list[tuple[str, Ref]]:
        """Of what a snapshot, a configuration or a run names (see references), what is not here;
        otherwise as missing."""
        return Completeness(self).lacking(parts)

    def size(self, kind: str, md5: str) -> int | None:
        """The size of an entry's file in bytes; None when it is not there."""
        try:
            stat = os.stat(self.locate(kind, md5))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stat.st_size

    # ---- as a source of another store (see merge/source.py): all is here

    faults: Mapping[tuple[str, str], str] = {}

    where = locate

    def is_there(self, kind: str, md5: str) -> bool:
        """Whether anything has this name, be it damaged or a link to nothing."""
        return os.path.lexists(self.locate(kind, md5))

    def is_near(self, kind: str, md5: str) -> bool:
        """Whether it need not be fetched."""
        return True

    def fetch(self, names: Sequence[tuple[str, str]], progress: Any = None) -> None:
        """Nothing has to be."""

    # ---- adding and removing

    def batch(self, workers: Workers | None = None) -> Batch:
        """`with store.batch() as batch`: several entries made durable together. Who makes many
        batches keeps the `workers` of all of them, and closes these."""
        from wepystore.store.batch import Batch

        return Batch(self.path, workers)

    def put(self, kind: str, data: Data) -> Ref:
        """Add one entry: bytes-like, or a list of bytes-like buffers to be concatenated.

        Harmless when it is there already. Raises MD5CollisionError.
        """
        with self.batch() as batch:
            return batch.put(kind, data)

    def remove(self, kind: str, md5: str, durable: bool = True) -> None:
        """Take an entry away (a superseded checkpoint of a job's own store), and its directory if
        nothing else is in that: to list 256 empty ones takes longer than a checkpoint. Missing is
        fine."""

        file = self.file(kind, md5)
        files.check_real(file.parent.parent, file.parent)
        file.unlink(missing_ok=True)
        directory = file.parent
        with suppress(OSError):
            directory.rmdir()
            directory = directory.parent
        if durable and directory.is_dir():
            sync_directory(directory)

    # ---- refs

    def ref(self, name: str) -> str | None:
        """The hash that a ref ("default-snapshot", "default-config", "tags/<name>") holds.

        Raises BadJSONError, and ElsewhereError when a carrier has left a link to what is not here.
        """
        file = self._ref_file(name)
        try:
            data = files.read_plain(file, files.MAX_REF)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if carriers.carrier_of(file):
                raise carriers.missing(file) from None
            return None
        if data.startswith(carriers.POINTER):
            raise carriers.missing(file)
        text = data.decode("ascii", "replace").removesuffix("\n")
        if not names.is_hash(text):
            why = names.hash_fault(text) if text else "it is empty"
            raise BadJSONError(what=file, why=f"{why}; write the right hash into it or remove it")
        return text

    def has_ref(self, name: str) -> bool:
        """Whether there is a ref of this name, be it damaged."""
        return os.path.lexists(self._ref_file(name))

    def set_ref(self, name: str, md5: str) -> None:
        """Point a ref at an entry that is there. Raises MissingError, WrongKindError."""
        self._set_ref(name, md5, replace=True)

    def claim_ref(self, name: str, md5: str) -> str:
        """Point a ref at an entry unless there is such a ref, whoever else may do so at the same
        time; what it holds then. Raises as set_ref, and as ref if what is there is damaged."""
        with suppress(FileExistsError):
            self._set_ref(name, md5, replace=False)
            return md5
        return self.ref(name) or md5

    def _set_ref(self, name: str, md5: str, replace: bool) -> None:
        from wepystore.store import publish

        file = self._ref_file(name)
        names.check_hash(md5)
        kinds = [kind for kind in ("snapshots", "configs", "runs") if self.has(kind, md5)]
        expected = [kind for kind, default in DEFAULTS.items() if default == name] or kinds
        if not kinds:
            raise MissingError(file=self.path / "*" / md5[:2] / md5, needed=f" for {name}")
        if not set(kinds) & set(expected):
            raise WrongKindError(text=md5, found=ONE[kinds[0]], expected=ONE[expected[0]])
        publish.write_file(self.path, file, md5.encode() + b"\n", replace)

    def del_ref(self, name: str) -> None:
        """Remove a ref; missing is fine."""

        file = self._ref_file(name)
        files.check_real(self.path / "refs", file.parent)
        file.unlink(missing_ok=True)
        if file.parent.is_dir():
            sync_directory(file.parent)

    def tag_names(self) -> list[str]:
        """The names of all tags, sorted. Foreign files are passed over."""
        try:
            return sorted(filter(names.is_tag, os.listdir(self.path / "refs" / "tags")))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def tags(self) -> dict[str, str]:
        """All tags and what they point at, sorted by name. Raises BadJSONError."""
        tags = ((name, self.ref("tags/" + name)) for name in self.tag_names())
        return {name: md5 for name, md5 in tags if md5 is not None}

    def _ref_file(self, name: str) -> Path:
        if name not in DEFAULTS.values():
            directory, _, tag = name.partition("/")
            if directory != "tags":
                raise ValueError(f"{name!r} is no ref")
            names.check_tag(tag)
        return self.path / "refs" / name


def _why_unreadable(file: str, error: Exception) -> Exception:
    """What to raise for an entry that could not be read: that it is missing, if it is elsewhere."""
    if isinstance(error, DamagedEntryError) and not carriers.carrier_of(file):
        return error
    return carriers.missing(Path(file))


def _plain_names(directory: str, suffix: str) -> list[str] | None:
    """The hashes among the names in a directory, if all are (else None), several times faster
    than looking at each."""
    if os.stat(directory).st_nlink != 2:
        # It has directories in it, or is on a file system that does not tell.
        return None
    found = os.listdir(directory)
    if suffix:
        if not all(name.endswith(suffix) for name in found):
            return None
        found = [name[: -len(suffix)] for name in found]
    text = os.fsencode("".join(found))
    if set(map(len, found)) <= {32} and not text.translate(None, _HEX_DIGITS):
        return found
    return None


def _checked_names(directory: str, suffix: str) -> list[str]:
    """The hashes among the names in a directory."""
    with os.scandir(directory) as entries:
        return [
            md5
            for entry in entries
            if names.is_hash(md5 := entry.name.removesuffix(suffix))
            and md5 + suffix == entry.name
            and not entry.is_dir(follow_symlinks=False)
        ]


def _foreign(root: Path) -> str | None:
    """A name in a directory that a half-made store would not have; None when there is none."""
    if not root.is_dir():
        return "a file"
    for name in sorted(os.listdir(root)):
        if name in carriers.FILES:
            continue
        if name not in DIRECTORIES or not (root / name).is_dir():
            return name
        inside = [entry for entry in os.listdir(root / name) if (name, entry) != ("refs", "tags")]
        if name != "tmp" and inside:
            return f"{name}/{inside[0]}"
    return None


def _format_of(root: Path) -> int:
    """What a store's own file gives; raises as Store.open."""
    mark = root / MARK
    try:
        data = files.read_plain(mark, files.MAX_REF)
        if data.startswith(carriers.POINTER):
            raise carriers.missing(mark, path=root)
        found = canonical.load_object(data, str(mark)).get("format")
        if type(found) is int and 1 <= found < _NO_FORMAT:
            return found
        why = "it gives no format version"
    except NotADirectoryError:
        why = "it is a file, not a directory"
        if root.name.endswith((".sqlite", ".sqlite3", ".db")):
            why = f"it is a file; '{way_out('to_merge')}' takes in a database of wepy 1.x"
        raise NotAStoreError(path=root, why=why) from None
    except FileNotFoundError:
        problem = _no_mark(root, mark)
        if problem is None:
            return _format_of(root)
        raise problem from None
    except (DamagedEntryError, BadJSONError) as error:
        why = error.fields["why"]
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        why = "a link to itself"
    raise DamagedMarkError(what=mark, why=why, path=root)


def _no_mark(root: Path, mark: Path) -> WepystoreError | None:
    """Why a store's own file was not there; None if somebody has made the store since."""
    if not os.path.lexists(root):
        return NoSuchStoreError(path=root)
    if carriers.carrier_of(mark):
        return carriers.missing(mark, path=root)
    if os.path.islink(mark):
        return DamagedMarkError(what=mark, why="a link to nothing", path=root)
    if os.path.exists(mark):
        return None
    why = f"it has no {MARK}"
    if any((root / kind).is_dir() for kind in KINDS):
        why += ", but parts of one: copy the rest of it"
    elif (root / CHECKPOINT).is_symlink():
        why += f", and its {CHECKPOINT} is a link: name what it leads to, if you trust it"
    return NotAStoreError(path=root, why=why)
