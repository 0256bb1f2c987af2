"""Who is merged and who is cloned, so that sibling regions hold equal numbers of walkers.

Working down from the root, each region's walkers are shared out between those
of its children that hold any, as evenly as what they can merge (pmax) and clone (pmin)
allows. At the leaves a deficit is met by merging, a surplus by cloning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wepystore.engine.ensemble import Floats
from wepystore.engine.resamplers.groups import Ints, Regions
from wepystore.engine.resamplers.wexplore.region_tree import RegionTree


def even_shares(
    current: Sequence[int], low: Sequence[int], high: Sequence[int], total: int
) -> list[int]:
    """`total` shared out as evenly as low[i] <= share[i] <= high[i] allows.

    This is the limit of moving single walkers from the fullest region that can
    give to the emptiest that can take, for as long as that evens them out. Of
    the equally even ways, it is the one that keeps most walkers where they are,
    then the one that favours earlier regions.

    Parameters
    ----------
    current, low, high : sequences of int, one per region, low <= current <= high
    total : int, between sum(low) and sum(high)
    """
    if not sum(low) <= total <= sum(high):
        raise ValueError(f"{total} walkers do not fit between {sum(low)} and {sum(high)}")
    if len(current) == 1:
        return [total]

    def filled(level: int) -> list[int]:
        return [min(max(level, lo), hi) for lo, hi in zip(low, high, strict=True)]

    # The highest water level that does not overflow, found by bisection.
    below, above = 0, total + 1
    while above - below > 1:
        middle = (below + above) // 2
        if sum(filled(middle)) <= total:
            below = middle
        else:
            above = middle
    shares = filled(below)
    odd = total - sum(shares)
    takers = [idx for idx, share in enumerate(shares) if share == below and share < high[idx]]
    takers.sort(key=lambda idx: current[idx] <= below)
    for idx in takers[:odd]:
        shares[idx] += 1
    return shares


@dataclass
class _Region:
    """What a region holds and how far its number of walkers can change."""

    walkers: int = 0
    merges: int = 0
    clones: int = 0
    occupied: set[int] = field(default_factory=set)


def balance(
    tree: RegionTree,
    leaves: Sequence[int],
    which: Ints,
    weights: Floats,
    pmin: float,
    pmax: float,
) -> tuple[list[list[int]], dict[int, int]]:
    """What to merge and what to clone, the number of walkers staying the same.

    Parameters
    ----------
    tree : the regions
    leaves : numbers of the leaf regions that hold walkers
    which : ndarray, shape (n,), the place of each walker's among them
    weights : ndarray, shape (n,)
    pmin, pmax : bounds on the weights that cloning and merging may make

    Returns
    -------
    groups : walkers to merge into one
    clones : {walker: number of children besides itself}
    """
    if len(leaves) == 1:
        return [], {}  # There is no sibling to be even with.
    n_walkers = len(weights)
    held = Regions(weights, which, pmin, pmax, n_walkers - 1)
    regions = _capacities(tree, leaves, held)
    place = {leaf: k for k, leaf in enumerate(leaves)}

    visited: list[int] = []
    change = np.zeros(len(leaves), dtype=np.int64)
    shares = {0: n_walkers}
    pending = [0]
    while pending:
        parent = pending.pop()
        if parent in place:
            visited.append(place[parent])
            change[place[parent]] = shares[parent] - regions[parent].walkers
            continue
        children = sorted(regions[parent].occupied)
        current = [regions[child].walkers for child in children]
        low = [regions[child].walkers - regions[child].merges for child in children]
        high = [regions[child].walkers + regions[child].clones for child in children]
        shares.update(zip(children, even_shares(current, low, high, shares[parent]), strict=True))
        pending += children
    return held.change(change, visited)


def _capacities(tree: RegionTree, leaves: Sequence[int], held: Regions) -> dict[int, _Region]:
    """The occupied regions, each the sum of its occupied leaves."""
    regions: dict[int, _Region] = {}
    counts = (held.counts.tolist(), held.merges.tolist(), held.clones.tolist())
    for leaf, walkers, merges, clones in zip(leaves, *counts, strict=True):
        below = None
        for number in tree.lineage(leaf):
            region = regions.setdefault(number, _Region())
            region.walkers += walkers
            region.merges += merges
            region.clones += clones
            if below is not None:
                region.occupied.add(below)
            below = number
    return regions
