"""The hierarchy of regions: images, who is nearest to which, and new regions.

A region at level l is the part of its parent (level l - 1) that is nearer to
its image than to its siblings'. The leaf regions are the last level. A leaf's
id is the tuple of its ordinals from the top down: (0, 2, 1) is the second
child of the third child of the first region.

The first child of a region has the same image as the region itself, so a tree
is the list of its *branches*, each the chain of regions made at once for one
image: (level at which it left an existing region, id of its leaf).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.distances.pairwise import is_numeric
from wepystore.engine.ensemble import Floats
from wepystore.engine.errors import NegativeDistanceError, NoPlaceError
from wepystore.engine.protocols import DistanceCapabilities

Ints = NDArray[np.int64]


class Images:
    """A growing sequence of images: one array if they are arrays of one shape, else a list."""

    def __init__(self, distance: Any) -> None:
        self._distance = distance
        self._array: Floats | None = None
        self._list: list[Any] | None = None
        self._count = 0

    @property
    def distance_name(self) -> str:
        """The class of the distance."""
        return type(self._distance).__name__

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Any:
        if self._array is not None:
            return self._array[number]
        return (self._list or [])[number]

    @property
    def stacked(self) -> Floats | None:
        """The images stacked on axis 0, or None if they are not arrays of one shape."""
        return None if self._array is None else self._array[: self._count]

    def listed(self) -> list[Any]:
        """The images as a list."""
        return [self[number] for number in range(self._count)]

    def append(self, image: Any) -> None:
        """Add an image."""
        if self._count == 0 and is_numeric(image):
            self._array = np.empty((8, *np.shape(image)))
            self._list = None
        if self._array is not None and (
            not is_numeric(image) or np.shape(image) != self._array.shape[1:]
        ):
            self._list = [row.copy() for row in self._array[: self._count]]
            self._array = None
        if self._array is None:
            if self._list is None:
                self._list = []
            self._list.append(image)
        else:
            if self._count == len(self._array):
                self._array = np.concatenate([self._array, np.empty_like(self._array)])
            self._array[self._count] = image
        self._count += 1

    def distances(self, number: int, images: Any, rows: Ints) -> Floats:
        """Distances (len(rows),) of image `number` to those of `images` that `rows` picks."""
        if self._array is not None and isinstance(images, np.ndarray):
            many = DistanceCapabilities(self._distance).image_distances
            if many is not None:
                return np.asarray(many(self._array[number], images[rows]))
            one: Any = self._array[number]
        else:
            one = self[number]
        return np.array(
            [self._distance.image_distance(images[row], one) for row in rows.tolist()],
            dtype=np.float64,
        )


@dataclass(frozen=True)
class NewRegion:
    """A branch that a walker made: it was `distance` from the nearest image at `level`."""

    level: int
    distance: float
    leaf_id: tuple[int, ...]
    image: Any


class RegionTree:
    """The regions, and the walkers' places among them.

    Parameters
    ----------
    distance : Distance
        With `image_distance(a, b)`, or better `image_distances(image, images)`;
        symmetric.
    max_n_regions : sequence of int
        For each level, how many children a region of the level above may have.
    max_region_sizes : sequence of float
        For each level, how far from the nearest image a walker must be to make
        a new region there; in the unit of the distance.
    """

    def __init__(
        self, distance: Any, max_n_regions: Sequence[int], max_region_sizes: Sequence[float]
    ) -> None:
        self.max_n_regions = tuple(max_n_regions)
        self.max_region_sizes = tuple(max_region_sizes)
        self.n_levels = len(self.max_n_regions)
        self.images = Images(distance)
        self.branches: list[tuple[int, tuple[int, ...]]] = []
        # Regions are numbered in the order they are made; 0 is the root.
        self.children: list[list[int]] = [[]]
        self.ids: list[tuple[int, ...]] = [()]
        self.parents: list[int] = [-1]
        self._image_of: list[int] = [0]

    def plant(self, image: Any) -> None:
        """Make the first region of every level."""
        self._branch(0, image)

    def _branch(self, parent: int, image: Any) -> list[int]:
        """Make a chain of regions from `parent` down to a leaf; their numbers, top first."""
        level = len(self.ids[parent])
        number = len(self.images)
        self.images.append(image)
        chain = []
        for _ in range(level, self.n_levels):
            child = len(self.ids)
            self.ids.append((*self.ids[parent], len(self.children[parent])))
            self.children.append([])
            self.children[parent].append(child)
            self.parents.append(parent)
            self._image_of.append(number)
            chain.append(child)
            parent = child
        self.branches.append((level, self.ids[parent]))
        return chain

    @classmethod
    def rebuild(
        cls,
        distance: Any,
        max_n_regions: Sequence[int],
        max_region_sizes: Sequence[float],
        branches: Sequence[Sequence[Any]],
        images: Sequence[Any],
    ) -> RegionTree:
        """The tree that has these `branches` and `images`, made in this order.

        Raises
        ------
        ValueError : they do not describe a tree of this depth.
        """
        tree = cls(distance, max_n_regions, max_region_sizes)
        if len(branches) != len(images):
            raise ValueError(f"{len(branches)} branches of a region tree for {len(images)} images")
        numbers: dict[tuple[int, ...], int] = {(): 0}
        for (level, leaf_id), image in zip(branches, images, strict=True):
            leaf = tuple(int(ordinal) for ordinal in leaf_id)
            parent = numbers.get(leaf[: int(level)])
            chain = [] if parent is None else tree._branch(parent, image)
            if not chain or tree.ids[chain[-1]] != leaf:
                raise ValueError(f"branch {leaf} at level {level} does not fit the region tree")
            numbers.update((tree.ids[number], number) for number in chain)
        return tree

    def lineage(self, number: int) -> list[int]:
        """The numbers of a region and all above it, the root last."""
        line = [number]
        while number:
            number = self.parents[number]
            line.append(number)
        return line

    def place(self, images: Any) -> tuple[Ints, Floats]:
        """The nearest path down the tree for each walker.

        Parameters
        ----------
        images : the walkers' images, stacked on axis 0, or a list of them

        Returns
        -------
        paths : shape (n, n_levels + 1), numbers of regions, the root first
        distances : shape (n, n_levels), to the image of the region at each level
        """
        n_walkers = len(images)
        paths = np.zeros((n_walkers, self.n_levels + 1), dtype=np.int64)
        distances = np.empty((n_walkers, self.n_levels))
        everyone = np.arange(n_walkers)
        # The root has the image of the first region of all.
        distances[:, 0] = self.images.distances(0, images, everyone)
        unplaced = np.flatnonzero(np.isnan(distances[:, 0]))
        if unplaced.size:
            raise NoPlaceError(distance=self.images.distance_name, walker_idx=int(unplaced[0]))
        for level in range(self.n_levels):
            if level:
                distances[:, level] = distances[:, level - 1]
            for parent, rows in grouped(paths[:, level]):
                first, *others = self.children[parent]
                paths[rows, level + 1] = first
                if not others:
                    continue
                nearest = distances[rows, level]
                # A later sibling wins only if it is nearer: ties go to the older one.
                for child in others:
                    tried = self.images.distances(self._image_of[child], images, rows)
                    nearer = tried < nearest
                    paths[rows[nearer], level + 1] = child
                    np.copyto(nearest, tried, where=nearer)
                distances[rows, level] = nearest
        if n_walkers and distances.min() < 0:
            walker_idx = int(distances.min(axis=1).argmin())
            raise NegativeDistanceError(
                distance=self.images.distance_name,
                walker_idx=walker_idx,
                value=float(distances[walker_idx].min()),
            )
        return paths, distances

    def explore(self, images: Any) -> tuple[Ints, list[NewRegion]]:
        """Place the walkers and make new regions for those that are far from all images.

        Walkers take their turn in order. One that is further than
        `max_region_sizes[level]` from its nearest image there, under a parent
        that has room, makes a new branch at the topmost such level. Afterwards every walker
        is in the region nearest to it, those that had their turn earlier too.

        Returns
        -------
        leaves : shape (n,), numbers of the walkers' leaf regions
        new : the regions made, in order
        """
        paths, distances = self.place(images)
        sizes = np.array(self.max_region_sizes)
        far = np.any(distances > sizes, axis=1)
        new: list[NewRegion] = []
        # A new region can take in walkers that are then far from its only image further down.
        for walker_idx in range(len(paths)) if far.any() else ():
            if not far[walker_idx]:
                continue
            level = self._level_to_branch(paths[walker_idx], distances[walker_idx])
            if level is None:
                continue
            image = images[walker_idx]
            parent = int(paths[walker_idx, level])
            chain = self._branch(parent, image)
            new.append(
                NewRegion(level, float(distances[walker_idx, level]), self.ids[chain[-1]], image)
            )
            rows = np.flatnonzero(paths[:, level] == parent)
            tried = self.images.distances(len(self.images) - 1, images, rows)
            nearer = tried < distances[rows, level]
            rows = rows[nearer]
            paths[rows, level + 1 :] = chain
            distances[rows, level:] = tried[nearer][:, np.newaxis]
            far[rows] = (distances[rows] > sizes).any(axis=1)
        return paths[:, -1], new

    def _level_to_branch(self, path: Ints, distances: Floats) -> int | None:
        for level, size in enumerate(self.max_region_sizes):
            has_room = len(self.children[path[level]]) < self.max_n_regions[level]
            if distances[level] > size and has_room:
                return level
        return None

    def n_regions(self) -> list[int]:
        """How many regions there are at each level, top first."""
        counts = [0] * self.n_levels
        for region_id in self.ids[1:]:
            counts[len(region_id) - 1] += 1
        return counts

    def free_slots(self) -> list[int]:
        """How many more children the existing regions could have, at each level, top first."""
        free = [0] * self.n_levels
        for region_id, children in zip(self.ids, self.children, strict=True):
            level = len(region_id)
            if level < self.n_levels:
                free[level] += self.max_n_regions[level] - len(children)
        return free


def grouped(numbers: Ints) -> list[tuple[int, Ints]]:
    """[(number, the rows that hold it, ascending)] by ascending number."""
    if numbers.size and (numbers == numbers[0]).all():
        return [(int(numbers[0]), np.arange(numbers.size))]
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    return list(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
