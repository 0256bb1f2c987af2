"""What it costs that a run keeps frames in its store.

    python -m tests.benchmarks.bench_frames [DIR]

48 walkers of 10,000 atoms, positions and box in single precision, 5.8 MB a cycle, on the disk that
DIR is on: against `np.save` and fsync of the same bytes, a file a cycle, in turns. The recording
alone: what else a checkpoint writes is measured in bench_checkpoint.

- With a checkpoint for each block, and with one for each cycle: seconds until all is durable, one
  cycle at once after the other. What is between np.save and this is MD5, which takes some 2 ns a
  byte, twice where a frame is written in a piece and in its block.
- How long a cycle is held up, its checkpoint included, where the time of a segment is between two:
  blocks and checkpoints are written behind the run.
- Ten of the 10,000 atoms, of the time that all of them take.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.systems import pair_apparatus
from wepystore.api import NoResampler, Recording, Store, Walker, WalkerState
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run.recorder import Recorder
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.sinks import Remembering
from wepystore.records.values import Sink

#: Of np.save's time, with a checkpoint for each block or in each cycle.
BLOCK_LIMIT, CYCLE_LIMIT = 1.3, 2.5
#: Milliseconds that a cycle may be held up.
HELD_LIMIT_MS = 50.0
#: Of the time that all atoms take, in %.
FEW_LIMIT = 5.0

N_WALKERS, N_ATOMS, N_CYCLES = 48, 10_000, 32
#: Of cycles of 5.8 MB, as many as are in a block.
BLOCK = 8
#: Seconds between two cycles, in which the disk can keep up.
SEGMENT_S = 0.3


def cycles() -> list[dict[str, Any]]:
    """What the recorder is told of each cycle. No two objects are of equal walkers, though most
    walkers of a few cycles come again."""
    random = np.random.default_rng(1)

    def states(n_walkers: int) -> list[WalkerState]:
        drawn = random.normal(size=(n_walkers, N_ATOMS, 3))
        return [WalkerState(positions=each, box_vectors=np.eye(3)) for each in drawn]

    few = [states(N_WALKERS) for _ in range(BLOCK)]
    found = []
    for number in range(N_CYCLES):
        # The first and the last: a block is in two objects.
        first, last = states(2)
        every = [first, *few[number % BLOCK][1:-1], last]
        found.append({"new_walkers": [Walker(state, 1 / N_WALKERS) for state in every]})
    return found


class Recorded:
    """A recorder with a store, as a job has them."""

    def __init__(self, folder: Path, shown: list[dict[str, Any]], choice: Recording) -> None:
        folder.mkdir()
        self._shown, self._store = shown, Store.create(folder / "checkpoint.orch")
        apparatus = pair_apparatus(boundary_conditions=None, resampler=NoResampler())
        manager = SimpleNamespace(**vars(apparatus), init_walkers=shown[0]["new_walkers"])
        self._recorder = Recorder.begun(manager, 100, choice)
        self._writer = Writer(self._store, Ledger(folder))
        self._recorder.put_with(self._writer)
        self._going: Future[None] | None = None
        self._n_cycles = 0

    def cycle(self) -> float:
        """Seconds that one is held up."""
        begun = time.perf_counter()
        self._recorder.add(self._shown[self._n_cycles])
        self._recorder.keep()
        self._n_cycles += 1
        return time.perf_counter() - begun

    def checkpoint(self) -> None:
        """Hand one over; the one before is durable then."""
        self.settle()
        self._going = self._writer.submit(self._write, self._recorder.so_far())

    def _write(self, put: Callable[[Sink], Any]) -> None:
        with self._writer.batch() as batch:
            put(Remembering(batch, {}))

    def settle(self) -> None:
        """Wait until it is durable."""
        if self._going is not None:
            self._going.result()


def ours_s(folder: Path, shown: list[dict[str, Any]], every: int, choice: Recording) -> float:
    """Seconds for so many cycles, with a checkpoint after each `every` of them."""
    made = Recorded(folder, shown, choice)
    begun = time.perf_counter()
    for number in range(1, N_CYCLES + 1):
        made.cycle()
        if number % every == 0:
            made.checkpoint()
    made.settle()
    return time.perf_counter() - begun


def held_s(folder: Path, shown: list[dict[str, Any]], every: int) -> list[float]:
    """Seconds that each cycle waits for its recording, with a segment's time between two."""
    made, found = Recorded(folder, shown, Recording()), []
    for number in range(1, N_CYCLES + 1):
        begun = time.perf_counter()
        made.cycle()
        if number % every == 0:
            made.checkpoint()
        found.append(time.perf_counter() - begun)
        time.sleep(SEGMENT_S)
    return found


def saved_s(folder: Path, shown: list[dict[str, Any]]) -> float:
    """The same bytes by np.save and fsync."""
    folder.mkdir()
    stacks = [
        np.stack([walker.state["positions"] for walker in each["new_walkers"]]).astype(np.float32)
        for each in shown
    ]
    begun = time.perf_counter()
    for number in range(N_CYCLES):
        with open(folder / f"{number}.npy", "wb") as file:
            np.save(file, stacks[number])
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - begun


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    shown, usual = cycles(), Recording()
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as name:
        folder = Path(name)
        taken: dict[str, list[float]] = {"saved": [], "block": [], "cycle": [], "few": []}
        for turn in range(5):
            place = folder / str(turn)
            place.mkdir()
            taken["saved"].append(saved_s(place / "saved", shown))
            taken["block"].append(ours_s(place / "block", shown, BLOCK, usual))
            taken["cycle"].append(ours_s(place / "cycle", shown, 1, usual))
            few = Recording(["positions"], atoms=range(10))
            taken["few"].append(ours_s(place / "few", shown, N_CYCLES, few))
        saved, block, cycle, few_s = (statistics.median(each) for each in taken.values())
        for what, seconds, most in (
            ("frames of 48 x 10,000 atoms, a checkpoint a block", block, BLOCK_LIMIT),
            ("the same, a checkpoint in each cycle", cycle, CYCLE_LIMIT),
        ):
            said = f"{seconds / N_CYCLES * 1e3:.0f} of {saved / N_CYCLES * 1e3:.0f} ms a cycle"
            yield Row(what, seconds / saved, "x np.save and fsync", most=most, detail=said)
        said = f"{few_s / N_CYCLES * 1e3:.1f} of {block / N_CYCLES * 1e3:.0f} ms a cycle"
        part = few_s / block * 100
        yield Row("ten of these atoms", part, "% of all atoms", most=FEW_LIMIT, detail=said)
        for what, every in (("a checkpoint a block", BLOCK), ("a checkpoint in each", 1)):
            held = held_s(folder / f"held{every}", shown, every)
            mean = statistics.mean(held)
            said = f"{mean * 1e3:.1f} ms on average, of {saved / N_CYCLES * 1e3:.0f}"
            ratio = mean / (saved / N_CYCLES)
            yield Row(f"a cycle is held up, {what}", ratio, "x np.save and fsync", detail=said)
        made, held = Recorded(folder / "held", shown, usual), []
        for _ in range(N_CYCLES):
            held.append(made.cycle())
            time.sleep(SEGMENT_S)
        said = f"median {statistics.median(held) * 1e3:.1f} ms, of {N_CYCLES} cycles"
        worst = max(held) * 1e3
        yield Row("the cycle held up longest", worst, "ms", most=HELD_LIMIT_MS, detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
