"""Writing files so that they are whole, and there after a crash: what every room does it with.

    write_all()        bytes into a file, all of them
    sync()             its bytes are on the disk
    move()             it has its name, new or instead of another
    sync_directory()   the name is on the disk

An error of the disk is given the name of the file that it is about.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# writev takes at most this many buffers (IOV_MAX on Linux).
_IOV = 1024

# Where the file system has no hard links, or refuses one to this user.
NO_LINK = frozenset(
    (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
)
# The kernel takes the umask (or the directory's default ACL) off the mode of a new file. Nobody
# writes to a file that has its name, and what only its owner may write can be linked (0024).
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MODE = 0o644
_NO_DIRECTORY_SYNC = frozenset((errno.EINVAL, errno.EBADF, errno.EACCES, errno.ENOTSUP))


def unfinished_path(tmp: Path) -> Path:
    """A name under tmp/ that no other process on any host uses."""
    host = "".join(c for c in os.uname().nodename if c.isalnum() or c in "-.")
    return tmp / f"{host}-{os.getpid()}-{os.urandom(8).hex()}"


def unfinished_paths(tmp: Path) -> Iterator[str]:
    """Any number of such names: they count up from a random one."""
    prefix, _, first = str(unfinished_path(tmp)).rpartition("-")
    for number in itertools.count(int(first, 16)):
        yield f"{prefix}-{number & 0xFFFFFFFFFFFFFFFF:016x}"


def write_small(path: str, views: Sequence[memoryview]) -> None:
    """A new file with these bytes; whoever calls it sees to the rest. It is removed if it fails."""
    descriptor = os.open(path, NEW, MODE)
    try:
        write_all(descriptor, views)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, views: Sequence[memoryview]) -> None:
    """All bytes of these into an open file, one behind the other."""
    for first in range(0, len(views), _IOV):
        left = list(views[first : first + _IOV])
        while left:
            count = os.writev(descriptor, left)
            while left and count >= left[0].nbytes:
                count -= left.pop(0).nbytes
            if count:
                left[0] = left[0][count:]


def sync(descriptor: int) -> None:
    """The file's bytes on the disk; closes the descriptor."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name(error: OSError, path: str | os.PathLike[str]) -> None:
    """Say where an error of the disk has happened, if it does not: write and fsync only know a
    number of an open file."""
    if error.filename is None and error.errno is not None:
        # The current directory as such is no name that tells anybody where.
        error.filename = os.path.abspath(path) if os.fspath(path) in (".", "") else os.fspath(path)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error of the disk within the block is one with this file, unless it names another."""
    try:
        yield
    except OSError as error:
        name(error, path)
        raise


def start_writing(descriptor: int) -> None:
    """Let the disk begin with what will be synced later; nothing depends on it."""
    # Of what is not on the disk yet this drops nothing: the kernel starts to write it.
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_existing(path: str | Path) -> None:
    """A file that was there before on the disk: nobody knows whether its writer saw to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    sync(descriptor)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """The names in a directory on the disk, where the file system can do that at all."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            name(error, path)
            raise
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> set[Path]:
    """Make a directory and its parents; returns the directories that got a new name in them.
    NotADirectoryError where something else has its name."""
    try:
        path.mkdir()
    except FileExistsError:
        # Empty ones may come and go (Store.remove), so that two looks need not see the same.
        found = _mode(path)
        if found is None and not path.is_symlink():
            return make_directory(path)
        if found is not None and stat.S_ISDIR(found):
            return set()
        # FileExistsError would tell a caller of `move` that its file is there.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    except FileNotFoundError:
        changed = make_directory(path.parent)
        return changed | make_directory(path)
    return {path.parent}


def _mode(path: Path) -> int | None:
    """What is there, through links; None where there is nothing, 0 of links that go round."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return 0


def move(source: Path, final: Path, replace: bool) -> None:
    """Give a file that is no entry (a ref, an export) its name: FileExistsError, or replace."""
    if not replace:
        try:
            os.link(source, final)
            return
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            if os.path.lexists(final):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
    os.replace(source, final)
