"""The times of a run: kept with every checkpoint, of its record and not of its recording (D1)."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.run.test_checkpoint import assert_whole
from tests.orchestrator.run.test_recorder import Fails, job_store, record_of
from tests.systems import Recorder, pair_snapshot, plain_configuration, run_job
from wepystore.api import (
    CycleFailedError,
    NoTimesError,
    Prepared,
    ProcessMapper,
    Store,
    Watcher,
    load_runs,
    load_times,
    prepare_store,
    reconcile,
    verify,
)
from wepystore.orchestrator.run import recorder
from wepystore.orchestrator.run.resume import resume
from wepystore.records.covering import superfluous
from wepystore.records.times import COLUMNS, SPENT


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full blocks of four cycles."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: 4)


def longest(store: Store) -> str:
    runs = load_runs(store)
    return max(runs, key=lambda md5: runs[md5].n_cycles)


def times_of(job: Path) -> dict[str, Any]:
    """Of the job's longest record; all columns go together, and with what the record tells."""
    store = job_store(job)
    found = load_times(store, longest(store))
    told = record_of(job).execution.times
    assert told is not None and told["columns"] == list(found) == list(COLUMNS)
    n_cycles = len(found["cycle_idx"])
    assert told["n_cycles"] == n_cycles == len(found["ended"])
    for name in SPENT:
        assert len(found[name]) == n_cycles and (found[name] >= 0).all()
        assert told["seconds"][name] == pytest.approx(found[name].sum(), abs=1e-4)
    return found


def test_what_they_tell(pair_store: Prepared, tmp_path: Path) -> None:
    """A row a cycle, in order and at the time of day; a segment a walker, whose seconds are the
    runner's but for what goes on between them."""
    before = time.time()
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", n_cycles=4)
    times = times_of(tmp_path / "job")
    assert times["cycle_idx"].tolist() == [0, 1, 2, 3]
    assert before <= times["ended"][0] <= times["ended"][3] <= time.time()
    (n_walkers,) = set(times["n_segments"].tolist())
    assert times["walker_idx"].tolist() == list(range(n_walkers)) * 4
    assert set(times["worker"]) == {0}
    assert (times["segment_s"].reshape(4, -1).sum(axis=1) <= times["runner_s"]).all()
    assert not times["checkpoint_s"].any()


def test_which_worker_ran_which_walker(tmp_path: Path) -> None:
    """Each of two processes some, and each walker once."""
    configuration = plain_configuration(ProcessMapper(2))
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(), configuration)
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=2)
    times = times_of(tmp_path / "job")
    (n_walkers,) = set(times["n_segments"].tolist())
    assert times["walker_idx"].tolist() == list(range(n_walkers)) * 2
    assert set(times["worker"]) <= {0, 1} and len(times["worker"]) == len(times["segment_s"])


@pytest.mark.parametrize(("freq", "stops"), [(1, ()), (3, ()), (1, (2, 5)), (100, (3, 4, 9))])
def test_a_resumed_and_extended_run_has_them_all(
    pair_store: Prepared,
    tmp_path: Path,
    small_blocks: None,
    freq: int,
    stops: tuple[int, ...],
) -> None:
    """Once each, in full blocks and what is left over; the store holds nothing besides."""
    job, (first, *more) = tmp_path / "job", (*stops, 11)
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=first, checkpoint_freq=freq)
    for n_cycles in more:
        resume(job, {"n_cycles": n_cycles}, Recorder())
    times = times_of(job)
    assert times["cycle_idx"].tolist() == list(range(11))
    assert (times["checkpoint_s"] > 0).any() == (freq < 11)
    told = record_of(job).execution.times
    assert told is not None and [part["n_cycles"] for part in told["parts"]] == [4, 4, 3]
    assert_whole(job_store(job))


def test_a_job_that_was_killed(pair_store: Prepared, tmp_path: Path) -> None:
    """As it was at a checkpoint it is whole, and its cycles that were lost count once, as they were
    done last."""
    job, copy = tmp_path / "job", tmp_path / "copy" / "job"

    class Copies(Watcher):
        def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
            if n_cycles == 3:
                shutil.copytree(job, copy)

    run_job(
        pair_store.store, pair_store.snapshot_hash, job, Copies(), n_cycles=6, checkpoint_freq=3
    )
    assert times_of(copy)["cycle_idx"].tolist() == [0, 1, 2]
    resume(copy, {}, Recorder())
    there, here = times_of(copy), times_of(job)
    assert there["cycle_idx"].tolist() == list(range(6))
    assert there["ended"][:3].tolist() == here["ended"][:3].tolist()
    assert there["ended"][3] > here["ended"][3]
    assert_whole(job_store(copy))


def test_a_checkpoint_has_one_more_file(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the run (D3), and there are few of them."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: 64)
    job = tmp_path / "job"
    seen: list[set[str]] = []

    class Looks(Watcher):
        def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
            told = record_of(job).execution.times
            assert told is not None and told["n_cycles"] == n_cycles
            seen.append({part["object"]["md5"] for part in told["parts"]})

    run_job(
        pair_store.store, pair_store.snapshot_hash, job, Looks(), n_cycles=25, checkpoint_freq=1
    )
    assert len(seen) == 25
    assert all(len(new - old) == 1 for old, new in itertools.pairwise(seen))
    assert max(map(len, seen)) <= 24 // 4 + 2


def test_a_cycle_that_failed_has_none(tmp_path: Path, small_blocks: None) -> None:
    """And is there once when it has been done again."""
    configuration = plain_configuration(reporters=[Fails()])
    made = prepare_store(tmp_path / "a.orch", pair_snapshot(), configuration)
    job = tmp_path / "job"
    with pytest.raises(CycleFailedError, match="No space left"):
        run_job(made.store, made.snapshot_hash, job, n_cycles=5)
    assert times_of(job)["cycle_idx"].tolist() == [0, 1]
    resume(job, {"n_cycles": 5}, Recorder())
    assert times_of(job)["cycle_idx"].tolist() == list(range(5))


def test_a_run_that_an_older_version_began(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has none, says so, and has those of the cycles that are done from now on."""
    job = tmp_path / "job"
    with monkeypatch.context() as patched:
        patched.setattr(recorder.Recorder, "keep_times", lambda self, recorded: None)
        run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=3)
    assert record_of(job).execution.times is None
    md5 = longest(job_store(job))
    with pytest.raises(NoTimesError, match=md5):
        load_times(job, md5)
    resume(job, {"n_cycles": 5}, Recorder())
    assert times_of(job)["cycle_idx"].tolist() == [3, 4]


def test_they_make_no_difference(pair_store: Prepared, tmp_path: Path) -> None:
    """Two executions have one recording, and each record times of its own, which go where it goes;
    a shorter run of other times is covered, and verify is content. Without its times a record is
    incomplete (S5)."""
    for name, n_cycles in (("one", 5), ("two", 5), ("short", 3)):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / name, n_cycles=n_cycles)
        came = reconcile(tmp_path / "all.orch", tmp_path / name)
        assert not came.left and not came.conflicts
    store = Store.open(tmp_path / "all.orch")
    every = load_runs(store)
    one, two, short = sorted(every, key=lambda md5: -every[md5].n_cycles)
    assert every[one].recording == every[two].recording
    assert len({load_times(store, md5)["ended"][0] for md5 in every}) == 3
    assert set(superfluous(store)) == {short}
    assert verify(store, two).reproduced
    (part,) = [ref.md5 for kind, ref in store.references("runs", one) if kind == "objects"]
    store.file("objects", part).unlink()
    assert store.missing("runs", one) and not store.missing("runs", two)
