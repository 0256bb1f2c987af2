"""Sources of a reconcile that are elsewhere, brought near enough for an ordinary reconcile.

    with Incoming(target, addresses) as incoming:     who is there, and what they hold
        plan = incoming.plan()                         manifests, records and refs have come
        incoming.fetch(plan, progress)                 objects have come, into TARGET/tmp/
        outcome = reconcile.apply(plan)                they are verified and get their names

Only what the target lacks crosses. A source is listed first; then those manifests and run records
are fetched that the target has not, or not in that size; then just the objects that the plan
names. Everything is verified when it gets its name, as from a local source.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from wepystore.errors import WepystoreError
from wepystore.remotes.address import Address, parse
from wepystore.remotes.connect import transport
from wepystore.remotes.database import Database
from wepystore.remotes.errors import BrokenOffError, NoRoomError, NotAStoreThereError
from wepystore.remotes.mirror import Listing, Mirror, Progress, Transport
from wepystore.remotes.staging import Staging
from wepystore.store import Store
from wepystore.store.merge import reconcile
from wepystore.store.merge.reconcile import Left, Name, Plan
from wepystore.store.names import MARK, path_of
from wepystore.store.places import root_of

_RECORDS = ("configs", "snapshots", "runs")
# A manifest is read as a whole. Those of wepy 1.x are the largest, some hundred MB.
_LARGEST_RECORD = 4 << 30


class Incoming:
    """Where a reconcile's sources are. With `dry`, nothing at all is written to the target.

    Raises, when it is entered, what Store.open raises for target and local sources, and
    UnreachableError, NotAStoreThereError, NotInstalledError, DatabaseError, BrokenOffError. A
    target that is not there is made as soon as all sources have been reached.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        addresses: Sequence[str],
        *,
        shell: str | None = None,
        dry: bool = False,
    ) -> None:
        self.target = Path(target)
        self.stores: list[Store] = []
        """One for each address, in that order."""
        self._addresses = [parse(address) for address in addresses]
        self._shell = shell
        self._dry = dry
        self._ways: dict[Path, Transport] = {}
        self._labels: dict[Path, str] = {}
        self._stagings: list[Staging] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._left: dict[tuple[str, Name], Left] = {}

    def __enter__(self) -> Incoming:
        try:
            self._reach()
        except BaseException as error:
            self._close(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(error)

    def _close(self, error: BaseException | None) -> None:
        for store in self.stores:
            if isinstance(store, Database):
                store.close()
        # What was cut off goes on from there. Any other end is one that the same files would
        # lead to again.
        cut_off = isinstance(error, (BrokenOffError, OSError, KeyboardInterrupt))
        for staging in self._stagings:
            staging.close(keep=cut_off)
        if self._scratch is not None:
            self._scratch.cleanup()

    # ---- who is there

    def _reach(self) -> None:
        here = self._open_target()
        for address in self._addresses:
            self.stores.append(self._open(address))
        elsewhere = [
            (address, store)
            for address, store in zip(self._addresses, self.stores, strict=True)
            if isinstance(store, Mirror)
        ]
        if here is None and elsewhere and not self._dry:
            here = Store.ensure(self.target)
        for address, mirror in elsewhere:
            way = self._ways.pop(mirror.path, None)
            mirror.settle(self._folder(address))
            self._labels[mirror.path] = address.text
            if way is not None:
                self._ways[mirror.path] = way
                self._bring_records(mirror, way, here)

    def _open_target(self) -> Store | None:
        if Store.can_create(self.target):
            return None
        return Store.open(self.target)

    def _open(self, address: Address) -> Store:
        if address.kind == "store":
            return Store.open(root_of(address.path))
        scratch = self._scratch_folder()
        if address.kind == "sqlite":
            database = Database(address.path, scratch)
            self._left |= {(address.text, (x.kind, x.md5)): x for x in database.left}
            return database
        way = transport(address, self._shell)
        listing = way.listing()
        if not listing.is_store:
            raise NotAStoreThereError(address=address.text, why=fault(listing))
        self._ways[scratch] = way
        return Mirror(scratch, listing)

    def _scratch_folder(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="wepystore-")
        return Path(tempfile.mkdtemp(dir=self._scratch.name))

    def _folder(self, address: Address) -> Path:
        if self._dry:
            return self._scratch_folder()
        where = os.path.abspath(address.text) if address.kind == "sqlite" else address.text
        self._stagings.append(Staging(self.target / "tmp", where))
        return self._stagings[-1].path

    # ---- what is wanted of it

    def _bring_records(self, mirror: Mirror, way: Transport, here: Store | None) -> None:
        """The mark, the refs, and the manifests and records that the target lacks."""
        # Refs change, and one hash in the place of another has the same size.
        shutil.rmtree(mirror.path / "refs", ignore_errors=True)
        (mirror.path / MARK).unlink(missing_ok=True)
        way.fetch([MARK, *mirror.listing.refs], mirror.path)
        try:
            Store.open(mirror.path)
        except WepystoreError as error:
            # The same, but of the place that the user knows.
            fields = {key: self.text(str(value)) for key, value in error.fields.items()}
            raise type(error)(**fields) from None
        earlier = [s for s in self.stores if isinstance(s, Mirror) and s is not mirror]
        wanted = []
        for kind in _RECORDS:
            for md5 in mirror.hashes(kind):
                if here is not None and here.size(kind, md5) == mirror.size(kind, md5):
                    continue
                if not any(other.is_staged(kind, md5) for other in earlier):
                    wanted.append((kind, md5))
        self._bring(mirror, way, wanted)

    def _bring(
        self,
        mirror: Mirror,
        way: Transport,
        wanted: Sequence[Name],
        progress: Progress | None = None,
    ) -> None:
        paths = {}
        total = 0
        for kind, md5 in wanted:
            size = mirror.size(kind, md5) or 0
            if kind != "objects" and size > _LARGEST_RECORD:
                self._leave(mirror, kind, md5, f"its manifest has {size} bytes, which none has")
            elif not mirror.is_staged(kind, md5):
                paths[path_of(kind, md5)] = (kind, md5)
                total += size
        self._check_room(mirror, total)
        problems = way.fetch(list(paths), mirror.path, progress, total)
        for path, why in problems.items():
            self._leave(mirror, *paths[path], why)

    def _check_room(self, mirror: Mirror, needed: int) -> None:
        free = shutil.disk_usage(mirror.path).free
        if needed > free:
            raise NoRoomError(path=self.target, free=free, needed=needed)

    def _leave(self, mirror: Mirror, kind: str, md5: str, why: str) -> None:
        left = Left(kind, md5, mirror.path, why)
        self._left[str(mirror.path), (kind, md5)] = left

    # ---- the reconcile

    def plan(self, only: Collection[Name] | None = None) -> Plan:
        """As reconcile.plan, with what could not even be listed or read in `left`."""
        plan = reconcile.plan(self.target, self.stores, only)
        if self._bring_again(plan):
            plan = reconcile.plan(self.target, self.stores, only)
        known = {(left.kind, left.md5) for left in plan.left}
        more = [
            left
            for left in self._left.values()
            if left.kind != "objects" and (left.kind, left.md5) not in known
        ]
        return replace(plan, left=(*plan.left, *more))

    def _bring_again(self, plan: Plan) -> bool:
        """What is damaged in the target, or in the first of several sources, looks as if it were
        not needed from here; it is. Whether anything came."""
        came = False
        for mirror, way in self._mirrors():
            wanted = [
                (left.kind, left.md5)
                for left in plan.left
                if left.kind in _RECORDS
                and mirror.has(left.kind, left.md5)
                and not mirror.is_staged(left.kind, left.md5)
                and (str(mirror.path), (left.kind, left.md5)) not in self._left
            ]
            if wanted:
                self._bring(mirror, way, wanted)
                came = True
        return came

    def _mirrors(self) -> list[tuple[Mirror, Transport]]:
        return [
            (store, self._ways[store.path])
            for store in self.stores
            if isinstance(store, Mirror) and store.path in self._ways
        ]

    def fetch(self, plan: Plan, progress: Progress | None = None) -> None:
        """Bring what a plan needs from elsewhere. Raises BrokenOffError, NoRoomError."""
        wanted: dict[Path, list[Name]] = {}
        total = 0
        for copy in plan.copies:
            first = copy.sources[0]
            if not all(isinstance(source, Mirror) for source in copy.sources):
                continue
            if not (isinstance(first, Mirror) and first.is_staged(*copy.name)):
                wanted.setdefault(first.path, []).append(copy.name)
                total += copy.ref.size
        done = 0

        def told(now: int, _: int) -> None:
            if progress is not None:
                progress(done + now, total)

        for store in self.stores:
            names = wanted.get(store.path, [])
            if isinstance(store, Database):
                store.fetch(names, told, total)
            elif isinstance(store, Mirror):
                self._bring(store, self._ways[store.path], names, told)
            done += sum(store.size(*name) or 0 for name in names)
        self._show_healed(plan)

    def _show_healed(self, plan: Plan) -> None:
        """`apply` reports an entry that it could not complete if some source still has it: for
        one that only lacks parts in the target, that it is here has to be visible."""
        for entry in plan.entries:
            source = entry.sources[0] if entry.sources else None
            here = self.target / path_of(entry.kind, entry.md5)
            if isinstance(source, Mirror) and not entry.new and here.is_file():
                there = source.file(entry.kind, entry.md5)
                if not there.exists():
                    there.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(here, there)

    # ---- in the user's words

    def label(self, path: Path) -> str:
        """What the user calls the store with this path."""
        return self._labels.get(path, str(path))

    def text(self, message: str) -> str:
        """A message with the user's words for the stores in it."""
        for folder, address in self._labels.items():
            message = message.replace(str(folder), address)
        return message


def fault(listing: Listing) -> str:
    """Why what was listed is not a store."""
    if not listing.exists:
        return "there is no such directory"
    holds = f"; it holds {listing.foreign}" if listing.foreign else "; it is empty"
    return f"it has no {MARK}{holds}"
