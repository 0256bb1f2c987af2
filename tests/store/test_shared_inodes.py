"""What two stores share by hard links is changed by neither, and shared only where nobody else can
change it or gets to read it (docs/design/0024)."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.care.test_gc import in_child, later
from tests.store.helpers import add_config, add_run, add_snapshot, check, contents
from tests.systems import tree_of
from wepystore.cli.main import main
from wepystore.store import Store, canonical, merge, renewal
from wepystore.store.care import fsck, gc
from wepystore.store.errors import DamagedEntryError
from wepystore.store.names import KINDS, Ref

OLD = (1e9, 1e9)


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """A store with a run, whose files are old."""
    store = Store.create(tmp_path / "source.orch")
    add_run(store, add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c"))
    for file in files_of(store):
        os.utime(file, OLD)
    return store


def files_of(store: Store) -> Iterator[Path]:
    """The files of all entries."""
    return (store.file(kind, md5) for kind in KINDS for md5 in store.hashes(kind))


def reconciled(target: Store | Path, source: Store) -> merge.Outcome:
    return merge.apply(merge.plan(target, [source]))


def fill(store: Store) -> None:
    """Put all again that `source` has."""
    add_run(store, add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c"))


# ---- time stamps and modes


def test_putting_again_leaves_the_other_store_alone(store: Store, source: Store) -> None:
    """Old entries that are hard links are put again, small ones and large ones, one and many: not
    a time stamp of the other store changes, and no link becomes a copy."""
    large = [source.put("objects", b"L" * (2 << 20)), source.put("objects", b"M" * (1 << 20))]
    manifest = {"type": "snapshot", "format": 1, "apparatus": [ref.to_json() for ref in large]}
    source.put("snapshots", canonical.dumps(manifest))
    for file in files_of(source):
        os.utime(file, OLD)
    assert reconciled(store, source).copied == 0
    before = tree_of(source.path)
    fill(store)
    store.put("objects", b"L" * (2 << 20))
    with store.batch() as batch:
        batch.put_many("objects", [b"M" * (1 << 20), *(f"{n}".encode() for n in range(100))])
        batch.put("objects", b"the apparatus, the same in all of them")
    assert tree_of(source.path) == before
    assert all(
        file.samefile(store.path / file.relative_to(source.path)) for file in files_of(source)
    )
    report = fsck.check(store)
    assert report.healthy and not [note for note in report.notes if "tmp" in note.path]


def test_putting_again_renews_what_is_shared(store: Store, source: Store) -> None:
    """gc takes an old orphan with two names, though its inode is old for the other store, only if
    nothing that has two names was put again within the grace period; what has one name goes."""
    orphan, other = store.put("objects", b"shared"), store.put("objects", b"alone")
    os.link(store.file("objects", orphan.md5), source.path / "second name")
    for ref in (orphan, other):
        os.utime(store.file("objects", ref.md5), OLD)
    assert len(gc.plan(store, now=later()).items) == 2
    store.put("objects", b"shared")
    assert store.file("objects", orphan.md5).stat().st_mtime == 1e9
    # As if that had been ten days after all else.
    os.utime(store.path / "tmp" / renewal.FOLDER / str(os.geteuid()), (later(10), later(10)))
    plan = gc.plan(store, now=later())
    assert [item.name for item in plan.items] == [other.md5]
    gc.apply(plan)
    assert store.hashes("objects") == [orphan.md5]
    gc.apply(gc.plan(store, now=later(30)))
    assert store.hashes("objects") == []
    assert (source.path / "second name").read_bytes() == b"shared"


def test_a_renewal_between_plan_and_apply_is_seen(store: Store, source: Store) -> None:
    """What was planned to go comes back if it was put again before gc took it away, even if the
    other store has given up its name meanwhile."""
    orphan = store.put("objects", b"shared")
    file, second = store.file("objects", orphan.md5), source.path / "second name"
    os.link(file, second)
    os.utime(file, OLD)
    plan = gc.plan(store, now=later())
    assert [item.name for item in plan.items] == [orphan.md5]
    store.put("objects", b"shared")
    second.unlink()
    assert not gc.apply(plan).removed and store.hashes("objects") == [orphan.md5]


def test_a_link_of_a_carrier_is_renewed_itself(store: Store, tmp_path: Path) -> None:
    """Where git-annex has put a link in place of an entry, putting it again renews the link, which
    gc looks at, and not the content it leads to."""
    ref = store.put("objects", b"annexed")
    file = store.file("objects", ref.md5)
    content = tmp_path / ".git" / "annex" / "objects" / "key"
    content.parent.mkdir(parents=True)
    file.rename(content)
    file.symlink_to(content)
    os.utime(content, OLD)
    os.utime(file, OLD, follow_symlinks=False)
    store.put("objects", b"annexed")
    assert content.stat().st_mtime == 1e9 and file.lstat().st_mtime > 1.1e9


def test_repair_leaves_the_mode_of_the_other_name(store: Store, source: Store) -> None:
    """An entry that cannot be read gets other mode bits if it is of this store alone; what has
    another name becomes a file of its own, or goes aside."""
    reconciled(store, source)
    file = next(files_of(store))
    there = source.path / file.relative_to(store.path)
    there.chmod(0)
    fsck.repair(store, fsck.check(store))
    assert there.stat().st_mode & 0o777 == 0
    if os.geteuid() == 0:
        assert file.stat().st_mode & 0o444 and fsck.check(store).healthy
    else:
        assert not file.exists()


# ---- who owns, who may write, who may read


def by_reconcile(source: Store, target: Path) -> None:
    reconciled(target, source)


def by_get_run(source: Store, target: Path) -> None:
    (run,) = source.hashes("runs")
    record = source.manifest("runs", run)
    words = ["get", "run", f"--output={target}", str(source.path)]
    assert main([*words, record["start"]["md5"], record["end"]["md5"]]) == 0


def by_repair(source: Store, target: Path) -> None:
    store = Store.create(target)
    for kind in KINDS:
        for md5 in source.hashes(kind):
            with store.batch() as batch:
                batch.put(kind, source.read(kind, md5))
            store.file(kind, md5).write_bytes(b"damaged")
    report = fsck.check(store)
    assert not fsck.repair(store, report, [source]).unhealed
    shutil.rmtree(target / "quarantine")


def by_bring(source: Store, target: Path) -> None:
    with Store.create(target).batch() as batch:
        for kind in KINDS:
            for md5 in source.hashes(kind):
                batch.bring(kind, md5, source.file(kind, md5))


WAYS = [by_reconcile, by_get_run, by_repair, by_bring]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o600, 0o2644])
def test_what_others_can_write_is_copied(
    source: Store, tmp_path: Path, way: Callable[[Store, Path], None], mode: int
) -> None:
    """An entry that its group or others may write, or that fewer may read, is copied by every way
    into a store, with the modes of the umask; so what is done to it there harms nobody here."""
    for file in files_of(source):
        file.chmod(mode)
    way(source, tmp_path / "t.orch")
    target = Store.open(tmp_path / "t.orch")
    assert contents(target) == contents(source)
    umask = os.umask(0)
    os.umask(umask)
    for file in files_of(source):
        mine = target.path / file.relative_to(source.path)
        assert not mine.samefile(file) and stat.S_IMODE(mine.stat().st_mode) == 0o644 & ~umask
        file.write_bytes(b"garbage")
    assert fsck.check(target, sha256=True).healthy


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_a_link_does_not_show_more(source: Store, tmp_path: Path, umask: int) -> None:
    """Into a store that only its owner may read, what everybody may read is copied; between equals
    it is linked."""
    old = os.umask(umask)
    try:
        outcome = reconciled(tmp_path / "t.orch", source)
    finally:
        os.umask(old)
    assert (outcome.copied == 0) == (umask == 0o022)
    for file in files_of(Store.open(tmp_path / "t.orch")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o644 & ~umask


def test_what_another_user_owns_is_copied(source: Store, tmp_path: Path) -> None:
    """As root: files of another user are copied; as another user: files of root."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to somebody else")
    for file in files_of(source):
        os.chown(file, 54321, -1)
    assert reconciled(tmp_path / "t.orch", source).linked == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copytree(source.path, folder / "source.orch")
        theirs = Store.open(folder / "source.orch")
        for file in files_of(theirs):
            os.chown(file, 0, 0)

        def as_another() -> bool:
            os.setgid(54321)
            os.setuid(54321)
            return reconciled(folder / "t.orch", theirs).linked == 0

        assert in_child(as_another) == 0
        target = Store.open(folder / "t.orch")
        assert contents(target) == contents(source)
        assert {file.stat().st_uid for file in files_of(target)} == {54321}


def test_what_is_swapped_while_it_is_linked(
    store: Store, source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner of the source's directory who puts another file, or a link to one, there at the
    last moment gets neither in under the entry's name."""
    link = os.link
    target = source.file("objects", source.hashes("objects")[0])
    data = target.read_bytes()
    secret = tmp_path / "secret"
    secret.write_bytes(data)

    def swap(old: str | Path, new: str | Path, **options: bool) -> None:
        if Path(old) == target:
            target.unlink()
            put(target)
        link(old, new, **options)

    def a_link(path: Path) -> None:
        path.symlink_to(secret)

    def a_writable(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(0o666)

    def a_pipe(path: Path) -> None:
        os.mkfifo(path)

    monkeypatch.setattr(os, "link", swap)
    for put in (a_link, a_writable):  # noqa: B007  (`swap` calls it)
        target.unlink()
        target.write_bytes(data)
        with store.batch() as batch:
            batch.bring("objects", target.name, target, Ref(target.name, *_rest(data)))
        mine = store.file("objects", target.name)
        assert mine.stat().st_nlink == 1 and not mine.is_symlink() and not mine.samefile(secret)
        mine.unlink()
    put = a_pipe
    target.unlink()
    target.write_bytes(data)
    with pytest.raises(DamagedEntryError), store.batch() as batch:
        batch.bring("objects", target.name, target)
    check(store.path)


def _rest(data: bytes) -> tuple[str, int]:
    import hashlib

    return hashlib.sha256(data).hexdigest(), len(data)
