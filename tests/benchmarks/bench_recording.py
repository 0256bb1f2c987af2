"""What it costs that a run records in its store what happens, and to read it again.

    python -m tests.benchmarks.bench_recording [--long] [--westpa PYTHON] [DIR]

- 48 Lennard-Jones pairs, cycles of 100 steps: the recording alone, and with all reporters, of the
  time that the segments take.
- Walkers on a line, 20 steps of overdamped Langevin dynamics in numpy, 8 bins, a checkpoint in each
  cycle, a runner of the user's own: processor time of a cycle; with --westpa, of an iteration of
  WESTPA with the same propagator, by the interpreter PYTHON of an environment that has it.
- Whether a checkpoint grows dearer with the run: of two runs the smaller figure of each checkpoint,
  since the processor time of one varies. 1,000 cycles; with --long 10,000.
- The tables of ten runs of 10,000 cycles and 48 walkers: opened, and weights, progress, decisions
  and warps summed; with every byte verified too.

Stores are made in DIR, or on a RAM disk: fsync is no processor time, and no two disks are alike.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.benchmarks import bench_reporters, table
from tests.benchmarks.table import Lacking, Misused, Row
from tests.reporters import recorded
from tests.systems import plain_configuration, run_job, save_run
from wepystore.api import (
    Apparatus,
    BinResampler,
    NoBC,
    PositionCoordinate,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    load_runs,
    load_tables,
    prepare_store,
)
from wepystore.engine.kept_frames import Recording as Choice
from wepystore.engine.runners.base import EnsembleRunner
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run.checkpoint import Checkpointer, Handed
from wepystore.orchestrator.run.recorder import Recorder
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.run import RunRecord
from wepystore.records.sinks import Remembering
from wepystore.store.names import EntryRef, Ref

LEFT_OUT = {
    "--long": "some ten minutes: two runs of 10,000 checkpoints",
    "--westpa PYTHON": "two minutes; PYTHON of an environment with WESTPA",
}

#: The recording alone, and all reporters and it, in % of the time that the segments take.
ALONE_LIMIT, ALL_LIMIT = 6.0, 25.0
#: Processor time of a cycle, of WESTPA's.
WESTPA_LIMIT = 0.5
#: The dearest checkpoint, of the median of the first hundred; files of a finished run.
GROWTH_LIMIT, FILES_LIMIT = 1.5, 24
#: Seconds to open and sum the tables of ten runs.
READ_LIMIT_S = 1.0

#: Of the bins; in the middle of each an eighth of the walkers begins.
EDGES = [-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9]
MIDDLES = [EDGES[0] - 0.15, *(edge + 0.15 for edge in EDGES)]
N_STEPS, DT, HEIGHT = 20, 0.001, 2.0
#: Walkers -> the processor time of a cycle is that of those after so many, up to so many.
SIZES = {48: (20, 140), 480: (20, 140), 4800: (5, 35)}

WESTPA_CFG = """
west:
  system:
    driver: walks.Walks
  propagation:
    max_total_iterations: {n_cycles}
    propagator: walks.Walking
    gen_istates: false
    block_size: {n_walkers}
  data:
    west_data_file: west.h5
"""

#: All walkers at once, in numpy; it keeps the two ends of each segment.
WESTPA_WALKS = f"""
import os
import numpy as np
from westpa.core.binning import RectilinearBinMapper
from westpa.core.propagators import WESTPropagator
from westpa.core.systems import WESTSystem

class Walking(WESTPropagator):
    def __init__(self, rc=None):
        super().__init__(rc)
        self.rng = np.random.default_rng(1)

    def get_pcoord(self, state):
        state.pcoord = np.array([float(state.auxref)])

    def propagate(self, segments):
        positions = np.array([segment.pcoord[0] for segment in segments])
        for _ in range({N_STEPS}):
            force = (-4.0 * {HEIGHT}) * (positions * (positions * positions - 1.0))
            noise = np.sqrt(2 * {DT}) * self.rng.standard_normal(positions.shape)
            positions += {DT} * force + noise
        for segment, end in zip(segments, positions):
            segment.pcoord[1] = end
            segment.status = segment.SEG_STATUS_COMPLETE
        return segments

class Walks(WESTSystem):
    def initialize(self):
        self.pcoord_ndim, self.pcoord_len, self.pcoord_dtype = 1, 2, np.float64
        self.bin_mapper = RectilinearBinMapper([[-np.inf, *{EDGES}, np.inf]])
        self.bin_target_counts = np.full(self.bin_mapper.nbins, int(os.environ["EACH"]))
"""


class Walking(EnsembleRunner):
    """A user's runner: overdamped Langevin dynamics between two wells."""

    def move(
        self, positions: Any, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        for _ in range(n_steps):
            force = (-4.0 * HEIGHT) * (positions * (positions * positions - 1.0))
            positions += DT * force + np.sqrt(2 * DT) * rng.standard_normal(positions.shape)


def run_walkers(folder: Path, n_walkers: int, n_cycles: int) -> Path:
    """Run so many cycles, a checkpoint in each; the job's folder."""
    states = [WalkerState(positions=[[place]], time=0.0) for place in MIDDLES]
    walkers = [Walker(states[k % len(states)], 1 / n_walkers) for k in range(n_walkers)]
    resampler = BinResampler(PositionCoordinate(), EDGES, max(1, n_walkers // len(states)))
    snapshot = Snapshot(walkers, Apparatus(Walking(), NoBC(), resampler))
    folder.mkdir()
    made = prepare_store(folder / "a.orch", snapshot, plain_configuration())
    options: dict[str, Any] = {"n_steps": N_STEPS, "n_cycles": n_cycles, "checkpoint_freq": 1}
    run_job(made.store, made.snapshot_hash, folder / "job", **options)
    return folder / "job"


def per_cycle_ms(taken: Sequence[float], n_walkers: int) -> float:
    """Of the seconds that a short and a long run took."""
    begin, end = SIZES[n_walkers]
    return (taken[1] - taken[0]) / (end - begin) * 1e3


def bare_ms(n_walkers: int) -> float:
    """Milliseconds of the processor that the propagator alone takes."""
    places, draw, taken = np.zeros((n_walkers, 1, 1)), np.random.default_rng(1), []
    for _ in range(100):
        begun = time.process_time()
        Walking().move(places, N_STEPS, draw, 0)
        taken.append(time.process_time() - begun)
    return statistics.median(taken) * 1e3


def our_ms(folder: Path, n_walkers: int) -> float:
    """Milliseconds of the processor for a cycle: two runs' difference."""
    taken = []
    for n_cycles in SIZES[n_walkers]:
        begun = time.process_time()
        run_walkers(folder / f"{n_walkers}-{n_cycles}", n_walkers, n_cycles)
        taken.append(time.process_time() - begun)
    return per_cycle_ms(taken, n_walkers)


def westpa_ms(folder: Path, n_walkers: int, python: str) -> float:
    """The same for an iteration of WESTPA."""
    taken = []
    for n_cycles in SIZES[n_walkers]:
        where = folder / f"westpa-{n_walkers}-{n_cycles}"
        where.mkdir()
        (where / "west.cfg").write_text(WESTPA_CFG.format(n_cycles=n_cycles, n_walkers=n_walkers))
        (where / "walks.py").write_text(WESTPA_WALKS)
        lines = [f"b{k} {1 / len(MIDDLES)} {place}\n" for k, place in enumerate(MIDDLES)]
        (where / "states").write_text("".join(lines))
        each = str(n_walkers // len(MIDDLES))
        one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **one, "PYTHONPATH": str(where), "EACH": each}
        before = os.times()
        for words in (
            ["w_init", "--bstate-file", "states", "--segs-per-state", each, "--serial"],
            ["w_run", "--serial"],
        ):
            program = [str(Path(python).parent / words[0]), *words[1:]]
            done = subprocess.run(
                program, cwd=where, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise Lacking(f"WESTPA did not run: {done.stderr[-800:]}")
        after = os.times()
        spent = after.children_user + after.children_system
        taken.append(spent - before.children_user - before.children_system)
    return per_cycle_ms(taken, n_walkers)


def walker_rows(folder: Path, python: str | None) -> Iterator[Row]:
    """Of each number of walkers; WESTPA's and ours in turns."""
    for n_walkers in SIZES:
        what = f"a cycle of {n_walkers} walkers with a checkpoint"
        peers = [westpa_ms(folder, n_walkers, python)] if python else []
        ours, bare = our_ms(folder, n_walkers), bare_ms(n_walkers)
        if not peers:
            yield Row(what, ours, "ms", detail=f"numpy's propagator alone {bare:.2f} ms")
            continue
        said = f"{ours:.1f} of {peers[0]:.1f} ms; numpy's propagator alone {bare:.2f} ms"
        yield Row(what, ours / peers[0], "x WESTPA's iteration", most=WESTPA_LIMIT, detail=said)


def pair_rows(folder: Path, n_cycles: int = 500) -> Iterator[Row]:
    """The recording of 48 pairs, alone and beside all reporters."""
    shown = recorded.record(100, n_walkers=48, n_steps=100)
    segments = float(np.median([each["cycle_runner_time"] for each in shown.reports])) * 1e3
    store = Store.create(folder / "pairs.orch")
    recorder = recorder_of(shown, store)
    begun = time.perf_counter()
    for report in itertools.islice(itertools.cycle(shown.reports), n_cycles):
        recorder.add(report)
        recorder.keep()
    with store.batch() as batch:
        recorder.so_far(last=True)(Remembering(batch, {}))
    alone = (time.perf_counter() - begun) / n_cycles * 1e3
    reporters = bench_reporters.all_reporters(shown, n_cycles)
    total = alone + sum(each["cycle"] for each in reporters.values())
    for what, ms, most in (
        ("the recording of 48 pairs, cycles of 100 steps", alone, ALONE_LIMIT),
        ("it and all reporters", total, ALL_LIMIT),
    ):
        said = f"{ms:.2f} of {segments:.2f} ms a cycle"
        yield Row(what, ms / segments * 100, "% of the segments", most=most, detail=said)


def recorder_of(shown: recorded.Recording, store: Store) -> Recorder:
    """The recorder of a run that begins; full blocks go into the store."""
    found = Recorder.begun(SimpleNamespace(**vars(shown)), n_steps=100, choice=Choice())
    found.put_with(Writer(store, Ledger(store.path)))
    return found


@dataclass
class Taken:
    """Seconds that each checkpoint of a run took."""

    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    end: float = 0.0


def checkpoints(folder: Path, n_cycles: int) -> tuple[Taken, int]:
    """Of a run of 48 walkers, with the removal of what it supersedes; and the files in the end."""
    taken = Taken()
    begin = Checkpointer.begin

    def timed(self: Checkpointer, walkers: Any, number: int, last: bool = False) -> Handed:
        clocks = time.process_time(), time.perf_counter()
        end = begin(self, walkers, number, last)
        # Not behind the run: what is measured is all of it.
        self.finish_removing()
        processor, wall = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
        if last:
            taken.end = processor
        else:
            taken.processor.append(processor)
            taken.wall.append(wall)
        return end

    Checkpointer.begin = timed  # type: ignore[method-assign]
    try:
        job = run_walkers(folder, 48, n_cycles)
    finally:
        Checkpointer.begin = begin  # type: ignore[method-assign]
    return taken, sum(path.is_file() for path in (job / "checkpoint.orch").rglob("*"))


def growth_rows(folder: Path, n_cycles: int) -> Iterator[Row]:
    """The dearest of all checkpoints against the first hundred."""
    runs = []
    for number in range(2):
        gc.collect()
        taken, n_files = checkpoints(folder / f"growth{number}", n_cycles)
        runs.append(taken)
    least = np.min([taken.processor for taken in runs], axis=0) * 1e3
    wall = np.min([taken.wall for taken in runs], axis=0) * 1e3
    usual = float(np.median(least[:100]))
    said = (
        f"cycle {int(least.argmax()) + 1}: {least.max():.1f} of {usual:.1f} ms of processor; the "
        f"last hundred {np.median(least[-100:]) / usual:.2f}; by the clock "
        f"{wall.max() / np.median(wall[:100]):.2f}, median {np.median(wall):.1f} ms; "
        f"the end {min(taken.end for taken in runs) * 1e3:.1f} ms"
    )
    yield Row(
        f"the dearest of {n_cycles} checkpoints",
        least.max() / usual,
        "x the median of the first 100",
        most=GROWTH_LIMIT,
        detail=said,
    )
    yield Row(f"files of the run of {n_cycles} cycles", n_files, most=FILES_LIMIT)


def ten_runs(folder: Path, n_cycles: int = 10_000, n_runs: int = 10) -> Store:
    """A store of runs whose recordings differ."""
    shown = recorded.record(100, n_walkers=48, n_steps=10)
    store = Store.create(folder / "ten.orch")
    entry = EntryRef("snapshots", Ref("0" * 32, "0" * 64, 1))
    config = EntryRef("configs", Ref("0" * 32, "0" * 64, 1))
    for seed in range(n_runs):
        recorder = recorder_of(shown, store)
        for cycle in range(n_cycles):
            recorder.add(shown.reports[(cycle + seed) % len(shown.reports)])
            recorder.keep()
        with store.batch() as batch:
            recording = recorder.so_far(last=True)(Remembering(batch, {})).entry
        record = RunRecord(entry, entry, config, n_cycles, 100, seed, True, recording=recording)
        save_run(store, record)
    return store


def summed(store: Store, verify: bool = False) -> float:
    """Seconds to open the tables of all runs and to sum what a rate needs."""
    begun = time.perf_counter()
    weights = []
    for md5 in load_runs(store.path):
        tables = load_tables(store, md5, verify=verify)
        of_walkers = tables.by_walker("weights")
        mean = (of_walkers * tables.by_walker("progress/min_distances")).sum()
        decisions = np.bincount(tables["resampling/decision_id"].ravel())
        assert decisions.sum() == of_walkers.size and mean > 0
        assert tables["warping/weight"].sum() >= 0
        weights.append(of_walkers.sum())
    taken = time.perf_counter() - begun
    assert len(weights) == 10 and all(abs(total - 10_000) < 1e-6 for total in weights)
    return taken


def read_row(folder: Path) -> Row:
    """Weights, progress, decisions and warps of all runs, summed."""
    store = ten_runs(folder)
    size = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
    said = f"{size / 1e6:.0f} MB in all; with every byte verified {summed(store, True):.1f} s"
    what = "tables of ten runs of 10,000 cycles, opened and summed"
    return Row(what, min(summed(store) for _ in range(3)), "s", most=READ_LIMIT_S, detail=said)


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it; with --westpa only what is compared with WESTPA."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--westpa", metavar="PYTHON")
    parser.add_argument("directory", nargs="?")
    try:
        options = parser.parse_args(list(arguments))
    except argparse.ArgumentError as error:
        raise Misused(error) from None
    ram = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=options.directory or ram) as name:
        folder = Path(name)
        yield from walker_rows(folder, options.westpa)
        if options.westpa:
            return
        yield from pair_rows(folder)
        yield from growth_rows(folder, 10_000 if options.long else 1_000)
        yield read_row(folder)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
