"""Whether somebody else is at work in a store, before anything is removed from it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wepystore import durable
from wepystore.errors import DamagedError, FailedError
from wepystore.store import files
from wepystore.store.store import Store
from wepystore.store.system import is_alive
from wepystore.store.whereabouts import LASTING

LOCK = "gc.lock"
#: How what gc has taken away is called in tmp/.
ASIDE = "gc-"
# A file in tmp/ of another host says that its program is writing, for so long.
_WRITING_S = 86400.0


class BusyError(FailedError):
    """{path} is being written to ({why}): run '{to_clean}' again when that has ended"""


class LockedError(FailedError):
    """another '{to_clean}' works on {path} ({owner}): wait for it, or remove {lock} if it is
    dead"""


def facts_of(file: Path) -> os.stat_result | None:
    """Of a name, be it a link; None if it is not there."""
    try:
        return os.lstat(file)
    except FileNotFoundError:
        return None


def age_mark(facts: os.stat_result) -> float:
    """When content, mode or name was changed last, in s since the epoch."""
    return max(facts.st_mtime, facts.st_ctime)


def tmp_files(store: Store) -> list[str]:
    """The paths of what is in tmp/, relative to the store."""
    try:
        names = set(os.listdir(store.path / "tmp")) - LASTING
    except FileNotFoundError:
        return []
    return sorted("tmp/" + name for name in names)


# ---- is somebody writing?


def _writer(name: str) -> tuple[str, int | None]:
    """Host and process that write a file of this name in tmp/ (see durable.unfinished_path)."""
    host, _, pid = name.rpartition("-")[0].rpartition("-")
    return (host, int(pid)) if pid.isdecimal() else ("", None)


def is_writing(name: str) -> bool:
    """Whether the writer of a file of this name is certainly alive: on this host, and not we."""
    host, pid = _writer(name)
    return host == _host() and pid not in (None, os.getpid()) and is_alive(int(pid or 0))


def _host() -> str:
    return durable.unfinished_path(Path()).name.rsplit("-", 2)[0]


def is_taken(folder: Path) -> bool:
    """Whether somebody holds the lock of a folder in tmp/ for what comes from elsewhere."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def check_quiet(store: Store) -> None:
    """BusyError if a file in tmp/ is of a living process here, or of another host and fresh, or
    a folder is in use."""
    now = time.time()
    for path in tmp_files(store):
        name = path.removeprefix("tmp/")
        if name.startswith(ASIDE):
            continue
        facts = facts_of(store.path / path)
        host, pid = _writer(name)
        if facts is None or (host, pid) == (_host(), os.getpid()):
            continue
        if stat.S_ISDIR(facts.st_mode):
            if is_taken(store.path / path):
                raise BusyError(path=store.path, why=f"a transfer to {path} goes on")
            continue
        if is_writing(name):
            raise BusyError(path=store.path, why=f"process {pid} has {path} open")
        if host != _host() and age_mark(facts) > now - _WRITING_S:
            minutes = max(0, int(now - age_mark(facts))) // 60
            who = f"on {host} " if pid is not None else ""
            why = f"{path}, written {who}{minutes} minutes ago"
            raise BusyError(path=store.path, why=why)


# ---- one gc at a time


@contextmanager
def lock(store: Store) -> Iterator[None]:
    """The file gc.lock, whole from its first moment; one of a dead process here is taken over."""
    file = store.path / LOCK
    mine = {"host": _host(), "pid": os.getpid(), "since": int(time.time())}
    files.check_real(store.path / "tmp")
    durable.make_directory(store.path / "tmp")
    draft = durable.unfinished_path(store.path / "tmp")
    try:
        draft.write_text(json.dumps(mine) + "\n")
        try:
            durable.move(draft, file, replace=False)
        except FileExistsError:
            _take_over(store, file)
            try:
                durable.move(draft, file, replace=False)
            except FileExistsError:
                raise LockedError(path=store.path, owner="just begun", lock=file) from None
    except OSError as error:
        durable.name(error, file)
        raise
    finally:
        draft.unlink(missing_ok=True)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _take_over(store: Store, file: Path) -> None:
    try:
        owner: Any = json.loads(files.read_plain(file, files.MAX_REF))
        host, pid = str(owner["host"]), int(owner["pid"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, RecursionError, DamagedError):
        raise LockedError(path=store.path, owner="unknown", lock=file) from None
    if host != _host() or is_alive(pid):
        raise LockedError(path=store.path, owner=f"process {pid} on {host}", lock=file)
    # Two may find the same dead owner; only one of them can rename its file away. The other may
    # then rename the new one, and gives it back. (Two gcs at once would do no harm: a file can be
    # taken away by one of them only.)
    gone = durable.unfinished_path(store.path / "tmp")
    try:
        os.rename(file, gone)
    except FileNotFoundError:
        return
    if json.loads(gone.read_text()) != owner:
        with suppress(FileExistsError):
            durable.move(gone, file, replace=False)
    gone.unlink(missing_ok=True)
