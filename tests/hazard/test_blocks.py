"""Killed, or failed by the disk, at any call by which a full block of a recording is written beside
the run, a job that goes on leaves what one leaves that nothing happened to (D2, D3, S4)."""

from __future__ import annotations

import errno
import functools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hazard.inject import Injector, Outcome
from tests.hazard.killing import timeless_in, unnamed_in
from tests.store.helpers import check, memory
from tests.systems import pair_snapshot, plain_configuration
from wepystore.api import Store, load_runs, prepare_store
from wepystore.orchestrator.job.ledger import LISTED, Ledger
from wepystore.store.names import KINDS
from wepystore.store.renewal import FOLDER
from wepystore.store.system import is_alive

KILLS = (("kill", 0), ("torn", 0))
FAILURES = (("fail", errno.EIO), ("full", errno.ENOSPC), ("dead", errno.EIO))

#: Calls that change nothing: where a block begins and ends.
BEGIN, END = "a-block-begins", "a-block-ends"


def job(*words: str) -> None:
    """`wepy WORDS` with tables in blocks of three cycles, and frames in blocks of two, of which
    each is two objects that are hashed in threads."""
    from wepystore.cli.main import main
    from wepystore.orchestrator.run import recorder
    from wepystore.orchestrator.run.writer import Writer
    from wepystore.records import frames
    from wepystore.store import publish

    recorder.block_cycles_for = lambda n_walkers: 3  # type: ignore[assignment]
    frames.block_cycles_for = lambda n_walkers, n_bytes, every: 2
    frames.PART_BYTES, publish.LARGE = 200, 100
    write: Callable[..., Any] = Writer._write_block

    @functools.wraps(write)
    def marked(self: Writer, objects: Any) -> Any:
        for_here = self.store.path.parent
        with suppress(FileNotFoundError):
            os.rmdir(for_here / BEGIN)
        try:
            return write(self, objects)
        finally:
            with suppress(OSError):
                os.rmdir(for_here / END)

    Writer._write_block = marked  # type: ignore[method-assign]
    raise SystemExit(main([*words]))


class Whole(NamedTuple):
    """A job to which nothing happens."""

    injector: Injector
    folder: Path
    points: list[int]
    """The calls, by their numbers, by which blocks are written."""
    writes: list[int]
    """Those of them that write bytes."""


def entries(root: Path) -> set[tuple[str, str]]:
    """All but the records and what they name with the times."""
    store = Store.open(root / "checkpoint.orch")
    return {(kind, md5) for kind in KINDS if kind != "runs" for md5 in timeless_in(store, kind)}


def work(
    injector: Injector, folder: Path, name: str, at: int = 0, act: str = "count", error: int = 0
) -> Outcome:
    """Begin the job in a folder, or go on with it."""
    there = folder / name
    words = ["resume", there]
    if not there.exists():
        options = ["--n-cycles=7", "--checkpoint-freq=5", "--seed=3", "--job-name=job"]
        words = ["run", "orch", *options, f"--job-dir={there}", folder / "a.orch", "default", 1000]
        words = [*words, 10]
    task = ["tests.hazard.test_blocks:job", *map(str, words)]
    return injector.run(task, there, folder, at, act, error)


@pytest.fixture(scope="module")
def whole(injector: Injector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("blocks")
    if (fast := memory()) is not None:
        folder = Path(fast) / f"wepystore-{os.getpid()}-{folder.name}"
        folder.mkdir()
    prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    done = work(injector, folder, "whole")
    assert done.status == 0, done.err
    points, writes, n_blocks, inside = [], [], 0, False
    for number, point in enumerate(done.points, 1):
        if point.path == BEGIN:
            inside = True
            n_blocks += 1
        elif point.path == END:
            inside = False
        elif inside:
            points.append(number)
            if point.call in ("write", "writev"):
                writes.append(number)
    # Of frames 2, 4 and 6 cycles; of tables, and of times, 3 and 6.
    assert n_blocks == 7 and len(points) > 50 and len(writes) >= 3 * 2 + 2
    yield Whole(injector, folder, points, writes)
    shutil.rmtree(folder)


def one(whole: Whole, *sessions: tuple[int, str, int]) -> bool:
    """A job of which this is done to one session after the other, and what has to be true then and
    in the end. Whether they left something behind."""
    there, left, status = whole.folder / "case", False, None
    try:
        for at, act, error in sessions:
            if status == 0:
                break
            outcome = work(whole.injector, whole.folder, "case", at, act, error)
            # Threads do not always do the same: this time there may have been fewer calls.
            expected = (0,) if not outcome.hit else (0, 1) if error else (None,)
            status = outcome.status
            assert status in expected and "Traceback" not in outcome.err, outcome.err
            left |= _whole_and_listed(there)
        if status != 0:
            outcome = work(whole.injector, whole.folder, "case")
            assert outcome.status == 0, outcome.err
        _as_one(there, whole.folder / "whole")
        return left
    except AssertionError as failure:
        failure.add_note(f"{sessions}")
        raise
    finally:
        shutil.rmtree(there, ignore_errors=True)


def _whole_and_listed(there: Path) -> bool:
    """What is named is there, and what is not is listed. Whether there is such."""
    store = Store.open(there / "checkpoint.orch")
    for run in store.hashes("runs"):
        assert store.missing("runs", run, whole=True) == []
    unnamed = unnamed_in(store)
    assert unnamed <= set(Ledger(there).read()), "nobody would know of them"
    return bool(unnamed) or any((store.path / "tmp").iterdir())


def _as_one(there: Path, whole: Path) -> None:
    """The end, the recording with its frames, and nothing besides."""
    assert entries(there) == entries(whole)
    for file in (there / "checkpoint.orch" / "tmp").iterdir():
        if file.name == FOLDER:
            shutil.rmtree(file)  # Old entries were needed again: all this took ten minutes.
        # Where a process has meanwhile got the number of one that was killed, gc takes it away.
        elif is_alive(int(file.name.split("-")[-2])):
            file.unlink()
    check(there / "checkpoint.orch")
    assert not (there / LISTED).exists()
    (record,), (twin,) = (load_runs(each).values() for each in (there, whole))
    assert (record.end, record.recording) == (twin.end, twin.recording)
    assert record.execution.complete is True


def test_killed_or_failed_in_some_calls(whole: Whole) -> None:
    """In the first block, which no checkpoint precedes, in the middle, and in the last one."""
    begun, middle, last = (whole.points[len(whole.points) * n // 100] for n in (12, 50, 97))
    torn = whole.writes[len(whole.writes) // 2]
    assert one(whole, (last, "kill", 0))
    # The session that goes on has fewer calls before its first block.
    assert one(whole, (torn, "torn", 0), (begun, "kill", 0))
    one(whole, (middle, "fail", errno.EIO))
    one(whole, (begun, "dead", errno.EIO))


@pytest.mark.slow
@pytest.mark.parametrize(("act", "error"), KILLS + FAILURES)
def test_killed_or_failed_in_every_call(whole: Whole, act: str, error: int) -> None:
    """Each of them in each of these ways."""
    places = whole.writes if act == "torn" else whole.points
    left = [one(whole, (at, act, error)) for at in places]
    print(f"{act} {error}: {len(places)} calls, {sum(left)} left something behind")


@pytest.mark.slow
def test_killed_in_one_session_after_the_other(whole: Whole) -> None:
    """Thirty jobs, of which three sessions are killed somewhere."""
    dice = random.Random(4)
    left = 0
    for _ in range(30):
        places = dice.sample(range(min(whole.points), max(whole.points)), 3)
        left += one(whole, *[(at, "kill", 0) for at in sorted(places, reverse=True)])
    print(f"{left} of 30 left something behind")
