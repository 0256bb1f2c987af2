"""Reporters that somebody else wrote, in a job folder of ours, through kills."""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from wepystore.engine.manager import close, named
from wepystore.engine.protocols import ReporterCapabilities
from wepystore.reporters.base import Reporter
from wepystore.reporters.files import check_own, check_own_folder
from wepystore.reporters.kept_files import KeptFiles, NotKeptError
from wepystore.reporters.paths import aimed


class Keeper(Protocol):
    """How a reporter becomes bytes and comes back."""

    def dumps(self, reporter: Any, known: Mapping[str, Any]) -> bytes: ...

    def made(self, data: bytes) -> None: ...

    def admit(self, data: bytes) -> None: ...

    def loads(
        self, data: bytes, known: Mapping[str, Any], moved: Mapping[str, str] = ...
    ) -> Any: ...


class OthersReporter(Reporter):
    """Runs a reporter that knows nothing of jobs that are resumed.

    At each checkpoint it is pickled, with all that it remembers, and its files are kept as
    they are then; a resumed run goes on with both, as if it had never stopped. What cannot be
    pickled (an open HDF5 file, a csv.writer) begins new files instead, NAME.from-CYCLE.EXT, and
    leaves the old ones as they are: `remarks` says so when the run begins.
    """

    #: Whether the job alone has named its files, so that nobody else's can be there.
    _owns_files: bool = True

    remarks: tuple[str, ...] = ()
    _keeper: Keeper | None = None
    _kept: KeptFiles | None = None
    _n_cycles: int = 0
    _known: Mapping[str, Any] = {}
    _reporter: Any = None
    #: Directories of its own, with whatever is in them.
    _folders: Sequence[str] = ()

    def keep_with(self, keeper: Keeper) -> None:
        """Take what can bring the reporter through a kill; without, it begins new files."""
        self._keeper = keeper

    @property
    def reporter(self) -> Any:
        """The reporter itself, made now if it was not before."""
        if self._reporter is None:
            self._make(self.files())
        return self._reporter

    def init(self, *, reporters: Any = (), **parts: Any) -> None:
        """Let the reporter open its files, or go on with them."""
        self.remarks = ()
        self._meet(parts)
        given = self._as_theirs(parts)
        self._known = {
            "reporter class": self._class,
            **{name: given[name] for name in _PARTS if name in given},
        }
        # They are opened by their names, by who knows nothing of strangers' folders.
        for path in self.files():
            check_own(path, writing=True)
        for folder in self._folders:
            check_own_folder(folder)
        self._kept = self._keeping()
        self._n_cycles = self._resume_at or 0
        if self._resume_at == 0 and (
            self._owns_files or not any(map(os.path.lexists, self.files()))
        ):
            self._kept.forget()
        elif self._resume_at is not None:
            why = self._gone_on_with(self._resume_at)
            if why is None:
                return
            self._begin_beside(self._resume_at, why)
        for folder in self._folders:
            os.makedirs(folder, exist_ok=True)
        with named(self.reporter, self._n_cycles, self.name):
            self._ready(self.reporter, given)
            self.reporter.init(reporters=[_unwrapped(each) for each in reporters], **given)
        self._try_to_keep()

    def report(self, **report: Any) -> None:
        """Pass a cycle on."""
        cycle_idx = int(report["cycle_idx"])
        given = self._as_theirs(report)
        with named(self.reporter, cycle_idx, self.name):
            self._reporter.report(**given)
        self._n_cycles = cycle_idx + 1

    def flush(self) -> None:
        """Keep the reporter and its files as they are, for a checkpoint."""
        if self._keeper is None or self._kept is None or self._n_cycles == 0:
            return
        memory = self._pickled()
        if isinstance(memory, bytes):
            self._keeper.made(memory)
            self._kept.keep(self._n_cycles, memory)
        else:
            # So that a kill loses nothing that a checkpoint vouches for.
            flush_what_is_open(self._reporter, self._known.values())

    def cleanup(self, *, reporters: Any = (), **parts: Any) -> None:
        """Let the reporter close its files."""
        if self._reporter is not None:
            given = self._as_theirs(parts)
            given["reporters"] = [_unwrapped(each) for each in reporters]
            close(self._reporter, self.name, **given)

    # ---- what it is

    @property
    def _class(self) -> type:
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The class that the user knows."""
        return self._class.__name__

    def files(self, part: str = "") -> list[str]:
        """The paths of the files that it writes, once it is bound; with a part, of those that it
        begins beside them."""
        raise NotImplementedError

    def _make(self, paths: list[str]) -> None:
        """Make `_reporter`, with these files."""
        raise NotImplementedError

    def _meet(self, parts: Mapping[str, Any]) -> None:
        """See what it is to run with."""

    def _ready(self, reporter: Any, given: Mapping[str, Any]) -> None:
        """Do what has to be done to a reporter before it begins its files."""

    def _as_theirs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the reporter is given, as it knows such things."""
        return dict(given)

    # ---- through a kill

    def _keeping(self, part: str = "") -> KeptFiles:
        paths = self.files(part)
        base = paths[0] if paths else f"{self.path}{part}.{self.name}"
        return KeptFiles(paths, base, self._folders)

    def _pickled(self) -> bytes | str:
        """The reporter as bytes, or why it cannot be had so."""
        assert self._keeper is not None
        try:
            return self._keeper.dumps(self._reporter, self._known)
        except Exception as problem:
            if isinstance(problem, OSError) and problem.errno in _DISK:
                raise  # What it holds open could not be flushed.
            # dill raises whatever the objects' own hooks raise.
            return (str(problem).splitlines() or [type(problem).__name__])[0]

    def _try_to_keep(self) -> None:
        memory = self._pickled() if self._keeper is not None else "nothing here keeps it"
        if isinstance(memory, str):
            self.remarks += (
                f"reporter {self.name} cannot be pickled ({memory}): if this job is interrupted, "
                f"what follows goes into new files, {os.path.basename(self.path)}.from-CYCLE, "
                "and not into the old ones as if it had never stopped; nothing is lost",
            )

    def _gone_on_with(self, n_cycles: int) -> str | None:
        """Why the reporter of the session before cannot be gone on with; None if it was."""
        keeper = self._keeper
        if keeper is None:
            return "nothing here keeps it"
        folder = os.path.dirname(self._keeping().paths[0] if self.files() else self.path) or "."
        found = {match[0] for name in os.listdir(folder) for match in _BESIDE.finditer(name)}
        # It may have begun new files before, and be kept with those.
        kept = [each for each in map(self._keeping, ("", *found)) if each.has(n_cycles)]
        where = self._kept = kept[0] if kept else self._keeping()
        try:
            reporter = where.restore(
                n_cycles,
                keeper.admit,
                lambda memory: keeper.loads(memory, self._known, where.moved),
            )
        except NotKeptError as problem:
            return str(problem)
        except OSError:
            raise
        except Exception as problem:
            # Whatever a user's own hooks raise.
            return f"what was kept of it cannot be loaded: {problem}"
        # The folder may have been moved, or be seen from elsewhere now.
        self._reporter = aimed(reporter, where.moved) if where.moved else reporter
        return None

    def _begin_beside(self, n_cycles: int, why: str) -> None:
        self._kept = self._keeping(f".from-{n_cycles}")
        # Of a session that went on from the same cycle, and comes by here again.
        self._kept.forget(folders=False)
        self._make(self._kept.paths)
        names = [os.path.basename(path) for path in self._kept.paths] or ["what it writes"]
        self.remarks += (
            f"reporter {self.name} is not gone on with ({why}): cycles from {n_cycles} on go into "
            f"{', '.join(names)}; its old files stay, and may hold some of these cycles too",
        )


class GivenReporter(OthersReporter):
    """Runs a reporter of somebody's own that a script has made, as it is.

    Parameters
    ----------
    reporter : object
        It is left as it is where it has to be made anew.
    files, folders : sequence of str
        What it writes.
    """

    def __init__(
        self, reporter: Any, files: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> None:
        self._given = reporter
        self._files = list(files)
        self._folders = list(folders)

    def bind(self, base: str | os.PathLike[str]) -> None:
        """Take the path prefix; one that names its own files is told it as well."""
        super().bind(base)
        ReporterCapabilities(self._given).bind(base)

    @property
    def _class(self) -> type:
        return type(self._given)

    def files(self, part: str = "") -> list[str]:
        return [self._beside(path, part) for path in self._files]

    def _beside(self, path: str, part: str) -> str:
        if path.startswith(self.path + "."):
            return self.path + part + path[len(self.path) :]
        root, suffix = os.path.splitext(path)
        return f"{root}{part}{suffix}"

    def _make(self, paths: list[str]) -> None:
        others = {old: new for old, new in zip(self.files(), paths, strict=True) if old != new}
        self._reporter = aimed(self._given, others) if others else self._given


def flush_what_is_open(thing: Any, others: Iterable[Any] = ()) -> None:
    """Flush every file that can be reached from `thing`, but not by way of `others`."""
    seen = {id(each) for each in others}
    todo = [thing]
    # Who has none open need not load it.
    hdf5 = getattr(sys.modules.get("h5py"), "File", ())
    while todo and len(seen) < _MOST:
        each = todo.pop()
        if id(each) in seen or isinstance(each, _NO_WAY):
            continue
        seen.add(id(each))
        if isinstance(each, io.IOBase):
            if not each.closed and each.writable():
                each.flush()
        elif isinstance(each, hdf5):
            if each:
                each.flush()
        else:
            todo += gc.get_referents(each)


#: So many objects are looked at, and none beyond these.
_MOST = 100_000
_NO_WAY = (type, types.ModuleType, types.FunctionType, types.CodeType, str, bytes, int, float)

_BESIDE = re.compile(r"\.from-\d+")
#: Of these the disk is the cause, and not what kind of thing is pickled.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

_PARTS = ("runner", "resampler", "boundary_conditions", "work_mapper")


def _unwrapped(reporter: Any) -> Any:
    return reporter.reporter if isinstance(reporter, OthersReporter) else reporter
