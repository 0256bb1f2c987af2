"""Which walkers of one region to merge and which to clone, within pmin and pmax."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

#: (weight, lowest number, walkers) of each group that is to be one walker.
_Heap = list[tuple[float, int, tuple[int, ...]]]


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
    heap: _Heap = [(weight, idx, (idx,)) for idx, weight in weights.items()]
    heapq.heapify(heap)
    left = len(heap) - 1 if wanted is None else wanted
    while left > 0 and len(heap) > 1 and _merge_two(heap, weights, pmax):
        left -= 1
    return _merged(heap)


def _merge_two(heap: _Heap, weights: Mapping[int, float], most: float) -> bool:
    """Merge the two lightest, unless they are heavier together than `most`."""
    first = heapq.heappop(heap)
    members = first[2] + heap[0][2]
    merged = math.fsum(weights[idx] for idx in members)
    if merged > most:
        heapq.heappush(heap, first)
        return False
    heapq.heapreplace(heap, (merged, min(first[1], heap[0][1]), members))
    return True


def _merged(heap: _Heap) -> list[tuple[int, ...]]:
    return sorted(tuple(sorted(members)) for _, _, members in heap if len(members) > 1)


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


def even_out(
    weights: Mapping[int, float], change: int, pmin: float, pmax: float, limit: int
) -> tuple[list[tuple[int, ...]], dict[int, int]]:
    """What to merge and clone so that a region's number of walkers changes, and weights even out.

    First as many are cloned, or merged away, as the number is to change. Then
    a walker whose children weigh more than twice the mean is cloned once more and the two
    lightest are merged, if together they weigh no more than the mean, again and again:
    the bounds of Huber & Kim (Biophys. J. 70, 97, 1996).

    Parameters
    ----------
    weights : of the region's walkers
    change : int, how many more walkers there are to be; within `max_merges` and `max_clones`
    pmin, pmax : bounds on the weights that cloning and merging may make
    limit : most clones of a walker

    Returns
    -------
    groups : walkers to merge into one
    clones : {walker: number of children besides itself}
    """
    groups = merge_lightest(weights, pmax, -change) if change < 0 else []
    clones = clone_heaviest(weights, pmin, change, limit) if change > 0 else {}
    mean = math.fsum(weights.values()) / (len(weights) + change)
    gone = {idx for group in groups for idx in group}

    def children(idx: int) -> float:
        return weights[idx] / (clones.get(idx, 0) + 1)

    left = weights.keys() - gone
    heavy = [(-children(idx), idx) for idx in left if children(idx) > 2 * mean]
    if not heavy:
        return groups, clones
    light: _Heap = [(math.fsum(weights[idx] for idx in group), group[0], group) for group in groups]
    light += [(weights[idx], idx, (idx,)) for idx in left - clones.keys()]
    heapq.heapify(heavy)
    heapq.heapify(light)
    while heavy and len(light) > 1:
        _, walker = heavy[0]
        if clones.get(walker, 0) + 1 > max_clones(weights[walker], pmin, limit):
            heapq.heappop(heavy)
        elif not _merge_two(light, weights, min(mean, pmax)):
            break
        else:
            clones[walker] = clones.get(walker, 0) + 1
            heapq.heappop(heavy)
            if children(walker) > 2 * mean:
                heapq.heappush(heavy, (-children(walker), walker))
    return _merged(light), clones
