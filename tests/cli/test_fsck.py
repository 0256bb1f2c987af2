"""`wepy fsck`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot
from wepystore.store import Store


@pytest.fixture
def damaged(world: World) -> str:
    """The hash of an object of the start snapshot, which has been cut off; a copy is c.orch."""
    shutil.copytree(world.store.path, "c.orch")
    md5 = world.store.references("snapshots", world.start)[1][1].md5
    os.truncate(world.store.file("objects", md5), 7)
    return md5


def test_a_whole_store(wepy: Wepy, world: World) -> None:
    """Nothing on stdout, what was read on stderr, status 0."""
    for option in ("", "--fast", "--sha256", "--subset 1/2"):
        result = wepy(f"fsck {option} w.orch")
        assert result.status == 0 and result.out == "" and "1 runs" in result.err


def test_damage_is_told(wepy: Wepy, world: World, damaged: str) -> None:
    """One line with the file, why, and what needs it; status 3; the same as JSON."""
    world.store.set_ref("tags/bound", world.start)
    result = wepy("fsck w.orch")
    assert result.status == 3 and "--repair" in result.err
    (line,) = result.lines
    assert line.startswith(f"damaged: objects/{damaged[:2]}/{damaged}: its 7 bytes")
    assert f"needed by tag bound, run {world.run}, snapshot {world.start}" in line
    told = json.loads(wepy("fsck --json w.orch").out)
    (problem,) = told["problems"]
    assert not told["healthy"] and problem["name"] == damaged
    assert {"kind": "runs", "name": world.run} in problem["needed_by"]


@pytest.mark.parametrize("kind", ["configs", "snapshots", "recordings", "runs"])
@pytest.mark.parametrize("way", ["gone", "empty"])
def test_every_kind_is_told_with_what_needs_it(
    wepy: Wepy, world: World, kind: str, way: str
) -> None:
    """An entry, and an object of it."""
    named = {"configs": world.config, "snapshots": world.end, "runs": world.run}
    md5 = named.get(kind) or world.store.hashes(kind)[0]
    parts = [ref.md5 for part, ref in world.store.references(kind, md5) if part == "objects"]
    for part, name in [(kind, md5), *(("objects", each) for each in parts[-1:])]:
        file = world.store.file(part, name)
        data = file.read_bytes()
        file.unlink() if way == "gone" else file.write_bytes(b"")
        result = wepy("fsck w.orch")
        # Nothing knows of a record that has gone.
        assert result.status == (0 if (kind, way) == ("runs", "gone") else 3)
        assert "bug" not in result.err and len(result.lines) == (result.status == 3)
        for line in result.lines:
            assert name in line and (kind == "runs" or f"run {world.run}" in line)
            assert part == kind or md5 in line
        file.write_bytes(data)


def test_repair(wepy: Wepy, world: World, damaged: str) -> None:
    """From a copy: healed, status 0, the damaged file in quarantine/. Without: set aside, and
    status 3 until a copy comes."""
    healed = wepy("fsck --repair --from c.orch w.orch")
    assert healed.status == 0 and "1 of 1 healed" in healed.err
    assert len(list((world.store.path / "quarantine").iterdir())) == 1
    assert wepy("fsck w.orch").status == 0
    # A new file: the healed one is a hard link to that of the copy.
    world.store.file("objects", damaged).unlink()
    world.store.file("objects", damaged).write_bytes(b"damaged")
    alone = wepy("fsck --repair w.orch")
    assert alone.status == 3 and "[not healed]" in alone.err
    assert wepy("fsck w.orch").lines[0].startswith("missing: ")
    told = json.loads(wepy("fsck --repair --from c.orch --from c.orch --json w.orch").out)
    assert told["repaired"]["brought"] == [{"kind": "objects", "hash": damaged}]


def test_repair_from_elsewhere(wepy: Wepy, world: World, damaged: str, tmp_path: Path) -> None:
    """--from takes what reconcile takes: here a URL. A damaged manifest's parts come with it."""
    pytest.importorskip("fsspec")
    world.store.set_ref("tags/bound", world.end)
    world.store.remove("objects", damaged)
    shutil.copytree(world.store.path, "half.orch")
    part = world.store.references("snapshots", world.end)[1][1].md5
    world.store.remove("objects", part)
    for kind, md5 in (("snapshots", world.end), ("configs", world.config)):
        file = world.store.file(kind, md5)
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data[::-1])
    result = wepy(f"fsck --repair --from file://{tmp_path}/half.orch w.orch")
    assert result.status == 3 and f"missing: objects/{damaged[:2]}/{damaged}" in result.out
    assert "2 of 3 healed, 3 files brought" in result.err and "2 set aside" in result.err
    assert [p["name"] for p in json.loads(wepy("fsck --json w.orch").out)["problems"]] == [damaged]


@pytest.mark.parametrize("way", ["deleted", "rubbish", "another"])
def test_the_store_s_own_file(wepy: Wepy, world: World, way: str) -> None:
    """A store without its wepystore.json, or with a damaged one, is checked and healed too."""
    shutil.copytree(world.store.path, "c.orch")
    mark = world.store.path / "wepystore.json"
    mark.unlink()
    if way != "deleted":
        mark.write_bytes(b"rubbish" if way == "rubbish" else b'{"format":1,"tipe":"store"}\n')
    result = wepy("fsck w.orch")
    assert result.status == 3 and "wepystore.json" in result.out
    assert wepy("fsck --repair w.orch").status == 3
    assert wepy("fsck --repair --from c.orch w.orch").status == 0
    assert Store.open(world.store.path).hashes("runs") == [world.run]


def test_the_store_s_own_file_from_elsewhere(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Any source brings it: here a URL."""
    pytest.importorskip("fsspec")
    shutil.copytree(world.store.path, "c.orch")
    (world.store.path / "wepystore.json").write_bytes(b"rubbish")
    assert wepy(f"fsck --repair --from file://{tmp_path}/c.orch w.orch").status == 0
    assert Store.open(world.store.path).hashes("runs") == [world.run]


@pytest.mark.parametrize(
    "line",
    [
        "fsck --subset 0/3",
        "fsck --subset 4/3",
        "fsck --subset x",
        "fsck --subset 1/2 --fast",
        "fsck --from c.orch",
    ],
)
def test_wrong_usage(wepy: Wepy, world: World, line: str) -> None:
    """Status 2, one line, nothing done."""
    result = wepy(line + " w.orch")
    assert result.status == 2 and result.out == ""


def test_not_a_store(wepy: Wepy, tmp_path: Path) -> None:
    """A directory that has nothing of a store is none, and is not checked."""
    (tmp_path / "empty").mkdir()
    assert wepy("fsck empty").status == 1
    assert wepy("fsck nowhere").status == 1


def test_hostile_names_are_escaped(wepy: Wepy, world: World) -> None:
    """S10: a file name with a newline and an escape sequence makes one harmless line."""
    (world.store.path / "objects" / "a\n\x1b[31mb\udcff").write_bytes(b"")
    result = wepy("fsck w.orch")
    assert result.status == 0
    assert "foreign: objects/a\\n\\x1b[31mb\\udcff" in result.err
    told = json.loads(wepy("fsck --json w.orch").out)
    assert "\\x1b" in told["notes"][0]["path"]


def test_many_notes_are_cut(wepy: Wepy, world: World) -> None:
    """Ten of a sort are shown, and how many more there are."""
    for number in range(14):
        add_snapshot(world.store, f"n{number}")
    assert "unnamed: 4 more; --json lists all" in wepy("fsck w.orch").err
