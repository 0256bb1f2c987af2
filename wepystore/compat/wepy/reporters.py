"""A reporter of wepy's in a job folder of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.compat.wepy.classes import is_derived, is_wepy
from wepystore.compat.wepy.repairs import have_wepy, prepare_wepy
from wepystore.compat.wepy.runner import NotedByRunner, WepyRunner
from wepystore.compat.wepy.walkers import TheirWalkers
from wepystore.engine.protocols import Capabilities, FileCapabilities
from wepystore.reporters.others import GivenReporter, OthersReporter

_WALKERS = ("init_walkers", "new_walkers", "resampled_walkers")
#: Modes of wepy's for a file that is there already.
_GOING_ON = ("r", "r+")


class NotedByReporter(Capabilities):
    """What a reporter of wepy's has in attributes, if it has it."""

    _modes: Any = None
    resampler_fields: Any = None


class _AsWepy(OthersReporter):
    """Calls a reporter as wepy does, with wepy's walkers and all that wepy would give it."""

    _theirs: Any = None

    def _meet(self, parts: Mapping[str, Any]) -> None:
        if have_wepy():
            prepare_wepy(drawing=False)
        self._theirs = _walkers_for(parts.get("runner"))

    def _ready(self, reporter: Any, given: Mapping[str, Any]) -> None:
        if self._is_hdf5:
            _describe_image(reporter, given.get("resampler"))

    @property
    def _is_hdf5(self) -> bool:
        return is_derived(self._class, "wepy.reporter.hdf5.WepyHDF5Reporter")

    def _as_theirs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The walkers in it as wepy's, and the runner without what makes it run here."""
        made = dict(given)
        if self._theirs is not None:
            # One for each call: clones share a state within a report.
            theirs = TheirWalkers(self._theirs)
            for name in _WALKERS:
                if name in made:
                    made[name] = theirs(made[name])
        if isinstance(made.get("runner"), WepyRunner):
            made["runner"] = made["runner"].original
        if "cycle_idx" in made:
            # wepy gives what the runner has noted, where it notes anything.
            runner = self._known.get("runner")
            made["runner_splits_time"] = NotedByRunner(runner)._last_cycle_segments_split_times
        if "resampler_data" in made and self._is_hdf5:
            made["resampler_data"] = [_with_arrays(record) for record in made["resampler_data"]]
        return made


#: Where pickles have the two classes (docs/design/0032-names-that-stay.md).
_HOME = "wepystore.reporters.wepy"


class WepyReporter(_AsWepy):
    """Runs a file reporter that was written for wepy 1.x.

    It is made when the job's folder and name are known, and then called as wepy calls it, with
    what wepy would give it: wepy's walkers, the runner itself, the reporters themselves.

    wepy never goes on with a reporter's file: each of its runs begins files of its own. Here a
    job that is resumed goes on with them where it can: see `OthersReporter`.

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

    own_name: bool = False
    __module__ = _HOME

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

    @property
    def _class(self) -> type:
        return self.reporter_class

    def files(self, part: str = "") -> list[str]:
        folder, name = os.path.split(self.path)
        named = FileCapabilities(self.reporter_class)
        template = named.SUGGESTED_FILENAME_TEMPLATE
        own = f".{self.name}" if self.own_name else ""
        return [
            os.path.join(
                folder,
                template.format(config=name + part, narration="", reporter_class=own, ext=suffix),
            )
            for suffix in named.SUGGESTED_EXTENSIONS
        ]

    def _make(self, paths: list[str]) -> None:
        self._reporter = self.reporter_class(
            file_paths=paths, modes=["x"] * len(paths), **self.options
        )


class GivenWepyReporter(_AsWepy, GivenReporter):
    """Runs a reporter of wepy's that a script has made itself.

    Parameters
    ----------
    reporter : object of a class derived from wepy's Reporter
    files, folders : sequence of str
        What it writes; without, what it says itself.
    """

    __module__ = _HOME

    def __init__(
        self, reporter: Any, files: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> None:
        super().__init__(reporter, files, folders)
        modes = NotedByReporter(reporter)._modes
        if files and isinstance(modes, list):
            # wepy changes them in place; and in a job's folder there is nothing to go on with.
            reporter._modes = ["x" if mode in _GOING_ON else mode for mode in modes]

    def bind(self, base: str | os.PathLike[str]) -> None:
        """Take the path prefix; one that names its own files is told it as well."""
        super().bind(base)
        if not self._files and not self._folders:
            self._files = [str(path) for path in FileCapabilities(self._given).file_paths]
            self._owns_files = not self._files


def _walkers_for(runner: Any) -> bool | None:
    """Whether wepy's walkers would be OpenMM's; None where there is no wepy to make any."""
    if not have_wepy():
        return None
    theirs = runner.original if isinstance(runner, WepyRunner) else runner
    return NotedByRunner(theirs).system is not None


def _describe_image(reporter: Any, resampler: Any) -> None:
    """Tell wepy's HDF5 reporter what images are like, where its script could not yet know it.

    What wepy's WExplore says of them without the repair cannot be written.
    """
    fields = NotedByReporter(reporter).resampler_fields
    if not is_wepy(resampler) or not isinstance(fields, list):
        return
    said = {name: (name, shape, dtype) for name, shape, dtype in resampler.resampler_fields()}
    known = [name for name, _, dtype in fields if dtype is not None]
    if "image" in said and "image" not in known:
        reporter.resampler_fields = [
            *(each for each in fields if each[0] != "image"),
            said["image"],
        ]


def _with_arrays(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose numbers are arrays: wepy's HDF5 file takes nothing else."""
    return {
        name: np.asarray(value) if np.ndim(value) else np.array([value])
        for name, value in record.items()
    }


__all__ = ["GivenWepyReporter", "WepyReporter"]
