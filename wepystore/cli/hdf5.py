"""Copy a WepyHDF5 file, with what in it stands in other files.

Usage:
  wepy hdf5 copy [options] SOURCE TARGET

Runs that wepy 1.x has linked, and frames that are in a store ('wepy get trajectories --link'), are
copied into TARGET, which then needs no other file. Prints the name of TARGET.

Options:
  --no-expand-external  Copy the links instead.
  -f --force            Replace TARGET if it is there.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.console import Console
from wepystore.cli.outputs import FileExistsAlreadyError, check_directory, cleaned_up


def main(args: dict[str, Any], console: Console) -> int:
    """Copy it, and print the name of the copy."""
    from wepystore.trajectories.copying import copy_hdf5

    source, target = args["SOURCE"], args["TARGET"]
    check_directory(target)
    try:
        with cleaned_up():
            copy_hdf5(source, target, not args["--no-expand-external"], args["--force"])
    except FileExistsError:
        raise FileExistsAlreadyError(file=target) from None
    console.out(target)
    return 0
