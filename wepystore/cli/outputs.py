"""Files of their own that commands write their answers to."""

from __future__ import annotations

import os
from pathlib import Path

from wepystore import durable
from wepystore.errors import FailedError


class FileExistsAlreadyError(FailedError):
    """{file} is there already: name another file with --output, or replace it with --force"""


class NoSuchDirectoryError(FailedError):
    """{file} cannot be written: there is no directory {directory}"""


def check_directory(file: str) -> None:
    """Raise NoSuchDirectoryError unless there is a directory for a file."""
    directory = os.path.dirname(file.rstrip("/")) or "."
    if not os.path.isdir(directory):
        raise NoSuchDirectoryError(file=file, directory=directory)


def write_text(file: str, text: str, replace: bool) -> None:
    """A file with a text, whole or not at all. Raises FileExistsAlreadyError."""
    check_directory(file)
    folder, name = os.path.split(file)
    part = Path(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with durable.naming(file):
        durable.write_small(str(part), [memoryview(text.encode())])
        try:
            durable.move(part, Path(file), replace)
        except FileExistsError:
            raise FileExistsAlreadyError(file=file) from None
        finally:
            part.unlink(missing_ok=True)
