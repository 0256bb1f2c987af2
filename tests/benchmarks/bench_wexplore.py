"""Milliseconds per WExplore resampling of LJ pairs, against wepy's 9.6 / 35 / 89 / 308.

python -m tests.benchmarks.bench_wexplore
"""

import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
from wepystore.engine.walker import Walker, WalkerState

#: wepy 1.2 with networkx patched, two cores: walkers -> ms per resampling.
PEER_MS = {48: 9.6, 200: 35.0, 500: 89.0, 1000: 308.0}
BOX = 4.0 * np.eye(3)


def milliseconds(n_walkers: int, n_cycles: int = 40) -> float:
    """Median CPU time of a resampling while pairs of atoms diffuse apart."""
    rng = np.random.default_rng(1)
    resampler = WExploreResampler(
        PairDistance(0, 1), (10, 10, 10, 10), (1.0, 0.5, 0.35, 0.25), pmax=0.5
    )
    start = WalkerState(positions=[[0, 0, 0], [0.38, 0, 0]], box_vectors=BOX)
    walkers = [Walker(start, 1 / n_walkers) for _ in range(n_walkers)]
    times = []
    for cycle in range(n_cycles):
        moved = []
        for walker in walkers:
            positions = walker.state["positions"] + rng.normal(size=(2, 3)) * 0.1
            state = WalkerState(positions=positions, box_vectors=BOX)
            moved.append(Walker(state, walker.weight))
        resampler.set_rng(np.random.default_rng([1, cycle]))
        began = time.process_time()
        walkers, _, _ = resampler.resample(moved)
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times)


def rows(arguments: list[str]) -> Iterator[Row]:
    """One for each number of walkers."""
    for n_walkers, peer in PEER_MS.items():
        ours = milliseconds(n_walkers)
        said = f"wepy {peer:g} ms, {peer / ours:.0f} times as long"
        yield Row(f"{n_walkers} walkers", ours, "ms", detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
