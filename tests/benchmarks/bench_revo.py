"""Milliseconds per REVO resampling of LJ pairs, and how they grow with the number of walkers.

Run as a program: python -m tests.benchmarks.bench_revo [WALKERS ...]. Times are of the
processor: one thread does it all, and other programs then count for little. Beside each
figure: what numpy takes for the least that REVO can do, (d/d0)**4 of an n x n matrix of
distances times the novelties, in the same run; the same walkers in bins; wepy 1.2's
figures, measured elsewhere on two cores. Exits 1 if 1000 walkers take longer than the limit.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import time
from typing import Any

import numpy as np

from wepystore.api import (
    BinResampler,
    ImageCoordinate,
    PairDistance,
    REVOResampler,
    Walker,
    WalkerState,
)

#: Walkers -> ms per resampling, wepy 1.2.
PEER_MS = {48: 69.0, 200: 4600.0, 500: 86_000.0}
#: Walkers -> ms per resampling at most.
LIMIT_MS = {1000: 100.0}
BOX = 4.0 * np.eye(3)
PAIR = PairDistance(0, 1)


def revo(merge_alg: str = "pairs") -> REVOResampler:
    """Pairs of atoms by their distance."""
    return REVOResampler(PAIR, merge_dist=0.25, char_dist=0.1, merge_alg=merge_alg, pmax=0.5)


def bins() -> BinResampler:
    """Twelve bins of the same distance."""
    return BinResampler(ImageCoordinate(PAIR), np.linspace(0.3, 1.0, 11))


def milliseconds(resampler: Any, n_walkers: int, n_cycles: int = 15) -> tuple[float, float]:
    """(median time of a resampling while pairs of atoms diffuse apart, mean number of merges)."""
    rng = np.random.default_rng(1)
    start = WalkerState(positions=[[0, 0, 0], [0.38, 0, 0]], box_vectors=BOX)
    walkers = [Walker(start, 1 / n_walkers) for _ in range(n_walkers)]
    times, merges = [], 0
    for cycle in range(n_cycles):
        moved = []
        for walker in walkers:
            positions = walker.state["positions"] + rng.normal(size=(2, 3)) * 0.1
            state = WalkerState(positions=positions, box_vectors=BOX)
            moved.append(Walker(state, walker.weight))
        resampler.set_rng(np.random.default_rng([1, cycle]))
        began = time.process_time()
        walkers, records, _ = resampler.resample(moved)
        times.append(time.process_time() - began)
        merges += sum(len(record["target_idxs"]) - 1 for record in records)
    return 1e3 * statistics.median(times), merges / n_cycles


def matrix_milliseconds(n_walkers: int, n_rounds: int = 15) -> float:
    """Median time of all (d/d0)**4 phi_i phi_j of one coordinate in numpy, and their sum."""
    rng = np.random.default_rng(2)
    places, novelty = rng.gamma(2.0, 0.2, size=(2, n_walkers))
    times = []
    for _ in range(n_rounds):
        began = time.process_time()
        squares = ((places[:, np.newaxis] - places) / 0.1) ** 2
        (squares * squares * novelty).sum(axis=1) @ novelty
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times)


def main() -> int:
    """Print a line for each number of walkers, then the growth; the exit status."""
    sizes = [int(word) for word in sys.argv[1:]] or [48, 200, 500, 1000]
    print("walkers   pairs ms  greedy ms   merges  numpy ms  pairs/numpy  bins ms   wepy ms  limit")
    found: dict[int, float] = {}
    status = 0
    for n_walkers in sizes:
        found[n_walkers], merges = milliseconds(revo(), n_walkers)
        greedy, _ = milliseconds(revo("greedy"), n_walkers)
        binned, _ = milliseconds(bins(), n_walkers)
        numpys = matrix_milliseconds(n_walkers)
        limit = LIMIT_MS.get(n_walkers, math.inf)
        missed = found[n_walkers] > limit
        status |= missed
        print(
            f"{n_walkers:7d} {found[n_walkers]:10.1f} {greedy:10.1f} {merges:8.0f} {numpys:9.2f} "
            f"{found[n_walkers] / numpys:12.0f} {binned:8.1f} "
            f"{PEER_MS.get(n_walkers, math.nan):9.0f} {limit:6.0f}{'  missed' if missed else ''}"
        )
    for few, many in itertools.pairwise(sizes):
        power = math.log(found[many] / found[few]) / math.log(many / few)
        print(f"from {few} to {many} walkers the time grows as n**{power:.2f}")
    return status


if __name__ == "__main__":
    sys.exit(main())
