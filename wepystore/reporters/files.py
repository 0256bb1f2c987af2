"""Files of a job folder, which may be a stranger's: no link in it is followed, no pipe waited for.

A folder that somebody sent may hold, by the names of a job's files, symbolic links to files
of the user's, which would be overwritten; pipes, which would be waited for without end;
and hard links. So whatever is opened there is a plain file of its own, and what is new is
made new.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import IO, Any

from wepystore import durable

_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITING = os.O_WRONLY | os.O_RDWR
#: What opening a link, a folder, a pipe without a reader or a socket comes to.
_NO_FILE = frozenset((errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV))

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_own(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """A descriptor of a plain file of a job folder, opened as by os.open.

    Raises
    ------
    OSError
        As os.open; or that it is no plain file, or, if it is to be written to, that it
        has another name elsewhere, so that what is written would change there.
    """
    try:
        descriptor = os.open(path, flags | _ALWAYS, mode)
    except OSError as problem:
        if problem.errno in _NO_FILE:
            check_own(path)
        raise
    try:
        _check(os.fstat(descriptor), path, bool(flags & _WRITING))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_own(path: str | os.PathLike[str], writing: bool = False) -> None:
    """Raise OSError if there is something by that name that `open_own` would refuse.

    For what others open by the name.
    """
    with contextlib.suppress(FileNotFoundError):
        _check(os.lstat(path), path, writing)


def check_own_folder(path: str | os.PathLike[str]) -> None:
    """Raise OSError if a folder in a job folder is a link: it may lead anywhere."""
    if os.path.islink(path):
        why = "it is a symbolic link, and nothing in a job folder is followed; move it away"
        raise OSError(errno.EINVAL, why, os.fspath(path))


def make_own_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder in a job folder, if it is not there.

    Raises
    ------
    OSError
        It is a link, or holds anything but folders and plain files of its own: whoever writes
        into it opens them by the name.
    """
    check_own_folder(path)
    os.makedirs(path, exist_ok=True)
    for where, folders, names in os.walk(path):
        for name in folders:
            check_own_folder(os.path.join(where, name))
        for name in names:
            check_own(os.path.join(where, name), writing=True)


def _check(status: os.stat_result, path: str | os.PathLike[str], writing: bool) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        why = f"it is {what}, and nothing in a job folder is followed or waited for; move it away"
        raise OSError(errno.EINVAL, why, os.fspath(path))
    if writing and status.st_nlink > 1:
        why = (
            "it has another name elsewhere (a hard link), where it would change as well; "
            "put a copy in its place"
        )
        raise OSError(errno.EINVAL, why, os.fspath(path))


def read_own(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """The bytes of a plain file; OSError as open_own, or if there are more than `limit`."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise OSError(errno.EFBIG, f"it has {size} bytes, far too many", os.fspath(path))
        return file.read()


def create_own(path: str | os.PathLike[str]) -> int:
    """A descriptor, for reading and writing, of a new file; what had the name loses it."""
    while True:
        # A kill leaves a file of that name. Removed, not emptied: the name alone is ours.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS, 0o666)


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], draft: str | os.PathLike[str], lasting: bool = False, **how: Any
) -> Iterator[IO[Any]]:
    """A new file, open as by `open(…, "w+b", **how)`, that takes the place of `path` at the end.

    If anything is raised, `path` stays as it was, and the draft goes. If it is to be `lasting`,
    either file is whole after a loss of power as well, and the new one once this has ended.
    """
    how.setdefault("mode", "w+b")
    try:
        with durable.naming(path), open(create_own(draft), **how) as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    if lasting:
        durable.sync_directory(os.path.dirname(path) or ".")
