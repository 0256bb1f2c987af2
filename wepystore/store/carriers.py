"""Programs that carry stores about: what they put in, and what they leave where content is not.

git-annex and DVC keep content in a place of their own. What they leave in a store may be a link to
it, which dangles when the content is not on this machine, or (git-annex, unlocked files) a small
file that says where it would be. Both mean "missing" (S5), and both can say how to get it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from wepystore.errors import way_out
from wepystore.store.errors import DamagedEntryError, ElsewhereError, IncompleteError, MissingError
from wepystore.store.files import open_plain
from wepystore.store.names import ONE, Ref, path_of

# Tells git never to convert line ends, whatever its settings (S1), and, where two branches have
# changed one ref, to keep ours and report the conflict (S7) instead of merging line by line.
GIT_ATTRIBUTES = ".gitattributes"
GIT_RULES = b"* -text -merge\n"

# Names in a store's directory that are a carrier's.
FILES = frozenset((".git", GIT_ATTRIBUTES, ".gitignore", ".gitkeep", ".dvc", ".dvcignore"))

# The beginning of the file that git-annex leaves in place of an unlocked one.
POINTER = b"/annex/objects/"
_LINKS = {
    "/annex/objects/": "git-annex",
    "/.dvc/cache/": "DVC",
    "/files/md5/": "DVC",
}
# More names than this on one line help nobody.
_SHOWN = 16


def carrier_of_link(target: str) -> str | None:
    """The program that keeps the content of a symbolic link to this target."""
    slashed = "/" + target
    return next((name for part, name in _LINKS.items() if part in slashed), None)


def carrier_of(file: str | os.PathLike[str]) -> str | None:
    """The program that has the content of a file which is not here; None if none is known."""
    try:
        if not os.path.lexists(file):
            return None
        if os.path.islink(file):
            return None if os.path.exists(file) else carrier_of_link(os.readlink(file))
        with open(open_plain(os.fspath(file)), "rb") as reader:
            return "git-annex" if reader.read(len(POINTER)) == POINTER else None
    except (OSError, DamagedEntryError):
        return None


def command(carrier: str, files: Sequence[str | os.PathLike[str]]) -> str:
    """What brings the content of these."""
    if carrier == "DVC":
        return "dvc pull"
    return "git annex get " + " ".join(shlex.quote(os.fspath(file)) for file in files)


def brings(file: str | os.PathLike[str], carrier: str) -> str:
    """Where the content of one file is, and how to get it, in words."""
    return f"{carrier} has it elsewhere, and '{command(carrier, [file])}' brings it"


def missing(file: Path, **fields: object) -> MissingError:
    """The error for a file whose content is not here; `fields` are kept in it."""
    carrier = carrier_of(file)
    if carrier is None:
        return MissingError(file=file, needed="", **fields)
    return ElsewhereError(file=file, needed="", why=brings(file, carrier), **fields)


def way_of_one(files: Sequence[Path]) -> str:
    """How to bring one content that would be in any of these; empty when none says."""
    found = ((file, carrier_of(file)) for file in files)
    return next((f": {brings(file, carrier)}" for file, carrier in found if carrier), "")


def incomplete(
    root: Path, kind: str, md5: str, lacking: Sequence[tuple[str, Ref]]
) -> IncompleteError:
    """The error for an entry of a store of which something (see Store.missing) is not here."""
    files = [root / path_of(part, ref.md5) for part, ref in lacking]
    return IncompleteError(kind=ONE[kind], md5=md5, path=root, missing=len(lacking), way=way(files))


def way(files: Sequence[Path]) -> str:
    """How to bring what is missing, as the end of a message."""
    kept: dict[str, list[Path]] = {}
    for file in files:
        carrier = carrier_of(file)
        if carrier is not None:
            kept.setdefault(carrier, []).append(file)
    if not kept:
        return f"bring the rest from another store with '{way_out('to_merge')}'"
    words = []
    for carrier, names in sorted(kept.items()):
        shown: Sequence[Path] = names
        if len(names) > _SHOWN:
            # Their kinds' directories: a name less to copy, a few files more.
            shown = sorted({name.parent.parent for name in names})
        words.append(f"'{command(carrier, shown)}'")
    return f"bring the rest with {' and '.join(words)}"
