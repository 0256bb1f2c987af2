"""Which entries of a job's own store the job itself has written: all that it may ever remove.

    JOB/.checkpoints     = host-4711         what its unfinished files in tmp/ begin with
                         + objects 0123…     about to be written
                         - objects 0123…     gone again

The entries of a checkpoint are listed, durably, before the first of them gets its name, and
struck off after they have gone. So whoever goes on with a job that was killed at any
instant knows of every entry that it may have left, and takes for the job's own none that
somebody else has put there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from wepystore import durable
from wepystore.reporters import files
from wepystore.store.names import Name

LISTED = ".checkpoints"
LISTED_DRAFT = f"{LISTED}.tmp"

_LINE = re.compile(rb"([+-]) (objects|snapshots|frames|recordings|runs) ([0-9a-f]{32})")
_WRITER = re.compile(rb"= (\S*-[0-9]{1,19})")
#: Bytes after which the list is written anew, without what was struck off,
_LONG = 1 << 16
#: and that no list of ours ever has.
_TOO_LONG = 1 << 26


class Ledger:
    """The list in a job folder; when a job is complete there is none.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    writers : list of str
        After `read`: what the names of files in the store's tmp/ begin with that earlier
        processes may have left.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / LISTED
        self._draft = folder / LISTED_DRAFT
        self._listed: dict[Name, None] = {}
        # Bytes in the file; None where it has to be written whole.
        self._size: int | None = None
        self.writers: list[str] = []

    def read(self) -> list[Name]:
        """What an earlier process of this job has listed and not struck off."""
        try:
            data = files.read_own(self._file, _TOO_LONG)
        except FileNotFoundError:
            return []
        listed: dict[Name, None] = {}
        self.writers = []
        for line in data.split(b"\n"):
            # One that a crash has cut short is passed over: what it was to list has no name yet.
            if found := _LINE.fullmatch(line):
                sign, kind, md5 = (part.decode() for part in found.groups())
                if sign == "+":
                    listed[kind, md5] = None
                else:
                    listed.pop((kind, md5), None)
            elif found := _WRITER.fullmatch(line):
                self.writers.append(found[1].decode("utf-8", "replace"))
        return list(listed)

    def replace(self, entries: Iterable[Name]) -> None:
        """List these and no others, durably."""
        self._listed = dict.fromkeys(entries)
        self._rewrite()

    def add(self, entries: Iterable[Name]) -> None:
        """List entries that are about to be written, durably."""
        new = [entry for entry in entries if entry not in self._listed]
        self._listed.update(dict.fromkeys(new))
        if self._size is None or self._size > _LONG:
            self._rewrite()
        elif new:
            try:
                self._append("+", new, lasting=True)
            except FileNotFoundError:
                self._rewrite()  # Somebody has removed it.

    def strike(self, entries: Iterable[Name]) -> None:
        """These have gone."""
        gone = [entry for entry in entries if entry in self._listed]
        for entry in gone:
            del self._listed[entry]
        if gone:
            # Where that fails the list names what is not there: nothing follows from it.
            with contextlib.suppress(OSError):
                self._append("-", gone, lasting=False)

    def clear(self) -> None:
        """What is in the store now is there to stay."""
        self._listed = {}
        self._size = None
        for file in (self._file, self._draft):
            file.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        data = f"= {_writer()}\n".encode() + _lines("+", self._listed)
        self._size = None
        with files.replacing(self._file, self._draft, lasting=True) as file:
            file.write(data)
        self._size = len(data)

    def _append(self, sign: str, entries: Iterable[Name], lasting: bool) -> None:
        data = _lines(sign, entries)
        before, self._size = self._size or 0, None
        descriptor = files.open_own(self._file, os.O_WRONLY | os.O_APPEND)
        with durable.naming(self._file), open(descriptor, "ab", buffering=0) as file:
            durable.write_all(descriptor, [memoryview(data)])
            if lasting:
                os.fsync(file.fileno())
        self._size = before + len(data)


def _writer() -> str:
    return durable.unfinished_path(Path()).name.rpartition("-")[0]


def _lines(sign: str, entries: Iterable[Name]) -> bytes:
    # An empty line first: the one before may have been cut short.
    return b"\n" + b"".join(f"{sign} {kind} {md5}\n".encode() for kind, md5 in entries)


__all__ = ["LISTED", "LISTED_DRAFT", "Ledger"]
