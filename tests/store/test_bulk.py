"""Many files in one batch: one sync for all of them, and the same promises (S2, S3, S4)."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from pathlib import Path

import pytest

from tests.store.helpers import add_snapshot, check, contents
from tests.store.test_publish import wang_pair
from wepystore.store import Store, merge, system
from wepystore.store import batch as batch_module
from wepystore.store import publish as publish_module
from wepystore.store.batch import FEW
from wepystore.store.errors import DamagedEntryError, MD5CollisionError
from wepystore.store.merge import applying, planning
from wepystore.store.resolving import resolve

MANY = [b"%d" % number * 50 for number in range(4 * FEW)]


def syncfs_works(path: Path) -> bool:
    """Whether this file system and kernel have it."""
    whole = system.WholeSync.of(path)
    if whole is not None:
        whole.close()
    return whole is not None


@pytest.mark.parametrize("way", ["syncfs", "fsync", "no renameat2", "EINVAL", "no links"])
def test_all_come_in_by_every_way(store: Store, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """With and without syncfs, renameat2 and hard links: every name has its bytes, what was
    there is compared (S2), and nothing stays in tmp/."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EINVAL if way == "EINVAL" else errno.EPERM, "refused")

    if way == "fsync":
        monkeypatch.setattr(system.WholeSync, "of", lambda path: None)
    if way in ("no renameat2", "no links"):
        monkeypatch.setattr(system, "rename_to_new", lambda: None)
    if way == "EINVAL":
        monkeypatch.setattr(system, "rename_to_new", lambda: refuse)
    there = store.file("objects", store.put("objects", MANY[0]).md5)
    rotten = store.file("objects", store.put("objects", MANY[1]).md5)
    rotten.write_bytes(b"rot")
    if way == "no links":
        monkeypatch.setattr(publish_module.os, "link", refuse)
    before = there.stat()
    with store.batch() as batch:
        refs = batch.put_many("objects", [*MANY, MANY[-1], os.urandom(3 << 20)])
        refs += [batch.put("objects", b"one by one %d" % number) for number in range(2 * FEW)]
        snapshot = batch.put("snapshots", b"{}")
    assert all(store.read("objects", ref.md5, ref) for ref in refs)
    assert store.has("snapshots", snapshot.md5)
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [file.read_bytes() for file in (store.path / "quarantine").iterdir()] == [b"rot"]
    assert len(batch.new) == len(MANY) - 2 + 1 + 2 * FEW + 1
    check(store.path)


def test_no_name_before_its_bytes_are_on_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2, S4: a sync of all bytes, then the objects' names, a sync, then the manifests' names."""
    if not syncfs_works(store.path):
        pytest.skip("this file system has no syncfs that can be relied on")
    events: list[str] = []
    sync, make = system.WholeSync.__call__, system.rename_to_new

    def watched_sync(self: system.WholeSync) -> None:
        sync(self)
        events.append("sync")

    def watched() -> publish_module.Rename:
        rename = make()
        assert rename is not None

        def watched_rename(source: str, final: str) -> None:
            rename(source, final)
            events.append(Path(final).parent.parent.name)

        return watched_rename

    monkeypatch.setattr(system.WholeSync, "__call__", watched_sync)
    monkeypatch.setattr(system, "rename_to_new", watched)
    with store.batch() as batch:
        batch.put_many("snapshots", [b"snapshot %d" % number for number in range(2 * FEW)])
        batch.put_many("objects", MANY)
    runs = [word for place, word in enumerate(events) if events[place - 1 : place] != [word]]
    assert runs == ["sync", "objects", "sync", "snapshots", "sync"]


def test_what_cannot_be_synced_gets_no_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk at the one sync is the caller's to see; nothing is visible or left."""
    if not syncfs_works(store.path):
        pytest.skip("this file system has no syncfs that can be relied on")

    def broken(self: system.WholeSync) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(system.WholeSync, "__call__", broken)
    with pytest.raises(OSError, match="Input/output"), store.batch() as batch:
        batch.put_many("objects", MANY)
    assert not store.hashes("objects")
    check(store.path)


def test_collisions_are_refused_among_many(store: Store) -> None:
    """S3: within one batch and against the store, with nothing written."""
    one, two = wang_pair()
    with pytest.raises(MD5CollisionError), store.batch() as batch:
        batch.put_many("objects", [*MANY, one, two])
    assert not store.hashes("objects")
    store.put("objects", one)
    with pytest.raises(MD5CollisionError), store.batch() as batch:
        batch.put_many("objects", [*MANY, two])
    assert store.read("objects", store.hashes("objects")[0]) is not None
    check(store.path)


def test_bringing_many_tells_which_are_bad(store: Store, tmp_path: Path) -> None:
    """S10: small and large, the damaged and the vanished are named in their place; the rest
    comes."""
    other = Store.create(tmp_path / "b.orch")
    with other.batch() as batch:
        refs = batch.put_many("objects", [*MANY, b"L" * (2 << 20), b"M" * (2 << 20)])
    for ref in (refs[3], refs[-1]):
        file = other.file("objects", ref.md5)
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(b"Z" + data[1:])
    other.remove("objects", refs[5].md5)
    with store.batch() as batch:
        got = batch.bring_many("objects", [(ref, other.locate("objects", ref.md5)) for ref in refs])
    bad = {place: type(item) for place, item in enumerate(got) if item != refs[place]}
    last = len(refs) - 1
    assert bad == {3: DamagedEntryError, 5: FileNotFoundError, last: DamagedEntryError}
    assert len(store.hashes("objects")) == len(refs) - 3
    check(store.path)


def test_a_reconcile_of_many_is_the_union(store: Store, tmp_path: Path) -> None:
    """S6: several batches, links and copies: the contents are those of both."""
    other = Store.create(tmp_path / "b.orch")
    for number in range(4):
        add_snapshot(other, str(number), parts=FEW)
    add_snapshot(store, "1", parts=FEW)
    copied = Store.create(tmp_path / "c.orch")
    os.chmod(copied.path / "wepystore.json", 0o644)
    for target in (store, copied):
        if target is copied:
            # Readable by fewer than the target: not to be linked.
            for file in other.path.glob("[os]*/*/*"):
                file.chmod(0o600)
        outcome = merge.apply(merge.plan(target, [other]))
        assert not outcome.left and (outcome.linked == 0) == (target is copied)
        assert contents(target) == contents(other)
        check(target.path)


def test_small_pieces_make_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the files are divided into batches and steps, all come and progress ends full."""
    other = Store.create(tmp_path / "b.orch")
    add_snapshot(other, "x", parts=10)
    monkeypatch.setattr(applying, "_CHUNK_FILES", 4)
    monkeypatch.setattr(applying, "_STEP_BYTES", 1)
    told: list[tuple[int, int]] = []
    plan = merge.plan(store, [other])
    merge.apply(plan, lambda *now: told.append(now))
    sizes = itertools.accumulate(copy.ref.size for copy in plan.copies)
    assert len(plan.copies) == 12 and told == [(size, plan.size) for size in sizes]
    assert contents(store) == contents(other)


@pytest.mark.parametrize("what", ["nothing", "new", "object", "stray", "cut"])
def test_very_many_are_not_all_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Beyond 10,000 entries those on both sides are read only where that could bring something;
    the result is the same, damage of the target is healed (S5), and the plan says how many."""
    other = Store.create(tmp_path / "b.orch")
    old = [add_snapshot(other, label) for label in "abc"]
    merge.apply(merge.plan(store, [other]))
    part = store.references("snapshots", old[0])[-1][1]
    if what == "new":
        add_snapshot(other, "d")
    elif what == "stray":
        other.put("objects", b"nothing names it")
    elif what == "object":
        store.remove("objects", part.md5)
    elif what == "cut":
        store.file("objects", part.md5).unlink()
        store.file("objects", part.md5).write_bytes(b"cut")
    monkeypatch.setattr(planning, "MANY", 1)
    plan = merge.plan(store, [other])
    assert plan.unread == (3 if what in ("nothing", "new") else 0)
    assert not merge.apply(plan).left
    assert all(store.missing("snapshots", md5) == [] for md5 in other.hashes("snapshots"))
    assert store.hashes("snapshots") == other.hashes("snapshots")
    check(store.path)


def test_few_wait_only_for_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint's handful of files does not wait for what other programs have written."""
    monkeypatch.setattr(system.WholeSync, "of", lambda path: pytest.fail("syncfs for few files"))
    with store.batch() as batch:
        batch.put_many("objects", MANY[:FEW])
    assert batch_module.FEW == FEW and len(store.hashes("objects")) == FEW


@pytest.mark.parametrize("odd", ["", "README", "x" * 32, "directory", "line\nbreak"])
def test_listing_finds_entries_alone(store: Store, odd: str) -> None:
    """The fast way of listing and the careful one give the same: names that are hashes, of what
    is no directory."""
    md5 = store.put("objects", b"x").md5
    inside = store.file("objects", md5).parent
    if odd == "directory":
        (inside / (md5[:2] + "0" * 30)).mkdir()
    elif odd:
        (inside / odd).touch()
    (inside / ("0" * 32 if md5[0] != "0" else "1" * 32)).touch()
    assert store.hashes("objects") == [md5]
    assert resolve(store, md5[:5], ["objects"]) == ("objects", md5)


def test_files_come_in_as_their_bytes(store: Store, tmp_path: Path) -> None:
    """What is mapped into memory comes in as `put` of the same bytes does, small or large; if one
    of many is nothing that has bytes it is an error, and then nothing is visible or left."""
    contents = [b"small", b"L" * (3 << 20), os.urandom(1 << 20), *filter(None, MANY)]
    mapped = []
    for number, data in enumerate(contents):
        (tmp_path / str(number)).write_bytes(data)
        with open(tmp_path / str(number), "rb") as file:
            mapped.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    with store.batch() as batch:
        refs = batch.put_many("objects", [b"", *mapped])
    assert refs == [store.put("objects", data) for data in [b"", *contents]]
    assert not any(store.file("objects", ref.md5).samefile(tmp_path / "1") for ref in refs)
    check(store.path)
    other = Store.create(tmp_path / "b.orch")
    for bad in (1, "text"):
        with pytest.raises(TypeError), other.batch() as batch:
            batch.put_many("objects", mapped)
            batch.put("objects", bad)
        assert not other.hashes("objects")
        check(other.path)
