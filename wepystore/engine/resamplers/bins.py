"""Fixed bins over a progress coordinate, each with its share of the walkers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wepystore.engine.distances.coordinate import walker_coordinates
from wepystore.engine.ensemble import Floats, weights_of
from wepystore.engine.parameters import coordinate_like, listed
from wepystore.engine.protocols import name_of
from wepystore.engine.resamplers.base import Resampled
from wepystore.engine.resamplers.clone_merge import CloneMergeResampler, told
from wepystore.engine.resamplers.decision import apply_decisions
from wepystore.engine.resamplers.groups import Ints, Regions


class BinResampler(CloneMergeResampler):
    """Keeps walkers in every bin that any has reached, in fixed proportions.

    Weighted ensemble on fixed bins (Huber & Kim, Biophys. J. 70, 97, 1996).
    The number of walkers stays what it is: the bins that hold walkers share
    it in proportion to their target counts, at least one each, as evenly as
    whole numbers, pmin and pmax allow. A bin with too few walkers clones its
    heaviest, one with too many merges its two lightest, again and again; then
    walkers heavier than twice the bin's mean are cloned as long as two that
    weigh no more than the mean together can be merged in exchange. Only
    walkers of one bin are merged.

    With d numbers to the coordinate, bins are the cells of a d-dimensional
    grid, numbered with the last number running fastest.

    Parameters
    ----------
    coordinate : function of a state, or ProgressCoordinate
        Its unit is that of the edges. A user's own function is kept as a
        pickle. Without edges it gives each state's bin itself, as a whole number >= 0.
    edges : list of float, or list of lists of float, or None
        Ascending. n edges make n + 1 bins, the outer two without an end; a
        state on an edge is in the bin above it. A list for each number of the coordinate.
    target_count : int > 0, or a list of them, one per bin
        How many walkers each bin should have when all bins are reached. The
        shares of the bins that are reached keep these proportions; with one
        number for all, they are equal.
    pmin : float
        No walker is cloned into children lighter than this.
    pmax : float or None
        No walkers are merged into one heavier than this; None: what five equal
        walkers weigh, at least 0.5.
    """

    # Of all the weight the bin at the start holds most, with its share of the walkers.
    LEAST_PMAX = 0.5

    RESAMPLING_FIELDS = (*CloneMergeResampler.RESAMPLING_FIELDS, "bin_idx")
    RESAMPLING_SHAPES = (*CloneMergeResampler.RESAMPLING_SHAPES, (1,))
    RESAMPLING_DTYPES = (*CloneMergeResampler.RESAMPLING_DTYPES, int)
    RESAMPLING_RECORD_FIELDS = RESAMPLING_FIELDS

    # One record per resampling; the i-th numbers of all fields belong together.
    RESAMPLER_FIELDS = ("bin_idxs", "bin_weights", "bin_counts")
    RESAMPLER_SHAPES = (Ellipsis, Ellipsis, Ellipsis)
    RESAMPLER_DTYPES = (int, float, int)
    RESAMPLER_RECORD_FIELDS = ()

    def __init__(
        self,
        coordinate: Any,
        edges: Iterable[Any] | None = None,
        target_count: int | Iterable[int] = 4,
        pmin: float = 1e-12,
        pmax: float | None = None,
    ) -> None:
        super().__init__(pmin=pmin, pmax=pmax)
        self.coordinate = coordinate_like(coordinate)
        self.edges = None if edges is None else _edges(edges)
        self._grid = None if self.edges is None else [np.array(line) for line in self.edges]
        self._shape = () if self._grid is None else tuple(len(line) + 1 for line in self._grid)
        #: Number of bins; None where the coordinate gives bins itself.
        self.n_bins = int(np.prod(self._shape)) if self._shape else None
        self.target_count = _targets(target_count, self.n_bins)
        self._last: tuple[Ints, Ints] | None = None

    def bins(self, walkers: Sequence[Any]) -> Ints:
        """The bin of each walker, shape (n,)."""
        values = walker_coordinates(self.coordinate, walkers)
        if self._grid is None:
            return self._labels(values)
        if values.shape[1] != len(self._grid):
            raise ValueError(
                f"edges are given for {len(self._grid)} numbers, but the progress coordinate "
                f"{name_of(self.coordinate)} gives {values.shape[1]}"
            )
        cells = [
            np.searchsorted(line, values[:, axis], side="right")
            for axis, line in enumerate(self._grid)
        ]
        return np.ravel_multi_index(cells, self._shape).astype(np.int64)

    def _labels(self, values: Floats) -> Ints:
        # Of several numbers, none is a bin's.
        labels = values[:, 0] if values.shape[1] == 1 else np.full(len(values), -1.0)
        good = (labels >= 0) & (labels == np.round(labels)) & (labels < 2**53)
        if not good.all():
            raise ValueError(
                f"without edges the coordinate {name_of(self.coordinate)} must give the number of "
                f"the bin, a whole number >= 0, got {values[int(np.argmin(good))].tolist()}"
            )
        if isinstance(self.target_count, tuple) and labels.max() >= len(self.target_count):
            raise ValueError(
                f"target_count is given for {len(self.target_count)} bins, but the coordinate "
                f"{name_of(self.coordinate)} gave bin {int(labels.max())}; bins count from 0"
            )
        return labels.astype(np.int64)

    def resample(self, walkers: Sequence[Any]) -> Resampled:
        """Put the walkers into bins, share them out, decide and carry out.

        Returns
        -------
        walkers : as many as before
        resampling_data : per walker decision_id, target_idxs, step_idx,
            walker_idx, and bin_idx (1,)
        resampler_data : one record with, for each of the k bins that hold
            walkers, bin_idxs (k,), bin_weights (k,) and bin_counts (k,), its
            number of walkers after resampling

        Raises
        ------
        ValueError : there are no walkers, or the coordinate does not fit the edges.
        CoordinateError : a walker's coordinate is not a number.
        """
        if not walkers:
            raise ValueError("there are no walkers to resample")
        bins = self.bins(walkers)
        weights = weights_of(walkers)
        occupied, which = np.unique(bins, return_inverse=True)
        highest = self.highest_weight(len(walkers))
        groups, clones, shares = self._decide(weights, occupied, which, self.pmin, highest)
        records = self.settle(weights.tolist(), groups, clones)
        resampled = apply_decisions(walkers, records)
        self._last = (occupied, shares)
        change = {
            "bin_idxs": occupied,
            "bin_weights": np.bincount(which, weights=weights, minlength=len(occupied)),
            "bin_counts": shares,
        }
        return resampled, told(records, bin_idx=bins.reshape(-1, 1)), [change]

    def _decide(
        self, weights: Floats, occupied: Ints, which: Ints, pmin: float, pmax: float
    ) -> tuple[list[list[int]], dict[int, int], Ints]:
        """(groups to merge, {walker: clones}, walkers of each occupied bin afterwards)."""
        n_walkers = len(weights)
        regions = Regions(weights, which, pmin, pmax, n_walkers - 1)
        current = regions.counts
        if isinstance(self.target_count, tuple):
            targets = np.array(self.target_count, dtype=np.float64)[occupied]
        else:
            targets = np.ones(len(occupied))
        low, high = current - regions.merges, current + regions.clones
        shares = proportional_shares(current, low, high, targets, n_walkers)
        groups, clones = regions.change(shares - current, range(len(occupied)), even=True)
        return groups, clones, shares

    def would_act(self, walkers: Sequence[Any], pmin: float, pmax: float) -> bool:
        """Whether walkers would be shared out anew, or weights evened, within these bounds."""
        occupied, which = np.unique(self.bins(walkers), return_inverse=True)
        groups, clones, _ = self._decide(weights_of(walkers), occupied, which, pmin, pmax)
        return bool(groups or clones)

    def why_still(self, walkers: Sequence[Any]) -> str | None:
        """Besides, whether all walkers are in one bin, or each in one of its own."""
        why = super().why_still(walkers)
        if why is not None:
            return why
        occupied = np.unique(self.bins(walkers))
        if len(occupied) == len(walkers) > 1:
            return (
                "every walker is alone in its bin, and only walkers of one bin are merged; take "
                "more walkers or fewer bins"
            )
        if len(occupied) == 1:
            return (
                f"all walkers are in bin {int(occupied[0])}; if they do not leave it, its edges "
                "may be too far apart for how far walkers get in a cycle"
            )
        return why

    def summary(self) -> dict[str, str]:
        """How many bins hold walkers, and the fewest and most in one."""
        known = {} if self.n_bins is None else {"bins": str(self.n_bins)}
        if self._last is None:
            return {**known, "bins with walkers": "none yet"}
        occupied, shares = self._last
        return {
            **known,
            "bins with walkers": str(len(occupied)),
            "walkers per bin": f"{shares.min()} to {shares.max()}",
        }


def proportional_shares(current: Ints, low: Ints, high: Ints, targets: Floats, total: int) -> Ints:
    """`total` shared out in proportion to `targets`, within low <= share <= high.

    The method of odd numbers (Webster, Sainte-Laguë): one by one, each goes to
    the bin with the highest target / (share + 1/2) that has room. Among equals
    it goes to the bin that now has more than its share, then to the first, so
    that most walkers stay where they are.

    Parameters
    ----------
    current, low, high : ndarray of int, shape (k,), low <= current <= high
    targets : ndarray, shape (k,), whole numbers > 0
    total : int, between sum(low) and sum(high)
    """

    def filled(level: float) -> Ints:
        # The shares at which target / (share + 1/2) has come down to 1 / level.
        wanted = np.floor(np.minimum(level * targets + 0.5, total + 1.0)).astype(np.int64)
        return np.clip(wanted, low, high)

    below, above = 0.0, (total + 1.0) / float(targets.min())
    # Shares change at levels (k + 1/2) / target: two of these are further apart than this.
    resolution = 0.25 / float(targets.max()) ** 2
    while above - below > resolution:
        middle = (below + above) / 2
        if not below < middle < above:
            break
        given = int(filled(middle).sum())
        if given <= total:
            below = middle
        else:
            above = middle
        if given == total:
            break
    shares = filled(below)
    left = total - int(shares.sum())
    # What is left are ties, at most one for each bin.
    waiting = np.flatnonzero(filled(above) > shares)
    stay = current[waiting] > shares[waiting]
    shares[waiting[np.lexsort((waiting, ~stay))][:left]] += 1
    return shares


def _edges(edges: Iterable[Any]) -> tuple[tuple[float, ...], ...]:
    """Edges as one tuple for each number of the coordinate."""
    wrong = f"edges must be a list of numbers, or a list of such lists, got {edges!r}"
    try:
        lines = [np.asarray(line, dtype=np.float64) for line in listed(edges, "edges")]
    except (TypeError, ValueError):
        raise ValueError(wrong) from None
    if lines and all(line.ndim == 0 for line in lines):
        lines = [np.array(lines)]
    checked = []
    for line in lines:
        if line.ndim != 1 or not len(line):
            raise ValueError(wrong)
        if not (np.isfinite(line).all() and (np.diff(line) > 0).all()):
            raise ValueError(f"edges must be finite and ascending, got {line.tolist()}")
        checked.append(tuple(line.tolist()))
    if not checked:
        raise ValueError("edges must hold at least one number; one edge makes two bins")
    return tuple(checked)


def _targets(target_count: Any, n_bins: int | None) -> int | tuple[int, ...]:
    """Target counts, all positive whole numbers, as many as there are bins."""
    try:
        counts = np.asarray(list(target_count) if np.iterable(target_count) else target_count)
    except ValueError:
        counts = np.array(np.nan)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or not counts.size or counts.min() < 1:
        raise ValueError(
            f"target_count must be a positive whole number, or one for each bin, got {target_count}"
        )
    if counts.ndim == 0:
        return int(counts)
    if n_bins is not None and len(counts) != n_bins:
        raise ValueError(f"target_count holds {len(counts)} numbers, but there are {n_bins} bins")
    return tuple(int(count) for count in counts)
