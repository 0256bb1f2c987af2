"""Reading all files of one kind as fast as md5sum reads them.

A small file costs four system calls and one call of hashlib, all in one thread: with more threads
the interpreter's lock costs more than they bring (100,000 files of 1 KiB: 0.8 s with one thread,
1.2 to 6 s with two). So a second process takes its share where files are many. A large file is
hashed in chunks in a thread of its own, where the lock is not held.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

from wepystore.store import carriers
from wepystore.store.care import report
from wepystore.store.care.listing import Names, leaves
from wepystore.store.files import MAX_MANIFEST, hash_descriptor, manifest_fault, open_plain
from wepystore.store.names import Ref

# From so many files on a second process pays.
_MANY = 20_000
_SMALL = 1 << 17
# Not through links: those are looked at one by one. Not waiting for a pipe that got the name.
_REGULAR = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_ANY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_READABLE = 0o444


def _ordinary(mode: int) -> int:
    """Whether it is a regular file that anyone may read."""
    return mode & _READABLE if mode & 0o170000 == 0o100000 else 0


class Fault(NamedTuple):
    """What is wrong with a file: a word of report.py, and why."""

    what: str
    why: str
    found: str | None = None
    """The MD5 it has, if it could be read."""


class Scan:
    """What reading the files of one kind has shown, by MD5."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Of every file that is there and has no fault."""
        self.sha256: dict[str, str] = {}
        """If it was asked for."""
        self.faults: dict[str, Fault] = {}
        self.files_read = 0
        self.bytes_read = 0


def subset_of(number: int, of: int) -> Callable[[str], bool]:
    """Whether a hash is in the number-th (from 1) of so many parts, by its first digits."""
    return lambda md5: int(md5[:8], 16) * of >> 32 == number - 1


class Work:
    """The directories of a listing, read by this process and, if there are many files, by a second
    one, which begins at once. A directory is taken by whoever has time for it.

    Use as `with Work(...) as work`, then call `scan` with it.
    """

    def __init__(
        self,
        listing: Names,
        sha256: bool = False,
        read: Callable[[str], bool] | None = None,
    ) -> None:
        self.listing = listing
        self.sha256 = sha256
        self.read = read
        # One byte for each directory: there are at most 256, and a read takes one of them.
        self._queue, write = os.pipe()
        os.write(write, bytes(range(len(listing.regular))))
        os.close(write)
        # The process id of the second one; 0 when there is none.
        self.helper = 0
        self._result = -1
        several = (os.cpu_count() or 1) > 1 and len(listing) >= _MANY
        # A fork copies no thread, but the locks that threads hold.
        if several and threading.active_count() == 1:
            self._begin()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *error: object) -> None:
        if self.helper:
            os.kill(self.helper, signal.SIGKILL)
            self._wait()
        os.close(self._queue)

    def directories(self) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
        """Those that nobody has taken yet, with their numbers."""
        while number := os.read(self._queue, 1):
            yield number[0], *self.listing.regular[number[0]]

    def _begin(self) -> None:
        self._result, write = os.pipe()
        self.helper = os.fork()
        if self.helper:
            os.close(write)
            return
        status = 1
        try:
            scanner = _Scanner(self.listing, self.sha256, self.read, None)
            taken = []
            for number, directory, files in self.directories():
                scanner.directory(directory, files)
                taken.append(number)
            found = scanner.result
            told = (found.sizes, found.sha256, found.faults, found.files_read, found.bytes_read)
            with open(write, "w", encoding="ascii") as file:
                file.write(json.dumps((taken, scanner.large, *told)))
            status = 0
        finally:
            # No clean-up of what belongs to the parent, no traceback: it reads the rest itself.
            os._exit(status)

    def _wait(self) -> bool:
        pid, self.helper = self.helper, 0
        os.close(self._result)
        return os.waitpid(pid, 0)[1] == 0

    def collect(self, scanner: _Scanner, mine: set[int]) -> int:
        """Add what the other process has found; the number of its files. If it has failed its
        directories are read here."""
        if not self.helper:
            return 0
        told = None
        with open(self._result, encoding="ascii", closefd=False) as file, suppress(ValueError):
            told = json.load(file)
        self._wait()
        theirs = set(range(len(self.listing.regular))) - mine
        if told is None or set(told[0]) != theirs:
            for number in sorted(theirs):
                scanner.directory(*self.listing.regular[number])
        else:
            _, large, sizes, sha256, faults, files_read, bytes_read = told
            scanner.result.sizes.update(sizes)
            scanner.result.sha256.update(sha256)
            scanner.result.faults.update((md5, Fault(*fault)) for md5, fault in faults.items())
            scanner.result.files_read += files_read
            scanner.result.bytes_read += bytes_read
            for md5, path, size in large:
                scanner.later(md5, path, size)
        return sum(len(self.listing.regular[number][1]) for number in theirs)


def scan(
    work: Work,
    *,
    keep: Callable[[str, bytes], None] | None = None,
    size_of: Callable[[str], int | None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Hash the files of a listing; those that the work's `read` refuses are only looked at.

    `keep` gets the hash and the bytes of each file that is as it should be. `size_of` tells which
    size a large file should have, if anybody knows: one of another size is not read.
    """
    listing = work.listing
    scanner = _Scanner(listing, work.sha256, work.read, keep, size_of)
    threads = min(4, os.cpu_count() or 1)
    mine = set()
    with ThreadPoolExecutor(threads, thread_name_prefix="wepystore-fsck") as pool:
        scanner.pool = pool
        for number, directory, files in work.directories():
            mine.add(number)
            scanner.directory(directory, files)
            if progress is not None:
                progress(len(files))
        count = work.collect(scanner, mine)
        if progress is not None and count:
            progress(count)
        for md5, path in listing.links.items():
            scanner.link(md5, path)
        scanner.finish()
    for md5, path in listing.no_files.items():
        scanner.result.faults[md5] = Fault(report.NO_FILE, f"{path} is not a file")
    return scanner.result


class _Scanner:
    def __init__(
        self,
        listing: Names,
        sha256: bool,
        read: Callable[[str], bool] | None,
        keep: Callable[[str, bytes], None] | None,
        size_of: Callable[[str], int | None] | None = None,
    ) -> None:
        self.listing = listing
        self.size_of = size_of
        self.root = listing.root
        self.sha256 = sha256
        self.read = read
        self.keep = keep
        self.result = Scan()
        self.pool: ThreadPoolExecutor | None = None
        # (md5, path, size), without a pool only.
        self.large: list[tuple[str, str, int]] = []
        self.waiting: list[tuple[str, Future[Ref]]] = []
        self.buffer = bytearray(_SMALL + 1)

    def directory(self, directory: str, files: list[tuple[str, str]]) -> None:
        """Every regular file of one prefix directory.

        The small whole ones, nearly all there are, do not leave this loop: looking up a method
        or a module's name takes as long as hashing a kilobyte.
        """
        path = os.path.join(self.root, directory)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        open_, fstat, readv, close = os.open, os.fstat, os.readv, os.close
        md5_of, sha256_of = hashlib.md5, hashlib.sha256 if self.sha256 else None
        read, keep = self.read, self.keep
        buffers = (self.buffer,)
        view = memoryview(self.buffer)
        sizes, sha256 = self.result.sizes, self.result.sha256
        n_files = n_bytes = 0
        try:
            for name, md5 in files:
                if read is not None and not read(md5):
                    self._look(md5, name, descriptor)
                    continue
                try:
                    file = open_(name, _REGULAR, dir_fd=descriptor)
                except OSError as error:
                    self._cannot(md5, error)
                    continue
                try:
                    facts = fstat(file)
                    size = facts.st_size
                    if size <= _SMALL and _ordinary(facts.st_mode) and readv(file, buffers) == size:
                        data = view[:size]
                        if md5_of(data, usedforsecurity=False).hexdigest() == md5:
                            sizes[md5] = size
                            n_files += 1
                            n_bytes += size
                            if sha256_of is not None:
                                sha256[md5] = sha256_of(data).hexdigest()
                            if keep is not None:
                                keep(md5, bytes(data))
                            continue
                    self._file(file, facts, md5, f"{path}/{name}")
                except OSError as error:
                    self._cannot(md5, error)
                finally:
                    close(file)
        finally:
            os.close(descriptor)
        self.result.files_read += n_files
        self.result.bytes_read += n_bytes

    def _look(self, md5: str, path: str, directory: int | None = None) -> None:
        """The size and mode of a file that is not to be read."""
        try:
            facts = os.stat(path, dir_fd=directory)
        except OSError as error:
            self._cannot(md5, error)
            return
        if self._is_ordinary(facts, md5):
            self.result.sizes[md5] = facts.st_size

    def _is_ordinary(self, facts: os.stat_result, md5: str) -> bool:
        if not stat.S_ISREG(facts.st_mode):
            self.result.faults[md5] = Fault(report.NO_FILE, "it is not a file")
            return False
        if not facts.st_mode & _READABLE:
            # Only root could open it.
            self.result.faults[md5] = Fault(report.UNREADABLE, _MODE)
            return False
        return True

    def _file(self, file: int, facts: os.stat_result, md5: str, path: str) -> None:
        """An open file that is large, not as it should be, or reached through a link."""
        if not self._is_ordinary(facts, md5):
            return
        if facts.st_size > _SMALL:
            self.later(md5, path, facts.st_size)
            return
        found = hash_descriptor(file, self.sha256)
        pointer = found.md5 != md5 and os.pread(file, len(carriers.POINTER), 0) == carriers.POINTER
        self._done(md5, found, pointer)

    def later(self, md5: str, path: str, size: int) -> None:
        """Have a large file read in another thread; a sparse one of absurd size is not read."""
        if self.pool is None:
            self.large.append((md5, path, size))
            return
        expected = self.size_of(md5) if self.size_of is not None else None
        limit = MAX_MANIFEST if self.keep is not None else size
        if expected not in (None, size) or size > limit:
            should = f"{expected}" if expected is not None else f"at most {limit}"
            why = f"it has {size} bytes and should have {should}"
            self.result.faults[md5] = Fault(report.DAMAGED, why)
            return
        if self.keep is not None:
            why = ""
            # What cannot be opened is told when it is read.
            with suppress(OSError), _opened(path) as descriptor:
                why = manifest_fault(descriptor, size)
            if why:
                self.result.faults[md5] = Fault(report.DAMAGED, why)
                return
        self.waiting.append((md5, self.pool.submit(_hash_file, path, self.sha256)))

    def link(self, md5: str, path: str) -> None:
        """An entry that is a symbolic link: git-annex makes such."""
        full = os.path.join(self.root, path)
        try:
            target = os.readlink(full)
        except OSError:
            return
        carrier = carriers.carrier_of_link(target)
        if carrier is None and leaves(full, self.root):
            why = f"a link out of the store, to {target}"
            self.result.faults[md5] = Fault(report.LINK, why)
            return
        if self.read is not None and not self.read(md5) and os.path.exists(full):
            self._look(md5, full)
            return
        try:
            with _opened(full) as file:
                self._file(file, os.fstat(file), md5, full)
        except FileNotFoundError:
            why = f"a link to {target}, where nothing is"
            if carrier is not None:
                why = carriers.brings(full, carrier)
            self.result.faults[md5] = Fault(report.MISSING, why)
        except OSError as error:
            self._cannot(md5, error)

    def finish(self) -> None:
        """Wait for the large files."""
        for md5, future in self.waiting:
            try:
                self._done(md5, future.result())
            except OSError as error:
                self._cannot(md5, error)

    def _done(self, md5: str, found: Ref, pointer: bool = False) -> None:
        self.result.files_read += 1
        self.result.bytes_read += found.size
        if found.md5 == md5:
            self.result.sizes[md5] = found.size
            if found.sha256:
                self.result.sha256[md5] = found.sha256
            if self.keep is not None:
                path = os.path.join(self.root, self.listing.path(md5))
                with open(open_plain(path), "rb") as file:
                    self.keep(md5, file.read())
        elif pointer:
            path = os.path.join(self.root, self.listing.path(md5))
            why = carriers.brings(path, "git-annex")
            self.result.faults[md5] = Fault(report.MISSING, why)
        else:
            why = (
                f"its {found.size} bytes have the MD5 {found.md5}" if found.size else "it is empty"
            )
            self.result.faults[md5] = Fault(report.DAMAGED, why, found.md5)

    def _cannot(self, md5: str, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            # Gone since it was listed; if something names it, it is missing.
            return
        if error.errno == errno.EACCES:
            why = _MODE
        else:
            why = f"it cannot be read: {error.strerror or error}"
        self.result.faults[md5] = Fault(report.UNREADABLE, why)


_MODE = "its mode bits do not let it be read"


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, _ANY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hash_file(path: str, sha256: bool) -> Ref:
    with _opened(path) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return hash_descriptor(descriptor, sha256)
