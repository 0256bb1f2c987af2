"""What a user means by a source or destination."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from wepystore.remotes.errors import MalformedAddressError
from wepystore.store.errors import DamagedEntryError
from wepystore.store.files import open_plain

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
    user, at, name = host.rpartition("@")
    why = _fault(user, name, path, text)
    if why or not name or (at and not user):
        raise MalformedAddressError(address=text, why=why or "it names no host")
    if path.startswith(":"):
        # rsync would ask a server of its own there, without ssh.
        path = f"./{path}"
    # The paths of rsync are relative to the home directory, and it does not know of '~'.
    if path == "~" or path.startswith("~/"):
        path = path[2:]
    return Address("ssh", text, host, path.rstrip("/") or ("/" if path.startswith("/") else "."))


def _fault(user: str, name: str, path: str, text: str) -> str:
    """Why these are not what ssh and rsync may be given; else empty."""
    # ssh would take it for an option, and options of ssh run commands. rsync hands on the two parts
    # one by one.
    for word, what in ((user, "user"), (name, "host"), (name.lstrip("["), "host")):
        if word.startswith("-"):
            return f"a {what}'s name does not begin with '-'; a file of this machine is './{text}'"
    if not (user + name).isprintable():
        return "there is a control character in its host"
    return "there is a line break in its path" if "\n" in path or "\0" in path else ""


def _is_database(path: str) -> bool:
    try:
        with open(open_plain(path), "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (DamagedEntryError, OSError):
        return False
