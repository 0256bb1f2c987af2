"""`wepy get` and `wepy add`: one file out, the same hash in (I2)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_snapshot, check
from wepystore.store import Store


@pytest.mark.parametrize("kind", ["snapshot", "config"])
def test_get_then_add(wepy: Wepy, world: World, tmp_path: Path, kind: str) -> None:
    """I2: the hash that add prints is the one that get was given; ORCH may be left out."""
    md5 = world.start if kind == "snapshot" else world.config
    names = {"snapshot": f"{md5}.snap.dill.pkl", "config": f"{md5}.config.dill.pkl"}
    assert wepy(f"get {kind} w.orch {md5[:9]}") == (0, names[kind] + "\n", "")
    assert wepy(f"get {kind} w.orch {md5} --output=x").lines == ["x"]
    assert wepy(f"get {kind} w.orch {md5} -O y").lines == ["y"]
    one, two, three = (Path(name).read_bytes() for name in (names[kind], "x", "y"))
    assert one == two == three
    wepy("init")
    assert wepy(f"add {kind} x") == (0, md5 + "\n", "")
    assert wepy(f"add {kind} .orch x").lines == [md5]
    os.remove("y")
    assert wepy(f"get {kind} {md5} -O y").status == 0
    assert Path("y").read_bytes() == one
    check(tmp_path / ".orch")


def test_get_never_overwrites_unless_told(wepy: Wepy, world: World) -> None:
    """An existing file stays as it is, exit status 1; --force replaces it."""
    Path("x").write_text("thesis")
    result = wepy(f"get snapshot w.orch {world.start} --output=x")
    assert result.status == 1 and "--force" in result.err and Path("x").read_text() == "thesis"
    assert wepy(f"get snapshot w.orch {world.start} --output=x --force").status == 0
    assert wepy("add snapshot w.orch x").lines == [world.start]


def test_get_of_the_wrong_thing(wepy: Wepy, world: World) -> None:
    """Unknown, malformed, wrong kind, incomplete, no directory: one line, and no file is left."""
    before = sorted(os.listdir())
    missing = world.store.references("snapshots", world.end)[-1][1].md5
    world.store.remove("objects", missing)
    for line, status, word in [
        (f"get snapshot w.orch {'0' * 32}", 1, "no snapshot"),
        ("get snapshot w.orch xyz", 1, "xyz"),
        (f"get snapshot w.orch {world.config}", 1, "is a configuration"),
        (f"get config w.orch {world.start}", 1, "is a snapshot"),
        (f"get snapshot w.orch {world.end}", 3, "incomplete"),
        (f"get snapshot w.orch {world.start} -O no/where", 1, "no directory no"),
    ]:
        result = wepy(line)
        assert (result.status, result.out) == (status, "")
        assert word in result.err and result.err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_get_run(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """A store that holds the run alone, and the number of its cycles."""
    add_snapshot(world.store, "another")
    ends = f"{world.start[:6]} {world.end}"
    assert wepy(f"get run-cycles w.orch {ends}") == (0, "12\n", "")
    name = f"{world.start[:8]}-{world.end[:8]}.orch"
    assert wepy(f"get run w.orch {ends}") == (0, name + "\n", "")
    assert wepy(f"get run w.orch {ends} -O one").lines == ["one"]
    for path in (name, "one"):
        assert wepy(f"ls runs {path}").lines == [f"{world.start}, {world.end}"]
        assert wepy(f"ls snapshots {path}").lines == sorted([world.start, world.end])
        assert wepy(f"ls configs {path}").lines == [world.config]
        assert Store.open(path).hashes("recordings") == world.store.hashes("recordings")
        assert wepy(f"status {path}").status == 0
        check(tmp_path / path)
    again = wepy(f"get run w.orch {ends} -O one --force")
    assert again.status == 1 and "already" in again.err
    none = wepy(f"get run w.orch {world.end} {world.start}")
    assert none.status == 1 and "no run" in none.err
    world.store.remove("objects", world.store.references("snapshots", world.end)[-1][1].md5)
    half = wepy(f"get run w.orch {ends} -O two")
    assert half.status == 3 and "incomplete" in half.err and not Path("two").exists()


def test_add_of_the_wrong_thing(wepy: Wepy, world: World) -> None:
    """Missing, empty, foreign, truncated, damaged, wrong kind: one line, nothing is added."""
    wepy(f"get snapshot w.orch {world.start} -O good")
    wepy(f"get config w.orch {world.config} -O config")
    wepy("create orch empty.orch")
    good = Path("good").read_bytes()
    Path("empty").touch()
    Path("text").write_text("hello")
    Path("cut").write_bytes(good[:-10])
    Path("rot").write_bytes(good[:400] + bytes([good[400] ^ 1]) + good[401:])
    for name, status, word in [
        ("none", 1, "No such file"),
        ("w.orch", 1, "not a file"),
        ("empty", 1, "is empty"),
        ("text", 1, "not a file of 'wepy get'"),
        ("cut", 1, "truncated"),
        ("rot", 3, "damaged"),
        ("config", 1, "is a configuration, and a snapshot is needed"),
    ]:
        result = wepy(f"add snapshot empty.orch {name}")
        assert (result.status, result.out) == (status, ""), name
        assert word in result.err and name in result.err and result.err.count("\n") == 1
    assert wepy("ls snapshots empty.orch") == (0, "", "")


@pytest.mark.parametrize(
    "name", ["x.pdb", "x.DCD", "x.xtc", "x.h5", "x.json", "x.txt", "x.npz", "dir/x.csv", "x.orch"]
)
def test_a_name_that_promises_another_format_is_refused(
    wepy: Wepy, world: World, tmp_path: Path, name: str
) -> None:
    """Nobody gets a pickle that is called a PDB file; a name for what is written is told."""
    for kind, md5, suffix in (
        ("snapshot", world.start, ".snap.dill.pkl"),
        ("config", world.config, ".config.dill.pkl"),
    ):
        result = wepy(f"get {kind} w.orch {md5} --output", name)
        assert (result.status, result.out) == (2, "") and not (tmp_path / name).exists()
        assert f"'wepy get {kind}' writes a pickle" in result.err
        assert f"name it {name[: name.rindex('.')]}{suffix}" in result.err
    if not name.endswith(".orch"):
        result = wepy(f"get run w.orch {world.start} {world.end} -O", name)
        assert result.status == 2 and "writes a directory, a store" in result.err
    for name in ("x", "x.pkl", "x.zip", "x.v2"):
        assert wepy(f"get snapshot w.orch {world.start} -O", name).lines == [name]


def test_what_is_no_file_is_never_replaced(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """--force replaces files: a directory, a pipe, a link to either, and (as root) a device stay
    what they are. An export to /dev/null as root once took /dev/null away."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    names = ["directory", "pipe", "link"]
    if os.geteuid() == 0:
        os.mknod(tmp_path / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        names.append("device")
    for name in names:
        before = os.lstat(tmp_path / name)
        for force in ("", " --force"):
            result = wepy(f"get snapshot{force} w.orch {world.start} --output", name)
            assert (result.status, result.out) == (1, "")
            assert f"{name} is there and is no file" in result.err
        after = os.lstat(tmp_path / name)
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert not list(tmp_path.glob(".*.part"))
