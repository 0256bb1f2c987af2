"""A job folder: the reporters' files and a store of its own, `checkpoint.orch`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wepystore.orchestrator.errors import JobDirError, JobExistsError, JobNameError
from wepystore.store.errors import StoreExistsError
from wepystore.store.store import Store

CHECKPOINT = "checkpoint.orch"


class Job:
    """A job folder that was made for one run.

    Attributes
    ----------
    path : Path
    name : str
        Prefix of the reporters' files.
    store : Store
        checkpoint.orch
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = check_job_name(name)
        self._made: list[Path] = []
        found = held_run(path, name)
        if found is not None:
            raise JobExistsError(job_dir=path, found=found)
        try:
            self._make_directories(path)
            self.store = Store.create(path / CHECKPOINT)
        except StoreExistsError:
            # Another process came between the look and the leap.
            raise JobExistsError(job_dir=path, found=CHECKPOINT) from None
        except OSError as problem:
            self._unmake_directories()
            raise JobDirError(job_dir=path, problem=problem.strerror or problem) from None

    @property
    def prefix(self) -> str:
        """What the reporters' file names begin with, as a path."""
        return str(self.path / self.name)

    def _make_directories(self, path: Path) -> None:
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            self._made.append(directory)

    def _unmake_directories(self) -> None:
        for directory in reversed(self._made):
            try:
                directory.rmdir()
            except OSError:
                return  # Somebody else has put something there meanwhile.

    def abandon(self) -> None:
        """Take everything away again: for a run that failed before its first cycle was done."""
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)
        for name in _files_of(self.path, self.name):
            (self.path / name).unlink(missing_ok=True)
        self._unmake_directories()


def held_run(path: Path, name: str) -> str | None:
    """The file that shows that a run is in the folder, or None."""
    if (path / CHECKPOINT).exists():
        return CHECKPOINT
    return next(iter(_files_of(path, name)), None)


def _files_of(path: Path, name: str) -> list[str]:
    try:
        return sorted(
            entry for entry in os.listdir(path) if entry.removeprefix(".").startswith(name + ".")
        )
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_job_name(name: str) -> str:
    """`name` if it can begin a file name; JobNameError otherwise."""
    if not name or name in (".", ".."):
        raise JobNameError(name=name, problem="give at least one letter")
    if name[0] in ".-":
        raise JobNameError(name=name, problem="its files would be hidden or look like options")
    if "/" in name or "\0" in name:
        raise JobNameError(name=name, problem="it must not hold a slash; use --job-dir for a path")
    if not name.isprintable():
        raise JobNameError(name=name, problem="it holds an unprintable character")
    if len(os.fsencode(name)) > 200:
        raise JobNameError(name=name[:20] + "…", problem="it is longer than 200 bytes")
    return name
