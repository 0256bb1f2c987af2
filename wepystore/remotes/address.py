"""What a user means by a source or destination."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from wepystore.remotes.errors import MalformedAddressError
from wepystore.store.names import MARK

#: A directory that holds one of these, and is no store, stands for it.
HIDDEN = ".orch"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# As rsync and scp have it: a colon before any slash. In brackets: an IPv6 address.
_SSH = re.compile(r"((?:[^/:@\s]+@)?(?:\[[0-9A-Za-z:.%]+\]|[^/:@\[\]\s]+)):(.*)", re.DOTALL)
_SQLITE = b"SQLite format 3\0"


class Address(NamedTuple):
    """`kind` is "store" (a directory here), "sqlite", "ssh" or "url"."""

    kind: str
    text: str
    """As the user typed it."""
    host: str = ""
    path: str = ""


def parse(text: str) -> Address:
    """The address in a word of the command line. Something that is there, here, under that very
    name goes before anything else. Raises MalformedAddressError."""
    if os.path.lexists(text):
        return Address("sqlite" if _is_database(text) else "store", text, path=text)
    if _URL.match(text):
        return Address("url", text)
    found = _SSH.fullmatch(text)
    if found is None:
        return Address("store", text, path=text)
    host, path = found.groups()
    if host.startswith("-"):
        # ssh would take it for an option, and options of ssh run commands.
        raise MalformedAddressError(address=text, why="a host's name does not begin with '-'")
    if "\n" in path or "\0" in path:
        raise MalformedAddressError(address=text, why="there is a line break in its path")
    # The paths of rsync are relative to the home directory, and it does not know of '~'.
    if path == "~" or path.startswith("~/"):
        path = path[2:]
    return Address("ssh", text, host, path.rstrip("/") or ("/" if path.startswith("/") else "."))


def local_root(path: str) -> str:
    """The store that a path of this machine stands for (see HIDDEN)."""
    hidden = Path(path, HIDDEN)
    if hidden.is_dir() and (hidden / MARK).exists() and not Path(path, MARK).exists():
        return str(hidden)
    return path


def _is_database(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
