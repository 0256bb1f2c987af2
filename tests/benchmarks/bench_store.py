"""A checkpoint's worth of bytes into a store, against np.save with fsync of the same arrays.

    python -m tests.benchmarks.bench_store [DIRECTORY]

48 walkers of 10,000 particles: two float64 arrays of 11.5 MB as lists of 48 buffers, six small
parts, a manifest and a run record, all durable, MD5 and SHA-256 of all of them included. Both
sides are measured alternately in one run; the files lie in DIRECTORY (default: a temporary one).
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.store import Store, canonical

ROUNDS = 9
LIMIT = 2.0


def np_save(folder: Path, arrays: list[np.ndarray]) -> float:
    """Seconds to save the arrays, each with fsync."""
    start = time.perf_counter()
    for index, array in enumerate(arrays):
        with open(folder / f"{index}.npy", "wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - start


def checkpoint(store: Store, arrays: list[np.ndarray], number: int) -> float:
    """Seconds to put the arrays and all the rest of a checkpoint in one batch."""
    start = time.perf_counter()
    with store.batch() as batch:
        parts: list[object] = [
            [b"\x93NUMPY header", *(memoryview(walker) for walker in array)] for array in arrays
        ]
        parts += [f"part {index} of checkpoint {number}".encode() * 50 for index in range(6)]
        refs = batch.put_many("objects", parts)
        fields = [ref.to_json() for ref in refs]
        manifest = canonical.dumps({"type": "snapshot", "format": 1, "apparatus": fields})
        end = {"kind": "snapshots", **batch.put("snapshots", manifest).to_json()}
        batch.put("runs", canonical.dumps({"type": "run", "format": 1, "end": end}))
    return time.perf_counter() - start


def measure(folder: Path) -> dict[str, float]:
    """Medians and minima in ms of both sides."""
    rng = np.random.default_rng(1)
    store = Store.create(folder / "bench.orch")
    saves, checkpoints = [], []
    for number in range(ROUNDS + 1):
        arrays = [rng.random((48, 10_000, 3)) for _ in range(2)]
        target = folder / f"npy{number}"
        target.mkdir()
        os.sync()
        saves.append(np_save(target, arrays))
        os.sync()
        checkpoints.append(checkpoint(store, arrays, number))
    saves, checkpoints = saves[1:], checkpoints[1:]
    return {
        "np.save + fsync, median ms": statistics.median(saves) * 1e3,
        "checkpoint, median ms": statistics.median(checkpoints) * 1e3,
        "np.save + fsync, min ms": min(saves) * 1e3,
        "checkpoint, min ms": min(checkpoints) * 1e3,
    }


def rows(arguments: list[str]) -> Iterator[Row]:
    """The ratio of medians; that of minima says how much of it is chance."""
    folder = Path(tempfile.mkdtemp(dir=arguments[0] if arguments else None))
    try:
        found = measure(folder)
    finally:
        shutil.rmtree(folder)
    for which, held in (("median", LIMIT), ("min", None)):
        ours, theirs = (found[f"{who}, {which} ms"] for who in ("checkpoint", "np.save + fsync"))
        said = f"{ours:.0f} ms; np.save {theirs:.0f} ms"
        yield Row(f"a batch, {which}", ours / theirs, "x np.save + fsync", most=held, detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
