"""Files of other places, verified while they come under tmp/ (S2, S10)."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from wepystore import durable
from wepystore.store import files
from wepystore.store.errors import DamagedEntryError
from wepystore.store.names import Digest, Ref, difference

# Set-ID bits, and the right to write of anybody but the owner.
_UNSAFE = 0o7022


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
        """Whether a file with these owners and mode bits is for all of them, and nobody else."""
        if facts.st_mode & 0o444 != self.mode:
            return False
        if self.mode & 0o044 == 0o044:
            return True
        # "Readable by the group", or by others than the group, says something only if it is the
        # same group.
        return facts.st_gid == self.group if self.mode & 0o044 else facts.st_uid == self.user

    def may_be_shared(self, facts: os.stat_result) -> bool:
        """Whether a file may be in the store as it is, by a hard link: it is a plain file of ours
        that nobody else may write to or give other rights, for the same readers."""
        return (
            stat.S_ISREG(facts.st_mode)
            and facts.st_uid == os.geteuid()
            and not facts.st_mode & _UNSAFE
            and self.may_all_read(facts)
        )


def bring(
    path: str, source: str, ref: Ref | None, md5: str, readers: Readers
) -> tuple[Ref, int, bool]:
    """A file of another store at a path under tmp/: as a hard link if that can be, else a copy.

    What is verified is the very inode that gets the name, before it gets it: a damaged source
    is never linked in. A source that somebody else could change, or that more or fewer people
    may read than the store, is copied. Returns Ref, the open descriptor to sync, and whether it
    is a link. DamagedEntryError names the source.
    """
    descriptor = _link(path, source, readers)
    linked = descriptor is not None
    try:
        if descriptor is not None:
            found = files.hash_descriptor(descriptor)
        else:
            found, descriptor, _ = copy(source, path)
        if found.md5 != md5 or (ref is not None and found != ref):
            raise DamagedEntryError(file=source, why=difference(found, ref, md5))
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise
    return found, descriptor, linked


def _link(path: str, source: str, readers: Readers) -> int | None:
    """A hard link to a file at a path under tmp/, open for reading; None where it is to be copied.
    What a link of git-annex points at is linked, not the link."""
    facts = os.lstat(source)
    if stat.S_ISLNK(facts.st_mode):
        source = os.path.realpath(source)
        facts = os.lstat(source)
    if not readers.may_be_shared(facts):
        return None
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in durable.NO_LINK:
            raise
        return None
    try:
        descriptor = files.open_plain(path, links=False)
    except (DamagedEntryError, OSError):
        os.unlink(path)
        return None
    # Whoever owns the source's directory may have put another file there meanwhile.
    if readers.may_be_shared(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    os.unlink(path)
    return None


def copy(source: str, path: str) -> tuple[Ref, int, bool]:
    """A new file under tmp/ with the bytes of another; returns the same as `bring`."""
    digest = Digest()
    reader = files.open_plain(source)
    try:
        room = memoryview(bytearray(min(files.CHUNK, os.fstat(reader).st_size + 1)))
        descriptor = os.open(path, durable.NEW, durable.MODE)
        try:
            while count := os.readv(reader, [room]):
                durable.write_all(descriptor, [room[:count]])
                digest.update(room[:count])
        except BaseException:
            os.close(descriptor)
            os.unlink(path)
            raise
    finally:
        os.close(reader)
    return digest.ref(), descriptor, False
