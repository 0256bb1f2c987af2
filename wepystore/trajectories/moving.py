"""Frames laid over one of them, and molecules that the box has cut made whole."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.superposition import rotations
from wepystore.engine.kept_frames import OF_ATOMS
from wepystore.engine.topology import part_json
from wepystore.records.run_frames import Integers, RunFrames
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.errors import NotMovedError

BOX = "box_vectors"


class Moves:
    """What is done to the positions of frames, and with them to what has a direction.

    Parameters
    ----------
    run : str
        Hash of the record, for messages.
    frames : RunFrames
    atoms : KeptAtoms
    align : array of int, or None
        Places of the atoms by which all frames are laid over the first; None for frames as they
        are.
    whole : bool
        Whether molecules that the box has cut are made whole.
    first : (cycle, walker)
        Of which the first frame is.

    Raises NotMovedError.
    """

    def __init__(
        self,
        run: str,
        frames: RunFrames,
        atoms: KeptAtoms,
        align: Integers | None,
        whole: bool,
        first: tuple[int, int],
    ) -> None:
        self._run, self._frames = run, frames
        self._align, self._levels = align, None
        shapes = {field.name: field.shape for field in frames.fields}
        shape = shapes["positions"]
        if len(shape) != 2 or shape[1] != 3:
            raise self._not_moved(f"positions of shape {shape} are not those of atoms in space")
        if whole:
            if shapes.get(BOX) != (3, 3):
                raise self._not_moved("of a system without a box no molecule is cut")
            self._levels = [*_levels(_bonds(atoms), shape[0])]
            if not self._levels:
                raise self._not_moved("its topology has no bonds, which tell what a molecule is")
        #: The atoms that are aligned, about their middle, and this.
        self._reference: NDArray[np.float64] | None = None
        self._middle = np.zeros(3)
        if align is not None:
            cycles, walkers = np.array(first[:1]), np.array(first[1:])
            (held,) = self._whole({n: frames.of(cycles, walkers, n) for n in self.needs})
            chosen = held[align].astype(np.float64)
            if not np.isfinite(chosen).all():
                why = f"of walker {first[1]} in cycle {first[0]} not every number is known"
                raise self._not_moved(why)
            self._middle = chosen.mean(axis=0)
            self._reference = chosen - self._middle

    @property
    def needs(self) -> tuple[str, ...]:
        """The fields that tell how a frame is moved."""
        return ("positions",) if self._levels is None else ("positions", BOX)

    def changes(self, name: str) -> bool:
        """Whether anything is done to this field."""
        turned = self._align is not None and name in (*OF_ATOMS, BOX)
        return name == "positions" or turned

    def of(self, cycles: Integers, walkers: Integers, name: str) -> NDArray[Any]:
        """As RunFrames.of, moved."""
        held = {each: self._frames.of(cycles, walkers, each) for each in {name, *self.needs}}
        return self.moved(held, name)

    def moved(self, held: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
        """A field of some frames, of which all that is needed is given, each of shape
        (n, *shape)."""
        if not self.changes(name):
            return held[name]
        positions = self._whole(held)
        if self._reference is None:
            return positions
        chosen = positions[:, self._align].astype(np.float64)
        middles = chosen.mean(axis=1, keepdims=True)
        chosen -= middles
        # A frame that is not known stays so.
        chosen[~np.isfinite(chosen).all(axis=(1, 2))] = 0.0
        turns = rotations(chosen, self._reference, least=True)
        if name == "positions":
            found = (positions - middles) @ turns + self._middle
        else:
            found = held[name] @ turns
        same: NDArray[Any] = found.astype(held[name].dtype)
        return same

    def _whole(self, held: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        positions = held["positions"]
        if self._levels is None:
            return positions
        boxes, found = held[BOX], positions.copy()
        try:
            inverse = np.linalg.inv(boxes.astype(np.float64))
        except np.linalg.LinAlgError:
            raise self._not_moved("a box of its frames has no volume") from None
        for atoms, before in self._levels:
            # A bond is short beside the box: what is more of it is the box's.
            images = np.rint((found[:, atoms] - found[:, before]) @ inverse)
            found[:, atoms] -= (images @ boxes).astype(found.dtype)
        return found

    def _not_moved(self, why: str) -> NotMovedError:
        return NotMovedError(run=self._run, why=why)


def _bonds(atoms: KeptAtoms) -> Integers:
    """Of the atoms that are kept, by their places in the frames; shape (n_bonds, 2)."""
    kept = json.loads(part_json(atoms.full_topology, atoms.numbers.tolist()))["bonds"]
    order = np.argsort(atoms.numbers)
    found: Integers = order[np.array(kept, np.int64).reshape(-1, 2)]
    return found


def _levels(bonds: Integers, n_atoms: int) -> Iterator[tuple[Integers, Integers]]:
    """Atoms, and of each the one before it on a way through its molecule from one of its atoms: all
    that are one bond from those, then all that are two, and so on."""
    bonded: list[list[int]] = [[] for _ in range(n_atoms)]
    for one, other in bonds.tolist():
        bonded[one].append(other)
        bonded[other].append(one)
    depth = [-1] * n_atoms
    levels: list[tuple[list[int], list[int]]] = []
    for root in range(n_atoms):
        if depth[root] >= 0:
            continue
        depth[root], waiting = 0, deque([root])
        while waiting:
            before = waiting.popleft()
            for atom in bonded[before]:
                if depth[atom] >= 0:
                    continue
                depth[atom] = depth[before] + 1
                if len(levels) < depth[atom]:
                    levels.append(([], []))
                levels[depth[atom] - 1][0].append(atom)
                levels[depth[atom] - 1][1].append(before)
                waiting.append(atom)
    for atoms, befores in levels:
        yield np.array(atoms), np.array(befores)
