"""How long `wepy report` takes, how much memory, and how large it is, of ten runs of 10,000 cycles.

    python -m tests.benchmarks.bench_report [DIR]

- The command as it is typed, from its start to its end.

Stores are made in DIR, or in a directory for temporary files; what is read is in memory.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.bench_rates import MEMORY_LIMIT_MB, N_TRIES, measured
from tests.benchmarks.bench_recording import ten_runs
from tests.benchmarks.table import Row

LIMIT_S, SIZE_LIMIT_MB = 10.0, 2.0


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        store, page = ten_runs(Path(name)).path, Path(name, "report.html")
        tries = [measured("report", "-f", "-O", page, store) for _ in range(N_TRIES)]
        taken, processor, memory, _ = min(tries)
        said = f"{processor:.2f} s of the processor"
        what = "report of ten runs of 10,000 cycles"
        yield Row(what, taken, "s", most=LIMIT_S, detail=said)
        yield Row("at most in memory", memory, "MB", most=MEMORY_LIMIT_MB)
        yield Row("its size", page.stat().st_size / 1e6, "MB", most=SIZE_LIMIT_MB)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
