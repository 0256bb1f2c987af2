"""Files of other places, verified while they come under tmp/ (S2, S10)."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from wepystore.store import files
from wepystore.store.errors import DamagedEntryError
from wepystore.store.names import Ref
from wepystore.store.publish import (
    CHUNK,
    NEW,
    NO_LINK,
    difference,
    hash_descriptor,
    write_all,
)


class Readers(NamedTuple):
    """Who may read a store: what its creator's umask and directory made of its first file."""

    mode: int
    user: int
    group: int

    @classmethod
    def of(cls, mark: os.PathLike[str]) -> Readers:
        facts = os.stat(mark)
        return cls(facts.st_mode & 0o444, facts.st_uid, facts.st_gid)

    def may_all_read(self, facts: os.stat_result) -> bool:
        """Whether a file with these owners and mode bits is for all of them."""
        if facts.st_mode & self.mode != self.mode:
            return False
        if facts.st_mode & 0o004:
            return True
        # "Readable by the group" says something only if it is the same group.
        return facts.st_gid == self.group if self.mode & 0o040 else facts.st_uid == self.user


def bring(
    path: str, source: str, ref: Ref | None, md5: str, readers: Readers
) -> tuple[Ref, int, bool]:
    """A file of another store at a path under tmp/: as a hard link if that can be, else a copy.

    What is verified is the very inode that gets the name, before it gets it: a damaged source
    is never linked in. A source that not all of `readers` may read is copied,
    lest a private file ends up in a shared store. Returns Ref, the open descriptor to sync, and
    whether it is a link. DamagedEntryError names the source.
    """
    origin, facts = source, os.lstat(source)
    if stat.S_ISLNK(facts.st_mode):
        # What a link of git-annex points at, not the link.
        origin = os.path.realpath(source)
        facts = os.stat(origin)
    linked = readers.may_all_read(facts)
    try:
        if linked:
            os.link(origin, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        linked = False
    descriptor = -1
    try:
        if linked:
            descriptor = files.open_plain(path)
            found = hash_descriptor(descriptor)
        else:
            found, descriptor, _ = copy(source, path)
        if found.md5 != md5 or (ref is not None and found != ref):
            raise DamagedEntryError(file=source, why=difference(found, ref, md5))
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise
    return found, descriptor, linked


def copy(source: str, path: str) -> tuple[Ref, int, bool]:
    """A new file under tmp/ with the bytes of another; returns the same as `bring`."""
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256(usedforsecurity=False)
    size = 0
    reader = files.open_plain(source)
    try:
        room = memoryview(bytearray(min(CHUNK, os.fstat(reader).st_size + 1)))
        descriptor = os.open(path, NEW, 0o666)
        try:
            while count := os.readv(reader, [room]):
                write_all(descriptor, [room[:count]])
                md5.update(room[:count])
                sha256.update(room[:count])
                size += count
        except BaseException:
            os.close(descriptor)
            os.unlink(path)
            raise
    finally:
        os.close(reader)
    return Ref(md5.hexdigest(), sha256.hexdigest(), size), descriptor, False
