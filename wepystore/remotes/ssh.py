"""Stores on other hosts: ssh, and rsync on both sides, is all that is needed there."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from wepystore.remotes.address import Address
from wepystore.remotes.elsewhere import Inventory, inventory_of, no_store
from wepystore.remotes.errors import (
    BrokenOffError,
    CannotWriteThereError,
    NotInstalledError,
    UnreachableError,
)
from wepystore.store import Store
from wepystore.store.merge.source import Progress
from wepystore.store.names import KINDS, MARK
from wepystore.store.places import INSIDE

# -s: the path goes over the connection and not through the shell there, so that nothing in it
# has to be quoted. -L: what a link of git-annex points at, not the link.
_ALWAYS = ("-s", "-L", "--timeout=300")
# Files get the mode that any new file would get, and the time at which they came.
_MODES = ("--no-perms", "--chmod=Du=rwx,Dgo=rx,Fu=rw,Fgo=r")
# What came of a file before the connection broke is kept here, and rsync goes on from it.
_PARTIAL = "--partial-dir=.rsync-partial"
# Everything at the top is listed, to tell a store from another directory; what is in it only
# where a store has something.
_FILTERS = (
    *(f"--include=/{name}/***" for name in (*KINDS, "refs")),
    *(f"--include=/{name}/" for name in INSIDE),
    *(f"--include=/{name}/{MARK}" for name in INSIDE),
    "--exclude=/*/**",
)
_LINE = re.compile(r"([-dlcbps])\S*\s+([\d,]+)\s+\S+\s+\S+ (.*)")
_PROGRESS = re.compile(rb"^\s*([\d,]+)\s+\d+%")
# Some files could not be read; some have gone since they were listed.
_PARTLY, _VANISHED = 23, 24

# From what ssh and rsync say to what a user can do. The first that is found counts.
_HINTS = (
    (
        r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED",
        "the key of the host is not known, or has changed: 'ssh {host}' shows it",
    ),
    (
        r"rsync: (?:command )?not found|remote command not found|rsync: No such file",
        "rsync is not installed on {host}, or is not on its PATH",
    ),
    (r"Permission denied \((?!13)", "{host} refused the login: {line}"),
    (r"change_dir .*No such file or directory", "there is no such directory on {host}"),
    (r"change_dir .*Not a directory", "it is a file, not a directory"),
    (r"mkdir .*No such file or directory", "there is no directory on {host} for it to be in"),
    (r"(?:change_dir|opendir|link_stat|mkdir) .*Permission denied", "permission denied: {line}"),
    (r"Permission denied \(13\)", "permission denied: {line}"),
    (r"Could not resolve hostname", "{line}"),
)
# What is said beside the reason.
_NOISE = re.compile(
    r"Warning: Permanently added|rsync error:|rsync: connection unexpectedly closed"
    r"|rsync: \[\w+\] (?:write|read) error|rsync: safe_read|@@@|symlink has no referent"
)


class _Failure(Exception):
    """rsync ended with another status than asked for."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class SSH:
    """A Transport through rsync. `shell` is the command to connect with, in place of `ssh`."""

    def __init__(self, address: Address, shell: str | None = None) -> None:
        self.address = address.text
        self._host = address.host
        self._path = address.path
        self._shell = (f"--rsh={shell}",) if shell else ()
        # Unknown to versions before 3.2.4, here or there; found out by trying.
        self._fsync: tuple[str, ...] = ("--fsync",)

    @property
    def _source(self) -> str:
        # rsync expands wildcards on the far side, in what it is to send.
        path = re.sub(r"([][*?\\])", r"\\\1", self._path)
        return f"{self._host}:{path}/"

    @property
    def _destination(self) -> str:
        return f"{self._host}:{self._path}/"

    def listing(self) -> Inventory:
        try:
            found = self._list()
            if not any(path == MARK for path, _ in found) and len(found) > 1:
                # Somebody may just be making it: its mark comes before its first entry.
                found = self._list()
            paths = {path for path, _ in found}
            inside = next((name for name in INSIDE if f"{name}/{MARK}" in paths), None)
            if inside is not None and MARK not in paths:
                self._path += f"/{inside}"
                found = self._list()
        except _Failure as failure:
            why = self._reason(failure)
            if why.startswith("there is no such directory"):
                return Inventory(False, exists=False)
            raise UnreachableError(address=self.address, why=why) from None
        if not any(path == MARK for path, _ in found):
            return no_store(path for path, _ in found)
        return inventory_of(found)

    def _list(self) -> list[tuple[str, int]]:
        arguments = ("-r", "--list-only", "--no-h", *_FILTERS, self._source)
        with tempfile.TemporaryFile() as out:
            try:
                self._run(arguments, out)
            except _Failure as failure:
                said = [line for line in _lines(failure.said) if not _NOISE.search(line)]
                # A dangling link is a file that is not there; a directory that cannot be read
                # might hold anything.
                if failure.status not in (_PARTLY, _VANISHED) or any(
                    "has vanished" not in line and "vanished before" not in line for line in said
                ):
                    raise
            out.seek(0)
            found = []
            for line in out.read().decode("utf-8", "replace").splitlines():
                match = _LINE.fullmatch(line)
                if match is not None:
                    found.append((match[3], int(match[2].replace(",", ""))))
        return found

    def fetch(
        self, paths: Sequence[str], into: Path, progress: Progress | None = None, total: int = 0
    ) -> dict[str, str]:
        try:
            self._move(paths, (*_MODES, _PARTIAL), self._source, _local(into), progress, total)
        except _Failure as failure:
            if failure.status not in (_PARTLY, _VANISHED):
                why = self._reason(failure)
                raise BrokenOffError(way="from", address=self.address, why=why) from None
            return {path: why for path in paths for why in _said_of(path, failure.said)}
        return {}

    def create(self) -> None:
        with tempfile.TemporaryDirectory(prefix="wepystore-") as scratch:
            empty = Store.create(Path(scratch) / "empty")
            arguments = ("-r", *_MODES, "--ignore-existing")
            # The directories first: with the mark it is a store.
            for stage in ((f"--exclude=/{MARK}",), ()):
                self._create((*arguments, *stage, _local(empty.path), self._destination))

    def _create(self, arguments: Sequence[str]) -> None:
        for last in (False, False, True):
            try:
                self._run(arguments)
                return
            except _Failure as failure:
                # Somebody else makes it too, and was faster with a directory; or what was said over
                # there was lost with the connection, and is said again.
                again = not failure.said.strip() or "File exists (17)" in failure.said
                if last or not again:
                    why = self._reason(failure)
                    raise CannotWriteThereError(address=self.address, why=why) from None

    def send(
        self, paths: Sequence[str], root: Path, progress: Progress | None = None, total: int = 0
    ) -> None:
        while True:
            options = (*_MODES, _PARTIAL, "--ignore-existing", *self._fsync)
            try:
                self._move(paths, options, _local(root), self._destination, progress, total)
                return
            except _Failure as failure:
                if self._fsync and "fsync: unknown option" in failure.said:
                    self._fsync = ()
                    continue
                why = self._reason(failure)
                raise BrokenOffError(way="to", address=self.address, why=why) from None

    def _move(
        self,
        paths: Sequence[str],
        options: Sequence[str],
        source: str,
        destination: str,
        progress: Progress | None,
        total: int,
    ) -> None:
        if not paths:
            return
        with tempfile.NamedTemporaryFile("w", prefix="wepystore-", encoding="ascii") as names:
            names.write("\0".join(paths))
            names.flush()
            # Progress is always asked for: writing it fails when this program is killed, and so
            # ends rsync with it.
            self._run(
                (
                    *options,
                    "--info=progress2",
                    "--no-h",
                    "--from0",
                    f"--files-from={names.name}",
                    source,
                    destination,
                ),
                progress=progress,
                total=total,
            )

    def _run(
        self,
        arguments: Sequence[str],
        out: IO[bytes] | None = None,
        progress: Progress | None = None,
        total: int = 0,
    ) -> None:
        command = ["rsync", *_ALWAYS, *self._shell, *arguments]
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out or subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, "LC_ALL": "C"},
                )
            except FileNotFoundError:
                raise NotInstalledError(
                    address=self.address, what="rsync", hint="install the package rsync"
                ) from None
            try:
                if process.stdout is not None:
                    _follow(process.stdout.fileno(), progress, total)
                status = process.wait()
            except BaseException:
                # It keeps what it has of the file it is at.
                process.terminate()
                process.wait()
                raise
            finally:
                if process.stdout is not None:
                    process.stdout.close()
            if status:
                errors.seek(0)
                raise _Failure(status, errors.read(1 << 20).decode("utf-8", "replace"))

    def _reason(self, failure: _Failure) -> str:
        """One line for a user from what rsync and ssh said."""
        lines = _lines(failure.said)
        for pattern, hint in _HINTS:
            for line in lines:
                if re.search(pattern, line):
                    return hint.format(host=self._host, line=_plain(line))
        telling = [line for line in lines if not _NOISE.search(line)]
        if telling:
            return _plain(telling[0])
        if failure.status < 0:
            return f"rsync was ended by signal {-failure.status}"
        return _plain(lines[0]) if lines else f"rsync ended with status {failure.status}"


def _local(directory: Path) -> str:
    """A directory of this machine as rsync takes it for one. It reads a colon before any slash as
    the end of a host's name, and a dash in front as an option."""
    return f"{os.path.abspath(directory)}/"


def _follow(descriptor: int, progress: Progress | None, total: int) -> None:
    """Read rsync's own progress to its end and pass it on."""
    while chunk := os.read(descriptor, 1 << 16):
        found = _PROGRESS.search(re.split(rb"[\r\n]", chunk.rstrip(b"\r\n"))[-1])
        if found is not None and progress is not None:
            progress(min(int(found[1].replace(b",", b"")), total), total)


def _lines(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.strip()]


def _said_of(path: str, said: str) -> list[str]:
    """What rsync said of one file, if it is more than that it has gone."""
    name = path.rpartition("/")[2]
    return [
        _plain(line)
        for line in _lines(said)
        if name in line and "vanished" not in line and "No such file" not in line
    ][:1]


def _plain(line: str) -> str:
    """Without the program's name and the side that speaks."""
    return re.sub(r"^(?:rsync|ssh): (?:\[\w+\] )?", "", line)
