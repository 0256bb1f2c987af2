"""How long `wepy reweight` takes, and how much memory, of ten runs of 10,000 cycles and 48 walkers.

    python -m tests.benchmarks.bench_reweighting [DIR]

- The command as it is typed, from its start to its end, in the usual number of bins.

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

#: Seconds.
LIMIT_S = 5.0


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """Both figures."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        store = ten_runs(Path(name)).path
        words = ("reweight", "--along", "progress", store)
        taken, processor, memory, printed = min(measured(*words) for _ in range(N_TRIES))
        assert printed.startswith("rate ")
        said = f"{processor:.2f} s of the processor"
        what = "reweighting ten runs of 10,000 cycles"
        yield Row(what, taken, "s", most=LIMIT_S, detail=said)
        yield Row("at most in memory", memory, "MB", most=MEMORY_LIMIT_MB)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
