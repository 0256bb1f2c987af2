"""`wepy create orch` and `wepy init`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Wepy, World
from wepystore.store import Store


def test_create_makes_an_empty_store(wepy: Wepy, tmp_path: Path) -> None:
    """At the path, with missing parents; without one at ./.orch; nothing on stdout."""
    for line, path in (("create orch a/b.orch", "a/b.orch"), ("create orch", ".orch")):
        result = wepy(line)
        assert result.status == 0 and result.out == "" and path in result.err
        assert Store.open(tmp_path / path).hashes("snapshots") == []


def test_create_refuses_what_is_there(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """An existing store and a directory in use are left alone, exit status 1."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    assert "already a store" in wepy("create orch w.orch").err
    assert "not empty" in wepy("create orch d").err
    assert wepy("create orch d").status == 1 == wepy("create orch w.orch").status
    (tmp_path / "f").touch()
    assert wepy("create orch f").status == 1 and wepy("create orch f/x").status == 1


def test_init_is_harmless(wepy: Wepy, world: World) -> None:
    """init makes a store, and where one is changes nothing and succeeds."""
    assert wepy("init").status == 0 and wepy("ls snapshots").out == ""
    again = wepy("init w.orch")
    assert again.status == 0 and "left as it is" in again.err
    assert len(wepy("ls snapshots w.orch").lines) == 2
