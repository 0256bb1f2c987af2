"""Milliseconds per REVO resampling of LJ pairs, and how they grow with the number of walkers.

    python -m tests.benchmarks.bench_revo [WALKERS…]

Times are of the processor: one thread does it all, and other programs then count for little. Beside
each figure: what numpy takes for the least that REVO can do, (d/d0)**4 of an n x n matrix of
distances times the novelties, in the same run; the same walkers in bins; wepy 1.2's figures,
measured elsewhere on two cores. Last: one resampling of walkers on a line against numpy's raising
of such a matrix to the fourth power, at two sizes, which shows that it grows little faster than n².
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Misused, Row
from tests.engine.resamplers.resampled import make_walkers
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    ImageCoordinate,
    PairDistance,
    PositionCoordinate,
    REVOResampler,
    Walker,
    WalkerState,
)

#: Walkers -> ms per resampling, wepy 1.2.
PEER_MS = {48: 69.0, 200: 4600.0, 500: 86_000.0}
#: Walkers -> ms per resampling at most.
LIMIT_MS = {1000: 100.0}
#: Walkers on a line -> a resampling, in numpy's fourth powers of the matrix.
MATRIX_LIMITS = {200: 250.0, 800: 60.0}
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


def against_matrix(n_walkers: int) -> float:
    """A resampling of walkers on a line, in the time that numpy takes to raise an n x n matrix of
    distances to the fourth power, times the weights, and to sum it; of the least of four each."""
    rng = np.random.default_rng([31, 8])
    places = rng.gamma(2.0, 0.3, size=n_walkers)
    weights = np.maximum(rng.dirichlet(np.full(n_walkers, 0.5)), 1e-11)
    weights /= weights.sum()
    walkers = make_walkers(places, weights)
    matrix = np.abs(places[:, np.newaxis] - places)

    def resample() -> None:
        line = CoordinateDistance(PositionCoordinate())
        REVOResampler(line, merge_dist=0.5, char_dist=0.3, pmax=0.5).resample(walkers)

    def timed(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    ours = min(timed(resample) for _ in range(4))
    theirs = min(
        timed(lambda: [((matrix / 0.3) ** 2.0 * weights).sum() for _ in range(20)]) / 20
        for _ in range(4)
    )
    return ours / theirs


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each number of walkers, then how the time grows."""
    try:
        sizes = [int(word) for word in arguments] or [48, 200, 500, 1000]
    except ValueError as error:
        raise Misused(error) from None
    found: dict[int, float] = {}
    for n_walkers in sizes:
        found[n_walkers], merges = milliseconds(revo(), n_walkers)
        greedy, _ = milliseconds(revo("greedy"), n_walkers)
        binned, _ = milliseconds(bins(), n_walkers)
        ratio = found[n_walkers] / matrix_milliseconds(n_walkers)
        said = (
            f"greedy {greedy:.1f}, bins {binned:.1f} ms; {merges:.0f} merges; {ratio:.0f} x numpy"
        )
        if n_walkers in PEER_MS:
            said += f"; wepy {PEER_MS[n_walkers]:,.0f} ms"
        limit = LIMIT_MS.get(n_walkers)
        yield Row(f"{n_walkers} walkers, pairs", found[n_walkers], "ms", most=limit, detail=said)
    for few, many in itertools.pairwise(sizes):
        power = math.log(found[many] / found[few]) / math.log(many / few)
        yield Row(f"growth from {few} to {many} walkers: n to the", power)
    for n_walkers, limit in MATRIX_LIMITS.items():
        ratio = against_matrix(n_walkers)
        yield Row(f"{n_walkers} walkers on a line", ratio, "x numpy's matrix", most=limit)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
