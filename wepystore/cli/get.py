"""Write a snapshot, a configuration or a run to a file of its own.

Usage:
  wepy get (snapshot|config) [options] HASH
  wepy get (snapshot|config) [options] ORCH HASH
  wepy get run [options] START END
  wepy get run [options] ORCH START END
  wepy get run-cycles START END
  wepy get run-cycles ORCH START END

Prints the file's name. Without --output it is HASH.snap.dill.pkl or HASH.config.dill.pkl.
'dill.load' gives the object, 'unzip -t' checks the file, 'wepy add' takes it in again.
'get run' makes a store that holds the run from START to END alone (START-END.orch, of the first
8 digits of each); 'get run-cycles' prints how many cycles it has.

Options:
  -O FILE --output=FILE  Where to write it; not a name that ends as that of another format.
  -f --force             Replace the file if it is there (not for runs).
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from wepystore import durable
from wepystore.cli.common import find_runs, store_of
from wepystore.cli.console import Console
from wepystore.errors import DamagedError, FailedError, UsageError
from wepystore.store import Store
from wepystore.store.names import ONE
from wepystore.store.resolving import resolve

# What the name of a file promises that is something else.
_OTHERS = (
    *(".orch", ".pdb", ".cif", ".mmcif", ".gro", ".xyz", ".psf", ".prmtop", ".parm7", ".inpcrd"),
    *(".rst7", ".crd", ".top", ".mol2", ".sdf", ".dcd", ".xtc", ".trr", ".nc", ".h5", ".hdf5"),
    *(".json", ".txt", ".csv", ".tsv", ".xml", ".npy", ".npz", ".gexf", ".org", ".sqlite", ".db"),
    *(".toml", ".yaml", ".yml", ".html", ".md", ".log", ".py"),
)
SUFFIXES = {"snapshots": ".snap.dill.pkl", "configs": ".config.dill.pkl"}


class FileExistsAlreadyError(FailedError):
    """{file} is there already: name another file with --output, or replace it with --force"""


class DirectoryExistsAlreadyError(FailedError):
    """{file} is there already: name another directory with --output"""


class OtherFormatError(UsageError):
    """{file} would not be what its name says: 'wepy get {what}' writes {written}; name it {name}"""


class NoSuchDirectoryError(FailedError):
    """{file} cannot be written: there is no directory {directory}"""


class RunIncompleteError(DamagedError):
    """the run is incomplete in {path}: {why}"""


def main(args: dict[str, Any], console: Console) -> int:
    """Write what is asked for and print its name, or print a number of cycles."""
    store = store_of(args, *(("HASH",) if args["HASH"] is not None else ("START", "END")))
    if args["run-cycles"]:
        for run in find_runs(store, args["START"], args["END"]):
            console.out(str(run.n_cycles))
    elif args["run"]:
        console.out(_get_run(store, args["START"], args["END"], args["--output"]))
    else:
        kind = "snapshots" if args["snapshot"] else "configs"
        console.out(_get_file(store, kind, args["HASH"], args["--output"], args["--force"]))
    return 0


def _get_file(store: Store, kind: str, text: str, output: str | None, force: bool) -> str:
    from wepystore.store import exports

    if output is not None and output.lower().endswith(_OTHERS):
        raise OtherFormatError(
            file=output,
            what=kind.removesuffix("s"),
            written=f"a pickle that is a ZIP archive too, with all of the {ONE[kind]}",
            name=f"{os.path.splitext(output)[0]}{SUFFIXES[kind]}",
        )
    _, md5 = resolve(store, text, (kind,))
    file = output or md5 + SUFFIXES[kind]
    _check_directory(file)
    try:
        exports.write(store, kind, md5, file, replace=force)
    except FileExistsError:
        raise FileExistsAlreadyError(file=file) from None
    return file


def _get_run(store: Store, start: str, end: str, output: str | None) -> str:
    from wepystore.store import merge

    if output is not None and output.lower().rstrip("/").endswith((*_OTHERS[1:], ".pkl")):
        name = f"{os.path.splitext(output.rstrip('/'))[0]}.orch"
        raise OtherFormatError(file=output, what="run", written="a directory, a store", name=name)
    runs = find_runs(store, start, end)
    target = output or f"{runs[0].start[:8]}-{runs[0].end[:8]}.orch"
    _check_directory(target)
    if os.path.lexists(target):
        raise DirectoryExistsAlreadyError(file=target)
    # Under another name until all of it is there: so it holds this run and nothing else, whoever
    # else makes that directory.
    parent, name = os.path.split(target.rstrip("/"))
    part = os.path.join(parent, f".{name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    plan = merge.plan(part, [store], only=[("runs", run.md5) for run in runs])
    if plan.left:
        raise RunIncompleteError(path=store.path, why=plan.left[0].why)
    try:
        outcome = merge.apply(plan)
        if outcome.left:
            raise RunIncompleteError(path=store.path, why=outcome.left[0].why)
        os.rename(part, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise DirectoryExistsAlreadyError(file=target) from None
        durable.name(error, target)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    try:
        durable.sync_directory(Path(parent or "."))
    except OSError as error:
        # As for a file: what is said to have failed is not to be there.
        shutil.rmtree(target, ignore_errors=True)
        error.filename = target
        raise
    return target


def _check_directory(file: str) -> None:
    directory = os.path.dirname(file.rstrip("/")) or "."
    if not os.path.isdir(directory):
        raise NoSuchDirectoryError(file=file, directory=directory)
