"""`wepy log`, `wepy show`, `wepy tag`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_run, add_snapshot
from wepystore.cli.describe import npy_header
from wepystore.orchestrator.history import ancestors_first
from wepystore.store import canonical
from wepystore.store.runs import Run


def test_log_shows_descendants_first(wepy: Wepy, world: World) -> None:
    """Every snapshot once, each above its ancestors, with the runs that ended in it; the same
    text whatever the order in which things were added."""
    last = add_snapshot(world.store, "z")
    add_run(world.store, world.end, last, world.config, n_cycles=1)
    world.store.set_ref("tags/bound", world.start)
    result = wepy("log w.orch")
    heads = [line.split()[1] for line in result.lines if line.startswith("snapshot")]
    assert result.status == 0 and heads == [last, world.end, world.start]
    assert f"snapshot {world.start} (tag: bound)" in result.lines
    assert f"1 cycle of 10 steps, config {world.config[:8]}…, seed 1" in result.out
    items = json.loads(wepy("log w.orch --json").out)
    assert [item["hash"] for item in items] == heads[::-1]
    assert items[1]["runs"][0]["n_cycles"] == 12 and items[1]["runs"][0]["start"] == world.start


def test_log_of_what_is_not_there(wepy: Wepy, world: World) -> None:
    """A run whose snapshot is elsewhere is shown so; a damaged record is reported (status 3)."""
    world.store.remove("snapshots", world.end)
    assert f"snapshot {world.end} (not in this store)" in wepy("log w.orch").lines
    world.store.file("runs", world.run).write_text("{}")
    result = wepy("log w.orch")
    assert result.status == 3 and world.run in result.err and world.start in result.out


def test_order_survives_circles() -> None:
    """Made-up records that go round in a circle are listed and do not hang."""
    runs = [Run("1", "a", "b", "c", 1), Run("2", "b", "a", "c", 1), Run("3", "x", "x", "c", 0)]
    assert ancestors_first({"q"}, runs) == ["q", "x", "a", "b"]


@pytest.fixture
def detailed(world: World) -> str:
    """A snapshot with arrays, components and a pickled part."""
    store = world.store
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 5, 3), }"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(240)
    positions, system = store.put("objects", array), store.put("objects", b"<System/>")
    pickle = store.put("objects", b"\x80\x04cos\nsystem\n.")
    manifest = {
        "type": "snapshot",
        "format": 1,
        "walkers": {
            "weights": [0.25, 0.75],
            "states": [0, 1],
            "groups": [{"n_states": 2, "fields": {"positions": positions.to_json()}}],
        },
        "apparatus": {
            "runner": {
                "component": {
                    "class": "OpenMMRunner",
                    "version": 1,
                    "params": {"system": {"text": system.to_json()}, "platform": "Reference"},
                }
            },
            "resampler": {"pickle": pickle.to_json(), "of": "script.MyResampler"},
            "boundary_conditions": None,
        },
    }
    return store.put("snapshots", canonical.dumps(manifest)).md5


def test_show_a_snapshot(wepy: Wepy, world: World, detailed: str) -> None:
    """Walkers, weights, atoms from .npy headers, components and their parameters; what is
    pickled is marked and not opened (S9)."""
    result = wepy(f"show w.orch {detailed}")
    assert result.status == 0 and result.lines[0] == f"snapshot {detailed}"
    for text in (
        "2 walkers, weights 0.25 to 0.75, sum 1",
        "positions: array 2×5×3 <f8, 5 atoms",
        "runner: OpenMMRunner",
        "platform: Reference",
        "resampler: PICKLED script.MyResampler",
        "boundary_conditions: none",
        "1 of them pickled",
    ):
        assert text in result.out
    told = json.loads(wepy(f"show w.orch {detailed} --json").out)
    objects = told["objects"].values()
    assert sorted(o["pickled"] for o in objects) == [False, False, True]
    assert [o["shape"] for o in objects if "shape" in o] == [[2, 5, 3]]


def test_show_anything(wepy: Wepy, world: World) -> None:
    """A configuration, a run by its hash or START,END, an object; a tag or prefix will do."""
    world.store.set_ref("tags/bound", world.start)
    assert wepy(f"show w.orch {world.config}").lines[0] == f"configuration {world.config}"
    assert wepy("show w.orch bound").lines[0] == f"snapshot {world.start} (tag: bound)"
    by_hash = wepy(f"show w.orch {world.run[:8]}")
    by_ends = wepy(f"show w.orch bound,{world.end[:8]}")
    assert by_hash == by_ends and by_hash.lines[0] == f"run {world.run}"
    assert "  n_cycles: 12" in by_hash.lines and f"  start: {world.start}" in by_hash.lines
    md5 = world.store.hashes("objects")[0]
    assert wepy(f"show w.orch {md5}").lines[0] == f"object {md5}"
    assert json.loads(wepy(f"show w.orch {md5} --json").out)["hash"] == md5
    nothing = wepy(f"show w.orch {world.end},{world.start}")
    assert nothing.status == 1 and "no run" in nothing.err


def test_show_what_is_damaged(wepy: Wepy, world: World, detailed: str) -> None:
    """S5: missing parts are named, exit status 3; any damaged manifest is one line."""
    for _, ref in world.store.references("snapshots", detailed):
        world.store.remove("objects", ref.md5)
    result = wepy(f"show w.orch {detailed}")
    assert result.status == 3 and result.err.count("is missing") == 3
    odd = [{"walkers": 1, "apparatus": [1]}, {"walkers": {"weights": ["x"], "groups": 1}}, {}]
    for manifest in odd:
        md5 = world.store.put("snapshots", canonical.dumps(manifest)).md5
        assert wepy(f"show w.orch {md5}").status == 0
    world.store.file("snapshots", detailed).write_text("[")
    result = wepy(f"show w.orch {detailed}")
    assert result.status == 3 and result.err.count("\n") == 1 and result.out == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x04\x00{}  ",
        b"\x93NUMPY\x01\x00\x03\x00((((((",
        b"x" * 99,
    ],
)
def test_odd_headers_are_no_arrays(data: bytes) -> None:
    """What only looks like a .npy file is not described as one."""
    assert npy_header(data) is None


def test_headers_of_numpy_itself() -> None:
    """The dtype and shape that numpy writes are read."""
    import io

    import numpy as np

    for shape in ((), (3,), (2, 5, 3)):
        stream = io.BytesIO()
        np.save(stream, np.zeros(shape))
        assert npy_header(stream.getvalue()[:4096]) == ("<f8", shape)


def test_tags(wepy: Wepy, world: World) -> None:
    """Set, list, use, move only by force, remove (S7)."""
    assert wepy(f"tag w.orch bound {world.start[:7]}") == (0, "", "")
    assert wepy(f"tag w.orch bound {world.start}").status == 0
    moved = wepy(f"tag w.orch bound {world.end}")
    assert moved.status == 1 and "--force" in moved.err
    assert wepy("tag w.orch").lines == [f"bound {world.start}"]
    assert wepy(f"tag -f w.orch bound {world.end}").status == 0
    assert json.loads(wepy("tag --json w.orch").out) == {"bound": world.end}
    assert wepy("tag w.orch again bound").status == 0
    gone = wepy("tag -d w.orch buond")
    assert gone.status == 1 and "did you mean 'bound'" in gone.err
    assert wepy("tag --delete w.orch bound").status == 0
    assert wepy("tag w.orch").lines == [f"again {world.end}"]


def test_tags_without_a_store(wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """ORCH may be left out in every form."""
    monkeypatch.chdir(world.store.path)
    assert wepy(f"tag bound {world.start}").status == 0
    assert wepy("tag").lines == [f"bound {world.start}"]
    assert wepy("tag -d bound").status == 0 and wepy("tag").out == ""


@pytest.mark.parametrize("name", ["beef", "../x", "a/b", ".hidden", "default"])
def test_bad_tags_are_refused(wepy: Wepy, world: World, name: str) -> None:
    """S10: a name that could be a path or a hash makes no file."""
    result = wepy(f"tag w.orch {name} {world.start}")
    assert result.status == 1 and result.err.count("\n") == 1
    assert not list(Path(world.store.path, "refs").rglob("*x"))
    assert wepy("tag w.orch").out == ""
