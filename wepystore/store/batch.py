"""Several entries made durable together, in the order of S4."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from wepystore import durable
from wepystore.errors import DamagedError
from wepystore.store import bringing, files, publish
from wepystore.store.errors import MD5CollisionError
from wepystore.store.names import MARK, Ref, path_of
from wepystore.store.publish import Data, Unfinished, Workers, Writing
from wepystore.store.renewal import renew

if TYPE_CHECKING:
    from wepystore.store.system import WholeSync

# What is named, then what names it; each stage is durable before the next begins.
# Of frames and the recording that names them either may come first: until a run names it, a
# recording whose frames are not here is nothing that anybody counts on.
STAGES = (
    ("objects",),
    ("configs", "snapshots", "frames", "recordings"),
    ("runs",),
    ("attachments",),
)

# Up to so many files get an fsync each, in threads, while the next ones are hashed. Beyond, one
# sync of the file system is faster, though it waits for what other programs have written too.
FEW = 64

# How often a directory may go just before a file gets its name in it.
_TRIES = 5

# A file of another place that has come, or why it has not.
Brought = Ref | DamagedError | FileNotFoundError
# By its place in a list, the path under tmp/ and what will be known of it (see bringing.bring).
Pending = dict[int, tuple[str, Future[tuple[Ref, int, bool]]]]


class Batch:
    """Use as `with store.batch() as batch`: what is put is hashed and written under tmp/ at once,
    and gets its name when the `with` ends. If it ends by an exception nothing gets a name."""

    def __init__(self, root: Path, workers: Workers | None = None) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._quarantine = root / "quarantine"
        self._readers = bringing.Readers.of(root / MARK)
        # Somebody's, who closes them, or of this batch alone.
        self._lent = workers
        self._workers: Workers | None = None
        self._paths = durable.unfinished_paths(self._tmp)
        self._unfinished: dict[tuple[str, str], Unfinished] = {}
        self._waiting: deque[Future[None]] = deque()
        self._count = 0
        # Once there are many: what syncs them all, if the file system has that.
        self._whole: WholeSync | None = None
        self._is_bulk = False
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
            elif isinstance(error, OSError):
                durable.name(error, self._root)
        except OSError as failure:
            durable.name(failure, self._root)
            raise
        finally:
            # Each of them has a descriptor, and closes it.
            wait(self._waiting)
            if self._workers is not None and self._workers is not self._lent:
                self._workers.close()
            if self._whole is not None:
                self._whole.close()
                self._whole = None
            for unfinished in self._unfinished.values():
                unfinished.discard()

    def put(self, kind: str, data: Data) -> Ref:
        """Add an entry: bytes-like, or a list of bytes-like buffers to be concatenated.

        The buffers may change again as soon as this returns. Raises MD5CollisionError (S3).
        """
        return self.put_many(kind, [data])[0]

    def put_many(self, kind: str, many: Sequence[Data]) -> list[Ref]:
        """Add several entries at once, which is faster when they are large: they are
        hashed in parallel (a single MD5 cannot be)."""
        self._expect(len(many))
        every = [publish.buffers_of(data) for data in many]
        n_large = sum(publish.size_of(views) >= publish.LARGE for views in every)
        refs: list[Ref | Writing] = []
        writings: list[Writing] = []
        try:
            for views in every:
                if publish.size_of(views) < publish.LARGE:
                    refs.append(self._put_small(kind, views))
                    continue
                workers = self._ready()
                later, alone = self._whole is not None, n_large < workers.width
                path = next(self._paths)
                writings.append(Writing(path, views, workers, sync_later=later, alone=alone))
                refs.append(writings[-1])
            done = [item if isinstance(item, Ref) else item.ref() for item in refs]
        finally:
            # Also when one of them failed: the threads read the caller's memory.
            for writing in writings:
                try:
                    ref = writing.ref()
                except Exception:  # It is on its way already, and has left no file.
                    continue
                self._wait_later(kind, writing.path, ref, writing.synced)
        return done

    def _put_small(self, kind: str, views: list[memoryview]) -> Ref:
        """Hashing it before writing costs little, and most small parts of a checkpoint are the
        apparatus, which is there."""
        ref = Ref.of(*views)
        known = self._unfinished.get((kind, ref.md5))
        if known is not None and known.ref == ref:
            return ref
        final = self._final(kind, ref.md5)
        if publish.same_bytes(final, views):
            self._add(kind, Unfinished(final, None, ref, None))
            return ref
        workers = self._ready()
        path = next(self._paths)
        if self._whole is None:
            self._wait_later(kind, path, ref, Writing(path, views, workers, ref).synced)
        else:
            durable.write_small(path, views)
            self._add(kind, Unfinished(final, path, ref, None))
        return ref

    def bring(
        self, kind: str, md5: str, source: str | os.PathLike[str], ref: Ref | None = None
    ) -> Ref:
        """Add an entry from a file of another store: linked if possible, verified always (S10).

        Raises DamagedEntryError naming the source, FileNotFoundError when it has gone.
        """
        self._expect(1)
        self._ready()
        path = next(self._paths)
        return self._brought(kind, path, *self._bring(path, md5, os.fspath(source), ref))

    def bring_many(self, kind: str, many: Sequence[tuple[Ref, str]]) -> list[Brought]:
        """Add entries from many (ref, source), large ones in parallel; what one raises is in its
        place in the result."""
        self._expect(len(many))
        workers = self._ready()
        found: dict[int, Brought] = {}
        pending: Pending = {}
        try:
            for place, (ref, source) in enumerate(many):
                path = next(self._paths)
                if ref.size >= publish.LARGE:
                    future = workers.compute.submit(self._bring, path, ref.md5, source, ref)
                    pending[place] = path, future
                    self._collect(kind, pending, found, FEW)
                    continue
                try:
                    result = self._bring(path, ref.md5, source, ref)
                    found[place] = self._brought(kind, path, *result)
                except (DamagedError, FileNotFoundError) as error:
                    found[place] = error
        finally:
            self._collect(kind, pending, found, 0)
        return [found[place] for place in range(len(many))]

    def _collect(self, kind: str, pending: Pending, found: dict[int, Brought], most: int) -> None:
        """Wait until so many are pending at most. Each holds a file descriptor, and what it makes
        has to be known to be removed, whatever happens."""
        failure: BaseException | None = None
        for place in list(pending)[: max(0, len(pending) - most)]:
            path, future = pending.pop(place)
            try:
                found[place] = self._brought(kind, path, *future.result())
            except (DamagedError, FileNotFoundError) as error:
                found[place] = error
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _bring(self, path: str, md5: str, source: str, ref: Ref | None) -> tuple[Ref, int, bool]:
        return bringing.bring(path, source, ref, md5, self._readers)

    def _brought(self, kind: str, path: str, ref: Ref, descriptor: int, linked: bool) -> Ref:
        self.linked += linked
        if self._whole is not None and os.fstat(descriptor).st_dev == self._whole.device:
            if not linked and ref.size >= publish.LARGE:
                durable.start_writing(descriptor)
            os.close(descriptor)
            self._wait_later(kind, path, ref, None)
        else:
            synced = self._ready().disk.submit(durable.sync, descriptor)
            self._wait_later(kind, path, ref, synced)
        return ref

    def _final(self, kind: str, md5: str) -> str:
        return f"{self._root}/{path_of(kind, md5)}"

    def _expect(self, count: int) -> None:
        """So many more files are to be added: are they many by now?"""
        self._count += count
        if self._count > FEW and not self._is_bulk:
            from wepystore.store.system import WholeSync

            self._ready()
            self._is_bulk = True
            self._whole = WholeSync.of(self._tmp)

    def _ready(self) -> Workers:
        if self._workers is None:
            files.check_real(self._tmp, self._quarantine)
            durable.make_directory(self._tmp)
            self._workers = self._lent or Workers()
        return self._workers

    def _wait_later(self, kind: str, path: str, ref: Ref, synced: Future[None] | None) -> None:
        if synced is not None:
            self._waiting.append(synced)
        self._add(kind, Unfinished(self._final(kind, ref.md5), path, ref, synced))
        # Each of them holds a file descriptor.
        while len(self._waiting) > FEW:
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
            if unfinished.synced is not None:
                unfinished.synced.result()
        if self._whole is not None:
            # The bytes of all stages; their names follow one stage at a time.
            self._whole()
        for stage in STAGES:
            changed: set[str] = set()
            for kind in stage:
                changed |= self._place(kind, by_kind.get(kind, ()))
            if len(changed) > FEW and self._whole is not None:
                self._whole()
            elif changed:
                # In parallel: the journal of the file system commits them together.
                list(self._ready().disk.map(durable.sync_directory, map(Path, changed)))

    def _place(self, kind: str, many: Sequence[Unfinished]) -> set[str]:
        """Give all of a kind their names; returns the directories that are to be synced."""
        rename = None
        if self._whole is not None:
            from wepystore.store.system import rename_to_new

            rename = rename_to_new()
        changed: set[str] = set()
        for unfinished in many:
            prefix = os.path.dirname(unfinished.final)
            if prefix not in changed:
                files.check_real(os.path.dirname(prefix), prefix)
                changed.add(prefix)
                # The kind's directory too: another process may have made the prefix just now.
                changed.add(os.path.dirname(prefix))
                if unfinished.path is not None and not os.path.isdir(prefix):
                    changed.update(map(str, durable.make_directory(Path(prefix))))
            if self._place_in(prefix, unfinished, rename):
                self.new.append((kind, unfinished.ref.md5))
        return changed

    def _place_in(self, prefix: str, unfinished: Unfinished, rename: publish.Rename | None) -> bool:
        for _ in range(_TRIES):
            try:
                return self._place_one(unfinished, rename)
            except FileNotFoundError:
                # Whoever removes the last entry of a directory removes that too (Store.remove).
                durable.make_directory(Path(prefix))
        return self._place_one(unfinished, rename)

    def _place_one(self, unfinished: Unfinished, rename: publish.Rename | None) -> bool:
        if self._whole is not None and unfinished.path is None:
            # One sync of all is behind us; a file elsewhere (git-annex) had no part in it.
            if os.stat(unfinished.final).st_dev == self._whole.device:
                renew(unfinished.final)
                return False
        elif rename is not None:
            return publish.place_renamed(unfinished, self._quarantine, rename)
        return publish.place(unfinished, self._quarantine)
