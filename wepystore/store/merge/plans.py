"""What a merge is going to do, or has done, as values (see planning.plan)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from wepystore.store.merge.source import Source
from wepystore.store.names import Name, Ref
from wepystore.store.runs import Run


@dataclass(frozen=True)
class Copy:
    """One file to bring, and the sources that have it (with the right size)."""

    kind: str
    ref: Ref
    sources: tuple[Source, ...]

    @property
    def name(self) -> Name:
        return self.kind, self.ref.md5


@dataclass(frozen=True)
class Arrival:
    """A manifest or run record that the target gets, or gets missing parts of."""

    kind: str
    md5: str
    new: bool
    needs: frozenset[Name]
    """Everything it names, directly or not, that has to be brought for it; and itself."""
    sources: tuple[Source, ...]
    run: Run | None = None


@dataclass(frozen=True)
class Left:
    """An entry (or, with kind "refs", a ref) of a source that was left out, and why. `source` is
    the source's label."""

    kind: str
    md5: str
    source: str
    why: str


@dataclass(frozen=True)
class Conflict:
    """A tag that differs (S7), or a run to which different recordings are attached, of which all
    come.

    Attributes
    ----------
    name : str
        "tags/TAG", or "runs/HASH".
    ours : str or None
        What the tag holds here, or an attachment; None when two sources differ and the target has
        none.
    theirs : str
    source : str
        A label.
    """

    name: str
    ours: str | None
    theirs: str
    source: str


@dataclass(frozen=True, repr=False)
class Plan:
    """What a reconcile will do.

    Attributes
    ----------
    target : str
        Its label: the path of a store of this machine.
    creates : bool
        Whether it is made.
    copies : tuple of Copy
        Files to bring, in the order of S4.
    entries : tuple of Arrival
        Snapshots, configurations, recordings and runs that it gets, or gets missing parts of.
    refs : tuple of (str, str)
        Tags and defaults to set, and their hashes.
    conflicts : tuple of Conflict
        Tags that differ, and stay as they are; runs to which different recordings are attached.
    left : tuple of Left
        What is left out, and why.
    unread : int
        Of more than MANY entries, so many that the target has too, with the same sizes, while no
        source has any file beyond what the others need. Whether they are complete was not looked
        at: if not, no source has what they lack.
    end : str
        The default snapshot of a source, if that is the end of a run and `refs` has the start.
    withheld : tuple of Copy
        Files that only frames need, which stay where they are.
    """

    target: str
    creates: bool
    copies: tuple[Copy, ...]
    entries: tuple[Arrival, ...]
    refs: tuple[tuple[str, str], ...]
    conflicts: tuple[Conflict, ...]
    left: tuple[Left, ...]
    unread: int = 0
    end: str = ""
    withheld: tuple[Copy, ...] = ()

    def __repr__(self) -> str:
        counts = f"{len(self.entries)} entries, {len(self.copies)} files, {self.size} bytes"
        apart = f"{len(self.conflicts)} conflicts, {len(self.left)} left out"
        return f"{type(self).__name__}({self.target!r}: {counts}, {apart})"

    @property
    def size(self) -> int:
        """Bytes to bring."""
        return sum(copy.ref.size for copy in self.copies)

    @property
    def of_frames(self) -> tuple[Copy, ...]:
        """Those of the copies that nothing but frames needs."""
        others = needed(entry for entry in self.entries if entry.kind != "frames")
        return tuple(copy for copy in self.copies if copy.name not in others)

    def frames_kept_at(self, source: Source) -> list[str]:
        """Those frames that stay at a source."""
        there = [copy for copy in self.withheld if source in copy.sources]
        return [copy.ref.md5 for copy in there if copy.kind == "frames"]

    def without_frames(self) -> Plan:
        """What comes if frames stay where they are: all else (D4)."""
        entries = tuple(entry for entry in self.entries if entry.kind != "frames")
        wanted = needed(entries)
        return replace(
            self,
            copies=tuple(copy for copy in self.copies if copy.name in wanted),
            entries=entries,
            left=tuple(left for left in self.left if left.kind != "frames"),
            withheld=tuple(copy for copy in self.copies if copy.name not in wanted),
        )


def needed(entries: Iterable[Arrival]) -> set[Name]:
    """All files that some entries need."""
    return {name for entry in entries for name in entry.needs}
