"""From "merge these, clone those" to records: what clone-and-merge resamplers share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Floats, weights_of
from wepystore.engine.errors import NeverResamplesError
from wepystore.engine.parameters import real
from wepystore.engine.record_fields import Ragged, RecordColumns
from wepystore.engine.resamplers.base import Resampler
from wepystore.engine.resamplers.decision import Decision, DecisionError, first_true

#: Without a pmax, a walker may come to weigh as much as so many equal ones.
_EQUAL_WALKERS = 5.0
#: Two to merge, and one to clone into the slot that is freed.
_FEWEST_WALKERS = 3
#: Where only pmax is to forbid anything.
_TINY = 1e-300


def assign_slots(
    n_walkers: int, merges: Mapping[int, Sequence[int]], clones: Mapping[int, int]
) -> RecordColumns:
    """Records that carry out `merges` and `clones`, every survivor staying in its own slot.

    Freed slots are given out in ascending order to the cloned walkers in ascending order.

    Parameters
    ----------
    n_walkers : int
    merges : {kept walker: the walkers squashed into it}
    clones : {walker: number of children besides itself}

    Returns
    -------
    records : one per walker, with decision_id (1,), target_idxs, step_idx (1,)
        and walker_idx (1,), all int64

    Raises
    ------
    DecisionError : as many slots are freed as are not needed, or a walker is
        both cloned and merged, or squashed twice.
    """
    merges = {kept: squashed for kept, squashed in merges.items() if len(squashed)}
    kept = np.fromiter(merges, np.int64)
    freed = np.fromiter(chain.from_iterable(merges.values()), np.int64)
    involved = np.bincount(np.concatenate([kept, freed]), minlength=n_walkers)
    twice = first_true(involved > 1)
    if twice is not None:
        raise DecisionError(reason=f"walker {twice} is in two merge groups")
    needed = sum(clones.values())
    if needed != len(freed):
        raise DecisionError(
            reason=f"{needed} clones are asked for but merging frees {len(freed)} slots"
        )
    lengths = np.ones(n_walkers, np.int64)
    lengths[np.fromiter(clones, np.int64)] += np.fromiter(clones.values(), np.int64)
    both = first_true((lengths > 1) & (involved > 0))
    if both is not None:
        raise DecisionError(reason=f"walker {both} is both cloned and merged")
    decisions = np.where(lengths > 1, int(Decision.CLONE), int(Decision.NOTHING))
    decisions[kept] = Decision.KEEP_MERGE
    decisions[freed] = Decision.SQUASH
    own = np.arange(n_walkers)
    first_slots = own.copy()
    first_slots[freed] = np.repeat(kept, np.fromiter(map(len, merges.values()), np.int64))
    # Each walker's first slot is where its values begin; all the others are the freed ones.
    others = np.ones(n_walkers + len(freed), np.bool_)
    others[np.cumsum(lengths) - lengths] = False
    targets = np.empty(len(others), np.int64)
    targets[~others], targets[others] = first_slots, np.sort(freed)
    return RecordColumns(
        decision_id=decisions.reshape(-1, 1),
        target_idxs=Ragged(targets, lengths),
        step_idx=np.zeros((n_walkers, 1), np.int64),
        walker_idx=own.reshape(-1, 1),
    )


def told(records: Sequence[dict[str, Any]], **more: NDArray[Any]) -> Sequence[dict[str, Any]]:
    """The records with `more` fields, a row for each walker."""
    if isinstance(records, RecordColumns) and records.columns is not None:
        return RecordColumns(**records.columns, **more)
    for name, column in more.items():
        for record, value in zip(records, column, strict=True):
            record[name] = value
    return records


class CloneMergeResampler(Resampler):
    """Base of the resamplers that keep each weight a walker is given within bounds.

    Parameters
    ----------
    pmin : float, > 0
        No walker is cloned into children lighter than this.
    pmax : float, in (pmin, 1], or None
        No walkers are merged into one heavier than this. None leaves it to the
        number of walkers: see `highest_weight`.
    """

    #: The least that `pmax` is where the number of walkers says what it is.
    LEAST_PMAX: ClassVar[float] = 0.1

    def __init__(self, pmin: float = 1e-12, pmax: float | None = None) -> None:
        self.pmin = real(pmin, "pmin")
        self.pmax = None if pmax is None else real(pmax, "pmax")
        highest = self.LEAST_PMAX if self.pmax is None else self.pmax
        if not 0.0 < self.pmin < highest <= 1.0:
            raise ValueError(f"0 < pmin < pmax <= 1 is needed, got pmin={pmin} and pmax={highest}")

    def highest_weight(self, n_walkers: int) -> float:
        """No walkers are merged into one heavier than this: `pmax`, or where that is None, what
        five of `n_walkers` equal walkers weigh, at least `LEAST_PMAX` and at most 1.

        A fixed bound forbids every merge, and with it every clone, to walkers that are
        few: below 0.1, two of fewer than 20 equal ones cannot be merged.
        """
        if self.pmax is not None:
            return self.pmax
        return min(1.0, max(self.LEAST_PMAX, _EQUAL_WALKERS / n_walkers))

    def check_start(self, weights: Floats) -> None:
        """Refuse walkers that no choice of merges and clones is open to, wherever they go.

        Every clone needs a slot that a merge of two others frees. As long as that
        is impossible no weight changes, so what is impossible at first stays so.

        Raises
        ------
        NeverResamplesError : there are fewer than three walkers, the two lightest together are
            heavier than pmax, or half of the heaviest is lighter than pmin.
        """
        ascending = np.sort(weights)
        n_walkers = len(ascending)
        highest = self.highest_weight(n_walkers)
        if n_walkers < _FEWEST_WALKERS:
            number = "there is only one" if n_walkers == 1 else f"there are only {n_walkers}"
            reason = f"{number}, and a clone takes the slot of one of two others that are merged"
            raise self._never(reason, f"start from {_FEWEST_WALKERS} walkers at least, better tens")
        lightest = float(ascending[0] + ascending[1])
        if lightest > highest:
            reason = (
                f"the two lightest of the {n_walkers} weigh {lightest:.6g} together, more than "
                f"pmax={highest:.6g}"
            )
            rule = min(1.0, max(self.LEAST_PMAX, _EQUAL_WALKERS / n_walkers))
            way_out = f"leave pmax out (it is then {rule:.3g} for {n_walkers} walkers), or raise it"
            raise self._never(reason, way_out)
        child = float(ascending[-1]) / 2
        if child < self.pmin:
            reason = f"half of the heaviest weighs {child:.6g}, less than pmin={self.pmin:.6g}"
            raise self._never(reason, "lower pmin")

    def why_still(self, walkers: Sequence[Any]) -> str | None:
        """Which bound forbids what it would do, if one does."""
        n_walkers = len(walkers)
        try:
            self.check_start(weights_of(walkers))
        except NeverResamplesError as error:
            return str(error)
        highest = self.highest_weight(n_walkers)
        if self.would_act(walkers, self.pmin, highest):
            return None
        bounds = []
        if self.would_act(walkers, self.pmin, math.inf):
            bounds.append(f"pmax={highest:.3g}")
        if self.would_act(walkers, _TINY, highest):
            bounds.append(f"pmin={self.pmin:.3g}")
        if not bounds and self.would_act(walkers, _TINY, math.inf):
            bounds = [f"pmin={self.pmin:.3g}", f"pmax={highest:.3g}"]
        if not bounds:
            return None
        return f"{type(self).__name__} would clone and merge, but {' and '.join(bounds)} forbids it"

    def would_act(self, walkers: Sequence[Any], pmin: float, pmax: float) -> bool:
        """Whether it would clone or merge any of `walkers` under these bounds.

        Nothing is drawn and nothing changed by asking. False where a resampler does not say.
        """
        return False

    def _never(self, reason: str, way_out: str) -> NeverResamplesError:
        return NeverResamplesError(resampler=type(self).__name__, reason=reason, way_out=way_out)

    def draw_survivor(self, weights: Sequence[float]) -> int:
        """Index of the member of a merge group whose state is kept.

        Drawn with probability proportional to weight: the expected weighted mean of
        any observable is then the same before and after the merge, which is what
        keeps the ensemble unbiased (Huber & Kim, Biophys. J. 70, 97, 1996).
        """
        cumulative = list(accumulate(weights))
        drawn = bisect_right(cumulative, self.rng.random() * cumulative[-1])
        # The product can round up to the total itself.
        return min(drawn, len(cumulative) - 1)

    def settle(
        self,
        weights: Sequence[float],
        groups: Sequence[Sequence[int]],
        clones: Mapping[int, int],
    ) -> RecordColumns:
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
