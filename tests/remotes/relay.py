"""A program between rsync and ssh: passes bytes on, counts them, and stops after so many.

    relay.py BYTES FILE SECONDS < from > to

FILE.count gets a line with the length of each piece before it is passed on. After BYTES, FILE is
made, and the program ends SECONDS later. Nothing is held back: programs at both ends answer each
other.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time


def main(limit: int, file: str, seconds: float) -> None:
    """Pass on `limit` bytes."""
    count = os.open(f"{file}.count", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    left = limit
    while left:
        select.select([0], [], [])
        try:
            chunk = os.read(0, min(left, 1 << 16))
        except BlockingIOError:
            continue
        if not chunk:
            return
        left -= len(chunk)
        os.write(count, b"%d\n" % len(chunk))
        while chunk:
            # ssh and rsync do not block on their ends, and so neither does this one.
            select.select([], [1], [])
            with contextlib.suppress(BlockingIOError):
                chunk = chunk[os.write(1, chunk) :]
    with open(file, "w"):
        pass
    time.sleep(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
