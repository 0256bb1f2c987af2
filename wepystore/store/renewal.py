"""What is put again is new to gc, and no inode is changed that another store has too
(docs/design/0012, 0024).

gc looks at the time of a file's last change, and takes no file that is new. A file of ours that has
one name gets a new time stamp. One with several names may be a hard link, and its time stamp is
that of another store's entry, or of a user's file; one of another user cannot be given any. Both
stay as they are, and a file of this store alone, tmp/renewed/UID, says when this user needed such a
one last.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wepystore import durable

#: The folder of these files, in tmp/. They are empty: their time stamps are all that counts.
FOLDER = "renewed"

# What is put again is made new if it is older than this; much less than any sensible grace period.
OLD_S = 600.0


def renew(path: str | Path) -> None:
    """Make an old entry new: it is about to be named, and gc is to see that.

    FileNotFoundError tells that gc was faster, and that it has to be written anew.
    """
    # A link that git-annex has put here has a time stamp of its own, and gc looks at that one.
    facts = os.lstat(path)
    if time.time() - facts.st_mtime <= OLD_S:
        return
    if not (stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1):
        try:
            os.utime(path, follow_symlinks=False)
            return
        except PermissionError:
            pass
    _renew_elsewhere(Path(path).parents[2] / "tmp")
    # Not before: from here on gc sees it, and what it took away before is not there.
    os.lstat(path)


def _renew_elsewhere(tmp: Path) -> None:
    mark = tmp / FOLDER / str(os.geteuid())
    try:
        os.utime(mark, follow_symlinks=False)
    except (FileNotFoundError, PermissionError):
        # Not there yet, or it came with a copy of the store and is another user's.
        durable.make_directory(mark.parent)
        new = durable.unfinished_path(tmp)
        durable.write_small(os.fspath(new), ())
        os.replace(new, mark)


class Renewals(NamedTuple):
    """Who needed, and when last, an entry that has several names or is another user's."""

    marks: tuple[tuple[int, int], ...]
    """User and ns since 1970."""

    @classmethod
    def of(cls, store: Path) -> Renewals:
        """As they are now."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(store / "tmp" / FOLDER)):
                facts = os.lstat(store / "tmp" / FOLDER / name)
                found.append((facts.st_uid, facts.st_mtime_ns))
        return cls(tuple(found))

    def last(self, facts: os.stat_result) -> float:
        """When an entry was last renewed in this way, at the latest; s since 1970, or 0."""
        marks = [ns for user, ns in self.marks if facts.st_nlink > 1 or user != facts.st_uid]
        return max(marks, default=0) / 1e9
