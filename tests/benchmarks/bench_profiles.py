"""How long `wepy profile` takes, and how much memory, of ten runs of 10,000 cycles and 48 walkers.

    python -m tests.benchmarks.bench_profiles [DIR]

- The command as it is typed, from its start to its end, along recorded progress, in one dimension
  and in stretches of time.
- Coordinates of 48 walkers, 2,000 atoms and 100 cycles from frames, against reading these: numpy's
  sum over the same objects, mapped.

Stores are made in DIR, or in a directory for temporary files; what is read is in memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.bench_lineages import N_ATOMS, N_CYCLES, N_WALKERS, recorded
from tests.benchmarks.bench_rates import LIMIT_S, MEMORY_LIMIT_MB, N_TRIES, measured
from tests.benchmarks.bench_recording import ten_runs
from tests.benchmarks.table import Row
from wepystore.answers import measured as measuring
from wepystore.api import RMSD, AtomDistance, Contacts, Coordinate, RadiusOfGyration, load_study

#: MB of frames a second: what a good disk of a cluster gives. Of contacts less: these look at
#: 40,000 pairs a frame.
LIMIT_MB_S, CONTACTS_MB_S = 100.0, 40.0
MEGABYTES = N_WALKERS * N_CYCLES * N_ATOMS * 12 / 1e6


def fastest(call: Callable[[], Any]) -> float:
    """The shortest processor time of a few calls, in seconds."""
    taken = []
    for _ in range(N_TRIES):
        begun = time.process_time()
        call()
        taken.append(time.process_time() - begun)
    return min(taken)


def coordinates() -> dict[str, Coordinate]:
    """Of few atoms and of all."""
    every = tuple(range(N_ATOMS))
    reference = np.random.default_rng(1).normal(size=(N_ATOMS, 3))
    return {
        "a distance": AtomDistance((0, N_ATOMS - 1)),
        "a radius of gyration, all atoms": RadiusOfGyration(every, (12.0,) * N_ATOMS),
        "an RMSD, all atoms": RMSD.to(reference, every),
        "contacts of 20 atoms with all others": Contacts(every[:20], every[20:], 0.4),
    }


def frame_rows(folder: Path) -> Iterator[Row]:
    """Of each coordinate how much of the frames goes by in a second."""
    store, _ = recorded(folder, N_ATOMS, N_CYCLES)
    study = load_study(store)
    chain = next(iter(study.chains))
    frames = chain.frames()
    summed = fastest(lambda: [frames.of(*each).sum() for each in frames.in_order()])
    for what, coordinate in coordinates().items():
        measure = measuring.measure_of(study, coordinate)
        taken = fastest(lambda measure=measure: measuring.measured(chain, measure))  # type: ignore[misc]
        said = f"{taken * 1e3:.0f} ms; numpy's sum of all positions {summed * 1e3:.0f} ms"
        least = CONTACTS_MB_S if isinstance(coordinate, Contacts) else LIMIT_MB_S
        yield Row(f"{what}, of frames", MEGABYTES / taken, "MB/s", least=least, detail=said)


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        store = ten_runs(Path(name)).path
        for what, more in (
            ("a profile of ten runs of 10,000 cycles", ()),
            ("and in five stretches of time", ("--windows", 5)),
        ):
            words = ("profile", "--along", "progress", *more, store)
            taken, processor, memory, printed = min(measured(*words) for _ in range(N_TRIES))
            assert printed
            said = f"{processor:.2f} s of the processor"
            yield Row(what, taken, "s", most=LIMIT_S, detail=said)
            yield Row("at most in memory", memory, "MB", most=MEMORY_LIMIT_MB)
        yield from frame_rows(Path(name))


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
