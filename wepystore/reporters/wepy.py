"""A reporter of wepy's in a job folder of ours."""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

from wepystore.engine.errors import ComponentError, StepError
from wepystore.engine.foreign import is_wepy
from wepystore.engine.runners.wepy import WepyRunner
from wepystore.engine.runners.wepy_walkers import TheirWalkers
from wepystore.engine.wepy_repairs import have_wepy, prepare_wepy
from wepystore.errors import WepystoreError
from wepystore.reporters.base import Reporter
from wepystore.reporters.kept import KeptFiles, NotKeptError

#: How wepy names a file where its class does not say.
_TEMPLATE = "{config}{narration}{reporter_class}.{ext}"


class Keeper(Protocol):
    """How a reporter becomes bytes and comes back."""

    def dumps(self, reporter: Any, known: Mapping[str, Any]) -> bytes: ...

    def made(self, data: bytes) -> None: ...

    def admit(self, data: bytes) -> None: ...

    def loads(self, data: bytes, known: Mapping[str, Any]) -> Any: ...


class WepyReporter(Reporter):
    """Runs a file reporter that was written for wepy 1.x.

    It is made when the job's folder and name are known, and then called as wepy calls it, with
    what wepy would give it: wepy's walkers, the runner itself, the reporters themselves.

    wepy never goes on with a reporter's file: each of its runs begins files of its own. Here the
    reporter is pickled at each checkpoint, with all that it remembers, and its files are kept as
    they are then; a resumed run goes on with both, as if it had never stopped. What cannot be
    pickled (an open HDF5 file, a csv.writer) begins new files instead, NAME.from-CYCLE.EXT, and
    leaves the old ones as they are: `remarks` says so when the run begins.

    Parameters
    ----------
    reporter_class : type
        With SUGGESTED_EXTENSIONS, and a constructor that takes file_paths and modes.
    options : mapping of str to object
        The other keywords of its constructor.
    own_name : bool
        Whether the class's name is part of its files' names, as with wepy where
        two reporters have one extension.
    """

    #: Whether the job alone has named its files, so that nobody else's can be there.
    _owns_files: ClassVar[bool] = True

    own_name: bool = False
    remarks: tuple[str, ...] = ()
    _keeper: Keeper | None = None
    _kept: KeptFiles | None = None
    _n_cycles: int = 0
    _known: Mapping[str, Any] = {}
    _theirs: Any = None

    def __init__(
        self, reporter_class: type, options: Mapping[str, Any], own_name: bool = False
    ) -> None:
        self.reporter_class = reporter_class
        self.options = dict(options)
        self._reporter: Any = None
        if own_name:
            self.own_name = True

    def __getstate__(self) -> dict[str, Any]:
        # Of a run nothing: a configuration holds no path and no file.
        state = {"reporter_class": self.reporter_class, "options": self.options, "_reporter": None}
        return {**state, "own_name": True} if self.own_name else state

    def bind(self, base: str | os.PathLike[str]) -> None:
        """Take the path prefix; the reporter itself is made anew for it."""
        super().bind(base)
        self._reporter = None

    def keep_with(self, keeper: Keeper) -> None:
        """Take what can bring the reporter through a kill; without, it begins new files."""
        self._keeper = keeper

    @property
    def reporter(self) -> Any:
        """The reporter itself, made now if it was not before."""
        if self._reporter is None:
            self._make(self._paths())
        return self._reporter

    def init(self, *, reporters: Any = (), **parts: Any) -> None:
        """Make the reporter, with files named by the job, and open them; or go on with them."""
        if have_wepy():
            prepare_wepy()
        self.remarks = ()
        self._theirs = _walkers_for(parts.get("runner"))
        given = self._as_wepys(parts)
        self._known = {
            "reporter class": self.reporter_class,
            **{name: given[name] for name in _PARTS if name in given},
        }
        self._kept = self._keeping()
        self._n_cycles = self._resume_at or 0
        if self._resume_at == 0 and (
            self._owns_files or not any(map(os.path.lexists, self._paths()))
        ):
            self._kept.forget()
        elif self._resume_at is not None:
            why = self._gone_on_with(self._resume_at)
            if why is None:
                return
            self._begin_beside(self._resume_at, why)
        with self._named(self._n_cycles):
            self.reporter.init(reporters=[_unwrapped(each) for each in reporters], **given)
        self._try_to_keep()

    def report(self, **report: Any) -> None:
        """Pass a cycle on."""
        cycle_idx = int(report["cycle_idx"])
        given = self._as_wepys(report)
        runner = self._known.get("runner")
        # wepy gives what the runner has noted, where it notes anything.
        given["runner_splits_time"] = getattr(runner, "_last_cycle_segments_split_times", None)
        with self._named(cycle_idx):
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
            given = self._as_wepys(parts)
            given["reporters"] = [_unwrapped(each) for each in reporters]
            try:
                self._reporter.cleanup(**given)
            except (WepystoreError, OSError):
                raise
            except Exception as problem:
                why = f"it could not close its files: {type(problem).__name__}: {problem}"
                raise ComponentError(component=self._name, problem=why) from problem

    @property
    def _name(self) -> str:
        return self.reporter_class.__name__

    def _paths(self, part: str = "") -> list[str]:
        folder, name = os.path.split(self.path)
        template = getattr(self.reporter_class, "SUGGESTED_FILENAME_TEMPLATE", _TEMPLATE)
        suffixes = getattr(self.reporter_class, "SUGGESTED_EXTENSIONS", ())
        own = f".{self._name}" if self.own_name else ""
        return [
            os.path.join(
                folder,
                template.format(config=name + part, narration="", reporter_class=own, ext=suffix),
            )
            for suffix in suffixes
        ]

    def _keeping(self, part: str = "") -> KeptFiles:
        paths = self._paths(part)
        return KeptFiles(paths, paths[0] if paths else f"{self.path}{part}.{self._name}")

    def _make(self, paths: list[str]) -> None:
        self._reporter = self.reporter_class(
            file_paths=paths, modes=["x"] * len(paths), **self.options
        )

    def _as_wepys(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The walkers in it as wepy's, and the runner without what makes it run here."""
        made = dict(given)
        if self._theirs is not None:
            # One for each call: clones share a state within a report.
            theirs = TheirWalkers(self._theirs)
            for name in _WALKERS:
                if name in made:
                    made[name] = theirs(made[name])
        if isinstance(made.get("runner"), WepyRunner):
            made["runner"] = made["runner"].wepy_runner
        return made

    # ---- through a kill

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
                f"reporter {self._name} cannot be pickled ({memory}): if this job is interrupted, "
                f"what follows goes into new files, {os.path.basename(self.path)}.from-CYCLE, "
                "and not into the old ones as if it had never stopped; nothing is lost",
            )

    def _gone_on_with(self, n_cycles: int) -> str | None:
        """Why the reporter of the session before cannot be gone on with; None if it was."""
        keeper = self._keeper
        if keeper is None:
            return "nothing here keeps it"
        folder = os.path.dirname(self._keeping().paths[0] if self._paths() else self.path) or "."
        found = {match[0] for name in os.listdir(folder) for match in _BESIDE.finditer(name)}
        # It may have begun new files before, and be kept with those.
        kept = [each for each in map(self._keeping, ("", *found)) if each.has(n_cycles)]
        self._kept = kept[0] if kept else self._keeping()
        try:
            self._reporter = self._kept.restore(
                n_cycles, keeper.admit, lambda memory: keeper.loads(memory, self._known)
            )
        except NotKeptError as problem:
            return str(problem)
        except OSError:
            raise
        except Exception as problem:
            # Whatever a user's own hooks raise.
            return f"what was kept of it cannot be loaded: {problem}"
        return None

    def _begin_beside(self, n_cycles: int, why: str) -> None:
        self._kept = self._keeping(f".from-{n_cycles}")
        # Of a session that went on from the same cycle, and comes by here again.
        self._kept.forget()
        self._make(self._kept.paths)
        names = [os.path.basename(path) for path in self._kept.paths] or ["what it writes"]
        self.remarks += (
            f"reporter {self._name} is not gone on with ({why}): cycles from {n_cycles} on go into "
            f"{', '.join(names)}; its old files stay, and may hold some of these cycles too",
        )

    @contextmanager
    def _named(self, cycle_idx: int) -> Iterator[None]:
        """As engine.manager.named, with the name of the class that the user knows."""
        try:
            yield
        except (WepystoreError, OSError):
            raise
        except (Exception, SystemExit) as problem:
            raise StepError(
                cycle_idx=cycle_idx,
                component=self._name,
                problem=f"{type(problem).__name__}: {problem}",
            ) from problem


class GivenWepyReporter(WepyReporter):
    """The same for a reporter that a script has made itself, with files where the script said.

    Parameters
    ----------
    reporter : object of a class derived from wepy's Reporter
    """

    _owns_files = False

    def __init__(self, reporter: Any) -> None:
        super().__init__(type(reporter), {})
        self._given = reporter
        self._given_paths = [str(path) for path in getattr(reporter, "file_paths", ())]

    def _paths(self, part: str = "") -> list[str]:
        split = [os.path.splitext(path) for path in self._given_paths]
        return [f"{root}{part}{suffix}" for root, suffix in split]

    def _make(self, paths: list[str]) -> None:
        self._reporter = self._given
        if paths and paths != self._given_paths:
            # As the constructor of wepy's FileReporter does; it has no way to change them later.
            self._reporter._file_paths = paths
            for name, path in zip(self._reporter.FILE_ORDER, paths, strict=False):
                setattr(self._reporter, name, path)


def adapted_reporter(reporter: Any) -> Any:
    """A reporter of a class of wepy's behind a `GivenWepyReporter`; any other as it is."""
    return GivenWepyReporter(reporter) if is_wepy(reporter) else reporter


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
_WALKERS = ("init_walkers", "new_walkers", "resampled_walkers")


def _unwrapped(reporter: Any) -> Any:
    return reporter.reporter if isinstance(reporter, WepyReporter) else reporter


def _walkers_for(runner: Any) -> bool | None:
    """Whether wepy's walkers would be OpenMM's; None where there is no wepy to make any."""
    if not have_wepy():
        return None
    system = getattr(getattr(runner, "wepy_runner", runner), "system", None)
    return system is not None


__all__ = ["GivenWepyReporter", "WepyReporter", "adapted_reporter"]
