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
import errno
import io
import os
import struct
import weakref
import zlib
from typing import Any

import h5py

from wepystore import durable
from wepystore.reporters.base import draft_name
from wepystore.reporters.files import create_own, open_own, read_own, replacing

_PAGE = 4096
_MAGIC = b"wepystore journal 2\n"
#: Of journals whose checksum was of the pages alone.
_OLD_MAGIC = b"wepystore journal 1\n"
_HEAD = struct.Struct("<QQI")  # size of the file, number of pages, CRC-32 of these and the pages
_COUNTS = struct.Struct("<QQ")
#: What every HDF5 file begins with here.
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: No file is larger, in bytes.
_LARGEST = 1 << 50
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
        self._raw = JournaledFile(path, create, begins=_HDF5)
        try:
            # The oldest format that HDF5 1.8 and later all read, and the one
            # without a mark that says "still open": after a kill, a file with
            # that mark would have to be repaired before anything opens it.
            self.file = h5py.File(self._raw, "w" if create else "r+", libver="earliest")
        except BaseException:
            self._raw.close()
            raise
        try:
            if not create:
                check_self_contained(self.file, path)
        except BaseException:
            _abandon(self.file, self._raw)
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

    def __init__(self, path: str, create: bool, begins: bytes = b"") -> None:
        self._path = path
        self._begins = begins
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
            self._file = create_own(self._draft)
        else:
            self._file = open_own(path, os.O_RDWR)
            try:
                self._recover()
            except BaseException:
                os.close(self._file)
                raise
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
            checksum = zlib.crc32(body, zlib.crc32(_COUNTS.pack(self._size, len(self._pages))))
            head = _HEAD.pack(self._size, len(self._pages), checksum)
            with replacing(self._journal, f"{self._journal}.tmp") as file:
                file.write(_MAGIC + head + body)
                file.flush()
                os.fsync(file.fileno())
                # What the pages refer to must be on the disk before they are.
                os.fsync(self._file)
            # From here until all is in place, what is to be opened is the file and the journal.
            self._placing = True
            # Also after a loss of power the journal must be there before the first
            # page is overwritten, and an older journal must not come back.
            durable.sync_directory(os.path.dirname(self._journal) or ".")
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
            data = read_own(self._journal)
        except FileNotFoundError:
            return
        found = _read_journal(data)
        if found is not None:
            size, pages = found
            # Another file than the journal is of is not to be written to, page by page.
            if os.pread(self._file, len(self._begins), 0) != self._begins:
                why = "it does not begin as such a file does, so its journal is not put in place"
                raise OSError(errno.EINVAL, why, self._path)
            for offset, page in pages:
                _write_all(self._file, page, offset)
            if os.fstat(self._file).st_size < size:
                os.ftruncate(self._file, size)
            os.fsync(self._file)
        # A journal is renamed into place whole and synced, so one that is not
        # whole was rot and never ours to use; the file then speaks for itself.
        os.unlink(self._journal)


def _read_journal(data: bytes) -> tuple[int, list[tuple[int, memoryview]]] | None:
    """Size of the file, and the bytes for each offset; None if the journal is not whole."""
    start = len(_MAGIC) + _HEAD.size
    if not data.startswith((_MAGIC, _OLD_MAGIC)) or len(data) < start:
        return None
    size, n_pages, checksum = _HEAD.unpack_from(data, len(_MAGIC))
    counts = b"" if data.startswith(_OLD_MAGIC) else _COUNTS.pack(size, n_pages)
    view = memoryview(data)
    if zlib.crc32(view[start:], zlib.crc32(counts)) != checksum:
        return None
    pages = []
    for _ in range(n_pages):
        if len(data) - start < _PLACE.size:
            return None
        offset, length = _PLACE.unpack_from(data, start)
        start += _PLACE.size
        # What a commit puts in place lies within the file, and all of it is there.
        if length > len(data) - start or offset + length > size:
            return None
        pages.append((offset, view[start : start + length]))
        start += length
    return (size, pages) if start == len(data) and size < _LARGEST else None


def check_self_contained(file: h5py.File, path: str) -> None:
    """Raise OSError if anything in an HDF5 file stands in another one: what is written to a dataset
    whose bytes are elsewhere would be written there."""

    seen: set[int] = set()
    groups: list[Any] = [file]
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            thing = group.get(name) if isinstance(link, h5py.HardLink) else None
            if thing is None or getattr(thing, "external", None) or _is_virtual(thing):
                why = f"{group.name.rstrip('/')}/{name} in it is kept in another file, or nowhere"
                raise OSError(errno.EINVAL, why, path)
            if isinstance(thing, h5py.Group):
                # It may hold itself.
                key = h5py.h5o.get_info(thing.id).addr
                if key not in seen:
                    seen.add(key)
                    groups.append(thing)


def _is_virtual(thing: Any) -> bool:
    return isinstance(thing, h5py.Dataset) and bool(thing.is_virtual)


def journal_name(path: str) -> str:
    """The hidden file beside `path` that a commit goes through."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.journal")


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
