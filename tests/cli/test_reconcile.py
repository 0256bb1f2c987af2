"""`wepy reconcile orch`: what came, on stderr, as git fetch tells it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot
from tests.systems import run_job
from wepystore.api import Prepared
from wepystore.store import Store


def test_it_tells_what_came(wepy: Wepy, world: World) -> None:
    """New entries are listed on stderr, stdout stays empty; the second time there is nothing."""
    world.store.set_ref("tags/bound", world.start)
    result = wepy("reconcile orch new.orch w.orch")
    assert result.status == 0 and result.out == ""
    lines = result.err.splitlines()
    assert f" * [new config] {world.config[:8]}…" in lines
    for md5 in (world.start, world.end):
        assert f" * [new snapshot] {md5[:8]}…" in lines
    assert f" * [new run] {world.start[:7]}..{world.end[:7]} (12 cycles)" in lines
    assert f" * [new tag] bound -> {world.start[:8]}…" in lines
    assert wepy("ls runs new.orch").lines == [f"{world.start}, {world.end}"]
    assert wepy("reconcile orch new.orch w.orch") == (0, "", "Already up to date.\n")


def test_what_is_part_of_a_run_has_no_line(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path
) -> None:
    """Of a run with all that is kept of it: start, end, configuration and the run itself."""
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job")
    result = wepy("reconcile orch new.orch job")
    told = re.findall(r"^ \* \[new (\w+)\]", result.err, re.M)
    assert sorted(told) == ["config", *["default"] * 2, "run", *["snapshot"] * 2]


def test_several_sources_and_hidden_stores(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """All sources in one go; a directory that holds a .orch stands for it."""
    other = Store.create(tmp_path / "project" / ".orch")
    md5 = add_snapshot(other, "other")
    result = wepy("reconcile orch new.orch w.orch project")
    assert result.status == 0
    assert wepy("ls snapshots new.orch").lines == sorted([world.start, world.end, md5])


def test_a_dry_run_does_nothing(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """--dry-run tells the same and writes nothing."""
    result = wepy("reconcile orch new.orch w.orch --dry-run")
    assert result.status == 0 and "[new run]" in result.err and "Would bring" in result.err
    assert not (tmp_path / "new.orch").exists()


def test_json_tells_the_same(wepy: Wepy, world: World) -> None:
    """--json prints the outcome on stdout."""
    told = json.loads(wepy("reconcile orch new.orch w.orch --json").out)
    assert [entry["kind"] for entry in told["entries"]] == [
        *("configs", "snapshots", "snapshots", "frames", "recordings", "runs")
    ]
    assert told["entries"][-1]["n_cycles"] == 12 and told["left_out"] == []


def test_a_tag_that_differs_is_a_conflict(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """S7: exit status 4, the tag stays, all else came."""
    other = Store.create(tmp_path / "o.orch")
    other.set_ref("tags/bound", add_snapshot(other, "other"))
    world.store.set_ref("tags/bound", world.start)
    result = wepy("reconcile orch w.orch o.orch")
    assert result.status == 4 and "[conflict] bound" in result.err
    assert len(wepy("ls snapshots w.orch").lines) == 3
    assert wepy("tag w.orch").lines == [f"bound {world.start}"]


def test_what_is_not_whole_stays_out(wepy: Wepy, world: World) -> None:
    """S5: exit status 3, and it is said what was left out and why; the rest came."""
    part = world.store.references("snapshots", world.end)[-1][1].md5
    world.store.remove("objects", part)
    result = wepy("reconcile orch new.orch w.orch")
    assert result.status == 3
    assert f"[left out] snapshot {world.end}" in result.err and part in result.err
    assert wepy("ls snapshots new.orch") == (0, world.start + "\n", "")


def test_bad_paths_are_told(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """No such source, a source or target that is no store: one line, and no target is made."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "thesis.tex").touch()
    for line in ("new.orch none", "new.orch plain", "plain w.orch", "new.orch w.orch none"):
        result = wepy(f"reconcile orch {line}")
        assert result.status == 1 and result.err.count("\n") == 1
    assert not (tmp_path / "new.orch").exists()
