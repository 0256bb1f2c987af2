"""The one way by which a file gets its name in a store (S2, S3).

    Writing                    a file under tmp/, hashed while it is written
    durable.sync()             its bytes are on the disk
    place()                    it has its final name, or what had that name is as good
    place_renamed()            so in one step, where the system has it
    durable.sync_directory()   the name is on the disk

Each function closes one race or one kind of crash; the order in which they are called for
several files at once is the Batch's business.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from wepystore import durable
from wepystore.store import carriers, files
from wepystore.store.errors import DamagedEntryError, MD5CollisionError
from wepystore.store.names import Ref
from wepystore.store.renewal import renew

# A Buffer (see names), or a list or tuple of such to be concatenated.
Data = Any
# Gives a file a name that is new, or raises FileExistsError.
Rename = Callable[[str, str], None]

# From here on it pays to hash in two threads while a third one writes.
LARGE = 1 << 20
# Fits into a processor's own cache, so that a second reader finds it there.
_CACHED = 1 << 18

# Where renameat2 knows no "unless the name exists".
_NO_RENAME_TO_NEW = durable.NO_LINK | {errno.EINVAL}


class Workers:
    """The threads of one batch: some that hash, some that wait for the disk."""

    def __init__(self) -> None:
        self.width = min(8, os.cpu_count() or 1)
        self.compute = ThreadPoolExecutor(self.width, thread_name_prefix="wepystore-hash")
        self.disk = ThreadPoolExecutor(8, thread_name_prefix="wepystore-sync")

    def close(self) -> None:
        self.compute.shutdown()
        self.disk.shutdown()


def buffers_of(data: Data) -> list[memoryview]:
    """The data as flat views of bytes; nothing is copied unless a view is not contiguous."""
    parts: Sequence[Any]
    if isinstance(data, list | tuple):
        parts = data
    else:
        parts = (data,)
    views = []
    for part in parts:
        view = memoryview(part)
        if not view.nbytes:
            continue
        if view.format == "B" and view.ndim == 1 and view.c_contiguous:
            views.append(view)
        elif view.c_contiguous:
            views.append(view.cast("B"))
        else:
            views.append(memoryview(view.tobytes()))
    return views


def size_of(views: Sequence[memoryview]) -> int:
    """The number of bytes."""
    return sum(view.nbytes for view in views)


def _hash(algorithm: Any, views: Sequence[memoryview]) -> str:
    # Not for security: FIPS builds of OpenSSL refuse md5 otherwise.
    digest = algorithm(usedforsecurity=False)
    for view in views:
        digest.update(view)
    name: str = digest.hexdigest()
    return name


class Unfinished:
    """A file under tmp/ that waits for its name; `path` is None when it has turned out not to
    be needed, because the final name is there already and holds the same bytes. `synced` is
    None when somebody else sees to it that the bytes are on the disk."""

    # Paths as text: a hundred thousand of these are made, and Path costs more than a link.
    __slots__ = ("final", "path", "ref", "synced")

    def __init__(self, final: str, path: str | None, ref: Ref, synced: Future[None] | None) -> None:
        self.final = final
        self.path = path
        self.ref = ref
        self.synced = synced

    def discard(self) -> None:
        """Remove the file under tmp/, if it is still there."""
        if self.path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            self.path = None


class Writing:
    """A file that is being written under tmp/ and hashed from the same memory.

    The disk gets its part as soon as it can: the wait for it then overlaps with hashing, which
    is the larger part of the work for large data. Where there are fewer files than processors
    (`alone`) its two hashes run in two other threads while this one writes. Otherwise one other
    thread does everything: its second hash then finds each buffer in the processor's cache, which
    saves a tenth of the time, and no two threads wait for each other.
    """

    def __init__(
        self,
        path: str,
        views: Sequence[memoryview],
        workers: Workers,
        ref: Ref | None = None,
        sync_later: bool = False,
        alone: bool = True,
    ) -> None:
        self.path = path
        self.synced: Future[None] | None = None
        self._size = size_of(views)
        self._ref = ref
        self._hashes: list[Future[Any]] = []
        self._workers = workers
        self._sync_later = sync_later
        if ref is None and not alone:
            self._hashes = [workers.compute.submit(self._write_and_hash, views)]
            return
        if ref is None:
            self._hashes = [
                workers.compute.submit(_hash, algorithm, views)
                for algorithm in (hashlib.md5, hashlib.sha256)
            ]
        try:
            self._write(views)
        except BaseException:
            # Nobody will ask for them, but they read the caller's memory.
            wait(self._hashes)
            raise

    def _write_and_hash(self, views: Sequence[memoryview]) -> tuple[str, str]:
        self._write(views)
        pieces = (v[k : k + _CACHED] for v in views for k in range(0, v.nbytes, _CACHED))
        return Ref.of(*pieces)[:2]

    def _write(self, views: Sequence[memoryview]) -> None:
        descriptor = os.open(self.path, durable.NEW, durable.MODE)
        try:
            durable.write_all(descriptor, views)
        except BaseException:
            os.close(descriptor)
            os.unlink(self.path)
            raise
        if self._sync_later:
            durable.start_writing(descriptor)
            os.close(descriptor)
        else:
            self.synced = self._workers.disk.submit(durable.sync, descriptor)

    def ref(self) -> Ref:
        """Wait for the hashes; from here on the data may change. Raises what went wrong."""
        if self._ref is None:
            wait(self._hashes)
            md5, sha256 = (
                self._hashes[0].result()
                if len(self._hashes) == 1
                else [each.result() for each in self._hashes]
            )
            self._ref = Ref(md5, sha256, self._size)
        return self._ref


def write_file(root: Path, file: Path, data: bytes, replace: bool = False) -> None:
    """A small mutable or marking file of a store, whole and durable, by way of tmp/.

    Raises FileExistsError unless it may replace.
    """
    files.check_real(root / "tmp", root / "refs", file.parent if file.parent != root else file)
    changed = durable.make_directory(root / "tmp") | durable.make_directory(file.parent)
    tmp = durable.unfinished_path(root / "tmp")
    with durable.naming(file):
        try:
            durable.write_small(os.fspath(tmp), [memoryview(data)])
            durable.sync_existing(tmp)
            durable.move(tmp, file, replace)
        finally:
            tmp.unlink(missing_ok=True)
    for directory in changed | {file.parent}:
        durable.sync_directory(directory)


def place(unfinished: Unfinished, quarantine: Path) -> bool:
    """Give a file its final name; True if the name is new, False if it was there, whole.

    `link` fails where the name exists, so no two writers can replace each other's file and no
    inode that somebody reads over NFS is ever replaced. A name that exists is compared, not
    trusted. Raises MD5CollisionError (S3).
    """
    if unfinished.path is None:
        # It was compared when it was put; all that is left is that it must not have gone since.
        durable.sync_existing(unfinished.final)
        renew(unfinished.final)
        return False
    new = False
    try:
        os.link(Path(unfinished.path), Path(unfinished.final))
        new = True
    except FileExistsError:
        _settle(unfinished, quarantine)
    except OSError as error:
        if error.errno not in durable.NO_LINK:
            raise
        new = _rename(unfinished, quarantine)
    unfinished.discard()
    return new


def place_renamed(unfinished: Unfinished, quarantine: Path, rename: Rename) -> bool:
    """As `place`, by a rename that fails where the name exists: one step in place of two."""
    if unfinished.path is None:
        return place(unfinished, quarantine)
    try:
        rename(unfinished.path, unfinished.final)
    except FileExistsError:
        _settle(unfinished, quarantine)
        unfinished.discard()
        return False
    except OSError as error:
        if error.errno not in _NO_RENAME_TO_NEW:
            raise
        return place(unfinished, quarantine)
    unfinished.path = None
    return True


def _rename(unfinished: Unfinished, quarantine: Path) -> bool:
    # Without hard links there is no "create unless it exists"; two writers of the same name have
    # the same bytes, so the window between this look and the rename does no harm.
    assert unfinished.path is not None
    if os.path.lexists(unfinished.final):
        _settle(unfinished, quarantine)
        return False
    os.rename(unfinished.path, unfinished.final)
    return True


def _settle(unfinished: Unfinished, quarantine: Path) -> None:
    """The name exists: right bytes are left alone, wrong ones go to quarantine/ (S2)."""
    assert unfinished.path is not None
    tmp, final, ref = Path(unfinished.path), Path(unfinished.final), unfinished.ref
    while True:
        try:
            there = files.open_plain(final)
        except FileNotFoundError:
            # A dangling link (git-annex); or it has just gone, and the replace makes it anew.
            os.replace(tmp, final)
            return
        try:
            stat = os.fstat(there)
            same = _is(stat, tmp)
            found = ref if same else files.hash_descriptor(there)
            if found == ref:
                if not same:
                    os.fsync(there)
                try:
                    renew(final)
                except FileNotFoundError:
                    continue
                return
            if os.pread(there, len(carriers.POINTER), 0) == carriers.POINTER:
                # git-annex has the content elsewhere: there is nothing to be kept.
                os.replace(tmp, final)
                return
        finally:
            os.close(there)
        if found.md5 == ref.md5:
            raise MD5CollisionError(md5=ref.md5, kind=final.parent.parent.name, path=final)
        quarantine.mkdir(exist_ok=True)
        aside = quarantine / f"{final.parent.parent.name}-{final.name}-{os.urandom(4).hex()}"
        try:
            os.link(final, aside, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in durable.NO_LINK:
                raise
            os.rename(final, aside)
            os.rename(tmp, final)
            return
        if _is(stat, aside) or os.path.islink(aside):
            # From here to the replace somebody else may have put the good file there: then one
            # good file replaces another, and the name is never without a file.
            os.replace(tmp, final)
            return
        # Another writer has already put something else there: look again.
        aside.unlink()


def _is(stat: os.stat_result, path: Path) -> bool:
    try:
        other = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (stat.st_dev, stat.st_ino) == (other.st_dev, other.st_ino)


def same_bytes(path: str, views: Sequence[memoryview]) -> bool:
    """Whether a file holds just these bytes (small ones: it is read as a whole)."""
    try:
        descriptor = files.open_plain(path)
    except (FileNotFoundError, NotADirectoryError, DamagedEntryError):
        return False
    with open(descriptor, "rb", buffering=0) as file:
        if file.read(size_of(views) + 1) != b"".join(views):
            return False
    try:
        renew(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
