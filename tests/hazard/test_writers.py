"""Any number of writers, without a lock (S8), and with whatever umask and group they share."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT
from tests.hazard.writers import LABELS
from tests.store.helpers import add_config, add_run, add_snapshot, check, memory
from tests.systems import REPOSITORY
from wepystore.store import KINDS, Store, merge
from wepystore.store.care import fsck, report

WRITERS, READERS = 8, 2


def sources_in(folder: Path) -> list[Store]:
    """Three stores that overlap with each other and with what is added."""
    made = []
    for number in range(3):
        source = Store.create(folder / f"source{number}.orch")
        snapshots = [add_snapshot(source, str(i), 3) for i in range(number * 10, number * 10 + 25)]
        config = add_config(source, str(number))
        for start, end in itertools.pairwise(snapshots):
            add_run(source, start, end, config)
        source.set_ref("default-config", config)
        made.append(source)
    return made


def round_of(folder: Path, seconds: float, seed: int, sources: list[Store]) -> int:
    """Eight write and two read; what each was told is there. Returns how often they wrote."""
    store = Store.create(folder / f"round{seed}.orch")
    processes = []
    for number in range(WRITERS + READERS):
        what = "write" if number < WRITERS else "read"
        line = [sys.executable, "-m", "tests.hazard.writers", what, str(store.path), str(seconds)]
        line += [f"{seed}-{number}", *(str(source.path) for source in sources)]
        processes.append(
            subprocess.Popen(
                line,
                cwd=REPOSITORY,
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    told = []
    for process in processes:
        out, err = process.communicate(timeout=seconds + 120)
        assert process.returncode == 0 and not err, err
        told.append(json.loads(out))
    assert not [answer["failed"] for answer in told if "failed" in answer]
    for kind in KINDS[1:]:
        here = set(store.hashes(kind))
        for answer in told[:WRITERS]:
            assert set(answer[kind]) <= here
    found = fsck.check(store, sha256=True)
    assert found.healthy, found.problems
    assert {note.what for note in found.notes} <= {report.ORPHAN, report.UNNAMED}
    # No lock, nothing unfinished, and nothing was ever taken for damaged.
    check(store.path)
    assert not list((store.path / "quarantine").iterdir())
    assert not (store.path / "gc.lock").exists()
    assert len(store.hashes("snapshots")) <= LABELS
    shutil.rmtree(store.path)
    return sum(answer["acts"] for answer in told[:WRITERS])


def test_eight_writers_and_two_readers(tmp_path: Path) -> None:
    """A short round: no error, nothing lost, no bad read, fsck clean."""
    acts = round_of(tmp_path, 3.0, 0, sources_in(tmp_path))
    print(f"{WRITERS} writers did {acts} acts")
    assert acts >= WRITERS


@pytest.mark.slow
def test_eight_writers_and_two_readers_for_long(tmp_path: Path) -> None:
    """Twenty rounds of a minute, by turns on a disk and, with more acts a second, in memory."""
    with tempfile.TemporaryDirectory(dir=memory()) as fast:
        folders = [tmp_path, Path(fast)]
        sources = [sources_in(folder) for folder in folders]
        for seed in range(20):
            acts = round_of(folders[seed % 2], 60.0, seed, sources[seed % 2])
            print(f"round {seed}: {WRITERS} writers did {acts} acts")


def _other_group() -> int:
    """A group that files of this user do not get by themselves."""
    if os.geteuid() == 0:
        return 54321
    others = [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("this user is in one group only")
    return others[0]


@pytest.mark.parametrize("umask", [0o002, 0o007, 0o022, 0o077], ids=oct)
def test_a_directory_shared_by_a_group(tmp_path: Path, umask: int) -> None:
    """In a set-group-ID directory every directory of a store belongs to its group, and every file
    that the group may read, with the modes of the umask, whether it was added, or copied or
    linked from a private store."""
    group = _other_group()
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, -1, group)
    shared.chmod(0o2770)
    private = Store.create(tmp_path / "private.orch")
    start, end = add_snapshot(private, "a"), add_snapshot(private, "b")
    add_run(private, start, end, add_config(private, "c"))
    for path in private.path.glob("*/??/*"):
        # As under umask 027: its own group may read it, others may not.
        path.chmod(0o640)
    old = os.umask(umask)
    try:
        store = Store.create(shared / "s.orch")
        store.set_ref("tags/one", add_snapshot(store, "one"))
        merge.apply(merge.plan(store, [private]))
    finally:
        os.umask(old)
    for path in (store.path, *store.path.rglob("*")):
        facts = path.lstat()
        if path.is_dir() or not umask & 0o040:
            assert facts.st_gid == group, path
        if path.is_dir():
            assert stat.S_IMODE(facts.st_mode) == 0o2000 | (0o777 & ~umask), path
        else:
            wanted = 0o644 & ~umask
            assert stat.S_IMODE(facts.st_mode) & wanted & 0o444 == wanted & 0o444, path
            # A link keeps the mode it had.
            assert stat.S_IMODE(facts.st_mode) in (wanted, 0o640), path


def test_a_link_is_made_only_for_the_same_readers(tmp_path: Path) -> None:
    """What the same people may read is linked; what fewer may read, or more, is copied."""
    group = _other_group()
    source = Store.create(tmp_path / "source.orch")
    add_snapshot(source, "a")
    for mode, source_group, is_linked in [
        (0o640, group, True),
        (0o640, os.getegid(), False),
        (0o600, group, False),
        (0o644, os.getegid(), False),
    ]:
        for path in source.path.glob("*/??/*"):
            os.chown(path, -1, source_group)
            path.chmod(mode)
        shared = tmp_path / "shared"
        shared.mkdir()
        os.chown(shared, -1, group)
        shared.chmod(0o2770)
        old = os.umask(0o027)
        try:
            outcome = merge.apply(merge.plan(shared / "s.orch", [source]))
        finally:
            os.umask(old)
        assert bool(outcome.linked) == is_linked, (oct(mode), source_group)
        shutil.rmtree(shared)
