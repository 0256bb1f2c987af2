"""Two system calls that Python's standard library lacks, and where they can be relied on; and
whether a process lives.

Both calls only save time: where they are not to be had, a batch does with `fsync`, `link` and
`unlink` what it does with these.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress

# statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, tmpfs. Their syncfs leaves nothing behind. Not so for
# FUSE (passes nothing on), Lustre (sends, does not wait for the servers' disks), overlayfs (does
# not report errors of the layer below).
_RELIABLE = frozenset((0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994))
# Before this version syncfs does not tell of what could not be written.
_TELLS_ERRORS = (5, 8)

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class WholeSync:
    """`syncfs` of the file system that a directory is on: one wait for any number of files.

    It is to be made before they are written, because it reports what failed since it was made.
    """

    def __init__(self, descriptor: int, syncfs: Callable[[int], int]) -> None:
        self._descriptor = descriptor
        self._syncfs = syncfs
        self.device = os.fstat(descriptor).st_dev

    @classmethod
    def of(cls, directory: str | os.PathLike[str]) -> WholeSync | None:
        """None where syncfs is no promise."""
        version = re.match(r"(\d+)\.(\d+)", os.uname().release)
        if version is None or (int(version[1]), int(version[2])) < _TELLS_ERRORS:
            return None
        syncfs, statfs = _libc().syncfs, _libc().fstatfs
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A struct statfs is about 120 bytes, and its type is the first word on all of Linux.
        facts = (ctypes.c_long * 64)()
        if statfs(descriptor, facts) or (facts[0] & 0xFFFFFFFF) not in _RELIABLE:
            os.close(descriptor)
            return None
        return cls(descriptor, syncfs)

    def __call__(self) -> None:
        """All that was written there, names included, on the disk."""
        if self._syncfs(self._descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        os.close(self._descriptor)


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this host, and it has not ended: one that was killed keeps
    its number until its parent asks after it."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    with suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        # "(NAME) STATE", and a name may hold anything.
        return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return True


def process_start(pid: int) -> float | None:
    """When a process of this host began, in s since the system did; None where that is not told."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return None


def rename_to_new() -> Callable[[str, str], None] | None:
    """A function that renames a file unless the new name exists, as one atomic step; or None.

    It raises FileExistsError where link does, and OSError with EINVAL or ENOSYS on a file system
    or a kernel without it.
    """
    try:
        renameat2 = _libc().renameat2
    except AttributeError:
        return None  # A libc of before 2018.
    text = ctypes.c_char_p
    renameat2.argtypes = [ctypes.c_int, text, ctypes.c_int, text, ctypes.c_uint]

    def rename(source: str, final: str) -> None:
        old, new = os.fsencode(source), os.fsencode(final)
        while renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE):
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code), final)

    return rename
