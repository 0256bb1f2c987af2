"""A store that is elsewhere and gets entries.

    with destination(store, address) as there:     who is there, and what it holds
        made = merge.plan(there, [store])
        outcome = merge.apply(made, progress, there)

Nothing that is there is ever replaced; of refs only those come that are not set there (S7).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wepystore.remotes.address import parse
from wepystore.remotes.elsewhere import Elsewhere, Transport
from wepystore.remotes.errors import CannotWriteThereError
from wepystore.remotes.sources import transport
from wepystore.store import Store, files
from wepystore.store.batch import STAGES
from wepystore.store.errors import DamagedEntryError
from wepystore.store.merge.plans import Copy
from wepystore.store.merge.source import Progress
from wepystore.store.names import Name, difference, path_of


@contextmanager
def destination(store: Store, address: str, *, shell: str | None = None) -> Iterator[Destination]:
    """Where an address of kind "ssh" or "url" leads, for the entries of a store. Nothing is written
    there before a plan is applied.

    Raises MalformedAddressError, UnreachableError, NotInstalledError, CannotWriteThereError, and
    what Store.open raises for a store there.
    """
    way = transport(parse(address), shell)
    assert way is not None
    with tempfile.TemporaryDirectory(prefix="wepystore-") as folder:
        yield Destination(store, way, Path(folder))


class Destination(Elsewhere):
    """The target of a plan, and the mover (see merge/applying.py) that sends files to it, verified
    before they go. Each is written under another name first."""

    stages = STAGES
    linked = 0

    def __init__(self, store: Store, way: Transport, folder: Path) -> None:
        found = way.listing()
        self._creates = not found.is_store
        if self._creates and found.holds and not found.half_made:
            raise CannotWriteThereError(address=way.address, why=found.fault())
        super().__init__(way, found, folder, folder)
        self._store = store

    def begin(self) -> None:
        """Make the store. Raises CannotWriteThereError."""
        if self._creates:
            self._way.create()

    def bring(self, copies: Sequence[Copy], progress: Progress) -> dict[Name, str]:
        """Send files. Raises BrokenOffError."""
        faults = {copy.name: self._fault(copy) for copy in copies}
        sound = [copy for copy in copies if not faults[copy.name]]
        size = sum(copy.ref.size for copy in sound)
        self._way.send([path_of(*copy.name) for copy in sound], self._store.path, progress, size)
        return {name: why for name, why in faults.items() if why}

    def claim(self, refs: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Send refs. Raises BrokenOffError."""
        folder = self._near.path / "sent"
        for name, md5 in refs:
            file = folder / "refs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(md5 + "\n", encoding="ascii")
        self._way.send([f"refs/{name}" for name, _ in refs], folder)
        return dict(refs)

    def _fault(self, copy: Copy) -> str:
        """Why a file is not sent: it is damaged here, or what is there is; else empty."""
        size = self.size(*copy.name)
        if size is not None:
            return (
                f"{self.where(*copy.name)} has {size} bytes and should have {copy.ref.size}: "
                "remove it there and push again"
            )
        file = self._store.locate(*copy.name)
        try:
            found = files.hash_file(file)
        except FileNotFoundError:
            return f"{file} has gone"
        except DamagedEntryError as error:
            return f"{file} is damaged: {error.fields['why']}"
        if found == copy.ref:
            return ""
        return f"{file} is damaged: {difference(found, copy.ref, copy.ref.md5)}"
