"""Who is merged and who is cloned, so that sibling regions hold equal numbers of walkers.

Working down from the root, each region's walkers are shared out between those
of its children that hold any, as evenly as what they can merge (pmax) and clone (pmin)
allows. At the leaves a deficit is met by merging, a surplus by cloning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wepystore.engine.resamplers.groups import (
    clone_heaviest,
    max_clones,
    max_merges,
    merge_lightest,
)
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
    tree: RegionTree, leaves: Sequence[int], weights: Sequence[float], pmin: float, pmax: float
) -> tuple[list[tuple[int, ...]], dict[int, int]]:
    """What to merge and what to clone, the number of walkers staying the same.

    Parameters
    ----------
    tree : the regions
    leaves : the number of each walker's leaf region
    weights : of the walkers
    pmin, pmax : bounds on the weights that cloning and merging may make

    Returns
    -------
    groups : walkers to merge into one
    clones : {walker: number of children besides itself}
    """
    n_walkers = len(weights)
    members: dict[int, dict[int, float]] = {}
    for idx, (leaf, weight) in enumerate(zip(leaves, weights, strict=True)):
        members.setdefault(leaf, {})[idx] = weight
    if len(members) == 1:
        return [], {}  # There is no sibling to be even with.
    regions = _capacities(tree, members, pmin, pmax, n_walkers)

    groups: list[tuple[int, ...]] = []
    clones: dict[int, int] = {}
    shares = {0: n_walkers}
    pending = [0]
    while pending:
        parent = pending.pop()
        change = shares[parent] - regions[parent].walkers
        if parent in members:
            if change < 0:
                groups += merge_lightest(members[parent], pmax, -change)
            elif change > 0:
                clones.update(clone_heaviest(members[parent], pmin, change, n_walkers - 1))
            continue
        children = sorted(regions[parent].occupied)
        current = [regions[child].walkers for child in children]
        low = [regions[child].walkers - regions[child].merges for child in children]
        high = [regions[child].walkers + regions[child].clones for child in children]
        shares.update(zip(children, even_shares(current, low, high, shares[parent]), strict=True))
        pending += children
    return groups, clones


def _capacities(
    tree: RegionTree,
    members: Mapping[int, Mapping[int, float]],
    pmin: float,
    pmax: float,
    n_walkers: int,
) -> dict[int, _Region]:
    """The occupied regions, each the sum of its occupied leaves."""
    regions: dict[int, _Region] = {}
    for leaf, weights in members.items():
        walkers = len(weights)
        merges = max_merges(weights, pmax)
        clones = sum(max_clones(weight, pmin, n_walkers - 1) for weight in weights.values())
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
