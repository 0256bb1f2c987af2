"""Paths that a component carries in its attributes, and the names that a job has for them.

A reporter of somebody's own may hold the path of the file that it writes, chosen when the script
ran. Left alone, the second job of a configuration would write over the first one's file. So such
paths are replaced, in a copy of the component, by names in the job's folder.

What is a path is told by the attribute (`is_path`): pathlib's, and text in an attribute whose name
ends in path, file, dir and the like, or that begins as a path does. Not what by its name is read
(`input_file`, `topology_path`), URLs, devices and pipes.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

from wepystore.engine.adapt import PLUGS
from wepystore.engine.protocols import FileCapabilities

_FILES = ("path", "file", "filename", "fname")
_FOLDERS = ("dir", "directory", "folder")
#: Of these only what looks like the name of a file.
_PERHAPS = ("output", "out", "log", "target", "destination", "dest")
#: What an attribute says is only read.
_READ = frozenset(
    {"input", "inputs", "in", "read", "load", "source", "src", "topology", "top", "template"}
    | {"ref", "reference", "native", "scheduler", "config"}
)
_NO_PATH = ("profile",)
_NAME = re.compile(r"[^\s/]+\.[A-Za-z]\w{0,9}")
_BEGINNINGS = ("/", "./", "../", "~/")
_LONGEST = 4096
#: Packages whose classes hold no path of a job's among their own attributes.
_KNOWN = (*PLUGS, "wepystore", "builtins")

#: (name of the attribute, its value) -> what takes its place; the value itself for what is no path.
Swap = Callable[[str, Any], Any]


def is_path(name: str, value: Any) -> bool:
    """Whether the value of an attribute is the path of something that is written."""
    if not isinstance(value, (str, PurePath)):
        return False
    text = str(value)
    words = _words(name)
    if not text or len(text) > _LONGEST or "\0" in text or "\n" in text or "://" in text:
        return False
    if _READ.intersection(words) or _is_special(text):
        return False
    if isinstance(value, PurePath) or text.startswith(_BEGINNINGS):
        return True
    last = words[-1].removesuffix("s") if words else ""
    if last.endswith((*_FILES, *_FOLDERS)) and last not in _NO_PATH:
        return True
    # Not a unit, kJ/mol: the last part has to look like the name of a file.
    return last in _PERHAPS and _NAME.fullmatch(text.rpartition("/")[2]) is not None


def is_folder(name: str, value: Any) -> bool:
    """Whether a path is that of a directory: by the attribute's name, or what is there."""
    words = _words(name)
    named = bool(words) and words[-1].removesuffix("s").endswith(_FOLDERS)
    return named or str(value).endswith("/") or os.path.isdir(value)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _is_special(text: str) -> bool:
    """Whether it is a device, a pipe or the like, where nothing can be written over."""
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def declared(reporter: Any) -> list[str]:
    """The files that a reporter says it writes, as wepy's do."""
    paths = FileCapabilities(reporter).file_paths
    if not isinstance(paths, (list, tuple)):
        return []
    return [str(path) for path in paths if isinstance(path, (str, PurePath)) and str(path)]


class JobNames:
    """Names in a job's folder, none of them given twice, and the same in each session.

    Parameters
    ----------
    prefix : str
        Job folder and job name.
    taken : iterable of str
        Paths that others write to.
    """

    def __init__(self, prefix: str, taken: Iterable[str]) -> None:
        self._prefix = prefix
        self._taken = set(taken)
        self._known: dict[str, str] = {}

    def fresh(self, path: str, owner: str) -> str:
        """A name for what `owner` alone writes: JOB.results.h5 for any/where/results.h5.

        Where that is another's already: JOB.2.results.h5.
        """
        name = os.path.basename(os.path.normpath(path))
        if name in ("", ".", ".."):
            name = owner
        for number in itertools.count(1):
            placed = f"{self._prefix}.{name}" if number == 1 else f"{self._prefix}.{number}.{name}"
            if placed not in self._taken:
                break
        self._taken.add(placed)
        self._known.setdefault(os.path.abspath(path), placed)
        return placed

    def of(self, path: str, owner: str) -> str:
        """The name that the path has, if it has one: what was one file stays one."""
        found = self._known.get(os.path.abspath(path))
        return self.fresh(path, owner) if found is None else found


def swapped(thing: Any, swap: Swap, made: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """A copy of a component in which `swap` has replaced what it wanted to.

    It is asked for each attribute, for what is in lists, tuples and dicts among them, and for the
    attributes of reporters that a reporter holds. All else is shared with the original.

    Parameters
    ----------
    made : dict
        The copies so far, by the originals' id(), so that two that hold one go on doing so.
    """
    made = {} if made is None else made
    if id(thing) in made:
        return made[id(thing)][1]
    try:
        new = copy.copy(thing)
    except Exception:
        # Whatever a user's own hooks raise.
        new = thing
    made[id(thing)] = (thing, new)
    for name, value in attributes(thing).items():
        other = _swapped(name, value, swap, made)
        if other is not value:
            # Also of a frozen dataclass: the copy is not anybody's yet.
            object.__setattr__(new, name, other)
    return new


def attributes(thing: Any) -> dict[str, Any]:
    """An object's own attributes, and texts and paths that a user's class has for all."""
    found: dict[str, Any] = {}
    for cls in reversed(type(thing).__mro__):
        if cls.__module__.partition(".")[0] in _KNOWN:
            continue
        found.update(
            (name, value)
            for name, value in vars(cls).items()
            if isinstance(value, (str, PurePath)) and not name.startswith("__")
        )
    found.update(getattr(thing, "__dict__", {}))
    return found


def _swapped(name: str, value: Any, swap: Swap, made: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, (str, PurePath)):
        return swap(name, value)
    if type(value) in (list, tuple):
        each = [_swapped(name, item, swap, made) for item in value]
        changed = any(a is not b for a, b in zip(each, value, strict=True))
        return type(value)(each) if changed else value
    if type(value) is dict:
        items = {
            key: _swapped(key if isinstance(key, str) else name, item, swap, made)
            for key, item in value.items()
        }
        return items if any(items[key] is not value[key] for key in items) else value
    if not isinstance(value, type) and callable(getattr(type(value), "report", None)):
        return swapped(value, swap, made)
    return value


def aimed(thing: Any, places: Mapping[str, str]) -> Any:
    """A copy of a component with other paths in place of those that are keys of `places`."""

    def swap(name: str, value: Any) -> Any:
        return type(value)(places[str(value)]) if str(value) in places else value

    return swapped(thing, swap)
