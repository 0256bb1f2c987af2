"""On a disk that is really full, wherever in its work that meets it, a command fails with a clear
error, loses nothing, leaves nothing half-visible, and completes when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT
from tests.hazard.inject import Injector
from tests.hazard.scenarios import LARGE
from tests.store.helpers import add_config, add_snapshot, contents
from tests.systems import REPOSITORY
from wepystore.store import Store, canonical, exports
from wepystore.store.care import fsck, report

DISK_BYTES = 6 << 20
# Free bytes at the beginning, from nothing to nearly enough.
ROOM = [0, 4096, 20_000, 400_000, 1_000_000, 2_600_000]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MB."""
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes=4000", "none", str(place)]
    try:
        done = subprocess.run(line, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"this user may not mount a small file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def leave(disk: Path, room: int) -> None:
    """Fill the disk but for so many bytes, rounded down to pages."""
    filler = disk / "filler"
    facts = os.statvfs(disk)
    size = max(0, facts.f_bavail * facts.f_frsize - room)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def call(*words: object) -> tuple[int, str, str]:
    """A command in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=REPOSITORY,
    )
    return done.returncode, done.stdout, done.stderr


def add_snapshots(store: Store) -> list[str]:
    """Three of some 700 kB each, of parts large and small."""
    made = []
    for number in range(3):
        with store.batch() as batch:
            parts = [LARGE[: 600_000 + number], *(b"%d/%d" % (number, i) * 2000 for i in range(9))]
            refs = batch.put_many("objects", parts)
            manifest = {
                "type": "snapshot",
                "format": 1,
                "apparatus": [ref.to_json() for ref in refs],
            }
            made.append(batch.put("snapshots", canonical.dumps(manifest)).md5)
    return made


def assert_kept(store: Store, before: dict[str, list[str]]) -> None:
    """Whole, and nothing that was there is gone."""
    found = fsck.check(store)
    assert not found.problems
    allowed = {report.LEFTOVER, report.ORPHAN, report.UNNAMED}
    assert {note.what for note in found.notes} <= allowed
    for kind, hashes in before.items():
        assert set(hashes) <= set(store.hashes(kind))


def assert_told(status: int, err: str) -> None:
    assert status == 1, err
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1 and err.startswith("wepy: error: "), err


def in_all_rooms(
    disk: Path, target: Path, line: list[object], finished: Callable[[Store], bool]
) -> int:
    """The command with less and with more room, then with enough; how often it failed."""
    failures = 0
    shutil.copytree(target, pristine := disk.parent / "pristine")
    for room in ROOM:
        shutil.rmtree(target)
        shutil.copytree(pristine, target)
        store = Store.open(target)
        before = contents(store)
        leave(disk, room)
        status, _, err = call(*line)
        if status or not finished(store):
            assert_told(status, err)
            failures += 1
        assert not list((target / "tmp").iterdir())
        assert_kept(store, before)
        (disk / "filler").unlink()
        status, _, err = call(*line)
        assert status == 0 and finished(store), err
        assert_kept(store, before)
    return failures


def test_add(disk: Path, tmp_path: Path) -> None:
    """`wepy add`: no room for it, for half of it, for the last directory."""
    source = Store.create(tmp_path / "s.orch")
    md5 = add_snapshots(source)[0]
    exports.write(source, "snapshots", md5, tmp_path / "new.snap")
    target = Store.create(disk / "t.orch")
    add_snapshot(target, "before")
    failures = in_all_rooms(
        disk,
        target.path,
        ["-m", "wepystore", "add", "snapshot", target.path, tmp_path / "new.snap"],
        lambda store: md5 in store.hashes("snapshots"),
    )
    print(f"add: the disk was full in {failures} of {len(ROOM)} cases")
    assert failures >= 4


def test_reconcile(disk: Path, tmp_path: Path) -> None:
    """`wepy reconcile orch` from another file system, where it has to copy."""
    source = Store.create(tmp_path / "s.orch")
    made = add_snapshots(source)
    source.set_ref("default-snapshot", made[0])
    target = Store.create(disk / "t.orch")
    add_snapshot(target, "before")
    failures = in_all_rooms(
        disk,
        target.path,
        ["-m", "wepystore", "reconcile", "orch", target.path, source.path],
        lambda store: (
            set(made) <= set(store.hashes("snapshots")) and store.ref("default-snapshot") == made[0]
        ),
    )
    print(f"reconcile: the disk was full in {failures} of {len(ROOM)} cases")
    assert failures >= 4


def test_checkpoints(disk: Path, injector: Injector) -> None:
    """Checkpoints into a disk that is full already, or becomes so: those that were told of are
    there, and the run that is written again gets to its end."""
    from tests.systems import pair_snapshot, plain_configuration
    from wepystore.api import prepare_store

    made = prepare_store(disk / "t.orch", pair_snapshot(4), plain_configuration())
    target = made.store
    target.set_ref("tags/start", made.snapshot_hash)  # The default moves with the checkpoints.
    pristine = disk.parent / "pristine"
    shutil.copytree(target.path, pristine)
    task = ["tests.hazard.scenarios:checkpoints", target.path]
    failures = 0
    for pages in (0, 1, 2, 3, 5, 8, 12, 18, 25):
        shutil.rmtree(target.path)
        shutil.copytree(pristine, target.path)
        before = contents(target)
        leave(disk, 4096 * pages)
        outcome = injector.run(task, target.path, disk)
        told = outcome.out.split()
        if outcome.status != 0:
            assert outcome.status == 1
            assert_told(1, outcome.err)
            failures += 1
        assert_kept(target, before)
        if told:
            # A checkpoint may be superseded before it is told of.
            runs = [target.manifest("runs", md5) for md5 in target.hashes("runs")]
            assert max(run["n_cycles"] for run in runs) >= len(told)
        (disk / "filler").unlink()
        outcome = injector.run(task, target.path, disk)
        assert outcome.status == 0, outcome.err
        assert target.missing("snapshots", outcome.out.split()[-1]) == []
        assert_kept(target, before)
    print(f"checkpoints: the disk was full in {failures} of 9 cases")
    assert failures >= 3


def test_many_small_files(disk: Path, tmp_path: Path) -> None:
    """The same where the inodes run out and not the bytes, in bulk."""
    source = Store.create(tmp_path / "s.orch")
    with source.batch() as batch:
        refs = batch.put_many("objects", [b"%d" % i for i in range(400)])
        manifest = {"type": "snapshot", "format": 1, "apparatus": [ref.to_json() for ref in refs]}
        md5 = batch.put("snapshots", canonical.dumps(manifest)).md5
    target = Store.create(disk / "t.orch")
    add_config(target, "before")
    before = contents(target)
    filler = disk / "filler"
    filler.mkdir()
    for number in range(os.statvfs(disk).f_favail - 300):
        (filler / str(number)).touch()
    line = ["-m", "wepystore", "reconcile", "orch", target.path, source.path]
    status, _, err = call(*line)
    assert_told(status, err)
    assert not list((target.path / "tmp").iterdir())
    assert_kept(target, before)
    shutil.rmtree(filler)
    status, _, err = call(*line)
    assert status == 0 and target.hashes("snapshots") == [md5], err
    assert_kept(target, before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root mounts without a namespace: see the others")
def test_all_of_it_in_a_namespace() -> None:
    """An ordinary user may mount in a user namespace, where the kernel allows those."""
    try:
        if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
            pytest.skip("the kernel allows this user no namespace")
    except FileNotFoundError:
        pytest.skip("there is no unshare command here")
    line = ["unshare", "-Urm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*line, __file__], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize("room", [0, 300_000])
def test_get_names_the_file_that_the_disk_has_no_room_for(
    tmp_path: Path, disk: Path, room: int
) -> None:
    """A large write gives up in the kernel, which knows no name; nothing is left behind."""
    store = Store.create(tmp_path / "x.orch")
    md5 = add_snapshots(store)[0]
    leave(disk, room)
    before = sorted(os.listdir(disk))
    file = disk / "o.pkl"
    status, out, err = call("-m", "wepystore", "get", "snapshot", store.path, md5, "-O", file)
    assert (status, out) == (1, "")
    assert f"{file}: No space left on device" in err
    assert sorted(os.listdir(disk)) == before
