"""The variation of an ensemble, kept up to date while walkers are cloned and merged.

With copies n_i of walker i (0 once it is merged away), D_ij = (d_ij / d_0)**alpha
and m_i = n_i phi_i, the variation is V = m . (D m). A move changes a few m_i by
known amounts, so its effect on V takes the D between these walkers and
U = D m, which is kept: trying a move costs O(1), making it O(n).

Sums are numpy's own and not the linear algebra library's, whose results
depend on the processor and on its number of threads (R1).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Floats

#: How the pair to merge is chosen.
MERGE_RULES = ("pairs", "greedy")

#: Rows of the matrix of pairs looked at together; doubled as long as the search goes on.
_ROWS = 16
#: A change of V by less than this part of it may be rounding alone.
_NOISE = 1e-12


class Variation:
    """Walkers on their way through a resampling.

    Parameters
    ----------
    weights : ndarray, shape (n,)
    distances : ndarray, shape (n, n), symmetric, 0 on the diagonal
    merge_dist, char_dist : float, unit of the distances
    dist_exponent : float
    novelty_floor : float or None
        phi = max(0, ln(weight / novelty_floor)); None for phi = 1.
    pmin, pmax : float
    """

    def __init__(
        self,
        weights: Floats,
        distances: Floats,
        *,
        merge_dist: float,
        char_dist: float,
        dist_exponent: float,
        novelty_floor: float | None,
        pmin: float,
        pmax: float,
    ) -> None:
        n_walkers = len(weights)
        #: Weight of each walker's group, 0 once it is merged away; its children are in `copies`.
        self.weights = weights.astype(np.float64)
        self.copies = np.ones(n_walkers, dtype=np.int64)
        self._pmin = pmin
        self._pmax = pmax
        self._log_floor = None if novelty_floor is None else math.log(novelty_floor)
        self._distances = distances
        self._scaled = _power(distances / char_dist, dist_exponent)
        self._novelty = np.array([self._phi(weight) for weight in self.weights.tolist()])
        self._masses = self._novelty.copy()
        self._pull = (self._scaled * self._masses).sum(axis=1)
        #: V as it is now; rounding adds up in it, see `total`.
        self.value = math.fsum((self._masses * self._pull).tolist())
        self._can_clone = self.weights / 2 >= pmin
        # Walkers that may still be merged, which pairs of these may be (this only ever turns from
        # True to False), and with how many others each may be.
        self._free = np.ones(n_walkers, dtype=bool)
        self._mergeable = distances < merge_dist
        if n_walkers and 2 * float(self.weights.max()) > pmax:
            self._mergeable &= self.weights[:, np.newaxis] + self.weights <= pmax
        np.fill_diagonal(self._mergeable, False)
        self._n_partners = self._mergeable.sum(axis=1)

    def _phi(self, weight: float) -> float:
        if self._log_floor is None:
            return 1.0
        return max(0.0, math.log(weight) - self._log_floor)

    def total(self) -> float:
        """V, summed anew."""
        pull = (self._scaled * self._masses).sum(axis=1)
        return math.fsum((self._masses * pull).tolist())

    def walker_variations(self) -> Floats:
        """V_i of one child of each walker, shape (n,)."""
        variations: Floats = self._novelty * self._pull
        return variations

    def cloned(self) -> NDArray[np.int64]:
        """The walkers with more than one copy, ascending."""
        return np.flatnonzero(self.copies > 1)

    def best_to_clone(self, variations: Floats) -> int | None:
        """The walker of highest V_i that may be cloned once more; None if there is none."""
        possible = np.where(self._can_clone, variations, -np.inf)
        best = int(possible.argmax())
        return best if self._can_clone[best] else None

    def best_to_merge(self, variations: Floats, rule: str, cloned: int) -> tuple[int, int] | None:
        """The pair to merge by one of `MERGE_RULES`, walker `cloned` left out; None if none may."""
        was_free, self._free[cloned] = bool(self._free[cloned]), False
        try:
            values = np.where(self._free & (self._n_partners > 0), variations, np.inf)
            choose = self._closest_pair if rule == "greedy" else self._cheapest_pair
            return choose(values)
        finally:
            self._free[cloned] = was_free

    def _closest_pair(self, values: Floats) -> tuple[int, int] | None:
        """The walker of lowest V_i that has a partner, and the closest of these."""
        while True:
            walker = int(values.argmin())
            if values[walker] == np.inf:
                return None
            partners = np.flatnonzero(self._mergeable[walker] & self._free)
            if len(partners):
                return walker, int(partners[self._distances[walker, partners].argmin()])
            # Its only partner is the walker to be cloned.
            values[walker] = np.inf

    def _cheapest_pair(self, values: Floats) -> tuple[int, int] | None:
        """The pair with the smallest (w_j V_i + w_i V_j) / (w_i + w_j).

        That is a mean of V_i and V_j, so it is no less than the smaller of them: once a pair
        is found, only walkers whose V_i is below its cost can be in a cheaper one.
        """
        first = int(values.argmin())
        if values[first] == np.inf:
            return None
        cost, pair = self._cheapest_of(np.array([first]), values)
        others = np.flatnonzero(values < cost)
        others = others[others != first]
        if len(others) > _ROWS:
            others = others[np.argsort(values[others], kind="stable")]
        start, rows = 0, _ROWS
        while start < len(others) and values[others[start]] < cost:
            found, other_pair = self._cheapest_of(others[start : start + rows], values)
            if found < cost:
                cost, pair = found, other_pair
            start, rows = start + rows, rows * 2
        return pair

    def _cheapest_of(
        self, walkers: NDArray[np.int64], values: Floats
    ) -> tuple[float, tuple[int, int] | None]:
        """What the cheapest pair with one of `walkers` costs, and which it is."""
        rows, partners = np.nonzero(self._mergeable[walkers] & self._free)
        if not len(rows):
            return np.inf, None
        row_walkers = walkers[rows]
        w_i, w_j = self.weights[row_walkers], self.weights[partners]
        costs = (w_j * values[row_walkers] + w_i * values[partners]) / (w_i + w_j)
        best = int(costs.argmin())
        return float(costs[best]), (int(row_walkers[best]), int(partners[best]))

    def _new_novelties(self, cloned: int, kept: int, squashed: int) -> tuple[float, float]:
        """phi of one child of `cloned`, and of the merged walker, after the moves."""
        child = float(self.weights[cloned]) / (int(self.copies[cloned]) + 1)
        return self._phi(child), self._phi(float(self.weights[kept] + self.weights[squashed]))

    def expected_gain(self, cloned: int, walker_a: int, walker_b: int) -> float:
        """By how much cloning `cloned` and merging a with b changes V, on average over
        which of these survives."""
        child, merged = self._new_novelties(cloned, walker_a, walker_b)
        trio = [cloned, walker_a, walker_b]
        m_c, m_a, m_b = self._masses[trio].tolist()
        u_c, u_a, u_b = self._pull[trio].tolist()
        d_ca, d_cb = self._scaled[cloned, [walker_a, walker_b]].tolist()
        d_ab = float(self._scaled[walker_a, walker_b])
        more = (int(self.copies[cloned]) + 1) * child - m_c

        def gain(of_a: float, of_b: float) -> float:
            """2 delta . U + delta . D delta for these changes of m."""
            linear = more * u_c + of_a * u_a + of_b * u_b
            crossed = more * of_a * d_ca + more * of_b * d_cb + of_a * of_b * d_ab
            return float(2 * (linear + crossed))

        w_a, w_b = self.weights[[walker_a, walker_b]].tolist()
        keep_a, keep_b = gain(merged - m_a, -m_b), gain(-m_a, merged - m_b)
        return float((w_a * keep_a + w_b * keep_b) / (w_a + w_b))

    def is_gain(self, gain: float) -> bool:
        """Whether `gain` raises V by more than rounding can."""
        return gain > _NOISE * self.value

    def carry_out(self, cloned: int, kept: int, squashed: int) -> None:
        """Clone `cloned` once more and merge `squashed` into `kept`."""
        child, merged = self._new_novelties(cloned, kept, squashed)
        copies = int(self.copies[cloned]) + 1
        for idx, mass, novelty in (
            (cloned, copies * child, child),
            (kept, merged, merged),
            (squashed, 0.0, 0.0),
        ):
            delta, row = mass - float(self._masses[idx]), self._scaled[idx]
            self.value += 2 * delta * float(self._pull[idx])
            self._pull += delta * row
            self._masses[idx], self._novelty[idx] = mass, novelty
        self.weights[kept] += self.weights[squashed]
        self.weights[squashed] = 0.0
        self.copies[cloned], self.copies[squashed] = copies, 0
        self._can_clone[cloned] = float(self.weights[cloned]) / (copies + 1) >= self._pmin
        self._can_clone[[kept, squashed]] = False
        for gone in (cloned, squashed):
            if self._free[gone]:
                self._free[gone] = False
                self._n_partners -= self._mergeable[gone]
        too_heavy = self._mergeable[kept] & (self.weights[kept] + self.weights > self._pmax)
        if too_heavy.any():
            self._mergeable[kept, too_heavy] = False
            self._mergeable[too_heavy, kept] = False
            self._n_partners -= too_heavy
            self._n_partners[kept] -= int((too_heavy & self._free).sum())


def _power(base: Floats, exponent: float) -> Floats:
    """base**exponent in place; 2, 4 and 8 by squaring, which is fast and the same everywhere."""
    if exponent in (2.0, 4.0, 8.0):
        while exponent > 1:
            np.multiply(base, base, out=base)
            exponent /= 2
        return base
    return np.power(base, exponent, out=base)
