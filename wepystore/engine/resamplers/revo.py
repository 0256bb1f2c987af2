"""The REVO resampler: as varied an ensemble as clones and merges can make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.engine.distances.pairwise import all_distances, walker_images
from wepystore.engine.ensemble import Floats, weights_of
from wepystore.engine.parameters import distance_like, positive
from wepystore.engine.record_fields import RecordColumns, Shape
from wepystore.engine.resamplers.base import Resampled
from wepystore.engine.resamplers.clone_merge import CloneMergeResampler, assign_slots
from wepystore.engine.resamplers.decision import apply_decisions
from wepystore.engine.resamplers.variation import MERGE_RULES, Variation


class REVOResampler(CloneMergeResampler):
    """Clones and merges for as long as that raises the variation of the ensemble.

    REVO (Donyapour, Roussey & Dickson, J. Chem. Phys. 150, 244112, 2019). There
    are no regions; the variation

        V = sum_i V_i,    V_i = sum_{j != i} (d_ij / char_dist)**dist_exponent phi_i phi_j

    is raised, one pair of moves at a time: the walker with the highest V_i
    whose children would not be lighter than pmin is cloned, and two walkers
    closer than `merge_dist` that together weigh at most pmax are merged into
    one. The moves are made if they are expected to raise V, the expectation
    being over which of the two survives; that one is then drawn with
    probability proportional to weight. phi_i = ln(w_i) - ln(pmin / 100), at
    least 0, w_i being the weight of one child where walker i is cloned. A
    walker may be cloned, and may swallow others, any number of times, but not both.

    The sum runs over both orders of a pair; wepy records half of it.

    Parameters
    ----------
    distance : Distance
        Measures how far states are apart; symmetric, 0 between equal states.
    merge_dist : float
        Walkers are merged only if closer than this; unit of the distance.
    char_dist : float
        Makes distances dimensionless: about the mean distance between walkers
        after one cycle; unit of the distance. It scales V and decides nothing.
    dist_exponent : float, > 0
        How much distances count against weights.
    weights : bool
        False: phi = 1 for every walker, its weight does not matter.
    merge_alg : "pairs" or "greedy"
        Which walkers are merged. "pairs": the two whose merging is expected to
        lose the least variation, (w_j V_i + w_i V_j) / (w_i + w_j). "greedy":
        the walker of the lowest V_i that can be merged, with the one closest to it.
    pmin : float
        No walker is cloned into children lighter than this.
    pmax : float or None
        No walkers are merged into one heavier than this; None: what five equal
        walkers weigh, at least 0.1.
    """

    # One record per resampling. The layout of HDF5 files wants rank 1: the matrix goes in flat.
    RESAMPLER_FIELDS: ClassVar[tuple[str, ...]] = ("num_walkers", "distance_matrix", "variation")
    RESAMPLER_SHAPES: ClassVar[tuple[Shape, ...]] = ((1,), Ellipsis, (1,))
    RESAMPLER_DTYPES: ClassVar[tuple[type, ...]] = (int, float, float)
    RESAMPLER_RECORD_FIELDS: ClassVar[tuple[str, ...]] = ("variation",)

    def __init__(
        self,
        distance: Any,
        merge_dist: float,
        char_dist: float,
        dist_exponent: float = 4,
        weights: bool = True,
        merge_alg: str = "pairs",
        pmin: float = 1e-12,
        pmax: float | None = None,
    ) -> None:
        super().__init__(pmin=pmin, pmax=pmax)
        self.distance = distance_like(distance)
        self.merge_dist = positive(merge_dist, "merge_dist")
        self.char_dist = positive(char_dist, "char_dist")
        self.dist_exponent = positive(dist_exponent, "dist_exponent")
        self.weights = bool(weights)
        self.merge_alg = merge_alg
        if merge_alg not in MERGE_RULES:
            raise ValueError(f"merge_alg must be one of {MERGE_RULES}, got {merge_alg!r}")
        self._last: tuple[int, float, float] | None = None

    @property
    def lpmin(self) -> float:
        """The logarithm that novelties of weights are counted from."""
        return float(np.log(self.pmin / 100))

    @property
    def seed(self) -> None:
        """None: wepy's dashboard shows it; a run's seed is the run's."""
        return None

    def resample(self, walkers: Sequence[Any]) -> Resampled:
        """Measure all distances, decide and carry out.

        Returns
        -------
        walkers : as many as before
        resampling_data : per walker decision_id, target_idxs, step_idx, walker_idx
        resampler_data : one record with num_walkers (1,), distance_matrix
            (n * n,) before resampling, in the unit of the distance, and
            variation (1,) after it

        Raises
        ------
        ValueError : there are no walkers.
        NotADistanceError : a distance is not a finite number.
        """
        if not walkers:
            raise ValueError("there are no walkers to resample")
        images = walker_images(self.distance, walkers)
        distances = all_distances(self.distance, images)
        weights = weights_of(walkers)
        records, before, after = self.decide(weights, distances)
        self._last = (len(walkers), before, after)
        change = {
            "num_walkers": np.array([len(walkers)], dtype=np.int64),
            "distance_matrix": distances.ravel(),
            "variation": np.array([after]),
        }
        return apply_decisions(walkers, records), records, [change]

    def decide(self, weights: Floats, distances: Floats) -> tuple[RecordColumns, float, float]:
        """What becomes of each walker.

        Parameters
        ----------
        weights : ndarray, shape (n,)
        distances : ndarray, shape (n, n), symmetric, unit of the distance

        Returns
        -------
        records : one per walker
        before, after : float, the variation without and with them
        """
        highest = self.highest_weight(len(weights))
        variation = self._variation(weights, distances, self.pmin, highest, self.merge_dist)
        before = variation.value
        members: dict[int, list[int]] = {}
        while True:
            each = variation.walker_variations()
            move = self._move(variation, each)
            if move is None:
                break
            cloned, pair = move
            chosen = self.draw_survivor(variation.weights[list(pair)].tolist())
            kept, squashed = pair[chosen], pair[1 - chosen]
            variation.carry_out(cloned, kept, squashed)
            members.setdefault(kept, []).extend([squashed, *members.pop(squashed, [])])
        clones = {int(idx): int(variation.copies[idx]) - 1 for idx in variation.cloned()}
        records = assign_slots(len(weights), members, clones)
        return records, before, variation.total()

    def _variation(
        self, weights: Floats, distances: Floats, pmin: float, pmax: float, merge_dist: float
    ) -> Variation:
        return Variation(
            weights,
            distances,
            merge_dist=merge_dist,
            char_dist=self.char_dist,
            dist_exponent=self.dist_exponent,
            novelty_floor=self.pmin / 100 if self.weights else None,
            pmin=pmin,
            pmax=pmax,
        )

    def _move(self, variation: Variation, each: Floats) -> tuple[int, tuple[int, int]] | None:
        """The next walker to clone and pair to merge, if that raises the variation."""
        cloned = variation.best_to_clone(each)
        if cloned is None:
            return None
        pair = variation.best_to_merge(each, self.merge_alg, cloned)
        if pair is None or not variation.is_gain(variation.expected_gain(cloned, *pair)):
            return None
        return cloned, pair

    def would_act(self, walkers: Sequence[Any], pmin: float, pmax: float) -> bool:
        """Whether a clone and a merge within these bounds would raise the variation."""
        return self._would_act(walkers, pmin, pmax, self.merge_dist)

    def _would_act(
        self, walkers: Sequence[Any], pmin: float, pmax: float, merge_dist: float
    ) -> bool:
        distances = all_distances(self.distance, walker_images(self.distance, walkers))
        variation = self._variation(weights_of(walkers), distances, pmin, pmax, merge_dist)
        return self._move(variation, variation.walker_variations()) is not None

    def why_still(self, walkers: Sequence[Any]) -> str | None:
        """Besides, whether no two walkers are close enough to merge."""
        why = super().why_still(walkers)
        if why is None:
            bounds = (self.pmin, self.highest_weight(len(walkers)))
            if self._would_act(walkers, *bounds, np.inf) and not self.would_act(walkers, *bounds):
                why = (
                    f"{type(self).__name__} would clone and merge, but no walkers that may be "
                    f"merged are closer than merge_dist={self.merge_dist:g}"
                )
        return why

    def summary(self) -> dict[str, str]:
        """The variation before and after the last resampling."""
        if self._last is None:
            return {"variation": "none yet"}
        _, before, after = self._last
        return {"variation": f"{after:.4g}, {before:.4g} before resampling"}
