"""`wepy push` to another directory; to other hosts and URLs: tests/remotes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot, contents
from wepystore.store import Store


def test_a_store_goes_to_another_directory(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """A new store there has it all; again nothing goes; ORCH may be left out."""
    world.store.set_ref("tags/bound", world.start)
    result = wepy("push w.orch new.orch")
    assert result.status == 0 and result.out == ""
    lines = result.err.splitlines()
    assert lines[0] == "To new.orch" and f" * [new snapshot] {world.start[:8]}…" in lines
    assert f" * [new tag] bound -> {world.start[:8]}…" in lines
    assert contents(Store.open(tmp_path / "new.orch")) == contents(world.store)
    assert wepy("push w.orch new.orch") == (0, "", "Already up to date.\n")


def test_the_store_may_be_left_out(
    wepy: Wepy, world: World, tmp_path: Path, monkeypatch: object
) -> None:
    """One word is the destination, and the store is found as for other commands."""
    world.store.path.rename(tmp_path / ".orch")
    assert wepy("push new.orch").status == 0
    assert wepy("ls snapshots new.orch").lines == sorted([world.start, world.end])


def test_a_dry_run_and_json(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """--dry-run tells the same and writes nothing; --json prints what went."""
    dry = wepy("push -n --json w.orch new.orch")
    assert dry.status == 0 and "Would send" in dry.err and not (tmp_path / "new.orch").exists()
    real = wepy("push --json w.orch new.orch")
    assert json.loads(dry.out) == json.loads(real.out)


def test_a_tag_that_differs_there_stays(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """S7: exit status 4, the tag there stays, all else went."""
    other = Store.create(tmp_path / "o.orch")
    theirs = add_snapshot(other, "other")
    other.set_ref("tags/bound", theirs)
    world.store.set_ref("tags/bound", world.start)
    result = wepy("push w.orch o.orch")
    assert result.status == 4 and "[conflict] bound" in result.err
    assert other.tags() == {"bound": theirs} and len(other.hashes("snapshots")) == 3


def test_what_is_not_whole_stays_here(wepy: Wepy, world: World) -> None:
    """S5: exit status 3, named; the rest went."""
    part = world.store.references("snapshots", world.end)[-1][1].md5
    world.store.remove("objects", part)
    result = wepy("push w.orch new.orch")
    assert result.status == 3 and part in result.err
    assert wepy("ls snapshots new.orch") == (0, world.start + "\n", "")


def test_bad_places_are_told(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Something else there, a source that is no store: one line, exit status 1."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "thesis.tex").touch()
    for line in ("w.orch plain", "none.orch new.orch", "w.orch -ox:y"):
        result = wepy(f"push -- {line}")
        assert result.status == 1 and result.err.count("\n") == 1, result
    assert not (tmp_path / "new.orch").exists()
