"""From "merge these, clone those" to records: what clone-and-merge resamplers share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from wepystore.engine.parameters import real
from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.decision import Decision, DecisionError


def draw_survivor(weights: Sequence[float], rng: np.random.Generator) -> int:
    """Index of the member of a merge group whose state is kept.

    Drawn with probability proportional to weight: the expected weighted mean of
    any observable is then the same before and after the merge, which is what
    keeps the ensemble unbiased (Huber & Kim, Biophys. J. 70, 97, 1996).
    """
    cumulative = list(accumulate(weights))
    drawn = bisect_right(cumulative, rng.random() * cumulative[-1])
    # The product can round up to the total itself.
    return min(drawn, len(cumulative) - 1)


def assign_slots(
    n_walkers: int, merges: Mapping[int, Sequence[int]], clones: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Records that carry out `merges` and `clones`, every survivor staying in its own slot.

    Freed slots are given out in ascending order to the cloned walkers in ascending order.

    Parameters
    ----------
    n_walkers : int
    merges : {kept walker: the walkers squashed into it}
    clones : {walker: number of children besides itself}

    Returns
    -------
    records : list of dict, one per walker, with decision_id (1,), target_idxs,
        step_idx (1,) and walker_idx (1,), all int64

    Raises
    ------
    DecisionError : as many slots are freed as are not needed, or a walker is
        both cloned and merged, or squashed twice.
    """
    decisions = np.full((n_walkers, 1), int(Decision.NOTHING), dtype=np.int64)
    own = list(np.arange(n_walkers, dtype=np.int64).reshape(n_walkers, 1))
    targets: list[np.ndarray] = own.copy()
    freed: list[int] = []
    involved: set[int] = set()
    for kept, squashed in merges.items():
        if not squashed:
            continue
        for walker_idx in (kept, *squashed):
            if walker_idx in involved:
                raise DecisionError(reason=f"walker {walker_idx} is in two merge groups")
            involved.add(walker_idx)
        decisions[kept] = Decision.KEEP_MERGE
        for walker_idx in squashed:
            decisions[walker_idx] = Decision.SQUASH
            targets[walker_idx] = own[kept]
        freed.extend(squashed)
    needed = sum(clones.values())
    if needed != len(freed):
        raise DecisionError(
            reason=f"{needed} clones are asked for but merging frees {len(freed)} slots"
        )
    freed.sort()
    given = 0
    for walker_idx in sorted(clones):
        number = clones[walker_idx]
        if not number:
            continue
        if walker_idx in involved:
            raise DecisionError(reason=f"walker {walker_idx} is both cloned and merged")
        decisions[walker_idx] = Decision.CLONE
        slots = [walker_idx, *freed[given : given + number]]
        targets[walker_idx] = np.array(slots, dtype=np.int64)
        given += number
    step = np.zeros((n_walkers, 1), dtype=np.int64)
    return [
        {"decision_id": decision, "target_idxs": slots, "step_idx": zero, "walker_idx": walker_idx}
        for decision, slots, zero, walker_idx in zip(decisions, targets, step, own, strict=True)
    ]


class CloneMergeResampler(Resampler):
    """Base of the resamplers that keep each weight a walker is given within bounds.

    Parameters
    ----------
    pmin : float, > 0
        No walker is cloned into children lighter than this.
    pmax : float, in (pmin, 1]
        No walkers are merged into one heavier than this.
    """

    def __init__(self, pmin: float = 1e-12, pmax: float = 0.1) -> None:
        self.pmin = real(pmin, "pmin")
        self.pmax = real(pmax, "pmax")
        if not 0.0 < self.pmin < self.pmax <= 1.0:
            raise ValueError(f"0 < pmin < pmax <= 1 is needed, got pmin={pmin} and pmax={pmax}")

    def draw_survivor(self, weights: Sequence[float]) -> int:
        """Index of the member of a merge group whose state is kept: `draw_survivor`."""
        return draw_survivor(weights, self.rng)

    def settle(
        self,
        weights: Sequence[float],
        groups: Sequence[Sequence[int]],
        clones: Mapping[int, int],
    ) -> list[dict[str, Any]]:
        """Records that merge each of `groups` and make `clones`.

        Parameters
        ----------
        weights : of all walkers
        groups : walkers to merge into one; which of them survives is drawn here
        clones : {walker: number of children besides itself}
        """
        merges: dict[int, list[int]] = {}
        for group in groups:
            if len(group) > 1:
                kept = group[self.draw_survivor([weights[idx] for idx in group])]
                merges[kept] = [idx for idx in group if idx != kept]
        return assign_slots(len(weights), merges, clones)
