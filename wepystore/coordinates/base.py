"""What every coordinate is: a few numbers of each of many states."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.errors import UnfitCoordinateError
from wepystore.coordinates.periodic import Floats, check_boxes

#: Numbers of atoms, counted from 0.
Atoms = tuple[int, ...]


class Coordinate(abc.ABC):
    """Base of the coordinates; a subclass is a frozen dataclass of plain parameters.

    Molecules are taken to be whole, as OpenMM gives them. Where there are box vectors, what lies
    between two atoms, or between two centres, is taken to their nearest images.
    """

    @property
    def unit(self) -> str:
        """Of its values; "" for a number of things."""
        return ""

    @property
    def period(self) -> float | None:
        """How far apart two values are that mean one and the same; None where none do."""
        return None

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """As it is written (see wepystore.coordinates.language)."""

    @property
    @abc.abstractmethod
    def atoms(self) -> Atoms | None:
        """The atoms that it looks at, sorted; None for all."""

    @abc.abstractmethod
    def at(self, places: Mapping[int, int]) -> Self:
        """This one of states in which each of its atoms has the number in `places`."""

    @abc.abstractmethod
    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        """As `values`, of what is checked."""

    def values(self, positions: NDArray[Any], box_vectors: NDArray[Any] | None = None) -> Floats:
        """The coordinate of many states.

        Parameters
        ----------
        positions : ndarray, shape (n_frames, n_atoms, 3), nm
        box_vectors : ndarray, shape (n_frames, 3, 3), nm, or None for what is not periodic

        Returns
        -------
        ndarray, shape (n_frames,) or (n_frames, k) : not a number where it is not defined

        Raises
        ------
        UnfitCoordinateError : the shapes are others, or it looks at an atom that is not there.
        """
        if positions.ndim != 3 or positions.shape[2] not in self._axes():
            axes = " or ".join(map(str, self._axes()))
            why = f"positions of shape (n_frames, n_atoms, {axes}) are needed, not "
            raise self._unfit(why + str(positions.shape))
        last = max(self.atoms or (), default=-1)
        if last >= positions.shape[1]:
            raise self._unfit(f"there is no atom {last} among {positions.shape[1]}")
        boxes = None
        if box_vectors is not None:
            if box_vectors.shape != (len(positions), 3, 3):
                why = f"box vectors of shape ({len(positions)}, 3, 3) are needed, not "
                raise self._unfit(why + str(box_vectors.shape))
            try:
                boxes = check_boxes(box_vectors)
            except ValueError as problem:
                raise self._unfit(str(problem)) from None
        return self._values(positions, boxes)

    def _axes(self) -> tuple[int, ...]:
        """The dimensions that positions may have."""
        return (3,)

    def _unfit(self, why: str) -> UnfitCoordinateError:
        return UnfitCoordinateError(coordinate=self.name, why=why)


def as_atoms(atoms: int | Iterable[int], what: str) -> Atoms:
    """Numbers of atoms as a tuple, one at least, each once; one atom may come as a number.

    Raises ValueError.
    """
    given = [*atoms] if isinstance(atoms, Iterable) else [atoms]
    if any(isinstance(each, bool) or not isinstance(each, (int, np.integer)) for each in given):
        raise ValueError(f"{what}: atoms are whole numbers, got {given!r:.60}")
    found = tuple(int(each) for each in given)
    if min(found, default=-1) < 0:
        raise ValueError(f"{what}: atoms are counted from 0, and there must be one at least")
    if len(set(found)) < len(found):
        raise ValueError(f"{what}: an atom is there more than once")
    return found


def as_masses(masses: Iterable[float] | None, atoms: Atoms, what: str) -> tuple[float, ...] | None:
    """Masses, Da, of these atoms; None where one atom alone needs none.

    Raises ValueError.
    """
    if len(atoms) == 1:
        return None
    if masses is None:
        raise ValueError(f"{what}: a centre of mass of {len(atoms)} atoms needs their masses")
    found = tuple(float(each) for each in masses)
    if len(found) != len(atoms):
        raise ValueError(f"{what}: there are {len(found)} masses for {len(atoms)} atoms")
    if not all(0 <= each < np.inf for each in found) or not sum(found) > 0:
        raise ValueError(f"{what}: masses are not negative, and one at least is above 0")
    return found


def union(*groups: Atoms) -> Atoms:
    """All atoms of some groups, sorted."""
    return tuple(sorted(set().union(*groups)))


def moved(atoms: Atoms, places: Mapping[int, int]) -> Atoms:
    """The atoms of a group where they are now, in the order of before."""
    return tuple(places[atom] for atom in atoms)


def part(positions: NDArray[Any], atoms: Atoms) -> Floats:
    """Positions of some atoms, shape (n_frames, len(atoms), 3), in double precision: a copy."""
    first, last = atoms[0], atoms[-1]
    # What lies together is several times as fast as a slice.
    in_a_row = atoms == tuple(range(first, last + 1))
    place = slice(first, last + 1) if in_a_row else list(atoms)
    found: Floats = positions[:, place].astype(np.float64)
    return found


def centre(positions: NDArray[Any], atoms: Atoms, masses: tuple[float, ...] | None) -> Floats:
    """Centres of mass, shape (n_frames, n_axes)."""
    held = part(positions, atoms)
    if masses is None:
        return held[:, 0]
    return mean_of(held, np.array(masses) / sum(masses))


def mean_of(held: Floats, weights: Floats) -> Floats:
    """The mean of points (n_frames, n, n_axes), with weights that sum up to 1."""
    # A product of matrices, several times as fast as a sum along the middle.
    found: Floats = np.matmul(weights, held)
    return found


def index_text(atoms: Atoms) -> str:
    """Some atoms as a selection: "index 0-3 7"."""
    found: list[list[int]] = []
    for atom in atoms:
        if found and atom == found[-1][1] + 1:
            found[-1][1] = atom
        else:
            found.append([atom, atom])
    shown = (str(first) if first == last else f"{first}-{last}" for first, last in found)
    return " ".join(["index", *shown])
