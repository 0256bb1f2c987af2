"""Several entries made durable together, in the order of S4."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from wepystore.store import files, publish
from wepystore.store.errors import MD5CollisionError
from wepystore.store.names import MARK, Ref
from wepystore.store.publish import Data, Unfinished, Workers, Writing

if TYPE_CHECKING:
    from wepystore.store.store import Store

# What is named, then what names it; each stage is durable before the next begins.
STAGES = (("objects",), ("configs", "snapshots"), ("runs",))

# So many files may wait for the disk; each holds a file descriptor.
_WAITING = 64


class Batch:
    """Use as `with store.batch() as batch`: what is put is hashed and written under tmp/ at once,
    and gets its name when the `with` ends. If it ends by an exception nothing gets a name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tmp = store.path / "tmp"
        self._quarantine = store.path / "quarantine"
        # Who may read the store, by what its creator's umask made of its first file.
        self._readers = os.stat(store.path / MARK).st_mode & 0o444
        self._workers: Workers | None = None
        self._unfinished: dict[tuple[str, str], Unfinished] = {}
        self._waiting: deque[Future[None]] = deque()
        # Directories that are no links to elsewhere.
        self._real: set[Path] = set()
        # (kind, md5) of what was not there before; known after the `with`.
        self.new: list[tuple[str, str]] = []
        # How many of those brought from another store are hard links to its files.
        self.linked = 0

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._publish()
        finally:
            if self._workers is not None:
                self._workers.close()
                self._workers = None
            for unfinished in self._unfinished.values():
                unfinished.discard()

    def put(self, kind: str, data: Data) -> Ref:
        """Add an entry: bytes-like, or a list of bytes-like buffers to be concatenated.

        The buffers may change again as soon as this returns. Raises MD5CollisionError (S3).
        """
        return self.put_many(kind, [data])[0]

    def put_many(self, kind: str, many: Sequence[Data]) -> list[Ref]:
        """The same for several entries at once, which is faster when they are large: they are
        hashed in parallel (a single MD5 cannot be)."""
        refs: list[Ref | Writing] = []
        writings: list[Writing] = []
        try:
            for data in many:
                views = publish.buffers_of(data)
                known = self._known(kind, views)
                if known is None:
                    writing = Writing(self._tmp, views, self._ready())
                    writings.append(writing)
                refs.append(known or writing)
            done = [item if isinstance(item, Ref) else item.ref() for item in refs]
        finally:
            # Also when one of them failed: the threads read the caller's memory.
            for writing in writings:
                self._wait_later(kind, writing.path, writing.ref(), writing.synced)
        return done

    def _known(self, kind: str, views: list[memoryview]) -> Ref | None:
        """The Ref of a small content that is there already.

        Hashing it before writing costs little, and most small parts of a checkpoint are the
        apparatus, which is there.
        """
        if publish.size_of(views) >= publish.LARGE:
            return None
        ref = publish.hash_of(views)
        final = self._store.file(kind, ref.md5)
        if not publish.same_bytes(final, views):
            return None
        self._add(kind, Unfinished(final, None, ref, _done()))
        return ref

    def bring(self, kind: str, md5: str, source: Path, ref: Ref | None = None) -> Ref:
        """Add an entry from a file of another store: linked if possible, verified always (S10).

        Raises DamagedEntryError naming the source, FileNotFoundError when it has gone.
        """
        workers = self._ready()
        path, found, descriptor, linked = publish.bring(self._tmp, source, ref, md5, self._readers)
        self.linked += linked
        self._wait_later(kind, path, found, workers.disk.submit(publish.sync, descriptor))
        return found

    def _ready(self) -> Workers:
        if self._workers is None:
            files.check_real(self._tmp, self._quarantine)
            publish.make_directory(self._tmp)
            self._workers = Workers()
        return self._workers

    def _wait_later(self, kind: str, path: Path, ref: Ref, synced: Future[None]) -> None:
        self._waiting.append(synced)
        self._add(kind, Unfinished(self._store.file(kind, ref.md5), path, ref, synced))
        while len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _add(self, kind: str, unfinished: Unfinished) -> None:
        ref = unfinished.ref
        first = self._unfinished.setdefault((kind, ref.md5), unfinished)
        if first is not unfinished:
            unfinished.discard()
            if first.ref != ref:
                raise MD5CollisionError(md5=ref.md5, kind=kind, path=first.final)

    def _publish(self) -> None:
        by_kind: dict[str, list[Unfinished]] = {}
        for (kind, _), unfinished in self._unfinished.items():
            by_kind.setdefault(kind, []).append(unfinished)
        for stage in STAGES:
            for kind in stage:
                for unfinished in by_kind.get(kind, ()):
                    unfinished.synced.result()
            changed: set[Path] = set()
            for kind in stage:
                for unfinished in by_kind.get(kind, ()):
                    changed |= self._place(kind, unfinished)
            if changed:
                # In parallel: the journal of the file system commits them together.
                list(self._ready().disk.map(publish.sync_directory, changed))

    def _place(self, kind: str, unfinished: Unfinished) -> set[Path]:
        prefix = unfinished.final.parent
        # The kind's directory too: another process may have made the prefix directory just now.
        changed = {prefix, prefix.parent}
        if prefix not in self._real:
            files.check_real(prefix.parent, prefix)
            self._real.add(prefix)
        if unfinished.path is not None and not os.path.isdir(prefix):
            changed |= publish.make_directory(prefix)
        if publish.place(unfinished, self._quarantine):
            self.new.append((kind, unfinished.ref.md5))
        return changed


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future
