"""What gc removes, what it keeps, and what happens when it is killed or not alone."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.store.helpers import add_config, add_recording, add_run, add_snapshot, attach, contents
from tests.systems import tree_of
from wepystore import durable
from wepystore.store import Ref, Store, canonical, renewal
from wepystore.store.care import busy, fsck, gc
from wepystore.store.names import KINDS

DAY_S = 86400.0
HOST = durable.unfinished_path(Path()).name.rsplit("-", 2)[0]


def later(days: float = 15) -> float:
    """The time then."""
    return time.time() + days * DAY_S


def add_orphan(store: Store, text: bytes = b"nobody names this") -> str:
    return store.put("objects", text).md5


@pytest.fixture
def lived_in(store: Store) -> Store:
    """A run with a recording and frames, a tagged snapshot, defaults, a snapshot and a recording
    with frames that nothing names, an orphan, a leftover."""
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    config = add_config(store, "c")
    add_run(store, start, end, config)
    store.set_ref("tags/kept", add_snapshot(store, "tagged"))
    store.set_ref("default-snapshot", add_snapshot(store, "default"))
    store.set_ref("default-config", add_config(store, "default"))
    add_snapshot(store, "unnamed")
    add_recording(store, "unnamed")
    add_orphan(store)
    (store.path / "tmp" / f"{HOST}-{_dead_pid()}-00ff00ff00ff00ff").write_bytes(b"half")
    return store


def _dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_what_nothing_names_goes(lived_in: Store) -> None:
    """The orphan and the leftover go; a dry run writes nothing; again there is nothing to do."""
    before, tree = contents(lived_in), tree_of(lived_in.path)
    plan = gc.plan(lived_in, now=later())
    assert tree_of(lived_in.path) == tree
    assert [item.kind for item in plan.items] == ["objects", "tmp"]
    done = gc.apply(plan)
    assert set(done.removed) == set(plan.items) and done.size == plan.size
    orphan = plan.items[0].name
    before["objects"].remove(orphan)
    assert contents(lived_in) == before and not list((lived_in.path / "tmp").iterdir())
    assert fsck.check(lived_in).healthy and not gc.plan(lived_in, now=later()).items
    assert not (lived_in.path / busy.LOCK).exists()


def test_grace_period(lived_in: Store) -> None:
    """What was changed within the grace period stays; so does a new hard link of an old file,
    whose mtime is old."""
    plan = gc.plan(lived_in)
    assert not plan.items and plan.young == 2
    orphan = lived_in.file("objects", add_orphan(lived_in, b"linked"))
    os.utime(orphan, (1e9, 1e9))
    assert not gc.plan(lived_in).items


def test_unnamed_snapshots_go_when_told(lived_in: Store) -> None:
    """With unnamed=True the snapshot and the recording that nothing names go with their own
    objects, and not with those they share; runs, tags and defaults keep theirs."""
    plan = gc.plan(lived_in, unnamed=True, now=later())
    kinds = [item.kind for item in plan.items]
    assert kinds == ["recordings", "frames", "snapshots", *["objects"] * 5, "tmp"]
    runs = lived_in.hashes("runs")
    gc.apply(plan)
    assert lived_in.hashes("runs") == runs and len(lived_in.hashes("snapshots")) == 4
    assert len(lived_in.hashes("recordings")) == 1
    report = fsck.check(lived_in)
    assert report.healthy and not report.notes


def test_refused_when_a_manifest_cannot_be_read(lived_in: Store) -> None:
    """Nobody knows what a damaged manifest needs, so nothing goes; nor with a damaged ref."""
    file = lived_in.file("snapshots", lived_in.hashes("snapshots")[0])
    data = file.read_bytes()
    file.write_bytes(b"{}")
    with pytest.raises(gc.UnreadableManifestsError, match="fsck"):
        gc.plan(lived_in, now=later())
    file.write_bytes(data)
    (lived_in.path / "refs" / "tags" / "kept").write_text("rubbish")
    with pytest.raises(gc.UnreadableManifestsError):
        gc.plan(lived_in, now=later())


def test_refused_beside_a_writer(lived_in: Store) -> None:
    """A file in tmp/ of a living process here, or a fresh one of another host, is a writer (S8)."""
    plan = gc.plan(lived_in, now=later())
    before = contents(lived_in)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as writer:
        mine = lived_in.path / "tmp" / f"{HOST}-{writer.pid}-0123456789abcdef"
        mine.write_bytes(b"")
        os.utime(mine, (1e9, 1e9))
        with pytest.raises(busy.BusyError, match=str(writer.pid)):
            gc.apply(plan)
        writer.communicate(b"\n")
    mine.unlink()
    other = lived_in.path / "tmp" / "node-17.cluster-4711-0123456789abcdef"
    other.write_bytes(b"")
    with pytest.raises(busy.BusyError, match="node-17"):
        gc.apply(plan)
    assert contents(lived_in) == before
    other.unlink()
    assert gc.apply(plan).removed


def test_folders_of_transfers(lived_in: Store) -> None:
    """What came from elsewhere lies in a folder of tmp/: in use it is a writer; cut off it waits
    for the grace period, so that the transfer can go on, and goes then."""
    folder = lived_in.path / "tmp" / "incoming-0011"
    (folder / "objects").mkdir(parents=True)
    (folder / "objects" / "part").write_bytes(b"12345")
    (folder / "lock").write_bytes(b"")
    assert gc.plan(lived_in).young == 3 and not gc.plan(lived_in).items
    plan = gc.plan(lived_in, now=later())
    assert ("incoming-0011", 5) in [(item.name, item.size) for item in plan.items]
    with open(folder / "lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert len(gc.plan(lived_in, now=later()).items) == 2
        with pytest.raises(busy.BusyError, match="incoming-0011"):
            gc.apply(plan)
    gc.apply(plan)
    assert not list((lived_in.path / "tmp").iterdir())


def test_one_gc_at_a_time(lived_in: Store) -> None:
    """The lock of a living process, or of another host, is respected; that of a dead one here is
    taken over."""
    plan = gc.plan(lived_in, now=later())
    lock = lived_in.path / busy.LOCK
    owners = [{"host": HOST, "pid": os.getppid()}, {"host": "elsewhere", "pid": 1}, {}]
    for owner in owners:
        lock.write_text(json.dumps(owner))
        with pytest.raises(busy.LockedError):
            gc.apply(plan)
        assert json.loads(lock.read_text()) == owner
    lock.write_text(json.dumps({"host": HOST, "pid": _dead_pid()}))
    assert gc.apply(plan).removed and not lock.exists()


def test_a_process_that_ended_writes_no_more(lived_in: Store) -> None:
    """The file of a process that was killed, and that its parent has not asked after, is a
    leftover: such a process keeps its number."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    mine = lived_in.path / "tmp" / f"{HOST}-{pid}-0123456789abcdef"
    mine.write_bytes(b"")
    gc.apply(gc.plan(lived_in, now=later()))
    assert not mine.exists()
    os.waitpid(pid, 0)


# ---- at every point

#: In the default suite every third one of them.
POINTS = pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])


def at_event(
    number: int,
    act: Callable[[], None],
    events: Sequence[str] = ("os.rename", "os.link", "os.remove"),
    root: Path | str = "",
) -> None:
    """From now on, in this process: `act` just before the number-th of these system calls that
    looks at or changes something below `root`."""
    count = 0
    acting = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count, acting
        if acting or event not in events or not str(arguments[0]).startswith(str(root)):
            return
        count += 1
        if count == number:
            acting = True
            act()
            acting = False

    sys.addaudithook(hook)


def in_child(work: Callable[[], bool]) -> int:
    """The exit status of a forked child: 0 if work is true, 7 if not, 9 if it was killed."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if work() else 7)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def build(path: Path, shared: bool = False) -> tuple[Store, set[str]]:
    """A run that stays, and two unnamed snapshots, a recording and an orphan, all of long ago;
    `shared`: each file has a second name elsewhere."""
    store = Store.create(path)
    add_run(store, add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c"))
    stays = {md5 for kind in KINDS for md5 in store.hashes(kind)}
    add_snapshot(store, "u")
    add_snapshot(store, "v", parts=1)
    add_recording(store, "u")
    add_orphan(store)
    for kind in KINDS:
        for md5 in store.hashes(kind):
            os.utime(store.file(kind, md5), (1e9, 1e9))
            if shared:
                os.link(store.file(kind, md5), path.with_name(f"{path.name}-{kind}-{md5}"))
    return store, stays


def collect(store: Store) -> gc.Collected:
    return gc.apply(gc.plan(store, 0, unnamed=True, now=time.time() + 1))


@POINTS
def test_killed_at_every_point(tmp_path: Path, step: int) -> None:
    """S4: killed before any rename, link or unlink, gc leaves a store in which nothing that is
    named is missing, and the next gc completes it."""
    for number in range(1, 100, step):
        store, stays = build(tmp_path / f"{number}.orch")

        def work(store: Store = store, number: int = number) -> bool:
            at_event(number, lambda: os._exit(9))
            return bool(collect(store).removed)

        status = in_child(work)
        assert fsck.check(store).healthy
        collect(store)
        assert {md5 for kind in KINDS for md5 in store.hashes(kind)} == stays
        assert fsck.check(store).healthy and not list((store.path / "tmp").iterdir())
        if status == 0:
            break
        assert status == 9
    assert number > 15, "fewer points than files"


@POINTS
def test_killed_at_every_point_among_covered_runs(tmp_path: Path, step: int) -> None:
    """The same where a run goes with its end, and with what is attached to it: killed at any point,
    every run that is there is whole."""
    for number in range(1, 100, step):
        store = Store.create(tmp_path / f"{number}.orch")
        start, config = add_snapshot(store, "a"), add_config(store, "c")
        add_run(store, start, add_snapshot(store, "b"), config)
        stays = contents(store)
        short = add_run(store, start, add_snapshot(store, "early"), config, n_cycles=5)
        attach(store, short, add_recording(store, "attached", n_cycles=5))
        for kind in KINDS:
            for md5 in store.hashes(kind):
                os.utime(store.file(kind, md5), (1e9, 1e9))

        def work(store: Store = store, number: int = number, short: str = short) -> bool:
            if number:
                at_event(number, lambda: os._exit(9))
            plan = gc.plan(store, 0, now=time.time() + 1, covered=lambda: {short})
            return bool(gc.apply(plan).removed)

        status = in_child(work)
        assert fsck.check(store).healthy
        work(number=0)
        assert contents(store) == stays
        assert fsck.check(store).healthy and not list((store.path / "tmp").iterdir())
        if status == 0:
            break
        assert status == 9
    assert number > 10, "fewer points than files"


TEXT = b"nobody names this"


def publish_snapshot(store: Store) -> bool:
    """A writer that needs the orphan again."""
    with store.batch() as batch:
        ref = batch.put("objects", TEXT)
        manifest = {"type": "snapshot", "format": 1, "apparatus": ref.to_json()}
        batch.put("snapshots", canonical.dumps(manifest))
    return True


def publish_run(store: Store) -> None:
    """A writer that needs the recording again, and all that is in it."""
    start, end, config = add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c")
    add_run(store, start, end, config, recording=add_recording(store, "u"))


def has_both_runs(store: Store) -> bool:
    runs = store.hashes("runs")
    return fsck.check(store).healthy and len(runs) == len(store.hashes("recordings")) == 2


def has_all(store: Store) -> bool:
    report = fsck.check(store)
    md5 = Ref.of(TEXT).md5
    return report.healthy and store.read("objects", md5) == TEXT


@POINTS
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("writer", ["at once", "two steps", "a run"])
def test_a_writer_at_every_point(tmp_path: Path, writer: str, shared: bool, step: int) -> None:
    """S8: a writer that puts an old object again, and names it, at any point of a gc loses
    nothing; nor does one that put it before and names it then. Where another store has the same
    inodes none of them gets another time stamp."""
    for number in range(1, 100, step):
        store, _ = build(tmp_path / f"{number}.orch", shared)

        def work(store: Store = store, number: int = number) -> bool:
            acted = []
            plan = gc.plan(store, 0, unnamed=True)
            batch = store.batch()
            # The clock that stamps files lags by some milliseconds; a grace period covers that.
            time.sleep(0.03)
            if writer == "two steps":
                ref = batch.put("objects", TEXT)

            def act() -> None:
                acted.append(1)
                if writer == "at once":
                    publish_snapshot(store)
                    return
                if writer == "a run":
                    publish_run(store)
                    return
                with batch:
                    manifest = {"type": "snapshot", "format": 1, "apparatus": ref.to_json()}
                    batch.put("snapshots", canonical.dumps(manifest))

            at_event(number, act)
            with suppress(busy.BusyError):
                gc.apply(plan)
            return not acted

        status = in_child(work)
        assert status in (0, 7)
        if status == 7:
            assert has_all(store) if writer != "a run" else has_both_runs(store), number
            others = tmp_path.glob(f"{number}.orch-*")
            assert {other.stat().st_mtime for other in others} == ({1e9} if shared else set())
        else:
            break
    # Something shared was put again after the plan: then nothing at all is taken away.
    assert number > (3 if shared and writer == "two steps" else 10)


@POINTS
def test_a_writer_that_trusts_what_is_there(tmp_path: Path, step: int) -> None:
    """One that names an old object without putting it again (a reconcile that was planned before)
    is at worst left with an incomplete snapshot, which is reported and healed by repeating."""
    healthy = 0
    for number in range(1, 100, step):
        store, _ = build(tmp_path / f"{number}.orch")
        ref = Ref.of(TEXT)
        manifest = canonical.dumps({"type": "snapshot", "format": 1, "apparatus": ref.to_json()})

        def work(store: Store = store, number: int = number, manifest: bytes = manifest) -> bool:
            acted = []
            at_event(number, lambda: acted.append(store.put("snapshots", manifest)))
            gc.apply(gc.plan(store, 0, unnamed=True))
            return not acted

        if in_child(work) == 0:
            break
        report = fsck.check(store)
        assert {problem.name for problem in report.problems} <= {ref.md5}
        healthy += report.healthy
        store.put("objects", TEXT)
        assert fsck.check(store).healthy
    assert healthy >= number // step // 2


def test_putting_an_old_object_again_makes_it_new(store: Store) -> None:
    """The time stamp of an old file changes when it is put again, and that of a new one does not;
    its bytes and its inode stay."""
    file = store.file("objects", add_orphan(store))
    fresh = file.stat()
    add_orphan(store)
    assert file.stat().st_mtime_ns == fresh.st_mtime_ns
    os.utime(file, (1e9, 1e9))
    add_orphan(store)
    assert time.time() - file.stat().st_mtime < 60 and file.stat().st_ino == fresh.st_ino


def _write_until(root: Path, end: float, seed: int) -> None:
    """Snapshots of a small pool of objects, which come and go with them."""
    store = Store.open(root)
    numbers = random.Random(seed)
    renewal.OLD_S = 0.0
    count = 0
    while time.time() < end:
        with store.batch() as batch:
            texts = [f"pool {numbers.randrange(40)}".encode() * 9 for _ in range(4)]
            refs = [batch.put("objects", text) for text in texts]
            time.sleep(numbers.random() * 0.02)
            parts = [ref.to_json() for ref in refs]
            manifest = {
                "type": "snapshot",
                "format": 1,
                "walkers": [seed, count],
                "apparatus": parts,
            }
            batch.put("snapshots", canonical.dumps(manifest))
        count += 1
    os._exit(0 if count else 7)


def test_gc_beside_writers(tmp_path: Path) -> None:
    """S8: while three processes add snapshots whose parts others have just stopped to need, gc runs
    again and again; nobody meets an error, and at no moment is anything missing."""
    store = Store.create(tmp_path / "a.orch")
    end = time.time() + 2
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_until, args=(store.path, end, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    while time.time() < end:
        with suppress(busy.BusyError):
            gc.apply(gc.plan(store, 0.5, unnamed=True))
        assert fsck.check(store).problems == ()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert fsck.check(store).healthy
    # Nothing names the snapshots: with nobody writing all of it goes.
    gc.apply(gc.plan(store, 0, unnamed=True, now=time.time() + 1))
    assert not any(contents(store).values())
