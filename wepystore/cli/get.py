"""Write a snapshot or a configuration to one self-contained file.

Usage:
  wepy get (snapshot|config) [options] HASH
  wepy get (snapshot|config) [options] ORCH HASH

Prints the file's name. Without --output it is HASH.snap.dill.pkl or HASH.config.dill.pkl.
'dill.load' gives the object, 'unzip -t' checks the file, 'wepy add' takes it in again.

Options:
  -O FILE --output=FILE  Where to write it.
  -f --force             Replace the file if it is there.
"""

from __future__ import annotations

import os
from typing import Any

from wepystore.cli.common import open_store
from wepystore.cli.console import Console
from wepystore.errors import FailedError

SUFFIXES = {"snapshots": ".snap.dill.pkl", "configs": ".config.dill.pkl"}


class FileExistsAlreadyError(FailedError):
    """{file} is there already: name another file with --output, or replace it with --force"""


class NoSuchDirectoryError(FailedError):
    """{file} cannot be written: there is no directory {directory}"""


def main(args: dict[str, Any], console: Console) -> int:
    """Write the file and print its name."""
    from wepystore.store import bundle

    kind = "snapshots" if args["snapshot"] else "configs"
    store = open_store(args["ORCH"])
    _, md5 = store.resolve(args["HASH"], (kind,))
    file = args["--output"] or md5 + SUFFIXES[kind]
    directory = os.path.dirname(file) or "."
    if not os.path.isdir(directory):
        raise NoSuchDirectoryError(file=file, directory=directory)
    try:
        bundle.write(store, kind, md5, file, replace=args["--force"])
    except FileExistsError:
        raise FileExistsAlreadyError(file=file) from None
    console.out(file)
    return 0
