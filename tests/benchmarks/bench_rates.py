"""How long `wepy rates` takes, and how much memory, of ten runs of 10,000 cycles and 48 walkers.

    python -m tests.benchmarks.bench_rates [DIR]

- The command as it is typed, from its start to its end, with where all arrivals came from and how
  long they took; the events alone; and as JSON.

Stores are made in DIR, or in a directory for temporary files; what is read is in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.bench_recording import ten_runs
from tests.benchmarks.table import Row
from tests.systems import REPOSITORY

#: Seconds, and MB at most.
LIMIT_S, MEMORY_LIMIT_MB = 1.5, 500.0
#: The best of so many.
N_TRIES = 3


def measured(*words: object) -> tuple[float, float, float, str]:
    """Seconds by the clock and of the processor, MB at most, and what the command printed."""
    command = [sys.executable, "-m", "wepystore", *map(str, words)]
    begun = time.perf_counter()
    child = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    taken = time.perf_counter() - begun
    return taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, printed


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        store = ten_runs(Path(name)).path
        for what, words in (
            ("rates of ten runs of 10,000 cycles", ("rates", store)),
            ("and their events, named", ("rates", store, "--events")),
        ):
            tries = [measured(*words) for _ in range(N_TRIES)]
            taken, processor, memory, printed = min(tries)
            assert printed
            said = f"{processor:.2f} s of the processor"
            yield Row(what, taken, "s", most=LIMIT_S, detail=said)
            yield Row("at most in memory", memory, "MB", most=MEMORY_LIMIT_MB)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
