"""Trajectories in files, of whatever kind their names say."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wepystore.errors import WepystoreError
from wepystore.records.run_frames import Integers
from wepystore.reporters.base import named_errors
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.errors import NotWrittenError, UnknownFormatError
from wepystore.trajectories.molecular import (
    Structures,
    Trajectory,
    write_dcd,
    write_pdb,
    write_xtc,
)
from wepystore.trajectories.moving import Moves
from wepystore.trajectories.wepy_hdf5 import write_hdf5_of

HDF5 = (".h5", ".hdf5")
ENDINGS = (*HDF5, ".dcd", ".xtc", ".pdb")

#: What libraries raise that meet what nobody meant: a stranger's names, numbers, text.
_ODD = (ValueError, RuntimeError, TypeError, KeyError, IndexError, OverflowError)
_COLUMNS = ("trajectory", "frame", "run", "cycle", "joined_cycle", "walker", "weight")


def check_ending(file: str) -> str:
    """The ending of a file's name. Raises UnknownFormatError."""
    suffix = Path(file).suffix
    if suffix not in ENDINGS:
        raise UnknownFormatError(file=file, endings=", ".join(ENDINGS))
    return suffix


def write_trajectories(
    file: str | os.PathLike[str],
    trajectories: Mapping[str, Trajectory],
    atoms: KeptAtoms,
    *,
    places: Integers | None = None,
    moves: Moves | None = None,
    replace: bool = False,
) -> list[str]:
    """Write trajectories to files that other programs read.

    Parameters
    ----------
    file : str or path
        What it ends in is the format: a .h5 for all (WepyHDF5, without records), or a .dcd, .xtc or
        .pdb for each, FILE-NAME.dcd where there are several. Beside .dcd and .xtc a .pdb of the
        first frame, and beside all a .csv with the cycles and weights of all frames.
    trajectories : {name: Trajectory}
        Of the same fields and atoms.
    atoms : KeptAtoms
    places : array of int, or None
        Atoms that are written, as KeptAtoms.places gives them.
    moves : Moves or None
        What is done to the frames before.
    replace : bool
        Whether files that are there are replaced.

    Returns the files. Raises NotMolecularError, LibraryMissingError, DamagedError,
    FileExistsError.
    """
    file = os.fspath(file)
    suffix = check_ending(file)
    stem = file.removesuffix(suffix)
    with Drafts(replace) as drafts:
        if suffix in HDF5:
            with understood(file):
                held = list(trajectories.values())
                write_hdf5_of(drafts.new(file), file, held, atoms, places, moves)
        else:
            # What is there is found before anything is written.
            several = len(trajectories) > 1
            names = {n: f"{stem}-{n}{suffix}" if several else file for n in trajectories}
            made = {name: (each, drafts.new(each)) for name, each in names.items()}
            model = drafts.new(f"{stem}.pdb") if suffix != ".pdb" else None
            for name, trajectory in trajectories.items():
                each, draft = made[name]
                with understood(each), named_errors(each):
                    structures = Structures(trajectory, atoms, each, places, moves)
                    _write(suffix, draft, structures, trajectory)
                    if model is not None:
                        write_pdb(model, structures, 1)
                        model = None
        beside = f"{stem}.csv"
        _write_csv(drafts.new(beside), beside, trajectories)
    return drafts.files


@contextmanager
def understood(file: str) -> Iterator[None]:
    """What a library makes of values that nobody meant is told in one line."""
    try:
        yield
    except WepystoreError:
        raise
    except _ODD as problem:
        why = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise NotWrittenError(file=file, why=why) from problem


def _write(suffix: str, draft: str, structures: Structures, trajectory: Trajectory) -> None:
    if suffix == ".pdb":
        write_pdb(draft, structures, len(trajectory.cycles))
    elif suffix == ".dcd":
        write_dcd(draft, structures)
    else:
        write_xtc(draft, structures, trajectory.cycles)


def _write_csv(draft: str, file: str, trajectories: Mapping[str, Trajectory]) -> None:
    with named_errors(file), open(draft, "w", encoding="utf-8", newline="") as made:
        rows = csv.writer(made, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for name, trajectory in trajectories.items():
            spans = trajectory.frames.runs
            firsts = np.array([span.first_cycle for span in spans])
            places = np.searchsorted(firsts, trajectory.cycles, side="right") - 1
            columns = (
                [spans[place].run for place in places.tolist()],
                (trajectory.cycles - firsts[places]).tolist(),
                trajectory.cycles.tolist(),
                trajectory.walkers.tolist(),
                trajectory.weights.tolist(),
            )
            for frame, row in enumerate(zip(*columns, strict=True)):
                rows.writerow((name, frame, *row))
