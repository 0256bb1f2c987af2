"""`wepy diff`."""

from __future__ import annotations

import json

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_config
from wepystore.api import Prepared


def test_two_configurations(wepy: Wepy, world: World) -> None:
    """One difference a line; status 0, or 1 with --exit-code; JSON; equal entries print nothing."""
    other = add_config(world.store, "d")
    result = wepy(f"diff w.orch {world.config} {other}")
    assert result.status == 0 and result.err == ""
    (line,) = result.lines
    assert line.startswith("monitor: array, object ") and " -> " in line
    assert wepy(f"diff --exit-code w.orch {world.config} {other}").status == 1
    (told,) = json.loads(wepy(f"diff --json w.orch {world.config} {other}").out)
    assert told["path"] == "monitor"
    same = wepy(f"diff -e w.orch {world.config} {world.config}")
    assert (same.status, same.out) == (0, "")


def test_different_kinds_and_unknown_hashes(wepy: Wepy, world: World) -> None:
    """Exit 1 and one line."""
    result = wepy(f"diff w.orch {world.start} {world.config}")
    assert result.status == 1 and "is a configuration, and a snapshot" in result.err
    assert wepy(f"diff w.orch {world.start} 0123456789").status == 1


def test_tags_files_and_a_store_that_is_found(wepy: Wepy, world: World) -> None:
    """Names stand for hashes, a file for its entry."""
    world.store.set_ref("tags/first", world.start)
    wepy(f"get snapshot w.orch {world.end} -O b.file")
    by_hash = wepy(f"diff w.orch {world.start} {world.end}")
    assert by_hash.out and wepy("diff w.orch first b.file") == by_hash


def test_a_real_snapshot_and_its_continuation(wepy: Wepy, pair_store: Prepared) -> None:
    """Positions, states and what a resampler has found, by their paths."""
    from pathlib import Path

    from tests.systems import run_job

    done = run_job(pair_store.store, pair_store.snapshot_hash, Path("job"))
    result = wepy(f"diff job/checkpoint.orch {done.start} {done.end}")
    paths = [line.partition(":")[0] for line in result.lines]
    assert "walkers.states" in paths and "walkers.positions" in paths
    assert any(path.startswith("resampler.(state)") for path in paths)
    assert not any(path.startswith("runner") for path in paths)
    runs = wepy("ls runs job/checkpoint.orch").out
    assert runs and wepy(f"diff job/checkpoint.orch {done.start} {done.start}").out == ""
