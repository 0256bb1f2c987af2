"""Folders under a store's tmp/ for what is on its way to it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = "lock"


class Staging:
    """A folder for what comes from one address. Nothing reads from tmp/, so half of something in
    it harms nobody; what is whole gets its name from there by a hard link.

    The folder's name follows from the address, so that a transfer that was cut off goes on where
    it was. When another process is at it already, this one takes a folder of its own.
    """

    def __init__(self, tmp: Path, address: str) -> None:
        tmp.mkdir(exist_ok=True)
        digest = hashlib.md5(os.fsencode(address), usedforsecurity=False).hexdigest()
        self.path = tmp / f"incoming-{digest[:16]}"
        self._descriptor = self._take(self.path)
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
