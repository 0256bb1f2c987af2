"""Start-up of `wepy --help` and `wepy ls snapshots` on a store of ten snapshots.

    python -m tests.benchmarks.bench_cli

Against `python -c pass`, measured alternately in one run. Limit: 5 times that plus 60 ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import wepystore
from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.store import Store, canonical

ROUNDS = 15


def seconds(environment: dict[str, str], *argv: str) -> float:
    """Wall time of one interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def ten_snapshots(path: Path) -> str:
    """A store with ten snapshots of five parts each."""
    store = Store.create(path)
    with store.batch() as batch:
        for number in range(10):
            parts = [batch.put("objects", f"{number} {part}".encode()) for part in range(5)]
            manifest = {"type": "snapshot", "format": 1, "apparatus": [p.to_json() for p in parts]}
            batch.put("snapshots", canonical.dumps(manifest))
    return str(path)


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Minima in ms, and the limit that follows from the bare interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(Path(wepystore.__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        store = ten_snapshots(Path(folder) / "ten.orch")
        commands = {
            "python -c pass": ("-c", "pass"),
            "wepy --help": ("-m", "wepystore", "--help"),
            "wepy ls snapshots": ("-m", "wepystore", "ls", "snapshots", store),
        }
        best = dict.fromkeys(commands, 9.0)
        for _ in range(rounds):
            for name, argv in commands.items():
                best[name] = min(best[name], seconds(environment, *argv))
    figures = {name: value * 1e3 for name, value in best.items()}
    figures["limit"] = 5 * figures["python -c pass"] + 60
    return figures


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each command, in bare interpreters."""
    figures = measure()
    bare = figures["python -c pass"]
    for name in ("wepy --help", "wepy ls snapshots"):
        said = f"{figures[name]:.0f} ms of {figures['limit']:.0f} ms; python -c pass {bare:.0f} ms"
        limit = figures["limit"] / bare
        yield Row(name, figures[name] / bare, "x python -c pass", most=limit, detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
