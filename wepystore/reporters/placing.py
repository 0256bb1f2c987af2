"""Reporters and monitor of a configuration for one job: whatever they write is in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from wepystore.engine.adapt import is_ours, plug_of
from wepystore.engine.protocols import FileCapabilities, ReporterCapabilities
from wepystore.reporters.base import Reporter
from wepystore.reporters.others import GivenReporter, OthersReporter
from wepystore.reporters.paths import JobNames, declared, is_folder, is_path, swapped


@dataclass
class Placed:
    """What a job runs with.

    Attributes
    ----------
    reporters : list
        Those of the configuration; in place of one of somebody else's a copy, or what calls it.
    monitor : object or None
    folders : list of str
        Directories that have to be there.
    remarks : list of str
        For a person: which path became which.
    """

    reporters: list[Any] = field(default_factory=list)
    monitor: Any = None
    folders: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def placed(
    reporters: Sequence[Any], monitor: Any, prefix: str, reserved: Iterable[str] = ()
) -> Placed:
    """The components of a configuration, with their files named by the job.

    Names follow from the configuration and `prefix` alone, so that a job that is resumed
    finds its files. The configuration's own objects keep their paths.

    Parameters
    ----------
    prefix : str
        Job folder and job name.
    reserved : iterable of str
        Files in that folder that are no reporter's.
    """
    taken = list(reserved)
    for reporter in reporters:
        if isinstance(reporter, Reporter) and is_ours(reporter):
            reporter.bind(prefix)
            taken += reporter.files() if isinstance(reporter, OthersReporter) else [reporter.path]
    placing = _Placing(JobNames(prefix, taken))
    # First what is certain, so that one who reads another's file finds it.
    for reporter in reporters:
        placing.declare(reporter)
    found = placing.found
    for reporter in reporters:
        found.reporters.append(placing.reporter(reporter))
    found.monitor = placing.moved(monitor, "monitor")[0] if _is_anothers(monitor) else monitor
    return found


def _is_anothers(thing: Any) -> bool:
    """Whether the class is somebody else's, and leaves the names of its files to others."""
    if thing is None or is_ours(thing):
        return False
    bind = getattr(type(thing), "bind", None)
    return bind is None or bind is Reporter.bind


class _Placing:
    def __init__(self, names: JobNames) -> None:
        self.found = Placed()
        self._names = names
        self._declared: dict[int, dict[str, str]] = {}
        self._made: dict[int, tuple[Any, Any]] = {}

    def declare(self, reporter: Any) -> None:
        """Name the files that a reporter says it writes: no other one writes to them."""
        if _is_anothers(reporter):
            name = type(reporter).__name__
            self._declared[id(reporter)] = {
                path: self._names.fresh(path, name) for path in dict.fromkeys(declared(reporter))
            }

    def reporter(self, reporter: Any) -> Any:
        if isinstance(reporter, OthersReporter):
            # Its files are named by the job; what else its options say is looked at as well.
            return self.moved(reporter, "reporter")[0]
        plug = plug_of(reporter)
        if not _is_anothers(reporter):
            return reporter if plug is None else plug.reporter(reporter, (), ())
        new, files, folders = self.moved(reporter, "reporter")
        if plug is not None:
            return plug.reporter(new, files, folders)
        if (files or folders) and not ReporterCapabilities(new).resumes:
            return GivenReporter(new, files, folders)
        return new

    def moved(self, thing: Any, kind: str) -> tuple[Any, list[str], list[str]]:
        """A copy that writes into the job's folder; its files and its folders there."""
        own = self._declared.get(id(thing), {})
        name = thing.name if isinstance(thing, OthersReporter) else type(thing).__name__
        files = list(own.values())
        folders: list[str] = []
        moved = dict(own)

        def swap(attribute: str, value: str | PurePath) -> str | PurePath:
            text = str(value)
            # Told by the job, once it is bound.
            bound = isinstance(thing, Reporter) and attribute == "path"
            if bound or not (_is_of(own, text, attribute, thing) or is_path(attribute, value)):
                return value
            path = own.get(text) or self._names.of(text, name)
            if text not in moved:
                moved[text] = path
                (folders if is_folder(attribute, value) else files).append(path)
            return type(value)(path)

        new = swapped(thing, swap, self._made)
        if not moved:
            return thing, [], []
        self.found.folders += [path for path in folders if path not in self.found.folders]
        self.found.remarks += [
            f"{kind} {name} writes {path}{os.sep if path in folders else ''}, and not {old}: "
            "what a job writes is in its folder"
            for old, path in moved.items()
        ]
        return new, files, folders


def _is_of(own: Mapping[str, str], text: str, attribute: str, thing: Any) -> bool:
    """Whether an attribute of a file reporter has one of its files, and not just the same word."""
    order = FileCapabilities(thing).FILE_ORDER
    return text in own and (attribute in order or "/" in text or "." in text)


__all__ = ["Placed", "placed"]
