"""Files of a reporter that nobody here has written, as they were at a checkpoint.

    JOB_DIR/.energies.txt.kept-40       of cycle 40: a line of JSON, the reporter's memory,
                                        and the bytes of its files

Of a large file that only grows, its size and the digest of its bytes are enough: to go back is
to cut it off. All others are copied, up to 64 MiB, and so are all files in a directory of the
reporter's. Two are there, so that a kill between keeping one and
writing the checkpoint that goes with it does no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wepystore.reporters.base import named_errors, replace_file
from wepystore.reporters.files import open_own

#: What is smaller is copied without further thought, in bytes.
_SMALL = 4 << 20
#: What is larger and changes in its middle, as HDF5 does, would have to be copied each time.
_LARGEST = 64 << 20
#: So much of both ends of a large file is looked at to tell whether it only grew.
_SAMPLE = 1 << 16
_PIECE = 1 << 20
#: So many are there.
_KEPT = 2


class NotKeptError(Exception):
    """There is nothing to go back to, because of what the message says."""


class KeptFiles:
    """What of a reporter there was at its last checkpoints.

    Parameters
    ----------
    paths : sequence of str
        The files that the reporter writes; they need not be there.
    base : str
        The path that the hidden files are named by.
    folders : sequence of str
        Directories of the reporter's: whatever is in them is its own.

    Attributes
    ----------
    moved : dict of str to str
        After `restore`: what paths were called when they were kept -> what they are called now.
    """

    def __init__(self, paths: Sequence[str], base: str, folders: Sequence[str] = ()) -> None:
        self.paths = list(paths)
        self.folders = list(folders)
        self.moved: dict[str, str] = {}
        folder, name = os.path.split(base)
        self._folder = folder or "."
        self._prefix = f".{name}.kept-"
        self._grown: dict[str, _Growth] = {}

    def keep(self, n_cycles: int, memory: bytes) -> None:
        """Keep all as it is after `n_cycles`; of what was kept before, the newest one.

        A large file that changes in its middle cannot be kept: then there is nothing to go back to.
        """
        head: dict[str, Any] = {
            "memory": _facts(memory),
            "files": [],
            "paths": self._names(),
            "inside": [],
        }
        copies = [memory]
        for path in self.paths:
            with named_errors(path):
                try:
                    facts, copy = self._describe(path)
                except NotKeptError:
                    return
            head["files"].append(facts)
            copies += [] if copy is None else [copy]
        for number, folder in enumerate(self.folders):
            for parts, data in _inside(folder):
                head["inside"].append({"folder": number, "parts": parts, **_facts(data)})
                copies.append(data)
        replace_file(self._path(n_cycles), json.dumps(head).encode() + b"\n" + b"".join(copies))
        for old in sorted(n for n in self._numbers() if n < n_cycles)[: 1 - _KEPT]:
            self._drop(old)

    def has(self, n_cycles: int) -> bool:
        """Whether something was kept at that cycle."""
        return n_cycles in self._numbers()

    def restore(
        self, n_cycles: int, admit: Callable[[bytes], None], load: Callable[[bytes], Any]
    ) -> Any:
        """Bring the files back to what they were, and give what `load` makes of the memory.

        Nothing is touched before all of it is known to be whole, and `admit` has let the
        memory pass. Raises NotKeptError, and as these two.
        """
        for number in self._numbers():
            if number > n_cycles:
                self._drop(number)
        try:
            with open(open_own(self._path(n_cycles), os.O_RDONLY), "rb") as stream:
                head, memory, copies, inside = _read(stream.read(), len(self.folders))
        except FileNotFoundError:
            raise NotKeptError(f"nothing was kept of it at cycle {n_cycles}") from None
        except (KeyError, TypeError, ValueError) as problem:
            raise NotKeptError(f"what was kept of it is damaged ({problem})") from None
        admit(memory)
        self.moved = self._moved(head.get("paths", []))
        files = list(zip(self.paths, head["files"], copies, strict=True))
        for path, facts, copy in files:
            if facts is not None and copy is None:
                self._check(path, facts)
        for path, facts, copy in files:
            if facts is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            elif copy is not None:
                replace_file(path, copy)
            else:
                with open(open_own(path, os.O_WRONLY), "wb") as stream:
                    stream.truncate(facts["size"])
        for number, folder in enumerate(self.folders):
            _refill(folder, inside[number])
        return load(memory)

    def forget(self, folders: bool = True) -> None:
        """Remove the reporter's files and all that was kept of them: it begins anew."""
        for number in self._numbers():
            self._drop(number)
        for folder in self.folders if folders else ():
            _clear(folder)
        for path in self.paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _names(self) -> list[list[str]]:
        """Each file and folder as it was given and from the root, since files that are held open
        are known by that."""
        return [[path, os.path.abspath(path)] for path in (*self.paths, *self.folders)]

    def _moved(self, before: Sequence[Sequence[str]]) -> dict[str, str]:
        return {
            str(old): new
            for olds, news in zip(before, self._names(), strict=False)
            for old, new in zip(olds, news, strict=False)
            if old != new
        }

    def _describe(self, path: str) -> tuple[dict[str, Any] | None, bytes | None]:
        """Facts of a file, and its bytes where they are to be kept. Raises NotKeptError."""
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            return None, None
        if size > _SMALL:
            growth = self._grown.setdefault(path, _Growth())
            if size > _LARGEST and growth.is_of_another(path, size):
                raise NotKeptError
            if growth.follow(path, size) or size > _LARGEST:
                return {"size": size, "sha256": growth.digest(), "copied": False}, None
        with open(path, "rb") as stream:
            data = stream.read()
        return {**_facts(data), "copied": True}, data

    def _check(self, path: str, facts: dict[str, Any]) -> None:
        growth = _Growth()
        try:
            growth.read(path, facts["size"])
        except OSError as problem:
            raise NotKeptError(f"{path}: {problem.strerror}") from None
        if growth.digest() != facts["sha256"]:
            raise NotKeptError(f"{path} was not only added to since")
        self._grown[path] = growth

    def _path(self, n_cycles: int) -> str:
        return os.path.join(self._folder, f"{self._prefix}{n_cycles}")

    def _numbers(self) -> list[int]:
        pattern = re.compile(re.escape(self._prefix) + r"(\d+)")
        found = (pattern.fullmatch(name) for name in os.listdir(self._folder))
        return [int(match[1]) for match in found if match]

    def _drop(self, n_cycles: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(n_cycles))


class _Growth:
    """The digest of a file that is added to, without reading again what was there."""

    def __init__(self) -> None:
        self._size = 0
        self._digest = hashlib.sha256()
        self._ends = (b"", b"")

    def digest(self) -> str:
        return self._digest.copy().hexdigest()

    def is_of_another(self, path: str, size: int) -> bool:
        """Whether the file is not what was followed, with more at its end."""
        return self._size > 0 and not (self._size <= size and self._ends == _ends(path, self._size))

    def follow(self, path: str, size: int) -> bool:
        """Take in what was added; False if the file is new to this, or was not only added to."""
        known = 0 < self._size <= size and self._ends == _ends(path, self._size)
        if not known:
            self._size, self._digest = 0, hashlib.sha256()
        self.read(path, size)
        return known

    def read(self, path: str, size: int) -> None:
        with open(path, "rb") as stream:
            stream.seek(self._size)
            while self._size < size:
                piece = stream.read(min(_PIECE, size - self._size))
                if not piece:
                    break
                self._digest.update(piece)
                self._size += len(piece)
        self._ends = _ends(path, self._size)


def _ends(path: str, size: int) -> tuple[bytes, bytes]:
    with open(path, "rb") as stream:
        first = stream.read(min(_SAMPLE, size))
        stream.seek(max(0, size - _SAMPLE))
        return first, stream.read(min(_SAMPLE, size))


def _facts(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


Inside = list[tuple[list[str], bytes]]


def _read(
    data: bytes, n_folders: int
) -> tuple[dict[str, Any], bytes, list[bytes | None], list[Inside]]:
    """The parts of what `keep` wrote. Raises ValueError, KeyError or TypeError if damaged."""
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    place = 0

    def take(facts: dict[str, Any]) -> bytes:
        nonlocal place
        part = rest[place : place + facts["size"]]
        place += facts["size"]
        if _facts(part) != {"size": facts["size"], "sha256": facts["sha256"]}:
            raise ValueError("its bytes are others")
        return part

    memory = take(head["memory"])
    copies = [take(f) if f is not None and f["copied"] else None for f in head["files"]]
    inside: list[Inside] = [[] for _ in range(n_folders)]
    for facts in head.get("inside", ()):
        parts = [str(part) for part in facts["parts"]]
        if not parts or any(part in ("", ".", "..") or "/" in part for part in parts):
            raise ValueError("it names a file elsewhere")
        inside[facts["folder"]].append((parts, take(facts)))
    return head, memory, copies, inside


def _inside(folder: str) -> Iterator[tuple[list[str], bytes]]:
    """Each file in a directory and below: the parts of its name there, and its bytes."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        parts = [] if where == folder else os.path.relpath(where, folder).split(os.sep)
        for name in sorted(files):
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with named_errors(path), open(path, "rb") as stream:
                    yield [*parts, name], stream.read()


def _clear(folder: str) -> None:
    if os.path.islink(folder):
        os.unlink(folder)
    elif os.path.isdir(folder):
        shutil.rmtree(folder)


def _refill(folder: str, inside: Inside) -> None:
    """Make a directory anew, with nothing in it but these files: no link in it is followed."""
    _clear(folder)
    os.makedirs(folder)
    for parts, data in inside:
        path = os.path.join(folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with named_errors(path), open(path, "wb") as stream:
            stream.write(data)
