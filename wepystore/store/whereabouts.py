"""Where frames are that are not here (D4), as far as is known: a hint for whoever needs them.

A file of this store alone, tmp/elsewhere/frames.json, says which frames were seen at which address,
the last time that something was brought from there, or sent there. No user name and no password is
in it, and git is told to pass it over: the paths mean nothing elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from wepystore.errors import DamagedError, way_out
from wepystore.store import canonical, files, renewal
from wepystore.store.errors import LinkedDirectoryError
from wepystore.store.names import is_hash
from wepystore.store.store import Store

#: The folder, in tmp/, and the file in it.
FOLDER, FILE = "elsewhere", "frames.json"
#: What lies in tmp/ and is no unfinished write.
LASTING = frozenset((FOLDER, renewal.FOLDER))
_IGNORE = ".gitignore"
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

_MOST_ADDRESS = 4096
#: Hashes in the file.
_MOST = 500_000
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def note(store: Store, address: str | None, frames: Iterable[str]) -> None:
    """Remember that these frames are at an address, and no others; nothing without an address."""
    if address is None:
        return
    before = _read(store)
    found, others = sorted(set(frames)), {a: held for a, held in before.items() if a != address}
    n_others = sum(map(len, others.values()))
    # What was seen last comes first.
    known = {address: found} | others if found and len(found) + n_others < _MOST else others
    if list(known.items()) != list(before.items()):
        places = [{"address": each, "frames": held} for each, held in known.items()]
        _write(store, canonical.dumps({"type": "elsewhere", "format": 1, "places": places}))


def _write(store: Store, data: bytes) -> None:
    from wepystore.store import publish

    file = _file(store)
    try:
        if not os.path.lexists(file.parent / _IGNORE):
            publish.write_file(store.path, file.parent / _IGNORE, b"*\n", replace=True)
        publish.write_file(store.path, file, data, replace=True)
    except LinkedDirectoryError:
        return
    except OSError as error:
        # What is pushed may be in a store that one may only read: it goes without a hint.
        if error.errno not in _READ_ONLY:
            raise


def places_of(store: Store, frames: Collection[str]) -> list[str]:
    """The addresses at which some of these frames were seen: those first that have most of them, of
    these the last one. A directory of this machine that has gone since comes after all others."""
    wanted = set(frames)
    found = {address: len(wanted.intersection(held)) for address, held in _read(store).items()}
    there = [address for address, n in found.items() if n]
    return sorted(there, key=lambda address: (_has_gone(address), -found[address]))


def _has_gone(address: str) -> bool:
    return os.path.isabs(address) and not os.path.exists(address)


def way(store: Store, frames: Collection[str]) -> str:
    """What brings frames that are elsewhere, as the end of a message."""
    places = places_of(store, frames)
    if not places:
        return "bring them from a store that has them"
    source = shlex.quote(places[0])
    command = way_out("to_bring", store=shlex.quote(os.fspath(store.path)), source=source)
    return f"'{command}' brings them"


def told(store: Store, frames: Mapping[str, Collection[str]]) -> str:
    """How many recordings' frames are elsewhere, and what brings them, in words; `frames` are these
    and the recordings that name them. Empty where there are none."""
    if not frames:
        return ""
    n = len({each for recordings in frames.values() for each in recordings})
    whose = "1 recording's frames are" if n == 1 else f"{n} recordings' frames are"
    return f"{whose} elsewhere; {way(store, frames)}"


def without_credentials(address: str) -> str | None:
    """An address without user, password and what follows a '?'; None where that cannot be told."""
    found = _SCHEME.match(address)
    head = found[0] if found else ""
    rest = re.split(r"[?#]", address[len(head) :])[0] if head else address
    host, slash, path = rest.partition("/") if head else ("", "", "")
    if not head:
        host, slash, path = rest.partition(":")
    if head and "@" in path and ":" in rest[: rest.rindex("@")]:
        # A password may have any character, a slash as well.
        return None
    return head + host.rpartition("@")[2] + slash + path


def _file(store: Store) -> Path:
    return store.path / "tmp" / FOLDER / FILE


def _read(store: Store) -> dict[str, list[str]]:
    """The frames at each address; nothing where there is no such file, or not as it should be."""
    try:
        data = files.read_plain(_file(store), files.MAX_JSON)
        held = canonical.load_object(data, FILE).get("places")
    except (DamagedError, OSError):
        return {}
    pairs: list[tuple[Any, Any]] = [
        (place.get("address"), place.get("frames"))
        for place in (held if isinstance(held, list) else ())
        if isinstance(place, dict)
    ]
    return {
        address: md5s
        for address, md5s in pairs
        if _is_fit(address) and isinstance(md5s, list) and all(map(is_hash, md5s))
    }


def _is_fit(address: Any) -> bool:
    """Whether it can be shown to people: the file may have come with a stranger's copy."""
    is_short = isinstance(address, str) and len(address) <= _MOST_ADDRESS
    return is_short and address.isprintable() and address[:1] != "-"
