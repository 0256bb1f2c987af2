"""Who is merged and who is cloned, so that sibling regions hold equal numbers of walkers.

Working down from the root, each region's walkers are shared out between those
of its children that hold any, as evenly as what they can merge (pmax) and clone (pmin)
allows. At the leaves a deficit is met by merging, a surplus by cloning.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


def max_clones(weight: float, pmin: float, limit: int) -> int:
    """How many children besides itself a walker can have, none lighter than pmin, up to `limit`."""
    number = int(min(weight / pmin, limit + 1.0))
    # The quotient is rounded; the condition that must hold is on the children's weights.
    while number > 1 and weight / number < pmin:
        number -= 1
    while number <= limit and weight / (number + 1) >= pmin:
        number += 1
    return max(number - 1, 0)


def merge_lightest(
    weights: Mapping[int, float], pmax: float, wanted: int | None = None
) -> list[tuple[int, ...]]:
    """Groups of walkers to merge, made by merging the two lightest again and again.

    Stops when `wanted` walkers are merged away (as many as possible if None)
    or the two lightest together would exceed pmax. Every group's weight, the
    correctly rounded sum of its members', is at most pmax.
    """
    heap: list[tuple[float, int, tuple[int, ...]]]
    heap = [(weight, idx, (idx,)) for idx, weight in weights.items()]
    heapq.heapify(heap)
    left = len(heap) - 1 if wanted is None else wanted
    while left > 0 and len(heap) > 1:
        first = heapq.heappop(heap)
        members = first[2] + heap[0][2]
        merged = math.fsum(weights[idx] for idx in members)
        if merged > pmax:
            heapq.heappush(heap, first)
            break
        heapq.heapreplace(heap, (merged, min(first[1], heap[0][1]), members))
        left -= 1
    groups = [tuple(sorted(members)) for _, _, members in heap if len(members) > 1]
    return sorted(groups)


def max_merges(weights: Mapping[int, float], pmax: float) -> int:
    """How many walkers `merge_lightest` can merge away."""
    if math.fsum(weights.values()) <= pmax:
        return len(weights) - 1
    return sum(len(group) - 1 for group in merge_lightest(weights, pmax))


def clone_heaviest(
    weights: Mapping[int, float], pmin: float, wanted: int, limit: int
) -> dict[int, int]:
    """{walker: children besides itself}, the one with the heaviest children cloned again and again.

    `wanted` is at most the sum of `max_clones`; ties go to the lower index.
    """
    clones: dict[int, int] = {}
    heap = [
        (-weight, idx) for idx, weight in weights.items() if max_clones(weight, pmin, limit) > 0
    ]
    heapq.heapify(heap)
    for _ in range(wanted):
        _, idx = heap[0]
        clones[idx] = clones.get(idx, 0) + 1
        if clones[idx] < max_clones(weights[idx], pmin, limit):
            heapq.heapreplace(heap, (-weights[idx] / (clones[idx] + 1), idx))
        else:
            heapq.heappop(heap)
    return clones


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
