"""Clones and merges are counted through a whole run, and one that makes none says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.systems import (
    Recorder,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    pair_state,
    plain_configuration,
    run_job,
)
from wepystore.api import (
    NoResampler,
    PairDistance,
    Resampler,
    Snapshot,
    Store,
    Walker,
    WExploreResampler,
    load_run,
    prepare_store,
)
from wepystore.engine.resamplers.decision import Decision
from wepystore.orchestrator.run.resume import resume
from wepystore.records.snapshot import Apparatus

PAIR = PairDistance(0, 1, periodic=False)


def ran(tmp_path: Path, snapshot: Snapshot, n_cycles: int, **options: Any) -> Recorder:
    """What the watcher of a run from `snapshot` was told; the job is tmp_path / "job"."""
    made = prepare_store(tmp_path / "x.orch", snapshot, plain_configuration())
    watcher = Recorder()
    run_job(made.store, made.snapshot_hash, tmp_path / "job", watcher, n_cycles=n_cycles, **options)
    return watcher


def remarks(watcher: Recorder) -> list[str]:
    return [event[1] for event in watcher.events if event[0] == "remark"]


def counts(watcher: Recorder) -> list[tuple[int | None, int | None]]:
    return [(e[1].n_cloned, e[1].n_merged) for e in watcher.events if e[0] == "cycle"]


def record(job: Path) -> Any:
    store = Store.open(job / "checkpoint.orch")
    return max((load_run(store, md5) for md5 in store.hashes("runs")), key=lambda run: run.n_cycles)


def spread(weights: list[float], distances: list[float]) -> list[Walker]:
    return [Walker(pair_state(at), w) for at, w in zip(distances, weights, strict=True)]


def apart(resampler: Any) -> Snapshot:
    """Four heavy walkers in one place and two light ones, each where no other is."""
    walkers = spread([0.2] * 4 + [0.1] * 2, [0.38] * 4 + [1.5, 3.0])
    return Snapshot(walkers, pair_apparatus(boundary_conditions=None, resampler=resampler))


def test_a_bound_that_forbids_all_is_told_after_a_hundred_cycles_once(tmp_path: Path) -> None:
    """Regions differ, and pmax forbids what would even them out: said once, with its name."""
    snapshot = apart(WExploreResampler(PAIR, (10,), (0.8,), pmax=0.3))
    watcher = ran(tmp_path, snapshot, 250, n_steps=1)
    (text,) = remarks(watcher)
    assert text.startswith("100 cycles without a clone or a merge: WExploreResampler would")
    assert "pmax=0.3" in text
    told = [event[0] for event in watcher.events if event[0] in ("cycle", "remark")]
    assert told.index("remark") == 100
    assert counts(watcher)[-1] == (0, 0)


@pytest.mark.parametrize(
    ("resampler", "n_cycles", "words"),
    [
        (WExploreResampler(PAIR, (10,), (2.0,)), 100, "all walkers are in one region"),
        (WExploreResampler(PAIR, (10,), (2.0,)), 99, None),
        (NoResampler(), 210, None),
    ],
    ids=["one region", "too early", "plain dynamics"],
)
def test_what_is_said_of_a_run_without_clones(
    tmp_path: Path, resampler: Any, n_cycles: int, words: str | None
) -> None:
    """One region has words of its own, a short run and NoResampler have none."""
    snapshot = pair_snapshot(4, pair_apparatus(boundary_conditions=None, resampler=resampler))
    said = remarks(ran(tmp_path, snapshot, n_cycles, n_steps=1))
    assert len(said) == (words is not None)
    assert words is None or words in said[0]


def test_evenly_spread_walkers_are_no_cause_for_a_remark(tmp_path: Path) -> None:
    """Two regions with three walkers each need no clone for ever, and nobody is alarmed."""
    resampler = WExploreResampler(PAIR, (10,), (0.8,))
    walkers = spread([1 / 6] * 6, [0.38] * 3 + [3.0] * 3)
    apparatus = pair_apparatus(boundary_conditions=None, resampler=resampler)
    assert remarks(ran(tmp_path, Snapshot(walkers, apparatus), 250, n_steps=1)) == []


def test_an_old_snapshot_that_can_never_resample_runs_and_says_so_at_once(tmp_path: Path) -> None:
    """What is refused when it is built is run when it is read, with the reason first."""
    resampler = WExploreResampler(PAIR, (10,), (0.05,), pmax=0.5)
    snapshot = pair_snapshot(6, pair_apparatus(resampler=resampler))
    made = prepare_store(tmp_path / "x.orch", snapshot, plain_configuration())
    entry = made.store.file("snapshots", made.snapshot_hash)
    old = json.loads(entry.read_text())
    old["apparatus"]["resampler"]["component"]["params"]["pmax"] = 0.1
    text = json.dumps(old, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    ref = made.store.put("snapshots", text.encode())
    watcher = Recorder()
    run_job(made.store, ref.md5, tmp_path / "job", watcher, n_cycles=120, n_steps=1)
    (said,) = remarks(watcher)
    assert "pmax=0.1" in said
    assert watcher.events.index(("remark", said)) < [e[0] for e in watcher.events].index("cycle")


def test_counts_go_on_when_a_run_is_resumed(tmp_path: Path) -> None:
    """R2 for what is told: in two sessions as many clones and merges as in one."""
    made = prepare_store(tmp_path / "x.orch", pair_snapshot(), plain_configuration())
    start = (made.store, made.snapshot_hash)
    run_job(*start, tmp_path / "whole", n_cycles=14, n_steps=40)
    run_job(*start, tmp_path / "two", n_cycles=6, n_steps=40)
    first = record(tmp_path / "two").execution
    watcher = Recorder()
    resume(tmp_path / "two", {"n_cycles": 14}, watcher)
    whole, two = (record(tmp_path / name) for name in ("whole", "two"))
    assert whole.end == two.end
    for name in ("n_cloned", "n_merged"):
        assert (
            getattr(two.execution, name)
            == getattr(whole.execution, name)
            > getattr(first, name)
            > 0
        )
    assert counts(watcher)[-1] == (whole.execution.n_cloned, whole.execution.n_merged)


class Silent(Resampler):
    """Clones walker 0 into the slot of 1, and tells nobody."""

    def resample(self, walkers: Any) -> Any:
        return list(walkers), [], []


class Telling(Resampler):
    """Merges the last walker into the one before and clones the first, as anybody's might."""

    def resample(self, walkers: Any) -> Any:
        last = len(walkers) - 1
        records: list[dict[str, Any]] = [
            {"decision_id": int(Decision.NOTHING), "target_idxs": [k]} for k in range(last + 1)
        ]
        records[0] = {"decision_id": int(Decision.CLONE), "target_idxs": [0, last]}
        records[last - 1] = {"decision_id": int(Decision.KEEP_MERGE), "target_idxs": [last - 1]}
        records[last] = {"decision_id": int(Decision.SQUASH), "target_idxs": [last - 1]}
        moved = list(walkers)
        half = Walker(walkers[0].state, walkers[0].weight / 2)
        moved[last - 1] = Walker(walkers[last - 1].state, sum(w.weight for w in walkers[-2:]))
        moved[0] = moved[last] = half
        return moved, records, []


def test_somebody_elses_decisions_are_counted_where_they_are_told(tmp_path: Path) -> None:
    """One clone and one merge a cycle; of records that tell nothing no count is made up."""
    for cls, expected in ((Telling, (5, 5)), (Silent, (None, None))):
        folder = tmp_path / cls.__name__
        snapshot = pair_snapshot(6, Apparatus(pair_runner(), None, cls()))
        made = prepare_store(folder / "x.orch", snapshot, plain_configuration())
        watcher = Recorder()
        run_job(made.store, made.snapshot_hash, folder / "job", watcher, n_cycles=5)
        assert counts(watcher)[-1] == expected
        execution = record(folder / "job").execution
        assert (execution.n_cloned, execution.n_merged) == expected
