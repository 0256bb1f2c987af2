"""What a stranger's store, manifest or exported file may hold beyond what this program writes: it
is refused by name, early, and by every command that meets it; nobody waits, nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy, World, wepy, world
from tests.hazard.hostile import plant
from tests.store.care.test_gc import in_child, later
from tests.store.helpers import add_snapshot, contents
from wepystore.api import load_snapshot
from wepystore.cli.main import main
from wepystore.errors import DamagedError
from wepystore.orchestrator.setup import Prepared
from wepystore.store import Store, canonical, exports, merge
from wepystore.store.care import fsck, gc, report
from wepystore.store.errors import BadJSONError, DamagedExportError, NotAnExportError
from wepystore.store.names import EntryRef, Ref, references

__all__ = ["wepy", "world"]

HASH, PROOF = "ab" * 16, "cd" * 32
REF = {"md5": HASH, "sha256": PROOF, "size": 5}


# ---- references


def test_one_decoder_knows_what_a_reference_is() -> None:
    """S3: what has more keys, or fewer, is a reference to no reader: not to the one that loads, not
    to the one that collects what is named."""
    assert Ref.from_json(REF, "x") == Ref(HASH, PROOF, 5)
    assert EntryRef.from_json({**REF, "kind": "runs"}, "x").kind == "runs"
    for more in ({"x": 1}, {"kind": "runs", "x": 1}, {"": None}):
        for decode in (Ref.from_json, EntryRef.from_json):
            with pytest.raises(BadJSONError):
                decode({**REF, **more}, "x")
        with pytest.raises(BadJSONError, match="keys that none has"):
            list(references({"a": [{"b": {**REF, **more}}]}))
    for value in ({**REF, "kind": "runs"}, {**REF, "size": 1 << 63}, {**REF, "size": True}):
        with pytest.raises(BadJSONError):
            Ref.from_json(value, "x")
    with pytest.raises(BadJSONError):
        EntryRef.from_json(REF, "x")


def changed(store: Store, md5: str, change: Callable[[Any], None]) -> str:
    """The hash of a snapshot that is another one, changed."""
    manifest = json.loads(store.read("snapshots", md5))
    change(manifest)
    return store.put("snapshots", canonical.dumps(manifest)).md5


def with_one_more_key(manifest: Any) -> None:
    manifest["walkers"]["groups"][0]["fields"]["positions"]["x"] = 1


def with_one_more_field(manifest: Any) -> None:
    manifest["recording"] = {"frames": []}


def with_more_in_the_apparatus(manifest: Any) -> None:
    manifest["apparatus"]["alchemist"] = None


def with_more_in_a_group(manifest: Any) -> None:
    manifest["walkers"]["groups"][0]["hidden"] = []


def test_json_that_says_it_is_of_another_program(wepy: Wepy, world: World) -> None:
    """It is no entry of wepy 1.x, which is no JSON: told of as damage, and listings go on."""
    odd = plant(world.store, "snapshots", b'{"format":1,"type":"wepy 1.x"}')
    for line in ("ls snapshots w.orch", "ls --long snapshots w.orch", f"show w.orch {odd}"):
        result = wepy(line)
        assert result.status == 3 and odd in result.err and "bug" not in result.err, result.err
    assert world.start in wepy("ls --long snapshots w.orch").out


@pytest.mark.parametrize("change", [with_one_more_key, with_one_more_field])
def test_what_is_not_understood_is_never_lost(
    pair_store: Prepared, tmp_path: Path, wepy: Wepy, change: Callable[[Any], None]
) -> None:
    """A manifest with a key that none has is refused by name where it is loaded, is told by fsck,
    and nothing is removed beside it."""
    store = Store.create(tmp_path / "s.orch")
    merge.apply(merge.plan(store, [pair_store.store]))
    odd = changed(store, pair_store.snapshot_hash, change)
    key = "'x'" if change is with_one_more_key else "'recording'"
    for ref in store.hashes("snapshots"):
        if ref != odd:
            store.del_ref("default-snapshot")
            store.remove("snapshots", ref)
    with pytest.raises(DamagedError, match=key):
        load_snapshot(store, odd)
    (problem,) = fsck.check(store).problems
    assert (problem.what, problem.name) == (report.MALFORMED, odd) and key in problem.why
    with pytest.raises(gc.UnreadableManifestsError):
        gc.plan(store, 0, now=later())
    told = wepy("fsck s.orch")
    assert told.status == 3 and key in told.out
    assert wepy("gc --apply --grace 0 s.orch").status == 3
    refused = wepy(f"run orch --n-cycles 1 --job-dir job s.orch {odd} 10 10")
    assert refused.status == 3 and "bug" not in refused.err
    assert store.has("objects", Ref.from_json(_positions(store, odd), "x").md5)


def _positions(store: Store, md5: str) -> Any:
    field = json.loads(store.read("snapshots", md5))["walkers"]["groups"][0]["fields"]["positions"]
    return {key: field[key] for key in REF}


@pytest.mark.parametrize("change", [with_more_in_the_apparatus, with_more_in_a_group])
def test_deeper_keys_are_refused_where_they_are_read(
    pair_store: Prepared, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    """Keys that no walkers and no apparatus have are refused by name when a snapshot is loaded."""
    store = Store.create(tmp_path / "s.orch")
    merge.apply(merge.plan(store, [pair_store.store]))
    with pytest.raises(DamagedError, match=r"'alchemist'|'hidden'"):
        load_snapshot(store, changed(store, pair_store.snapshot_hash, change))


def test_gc_leaves_alone_what_is_of_a_later_version(store_with_orphan: Store) -> None:
    """Beside a manifest of a later format, or a directory of entries of a kind that is not known,
    gc removes nothing; a directory of a user's own does not matter."""
    store = store_with_orphan
    (store.path / "notes").mkdir()
    (store.path / "notes" / "a.txt").touch()
    assert gc.plan(store, now=later()).items
    (store.path / "films" / "ab").mkdir(parents=True)
    with pytest.raises(gc.NewerEntriesError, match="films"):
        gc.plan(store, now=later())
    (store.path / "films" / "ab").rmdir()
    md5 = store.put("snapshots", canonical.dumps({"type": "film", "format": 2})).md5
    with pytest.raises(gc.NewerEntriesError, match=md5):
        gc.plan(store, now=later())
    assert fsck.check(store).healthy


@pytest.fixture
def store_with_orphan(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "a.orch")
    add_snapshot(store, "a")
    store.put("objects", b"nobody names this")
    return store


# ---- sizes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":[' + b"{}," * 600_000 + b"{}]}", "lists and objects"),
        (b"[" * 3_000_000, "lists and objects"),
        (b'{"a":[' + b'"",' * 3_000_000 + b'""]}', "texts"),
        (b'{"a":"' + b"x" * (33 << 20) + b'"}', "bytes"),
        (b'{"a":' * 120 + b"1" + b"}" * 120, "nested too deep"),
        (b'{"a":' + b"9" * 5000 + b"}", "digits"),
    ],
    ids=["objects", "nesting", "texts", "size", "depth", "digits"],
)
def test_giant_manifests_cost_nothing(tmp_path: Path, data: bytes, said: str) -> None:
    """A manifest with more in it than any has is refused by name before it is parsed: status, fsck
    and log of its store take 200 MB more memory at most."""
    store = Store.create(tmp_path / "a.orch")
    md5 = store.put("snapshots", data).md5
    with pytest.raises(DamagedError, match=said):
        store.manifest("snapshots", md5)

    def work() -> bool:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for command in ("status", "fsck"):
            assert main([command, str(store.path)]) == 3
        assert main(["log", str(store.path)]) in (0, 3)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000

    assert in_child(work) == 0


# ---- the store's own file


def by(*, text: str | None = None, link: str | None = None) -> Callable[[Path], None]:
    def spoil(mark: Path) -> None:
        mark.unlink()
        if link is not None:
            mark.symlink_to(link)
        elif text is not None:
            mark.write_text(text)

    return spoil


def sparse(mark: Path) -> None:
    os.truncate(mark, 1 << 40)


def pipe(mark: Path) -> None:
    mark.unlink()
    os.mkfifo(mark)


def folder(mark: Path) -> None:
    mark.unlink()
    mark.mkdir()


SPOILED = {
    "empty": by(text=""),
    "binary": by(text="\0\1\2"),
    "cut": by(text='{"format":1,'),
    "giant number": by(text='{"format":' + "1" * 4000 + ',"type":"store"}'),
    "more digits": by(text='{"format":' + "1" * 4090 + "}"),
    "a fraction": by(text='{"format":1.5}'),
    "a list": by(text="[]"),
    "nested": by(text='{"a":' + "[" * 2000),
    "a terabyte": sparse,
    "a pipe": pipe,
    "a folder": folder,
    "a link to nothing": by(link="nowhere"),
    "a link to itself": by(link="wepystore.json"),
    "a link to a device": by(link="/dev/zero"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_damaged_mark(wepy: Wepy, world: World, tmp_path: Path, what: str) -> None:
    """Whatever has become of wepystore.json, every command ends with 3 and words that name it; fsck
    tells what else there is, and repairs it from another store."""
    other = Store.create(tmp_path / "other.orch")
    SPOILED[what](world.store.path / "wepystore.json")
    for line in (
        "ls snapshots w.orch",
        "status w.orch",
        "log w.orch",
        "reconcile orch other.orch w.orch",
        "gc w.orch",
        "fsck w.orch",
    ):
        result = wepy(line)
        assert result.status == 3, (line, result)
        assert "wepystore.json" in result.out + result.err and "bug" not in result.err, line
    assert not contents(other)["snapshots"]
    repaired = wepy("fsck --repair --from other.orch w.orch")
    assert repaired.status == 0, repaired
    assert wepy("fsck w.orch").status == 0 and len(wepy("ls snapshots w.orch").lines) == 2


# ---- pipes and devices


def test_nothing_is_waited_for(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Pipes, and links to devices without end, in place of objects, manifests, records, refs and
    gc's lock: every command that reads a store ends, with words."""
    store = world.store
    part = store.references("snapshots", world.start)[-1][1].md5
    Store.create(tmp_path / "other.orch")
    odd: list[Callable[[Path], None]] = [os.mkfifo, lambda path: path.symlink_to("/dev/zero")]
    places = (
        store.file("objects", part),
        store.file("snapshots", world.end),
        store.file("recordings", store.hashes("recordings")[0]),
        store.file("runs", world.run),
        store.path / "refs" / "default-snapshot",
        store.path / "refs" / "tags" / "odd",
        store.path / "gc.lock",
    )
    for place in places:
        held = place.read_bytes() if place.exists() else None
        for put in odd:
            place.unlink(missing_ok=True)
            put(place)
            for line in (
                "status w.orch",
                "fsck w.orch",
                "fsck --sha256 w.orch",
                "ls snapshots w.orch",
                "log w.orch",
                f"get snapshot -f -O got w.orch {world.start}",
                "reconcile orch -n other.orch w.orch",
                "push -n w.orch other.orch",
                "gc --apply --grace 0 w.orch",
                "diff w.orch other.orch",
                "fsck --repair w.orch",
            ):
                result = wepy(line)
                assert result.status in (0, 1, 2, 3), (line, result)
                assert "bug" not in result.err, (line, result)
        place.unlink(missing_ok=True)
        if held is not None:
            place.write_bytes(held)
    assert fsck.check(store).healthy


# ---- exported files


def framed(archive: bytes) -> bytes:
    """An archive without its comment as the file that `wepy get` would make of it."""
    body = archive[:-2] + struct.pack("<H", len(exports.TAIL))
    return exports.HEAD + struct.pack("<Q", len(body)) + body + exports.TAIL


def archive_of(entries: list[tuple[str, int, int]], data: bytes) -> bytes:
    """A file whose central directory names (name, offset, size) in `data`, whatever is there."""
    start = len(exports.HEAD) + 8
    central = b""
    for name, offset, size in entries:
        raw = name.encode()
        central += struct.pack(
            "<4s4B4HL2L5H2L",
            *(b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0x21, 0, size, size),
            *(len(raw), 0, 0, 0, 0, 0, offset + start),
        )
        central += raw
    end = struct.pack(
        "<4s4H2LH",
        *(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(central), len(data) + start, 0),
    )
    return framed(data + central + end)


def test_overlapping_members_cost_nothing(tmp_path: Path) -> None:
    """A small archive whose members are all the same stretch of it, by different names, is refused
    by name before a member is read."""
    file = tmp_path / "x.snap.dill.pkl"
    size = 1_500_000
    entries = [(f"objects/ab/{n:032x}", 0, size - 200) for n in range(1500)]
    file.write_bytes(archive_of(entries, bytes(size)))

    def work() -> bool:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(DamagedExportError, match="overlaps"):
            exports.read(file)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000

    assert in_child(work) == 0


def test_strange_archives(tmp_path: Path) -> None:
    """Members that are compressed, named twice, larger than the file or beyond its end are refused
    by name, and so is what is no file."""
    file = tmp_path / "x.snap.dill.pkl"
    for entries in (
        [("a", 0, 100), ("a", 200, 100)],
        [("a", 0, 1 << 31)],
        [("a", 0, 900), ("b", 500, 100)],
        [("a", 990, 100)],
        [("a", 1 << 31, 1)],
        [("wepystore.json", 0, 10), ("b", 0, 10)],
    ):
        file.write_bytes(archive_of(entries, bytes(1000)))
        with pytest.raises(DamagedExportError):
            exports.read(file)
    deflated = tmp_path / "zip"
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wepystore.json", b"0" * 5_000_000)
    file.write_bytes(framed(deflated.read_bytes()))
    with pytest.raises(DamagedExportError, match="compressed"):
        exports.read(file)
    for size in (1 << 40, 30):
        file.write_bytes(exports.HEAD + struct.pack("<Q", 100))
        os.truncate(file, size)
        with pytest.raises((DamagedExportError, NotAnExportError)):
            exports.read(file)
    file.write_bytes(b"eJxx")
    os.truncate(file, 1 << 40)
    with pytest.raises(NotAnExportError, match="far too many"):
        exports.read(file)
    file.unlink()
    os.mkfifo(file)
    for path in (file, tmp_path):
        with pytest.raises((NotAnExportError, OSError)):
            exports.read(path)


def test_get_names_the_file_it_cannot_write(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Where --output leads nowhere, or to what is no file, the message names it and nothing else is
    changed; a link is replaced, not followed."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "victim").write_text("much work")
    (tmp_path / "link").symlink_to("victim")
    for name in ("folder", "none/x.pkl", "victim/x.pkl", "x" * 300, "folder/", "pipe", "link"):
        result = wepy("get snapshot w.orch", world.start, "-O", name)
        assert result.status == 1 and name.rstrip("/") in result.err, (name, result)
        assert "bug" not in result.err
    for name in ("folder", "none/x.pkl", "x" * 300):
        result = wepy("get snapshot --force w.orch", world.start, "-O", name)
        assert result.status == 1 and name in result.err and "bug" not in result.err, result
    assert wepy("get snapshot --force w.orch", world.start, "-O", "link").status == 0
    assert (tmp_path / "victim").read_text() == "much work"
    assert not (tmp_path / "link").is_symlink()
    assert not list(tmp_path.glob(".*"))
