"""Opening files that anybody may have put there: only plain files, in real directories.

A store that was copied from elsewhere may hold pipes, which would make a reader wait for ever,
links to devices without end, sparse files of any size, and directories that are links to places
outside, where writing would do harm. Links to plain files are fine: git-annex and DVC make them,
and what is read is verified.
"""

from __future__ import annotations

import os
import stat

from wepystore.store.errors import DamagedEntryError, LinkedDirectoryError
from wepystore.store.names import Digest, Ref

# No manifest, record or ref is larger, in bytes; a snapshot of wepy 1.x may have some 100 MB, and
# none in JSON has.
MAX_MANIFEST = 1 << 30
MAX_JSON = 32 << 20
MAX_REF = 1 << 12
# Read in one call, usually; what is larger in so many bytes at a time.
CHUNK = 1 << 20


def open_plain(path: str | os.PathLike[str], links: bool = True, size: int | None = None) -> int:
    """A descriptor for reading a plain file, or (if `links`) a link to one, of `size` bytes if that
    is given. DamagedEntryError otherwise; the errors of open for what is not there or not readable,
    or is a link and may not be one."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and size in (None, facts.st_size):
        return descriptor
    os.close(descriptor)
    why = "it is not a file"
    if stat.S_ISREG(facts.st_mode):
        why = f"it has {facts.st_size} bytes and should have {size}"
    raise DamagedEntryError(file=path, why=why)


def read_plain(
    path: str | os.PathLike[str],
    limit: int | None = None,
    size: int | None = None,
    manifest: bool = False,
) -> bytes:
    """The bytes of a plain file. DamagedEntryError before it is read, if it has more than `limit`
    bytes, or not `size` bytes, or if it is to be a `manifest` and is too large for one."""
    descriptor = open_plain(path, size=size)
    try:
        found = os.fstat(descriptor).st_size
        if limit is not None and found > limit:
            raise DamagedEntryError(file=path, why=f"it has {found} bytes, far too many")
        why = manifest_fault(descriptor, found) if manifest else ""
        if why:
            raise DamagedEntryError(file=path, why=why)
        # Of thousands of small files, a file object for each takes longer than reading it.
        data = os.read(descriptor, found + 1) if found < CHUNK else b""
        if len(data) == found < CHUNK:
            return data
        with open(descriptor, "rb", closefd=False) as file:
            return data + file.read()
    finally:
        os.close(descriptor)


def hash_descriptor(descriptor: int, proof: bool = True) -> Ref:
    """What an open file holds, read in chunks from its beginning; `proof` as for Digest."""
    digest = Digest(proof)
    place = 0
    # Room for a megabyte would cost more than all the rest of reading a small file; and new room
    # for each megabyte of a large one as much as hashing it.
    room = memoryview(bytearray(min(CHUNK, os.fstat(descriptor).st_size + 1)))
    while count := os.preadv(descriptor, [room], place):
        digest.update(room[:count])
        place += count
    return digest.ref()


def hash_file(path: str | os.PathLike[str]) -> Ref:
    """What a plain file holds, read in chunks. Raises as open_plain."""
    descriptor = open_plain(path)
    try:
        return hash_descriptor(descriptor)
    finally:
        os.close(descriptor)


def manifest_fault(descriptor: int, size: int) -> str:
    """Why an open file of this size can be no manifest, by its size and first byte; else empty."""
    # Of wepy 1.x: base64 of zlib (see formats.py).
    if size <= MAX_JSON or os.pread(descriptor, 1, 0) == b"e":
        return ""
    return f"it has {size} bytes, and no manifest has more than {MAX_JSON}"


def check_real(*directories: str | os.PathLike[str]) -> None:
    """Raise LinkedDirectoryError if one of them is a symbolic link: it may lead anywhere."""
    for directory in directories:
        if os.path.islink(directory):
            raise LinkedDirectoryError(path=directory)
