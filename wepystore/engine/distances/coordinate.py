"""Progress coordinates: a number, or a few, that say how far a state has come.

Wherever a progress coordinate is asked for, any of these will do:

- a function of a state that returns a number or a 1-D array;
- an object with ``many(states)``, which returns the values of many states at
  once, shape (n,) or (n, d);
- a `ProgressCoordinate`, which is both, and which a store keeps as plain parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.engine.component import Component
from wepystore.engine.distances.base import Distance, Folding, atom_indices
from wepystore.engine.distances.pairwise import images_of
from wepystore.engine.ensemble import Ensemble, Floats
from wepystore.engine.errors import CoordinateError
from wepystore.engine.parameters import coordinate_like, distance_like, listed, positive
from wepystore.engine.protocols import (
    CoordinateCapabilities,
    DistanceCapabilities,
    name_of,
)


class ProgressCoordinate(Component):
    """Base of the progress coordinates. A subclass gives `value` or `many`."""

    #: Whether `many` also takes an ensemble, and looks at its ``fields`` instead of its states.
    takes_ensembles: ClassVar[bool] = False

    def value(self, state: Any) -> Any:
        """The coordinate of one state: a number, or a 1-D array."""
        if type(self).many is ProgressCoordinate.many:
            raise NotImplementedError(
                f"{type(self).__name__} does not say what it measures: it needs value or many"
            )
        return self.many([state])[0]

    def many(self, states: Sequence[Any]) -> Floats:
        """The coordinates of many states, shape (n,) or (n, d)."""
        return np.array([self.value(state) for state in states], dtype=np.float64)

    def __call__(self, state: Any) -> Any:
        """As `value`."""
        return self.value(state)


def coordinates_of(coordinate: Any, states: Sequence[Any]) -> Floats:
    """The progress coordinates of many states, shape (n, d); d = 1 where they are single numbers.

    Parameters
    ----------
    coordinate : as this module's docstring says
    states : sequence of states

    Raises
    ------
    ValueError : the coordinate does not give one number, or one 1-D array of
        equal length, for each state.
    """
    many = CoordinateCapabilities(coordinate).many
    values = [coordinate(state) for state in states] if many is None else many(states)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"the progress coordinate {name_of(coordinate)} must give a number, or a 1-D array "
            "of the same length, for every state"
        ) from None
    if array.ndim not in (1, 2) or len(array) != len(states):
        raise ValueError(
            f"the progress coordinate {name_of(coordinate)} gave an array of shape {array.shape} "
            f"for {len(states)} states; (n,) or (n, d) is needed"
        )
    return array.reshape(len(states), -1)


def walker_coordinates(coordinate: Any, walkers: Sequence[Any]) -> Floats:
    """The progress coordinates of walkers, shape (n, d).

    An ensemble goes whole to a coordinate that
    takes it, so that it need not be taken apart.

    Raises
    ------
    CoordinateError : one of them is not a number.
    ValueError : as `coordinates_of`.
    """
    whole = isinstance(walkers, Ensemble) and CoordinateCapabilities(coordinate).takes_ensembles
    states = walkers if whole else [walker.state for walker in walkers]
    values = coordinates_of(coordinate, states)
    wrong = np.flatnonzero(np.isnan(values).any(axis=1))
    if len(wrong):
        first = int(wrong[0])
        value = values[first].tolist()
        raise CoordinateError(
            coordinate=name_of(coordinate),
            whose=f"walker {first}",
            value=value[0] if len(value) == 1 else value,
            cause=_cause(walkers[first].state),
        )
    return values


def _cause(state: Any) -> str:
    """Who is to blame for a coordinate that is no number, and what to do."""
    try:
        fine = "positions" not in state or bool(np.isfinite(state["positions"]).all())
    except (TypeError, ValueError):
        fine = True
    if fine:
        return "and not for its positions, which are numbers; look at what it does with that state"
    return "as are its positions; most often the dynamics blew up: try a shorter time step"


class PositionCoordinate(ProgressCoordinate):
    """Components of the positions of some atoms, nm (or the runner's unit of length).

    For a random walk or a particle on an analytic potential the particle is atom 0.

    Parameters
    ----------
    atoms : list of int
    axes : list of int
        0 is x, 1 is y and so on.

    The value is an array of len(atoms) * len(axes) numbers, atom by atom.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("atoms",)

    takes_ensembles = True

    def __init__(self, atoms: Iterable[int] = (0,), axes: Iterable[int] = (0,)) -> None:
        self.atoms = atom_indices(atoms, "atoms")
        self.axes = atom_indices(axes, "axes")

    def many(self, states: Sequence[Any]) -> Floats:
        """The components, shape (n, len(atoms) * len(axes))."""
        fields = states.fields if isinstance(states, Ensemble) else None
        positions = np.asarray(
            [state["positions"] for state in states] if fields is None else fields["positions"]
        )
        # A single particle may come without an axis for its atoms.
        positions = positions.reshape(len(positions), -1, positions.shape[-1])
        try:
            chosen = positions[:, np.array(self.atoms)[:, np.newaxis], np.array(self.axes)]
        except IndexError:
            raise ValueError(
                f"PositionCoordinate looks at atoms {self.atoms} and axes {self.axes}, but the "
                f"positions of a state have shape {positions.shape[1:]}; both count from 0"
            ) from None
        return np.asarray(chosen, dtype=np.float64).reshape(len(positions), -1)


class ImageCoordinate(Folding, ProgressCoordinate):
    """What a distance looks at, as a progress coordinate: its image, flat.

    With `PairDistance` this is the distance of two atoms, nm.

    Parameters
    ----------
    distance : Distance
    """

    def __init__(self, distance: Any) -> None:
        self.distance = distance_like(distance)

    def many(self, states: Sequence[Any]) -> Floats:
        """The images, shape (n, size of an image)."""
        images: Floats = np.asarray(images_of(self.distance, states), dtype=np.float64)
        return images.reshape(len(images), -1)


class ReferenceCoordinate(Folding, ProgressCoordinate):
    """The distance to a reference state, in the unit of the distance.

    Parameters
    ----------
    distance : Distance
    ref_state : WalkerState
    """

    def __init__(self, distance: Any, ref_state: Any) -> None:
        self.distance = distance_like(distance)
        self.ref_state = ref_state
        self._reference = distance.image(ref_state)

    def many(self, states: Sequence[Any]) -> Floats:
        """The distances, shape (n,)."""
        images = images_of(self.distance, states)
        many = DistanceCapabilities(self.distance).image_distances
        if many is not None:
            distances: Floats = many(self._reference, images)
            return distances
        return np.array([self.distance.image_distance(self._reference, i) for i in images])


class CoordinateDistance(Folding, Distance):
    """Euclidean distance between the progress coordinates of two states.

    In the unit of the coordinate; for a coordinate of one number, |a - b|.

    Parameters
    ----------
    coordinate : function of a state, or ProgressCoordinate
        See this module. A user's own function or class is kept in a store as a
        pickle, by value, so a run asks whether its user trusts it.
    scale : list of float, or None
        Each number of the coordinate is divided by its own scale first, which
        brings different units together; None for no scaling.
    """

    def __init__(self, coordinate: Any, scale: Iterable[float] | None = None) -> None:
        self.coordinate = coordinate_like(coordinate)
        self.scale: tuple[float, ...] | None = None
        if scale is not None:
            self.scale = tuple(positive(s, "each of scale") for s in listed(scale, "scale"))

    @property
    def takes_ensembles(self) -> bool:
        """Whether `images` also takes an ensemble: if the coordinate does."""
        own = type(self).images is not CoordinateDistance.images
        return not own and CoordinateCapabilities(self.coordinate).takes_ensembles

    def images(self, states: Sequence[Any]) -> Floats:
        """The coordinates of many states, scaled, shape (n, d)."""
        values = coordinates_of(self.coordinate, states)
        if self.scale is None:
            return values
        if len(self.scale) != values.shape[1]:
            raise ValueError(
                f"scale holds {len(self.scale)} numbers, but the progress coordinate "
                f"{name_of(self.coordinate)} gives {values.shape[1]}"
            )
        scaled: Floats = values / np.array(self.scale)
        return scaled

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """Euclidean distance of `image` to each of `images`, shape (n,)."""
        differences = images - image
        if differences.shape[1] == 1:
            distances: Floats = np.abs(differences[:, 0])
        else:
            distances = np.sqrt((differences**2).sum(axis=1))
        return distances

    def pairwise(self, images: Floats) -> Floats:
        """Distances between all pairs of images, shape (n, n)."""
        if images.shape[1] == 1:
            return np.abs(images - images[:, 0])
        squares = np.zeros((len(images), len(images)))
        for column in images.T:
            squares += (column[:, np.newaxis] - column) ** 2
        return np.sqrt(squares, out=squares)
