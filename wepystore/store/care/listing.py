"""The names under a store's directories: entries, links, and what should not be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from wepystore.store import canonical, carriers, files, names
from wepystore.store.errors import BadJSONError, DamagedEntryError, NewerFormatError
from wepystore.store.names import MARK
from wepystore.store.store import FORMAT, Store


class Odd(NamedTuple):
    """A name in a kind's directory that is not an entry's. `md5` is set if it looks like one."""

    path: str
    why: str
    md5: str | None


class Names:
    """The names in the directories of one kind, read once. Paths are relative to the store."""

    def __init__(self, root: str, kind: str) -> None:
        self.root = root
        self.kind = kind
        # Per prefix directory: its path and (file name, md5) in the order of inodes, which is
        # about the order on the disk.
        self.regular: list[tuple[str, list[tuple[str, str]]]] = []
        self.links: dict[str, str] = {}
        self.no_files: dict[str, str] = {}
        self.odd: list[Odd] = []
        self.link_directories: list[str] = []

    def path(self, md5: str) -> str:
        """Where an entry belongs, relative to the store."""
        return names.path_of(self.kind, md5)

    def __iter__(self) -> Iterator[str]:
        for _, inside in self.regular:
            for _, md5 in inside:
                yield md5
        yield from self.links

    def __len__(self) -> int:
        return sum(len(inside) for _, inside in self.regular) + len(self.links)


def list_kind(root: str, kind: str) -> Names:
    """All names under a kind's directory. A directory that cannot be listed raises OSError."""
    listing = Names(root, kind)
    top = os.path.join(root, kind)
    if leaves(top, root):
        listing.link_directories.append(kind)
    try:
        found = os.scandir(top)
    except (FileNotFoundError, NotADirectoryError):
        return listing
    with found:
        directories = sorted(found, key=lambda entry: entry.name)
    for directory in directories:
        prefix = directory.name
        path = f"{kind}/{prefix}"
        if len(prefix) != 2 or not names.is_hex(prefix) or not directory.is_dir():
            listing.odd.append(_odd(path, prefix))
            continue
        if directory.is_symlink() and leaves(os.path.join(root, path), root):
            listing.link_directories.append(path)
        _list_directory(listing, path, prefix)
    return listing


def _list_directory(listing: Names, path: str, prefix: str) -> None:
    suffix = ".json" if listing.kind == "runs" else ""
    regular = []
    # It may have gone meanwhile, with its last entry (Store.remove).
    with suppress(FileNotFoundError), os.scandir(os.path.join(listing.root, path)) as entries:
        for entry in entries:
            name = entry.name
            md5 = name.removesuffix(suffix)
            if not (names.is_hash(md5) and md5 + suffix == name and md5.startswith(prefix)):
                listing.odd.append(_odd(f"{path}/{name}", name))
            elif entry.is_file(follow_symlinks=False):
                regular.append((entry.inode(), name, md5))
            elif entry.is_symlink():
                listing.links[md5] = f"{path}/{name}"
            else:
                listing.no_files[md5] = f"{path}/{name}"
    regular.sort()
    listing.regular.append((path, [(name, md5) for _, name, md5 in regular]))


def _odd(path: str, name: str) -> Odd:
    bare = name.removesuffix(".json")
    if names.is_hash(bare):
        return Odd(path, "an entry's name where no entry of that name belongs", bare)
    if names.is_hash(bare.lower()):
        return Odd(path, "a hash with capital letters", None)
    inner = name.strip(".~").split(".")[0]
    if names.is_hash(inner):
        return Odd(path, "an unfinished copy, as rsync and others leave them", None)
    return Odd(path, "no part of a store has such a name", None)


def leaves(path: str, root: str) -> bool:
    """Whether a path leads out of the store through a link."""
    real = os.path.realpath(path)
    return not (real + "/").startswith(os.path.realpath(root) + "/")


def mark_fault(store: Store) -> str | None:
    """What is wrong with a store's own file. Raises NewerFormatError."""
    file = store.path / MARK
    carrier = carriers.carrier_of(file)
    if carrier is not None:
        return carriers.brings(file, carrier)
    try:
        data = files.read_plain(file, files.MAX_REF)
    except FileNotFoundError:
        return "it is not there, so that no program takes this directory for a store"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except DamagedEntryError as error:
        return str(error.fields["why"])
    try:
        value = canonical.load_object(data, MARK)
    except BadJSONError as error:
        return str(error.fields["why"])
    if value == {"format": FORMAT, "type": "store"} and type(value["format"]) is int:
        return None
    number = value.get("format")
    if type(number) is int and FORMAT < number < 10**6:
        raise NewerFormatError(path=store.path, found=number, known=FORMAT)
    return "it is not what was written when the store was made"
