"""Files of their own that commands write their answers to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from wepystore import durable
from wepystore.errors import FailedError


class FileExistsAlreadyError(FailedError):
    """{file} is there already: name another file, or replace it with --force"""


class NoSuchDirectoryError(FailedError):
    """{file} cannot be written: there is no directory {directory}"""


def check_directory(file: str) -> None:
    """Raise NoSuchDirectoryError unless there is a directory for a file."""
    directory = os.path.dirname(file.rstrip("/")) or "."
    if not os.path.isdir(directory):
        raise NoSuchDirectoryError(file=file, directory=directory)


def check_new(file: str, replace: bool) -> None:
    """Raise now what `write_text` would raise later. Raises NoSuchDirectoryError,
    FileExistsAlreadyError."""
    check_directory(file)
    if not replace and os.path.lexists(file):
        raise FileExistsAlreadyError(file=file)


def write_text(file: str, text: str, replace: bool) -> None:
    """A file with a text, whole or not at all. Raises FileExistsAlreadyError."""
    # Names of files need not be UTF-8; they are then shown as on a terminal.
    write_bytes(file, text.encode(errors="backslashreplace"), replace)


def write_bytes(file: str, data: bytes, replace: bool) -> None:
    """A file, whole or not at all. Raises FileExistsAlreadyError."""
    check_directory(file)
    folder, name = os.path.split(file)
    part = Path(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with durable.naming(file):
        durable.write_small(str(part), [memoryview(data)])
        try:
            durable.move(part, Path(file), replace)
        except FileExistsError:
            raise FileExistsAlreadyError(file=file) from None
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def cleaned_up() -> Iterator[None]:
    """Within the block a signal of a scheduler, or the end of the terminal, ends the program as an
    exception does: whoever has begun large files removes them. The exit status is a shell's."""

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    taken = []
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # What `nohup` has it ignore stays so. Only the main thread can take signals.
            is_main = threading.current_thread() is threading.main_thread()
            if is_main and signal.getsignal(number) is signal.SIG_DFL:
                taken.append(number)
                signal.signal(number, end)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
