"""Coordinates of how some atoms lie together: RMSD, radius of gyration, contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.base import (
    Atoms,
    Coordinate,
    as_atoms,
    as_masses,
    index_text,
    mean_of,
    moved,
    part,
    union,
)
from wepystore.coordinates.periodic import (
    Floats,
    half_width,
    minimum_image,
    skewed,
    wrapped_squares,
)
from wepystore.coordinates.superposition import rmsd, rotations

#: Pairs of atoms that are looked at in one go: some arrays that a processor keeps at hand.
_CHUNK = 1 << 16
#: Pairs of atoms in a frame from which on it pays to leave out those that are far anyway.
_WORTH_PRUNING = 2_000


@dataclass(frozen=True, eq=False)
class RMSD(Coordinate):
    """How far some atoms are from where a reference has them, after a superposition, nm.

    Each atom weighs the same; mirror images are not superposed. Where others are measured than are
    superposed, a ligand on its receptor say, they are brought as one body to the image that is
    nearest to these, in the reference too.

    Parameters
    ----------
    measured : sequence of int
    reference : ndarray, shape (n_atoms, 3), nm
        Positions of the superposed atoms, and then, if they are others, of the measured ones.
    superposed : sequence of int, or None
        At least three, None for those that are measured.
    reference_box : ndarray, shape (3, 3), nm, or None
    """

    measured: Atoms
    reference: Floats
    superposed: Atoms | None = None
    reference_box: Floats | None = None

    def __post_init__(self) -> None:
        measured = as_atoms(self.measured, "rmsd")
        superposed = None if self.superposed is None else as_atoms(self.superposed, "rmsd")
        if len(superposed or measured) < 3:
            raise ValueError("rmsd: at least 3 atoms are needed to superpose one state on another")
        reference = np.array(self.reference, np.float64)
        if reference.shape != (len(superposed or ()) + len(measured), 3):
            raise ValueError(
                f"rmsd: the reference has shape {reference.shape}, and there are "
                f"{len(superposed or ())} and {len(measured)} atoms"
            )
        reference.flags.writeable = False
        for field, value in (
            ("measured", measured),
            ("superposed", superposed),
            ("reference", reference),
        ):
            object.__setattr__(self, field, value)

    @classmethod
    def to(
        cls,
        positions: NDArray[Any],
        measured: Iterable[int],
        superposed: Iterable[int] | None = None,
        box_vectors: NDArray[Any] | None = None,
    ) -> RMSD:
        """To a whole state, of which the positions are (n_atoms, 3), nm."""
        measured = tuple(measured)
        superposed = None if superposed is None else tuple(superposed)
        held = positions[[*(superposed or ()), *measured]]
        return cls(measured, held, superposed, box_vectors)

    @property
    def name(self) -> str:
        """As it is written; it does not tell the reference."""
        others = f", {index_text(self.superposed)}" if self.superposed else ""
        return f"rmsd({index_text(self.measured)}{others})"

    @property
    def unit(self) -> str:
        """Of its values."""
        return "nm"

    @property
    def atoms(self) -> Atoms:
        """Those that are superposed, and those that are measured."""
        return union(self.superposed or (), self.measured)

    def at(self, places: Mapping[int, int]) -> Self:
        """This one, of atoms that have other numbers."""
        superposed = None if self.superposed is None else moved(self.superposed, places)
        return replace(self, measured=moved(self.measured, places), superposed=superposed)

    @cached_property
    def _laid(self) -> tuple[Floats, Floats]:
        """Of the reference what is superposed, and what is measured, about the centroid."""
        boxes = self.reference_box
        laid = self._about_centroid(self.reference[np.newaxis], boxes)
        return laid[0][0], laid[1][0]

    def _about_centroid(self, held: Floats, boxes: Floats | None) -> tuple[Floats, Floats]:
        """What is superposed, and what is measured, about the centroid of the former."""
        n_superposed = len(self.superposed or self.measured)
        superposed = held[:, :n_superposed]
        n_points = superposed.shape[1]
        centroids = mean_of(superposed, np.full(n_points, 1 / n_points))[:, np.newaxis]
        superposed = superposed - centroids
        if self.superposed is None:
            return superposed, superposed
        measured = held[:, n_superposed:] - centroids
        if boxes is not None:
            middles = measured.mean(axis=1)
            measured += (minimum_image(middles, boxes) - middles)[:, np.newaxis]
        return superposed, measured

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        held = part(positions, (*(self.superposed or ()), *self.measured))
        superposed, measured = self._about_centroid(held, boxes)
        known: NDArray[np.bool_] = np.all(np.isfinite(superposed), axis=(1, 2))
        # A singular value decomposition of what is no number fails for all.
        turns = rotations(np.where(known[:, None, None], superposed, 0.0), self._laid[0])
        found = rmsd(np.matmul(measured, turns), self._laid[1])
        found[~known] = np.nan
        return found


@dataclass(frozen=True)
class RadiusOfGyration(Coordinate):
    """The radius of gyration of some atoms about their centre of mass, nm.

    Parameters
    ----------
    group : sequence of int
        Of one molecule: they are taken as they lie.
    masses : sequence of float
        Of these atoms, Da.
    """

    group: Atoms
    masses: tuple[float, ...] | None

    def __post_init__(self) -> None:
        group = as_atoms(self.group, "rg")
        object.__setattr__(self, "masses", as_masses(self.masses, group, "rg"))
        object.__setattr__(self, "group", group)

    @property
    def name(self) -> str:
        """As it is written."""
        return f"rg({index_text(self.group)})"

    @property
    def unit(self) -> str:
        """Of its values."""
        return "nm"

    @property
    def atoms(self) -> Atoms:
        """Those of the group."""
        return union(self.group)

    def at(self, places: Mapping[int, int]) -> Self:
        """This one, of atoms that have other numbers."""
        return replace(self, group=moved(self.group, places))

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        held = part(positions, self.group)
        masses = self.masses or (1.0,)
        weights = np.array(masses) / sum(masses)
        held -= mean_of(held, weights)[:, np.newaxis]
        squares: Floats = np.einsum("fax,fax->fa", held, held) @ weights
        return np.sqrt(squares)


@dataclass(frozen=True)
class Contacts(Coordinate):
    """How many pairs of an atom of one group and one of another are nearer than a cut-off.

    No atom is near itself, and two atoms that are in both groups are one pair.

    Parameters
    ----------
    first, second : sequence of int
    cutoff : float
        nm
    """

    first: Atoms
    second: Atoms
    cutoff: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", as_atoms(self.first, "contacts"))
        object.__setattr__(self, "second", as_atoms(self.second, "contacts"))
        object.__setattr__(self, "cutoff", float(self.cutoff))
        if not 0 < self.cutoff < np.inf:
            raise ValueError(f"contacts: a cut-off is above 0 nm, got {self.cutoff}")

    @property
    def name(self) -> str:
        """As it is written."""
        return f"contacts({index_text(self.first)}, {index_text(self.second)}, {self.cutoff:.12g})"

    @property
    def atoms(self) -> Atoms:
        """Those of both groups."""
        return union(self.first, self.second)

    def at(self, places: Mapping[int, int]) -> Self:
        """This one, of atoms that have other numbers."""
        return replace(self, first=moved(self.first, places), second=moved(self.second, places))

    @cached_property
    def _doubles(self) -> NDArray[np.bool_]:
        """Pairs that do not count, shape (len(first), len(second))."""
        first, second = np.array(self.first)[:, None], np.array(self.second)[None]
        in_both = np.isin(first, self.second) & np.isin(second, self.first)
        found: NDArray[np.bool_] = (first == second) | (in_both & (first > second))
        return found

    @cached_property
    def _has_doubles(self) -> bool:
        return bool(self._doubles.any())

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        first, second = part(positions, self.first), part(positions, self.second)
        if len(self.first) * len(self.second) < _WORTH_PRUNING:
            found = self._count(first, second, boxes)
        else:
            each: list[Floats | None] = [None] * len(positions) if boxes is None else [*boxes]
            found = np.array([*map(self._count_near, first, second, each)], np.float64)
        known = np.isfinite(positions[:, list(self.atoms)]).all(axis=(1, 2))
        return np.where(known, found, np.nan)

    def _count_near(self, first: Floats, second: Floats, box: Floats | None) -> float:
        """Of one frame, by those atoms of the second group that can be near the first."""
        middle = first.mean(axis=0)
        a, b = first - middle, second - middle
        if box is not None:
            b = minimum_image(b, box)
        a_squares, b_squares = (np.einsum("ax,ax->a", each, each) for each in (a, b))
        within = float(np.sqrt(a_squares.max())) + self.cutoff
        # A hair more, so that rounding leaves no atom out.
        near = b_squares <= (within * (1 + 1e-9)) ** 2
        if box is not None and within > half_width(box):
            return float(self._count(first[None], second[None, near], box[None], near)[0])
        # Who is near one of the first is so in the image that is nearest to their middle.
        squares = a @ b[near].T
        squares *= -2
        squares += a_squares[:, np.newaxis]
        squares += b_squares[near]
        pairs = squares < self.cutoff**2
        if self._has_doubles:
            pairs &= ~self._doubles[:, near]
        return float(np.count_nonzero(pairs))

    def _count(
        self,
        first: Floats,
        second: Floats,
        boxes: Floats | None,
        columns: NDArray[np.bool_] | slice = slice(None),
    ) -> Floats:
        """Pairs of first (n, A, 3) and second (n, B, 3), `columns` of the second group."""
        found = np.zeros(len(first))
        n_second = max(1, second.shape[1])
        frames = max(1, _CHUNK // (first.shape[1] * n_second))
        rows = max(1, _CHUNK // n_second)
        for begin in range(0, len(first), frames):
            some = slice(begin, begin + frames)
            box = None if boxes is None else boxes[some]
            for row in range(0, first.shape[1], rows):
                here = slice(row, row + rows)
                pairs = self._near(first[some, here, np.newaxis], second[some, np.newaxis], box)
                pairs &= ~self._doubles[here, columns]
                found[some] += pairs.sum(axis=(1, 2))
        return found

    def _near(self, a: Floats, b: Floats, boxes: Floats | None) -> NDArray[np.bool_]:
        """Which of the pairs of a (n, A, 1, 3) and b (n, 1, B, 3) are near."""
        near: NDArray[np.bool_] = wrapped_squares(a, b, boxes) < self.cutoff**2
        if boxes is not None:
            # What is nearer than half of the box in each direction, wrapping finds.
            for k in np.flatnonzero(skewed(boxes) & (half_width(boxes) < self.cutoff)):
                steps = minimum_image(a[k] - b[k], boxes[k])
                near[k] = (steps**2).sum(axis=-1) < self.cutoff**2
        return near
