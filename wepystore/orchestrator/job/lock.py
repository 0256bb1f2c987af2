"""One process at a time works in a job folder.

The lock is the kernel's (flock), so it ends with the process, however that
ends; what stands in the file only tells a person who holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

from wepystore import durable
from wepystore.orchestrator.errors import JobBusyError
from wepystore.reporters import files
from wepystore.store.system import is_alive, process_start

LOCK = ".lock"
#: Bytes of the file.
_LARGEST = 4096

#: What opening a folder, a link or a pipe by that name comes to.
_NOT_OURS = frozenset((errno.EISDIR, errno.ELOOP, errno.ENXIO))

#: Where a file system has no locks.
_NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL))


class JobLock:
    """A lock that is held.

    Attributes
    ----------
    signed : bool
        Whether the file was there before and says of itself that it is the lock of a
        job: then its last holder was killed.
    """

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self.signed = bool(_holder(descriptor))

    @classmethod
    def acquire(cls, folder: Path) -> JobLock:
        """Lock the folder, which is there. Raises JobBusyError, OSError.

        A file of that name that another program has made is nobody's to overwrite:
        FileExistsError.
        """
        file = folder / LOCK
        while True:
            try:
                descriptor = _open(file)
            except OSError as problem:
                if problem.errno in _NOT_OURS:
                    why = f"{file} is there, of another program; move it away"
                    raise FileExistsError(errno.EEXIST, why) from None
                raise
            try:
                _flock(descriptor, folder)
                # Whoever held it before may have removed the file: then this lock is nobody's.
                if _same(descriptor, file):
                    lock = cls(file, descriptor)
                    if not lock.signed and os.fstat(descriptor).st_size:
                        why = f"{file} is there, of another program; move it away"
                        raise FileExistsError(errno.EEXIST, why)
                    return lock
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def sign(self) -> None:
        """Say who holds it."""
        holder = {
            "lock": "wepystore job",
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + " UTC",
            "began": process_start(os.getpid()),
        }
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder).encode() + b"\n", 0)
        except OSError as problem:
            durable.name(problem, self._file)
            raise

    def release(self, remove: bool = True) -> None:
        """Let go; and take the file away, which a kill would leave."""
        if self._descriptor < 0:
            return
        if remove:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


class Holder(NamedTuple):
    """Who holds, or held, the lock of a job folder, as the file tells.

    Attributes
    ----------
    since : str
        UTC.
    began : float or None
        When its process did, in s since the system did.
    """

    host: str
    pid: int
    since: str
    began: float | None = None

    @property
    def is_here(self) -> bool:
        """Whether its process is, or was, one of this host."""
        return self.host == os.uname().nodename

    def is_gone(self) -> bool:
        """Whether it has certainly ended. One on another host cannot be asked after."""
        if not self.is_here:
            return False
        # Another process may have its number by now.
        another = self.began is not None and process_start(self.pid) not in (None, self.began)
        return another or not is_alive(self.pid)


def holder_of(folder: Path) -> Holder | None:
    """Who works, or was killed, in a folder; None if nobody is told of. The lock is left alone."""
    try:
        told = _told_in(files.read_own(folder / LOCK, _LARGEST))
    except OSError:
        return None
    if not told:
        return None
    began = told.get("began")
    return Holder(
        told["host"], told["pid"], told["since"], began if isinstance(began, float) else None
    )


def has_lock(folder: Path) -> bool:
    """Whether a lock's file is in the folder, held or not."""
    return os.path.isfile(folder / LOCK)


def _open(file: Path) -> int:
    # Not by reporters.files: what is no lock of ours is another program's here, whatever it is.
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(file, how, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(file))
    return descriptor


def _flock(descriptor: int, folder: Path) -> None:
    holder = _holder(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JobBusyError(job_dir=folder, holder=_told(holder)) from None
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        # Without locks only a process of this very host can be asked after.
        if holder and holder["host"] == os.uname().nodename and is_alive(holder["pid"]):
            raise JobBusyError(job_dir=folder, holder=_told(holder)) from None


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> dict[str, Any]:
    """What the file says; {} if it is not the lock of a job."""
    return _told_in(os.pread(descriptor, _LARGEST, 0))


def _told_in(data: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(data)
        if holder["lock"] == "wepystore job" and isinstance(holder["pid"], int):
            return {**holder, "host": str(holder["host"]), "since": str(holder["since"])}
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return {}


def _told(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
