"""New HDF5 files, on disks that may be full.

HDF5 cannot close a file whose bytes it could not write, and takes the program with it at its end.
So what it writes goes through an object that lets it believe, when all is lost, that it could.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h5py

from wepystore.reporters.base import named_errors


@contextmanager
def new_hdf5(draft: str, file: str) -> Iterator[NewHDF5]:
    """A new HDF5 file that is open for writing, and closed with the block.

    Parameters
    ----------
    draft : str
        Where.
    file : str
        Its name in errors.

    Raises OSError if it cannot be written.
    """
    with named_errors(file):
        new = NewHDF5(draft)
        try:
            yield new
        except BaseException as problem:
            new.abandon()
            if isinstance(problem, Exception):
                # What it is about, if anything.
                new.check()
            raise
        new.close()


class NewHDF5:
    """An HDF5 file that is being written.

    Attributes
    ----------
    file : h5py.File
    """

    def __init__(self, draft: str) -> None:
        self._raw = _Raw(draft)
        try:
            self.file = h5py.File(self._raw, "w", libver="earliest")
        except BaseException:
            self._raw.close()
            raise

    def check(self) -> None:
        """Raise OSError if not all could be written so far; HDF5 does not know it."""
        if self._raw.error is not None:
            raise self._raw.error

    def close(self) -> None:
        """Write what is left. Raises OSError."""
        try:
            self.file.close()
        finally:
            self._raw.close()
        self.check()

    def abandon(self) -> None:
        """Close it, and write nothing any more."""
        self._raw.is_lost = True
        with suppress(Exception):
            self.file.close()
        self._raw.close()


class _Raw:
    """What h5py takes for a file.

    Attributes
    ----------
    is_lost : bool
        Whether nothing is written any more.
    error : OSError or None
        What went wrong first. It is not raised: it would be in the midst of HDF5.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o666)
        self._place = self._size = 0
        self.is_lost = False
        self.error: OSError | None = None

    def close(self) -> None:
        os.close(self._file)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def read(self, size: int) -> bytes:
        """h5py takes for a file what has this, and uses `readinto`."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = os.preadv(self._file, [view], self._place)
        # Behind what was written, or was to be, are zeros.
        view[done:] = bytes(len(view) - done)
        self._place += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and not self.is_lost:
            try:
                done += os.pwrite(self._file, view[done:], self._place + done)
            except OSError as error:
                self._failed(error)
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        if not self.is_lost:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                self._failed(error)
        return self._size

    def flush(self) -> None:
        """Nothing is held back here."""

    def _failed(self, error: OSError) -> None:
        self.is_lost, self.error = True, self.error or error
