"""`wepy gc`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot
from tests.systems import run_job
from wepystore.api import Prepared, Watcher
from wepystore.orchestrator.run.resume import resume
from wepystore.store.care.busy import LOCK


def test_a_dry_run_by_default(wepy: Wepy, world: World) -> None:
    """What would go is told and stays, until --apply."""
    orphan = world.store.put("objects", b"an orphan").md5
    line = f"objects/{orphan[:2]}/{orphan} 9"
    result = wepy("gc --grace 0 w.orch")
    assert result.status == 0 and result.lines == [line] and "--apply" in result.err
    assert world.store.has("objects", orphan)
    for word in ("--apply", "--yes"):
        world.store.put("objects", b"an orphan")
        result = wepy(f"gc --grace=0s {word} w.orch")
        assert result.lines == [line] and "Removed 1 file, 9 B." in result.err
        assert not world.store.has("objects", orphan)
    assert "Nothing to remove." in wepy("gc --apply w.orch").err


def test_grace_and_unnamed_snapshots(wepy: Wepy, world: World) -> None:
    """Fourteen days unless told otherwise; a snapshot of 'wepy add' stays unless told otherwise."""
    unnamed = add_snapshot(world.store, "unnamed")
    world.store.put("objects", b"an orphan")
    result = wepy("gc w.orch")
    assert not result.out and "1 more stay" in result.err
    told = json.loads(wepy("gc --json --apply --grace 0 w.orch").out)
    assert told["applied"] and [item["kind"] for item in told["items"]] == ["objects"]
    told = json.loads(wepy("gc --json --unreferenced-snapshots --grace 0 w.orch").out)
    assert told["items"][0]["name"] == unnamed and told["bytes"] > 0
    assert wepy("gc --apply --unreferenced-snapshots --grace 0 w.orch").status == 0
    assert world.store.hashes("snapshots") == sorted([world.start, world.end])
    assert wepy("fsck w.orch").status == 0


def test_covered_runs_go_when_asked(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """The record of the shorter run, its recording and its end: told, and removed with --apply."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job)
    resume(job, {"n_cycles": 5}, Watcher())
    wepy("reconcile orch m.orch job")
    before = set(wepy("ls runs m.orch").lines)
    assert len(before) == 2 and not wepy("gc --grace 0 m.orch").out
    told = json.loads(wepy("gc --json --grace 0 --covered m.orch").out)
    kinds = [item["kind"] for item in told["items"]]
    assert kinds[:4] == ["runs", "recordings", "frames", "snapshots"]
    assert set(kinds[4:]) == {"objects"}
    assert "longer run covers it" in told["items"][0]["why"]
    assert set(wepy("ls runs m.orch").lines) == before
    assert wepy("gc --grace 0 --covered --apply m.orch").status == 0
    assert len(wepy("ls runs m.orch").lines) == 1 and wepy("fsck m.orch").status == 0
    assert "Nothing to remove" in wepy("gc --grace 0 --covered m.orch").err


@pytest.mark.parametrize("text", ["", "x", "14", "-1d", "1y", "1 d"])
def test_odd_durations(wepy: Wepy, world: World, text: str) -> None:
    """A duration without a unit, or with an unknown one, is refused (status 2)."""
    result = wepy("gc w.orch", f"--grace={text}")
    assert result.status == 2 and "--grace" in result.err


def test_refusals(wepy: Wepy, world: World) -> None:
    """Status 1 beside a writer, 3 with a damaged manifest, each in one line."""
    world.store.put("objects", b"an orphan")
    other = world.store.path / "tmp" / "node17-99-00ff00ff00ff00ff"
    other.write_bytes(b"")
    busy = wepy("gc --apply --grace 0 w.orch")
    assert busy.status == 1 and "node17" in busy.err and busy.err.count("\n") == 1
    other.unlink()
    (world.store.path / LOCK).write_text(json.dumps({"host": "node17", "pid": 1}))
    locked = wepy("gc --apply --grace 0 w.orch")
    assert locked.status == 1 and LOCK in locked.err
    os.unlink(world.store.path / LOCK)
    world.store.file("snapshots", world.start).write_bytes(b"")
    damaged = wepy("gc --apply --grace 0 w.orch")
    assert damaged.status == 3 and "wepy fsck" in damaged.err
