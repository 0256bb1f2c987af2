"""`wepy fsck` against `md5sum` of the same files, by turns in one run.

    python -m tests.benchmarks.bench_fsck [DIRECTORY]

Two stores: 10,000 objects of 4 KiB with 20 of 50 MB, and 100,000 of 1 KiB; a snapshot for each 50
of them. Everything is in the page cache, so what is compared is the work beyond the disk's. The
whole command is measured, the start of the interpreter included. Files lie in DIRECTORY (default: a
temporary one; 1.3 GB).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.store import Store, canonical

ROUNDS = 5
STORES = {
    "10,000 x 4 KiB + 20 x 50 MB": ((10_000, 4096), (20, 50_000_000)),
    "100,000 x 1 KiB": ((100_000, 1024),),
}
LIMITS = {"fsck": 1.2, "fsck --sha256": 2.0}
REPOSITORY = Path(__file__).resolve().parents[2]


def make(path: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """A store of random objects, written without waiting for the disk."""
    Store.create(path)
    refs = [_put(path, "objects", os.urandom(size)) for count, size in sizes for _ in range(count)]
    for first in range(0, len(refs), 50):
        manifest = {"type": "snapshot", "format": 1, "apparatus": refs[first : first + 50]}
        _put(path, "snapshots", canonical.dumps(manifest))


def _put(root: Path, kind: str, data: bytes) -> dict[str, object]:
    md5 = hashlib.md5(data).hexdigest()
    directory = root / kind / md5[:2]
    directory.mkdir(exist_ok=True)
    (directory / md5).write_bytes(data)
    return {"md5": md5, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def timed(command: str, store: Path) -> float:
    """Seconds a shell command takes."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "STORE": str(store)}
    start = time.perf_counter()
    subprocess.run(["sh", "-ec", command], env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def measure(store: Path) -> dict[str, float]:
    """Medians in seconds of md5sum, and of fsck with and without --sha256."""
    wepy = f"{sys.executable} -m wepystore"
    commands = {
        "md5sum": 'cd "$STORE"; find objects snapshots -type f -print0 | xargs -0 md5sum',
        "fsck": f'{wepy} fsck "$STORE"',
        "fsck --sha256": f'{wepy} fsck --sha256 "$STORE"',
        "fsck --fast": f'{wepy} fsck --fast "$STORE"',
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS + 1):
        for name, command in commands.items():
            times[name].append(timed(command, store))
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each way of checking, of each store."""
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp())
    try:
        for label, sizes in STORES.items():
            store = folder / f"{len(sizes)}.orch"
            if not store.exists():
                make(store, sizes)
            found = measure(store)
            bare = found.pop("md5sum")
            for name, seconds in found.items():
                said = f"{seconds:.2f} s; md5sum {bare:.2f} s"
                limit = LIMITS.get(name)
                yield Row(f"{name}, {label}", seconds / bare, "x md5sum", most=limit, detail=said)
            if not arguments:
                shutil.rmtree(store)
    finally:
        if not arguments:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
