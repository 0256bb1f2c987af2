"""New files that get their names together, when all of them are whole."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from wepystore import durable


class Drafts:
    """Files that are being written, under hidden names beside their own.

    With the end of the block each gets its name; if anything is raised in it, none does, and
    the drafts go.

    Parameters
    ----------
    replace : bool
        Whether a file that is there already is replaced.
    """

    def __init__(self, replace: bool) -> None:
        self._replace = replace
        self._files: dict[str, Path] = {}

    @property
    def files(self) -> list[str]:
        """Their names, in the order in which they were asked for."""
        return list(self._files)

    def new(self, file: str) -> str:
        """Where to write a file. Raises FileExistsError, and IsADirectoryError for what cannot be
        replaced."""
        if os.path.isdir(file):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file)
        if file in self._files or (not self._replace and os.path.lexists(file)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), file)
        folder, name = os.path.split(file)
        # The ending stays: libraries go by it.
        draft = f".{os.getpid()}-{os.urandom(4).hex()}.part.{name}"
        self._files[file] = Path(folder, draft)
        return str(self._files[file])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None:
                for file, draft in self._files.items():
                    with durable.naming(file):
                        durable.move(draft, Path(file), self._replace)
        finally:
            for draft in self._files.values():
                with suppress(FileNotFoundError):
                    draft.unlink()
