"""Coordinates of two, three or four points: atoms, or centres of mass of several."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.base import (
    Atoms,
    Coordinate,
    as_atoms,
    as_masses,
    centre,
    index_text,
    moved,
    union,
)
from wepystore.coordinates.periodic import Floats, minimum_image

#: Of each point its atoms; one atom may come as a number.
Groups = Iterable[int | Iterable[int]]

_AXES = "xyz"


@dataclass(frozen=True)
class _OfPoints(Coordinate):
    """Base of the coordinates of points.

    Parameters
    ----------
    points : sequence of int or of sequences of int
        Of each point its atoms, counted from 0.
    masses : sequence of sequences of float, or None
        Of each point those of its atoms, Da; needed where a point has several.
    """

    points: tuple[Atoms, ...]
    masses: tuple[tuple[float, ...] | None, ...] | None = None

    def __post_init__(self) -> None:
        word, n_points = self._form()
        points = tuple(as_atoms(each, word) for each in self.points)
        if len(points) != n_points:
            raise ValueError(f"{word}: it is of {n_points} points, got {len(points)}")
        given = self.masses or [None] * n_points
        masses = tuple(as_masses(m, p, word) for m, p in zip(given, points, strict=True))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "masses", None if set(masses) == {None} else masses)

    def _form(self) -> tuple[str, int]:
        """How it is called, and of how many points it is."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """As it is written."""
        return f"{self._form()[0]}({', '.join(map(index_text, self.points))})"

    @property
    def atoms(self) -> Atoms:
        """Those of all points."""
        return union(*self.points)

    def at(self, places: Mapping[int, int]) -> Self:
        """This one, of atoms that have other numbers."""
        return replace(self, points=tuple(moved(each, places) for each in self.points))

    def _centres(self, positions: NDArray[Any]) -> list[Floats]:
        """The points, each of shape (n_frames, n_axes)."""
        masses = self.masses or [None] * len(self.points)
        return [centre(positions, *each) for each in zip(self.points, masses, strict=True)]

    def _steps(self, positions: NDArray[Any], boxes: Floats | None) -> list[Floats]:
        """From each point to the next, by the nearest images."""
        points = self._centres(positions)
        steps = [after - before for before, after in itertools.pairwise(points)]
        return steps if boxes is None else [minimum_image(each, boxes) for each in steps]


@dataclass(frozen=True)
class AtomDistance(_OfPoints):
    """The distance of two atoms, or of two centres of mass, nm. Parameters as of _OfPoints."""

    def _form(self) -> tuple[str, int]:
        return "distance", 2

    @property
    def unit(self) -> str:
        """Of its values."""
        return "nm"

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        (step,) = self._steps(positions, boxes)
        return _length(step)


@dataclass(frozen=True)
class Angle(_OfPoints):
    """The angle at the second of three points, degrees from 0 to 180."""

    def _form(self) -> tuple[str, int]:
        return "angle", 3

    @property
    def unit(self) -> str:
        """Of its values."""
        return "degree"

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        first, second = self._steps(positions, boxes)
        # As exact near 0 and 180 degrees as elsewhere, which an arc cosine is not.
        return _turn(_length(np.cross(-first, second)), _dot(-first, second))


@dataclass(frozen=True)
class Torsion(_OfPoints):
    """The torsion about what lies between the second and the third of four points, degrees.

    From -180 to 180, positive where the fourth point is turned clockwise against the first, seen
    along the axis (IUPAC).
    """

    def _form(self) -> tuple[str, int]:
        return "torsion", 4

    @property
    def unit(self) -> str:
        """Of its values."""
        return "degree"

    @property
    def period(self) -> float:
        """A full turn."""
        return 360.0

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        first, axis, last = self._steps(positions, boxes)
        before, after = np.cross(first, axis), np.cross(axis, last)
        return _turn(_dot(first, after) * _length(axis), _dot(before, after))


@dataclass(frozen=True)
class Position(_OfPoints):
    """Where an atom, or a centre of mass, is along an axis, nm; as it lies, and not folded.

    Of molecules it means little; of a particle in a potential it is what there is.

    Parameters
    ----------
    axis : int
        0 for x, 1 for y, 2 for z.
    """

    axis: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.axis) is not int or not 0 <= self.axis < len(_AXES):
            raise ValueError(f"position: an axis is 0, 1 or 2, got {self.axis!r:.40}")

    def _form(self) -> tuple[str, int]:
        return "position", 1

    @property
    def name(self) -> str:
        """As it is written."""
        return f"position({index_text(self.points[0])}, {_AXES[self.axis]})"

    @property
    def unit(self) -> str:
        """Of its values."""
        return "nm"

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(self.axis + 1, len(_AXES) + 1))

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        (point,) = self._centres(positions)
        return point[:, self.axis]


def _dot(a: Floats, b: Floats) -> Floats:
    found: Floats = np.einsum("fx,fx->f", a, b)
    return found


def _length(a: Floats) -> Floats:
    return np.sqrt(_dot(a, a))


def _turn(sine: Floats, cosine: Floats) -> Floats:
    """Degrees; not a number where points that lie on each other, or on one line, leave none."""
    found: Floats = np.degrees(np.arctan2(sine, cosine))
    found[(sine == 0) & (cosine == 0)] = np.nan
    return found
