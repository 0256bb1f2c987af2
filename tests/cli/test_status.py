"""`wepy status`."""

from __future__ import annotations

import json

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot


def test_status_in_words(wepy: Wepy, world: World) -> None:
    """Counts, names, what nothing refers to, leftovers, on stdout; status 0."""
    unnamed = add_snapshot(world.store, "unnamed")
    world.store.put("objects", b"an orphan")
    world.store.set_ref("tags/bound", world.end)
    (world.store.path / "tmp" / "host-1-ff").write_bytes(b"")
    (world.store.path / "quarantine" / "objects-x").write_bytes(b"")
    result = wepy("status w.orch")
    assert result.status == 0 and result.err == ""
    for text in (
        "  snapshots: 3, ",
        f"  tag bound: {world.end}",
        f"  snapshot {unnamed}: no run, tag or default needs it",
        "  1 objects that nothing names, 9 B; see 'wepy gc'",
        "  1 unfinished writes in tmp/",
        "  1 files in quarantine/",
    ):
        assert text in result.out


def test_status_of_half_a_store(wepy: Wepy, world: World) -> None:
    """S5: what is incomplete is told with what it lacks, status 3; also as JSON."""
    world.store.remove("snapshots", world.end)
    result = wepy("status w.orch")
    assert result.status == 3
    assert f"incomplete: run {world.run}: without snapshot {world.end}" in result.out
    told = json.loads(wepy("status --json w.orch").out)
    (item,) = told["incomplete"]
    assert (item["hash"], item["missing"][0]["md5"]) == (world.run, world.end)
    assert told["entries"]["snapshots"]["files"] == 1


def test_long_lists_are_cut(wepy: Wepy, world: World) -> None:
    """Hundreds of unnamed snapshots do not fill the terminal; --json has all."""
    for number in range(15):
        add_snapshot(world.store, f"n{number}")
    assert "… and 5 more such" in wepy("status w.orch").out
    assert len(json.loads(wepy("status --json w.orch").out)["unnamed"]) == 15
