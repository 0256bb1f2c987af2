"""`wepy ls`: hashes, one a line, and what is not whole."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Wepy, World
from wepystore.cli import ls


def test_one_hash_a_line(wepy: Wepy, world: World) -> None:
    """stdout carries the hashes, sorted, and runs as START, END; nothing on stderr."""
    assert wepy("ls snapshots w.orch") == (0, "\n".join(sorted(world[1:3])) + "\n", "")
    assert wepy("ls configs w.orch") == (0, world.config + "\n", "")
    assert wepy("ls runs w.orch") == (0, f"{world.start}, {world.end}\n", "")


def test_an_empty_store_lists_nothing(wepy: Wepy) -> None:
    """No lines, no heading, exit status 0."""
    wepy("init")
    for more in ("", " --long"):
        assert wepy("ls snapshots" + more) == (0, "", "")
    assert json.loads(wepy("ls runs --json").out) == []


def test_long_and_json_tell_more(wepy: Wepy, world: World) -> None:
    """Sizes, states and names; the same hashes."""
    world.store.set_ref("default-snapshot", world.start)
    world.store.set_ref("tags/bound", world.start)
    table = wepy("ls snapshots w.orch --long").lines
    assert table[0].split() == ["HASH", "WALKERS", "SIZE", "STATE", "NAMES"]
    assert len(table) == 3
    line = next(line for line in table if line.startswith(world.start))
    assert "complete" in line and line.endswith("default, tag: bound")
    items = json.loads(wepy("ls snapshots w.orch --json").out)
    assert {item["hash"] for item in items} == {world.start, world.end}
    assert {item["state"] for item in items} == {"complete"}
    (run,) = json.loads(wepy("ls runs w.orch --json").out)
    assert (run["start"], run["end"], run["n_cycles"]) == (world.start, world.end, 12)
    assert run["hash"] == world.run and run["config"] == world.config
    assert wepy("ls runs w.orch -l").lines[1].split()[:3] == [world.start, world.end, "12"]
    assert world.config in wepy("ls configs w.orch -l").out


def test_half_a_store_is_listed_as_that(wepy: Wepy, world: World) -> None:
    """S5: what is incomplete or damaged is listed, and reported with exit status 3; a damaged
    JSON is no traceback."""
    part = world.store.references("snapshots", world.end)[-1][1].md5
    world.store.remove("objects", part)
    result = wepy("ls snapshots w.orch")
    assert result.status == 3 and len(result.lines) == 2
    assert part in result.err and world.end in result.err and result.err.count("\n") == 1
    assert "incomplete" in wepy("ls snapshots w.orch --long").out
    states = {i["hash"]: i["state"] for i in json.loads(wepy("ls snapshots w.orch --json").out)}
    assert states == {world.start: "complete", world.end: "incomplete"}
    assert wepy("ls runs w.orch").status == 3
    (world.store.path / "refs" / "tags" / "rot").write_text("x")
    assert "refs/tags/rot is damaged" in wepy("ls snapshots w.orch --long").err
    (world.store.path / "refs" / "tags" / "rot").unlink()
    world.store.file("runs", world.run).write_text('{"start": ')
    world.store.file("configs", world.config).write_text("")
    for kind in ("runs", "configs"):
        for more in ("", "--long", "--json"):
            result = wepy(f"ls {kind} w.orch {more}")
            assert result.status == 3 and "damaged" in result.err
            assert result.err.count("\n") == 1


def test_very_many_are_listed_without_a_look_into_each(
    wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 10,000 the plain listing is names alone, and says so; --long and --json look (S5)."""
    world.store.remove("objects", world.store.references("snapshots", world.end)[-1][1].md5)
    monkeypatch.setattr(ls, "MANY", 1)
    result = wepy("ls snapshots w.orch")
    assert result[:2] == (0, "\n".join(sorted(world[1:3])) + "\n")
    assert "--long" in result.err and result.err.count("\n") == 1
    assert wepy("ls snapshots w.orch --json").status == 3
    assert wepy("ls runs w.orch").status == 3
