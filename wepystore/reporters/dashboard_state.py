"""What a dashboard remembers for a `resume`: lines of JSON in a hidden file beside the page.

JOB_DIR/.JOB.dash.org.state     a line for each of the last flushes: checksum, blank, JSON
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable

from wepystore.reporters.base import replace_file
from wepystore.reporters.files import read_own

#: Marks such lines in the pages of earlier releases, which had them at their end.
_IN_THE_PAGE = "# wepystore-state: "
#: No page of figures is larger, nor is what is remembered of it; in bytes.
_LARGEST = 16 << 20


def state_path(page: str) -> str:
    """The hidden file beside a page."""
    folder, name = os.path.split(page)
    return os.path.join(folder, f".{name}.state")


def write_lines(path: str, lines: Iterable[str]) -> None:
    """Replace the file by one with these lines. Raises OSError, with its name."""
    text = "".join(f"{zlib.crc32(line.encode()):08x} {line}\n" for line in lines)
    replace_file(path, text.encode())


def read_lines(path: str, page: str) -> list[str]:
    """The whole lines of the file, or, if it is not there, of a page of an earlier release.

    Raises OSError if either is no plain file.
    """
    found = _read(path)
    if found is not None:
        parts = [line.partition(" ") for line in found]
        return [line for check, _, line in parts if check == f"{zlib.crc32(line.encode()):08x}"]
    return [
        line.removeprefix(_IN_THE_PAGE)
        for line in _read(page) or ()
        if line.startswith(_IN_THE_PAGE)
    ]


def _read(path: str) -> list[str] | None:
    try:
        return read_own(path, _LARGEST).decode().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
