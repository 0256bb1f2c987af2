"""Walkers that have reached a target along a progress coordinate go back to where they started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wepystore.engine.boundary_conditions.base import WarpBC
from wepystore.engine.distances.base import Folding
from wepystore.engine.distances.coordinate import walker_coordinates
from wepystore.engine.ensemble import Floats, stacked
from wepystore.engine.parameters import coordinate_like, whole
from wepystore.engine.record_fields import Shape

#: Direction -> what a message calls it. The first two compare, the others bound.
_DIRECTIONS = {
    "above": "at or above",
    "below": "at or below",
    "inside": "within",
    "outside": "outside or at the ends of",
}


class TargetBC(Folding, WarpBC):
    """Warps walkers whose progress coordinate is beyond a threshold, or fulfils a predicate.

    Parameters
    ----------
    coordinate : function of a state, or ProgressCoordinate
        How far a state has come: a number, or a 1-D array; anything that
        `wepystore.engine.distances.coordinate` describes.
    initial_states : list of WalkerState
        What such a walker's state may be replaced with.
    threshold : float or list of float, in the unit of the coordinate
        For the directions above and below: one number, or one for each component
        of the coordinate, which must then all be reached. For inside and
        outside, of a coordinate of one number: the two ends, (low, high).
    direction : str
        "above" (>= threshold), "below" (<=), "inside" (low <= x <= high) or
        "outside" (x <= low or x >= high).
    predicate : callable, optional
        Instead of a threshold: from the coordinates of all walkers, shape (n,)
        or (n, d), to n truths.
    initial_weights : list of float, optional
        Relative probabilities of the initial states; equal if not given.

    A walker keeps its weight, so that the flux into the target is measured in a
    steady state. The coordinate is looked at between cycles only: a walker that
    was at the target within a segment and has left it again is not warped.
    """

    BC_FIELDS: ClassVar[tuple[str, ...]] = ("threshold",)
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = (Ellipsis,)
    BC_DTYPES: ClassVar[tuple[type, ...]] = (float,)

    # Of a coordinate of several numbers they stand one walker after the other.
    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ("progress_coordinate",)
    PROGRESS_RECORD_FIELDS: ClassVar[tuple[str, ...]] = PROGRESS_FIELDS

    def __init__(
        self,
        coordinate: Any,
        initial_states: Sequence[Any],
        threshold: ArrayLike | None = None,
        direction: str = "above",
        predicate: Callable[[Floats], Any] | None = None,
        initial_weights: Sequence[float] | None = None,
    ) -> None:
        if direction not in _DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(_DIRECTIONS)}: {direction!r}")
        if (threshold is None) == (predicate is None):
            raise ValueError("give a threshold or a predicate, one of them")
        self.coordinate = coordinate_like(coordinate)
        self.direction = direction
        self.predicate = predicate
        self.threshold = _checked_threshold(threshold, direction)
        self._set_initial(initial_states, initial_weights)
        self._refuse_arrived(
            lambda value: (
                f"at the target: its progress coordinate is {value}, the target {self._described()}"
            )
        )

    def progress(self, walkers: Sequence[Any]) -> Floats:
        """The progress coordinate of each walker, shape (n,), or (n, d) if it has d > 1 numbers."""
        values = walker_coordinates(self.coordinate, walkers)
        return values[:, 0] if values.shape[1] == 1 else values

    def arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """Which coordinates are at the target, shape (n,).

        Raises
        ------
        ValueError : the threshold or the predicate does not fit the coordinate.
        """
        if self.predicate is not None:
            found = np.asarray(self.predicate(progress))
            if found.shape != progress.shape[:1]:
                raise ValueError(
                    f"the predicate must give one truth for each of {len(progress)} walkers, "
                    f"got shape {found.shape}"
                )
            if found.dtype.kind not in "biu":
                raise ValueError(f"the predicate must give truths, got an array of {found.dtype}")
            return found.astype(bool)
        assert self.threshold is not None
        ends = np.array(self.threshold)
        reached: NDArray[np.bool_]
        if self.direction in ("inside", "outside"):
            if progress.ndim != 1:
                raise ValueError(
                    f"direction {self.direction!r} needs a coordinate of one number, "
                    f"not of {progress.shape[1]}; give a predicate"
                )
            if self.direction == "inside":
                reached = (ends[0] <= progress) & (progress <= ends[1])
            else:
                reached = (progress <= ends[0]) | (progress >= ends[1])
            return reached
        if ends.ndim and (progress.ndim != 2 or ends.shape != progress.shape[1:]):
            raise ValueError(
                f"threshold holds {len(ends)} numbers, the progress coordinate "
                f"{progress.shape[1] if progress.ndim == 2 else 1}"
            )
        compare = np.greater_equal if self.direction == "above" else np.less_equal
        reached = compare(progress, ends).reshape(len(progress), -1).all(axis=1)
        return reached

    def _boundary(self) -> dict[str, Any]:
        if self.threshold is None:
            return {}
        return {"threshold": np.array(self.threshold, dtype=np.float64).reshape(-1)}

    def _described(self) -> str:
        if self.threshold is None:
            return "where the predicate says"
        return f"{_DIRECTIONS[self.direction]} {self.threshold}"

    def summary(self) -> dict[str, str]:
        """The target and what lies behind it."""
        return {"target": self._described(), "initial states": str(len(self.initial_states))}


class RandomWalkTargetBC(WarpBC):
    """Warps walkers of a random walk that are at least `threshold` from the origin.

    The distance is the sum of the coordinates, as in wepy's RandomWalkBC: the
    number of steps to the origin. Looked at after each segment, at threshold k,
    the mean first passage time of the one-dimensional walk is that of a walk
    looked at every n_steps steps.

    Parameters
    ----------
    threshold : int, > 0, lattice spacings
    initial_states : list of WalkerState
        What such a walker's state may be replaced with, most often the origin
        (`RandomWalkRunner.initial_state`).
    initial_weights : list of float, optional
        Relative probabilities of the initial states; equal if not given.
    """

    BC_FIELDS: ClassVar[tuple[str, ...]] = ("threshold_distance",)
    BC_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,),)
    BC_DTYPES: ClassVar[tuple[type, ...]] = (int,)
    BC_RECORD_FIELDS: ClassVar[tuple[str, ...]] = BC_FIELDS

    PROGRESS_FIELDS: ClassVar[tuple[str, ...]] = ("distance",)
    PROGRESS_DTYPES: ClassVar[tuple[type, ...]] = (int,)
    PROGRESS_RECORD_FIELDS: ClassVar[tuple[str, ...]] = PROGRESS_FIELDS

    def __init__(
        self,
        threshold: int,
        initial_states: Sequence[Any],
        initial_weights: Sequence[float] | None = None,
    ) -> None:
        self.threshold = whole(threshold, "threshold")
        self._set_initial(initial_states, initial_weights)
        self._refuse_arrived(
            lambda distance: (
                f"at the target: its distance from the origin is {distance:g}, "
                f"the threshold {self.threshold}"
            )
        )

    def progress(self, walkers: Sequence[Any]) -> Floats:
        """The distance of each walker from the origin, shape (n,), lattice spacings."""
        positions = stacked(walkers, "positions")
        distances: Floats = positions.reshape(len(positions), -1).sum(axis=1)
        return distances

    def arrived(self, progress: Floats) -> NDArray[np.bool_]:
        """Which distances are at the target."""
        return progress >= self.threshold

    def _boundary(self) -> dict[str, Any]:
        return {"threshold_distance": np.array([self.threshold], dtype=np.int64)}

    def summary(self) -> dict[str, str]:
        """The target and what lies behind it."""
        return {
            "target": f"{self.threshold} from the origin",
            "initial states": str(len(self.initial_states)),
        }


def _checked_threshold(
    threshold: ArrayLike | None, direction: str
) -> float | tuple[float, ...] | None:
    if threshold is None:
        return None
    try:
        array = np.array(threshold, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"threshold must be a finite number, or a list of them: {threshold}")
    if direction in ("inside", "outside") and (array.shape != (2,) or array[0] > array[1]):
        raise ValueError(
            f"direction {direction!r} needs threshold=(low, high), got {array.tolist()}"
        )
    return float(array) if array.ndim == 0 else tuple(array.tolist())
