"""A file that only ever changes from one complete state to the next.

HDF5 rewrites its own index in place, so a program killed while it does leaves a
file that nothing can open. This file object stands between HDF5 and the disk:

- Bytes past the end of the last committed state are written at once: nothing
  that is committed refers to them.
- Bytes that lie within the committed state are held in memory, by the page.
- `commit` writes those pages to a journal beside the file, syncs it, puts them in
  their place, and removes the journal.

A new file has another, hidden name until its first commit, so what has the name can be
opened. Killed before the journal is there, the file is what the last commit made it.
Killed afterwards, the journal holds all that was to be put in place, and
opening it here does so when it opens the file next. Only someone who opens the file
without this module, after a kill within the few milliseconds of putting pages
in place, can meet a mixture; a reader of a running job can meet one for as long.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import weakref
import zlib
from typing import Any

import h5py

from wepystore.reporters.base import draft_name

_PAGE = 4096
_MAGIC = b"wepystore journal 1\n"
_HEAD = struct.Struct("<QQI")  # size of the file, number of pages, CRC-32 of what follows
_PLACE = struct.Struct("<QI")  # offset, length


class JournaledHDF5:
    """An HDF5 file open for writing, all of whose changes come with `commit`.

    Parameters
    ----------
    path : the file
    create : begin an empty file, whatever was there; else open the one that is
        there, after putting in place what a killed commit left in the journal
    """

    def __init__(self, path: str, create: bool) -> None:
        self._raw = JournaledFile(path, create)
        try:
            # The oldest format that HDF5 1.8 and later all read, and the one
            # without a mark that says "still open": after a kill, a file with
            # that mark would have to be repaired before anything opens it.
            self.file = h5py.File(self._raw, "w" if create else "r+", libver="earliest")
        except BaseException:
            self._raw.close()
            raise
        # HDF5 calls back into the raw file whenever it closes, so at the end of
        # the interpreter, or in a collected cycle, the order must be this one.
        self._finalizer = weakref.finalize(self, _abandon, self.file, self._raw)

    def commit(self) -> None:
        """Make everything written so far the state of the file on the disk."""
        self.file.flush()
        self._raw.commit()

    def close(self) -> None:
        """Commit and close."""
        if self._finalizer.detach():
            try:
                self.file.close()
                self._raw.commit()
            finally:
                self._raw.close()

    def abandon(self) -> None:
        """Close; the file on the disk stays as the last commit left it."""
        self._finalizer()


def _abandon(file: h5py.File, raw: JournaledFile) -> None:
    raw.mute()
    file.close()
    raw.close()


class JournaledFile:
    """The file object between HDF5 and the disk; see `JournaledHDF5`."""

    def __init__(self, path: str, create: bool) -> None:
        self._path = path
        self._journal = journal_name(path)
        self._position = 0
        self._muted = False
        self._placing = False
        self.error: OSError | None = None
        self._pages: dict[int, bytearray] = {}
        #: Where a new file is until its first commit: before it, nothing could open it.
        self._draft: str | None = None
        if create:
            self._draft = draft_name(path)
            self._file = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        else:
            self._file = os.open(path, os.O_RDWR)
            self._recover()
        self._committed = self._size = os.fstat(self._file).st_size

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = max(0, self._size - self._position) if size < 0 else size
        buffer = bytearray(wanted)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        start = self._position
        stop = min(start + len(view), self._size)
        if stop <= start:
            return 0
        whole = os.pread(self._file, stop - start, start)
        view[: len(whole)] = whole
        view[len(whole) : stop - start] = bytes(stop - start - len(whole))
        for number in _page_numbers(start, stop):
            page = self._pages.get(number)
            if page is not None:
                # A page that was read before the file grew knows nothing of the rest.
                end = stop if self.error else min(stop, self._committed)
                first, last = _overlap(number, start, end)
                offset = number * _PAGE
                view[first - start : last - start] = page[first - offset : last - offset]
        self._position = stop
        return stop - start

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        start = self._position
        stop = start + len(view)
        if self._muted:
            return len(view)
        inside = min(stop, self._committed)
        self._hold(view[: max(0, inside - start)], start)
        outside = max(start, self._committed)
        if stop > outside:
            try:
                _write_all(self._file, view[outside - start :], outside)
            except OSError as error:
                # HDF5 cannot even close a file that failed it, so it is not told:
                # the bytes wait in memory and `commit` raises.
                self.error = self.error or error
                self._hold(view[outside - start :], outside)
        self._size = max(self._size, stop)
        self._position = stop
        return len(view)

    def _hold(self, view: memoryview, start: int) -> None:
        """Keep bytes for `start` and on in memory."""
        stop = start + len(view)
        for number in _page_numbers(start, stop):
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = self._read_page(number)
            first, last = _overlap(number, start, stop)
            offset = number * _PAGE
            page[first - offset : last - offset] = view[first - start : last - start]

    def truncate(self, size: int | None = None) -> int:
        if self._muted:
            return self._size
        self._size = self._position if size is None else size
        if self._size >= self._committed:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                self.error = self.error or error
        return self._size

    def flush(self) -> None:
        """Nothing: HDF5 flushes more often than a state is complete."""

    def commit(self) -> None:
        """Make everything written so far the state of the file.

        Raises
        ------
        OSError
            Now, or while HDF5 wrote; the file is as the last commit left it. If it was
            while pages were put in place, opening it here makes it as this commit would have.
        """
        if self.error is not None:
            raise self.error
        if self._pages:
            body = b"".join(
                _PLACE.pack(offset, len(data)) + data for offset, data in self._changes()
            )
            head = _HEAD.pack(self._size, len(self._pages), zlib.crc32(body))
            self._write_journal(memoryview(_MAGIC + head + body))
            # From here until all is in place, what is to be opened is the file and the journal.
            self._placing = True
            # Also after a loss of power the journal must be there before the first
            # page is overwritten, and an older journal must not come back.
            _sync_folder(self._journal)
            for offset, data in self._changes():
                _write_all(self._file, memoryview(data), offset)
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
            os.unlink(self._journal)
            self._placing = False
        elif self._size != self._committed:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        if self._draft is not None:
            # What was there before goes, and its journal first: it would be taken for ours.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._journal)
            os.replace(self._draft, self._path)
            self._draft = None
        self._pages.clear()
        self._committed = self._size

    def _write_journal(self, data: memoryview) -> None:
        draft = f"{self._journal}.tmp"
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                _write_all(file, data, 0)
                os.fsync(file)
            finally:
                os.close(file)
            # What the pages refer to must be on the disk before they are.
            os.fsync(self._file)
            os.replace(draft, self._journal)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    def mute(self) -> None:
        """Take in nothing more: what HDF5 writes on its way out is not wanted."""
        self._muted = True

    def close(self) -> None:
        """Let go of the file; what was not committed is lost."""
        # A commit that failed while pages were put in place is finished by the journal, and
        # these refer to what lies past the committed state.
        if not self._placing:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._committed)
        os.close(self._file)
        if self._draft is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._draft)

    def _changes(self) -> list[tuple[int, bytes]]:
        end = min(self._committed, self._size)
        return [
            (number * _PAGE, bytes(page[: max(0, end - number * _PAGE)]))
            for number, page in sorted(self._pages.items())
        ]

    def _read_page(self, number: int) -> bytearray:
        page = bytearray(os.pread(self._file, _PAGE, number * _PAGE))
        page.extend(bytes(_PAGE - len(page)))
        return page

    def _recover(self) -> None:
        """Finish the commit that a kill cut short, if there was one."""
        try:
            with open(self._journal, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        start = len(_MAGIC) + _HEAD.size
        if data.startswith(_MAGIC) and len(data) >= start:
            size, n_pages, checksum = _HEAD.unpack_from(data, len(_MAGIC))
            if zlib.crc32(data[start:]) == checksum:
                for _ in range(n_pages):
                    offset, length = _PLACE.unpack_from(data, start)
                    start += _PLACE.size
                    _write_all(self._file, memoryview(data)[start : start + length], offset)
                    start += length
                if os.fstat(self._file).st_size < size:
                    os.ftruncate(self._file, size)
                os.fsync(self._file)
        # A journal is renamed into place whole and synced, so one that is not
        # whole was rot and never ours to use; the file then speaks for itself.
        os.unlink(self._journal)


def journal_name(path: str) -> str:
    """The hidden file beside `path` that a commit goes through."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.journal")


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _page_numbers(start: int, stop: int) -> range:
    return range(start // _PAGE, -(-stop // _PAGE)) if stop > start else range(0)


def _overlap(number: int, start: int, stop: int) -> tuple[int, int]:
    """The part of page `number` within start … stop, in offsets of the file."""
    return max(start, number * _PAGE), min(stop, (number + 1) * _PAGE)


def _write_all(file: int, view: memoryview, offset: int) -> None:
    while len(view):
        written = os.pwrite(file, view, offset)
        offset += written
        view = view[written:]
