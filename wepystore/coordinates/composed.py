"""Coordinates made of others, and of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.base import Atoms, Coordinate, union
from wepystore.coordinates.periodic import Floats


@dataclass(frozen=True)
class Combination(Coordinate):
    """A sum of coordinates, each times a number.

    Parameters
    ----------
    factors : sequence of float
    parts : sequence of Coordinate
        As many, of one unit.
    """

    factors: tuple[float, ...]
    parts: tuple[Coordinate, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(float(each) for each in self.factors))
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts or len(self.parts) != len(self.factors):
            raise ValueError("a combination is of some coordinates, and of as many numbers")
        if not np.isfinite(self.factors).all():
            raise ValueError("a combination is of finite numbers")
        units = list(dict.fromkeys(each.unit for each in self.parts))
        if len(units) > 1:
            shown = " and ".join(each or "a number" for each in units)
            raise ValueError(f"a combination is of coordinates of one unit, not of {shown}")
        if any(each.period is not None for each in self.parts):
            # Two values that mean the same would make sums that do not.
            raise ValueError("a combination is of coordinates without a period, such as no torsion")

    @property
    def name(self) -> str:
        """As it is written."""
        found = ""
        for factor, each in zip(self.factors, self.parts, strict=True):
            sign = "-" if factor < 0 else "+" if found else ""
            shown = "" if abs(factor) == 1 else f"{abs(factor):.12g}*"
            found += f" {sign} {shown}{each.name}" if found else f"{sign}{shown}{each.name}"
        return found

    @property
    def unit(self) -> str:
        """That of its parts."""
        return self.parts[0].unit

    @property
    def atoms(self) -> Atoms | None:
        """Those of its parts."""
        held = [each.atoms for each in self.parts]
        return None if None in held else union(*(each for each in held if each is not None))

    def at(self, places: Mapping[int, int]) -> Self:
        """This one, of atoms that have other numbers."""
        return replace(self, parts=tuple(each.at(places) for each in self.parts))

    def _axes(self) -> tuple[int, ...]:
        return tuple(set.intersection(*(set(each._axes()) for each in self.parts)))

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        values = (each.values(positions, boxes) for each in self.parts)
        found = sum(f * v for f, v in zip(self.factors, values, strict=True))
        return np.asarray(found, np.float64)


@dataclass(frozen=True)
class OwnCoordinate(Coordinate):
    """What a function makes of states.

    Parameters
    ----------
    function : callable
        Called with positions (n_frames, n_atoms, 3), nm, and box vectors (n_frames, 3, 3), nm, or
        None. It gives a number for each frame, shape (n_frames,), or a few, (n_frames, k); not a
        number where there is none. It is called for some of the frames at a time, so what it gives
        for one must not depend on the others.
    label : str
        How it is called.
    unit : str
    period : float or None
        How far apart two values are that mean one and the same.
    """

    function: Callable[[NDArray[Any], NDArray[Any] | None], Any]
    label: str = "own"
    unit: str = ""
    period: float | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], label: str | None = None) -> OwnCoordinate:
        """Of a function that may say `unit` and `period` as attributes. Raises ValueError."""
        unit, period = getattr(function, "unit", ""), getattr(function, "period", None)
        if not isinstance(unit, str):
            raise ValueError(f"the unit of a coordinate is a text, got {unit!r:.60}")
        if period is not None and not (isinstance(period, int | float) and 0 < period < np.inf):
            raise ValueError(f"the period of a coordinate is a number above 0, got {period!r:.60}")
        label = label or str(getattr(function, "__name__", "own"))
        return cls(function, label, unit, None if period is None else float(period))

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    @property
    def atoms(self) -> None:
        """It may look at all."""
        return None

    def at(self, places: Mapping[int, int]) -> Self:
        """Of all atoms it is as it was."""
        return self

    def _axes(self) -> tuple[int, ...]:
        return (1, 2, 3)

    def _values(self, positions: NDArray[Any], boxes: Floats | None) -> Floats:
        try:
            # Ours may be views of files, which nobody may write to.
            given = self.function(positions.astype(np.float64), boxes)
        except Exception as problem:
            why = f"it raised {type(problem).__name__}: {problem}"
            raise self._unfit(why) from problem
        try:
            found = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            raise self._unfit("it gives no numbers") from None
        if found.ndim not in (1, 2) or len(found) != len(positions) or 0 in found.shape[1:]:
            n_frames = len(positions)
            why = f"it gives an array of shape {found.shape}; ({n_frames},) or ({n_frames}, k)"
            raise self._unfit(f"{why} is needed")
        return found
