"""rsync: half of a store, the union of two, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.carriers.conftest import Program, World, add_large, build, files_of
from tests.cli.conftest import Wepy
from tests.store.helpers import add_snapshot
from tests.waiting import PATIENCE_S, until
from wepystore.api import Prepared
from wepystore.store import Store

UNION = ("-a", "--ignore-existing", "--exclude=/tmp/", "--exclude=/quarantine/")

Verified = Callable[[Path], None]

slow = pytest.mark.slow


@pytest.mark.parametrize("order", ["first, second", "second, first"])
def test_union_equals_reconcile(
    world: World, tmp_path: Path, rsync: Program, wepy: Wepy, verified: Verified, order: str
) -> None:
    """S6, S7: the same files with the same bytes, refs included, in both orders; and once more
    changes nothing. The tag that both have, differently, stays what it was."""
    other = build(tmp_path / "second.orch", "other ").store
    other.set_ref("tags/late", add_snapshot(other, "a"))
    stores = {"first": world.store.path, "second": other.path}
    by_rsync, by_reconcile = tmp_path / "rsync.orch", tmp_path / "reconcile.orch"
    for statuses in ((0, 4), (0, 4)):
        for name, status in zip(order.split(", "), statuses, strict=True):
            rsync(*UNION, f"{stores[name]}/", f"{by_rsync}/")
            result = wepy("reconcile orch", by_reconcile, stores[name])
            assert result.status in (0, status), result.err
        assert files_of(by_rsync) == files_of(by_reconcile)
    verified(by_rsync)
    bound = Store(stores[order.split(", ")[0]]).ref("tags/bound")
    assert Store.open(by_rsync).ref("tags/bound") == bound


def interrupted(target: Path, signal_number: int, *words: str) -> list[Path]:
    """Run rsync, slowly, and end it in the middle of a large file. Returns what it left there."""
    command = ["rsync", "-a", "--bwlimit=1M", *words]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        # At so many bytes a second the file takes another ten.
        until(lambda: _large(target), process)
    finally:
        os.killpg(process.pid, signal_number)
        process.wait(timeout=PATIENCE_S)
        # The receiver of a copy to this machine is its child's child, and may outlive it.
        until(lambda: not _alive(process.pid))
    return _large(target)


def _large(target: Path) -> list[Path]:
    try:
        found = [path for path in (target / "objects").rglob("*") if path.is_file()]
        return [path for path in found if path.stat().st_size > 1 << 16]
    except FileNotFoundError:
        return []


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


WAYS = {
    "as it is": (signal.SIGKILL, ()),
    "--partial": (signal.SIGTERM, ("--partial",)),
    "--inplace": (signal.SIGKILL, ("--inplace",)),
    "--preallocate": (signal.SIGKILL, ("--inplace", "--preallocate")),
}


#: The others by --all.
FIRST = (
    *(("as it is", "rsync"), ("--partial", "reconcile"), ("--inplace", "rsync")),
    ("--preallocate", "fsck"),
)
CASES = [
    pytest.param(way, healer, marks=[] if (way, healer) in FIRST else slow)
    for way in WAYS
    for healer in ("rsync", "reconcile", "fsck")
    if (way, healer) != ("--preallocate", "reconcile")
]


@pytest.mark.parametrize(("way", "healer"), CASES)
def test_killed_in_the_middle(
    world: World,
    tmp_path: Path,
    rsync: Program,
    wepy: Wepy,
    verified: Verified,
    way: str,
    healer: str,
) -> None:
    """S5: what is incomplete is said, is not run from, and is whole after another try; a truncated
    file that has its final name is no obstacle (S2)."""
    large = add_large(world.store, "never twice the same line\n")
    part = world.store.references("configs", large)[0][1].md5
    source, target = world.store.path, tmp_path / "copy.orch"
    signal_number, words = WAYS[way]
    left = interrupted(target, signal_number, *words, f"{source}/", f"{target}/")
    named = [path.name for path in left] == [part]
    assert named == bool(words), left

    assert_says_what_is_missing(wepy, target, large, part, way)
    if healer == "rsync":
        # What is there under its final name and is not whole has to be replaced: all but refs
        # may be, since an entry's name means one content.
        rsync(
            *(("-a", "--exclude=/refs/", "--checksum") if named else ("-a",)),
            *_ends(source, target),
        )
        rsync(*UNION, *_ends(source, target))
    elif healer == "reconcile":
        assert wepy("reconcile orch", target, source).status == 0
    else:
        # After --preallocate its size is right: only who reads it finds out.
        assert wepy("fsck --repair --from", source, target).status == 0
        assert wepy("reconcile orch", target, source).status == 0
    verified(target)
    have, should = files_of(target), files_of(source)
    assert {name: have.get(name) for name in should} == should
    assert wepy("ls configs", target).status == 0


def _ends(source: Path, target: Path) -> tuple[str, str]:
    return f"{source}/", f"{target}/"


def assert_says_what_is_missing(wepy: Wepy, target: Path, large: str, part: str, way: str) -> None:
    fsck = wepy("fsck", target)
    assert fsck.status == 3
    assert f"objects/{part[:2]}/{part}" in fsck.out
    assert f"configuration {large}" in fsck.out
    if way == "--preallocate":
        return
    ls = wepy("ls configs", target)
    assert ls.status == 3
    assert large in ls.lines, "what is incomplete is listed too"
    assert f"configuration {large}: incomplete: object {part} missing" in ls.err
    status = wepy("status", target)
    assert status.status == 3
    assert f"incomplete: configuration {large}: without object {part}" in status.out


@pytest.mark.parametrize("left", ["objects", "recordings", "all recordings"])
def test_half_a_recording(
    world: World, tmp_path: Path, rsync: Program, wepy: Wepy, verified: Verified, left: str
) -> None:
    """S5: a run of whose recording a part did not arrive, or nothing, is incomplete, while its
    snapshots are whole: it is listed and told as such, taken nowhere, and whole with the rest."""
    source, target = world.store.path, tmp_path / "half.orch"
    (recording,) = world.store.hashes("recordings")
    *_, (_, happened) = world.store.references("recordings", recording)
    out = {"objects": happened.md5, "recordings": recording}.get(left, "recordings/")
    rsync("-a", f"--exclude={out}", f"{source}/", f"{target}/")
    md5, kind = (happened.md5, "object") if left == "objects" else (recording, "recording")
    for line, status in (("ls runs", 3), ("ls snapshots", 0), ("status", 3), ("fsck --fast", 3)):
        result = wepy(line, target)
        assert result.status == status and "bug" not in result.err, (line, result.err)
        assert status == 0 or f"{kind} {md5}" in result.out + result.err or "fsck" in line
    assert wepy("ls runs", target).lines == [f"{world.start}, {world.end}"]
    (told,) = wepy("fsck", target).lines
    assert told.startswith("missing: ") and md5 in told
    assert f"run {world.run}" in told and (kind == "recording" or recording in told)
    show = wepy("show", target, world.run)
    assert show.status == 3 and ("recorded: not here" in show.out) == (left != "objects")
    alone = wepy("get run", target, world.start, world.end, "-O", tmp_path / "alone")
    assert alone.status == 3 and md5 in alone.err and not (tmp_path / "alone").exists()
    brought = wepy("reconcile orch", tmp_path / "new.orch", target)
    assert brought.status == 3 and f"[left out] run {world.run}" in brought.err
    new = Store.open(tmp_path / "new.orch")
    assert not new.hashes("runs") and len(new.hashes("snapshots")) == 2
    rsync(*UNION, *_ends(source, target))
    verified(target)
    assert wepy("ls runs", target).status == wepy("status", target).status == 0
    assert wepy("reconcile orch", new.path, target).status == 0
    assert files_of(new.path).keys() >= {name for name in files_of(source) if "/" in name}


@pytest.mark.parametrize("kept", ["a truncated object", "an object of the right size", "none"])
def test_half_a_store_never_runs(
    pair_store: Prepared, tmp_path: Path, rsync: Program, wepy: Wepy, kept: str
) -> None:
    """S5, S10: a run from a snapshot of which something is missing, or not what it should be, ends
    with status 3 before anything is made; after another rsync it runs."""
    source = pair_store.store.path
    target = tmp_path / "half.orch"
    rsync("-a", f"{source}/", f"{target}/")
    store = Store.open(target)
    _, ref = max(store.references("snapshots", pair_store.snapshot_hash), key=lambda p: p[1].size)
    file = store.file("objects", ref.md5)
    data = file.read_bytes()
    file.unlink()
    if kept != "none":
        file.write_bytes(data[: ref.size // 2].ljust(0 if "truncated" in kept else ref.size, b"\0"))
    line = f"run orch --n-cycles=1 --job-dir={tmp_path}/job {target} default 60 2"
    result = wepy(line)
    assert result.status == 3, result.err
    assert not (tmp_path / "job").exists()
    rsync("-a", "--checksum", "--exclude=/refs/", *_ends(source, target))
    assert wepy(line).status == 0


def test_rsync_into_a_store_with_shared_inodes(
    world: World, tmp_path: Path, rsync: Program, wepy: Wepy, verified: Verified
) -> None:
    """S2: a copy over a store whose files are hard links of another changes none of the other's."""
    linked = tmp_path / "linked.orch"
    assert wepy("reconcile orch", linked, world.store.path).status == 0
    before = files_of(linked)
    other = build(tmp_path / "other.orch", "other ").store.path
    rsync(*UNION, f"{other}/", f"{linked}/")
    rsync("-a", "--exclude=/refs/", f"{world.store.path}/", f"{linked}/")
    verified(linked)
    verified(world.store.path)
    after = files_of(linked)
    assert {name: after[name] for name in before} == before
