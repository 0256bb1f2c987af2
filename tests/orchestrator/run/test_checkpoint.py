"""Checkpoints, run records, and what a job's own store holds in the end."""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.store.helpers import check
from tests.systems import (
    Recorder,
    environment,
    pair_apparatus,
    pair_snapshot,
    plain_configuration,
    run_job,
    tree_of,
)
from tests.waiting import records_in, until
from wepystore.api import (
    Configuration,
    HDF5Reporter,
    NoResampler,
    Prepared,
    Runner,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    hash_of,
    load_configuration,
    load_run,
    load_snapshot,
    prepare_store,
)
from wepystore.engine.errors import WeightError
from wepystore.orchestrator.errors import CheckpointFailedError, CycleFailedError
from wepystore.store.errors import MissingError
from wepystore.store.merge import apply, plan

KINDS = ("objects", "configs", "snapshots", "frames", "recordings", "runs")


def entries(store: Store) -> dict[str, set[str]]:
    return {kind: set(store.hashes(kind)) for kind in KINDS}


def assert_whole(store: Store) -> None:
    """S1: every name is right; S5: nothing is missing; and nothing is there that nobody needs."""
    check(store.path)
    needed: set[str] = set()
    for kind in ("snapshots", "configs", "frames", "recordings", "runs"):
        for md5 in store.hashes(kind):
            assert store.missing(kind, md5) == []
            parts = store.references(kind, md5)
            needed |= {ref.md5 for part, ref in parts if part == "objects"}
    assert set(store.hashes("objects")) == needed


def assert_soon_whole(store: Store) -> None:
    """The same a little later: what is superseded goes in a thread beside the run."""
    said: list[Exception] = []

    def whole() -> bool:
        try:
            assert_whole(store)
        except (AssertionError, MissingError, FileNotFoundError) as error:
            said.append(error)
            return False
        return True

    until(whole, what=lambda: repr(said[-1]))


@pytest.mark.parametrize("freq", [None, 1, 2, 3, 100])
def test_a_job_leaves_start_end_configuration_and_one_record(
    pair_store: Prepared, tmp_path: Path, freq: int | None
) -> None:
    """However many checkpoints there were: superseded ones are gone, with all their objects."""
    outcome = run_job(
        pair_store.store,
        pair_store.snapshot_hash,
        tmp_path / "job",
        n_cycles=7,
        checkpoint_freq=freq,
    )
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    assert set(store.hashes("snapshots")) == {outcome.start, outcome.end}
    assert store.hashes("configs") == [pair_store.config_hash]
    assert len(store.hashes("runs")) == 1
    assert_whole(store)


def test_checkpoints_come_every_n_cycles_and_at_the_end(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """--checkpoint-freq 2 over 7 cycles: after 2, 4, 6 and 7; over 6 none is written twice."""
    for n_cycles, expected in ((7, [2, 4, 6, 7]), (6, [2, 4, 6])):
        watcher = Recorder()
        run_job(
            pair_store.store,
            pair_store.snapshot_hash,
            tmp_path / str(n_cycles),
            watcher,
            n_cycles=n_cycles,
            checkpoint_freq=2,
        )
        assert [e[2] for e in watcher.events if e[0] == "checkpoint"] == expected


def test_a_checkpoint_is_a_handful_of_files(pair_store: Prepared, tmp_path: Path) -> None:
    """I4: at most 12 new files each, whatever the number of walkers, and the apparatus never
    again; every one is a whole run so far (S4)."""
    for n_walkers in (6, 60):
        made = prepare_store(
            tmp_path / f"{n_walkers}.orch", pair_snapshot(n_walkers), plain_configuration()
        )
        job = tmp_path / f"job{n_walkers}"
        seen: list[set[str]] = []

        def look(n_cycles: int, job: Path = job, seen: list[set[str]] = seen) -> None:
            if n_cycles == 8:
                return  # The end, which leaves nothing but itself.
            store = Store.open(job / "checkpoint.orch")
            until(lambda: len(store.hashes("runs")) <= 2)
            assert_soon_whole(store)
            # os.walk, since a directory that has become empty may go while it is listed.
            files = {
                os.path.relpath(os.path.join(folder, name), job / "checkpoint.orch")
                for folder, _, names in os.walk(job / "checkpoint.orch")
                for name in names
            }
            seen.append({n for n in files if not n.startswith(("refs/", "tmp/"))})

        # Before the first of them, and when each is there.
        watcher = Recorder(on_checkpoint=look)
        watcher.on_cycle = lambda progress, look=look, seen=seen: seen or look(0)
        options = {"n_cycles": 8, "checkpoint_freq": 1}
        run_job(made.store, made.snapshot_hash, job, watcher, **options)
        grown = [len(after - before) for before, after in itertools.pairwise(seen)]
        assert max(grown) <= 12
        # And the folder does not fill up: two checkpoints at most beside the start.
        assert len(seen[-1]) <= len(seen[0]) + 2 * 12


def test_objects_that_checkpoints_share_do_not_stay_behind(tmp_path: Path) -> None:
    """What is new in one checkpoint, kept by the next and not needed by a third, goes with it."""

    class Stepping(Runner):
        def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
            # x changes every third cycle only, y every cycle.
            cycle = kwargs["cycle_idx"]
            return Walker(
                WalkerState(x=np.full(3, float(cycle // 3)), y=[float(cycle)]), walker.weight
            )

    apparatus = pair_apparatus(runner=Stepping(), boundary_conditions=None, resampler=NoResampler())
    start = Snapshot([Walker(WalkerState(x=np.zeros(3), y=[-1.0]), 1.0)], apparatus)
    made = prepare_store(tmp_path / "x.orch", start, plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=11, checkpoint_freq=1)
    assert_whole(Store.open(tmp_path / "job" / "checkpoint.orch"))


def test_a_run_that_goes_nowhere_is_a_run(tmp_path: Path) -> None:
    """Start and end may be one snapshot: frozen walkers, checkpoints on the way."""

    class Frozen(Runner):
        def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
            return walker

    apparatus = pair_apparatus(runner=Frozen(), boundary_conditions=None, resampler=NoResampler())
    made = prepare_store(tmp_path / "x.orch", pair_snapshot(3, apparatus), plain_configuration())
    outcome = run_job(
        made.store, made.snapshot_hash, tmp_path / "job", n_cycles=5, checkpoint_freq=1
    )
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    assert outcome.start == outcome.end
    assert store.hashes("snapshots") == [outcome.start]
    assert len(store.hashes("runs")) == 1
    assert_whole(store)


def test_the_master_store_is_not_touched(pair_store: Prepared, tmp_path: Path) -> None:
    """No file of it changes in content, size or time, and none comes or goes."""
    before = tree_of(pair_store.store.path)
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", checkpoint_freq=1)
    assert tree_of(pair_store.store.path) == before


def test_what_the_run_record_holds(pair_store: Prepared, tmp_path: Path) -> None:
    """All that a repetition needs, and what a person wants to know; no path, no host name."""
    begun = datetime.datetime.now(datetime.UTC)
    outcome = run_job(
        pair_store.store,
        pair_store.snapshot_hash,
        tmp_path / "job",
        narration="first try",
        n_cycles=4,
        seed=2**62,
        platform="Reference",
    )
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    assert record.start.md5 == outcome.start == pair_store.snapshot_hash
    assert record.end.md5 == outcome.end
    assert record.config.md5 == pair_store.config_hash
    assert (record.n_cycles, record.n_steps, record.seed) == (4, 10, 2**62)
    assert record.reproducible is True
    assert {"wepystore", "python", "numpy", "openmm", "platform"} <= set(record.environment)
    assert record.environment["platform"] == "Reference"
    execution = record.execution
    assert execution.narration == "first try"
    assert execution.job_name == "job"
    assert execution.n_workers == 1
    assert execution.stopped_by is None
    told = datetime.datetime.fromisoformat(execution.begun or "")
    assert abs((told - begun).total_seconds()) < 60
    text = store.file("runs", store.hashes("runs")[0]).read_text()
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text


def test_runs_of_one_configuration_leave_one_hash(tmp_path: Path) -> None:
    """Overrides are noted in the record; the configuration keeps its hash after a reconcile."""
    made = prepare_store(
        tmp_path / "x.orch", pair_snapshot(4), plain_configuration(reporters=[HDF5Reporter()])
    )
    starts = [made.snapshot_hash]
    sources = []
    for k in range(5):
        job = tmp_path / f"job{k}"
        options: dict[str, Any] = {"seed": k, "n_cycles": 1, "job_name": f"name{k}"}
        if k == 3:
            options["n_workers"] = 2
        if k == 4:
            options["platform"] = "CPU"
        run_job(made.store, starts[0], job, **options)
        sources.append(Store.open(job / "checkpoint.orch"))
    apply(plan(made.store, sources))
    assert made.store.hashes("configs") == [made.config_hash]
    assert len(made.store.hashes("runs")) == 5
    assert len(made.store.hashes("snapshots")) == 6
    assert made.store.ref("default-snapshot") == starts[0]
    assert hash_of(load_configuration(made.store, made.config_hash)) == made.config_hash


class FailsAt(Runner):
    """Adds one, and fails in some cycle."""

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle

    def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
        if kwargs["cycle_idx"] == self.cycle and kwargs["walker_idx"] == 1:
            raise ArithmeticError("on request")
        return Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight)


class LosesWeightAt(NoResampler):
    """Breaks W3 in some cycle."""

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle
        self.calls = 0

    def resample(self, walkers: Any) -> Any:
        self.calls += 1
        if self.calls > self.cycle:
            return walkers[1:], [], []
        return super().resample(walkers)


@pytest.mark.parametrize("what", ["a segment", "the weights"])
def test_a_failed_cycle_keeps_those_before(tmp_path: Path, what: str) -> None:
    """The message names the failure and the snapshot that is kept; the job's store is whole."""
    apparatus = pair_apparatus(
        runner=FailsAt(3 if what == "a segment" else -1),
        boundary_conditions=None,
        resampler=NoResampler() if what == "a segment" else LosesWeightAt(3),
    )
    start = Snapshot([Walker(WalkerState(x=[float(k)]), 0.25) for k in range(4)], apparatus)
    made = prepare_store(tmp_path / "x.orch", start, plain_configuration())
    with pytest.raises(CycleFailedError, match=r"cycle 3.*before it \(3 cycles\)") as caught:
        run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=9)
    if what == "the weights":
        assert isinstance(caught.value.__cause__, WeightError)
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    end = caught.value.fields["end"]
    assert store.missing("snapshots", end) == []
    found = load_snapshot(store, end)
    assert [float(walker.state["x"][0]) for walker in found.walkers] == [3.0, 4.0, 5.0, 6.0]
    (run,) = store.hashes("runs")
    assert (load_run(store, run).n_cycles, load_run(store, run).end.md5) == (3, end)
    assert_whole(store)


def test_a_failed_cycle_leaves_the_end_of_an_undisturbed_run(
    tmp_path: Path, pair_store: Prepared
) -> None:
    """R2: the regions, too, are those of the last whole cycle, not of the one that failed."""

    class Breaking:
        """A reporter that fails in one cycle, after resampling."""

        def init(self, **kwargs: Any) -> None: ...

        def report(self, **kwargs: Any) -> None:
            if kwargs["cycle_idx"] == 4:
                raise OSError(28, "No space left on device", "x")

        def cleanup(self, **kwargs: Any) -> None: ...

    made = prepare_store(
        tmp_path / "x.orch", pair_snapshot(), Configuration(SerialMapper(), [Breaking()])
    )
    with pytest.raises(CycleFailedError, match="No space left") as caught:
        run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=9)
    whole = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "whole", n_cycles=4)
    assert caught.value.fields["end"] == whole.end


class FullAt:
    """A reporter whose disk is full when a checkpoint after so many cycles is made."""

    def __init__(self, n_cycles: int) -> None:
        self.n_cycles = n_cycles

    def init(self, **kwargs: Any) -> None:
        self.seen = 0

    def report(self, **kwargs: Any) -> None:
        self.seen += 1

    def flush(self) -> None:
        if self.seen == self.n_cycles:
            raise OSError(28, "No space left on device", "notes.txt")

    def cleanup(self, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("n_cycles", "says"), [(2, "no cycle is kept"), (6, "4 cycles up to the last checkpoint: kept")]
)
def test_a_checkpoint_that_fails_names_the_way_on(tmp_path: Path, n_cycles: int, says: str) -> None:
    """The file, what is wrong, which cycles are kept, and the command."""
    configuration = Configuration(SerialMapper(), [FullAt(n_cycles)])
    made = prepare_store(tmp_path / "x.orch", pair_snapshot(), configuration)
    job = tmp_path / "the job"
    with pytest.raises(
        CheckpointFailedError, match=r"notes\.txt: No space left on device;"
    ) as caught:
        run_job(made.store, made.snapshot_hash, job, n_cycles=9, checkpoint_freq=2)
    assert says in str(caught.value)
    assert str(caught.value).endswith(f"wepy resume '{job}'")
    runs = [
        load_run(Store.open(job / "checkpoint.orch"), md5)
        for md5 in Store.open(job / "checkpoint.orch").hashes("runs")
    ]
    assert max((run.n_cycles for run in runs), default=0) == n_cycles - 2


DRIVER = """
import sys
from pathlib import Path
from tests.systems import run_job
from wepystore.api import Store
run_job(Store.open(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), n_cycles=10**6,
        checkpoint_freq=2)
"""


@pytest.mark.waits
def test_a_killed_job_leaves_its_last_checkpoint(pair_store: Prepared, tmp_path: Path) -> None:
    """SIGKILL at any instant: what is named is whole; the last checkpoint loads, runs on (S4)."""
    script = tmp_path / "drive.py"
    script.write_text(DRIVER)
    for k in range(2):
        job = tmp_path / f"job{k}"
        process = subprocess.Popen(
            [sys.executable, script, pair_store.store.path, pair_store.snapshot_hash, job],
            env=environment(),
        )
        until(lambda job=job: len(records_in(job)) >= 2, process)
        time.sleep(0.013 * k)  # For nothing: at whatever instant.
        process.kill()
        process.wait()
        store = Store.open(job / "checkpoint.orch")
        records = [load_run(store, md5) for md5 in store.hashes("runs")]
        last = max(records, key=lambda record: record.n_cycles)
        assert last.n_cycles % 2 == 0
        for record in records:
            assert store.missing("snapshots", record.end.md5) == []
        assert hash_of(load_snapshot(store, last.end.md5)) == last.end.md5
        if k == 0:
            # The same as a run of so many cycles that nobody killed; and it goes on.
            whole = run_job(
                pair_store.store,
                pair_store.snapshot_hash,
                tmp_path / "whole",
                n_cycles=last.n_cycles,
            )
            assert whole.end == last.end.md5
            run_job(store, last.end.md5, tmp_path / "on", n_cycles=1)


@pytest.mark.parametrize("at", [1, 3])
def test_a_store_that_is_removed_under_a_run_is_not_said_to_be_kept(
    pair_store: Prepared, tmp_path: Path, at: int
) -> None:
    """`rm -rf checkpoint.orch` between two checkpoints: the run ends, and says what is gone."""
    job = tmp_path / "job"
    watcher = removing(job / "checkpoint.orch", at)
    options = {"n_cycles": 8, "checkpoint_freq": 1}
    with pytest.raises(CheckpointFailedError) as caught:
        run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, **options)
    text = str(caught.value)
    assert ": kept" not in text
    assert ("no cycle is kept" if at == 1 else f"{at - 1} cycles up to the last") in text
    assert at == 1 or f"are gone from {job / 'checkpoint.orch'}" in text


@pytest.mark.parametrize("what", ["snapshots", "runs", "objects"])
def test_what_is_removed_under_a_run_is_written_again(
    pair_store: Prepared, tmp_path: Path, what: str
) -> None:
    """A part of the job's store goes: the end is whole, with the system and all it names."""
    job = tmp_path / "job"
    watcher = removing(job / "checkpoint.orch" / what, 3)
    options = {"n_cycles": 5, "checkpoint_freq": 1}
    outcome = run_job(pair_store.store, pair_store.snapshot_hash, job, watcher, **options)
    store = Store.open(job / "checkpoint.orch")
    assert store.missing("snapshots", outcome.end) == []
    assert load_run(store, store.hashes("runs")[-1]).end.md5 == outcome.end


def removing(folder: Path, at: int) -> Recorder:
    """A watcher that removes a folder before the checkpoint after so many cycles is begun: in the
    first cycle, or when the one before is there."""

    def remove(n_cycles: int, then: int) -> None:
        if n_cycles == then:
            shutil.rmtree(folder)

    if at == 1:
        return Recorder(on_cycle=lambda progress: remove(progress.n_cycles_done, 1))
    return Recorder(on_checkpoint=lambda n_cycles: remove(n_cycles, at - 1))
