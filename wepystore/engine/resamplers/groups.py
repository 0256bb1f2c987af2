"""Which walkers of each region to merge and which to clone, within pmin and pmax."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Floats

Ints = NDArray[np.int64]
#: Merges, one after the other: the lowest numbers of the two that become one, the lower one first,
#: and its weight.
Merges = list[tuple[int, int, float]]
#: Levels are lowered by this, so that rounding leaves nothing out.
_BIT_LOWER = 1 - 1e-9
#: Of fewer walkers, one merge after the other is as fast as many at once.
_MANY = 150


def max_parts(weights: Floats, least: float | Floats, limit: int) -> Ints:
    """Into how many equal parts each weight can be divided, none below `least`, at least 1 and up
    to `limit`."""
    numbers = np.maximum(np.minimum(weights / least, limit), 1.0).astype(np.int64)
    # The quotient is rounded; the condition that must hold is on the parts.
    while (fewer := (numbers > 1) & (weights / numbers < least)).any():
        numbers = numbers - fewer
    while (more := (numbers < limit) & (weights / (numbers + 1) >= least)).any():
        numbers = numbers + more
    return numbers


def max_clones(weights: Floats, pmin: float, limit: int) -> Ints:
    """How many children besides itself each walker can have, none lighter than pmin, up to
    `limit`."""
    return max_parts(weights, pmin, limit + 1) - 1


def clone_heaviest(weights: Floats, which: Ints, most: Ints, wanted: Ints) -> Ints:
    """How many children besides itself each walker gets, shape (n,): in each region those with the
    heaviest children are cloned again and again.

    Ties go to the lower index.

    Parameters
    ----------
    weights, which, most : ndarrays, shape (n,)
        Of each walker its weight, its region, and the most children besides itself.
    wanted : ndarray, shape (k,)
        How many are made in each region, no more than all `most` there.
    """
    most = np.where(wanted[which] > 0, most, 0)
    if not most.any():
        return most
    # A walker's children weigh a half, a third, … of it: in each region the heaviest of all these
    # are made. Down to this level there would be enough, if none had as many as it may.
    level = np.bincount(which, weights) / (wanted + np.bincount(which))
    while True:
        enough = np.minimum(weights / level[which], most).astype(np.int64)
        lacking = np.bincount(which, enough) < wanted
        if not lacking.any():
            break
        level[lacking] /= 2
    numbers = np.minimum(weights / (_BIT_LOWER * level[which]), most).astype(np.int64)
    who = np.repeat(np.arange(len(weights)), numbers)
    divisor = np.arange(len(who)) - np.repeat(np.cumsum(numbers) - numbers, numbers) + 1
    who = who[np.lexsort((who, -weights[who] / divisor, which[who]))]
    place = np.arange(len(who)) - np.searchsorted(which[who], which[who])
    return np.bincount(who[place < wanted[which[who]]], minlength=len(weights))


def merge_lightest(
    weights: Sequence[float], numbers: Sequence[int], wanted: int, most: float
) -> Merges:
    """What comes of merging the two lightest walkers again and again, up to `wanted` times.

    It ends before the first that would be heavier than `most`. What was merged weighs the correctly
    rounded sum of its members. Ties go to the lowest number.

    Parameters
    ----------
    weights, numbers : of the walkers, by ascending weight, then number
    """
    wanted = min(wanted, len(weights) - 1)
    # Each merge takes two walkers at most.
    weights, numbers = weights[: 2 * wanted], numbers[: 2 * wanted]
    found = _many_at_once(weights, numbers, wanted, most) if wanted > _MANY else None
    if found is not None:
        return found
    heap: list[tuple[float, int, tuple[float, ...]]]
    heap = [(weight, idx, (weight,)) for weight, idx in zip(weights, numbers, strict=True)]
    made: Merges = []
    for _ in range(wanted):
        _, one, members = heapq.heappop(heap)
        _, other, more = heap[0]
        weight = math.fsum(members + more)
        if weight > most:
            break
        low, high = (one, other) if one < other else (other, one)
        heapq.heapreplace(heap, (weight, low, members + more))
        made.append((low, high, weight))
    return made


def _many_at_once(
    weights: Sequence[float], numbers: Sequence[int], wanted: int, most: float
) -> Merges | None:
    """As `merge_lightest`: all that are lighter than the two lightest together are merged in pairs.

    Sums are kept to twice the precision; None where that does not hold them exactly.
    """
    # Weight, what it lacks, and lowest number: of the walkers, ascending, and of all else.
    walkers = (np.array(weights), np.zeros(len(weights)), np.array(numbers, np.int64))
    loose = tuple(each[:0] for each in walkers)
    begin, made, full = 0, list[tuple[int, int, float]](), False
    while len(made) < wanted and not full:
        heads = np.concatenate([walkers[0][begin : begin + 2], loose[0]])
        one, two = np.partition(heads, 1)[:2]
        # None of the sums to come is below this.
        bound = (one + two) * _BIT_LOWER
        many = bool(two < bound)
        end = int(np.searchsorted(walkers[0], bound if many else two, "left" if many else "right"))
        near = loose[0] < bound if many else loose[0] <= two
        high, rest, low = (
            np.concatenate([one[begin:end], other[near]])
            for one, other in zip(walkers, loose, strict=True)
        )
        begin = max(begin, end)
        order = np.lexsort((low, high))
        pairs = min(len(order) // 2 if many else 1, wanted - len(made))
        first, second, left = order[0 : 2 * pairs : 2], order[1 : 2 * pairs : 2], order[2 * pairs :]
        total, error = _two_sum(high[first], high[second])
        small, lost = _two_sum(rest[first], rest[second])
        small, lost_too = _two_sum(error, small)
        if lost.any() or lost_too.any():
            return None
        total, small = _two_sum(total, small)
        over = total > most
        full = bool(over.any())
        lows, highs = np.minimum(low[first], low[second]), np.maximum(low[first], low[second])
        more = [*zip(lows.tolist(), highs.tolist(), total.tolist(), strict=True)]
        made += more[: int(over.argmax())] if full else more
        loose = tuple(
            np.concatenate([old[~near], here[left], new])
            for old, here, new in zip(loose, (high, rest, low), (total, small, lows), strict=True)
        )
    return made


def _two_sum(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """The sum as it is rounded, and what is lacking, exactly (Knuth)."""
    total = one + other
    part = total - one
    return total, (one - (total - part)) + (other - part)


class Regions:
    """Walkers by the region that each is in, and what can be merged and cloned there.

    Parameters
    ----------
    weights : ndarray, shape (n,)
    which : ndarray, shape (n,)
        The region of each walker, from 0 on; none of them is empty.
    pmin, pmax : float
        Bounds on the weights that cloning and merging may make.
    limit : int
        Most clones of a walker.

    Attributes
    ----------
    counts, merges, clones : ndarrays, shape (k,)
        Of each region, how many walkers there are, can be merged away, and can be added.
    """

    def __init__(self, weights: Floats, which: Ints, pmin: float, pmax: float, limit: int) -> None:
        self._weights, self._which, self._pmax = weights, which, pmax
        self._most = max_clones(weights, pmin, limit)
        self.counts = np.bincount(which)
        self.clones = np.bincount(which, self._most).astype(np.int64)
        order = np.lexsort((weights, which))
        self._numbers, self._sorted = order.tolist(), weights[order].tolist()
        self._ends = [0, *np.cumsum(self.counts).tolist()]
        stretches = [slice(*pair) for pair in pairwise(self._ends)]
        self._totals = [math.fsum(self._sorted[each]) for each in stretches]
        self._merges: dict[int, Merges] = {}
        self.merges = self.counts - 1
        for region, total in enumerate(self._totals):
            if total > pmax:
                self._merges[region] = self._merge(region, len(weights))
                self.merges[region] = len(self._merges[region])

    def _merge(self, region: int, wanted: int) -> Merges:
        """The first merges of a region, or all."""
        if region in self._merges:
            return self._merges[region]
        held = slice(*self._ends[region : region + 2])
        return merge_lightest(self._sorted[held], self._numbers[held], wanted, self._pmax)

    def change(
        self, change: Ints, regions: Sequence[int], even: bool = False
    ) -> tuple[list[list[int]], dict[int, int]]:
        """What to merge and clone so that the numbers of walkers change.

        Cloned are the walkers with the heaviest children, merged the two lightest, again and again.

        Parameters
        ----------
        change : ndarray, shape (k,)
            How many more walkers each region is to have, within `merges` and `clones`.
        regions : the order in which their groups are given
        even : bool
            Then also clone once more a walker whose children weigh more than twice the mean, and
            merge the two lightest, if together they weigh no more than the mean, again and again:
            the bounds of Huber & Kim (Biophys. J. 70, 97, 1996).

        Returns
        -------
        groups : walkers to merge into one
        clones : {walker: number of children besides itself}
        """
        wanted = np.maximum(change, 0)
        means = np.array(self._totals) / (self.counts + change)
        more = self._too_heavy(means, wanted) if even else np.zeros_like(change)
        found: dict[int, list[list[int]]] = {}
        for region in np.flatnonzero((change < 0) | (more > 0)).tolist():
            number, further = max(-int(change[region]), 0), int(more[region])
            made = self._merge(region, number + further)
            mean = float(means[region])
            end = number
            while end < min(number + further, len(made)) and made[end][2] <= mean:
                end += 1
            wanted[region] += end - number
            found[region] = _groups(made[:end])
        clones = clone_heaviest(self._weights, self._which, self._most, wanted)
        cloned = np.flatnonzero(clones)
        numbers = dict(zip(cloned.tolist(), clones[cloned].tolist(), strict=True))
        return [group for region in regions for group in found.get(region, ())], numbers

    def _too_heavy(self, means: Floats, wanted: Ints) -> Ints:
        """How many more clones than `wanted` would be made in each region, until no children weigh
        more than twice the mean, or half of them less than pmin."""
        twice = 2 * means[self._which]
        heavy = np.flatnonzero(self._weights > twice)
        parts = max_parts(self._weights[heavy], np.nextafter(twice[heavy], np.inf), 1 << 62)
        # The heaviest children are the first to be cloned: those wanted are among these.
        every = np.bincount(self._which[heavy], np.minimum(parts, self._most[heavy]), len(wanted))
        left: Ints = np.maximum(every.astype(np.int64) - wanted, 0)
        return left


def _groups(merges: Merges) -> list[list[int]]:
    """The walkers of each group, ascending."""
    members: dict[int, list[int]] = {}
    for low, high, _ in merges:
        members.setdefault(low, [low]).extend(members.pop(high, (high,)))
    return sorted(map(sorted, members.values()))
