"""States one after the other as a DCD, XTC or PDB file.

DCD and XTC are written by MDTraj, PDB by OpenMM.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine import structure_files
from wepystore.engine.topology import part_json
from wepystore.records.run_frames import Integers, RunFrames
from wepystore.trajectories.atoms import KeptAtoms, mdtraj_for
from wepystore.trajectories.errors import NotMolecularError
from wepystore.trajectories.moving import BOX, Moves

#: A DCD file has so many bytes before its frames.
_DCD_HEAD = 276

#: So much of the frames is in memory at a time, in bytes.
_STRETCH_BYTES = 1 << 25


@dataclass(frozen=True)
class Trajectory:
    """States one after the other, each of a walker in a cycle.

    Attributes
    ----------
    run : str
        Hash of the record, for messages.
    frames : RunFrames
    cycles, walkers : array of int, shape (n_frames,)
        Of cycles of which frames are kept.
    weights : array, shape (n_frames,)
    """

    run: str
    frames: RunFrames
    cycles: Integers
    walkers: Integers
    weights: NDArray[np.float64]

    def stretches(self, n_bytes: int) -> Iterator[slice]:
        """All frames, some at a time, of each of which so much is needed."""
        step = max(1, _STRETCH_BYTES // max(1, n_bytes))
        for begin in range(0, len(self.cycles), step):
            yield slice(begin, begin + step)

    def of(self, name: str, some: slice) -> NDArray[Any]:
        """A field of some of the frames."""
        return self.frames.of(self.cycles[some], self.walkers[some], name)


class Structures:
    """Makes what goes into a file out of the frames that are kept.

    Parameters
    ----------
    trajectory : Trajectory
    atoms : KeptAtoms
    file : str
        For messages.
    places : array of int, or None
        Which of the atoms that are kept; None for all.
    moves : Moves or None
        What is done to them before; None for frames as they are.

    Raises NotMolecularError.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        atoms: KeptAtoms,
        file: str,
        places: Integers | None = None,
        moves: Moves | None = None,
    ) -> None:
        self._trajectory, self._file, self._moves = trajectory, file, moves
        fields = {field.name: field for field in trajectory.frames.fields}
        shape = fields["positions"].shape
        if len(shape) != 2 or shape[1] != 3:
            why = f"positions of shape {shape} are not those of atoms in space"
            raise NotMolecularError(run=trajectory.run, file=file, why=why)
        self.has_box = BOX in fields and fields[BOX].shape == (3, 3)
        # The order of their numbers is that of every other file.
        self._places = np.argsort(atoms.numbers) if places is None else places
        self._atoms = atoms
        self._n_bytes = fields["positions"].n_bytes

    @cached_property
    def topology(self) -> str:
        """JSON, of the atoms that are written."""
        return part_json(self._atoms.full_topology, self._atoms.numbers[self._places].tolist())

    def frames(self) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Positions and box of each frame."""
        for positions, boxes in self:
            yield from zip(positions, repeat(None) if boxes is None else boxes, strict=False)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """Positions, shape (n, n_atoms, 3), nm, and boxes, shape (n, 3, 3), nm, or None; some of
        the frames at a time."""
        names = ("positions", BOX) if self.has_box else ("positions",)
        for some in self._trajectory.stretches(self._n_bytes):
            held = {name: self._trajectory.of(name, some) for name in names}
            for values in held.values():
                self._check(values, some)
            moves, boxes = self._moves, held.get(BOX)
            positions = held["positions"] if moves is None else moves.moved(held, "positions")
            # No format holds more than single precision.
            yield (
                np.asarray(positions[:, self._places], np.float32),
                None if boxes is None else np.asarray(boxes, np.float32),
            )

    def _check(self, values: NDArray[Any], some: slice) -> None:
        unknown = ~np.isfinite(values).all(axis=(1, 2))
        if unknown.any():
            place = some.start + int(np.flatnonzero(unknown)[0])
            walker, cycle = self._trajectory.walkers[place], self._trajectory.cycles[place]
            why = f"of walker {walker} in cycle {cycle} not every number is known"
            raise NotMolecularError(run=self._trajectory.run, file=self._file, why=why)


@contextmanager
def _full_disks_told() -> Iterator[None]:
    """Where a frame is cut off MDTraj fails in other ways, which tell nobody anything."""
    try:
        yield
    except (TypeError, RuntimeError) as problem:
        raise _cut_off() from problem


def _cut_off() -> OSError:
    return OSError(errno.EIO, "not all of it could be written; is the disk full?")


def write_dcd(draft: str, structures: Structures) -> None:
    """A DCD file. Raises LibraryMissingError, OSError."""
    mdtraj = mdtraj_for("a .dcd file")
    from mdtraj.utils import box_vectors_to_lengths_and_angles

    least = _DCD_HEAD
    with _full_disks_told(), mdtraj.formats.DCDTrajectoryFile(draft, "w") as made:
        for positions, boxes in structures:
            cell: Sequence[Any] = (None, None)
            if boxes is not None:
                found = box_vectors_to_lengths_and_angles(*boxes.transpose(1, 0, 2))
                lengths, angles = (np.stack(e, 1) for e in (found[:3], found[3:]))
                cell = (10 * lengths, angles)
            made.write(10 * positions, *cell)
            frame = 3 * (8 + 4 * positions.shape[1]) + (0 if boxes is None else 56)
            least += len(positions) * frame
    # What is left to be written when it is closed MDTraj does not look after.
    if os.path.getsize(draft) < least:
        raise _cut_off()


def write_xtc(draft: str, structures: Structures, cycles: Integers) -> None:
    """An XTC file, whose steps and times are the numbers of the cycles. Raises
    LibraryMissingError, OSError."""
    mdtraj = mdtraj_for("a .xtc file")
    begin = 0
    with _full_disks_told(), mdtraj.formats.XTCTrajectoryFile(draft, "w") as made:
        for positions, boxes in structures:
            some = cycles[begin : begin + len(positions)]
            begin += len(positions)
            # The format has a place for the box, in which nothing is none.
            cell = np.zeros((len(positions), 3, 3), np.float32) if boxes is None else boxes
            made.write(
                positions,
                time=some.astype(np.float32),
                step=some.astype(np.int32),
                box=cell,
            )
    # As of a DCD, but how long a frame is only it tells; what it raises there is of any kind.
    try:
        with mdtraj.formats.XTCTrajectoryFile(draft, "r") as held:
            held.seek(begin - 1)
            n_last = len(held.read(1)[0])
    except Exception as problem:
        raise _cut_off() from problem
    if n_last != 1:
        raise _cut_off()


def write_pdb(draft: str, structures: Structures, n_frames: int) -> None:
    """A PDB file of the first so many frames; of several each is a model with a number."""
    with open(draft, "w", encoding="utf-8") as made:
        each = islice(structures.frames(), n_frames)
        structure_files.write_pdb(made, structures.topology, each, n_frames > 1)
