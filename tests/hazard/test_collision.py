"""MD5 is a name, not a proof (S3): two contents with one MD5 meet in a store, by add and by
reconcile. The second is refused with the reason; neither is lost or served for the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import Wepy, wepy
from tests.store.test_publish import wang_pair
from wepystore.errors import WepystoreError
from wepystore.records.sinks import Memory
from wepystore.store import Store, canonical, exports
from wepystore.store.care import fsck
from wepystore.store.errors import MD5CollisionError
from wepystore.store.names import Ref

__all__ = ["wepy"]


class Side(NamedTuple):
    """A store with one of the two contents, in a snapshot, also as a file."""

    store: Store
    snapshot: str
    file: Path
    content: bytes
    ref: Ref


def _side(folder: Path, name: str, content: bytes) -> Side:
    store = Store.create(folder / f"{name}.orch")
    with store.batch() as batch:
        ref = batch.put("objects", content)
        other = batch.put("objects", name.encode())
        manifest = {"type": "snapshot", "format": 1, "apparatus": [ref.to_json(), other.to_json()]}
        snapshot = batch.put("snapshots", canonical.dumps(manifest)).md5
    file = folder / f"{name}.snap"
    exports.write(store, "snapshots", snapshot, file)
    return Side(store, snapshot, file, content, ref)


@pytest.fixture(params=["one first", "two first"])
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Side, Side]:
    first, second = _side(tmp_path, "one", wang_pair()[0]), _side(tmp_path, "two", wang_pair()[1])
    assert first.ref.md5 == second.ref.md5 and first.ref != second.ref
    assert first.snapshot != second.snapshot
    return (first, second) if request.param == "one first" else (second, first)


def assert_first_alone(store: Store, first: Side, second: Side) -> None:
    """The first is there and whole; the second is not, and nothing is served in its place."""
    assert store.hashes("snapshots") == [first.snapshot]
    assert store.missing("snapshots", first.snapshot) == []
    assert store.read("objects", first.ref.md5, first.ref) == first.content
    with pytest.raises(WepystoreError):
        store.read("objects", second.ref.md5, second.ref)
    assert fsck.check(store, sha256=True).healthy
    assert not list((store.path / "quarantine").iterdir())
    assert not list((store.path / "tmp").iterdir())


def test_add_refuses_the_second(wepy: Wepy, sides: tuple[Side, Side], tmp_path: Path) -> None:
    """`wepy add`: status 1, and a line that says that two contents have this MD5."""
    first, second = sides
    target = Store.create(tmp_path / "t.orch")
    assert wepy("add snapshot", target.path, first.file).status == 0
    done = wepy("add snapshot", target.path, second.file)
    assert done.status == 1 and not done.out
    assert "two different contents" in done.err and first.ref.md5 in done.err
    assert_first_alone(target, first, second)


def test_reconcile_refuses_the_second(wepy: Wepy, sides: tuple[Side, Side], tmp_path: Path) -> None:
    """`wepy reconcile orch`: it is left out, with the reason; everything else comes over."""
    first, second = sides
    target = tmp_path / "t.orch"
    shutil.copytree(first.store.path, target)
    with second.store.batch() as batch:
        part = batch.put("objects", b"harmless")
        manifest = {"type": "configuration", "format": 1, "monitor": part.to_json()}
        config = batch.put("configs", canonical.dumps(manifest)).md5
    for _ in range(2):
        done = wepy("reconcile orch", target, second.store.path)
        assert done.status in (1, 3)
        assert "collision" in done.err or "two different contents" in done.err, done.err
        assert first.ref.md5 in done.err
        assert_first_alone(Store.open(target), first, second)
    assert Store.open(target).hashes("configs") == [config]
    assert second.store.read("objects", second.ref.md5, second.ref) == second.content


def test_both_at_once(wepy: Wepy, sides: tuple[Side, Side], tmp_path: Path) -> None:
    """Reconcile of both into a third store: one of them comes, whole, the other is left out."""
    first, second = sides
    target = tmp_path / "t.orch"
    done = wepy("reconcile orch", target, first.store.path, second.store.path)
    assert done.status in (1, 3)
    assert first.ref.md5 in done.err
    store = Store.open(target)
    listed = store.hashes("snapshots")
    assert len(listed) == 1
    winner, loser = sides if listed == [first.snapshot] else sides[::-1]
    assert_first_alone(store, winner, loser)


def test_repair_does_not_mix_them_up(wepy: Wepy, sides: tuple[Side, Side], tmp_path: Path) -> None:
    """`wepy fsck --repair --from` a store with the other content brings nothing of it."""
    first, second = sides
    target = tmp_path / "t.orch"
    shutil.copytree(first.store.path, target)
    store = Store.open(target)
    store.file("objects", first.ref.md5).unlink()
    line = f"fsck --repair --from {second.store.path} {target}"
    assert wepy(line).status == 3
    assert not store.has("objects", first.ref.md5)
    assert wepy(f"fsck --repair --from {first.store.path} {target}").status == 0
    assert_first_alone(store, first, second)


def test_what_is_written_from_memory() -> None:
    """A file that never was in a store has not one content for both either."""
    memory = Memory()
    one, two = wang_pair()
    ref = memory.put("objects", one)
    assert memory.put("objects", one) == ref
    with pytest.raises(MD5CollisionError, match=ref.md5):
        memory.put("objects", two)
    assert memory.entries == {("objects", ref.md5): one}
