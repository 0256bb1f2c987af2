"""Reading all files of one kind as fast as md5sum reads them.

A small file costs four system calls and one call of hashlib, all in one thread: with more threads
the interpreter's lock costs more than they bring (100,000 files of 1 KiB: 0.8 s with one thread,
1.2 to 6 s with two). A large one is hashed in chunks in a thread of its own, where the lock is
not held.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from wepystore.store import carriers, names, report

_SMALL = 1 << 17
_CHUNK = 1 << 20
# Not through links: those are looked at one by one. Not waiting for a pipe that got the name.
_REGULAR = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_ANY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_READABLE = 0o444


def _ordinary(mode: int) -> int:
    """Whether it is a regular file that anyone may read."""
    return mode & _READABLE if mode & 0o170000 == 0o100000 else 0


class Odd(NamedTuple):
    """A name in a kind's directory that is not an entry's. `md5` is set if it looks like one."""

    path: str
    why: str
    md5: str | None


class Listing:
    """The names of one kind. Paths are relative to the store."""

    def __init__(self, root: str, kind: str) -> None:
        self.root = root
        self.kind = kind
        # Per prefix directory: its path and (file name, md5) in the order of inodes, which is
        # about the order on the disk.
        self.regular: list[tuple[str, list[tuple[str, str]]]] = []
        self.links: dict[str, str] = {}
        self.no_files: dict[str, str] = {}
        self.odd: list[Odd] = []
        self.link_directories: list[str] = []

    def path(self, md5: str) -> str:
        """Where an entry belongs, relative to the store."""
        return f"{self.kind}/{md5[:2]}/{md5}" + (".json" if self.kind == "runs" else "")

    def __iter__(self) -> Iterator[str]:
        for _, files in self.regular:
            for _, md5 in files:
                yield md5
        yield from self.links

    def __len__(self) -> int:
        return sum(len(files) for _, files in self.regular) + len(self.links)


def list_kind(root: str, kind: str) -> Listing:
    """All names under a kind's directory. A directory that cannot be listed raises OSError."""
    listing = Listing(root, kind)
    suffix = ".json" if kind == "runs" else ""
    top = os.path.join(root, kind)
    if _leaves(top, root):
        listing.link_directories.append(kind)
    try:
        found = os.scandir(top)
    except (FileNotFoundError, NotADirectoryError):
        return listing
    with found:
        directories = sorted(found, key=lambda entry: entry.name)
    for directory in directories:
        prefix = directory.name
        path = f"{kind}/{prefix}"
        if len(prefix) != 2 or not names.is_hex(prefix) or not directory.is_dir():
            listing.odd.append(_odd(path, prefix))
            continue
        if directory.is_symlink() and _leaves(os.path.join(root, path), root):
            listing.link_directories.append(path)
        files = []
        with os.scandir(os.path.join(root, path)) as entries:
            for entry in entries:
                name = entry.name
                md5 = name.removesuffix(suffix)
                if not (names.is_hash(md5) and md5 + suffix == name and md5.startswith(prefix)):
                    listing.odd.append(_odd(f"{path}/{name}", name))
                elif entry.is_file(follow_symlinks=False):
                    files.append((entry.inode(), name, md5))
                elif entry.is_symlink():
                    listing.links[md5] = f"{path}/{name}"
                else:
                    listing.no_files[md5] = f"{path}/{name}"
        files.sort()
        listing.regular.append((path, [(name, md5) for _, name, md5 in files]))
    return listing


def _odd(path: str, name: str) -> Odd:
    bare = name.removesuffix(".json")
    if names.is_hash(bare):
        return Odd(path, "an entry's name where no entry of that name belongs", bare)
    if names.is_hash(bare.lower()):
        return Odd(path, "a hash with capital letters", None)
    inner = name.strip(".~").split(".")[0]
    if names.is_hash(inner):
        return Odd(path, "an unfinished copy, as rsync and others leave them", None)
    return Odd(path, "no part of a store has such a name", None)


def _leaves(path: str, root: str) -> bool:
    """Whether a path leads out of the store through a link."""
    real = os.path.realpath(path)
    return not (real + "/").startswith(os.path.realpath(root) + "/")


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


def scan(
    listing: Listing,
    *,
    sha256: bool = False,
    read: Callable[[str], bool] | None = None,
    keep: Callable[[str, bytes], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Hash the files of a listing; those that `read` refuses are only looked at (size, mode).

    `keep` gets the hash and the bytes of each file that is as it should be.
    """
    scanner = _Scanner(listing, sha256, read, keep)
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="wepystore-fsck") as pool:
        scanner.pool = pool
        for directory, files in listing.regular:
            scanner.directory(directory, files)
            if progress is not None:
                progress(len(files))
        for md5, path in listing.links.items():
            scanner.link(md5, path)
        scanner.finish()
    for md5, path in listing.no_files.items():
        scanner.result.faults[md5] = Fault(report.NO_FILE, f"{path} is not a file")
    return scanner.result


class _Scanner:
    def __init__(
        self,
        listing: Listing,
        sha256: bool,
        read: Callable[[str], bool] | None,
        keep: Callable[[str, bytes], None] | None,
    ) -> None:
        self.listing = listing
        self.root = listing.root
        self.sha256 = sha256
        self.read = read
        self.keep = keep
        self.result = Scan()
        self.pool: ThreadPoolExecutor | None = None
        self.waiting: list[tuple[str, Future[tuple[int, str, str]]]] = []
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
            assert self.pool is not None
            self.waiting.append((md5, self.pool.submit(_hash_file, path, self.sha256)))
            return
        size, found, sha256 = _hash_descriptor(file, self.sha256)
        pointer = found != md5 and os.pread(file, len(carriers.POINTER), 0) == carriers.POINTER
        self._done(md5, size, found, sha256, pointer)

    def link(self, md5: str, path: str) -> None:
        """An entry that is a symbolic link: git-annex makes such."""
        full = os.path.join(self.root, path)
        try:
            target = os.readlink(full)
        except OSError:
            return
        if carriers.keeper_of_link(target) is None and _leaves(full, self.root):
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
            self.result.faults[md5] = Fault(report.MISSING, _absent(target, full))
        except OSError as error:
            self._cannot(md5, error)

    def finish(self) -> None:
        """Wait for the large files."""
        for md5, future in self.waiting:
            try:
                self._done(md5, *future.result())
            except OSError as error:
                self._cannot(md5, error)

    def _done(self, md5: str, size: int, found: str, sha256: str, pointer: bool = False) -> None:
        self.result.files_read += 1
        self.result.bytes_read += size
        if found == md5:
            self.result.sizes[md5] = size
            if sha256:
                self.result.sha256[md5] = sha256
            if self.keep is not None:
                with open(os.path.join(self.root, self.listing.path(md5)), "rb") as file:
                    self.keep(md5, file.read())
        elif pointer:
            path = os.path.join(self.root, self.listing.path(md5))
            why = carriers.brings(path, "git-annex")
            self.result.faults[md5] = Fault(report.MISSING, why)
        else:
            why = "it is empty" if size == 0 else f"its {size} bytes have the MD5 {found}"
            self.result.faults[md5] = Fault(report.DAMAGED, why, found)

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


def _absent(target: str, path: str) -> str:
    keeper = carriers.keeper_of_link(target)
    if keeper is None:
        return f"a link to {target}, where nothing is"
    return carriers.brings(path, keeper)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, _ANY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hash_file(path: str, sha256: bool) -> tuple[int, str, str]:
    with _opened(path) as descriptor:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return _hash_descriptor(descriptor, sha256)


def _hash_descriptor(descriptor: int, sha256: bool) -> tuple[int, str, str]:
    """Size, MD5 and (if asked for, else "") SHA-256, from the beginning."""
    md5 = hashlib.md5(usedforsecurity=False)
    proof: Any = hashlib.sha256() if sha256 else None
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    size = 0
    while count := os.preadv(descriptor, (buffer,), size):
        md5.update(view[:count])
        if proof is not None:
            proof.update(view[:count])
        size += count
    return size, md5.hexdigest(), proof.hexdigest() if proof is not None else ""
