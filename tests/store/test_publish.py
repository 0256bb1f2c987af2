"""Publication: whole or not at all, compared and not trusted, whoever else is at it (S2, S3)."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.store.helpers import check
from wepystore import durable
from wepystore.store import Store
from wepystore.store import publish as publish_module
from wepystore.store.errors import MD5CollisionError

# Wang, Feng, Lai, Yu (2004): two blocks with one MD5, 79054025255fb1a26e4bc422aef54eb4.
BIG = [os.urandom(300_000) for _ in range(8)]


def wang_pair() -> tuple[bytes, bytes]:
    """Two different byte strings with the same MD5."""
    one = bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
        "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
    )
    # The second differs from the first in the top bit of six bytes.
    two = bytearray(one)
    for place in (19, 45, 59, 83, 109, 123):
        two[place] ^= 0x80
    return one, bytes(two)


@pytest.mark.parametrize("data", [b"", b"x", b"".join(BIG)], ids=["empty", "small", "large"])
def test_a_file_is_named_by_its_md5(store: Store, data: bytes) -> None:
    """S1: the name is the MD5, the bytes are the data, nothing stays in tmp/."""
    ref = store.put("objects", data)
    assert ref == (hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))
    assert store.file("objects", ref.md5).read_bytes() == data
    check(store.path)


def test_buffers_are_concatenated(store: Store) -> None:
    """A list of buffers gives the same entry as their concatenation, whatever their shape."""
    import numpy as np

    array = np.arange(3 * 100_000, dtype=float).reshape(3, -1)
    flat = array.tobytes()
    parts = [b"head", *(memoryview(row) for row in array), memoryview(array)[:0], bytearray(b"t")]
    assert store.put("objects", parts) == store.put("objects", b"head" + flat + b"t")
    assert store.put("objects", array) == store.put("objects", flat)
    assert store.put("objects", array.T) == store.put("objects", array.T.tobytes())
    many = [bytes([i % 251]) * 700 for i in range(3000)]
    assert store.put("objects", many) == store.put("objects", b"".join(many))


@pytest.mark.parametrize("data", [[b"small"], BIG], ids=["small", "large"])
def test_putting_again_changes_nothing(store: Store, data: list[bytes]) -> None:
    """A name that exists with the right bytes is left alone: same inode, same mtime."""
    md5 = store.put("objects", data).md5
    before = os.stat(store.file("objects", md5))
    with store.batch() as batch:
        batch.put("objects", data)
        batch.put("objects", data)
    after = os.stat(store.file("objects", md5))
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert batch.new == []
    check(store.path)


@pytest.mark.parametrize("data", [b"small" * 9, b"".join(BIG)], ids=["small", "large"])
@pytest.mark.parametrize("bad", ["rot", "truncated", "empty", "dangling"])
def test_wrong_bytes_go_to_quarantine(store: Store, data: bytes, bad: str) -> None:
    """S2: a name with wrong bytes gets the right ones; the wrong ones are kept aside."""
    md5 = store.put("objects", data).md5
    file = store.file("objects", md5)
    wrong = {"rot": b"Z" + data[1:], "truncated": data[:7], "empty": b"", "dangling": None}[bad]
    file.unlink()
    if wrong is None:
        file.symlink_to("nowhere/at/all")
    else:
        file.write_bytes(wrong)
    store.put("objects", data)
    assert file.read_bytes() == data and not file.is_symlink()
    kept = list((store.path / "quarantine").iterdir())
    if wrong is not None:
        assert [k.read_bytes() for k in kept] == [wrong]
        assert kept[0].name.startswith(f"objects-{md5}")
    check(store.path)


def test_a_collision_is_refused(store: Store) -> None:
    """S3: a second content with the MD5 of a stored one is neither aliased nor written over it."""
    one, two = wang_pair()
    assert one != two and hashlib.md5(one).digest() == hashlib.md5(two).digest()
    md5 = store.put("objects", one).md5
    with pytest.raises(MD5CollisionError, match=md5):
        store.put("objects", two)
    assert store.read("objects", md5) == one
    with pytest.raises(MD5CollisionError), Store.create(store.path / "../b").batch() as batch:
        batch.put("objects", one)
        batch.put("objects", two)
    check(store.path)


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    """S2: a shared group's umask makes shared directories, and files that all of it may read and
    nobody changes."""
    old = os.umask(0o002)
    try:
        store = Store.create(tmp_path / "s")
        file = store.file("objects", store.put("objects", b"x").md5)
        big = store.file("objects", store.put("objects", BIG).md5)
    finally:
        os.umask(old)
    assert {f.stat().st_mode & 0o777 for f in (file, big)} == {0o644}
    assert {d.stat().st_mode & 0o777 for d in (file.parent, store.path / "tmp")} == {0o775}


def _put_all(root: Path, barrier: object, count: int) -> None:
    store = Store.open(root)
    barrier.wait()  # type: ignore[attr-defined]
    for number in range(count):
        with store.batch() as batch:
            batch.put("objects", b"%d" % number * 100)
            batch.put("objects", [*BIG, b"%d" % (number % 2)])


def test_eight_processes_put_the_same(store: Store) -> None:
    """S8: writers of the same contents at the same time need no lock and do no harm, and the
    damage that one of them finds is healed once."""
    damaged = store.file("objects", store.put("objects", [*BIG, b"0"]).md5)
    damaged.write_bytes(b"rot")
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(8)
    workers = [fork.Process(target=_put_all, args=(store.path, barrier, 10)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert len(store.hashes("objects")) == 12
    rotten = [f.read_bytes() for f in (store.path / "quarantine").iterdir()]
    assert rotten and set(rotten) == {b"rot"}
    check(store.path)


def test_without_hard_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: on a file system that has none (or refuses them) the same holds by rename."""

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(publish_module.os, "link", refuse)
    data = b"".join(BIG)
    md5 = store.put("objects", data).md5
    store.put("objects", data)
    store.file("objects", md5).write_bytes(b"rot")
    store.put("objects", data)
    assert store.read("objects", md5) == data
    assert [f.read_bytes() for f in (store.path / "quarantine").iterdir()] == [b"rot"]
    check(store.path)


def test_a_directory_may_go_just_before_a_name_comes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes its last entry removes it: it is made again, and the entry is there."""
    place, gone = publish_module.place, []

    def late(unfinished: publish_module.Unfinished, quarantine: Path) -> bool:
        if len(gone) < 2:
            gone.append(Path(unfinished.final).parent)
            gone[-1].rmdir()
        return place(unfinished, quarantine)

    monkeypatch.setattr(publish_module, "place", late)
    ref = store.put("objects", b"x")
    assert len(gone) == 2
    assert store.object(ref) == b"x"
    check(store.path)


def test_a_directory_may_go_while_it_is_made(tmp_path: Path) -> None:
    """It was there and is not any more: that is no other thing in its place."""
    directory, over = tmp_path / "ab", threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            with suppress(FileExistsError):
                directory.mkdir()
            with suppress(FileNotFoundError):
                directory.rmdir()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(come_and_go)
        try:
            for _ in range(20_000):
                assert durable.make_directory(directory) <= {tmp_path}
        finally:
            over.set()
    directory.mkdir(exist_ok=True)
    (directory / "c").touch()
    (directory / "d").symlink_to("nowhere")
    (directory / "e").symlink_to("e")
    for name in ("c", "d", "e"):
        with pytest.raises(NotADirectoryError):
            durable.make_directory(directory / name)


def test_nothing_is_visible_after_an_error(store: Store) -> None:
    """S4: a batch that ends by an exception has published nothing and left nothing."""
    with pytest.raises(ZeroDivisionError), store.batch() as batch:
        batch.put("objects", b"a")
        batch.put("snapshots", b"b")
        batch.put("objects", BIG)
        raise ZeroDivisionError
    assert not store.hashes("objects") and not store.hashes("snapshots")
    check(store.path)


def test_the_order_is_objects_manifests_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: each stage's directories are synced before the first name of the next stage."""
    events: list[str] = []
    link, sync = os.link, durable.sync_directory

    def watched_link(source: Path, final: Path, **options: bool) -> None:
        events.append("name " + final.parent.parent.name)
        link(source, final, **options)

    def watched_sync(path: Path) -> None:
        sync(path)
        events.append("sync " + path.name)

    monkeypatch.setattr(publish_module.os, "link", watched_link)
    monkeypatch.setattr(durable, "sync_directory", watched_sync)
    with store.batch() as batch:
        batch.put("runs", b"run")
        batch.put("snapshots", b"snapshot")
        batch.put("objects", BIG)
    assert events.index("sync objects") < events.index("name snapshots")
    assert events.index("sync snapshots") < events.index("name runs")
    assert events[-1].startswith("sync")


def test_a_full_disk_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk while writing is the caller's to see, and tmp/ is clean."""

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish_module.os, "writev", full)
    with pytest.raises(OSError, match="No space"):
        store.put("objects", BIG)
    with pytest.raises(OSError, match="No space"):
        store.put("objects", b"small")
    monkeypatch.undo()
    monkeypatch.setattr(publish_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put("objects", b"small")
    monkeypatch.undo()
    check(store.path)
    assert not store.hashes("objects")
