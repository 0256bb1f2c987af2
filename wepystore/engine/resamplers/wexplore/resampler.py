"""The WExplore resampler.

New regions form exactly as in wepy 1.2 (same order, same ids, same distances).
It differs from wepy in three choices that the paper leaves open:

- when new regions have formed, every walker is in the region nearest to it,
  those placed before the region formed included;
- shares are balanced until no move makes them more even (wepy stops after two moves of one walker);
- a region that must give up several walkers merges its two lightest again and
  again, so that no single walker swallows them all, and more merges fit under pmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.distances.pairwise import is_numeric, walker_images
from wepystore.engine.ensemble import Floats, weights_of
from wepystore.engine.parameters import distance_like, listed, positive, whole
from wepystore.engine.resamplers.base import Resampled
from wepystore.engine.resamplers.clone_merge import CloneMergeResampler, told
from wepystore.engine.resamplers.decision import apply_decisions
from wepystore.engine.resamplers.wexplore.balancing import balance
from wepystore.engine.resamplers.wexplore.region_tree import Ints, NewRegion, RegionTree


class WExploreResampler(CloneMergeResampler):
    """Spreads walkers evenly over a hierarchy of regions that grows as they explore.

    WExplore (Dickson & Brooks, J. Phys. Chem. B 118, 3532, 2014). A walker
    that is further than `max_region_sizes[level]` from the nearest image at
    some level makes a new region there, if its parent has room. Walkers are
    then cloned and merged so that at each level sibling regions that hold
    walkers hold equal numbers of them, as far as pmin and pmax allow.

    Parameters
    ----------
    distance : Distance
        Measures how far states are apart.
    max_n_regions : sequence of int, one per level, topmost first
        How many children each region of the level above may have.
    max_region_sizes : sequence of float, one per level, topmost first
        In the unit of the distance, e.g. (1, 0.5, 0.35, 0.25) nm.
    pmin : float
        No walker is cloned into children lighter than this.
    pmax : float or None
        No walkers are merged into one heavier than this; None: what five equal
        walkers weigh, at least 0.1.
    init_state : state, optional
        Gives the first image; otherwise the first walker resampled does.
    """

    RESAMPLING_FIELDS = (*CloneMergeResampler.RESAMPLING_FIELDS, "region_assignment")
    RESAMPLING_SHAPES = (*CloneMergeResampler.RESAMPLING_SHAPES, Ellipsis)
    RESAMPLING_DTYPES = (*CloneMergeResampler.RESAMPLING_DTYPES, int)
    RESAMPLING_RECORD_FIELDS = RESAMPLING_FIELDS

    # An image is recorded flat, as the HDF5 format wants rank 1; its length is the user's affair.
    RESAMPLER_FIELDS = ("branching_level", "distance", "new_leaf_id", "image")
    RESAMPLER_SHAPES = ((1,), (1,), Ellipsis, Ellipsis)
    RESAMPLER_DTYPES = (int, float, int, float)
    RESAMPLER_RECORD_FIELDS = ("branching_level", "distance", "new_leaf_id")

    def __init__(
        self,
        distance: Any,
        max_n_regions: Sequence[int] = (10, 10, 10, 10),
        max_region_sizes: Sequence[float] = (1.0, 0.5, 0.35, 0.25),
        pmin: float = 1e-12,
        pmax: float | None = None,
        init_state: Any = None,
    ) -> None:
        super().__init__(pmin=pmin, pmax=pmax)
        self.distance = distance_like(distance)
        numbers = listed(max_n_regions, "max_n_regions")
        sizes = listed(max_region_sizes, "max_region_sizes")
        self.max_n_regions = tuple(whole(n, "each of max_n_regions") for n in numbers)
        self.max_region_sizes = tuple(positive(size, "each of max_region_sizes") for size in sizes)
        self.init_state = init_state
        if not self.max_n_regions or len(self.max_n_regions) != len(self.max_region_sizes):
            raise ValueError(
                "max_n_regions and max_region_sizes need one number per level each, got "
                f"{len(self.max_n_regions)} and {len(self.max_region_sizes)}"
            )
        self._tree: RegionTree | None = None

    @property
    def tree(self) -> RegionTree | None:
        """The regions found so far; None before the first resampling."""
        return self._tree

    def resample(self, walkers: Sequence[Any]) -> Resampled:
        """Place the walkers, grow the tree, decide and carry out.

        Returns
        -------
        walkers : as many as before
        resampling_data : per walker decision_id, target_idxs, step_idx,
            walker_idx, and region_assignment (n_levels,), its leaf
        resampler_data : per new region branching_level (1,), distance (1,) in
            the unit of the distance, new_leaf_id (n_levels,), image (flat)

        Raises
        ------
        ValueError : there are no walkers.
        NoPlaceError, NegativeDistanceError : a walker's distance is not a number, or below 0.
        """
        if not walkers:
            raise ValueError("there are no walkers to resample")
        images = walker_images(self.distance, walkers)
        if self._tree is None:
            self._tree = RegionTree(self.distance, self.max_n_regions, self.max_region_sizes)
            self._tree.plant(
                images[0] if self.init_state is None else self.distance.image(self.init_state)
            )
        tree = self._tree
        numbers, new_regions = tree.explore(images)
        leaves, which = _occupied(numbers)
        weights = weights_of(walkers)
        highest = self.highest_weight(len(weights))
        groups, clones = balance(tree, leaves, which, weights, self.pmin, highest)
        records = self.settle(weights.tolist(), groups, clones)
        resampled = apply_decisions(walkers, records)
        leaf_ids = np.array([tree.ids[leaf] for leaf in leaves], dtype=np.int64)[which]
        changes = [_region_record(region) for region in new_regions]
        return resampled, told(records, region_assignment=leaf_ids), changes

    def check_start(self, weights: Floats) -> None:
        """Besides, refuse a tree that cannot have but one leaf: it has no sibling to share with."""
        super().check_start(weights)
        if max(self.max_n_regions) == 1:
            reason = f"max_n_regions={list(self.max_n_regions)} allows only one region"
            raise self._never(reason, "raise one of them")

    def would_act(self, walkers: Sequence[Any], pmin: float, pmax: float) -> bool:
        """Whether sibling regions hold unequal numbers that these bounds let it even out."""
        if self._tree is None:
            return False
        weights = weights_of(walkers)
        groups, clones = balance(self._tree, *self._leaves(walkers), weights, pmin, pmax)
        return bool(groups or clones)

    def why_still(self, walkers: Sequence[Any]) -> str | None:
        """Besides, whether all walkers are in one region, or each in one of its own."""
        why = super().why_still(walkers)
        if why is not None or self._tree is None:
            return why
        n_occupied = len(self._leaves(walkers)[0])
        if n_occupied == len(walkers) > 1:
            return (
                f"every walker is alone in its region of {type(self).__name__}, and only walkers "
                "of one region are merged; take more walkers or larger max_region_sizes"
            )
        if n_occupied == 1:
            sizes = ", ".join(f"{size:g}" for size in self.max_region_sizes)
            why = (
                f"all walkers are in one region of {type(self).__name__}; if they do not leave it, "
                f"max_region_sizes ({sizes}) may be too large for how far walkers get in a cycle"
            )
        return why

    def _leaves(self, walkers: Sequence[Any]) -> tuple[list[int], Ints]:
        """The walkers' leaf regions in the tree as it is, and which of these each is in."""
        assert self._tree is not None
        paths, _ = self._tree.place(walker_images(self.distance, walkers))
        return _occupied(paths[:, -1])

    def state(self) -> dict[str, Any]:
        """The regions: {} before the first resampling, else

        - ``branches``: list of [level, leaf id] in the order they were made;
        - ``images``: float64, shape (n_branches, *image shape), or
          ``image_list`` where a distance's images are no arrays of one shape.
        """
        if self._tree is None:
            return {}
        branches = [[level, list(leaf_id)] for level, leaf_id in self._tree.branches]
        stacked = self._tree.images.stacked
        if stacked is None:
            return {"branches": branches, "image_list": self._tree.images.listed()}
        return {"branches": branches, "images": stacked.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; resampling then goes on to the bit (R2)."""
        if not state:
            self._tree = None
            return
        if state.keys() not in ({"branches", "images"}, {"branches", "image_list"}):
            raise ValueError(f"its regions are no {sorted(state)}")
        images = state["images"] if "images" in state else state["image_list"]
        self._tree = RegionTree.rebuild(
            self.distance, self.max_n_regions, self.max_region_sizes, state["branches"], images
        )

    def summary(self) -> dict[str, str]:
        """Regions and free slots per level, topmost first."""
        if self._tree is None:
            return {"regions per level": "none yet"}
        return {
            "regions per level": ", ".join(str(number) for number in self._tree.n_regions()),
            "most per parent": ", ".join(str(number) for number in self.max_n_regions),
            "free slots per level": ", ".join(str(number) for number in self._tree.free_slots()),
            "region sizes": ", ".join(f"{size:g}" for size in self.max_region_sizes),
        }


def _occupied(numbers: Ints) -> tuple[list[int], Ints]:
    """The regions that hold walkers, and which of them each walker is in."""
    held = np.bincount(numbers) > 0
    return np.flatnonzero(held).tolist(), (np.cumsum(held) - 1)[numbers]


def _region_record(region: NewRegion) -> dict[str, Any]:
    # An image that is no array cannot be a field of the record: it is recorded empty, and kept
    # whole in the resampler's state.
    image = region.image
    flat = np.array(image, dtype=np.float64).ravel() if is_numeric(image) else np.empty(0)
    return {
        "branching_level": np.array([region.level], dtype=np.int64),
        "distance": np.array([region.distance], dtype=np.float64),
        "new_leaf_id": np.array(region.leaf_id, dtype=np.int64),
        "image": flat,
    }
