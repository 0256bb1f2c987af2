"""Folders under a store's tmp/ for what is on its way to it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from wepystore.store import files

_LOCK = "lock"


class Staging:
    """A folder for what comes from one address. Nothing reads from tmp/, so half of something in
    it harms nobody; what is whole gets its name from there by a hard link.

    The folder's name follows from the address, so that a transfer that was cut off goes on where
    it was. When another process is at it already, or there is in it what none of them makes, this
    one takes a folder of its own. Raises LinkedDirectoryError.
    """

    def __init__(self, tmp: Path, address: str) -> None:
        files.check_real(tmp)
        tmp.mkdir(exist_ok=True)
        digest = hashlib.md5(os.fsencode(address), usedforsecurity=False).hexdigest()
        self.path = tmp / f"incoming-{digest[:16]}"
        self._descriptor = None if _leads_elsewhere(self.path) else self._take(self.path)
        if self._descriptor is None:
            self.path = Path(tempfile.mkdtemp(prefix="incoming-", dir=tmp))

    def _take(self, path: Path) -> int | None:
        while True:
            path.mkdir(exist_ok=True)
            try:
                descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last user may have removed it between the two.
                if os.path.samestat(os.fstat(descriptor), os.stat(path / _LOCK)):
                    return descriptor
            except FileNotFoundError:
                pass
            except OSError:
                os.close(descriptor)
                return None
            os.close(descriptor)

    def close(self, keep: bool) -> None:
        """Remove it, or keep it for the next time."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _leads_elsewhere(path: Path) -> bool:
    """Whether a folder is, or holds, what is no file and no directory: in a store that was copied
    from a stranger, links to what is not to be written or removed, and pipes."""
    return _is_strange(path) or any(
        _is_strange(os.path.join(top, name))
        for top, folders, names in os.walk(path)
        for name in (*folders, *names)
    )


def _is_strange(path: str | os.PathLike[str]) -> bool:
    # Another process may be at work in the folder.
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False
