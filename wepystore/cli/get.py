"""Write a snapshot, a configuration, a run or its trajectories to a file of their own.

Usage:
  wepy get (snapshot|config) [options] HASH
  wepy get (snapshot|config) [options] ORCH HASH
  wepy get run [options] START END
  wepy get run [options] ORCH START END
  wepy get run-cycles START END
  wepy get run-cycles ORCH START END
  wepy get lineage [options] RUN
  wepy get lineage [options] ORCH RUN
  wepy get trajectories [options] RUN
  wepy get trajectories [options] ORCH RUN

Prints the file's name. Without --output it is HASH.snap.dill.pkl or HASH.config.dill.pkl.
'dill.load' gives the object, 'unzip -t' checks the file, 'wepy add' takes it in again.
'get run' makes a store that holds the run from START to END alone (START-END.orch, of the first
8 digits of each), with --without frames all of it but these; 'get run-cycles' prints how many
cycles it has.

'get lineage' prints a walker and its ancestors, the first one first, as 'RUN CYCLE WALKER WEIGHT'
(with --heaviest the number of the lineage before them). RUN is START,END as 'wepy ls runs' prints
it, the hash of a run's record or its first digits, or a tag. Lineages go back through the runs that
led to its start, and --cycle and --warp count from 0 in the first of these, or with -1 from the
end; the cycles that are printed are those of each RUN. If none of these options says which, it is
the heaviest walker that was warped, or if there is none the heaviest in the last cycle. A lineage
begins anew where a walker was warped. With --output and a name that ends as one of 'get
trajectories' the states along it are written, and beside them FILE.csv; of several FILE-L001.dcd.

'get trajectories' writes what is recorded of a RUN to files that other programs read, and prints
their names. What FILE ends in is the format: .h5 (of wepy 1.x, with the records; without --output
HASH.wepy.h5, of the RUN's record), or .dcd, .xtc, .pdb: of each walker one, FILE-W003.dcd, unless
only one is named by --walkers. Beside these are FILE.csv, with the cycle and weight of each frame,
and FILE.pdb to open a .dcd or .xtc with. In a .h5 all walkers and cycles are there, and of those
left out by --walkers and --every the frames are NaN, which takes no room. ATOMS are numbers counted
from 0, as 0-9,12, or a selection in MDTraj's language, as 'protein' or 'not water'. For .dcd, .xtc
and selections the extra 'trajectories' must be installed.

Options:
  -O FILE --output=FILE  Where to write it; not a name that ends as that of another format. Of a
                         lineage .csv or .json; of trajectories or a lineage .h5, .dcd, .xtc or
                         .pdb.
  -f --force             Replace the file if it is there (not for runs).
  --without WHAT         Leave the 'frames' of a run where they are.
  --walker W             The lineage of this walker, in the last cycle or in --cycle.
  --cycle C              The lineage of the heaviest walker, or of --walker, in this cycle.
  --warp K               The lineage of the walker that was warped in warp K.
  --heaviest N           The lineages of the N heaviest walkers that were warped.
  --to TARGET            Only of those whose warps have this target_idx.
  --through-warps        Go back through warps as well.
  --alone                Only the cycles of RUN, and not of the runs that led to its start.
  --json                 Print lineages as JSON.
  --walkers W            Trajectories of these walkers, as 0,3-5.
  --cycles A:B           Of the cycles from A to before B, counted from 0, or with -1 from the end.
  --every N              Of each Nth of the cycles that there are frames of.
  --atoms ATOMS          Of these atoms.
  --joined               With the cycles of the runs that led to its start before those of RUN.
  --align ATOMS          Lay all frames, of all walkers, over the first one by these atoms.
  --whole                Make molecules whole that the box has cut.
  --verify               Compare all that is written with what was recorded, byte by byte, before
                         (of trajectories and lineages).
  --link                 Leave the frames in the store: FILE.h5 has some kilobytes, and says where
                         on this machine they are. It and these objects become read-only.
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
from wepystore.cli.outputs import FileExistsAlreadyError, check_directory
from wepystore.errors import DamagedError, FailedError, UsageError
from wepystore.store import Store
from wepystore.store.attachments import read_attachments
from wepystore.store.names import ONE
from wepystore.store.resolving import resolve

# What the name of a file promises that is something else.
_OTHERS = (
    *(".orch", ".pdb", ".cif", ".mmcif", ".gro", ".xyz", ".psf", ".prmtop", ".parm7", ".inpcrd"),
    *(".rst7", ".crd", ".top", ".mol2", ".sdf", ".dcd", ".xtc", ".trr", ".nc", ".h5", ".hdf5"),
    *(".json", ".txt", ".csv", ".tsv", ".xml", ".npy", ".npz", ".gexf", ".org", ".sqlite", ".db"),
    *(".toml", ".yaml", ".yml", ".html", ".md", ".log", ".py"),
)
_OF_LINEAGES = (
    *("--walker", "--cycle", "--warp", "--heaviest", "--to", "--through-warps", "--alone"),
    "--json",
)
_OF_TRAJECTORIES = (
    *("--walkers", "--cycles", "--every", "--atoms", "--joined", "--align", "--whole"),
    *("--link", "--verify"),
)
_OF_BOTH = ("--every", "--atoms", "--align", "--whole", "--verify")
SUFFIXES = {"snapshots": ".snap.dill.pkl", "configs": ".config.dill.pkl"}


class DirectoryExistsAlreadyError(FailedError):
    """{file} is there already: name another directory with --output"""


class OtherFormatError(UsageError):
    """{file} would not be what its name says: 'wepy get {what}' writes {written}; name it {name}"""


class RunIncompleteError(DamagedError):
    """the run is incomplete in {path}: {why}"""


def main(args: dict[str, Any], console: Console) -> int:
    """Write what is asked for and print its name, or print a number of cycles, or lineages."""
    _check_options(args)
    if args["trajectories"] or args["lineage"]:
        from wepystore.cli import lineage, trajectories

        for name in (trajectories if args["trajectories"] else lineage).get(args, console):
            console.out(name)
        return 0
    store = store_of(args, *(("HASH",) if args["HASH"] is not None else ("START", "END")))
    if args["run-cycles"]:
        for run in find_runs(store, args["START"], args["END"]):
            console.out(str(run.n_cycles))
    elif args["run"]:
        from wepystore.cli.merging import with_frames

        frames = with_frames(args)
        console.out(_get_run(store, args["START"], args["END"], args["--output"], frames))
    else:
        kind = "snapshots" if args["snapshot"] else "configs"
        console.out(_get_file(store, kind, args["HASH"], args["--output"], args["--force"]))
    return 0


def _check_options(args: dict[str, Any]) -> None:
    for word, options in (("lineage", _OF_LINEAGES), ("trajectories", _OF_TRAJECTORIES)):
        given = [option for option in options if args[option]]
        if given and not args[word] and not (args["lineage"] and given[0] in _OF_BOTH):
            raise UsageError(f"{given[0]} is for 'wepy get {word}'")
    if args["--without"] is not None and not args["run"]:
        raise UsageError("--without is for 'wepy get run'")


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
    check_directory(file)
    try:
        exports.write(store, kind, md5, file, replace=force)
    except FileExistsError:
        raise FileExistsAlreadyError(file=file) from None
    return file


def _get_run(store: Store, start: str, end: str, output: str | None, frames: bool) -> str:
    from wepystore.store import merge, whereabouts

    if output is not None and output.lower().rstrip("/").endswith((*_OTHERS[1:], ".pkl")):
        name = f"{os.path.splitext(output.rstrip('/'))[0]}.orch"
        raise OtherFormatError(file=output, what="run", written="a directory, a store", name=name)
    runs = find_runs(store, start, end)
    target = output or f"{runs[0].start[:8]}-{runs[0].end[:8]}.orch"
    check_directory(target)
    if os.path.lexists(target):
        raise DirectoryExistsAlreadyError(file=target)
    # Under another name until all of it is there: so it holds this run and nothing else, whoever
    # else makes that directory.
    parent, name = os.path.split(target.rstrip("/"))
    part = os.path.join(parent, f".{name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    attached = read_attachments(store)
    only = [("runs", run.md5) for run in runs]
    only += [("attachments", each.md5) for run in runs for each in attached.get(run.md5, ())]
    plan = merge.plan(part, [store], only=only, frames=frames)
    if plan.left:
        raise RunIncompleteError(path=store.path, why=plan.left[0].why)
    try:
        outcome = merge.apply(plan)
        if outcome.left:
            raise RunIncompleteError(path=store.path, why=outcome.left[0].why)
        place = os.path.realpath(store.path)
        whereabouts.note(Store.open(part), place, outcome.frames_kept_at(store))
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
