"""A program between rsync and ssh: passes bytes on, and stops after so many.

    relay.py BYTES FLAG SECONDS < from > to      waits SECONDS before it ends; makes the file FLAG

Nothing is held back: programs at both ends answer each other.
"""

from __future__ import annotations

import os
import sys
import time


def main(limit: int, flag: str, seconds: float) -> None:
    """Pass on `limit` bytes."""
    left = limit
    while left:
        chunk = os.read(0, min(left, 1 << 16))
        if not chunk:
            return
        left -= len(chunk)
        while chunk:
            chunk = chunk[os.write(1, chunk) :]
    with open(flag, "w"):
        pass
    time.sleep(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
