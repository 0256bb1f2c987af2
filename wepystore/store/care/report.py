"""What a check of a store finds, as values (see fsck.check)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from wepystore.store.names import Ref

# What a Problem can be.
DAMAGED = "damaged"  # the bytes are not those that the name says
MISSING = "missing"  # something names it, and it is not there
UNREADABLE = "unreadable"  # it cannot be read: mode bits, a failing disk
MISPLACED = "misplaced"  # an entry's name, in a place where nothing looks for it
MALFORMED = "malformed"  # the bytes fit the name, and are no manifest or record
CONTRADICTED = "contradicted"  # MD5 right, and not the size or SHA-256 that a manifest gives
LINK = "link"  # a symbolic link out of the store
NO_FILE = "no file"  # a directory, a pipe or the like where a file should be
BAD_REF = "bad ref"  # a ref that holds rubbish, or points nowhere

# What a Note can be: worth knowing, and no damage.
LEFTOVER = "leftover"  # in tmp/, or of a copying program
FOREIGN = "foreign"  # a name that no part of a store has
ORPHAN = "orphan"  # an object that nothing names
UNNAMED = "unnamed"  # a snapshot, configuration or recording that no run, tag or default needs
QUARANTINED = "quarantined"
NEWER = "newer"  # written by a later version of this program


class Need(NamedTuple):
    """Something that needs an entry: a kind and a hash, or "refs" and a ref's name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Problem:
    """One thing that is damaged or missing."""

    what: str
    kind: str
    """A kind of entry, "refs", or "store" for the store's own file."""
    name: str
    """A hash, the name of a ref, or the name of the file."""
    path: str
    """Relative to the store. What is in a hostile file name is escaped only when it is shown."""
    why: str
    needed_by: tuple[Need, ...] = ()
    """Everything that is incomplete because of it, directly or through others."""
    ref: Ref | None = None
    """What a manifest says that its content should be."""


@dataclass(frozen=True)
class Note:
    """One thing worth knowing that is no damage."""

    what: str
    path: str
    why: str


@dataclass(frozen=True)
class Report:
    """What a check has found."""

    path: str
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    elsewhere: dict[str, tuple[str, ...]]
    """Frames that are elsewhere (D4), and the recordings that name them."""
    entries: dict[str, int]
    """How many of each kind are there."""
    files_read: int
    bytes_read: int
    """What was hashed."""

    @property
    def healthy(self) -> bool:
        return not self.problems
