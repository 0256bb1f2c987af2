"""What every reporter is: a component that writes one file and changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from wepystore.engine.component import Component
from wepystore.engine.walker import Walker
from wepystore.reporters.files import replacing

#: Where HDF5 says what the system said.
_HDF5_ERROR = re.compile(r"\berrno = ([1-9]\d{0,3})\b")


class Reporter(Component):
    """Base of the reporters: one file named by the job, and nothing but side effects.

    A reporter draws no random numbers and changes nothing it is shown, so it
    cannot change the result of a run (R1). No path is among its parameters: a
    configuration holds none, and the job tells the path with `bind`.

    The order of calls is ``bind``, ``annotate`` (start hashes), ``resume`` (only
    to go on with files of a run that was interrupted), ``init``, ``report`` once
    a cycle, ``flush`` before each checkpoint, ``annotate`` (end hashes), ``cleanup``.
    An existing file of the path is overwritten unless ``resume`` was called.

    Every failure to write is an `OSError` that carries the file's name.
    """

    #: The end of the file's name; the rest is the job's name.
    suffix: ClassVar[str] = ""

    path: str = ""
    _resume_at: int | None = None

    def bind(self, base: str | os.PathLike[str]) -> None:
        """Take the path prefix (job folder and job name); the suffix is the reporter's."""
        self.path = os.fspath(base) + self.suffix
        self._resume_at = None

    def annotate(self, **facts: Any) -> None:
        """Take facts worth keeping with the data: hashes, seed. Most reporters need none."""

    def resume(self, n_cycles: int) -> None:
        """Go on with the files that are there: keep their first `n_cycles`, drop the rest.

        Called between `bind` and `init` with the number of cycles that the
        checkpoint vouches for. The first cycle reported afterwards has this index.
        """
        self._resume_at = n_cycles

    def init(self, *, init_walkers: Sequence[Walker], **parts: Any) -> None:
        """Open what is needed, before the first cycle.

        `parts` are runner, resampler, boundary_conditions, work_mapper, reporters, continue_run.
        """

    def report(self, **report: Any) -> None:
        """Take note of one cycle; the keys are those of wepy's protocol."""

    def flush(self) -> None:
        """Bring every cycle so far into the file, and leave the file valid."""

    def cleanup(self, **parts: Any) -> None:
        """Write what is left and let go of everything held."""
        self.flush()


@contextlib.contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Give any OSError raised inside the name of the file it is about.

    Libraries below (HDF5 above all) report a full disk without saying where.
    """
    try:
        yield
    except OSError as error:
        if error.filename == path:
            raise
        number, message = error.errno, error.strerror or str(error)
        told = _HDF5_ERROR.search(message)
        if told:
            # In the midst of addresses and of names that nobody has typed.
            number = int(told[1])
            message = os.strerror(number)
        raise OSError(number, message, path) from error


def replace_file(path: str, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees the old or the new bytes, never a mix.

    Without fsync: what is written here is looked at, not relied upon, and a
    crash of the machine (not of the program) may leave the older file.
    """
    with named_errors(path), replacing(path, draft_name(path)) as file:
        file.write(data)


def draft_name(path: str) -> str:
    """A hidden name beside `path`, on the same file system, for what replaces it.

    Always the same one (a job has one writer), so that kills leave no litter behind.
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.tmp")
