"""What a user means by a source or destination."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from wepystore.remotes.errors import MalformedAddressError

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


def _is_database(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
