"""The other way: a store's entries to a store that is elsewhere.

    with Outgoing(store, address) as outgoing:      who is there, and what it holds
        plan = outgoing.plan()
        outcome = outgoing.apply(plan, progress)

The destination gets objects, then manifests, then run records, then refs (S4), each file under
another name first. Nothing that is there is ever replaced; of refs only those come that are not
set there (S7).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from wepystore.remotes.address import parse
from wepystore.remotes.connect import transport
from wepystore.remotes.errors import CannotWriteThereError
from wepystore.remotes.incoming import fault
from wepystore.remotes.mirror import Listing, Mirror, Progress
from wepystore.store import Store, files
from wepystore.store.batch import STAGES
from wepystore.store.errors import DamagedEntryError
from wepystore.store.merge import reconcile
from wepystore.store.merge.reconcile import Copy, Left, Name, Outcome, Plan
from wepystore.store.names import MARK, difference, path_of


class Outgoing:
    """A destination of kind "ssh" or "url". Nothing is written there before `apply`.

    Raises, when it is entered, UnreachableError, NotInstalledError, CannotWriteThereError.
    """

    def __init__(self, store: Store, address: str, *, shell: str | None = None) -> None:
        self._store = store
        self._address = parse(address)
        self._way = transport(self._address, shell)
        self._folder = Path(tempfile.mkdtemp(prefix="wepystore-"))
        self._there: Mirror | None = None
        self._creates = False

    def __enter__(self) -> Outgoing:
        try:
            self._reach()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _reach(self) -> None:
        listing = self._way.listing()
        if listing.is_store:
            self._way.fetch([MARK, *listing.refs], self._folder)
            Store.open(self._folder)
        elif listing.foreign and not listing.half_made:
            raise CannotWriteThereError(address=self._address.text, why=fault(listing))
        else:
            self._creates = True
            listing = Listing(True)
        self._there = Mirror(self._folder, listing)

    def plan(self) -> Plan:
        """What the destination lacks, as reconcile.plan says it."""
        there = self._there
        assert there is not None
        plan = reconcile.plan(there, [self._store])
        # It would look into files of the right name and size, and those are not here.
        lacking = (copy for copy in plan.copies if there.size(*copy.name) != copy.ref.size)
        return replace(plan, copies=tuple(lacking))

    def apply(self, plan: Plan, progress: Progress | None = None) -> Outcome:
        """Send what the plan says. What is damaged here, or there, is left out with all that
        needs it. Raises BrokenOffError, CannotWriteThereError."""
        if self._creates:
            self._way.create()
        failed: dict[Name, str] = {}
        sent: list[Copy] = []
        done = 0

        def told(now: int, _: int) -> None:
            if progress is not None:
                progress(done + now, plan.size)

        for stage in STAGES:
            lost = {
                (entry.kind, entry.md5)
                for entry in plan.entries
                if not failed.keys().isdisjoint(entry.needs)
            }
            sound = []
            for copy in plan.copies:
                if copy.kind in stage and copy.name not in lost:
                    why = self._fault(copy)
                    if why is None:
                        sound.append(copy)
                    else:
                        failed[copy.name] = why
            size = sum(copy.ref.size for copy in sound)
            self._way.send([path_of(*copy.name) for copy in sound], self._store.path, told, size)
            sent += sound
            done += size
        entries, left = [], list(plan.left)
        for entry in plan.entries:
            whys = [failed[name] for name in entry.needs if name in failed]
            if whys:
                left.append(Left(entry.kind, entry.md5, self._store.path, min(whys)))
            else:
                entries.append(entry)
        there = {(entry.kind, entry.md5) for entry in plan.entries} - {
            (entry.kind, entry.md5) for entry in entries
        }
        refs = [
            (name, md5)
            for name, md5 in plan.refs
            if not any((kind, md5) in there for kind in ("snapshots", "configs", "runs"))
        ]
        self._send_refs(refs)
        return Outcome(
            tuple(entries),
            tuple(refs),
            plan.conflicts,
            tuple(left),
            0,
            len(sent),
            sum(copy.ref.size for copy in sent),
            end=plan.end,
        )

    def _fault(self, copy: Copy) -> str | None:
        """Why a file is not sent: it is damaged here, or what is there is."""
        assert self._there is not None
        size = self._there.size(*copy.name)
        if size is not None:
            return (
                f"{self._address.text}/{path_of(*copy.name)} has {size} bytes and should have "
                f"{copy.ref.size}: remove it there and push again"
            )
        file = self._store.file(*copy.name)
        try:
            descriptor = files.open_plain(file)
        except FileNotFoundError:
            return f"{file} has gone"
        except DamagedEntryError as error:
            return f"{file} is damaged: {error.fields['why']}"
        try:
            found = files.hash_descriptor(descriptor)
        finally:
            os.close(descriptor)
        if found == copy.ref:
            return None
        return f"{file} is damaged: {difference(found, copy.ref, copy.ref.md5)}"

    def _send_refs(self, refs: Iterable[tuple[str, str]]) -> None:
        folder = self._folder / "sent"
        paths = []
        for name, md5 in refs:
            file = folder / "refs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(md5 + "\n", encoding="ascii")
            paths.append(f"refs/{name}")
        self._way.send(paths, folder)

    def label(self, path: Path) -> str:
        """What the user calls the store with this path."""
        return self._address.text if path == self._folder else str(path)

    def text(self, message: str) -> str:
        """A message with the user's word for the destination in it."""
        return message.replace(str(self._folder), self._address.text)
