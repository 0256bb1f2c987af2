"""`wepy default`, and what other commands say of defaults."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_config, add_snapshot
from wepystore.store import Store


def test_defaults_are_set_and_shown(wepy: Wepy, world: World) -> None:
    """By hash, first digits or tag; what it was is told on stderr; stdout is for scripts."""
    assert wepy("default w.orch") == (0, "", "")
    assert wepy("default snapshot w.orch", world.start).status == 0
    assert wepy("default config w.orch", world.config[:8]).status == 0
    lines = [f"snapshot {world.start}", f"config {world.config}"]
    assert wepy("default w.orch").lines == lines
    world.store.set_ref("tags/bound", world.end)
    moved = wepy("default snapshot w.orch bound")
    assert moved == (0, "", f"default snapshot: {world.start} -> {world.end}\n")
    assert wepy("default snapshot w.orch", world.end) == (0, "", "")
    assert wepy("default snapshot w.orch").lines == [world.end]
    assert json.loads(wepy("default --json w.orch").out) == {
        "snapshot": world.end,
        "config": world.config,
    }
    assert wepy("show w.orch default").lines[0] == f"snapshot {world.end} (default, tag: bound)"


def test_a_store_that_is_found(wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ORCH, as every other command."""
    monkeypatch.setenv("WEPY_ORCH", str(world.store.path))
    assert wepy("default config", world.config).status == 0
    assert wepy("default config").lines == [world.config]
    assert wepy("default").lines == [f"config {world.config}"]


def test_what_cannot_be_a_default(wepy: Wepy, world: World) -> None:
    """The other kind, a run, what is not there, several hashes, a missing one: one line each, and
    the default stays."""
    world.store.set_ref("default-snapshot", world.start)
    for line, status, text in [
        (f"default snapshot w.orch {world.config}", 1, "is a configuration, and a snapshot is"),
        (f"default config w.orch {world.run}", 1, "is a run, and a configuration is needed"),
        ("default snapshot w.orch " + "f" * 32, 1, "no snapshot 'ffff"),
        (f"default snapshot w.orch '{world.start} {world.end}'", 1, "2 hashes"),
        ("default config w.orch", 1, "no default configuration: 'wepy default config "),
        ("default config w.orch default", 1, "no default is set in it"),
        ("default snapshot nowhere.orch", 1, "no store at nowhere.orch"),
        ("default snapshot", 1, "no store was named"),
        ("default snapshto w.orch ffff", 2, "'snapshto'; did you mean 'snapshot'"),
        (f"default w.orch {world.end}", 2, "there are config, snapshot"),
        (f"default snapshot nowhere.orch {world.end}", 1, "no store at nowhere.orch"),
        ("default snapshot config w.orch x y", 2, "one word too many"),
    ]:
        result = wepy(line)
        assert (result.status, result.out) == (status, ""), (line, result)
        assert text in result.err.splitlines()[0], (line, result.err)
    assert world.store.ref("default-snapshot") == world.start
    assert world.store.ref("default-config") is None


def test_a_default_that_is_damaged_can_be_set_again(wepy: Wepy, world: World) -> None:
    """Whoever has the right hash needs no repair for it."""
    (world.store.path / "refs" / "default-snapshot").write_text("rubbish\n")
    assert wepy("default w.orch").status == 3
    assert wepy("default snapshot w.orch", world.start).status == 0
    assert wepy("default snapshot w.orch").lines == [world.start]


def test_reconcile_and_push_tell_whose_start_it_is(wepy: Wepy, world: World) -> None:
    """A new store gets the start of the run whose end is the default there, and says so."""
    world.store.set_ref("default-snapshot", world.end)
    told = (
        f" * [new default] default-snapshot -> {world.start[:8]}…, where the runs began that led "
        f"to {world.end[:8]}…, the default there"
    )
    for line in ("reconcile orch {} w.orch", "push w.orch {}"):
        name = line.split()[0] + ".orch"
        dry = wepy(line.format(f"{name} --dry-run --json"))
        assert told in dry.err.splitlines()
        assert json.loads(dry.out)["default_there"] == world.end
        assert told in wepy(line.format(name)).err.splitlines()
        assert Store.open(name).ref("default-snapshot") == world.start


def test_add_leaves_defaults_alone(wepy: Wepy, world: World) -> None:
    """`wepy add` sets none and moves none."""
    other = Store.create("other.orch")
    snapshot, config = add_snapshot(other, "z"), add_config(other, "z")
    for kind, md5 in (("snapshot", snapshot), ("config", config)):
        file = wepy(f"get {kind} other.orch", md5).lines[0]
        assert wepy(f"add {kind} w.orch", file).lines == [md5]
    assert wepy("default w.orch").out == ""
    world.store.set_ref("default-snapshot", world.start)
    wepy("add snapshot w.orch", f"{snapshot}.snap.dill.pkl")
    assert wepy("default w.orch").lines == [f"snapshot {world.start}"]
