"""What a check finds beyond plain damage, and what it leaves alone (see tests/hazard for that)."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import zlib
from pathlib import Path

import pytest

from tests.store.care.test_gc import at_event, in_child
from tests.store.helpers import add_config, add_run, add_snapshot, contents
from tests.systems import tree_of
from wepystore.store import KINDS, Ref, Store, canonical
from wepystore.store.care import fsck, listing, report, scan
from wepystore.store.care.fsck import Need
from wepystore.store.care.report import Report
from wepystore.store.errors import NewerFormatError


@pytest.fixture
def filled(store: Store) -> Store:
    """Two snapshots, a configuration and the run; a default and a tag."""
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    add_run(store, start, end, add_config(store, "c"))
    store.set_ref("default-snapshot", start)
    store.set_ref("tags/bound", end)
    return store


def found(result: Report) -> list[tuple[str, str]]:
    return [(problem.what, problem.path) for problem in result.problems]


def noted(result: Report) -> list[tuple[str, str]]:
    return [(note.what, note.path) for note in result.notes]


def path_of(store: Store, kind: str, md5: str) -> str:
    return str(store.file(kind, md5).relative_to(store.path))


def an_object(store: Store, snapshot: str | None = None) -> str:
    """An object of a snapshot alone."""
    snapshot = snapshot or store.ref("default-snapshot") or ""
    return store.references("snapshots", snapshot)[1][1].md5


def test_a_whole_store(filled: Store) -> None:
    """Nothing to say of a whole store, nothing written, everything read once."""
    tree = tree_of(filled.path)
    for options in ({}, {"fast": True}, {"sha256": True}, {"subset": (1, 3)}):
        result = fsck.check(filled, **options)  # type: ignore[arg-type]
        assert result.healthy and not result.notes
    assert tree_of(filled.path) == tree
    result = fsck.check(filled)
    counted = {"objects": 11, "configs": 1, "snapshots": 2, "frames": 1, "recordings": 1, "runs": 1}
    assert result.entries == dict.fromkeys(KINDS, 0) | counted
    sizes = [filled.size(kind, md5) or 0 for kind in KINDS for md5 in filled.hashes(kind)]
    assert (result.files_read, result.bytes_read) == (17, sum(sizes))


def test_large_files_are_read_too(filled: Store) -> None:
    """Files beyond the size that is read at once: whole ones pass, one bit at the end is found;
    with their SHA-256 as well."""
    md5s = []
    with filled.batch() as batch:
        refs = batch.put_many("objects", [os.urandom(size) for size in (131_072, 131_073, 3 << 20)])
        manifest = {"type": "snapshot", "format": 1, "apparatus": [ref.to_json() for ref in refs]}
        batch.put("snapshots", canonical.dumps(manifest))
    for ref in refs:
        md5s.append(ref.md5)
    assert fsck.check(filled, sha256=True).healthy
    for md5 in md5s:
        with open(filled.file("objects", md5), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
    assert {p.name for p in fsck.check(filled).problems} == set(md5s)


@pytest.mark.parametrize("dies", [False, True])
def test_a_second_process(store: Store, monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """Where files are many two processes read them, and find what one does; if the second one
    dies, the first reads its share too."""
    with store.batch() as batch:
        batch.put_many("objects", [f"{number}".encode() * 99 for number in range(300)])
        batch.put("objects", bytes(1 << 20))
    md5s = store.hashes("objects")
    for md5 in md5s[::7]:
        store.file("objects", md5).write_bytes(b"damaged")
    alone = fsck.check(store, sha256=True)
    assert {problem.name for problem in alone.problems} == set(md5s[::7])
    monkeypatch.setattr(scan, "_MANY", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def work() -> bool:
        if not dies:
            assert fsck.check(store, sha256=True) == alone
        with scan.Work(listing.list_kind(str(store.path), "objects"), sha256=True) as work:
            assert work.helper
            if dies:
                os.kill(work.helper, signal.SIGKILL)
            found = scan.scan(work)
        assert found.faults.keys() == set(md5s[::7])
        assert found.sizes.keys() == found.sha256.keys() == set(md5s) - set(md5s[::7])
        return found.files_read == len(md5s) and not work.helper

    # In a process without threads, whatever the tests before this one have left.
    assert in_child(work) == 0


def test_a_directory_may_go_while_it_is_looked_into(store: Store) -> None:
    """With the last entry of it that a job supersedes: the store is whole before and after."""
    md5 = store.put("objects", b"x").md5
    inside = store.file("objects", md5).parent

    def work() -> bool:
        at_event(1, lambda: store.remove("objects", md5), ["os.scandir"], inside)
        return fsck.check(store).healthy and not inside.exists()

    assert in_child(work) == 0


def test_what_needs_it_is_named(filled: Store) -> None:
    """A missing object is told with its snapshot, the run that starts there, and the default."""
    start = filled.ref("default-snapshot") or ""
    md5 = an_object(filled)
    filled.remove("objects", md5)
    (problem,) = fsck.check(filled).problems
    assert (problem.what, problem.name) == (report.MISSING, md5)
    run = filled.hashes("runs")[0]
    assert problem.needed_by == (
        Need("snapshots", start),
        Need("runs", run),
        Need("refs", "default-snapshot"),
    )


def test_fast_looks_at_names_and_sizes(filled: Store) -> None:
    """--fast finds what is missing or has another size, and reads no object."""
    first, second, third = (
        ref.md5 for _, ref in filled.references("snapshots", filled.hashes("snapshots")[0])
    )
    filled.remove("objects", first)
    os.truncate(filled.file("objects", second), 3)
    file = filled.file("objects", third)
    file.write_bytes(file.read_bytes()[::-1])
    result = fsck.check(filled, fast=True)
    words = {problem.name: problem.what for problem in result.problems}
    assert words == {first: report.MISSING, second: report.DAMAGED}
    assert result.files_read == 6, "manifests and the record only"
    assert len(fsck.check(filled).problems) == 3


def test_subsets_cover_everything_once(filled: Store) -> None:
    """Each object is read in exactly one of t parts, for several t."""
    for md5 in filled.hashes("objects"):
        file = filled.file("objects", md5)
        file.write_bytes(file.read_bytes()[::-1])
    everything = sorted(problem.name for problem in fsck.check(filled).problems)
    for parts in (1, 2, 7, 100):
        names = []
        for number in range(1, parts + 1):
            names += [p.name for p in fsck.check(filled, subset=(number, parts)).problems]
        assert sorted(names) == everything == filled.hashes("objects")


def test_a_misplaced_entry_goes_home(filled: Store) -> None:
    """A file in another prefix directory, or in none, is told and put where it belongs; it needs
    no other store. A second copy of what is there is only noted."""
    md5 = an_object(filled)
    strays = [filled.path / "objects" / "00" / md5, filled.path / "objects" / md5]
    strays[0].parent.mkdir(exist_ok=True)
    for stray in strays:
        os.rename(filled.file("objects", md5), stray)
        result = fsck.check(filled)
        path = str(stray.relative_to(filled.path))
        assert found(result) == [
            (report.MISPLACED, path),
            (report.MISSING, path_of(filled, "objects", md5)),
        ]
        done = fsck.repair(filled, result)
        assert not done.unhealed and fsck.check(filled).healthy and not stray.exists()
    shutil.copy(filled.file("objects", md5), strays[0])
    result = fsck.check(filled)
    assert result.healthy and (report.FOREIGN, f"objects/00/{md5}") in noted(result)


def test_a_swapped_file_is_recognised(filled: Store) -> None:
    """Of a file that holds the content of another it is said which."""
    first, second = filled.hashes("objects")[:2]
    shutil.copy(filled.file("objects", first), filled.file("objects", second))
    (problem,) = fsck.check(filled).problems
    assert problem.name == second and path_of(filled, "objects", first) not in problem.path
    assert first in problem.why


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b'{"type":"configuration","format":1}',
        b'{"type":"snapshot","format":1,"x":{"md5":"../../etc","sha256":"","size":1}}',
        b'{"format":1}',
        b"\xff",
    ],
)
def test_malformed_manifests(filled: Store, data: bytes) -> None:
    """Bytes with the right MD5 that are no snapshot are told; --repair sets them aside."""
    md5 = filled.put("snapshots", data).md5
    result = fsck.check(filled)
    assert found(result) == [(report.MALFORMED, path_of(filled, "snapshots", md5))]
    assert not fsck.repair(filled, result).unhealed
    assert fsck.check(filled).healthy and len(list((filled.path / "quarantine").iterdir())) == 1


def test_entries_of_others_are_healthy(filled: Store) -> None:
    """I3: an entry of wepy 1.x is one piece that names nothing; one of a later format is noted."""
    for level in (1, 6, 9):
        filled.put("snapshots", base64.b64encode(zlib.compress(b"a pickle" * 99, level)))
    assert fsck.check(filled).healthy
    newer = filled.put("configs", b'{"format":99,"type":"a configuration"}').md5
    result = fsck.check(filled)
    assert result.healthy and (report.NEWER, path_of(filled, "configs", newer)) in noted(result)


def test_a_manifest_that_gives_another_size_or_sha256(filled: Store) -> None:
    """S3: MD5 right and the rest not: told as a contradiction, with the manifest; and nothing
    is touched, since nobody knows which of the two is right."""
    ref = filled.put("objects", b"content")
    by_size = {"md5": ref.md5, "sha256": ref.sha256, "size": 9}
    filled.put(
        "snapshots", canonical.dumps({"type": "snapshot", "format": 1, "apparatus": by_size})
    )
    result = fsck.check(filled)
    assert found(result) == [(report.CONTRADICTED, path_of(filled, "objects", ref.md5))]
    assert "size" in result.problems[0].why
    before = contents(filled)
    assert fsck.repair(filled, result).unhealed and contents(filled) == before

    other = filled.put("objects", b"other content")
    by_sha = {"md5": other.md5, "sha256": "0" * 64, "size": other.size}
    md5 = filled.put(
        "configs", canonical.dumps({"type": "configuration", "format": 1, "monitor": by_sha})
    )
    assert len(fsck.check(filled).problems) == 1
    result = fsck.check(filled, sha256=True)
    assert len(result.problems) == 2
    assert any("SHA-256" in p.why and md5.md5 in p.why for p in result.problems)
    # As soon as two manifests differ it is found without being asked for.
    good = {"type": "snapshot", "format": 1, "apparatus": other.to_json()}
    filled.put("snapshots", canonical.dumps(good))
    assert len(fsck.check(filled).problems) == 2


def test_links(filled: Store, tmp_path: Path) -> None:
    """A link out of the store is told though its bytes are right; a link of git-annex is fine, and
    if its content is elsewhere it is missing, with the way to get it; all are healed."""
    copy = Store(shutil.copytree(filled.path, tmp_path / "copy.orch"))
    md5 = an_object(filled)
    file = filled.file("objects", md5)
    outside = tmp_path / "elsewhere"
    os.rename(file, outside)
    file.symlink_to(outside)
    result = fsck.check(filled)
    assert found(result) == [(report.LINK, path_of(filled, "objects", md5))]
    assert not fsck.repair(filled, result, [copy]).unhealed
    assert not file.is_symlink() and fsck.check(filled).healthy

    annex = tmp_path / ".git" / "annex" / "objects" / "x"
    annex.mkdir(parents=True)
    os.rename(file, annex / "KEY")
    file.symlink_to("../../../.git/annex/objects/x/KEY")
    assert fsck.check(filled).healthy
    (annex / "KEY").unlink()
    (problem,) = fsck.check(filled).problems
    assert problem.what == report.MISSING
    assert f"git annex get {file}" in problem.why
    (annex / "KEY").write_bytes(b"rotten")
    assert [p.what for p in fsck.check(filled).problems] == [report.DAMAGED]
    file.unlink()
    file.write_bytes(b"/annex/objects/MD5E-s40--" + md5.encode() + b"\n")
    (problem,) = fsck.check(filled).problems
    assert problem.what == report.MISSING and "git annex get" in problem.why


def test_a_linked_directory(filled: Store, tmp_path: Path) -> None:
    """A prefix directory that is a link out of the store is told: a copy would lack it."""
    md5 = filled.hashes("objects")[0]
    os.rename(filled.file("objects", md5).parent, tmp_path / "moved")
    filled.file("objects", md5).parent.symlink_to(tmp_path / "moved")
    assert found(fsck.check(filled)) == [(report.LINK, f"objects/{md5[:2]}")]


def test_no_files(filled: Store, tmp_path: Path) -> None:
    """A directory or a pipe with an entry's name stops nobody; a copy replaces it."""
    copy = Store(shutil.copytree(filled.path, tmp_path / "copy.orch"))
    first, second = filled.hashes("objects")[:2]
    for md5 in (first, second):
        filled.file("objects", md5).unlink()
    filled.file("objects", first).mkdir()
    os.mkfifo(filled.file("objects", second))
    result = fsck.check(filled)
    assert [(p.what, p.name) for p in result.problems] == [
        (report.NO_FILE, first),
        (report.NO_FILE, second),
    ]
    assert not fsck.repair(filled, result, [copy]).unhealed
    assert fsck.check(filled).healthy


def test_what_is_only_noted(filled: Store) -> None:
    """Leftovers, foreign names, orphans, unnamed snapshots, quarantine: notes, no damage."""
    orphan = filled.put("objects", b"an orphan").md5
    unnamed = add_snapshot(filled, "unnamed")
    (filled.path / "tmp" / "host-1-ff").write_bytes(b"")
    (filled.path / "quarantine" / "objects-x").write_bytes(b"")
    (filled.path / "refs" / "tags" / "beef").write_bytes(b"")
    prefix = filled.file("objects", orphan).parent
    (prefix / f".{orphan}.Xy12ab").write_bytes(b"")
    (prefix / orphan.upper()).write_bytes(b"")
    (filled.path / "README").write_bytes(b"")
    result = fsck.check(filled)
    assert result.healthy
    at = f"objects/{orphan[:2]}"
    expected = {
        (report.ORPHAN, path_of(filled, "objects", orphan)),
        (report.UNNAMED, path_of(filled, "snapshots", unnamed)),
        (report.LEFTOVER, "tmp/host-1-ff"),
        (report.QUARANTINED, "quarantine/objects-x"),
        (report.FOREIGN, "refs/tags/beef"),
        (report.FOREIGN, f"{at}/.{orphan}.Xy12ab"),
        (report.FOREIGN, "README"),
    }
    if orphan.upper() != orphan:
        expected.add((report.FOREIGN, f"{at}/{orphan.upper()}"))
    assert set(noted(result)) == expected


def test_refs(filled: Store, tmp_path: Path) -> None:
    """Rubbish, a hash of nothing, a hash of the wrong kind; healed from a copy, and one that
    names what may still come is left alone without one (S5, S7)."""
    copy = Store(shutil.copytree(filled.path, tmp_path / "copy.orch"))
    config = filled.hashes("configs")[0]
    (filled.path / "refs" / "tags" / "bound").write_text("f" * 32 + "\n")
    (filled.path / "refs" / "default-snapshot").write_text(config + "\n")
    (filled.path / "refs" / "tags" / "odd").write_text("rubbish")
    result = fsck.check(filled)
    assert found(result) == [
        (report.BAD_REF, "refs/default-snapshot"),
        (report.BAD_REF, "refs/tags/bound"),
        (report.BAD_REF, "refs/tags/odd"),
    ]
    done = fsck.repair(filled, result)
    assert [path for path, _ in done.quarantined] == ["refs/tags/odd"]
    assert filled.ref("tags/bound") == "f" * 32
    done = fsck.repair(filled, fsck.check(filled), [copy])
    assert not done.unhealed and filled.tags() == copy.tags()
    assert filled.ref("default-snapshot") == copy.ref("default-snapshot")


def test_a_checkpoint_that_goes_while_we_look(filled: Store) -> None:
    """S4: a run record, its snapshot and its objects that are removed in this order during the
    check are no damage."""
    last = add_snapshot(filled, "superseded")
    parts = [ref.md5 for _, ref in filled.references("snapshots", last)]
    stays = {r.md5 for _, r in filled.references("snapshots", filled.hashes("snapshots")[0])}
    steps = []

    def progress(done: int, total: int) -> None:
        # Manifests have been read by now, and no object.
        if done >= total - len(filled.hashes("objects")) and not steps:
            steps.append(done)
            filled.remove("snapshots", last)
            for md5 in parts:
                if md5 not in stays:
                    filled.remove("objects", md5)

    result = fsck.check(filled, progress=progress)
    assert steps and result.healthy


def test_a_store_of_a_later_format(filled: Store) -> None:
    """It is not checked by rules that may not hold there."""
    (filled.path / "wepystore.json").write_text('{"format":2,"type":"store"}\n')
    with pytest.raises(NewerFormatError):
        fsck.check(filled)


def test_damaged_sources(filled: Store, tmp_path: Path) -> None:
    """Of several sources the first that has it whole gives it; a damaged one is never taken."""
    copies = [Store(shutil.copytree(filled.path, tmp_path / f"{n}.orch")) for n in (1, 2)]
    md5 = an_object(filled)
    for store in (filled, copies[0]):
        file = store.file("objects", md5)
        file.write_bytes(file.read_bytes()[::-1])
    first = fsck.repair(filled, fsck.check(filled), copies[:1])
    assert [p.name for p in first.unhealed] == [md5] and not first.brought
    done = fsck.repair(filled, fsck.check(filled), copies)
    assert not done.unhealed and done.brought == (("objects", md5),)


def test_a_damaged_snapshot_comes_with_its_parts(filled: Store, tmp_path: Path) -> None:
    """Where the manifest is damaged nobody knows which of its objects are missing: they come
    with it. What nothing here needs does not come."""
    copy = Store(shutil.copytree(filled.path, tmp_path / "copy.orch"))
    add_snapshot(copy, "another")
    before = contents(filled)
    snapshot = filled.ref("default-snapshot") or ""
    md5 = an_object(filled)
    filled.remove("objects", md5)
    filled.file("snapshots", snapshot).write_bytes(b"")
    done = fsck.repair(filled, fsck.check(filled), [copy])
    assert not done.unhealed
    assert set(done.brought) == {("objects", md5), ("snapshots", snapshot)}
    assert contents(filled) == before and fsck.check(filled).healthy


def test_repair_killed_at_every_point(tmp_path: Path) -> None:
    """Killed before any rename, link or unlink, --repair has lost nothing, not even a run record
    that nothing names, and the same again completes it."""
    whole = Store.create(tmp_path / "whole.orch")
    start, end = add_snapshot(whole, "a"), add_snapshot(whole, "b")
    run = add_run(whole, start, end, add_config(whole, "c"))
    whole.set_ref("tags/bound", end)
    for number in range(1, 100):
        store = Store(shutil.copytree(whole.path, tmp_path / f"{number}.orch"))
        for kind, md5 in (("runs", run), ("snapshots", start), ("objects", an_object(whole, end))):
            os.truncate(store.file(kind, md5), 5)
        store.remove("objects", an_object(whole, start))
        (store.path / "refs" / "tags" / "bound").write_text("rubbish")

        def work(store: Store = store, number: int = number) -> bool:
            at_event(number, lambda: os._exit(9))
            return not fsck.repair(store, fsck.check(store), [whole]).unhealed

        status = in_child(work)
        fsck.repair(store, fsck.check(store), [whole])
        assert fsck.check(store).healthy and contents(store) == contents(whole), number
        if status == 0:
            assert store.tags() == whole.tags()
            break
        assert status == 9
    assert number > 10


def test_hidden_files_as_an_ordinary_user(tmp_path: Path) -> None:
    """A file without any right to read is told, and made readable again."""
    store = Store.create(tmp_path / "a.orch")
    add_snapshot(store, "a")
    md5 = store.hashes("objects")[0]
    store.file("objects", md5).chmod(0)
    result = fsck.check(store)
    assert [(p.what, p.name) for p in result.problems] == [(report.UNREADABLE, md5)]
    assert not fsck.repair(store, result).unhealed
    assert fsck.check(store).healthy
    assert store.file("objects", md5).stat().st_mode & 0o400
    assert Ref.of(store.read("objects", md5)).md5 == md5
