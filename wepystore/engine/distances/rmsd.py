"""Root mean square deviation after superposition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.coordinates.superposition import rmsd, rotations
from wepystore.engine.distances.base import Distance, atom_indices, stacked_positions
from wepystore.engine.ensemble import Floats


class RMSDDistance(Distance):
    """RMSD of two states after superposing one on the other, nm.

    The align atoms of both are superposed by least squares (Kabsch, Acta
    Cryst. A32, 922, 1976), each weighing the same, and the deviation of the
    measure atoms is taken as they then lie. Mirror images are not superposed.
    States that differ by a translation and a rotation alone are at distance 0
    but for rounding, and it does not matter which of the two is moved.

    Periodic boxes: positions are taken as they come. Every molecule must be
    whole and, if there are several, each in the same periodic image of the
    others in all states; OpenMM gives molecules whole, but may put two that
    have parted on opposite sides. For a ligand that leaves its receptor use
    `UnbindingDistance`, which looks for the nearest image.

    Parameters
    ----------
    align_idxs : list of int
        Atoms to superpose: at least three; not on one line, if others are measured.
    measure_idxs : list of int, or None
        Atoms whose deviation counts; None for the align atoms.
    superpose : bool
        False: no superposition, and align_idxs only say what to measure where
        measure_idxs is None.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("align_idxs", "measure_idxs")

    def __init__(
        self,
        align_idxs: Iterable[int],
        measure_idxs: Iterable[int] | None = None,
        superpose: bool = True,
    ) -> None:
        self.align_idxs = atom_indices(align_idxs, "align_idxs")
        self.measure_idxs = (
            None if measure_idxs is None else atom_indices(measure_idxs, "measure_idxs")
        )
        self.superpose = bool(superpose)
        if self.superpose and len(self.align_idxs) < 3:
            raise ValueError(
                f"align_idxs holds {len(self.align_idxs)} atoms; at least 3 are needed to "
                "superpose one state on another (superpose=False measures as they lie)"
            )
        self._align = np.array(self.align_idxs)
        self._measure = self._align if self.measure_idxs is None else np.array(self.measure_idxs)

    def images(self, states: Sequence[Any]) -> Floats:
        """Align atoms, then measure atoms if they are others, of many states, shape (n, m, 3), nm,
        the align atoms' centroid at the origin if they are to be superposed."""
        align = stacked_positions(states, self._align, "align_idxs")
        if self.superpose:
            centres = align.mean(axis=1, keepdims=True)
            align = align - centres
        if self.measure_idxs is None:
            return align
        measure = stacked_positions(states, self._measure, "measure_idxs")
        if not self.superpose:
            return measure
        return np.concatenate([align, measure - centres], axis=1)

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """RMSD of `image` to each of `images`, shape (n,), nm."""
        first = 0 if self.measure_idxs is None or not self.superpose else len(self.align_idxs)
        measured = images[:, first:]
        if self.superpose:
            n_align = len(self.align_idxs)
            turns = rotations(images[:, :n_align], image[:n_align])
            measured = np.matmul(measured, turns)
        return rmsd(measured, image[first:])
