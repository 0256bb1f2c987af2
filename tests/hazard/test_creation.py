"""A store that does not exist yet is made by any number of programs at once, and whatever becomes
of one of them, the next one finds a store or makes it."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.care.test_gc import at_event, in_child
from tests.store.helpers import add_config, add_run, add_snapshot, contents, memory
from tests.systems import pair_snapshot, plain_configuration
from wepystore.api import prepare_store
from wepystore.cli.main import main
from wepystore.errors import WepystoreError
from wepystore.orchestrator.job.job import Job
from wepystore.store import Store, merge
from wepystore.store.care import fsck, report
from wepystore.store.errors import NoSuchStoreError, NotAStoreError

#: What a process ends with that has waited for others in vain.
NOT_BEGUN = 77

EVENTS = ("os.mkdir", "os.link", "os.rename", "os.listdir", "os.scandir", "open")


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where no test waits for a disk."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def source(folder: Path, label: str) -> Store:
    """A store with a run, defaults and a tag of its own, and a tag `shared` that is not the same
    everywhere."""
    store = Store.create(folder / f"{label}.orch")
    start, end, config = (
        add_snapshot(store, label),
        add_snapshot(store, "end"),
        add_config(store, label),
    )
    add_run(store, start, end, config)
    store.set_ref("default-snapshot", start)
    store.set_ref("default-config", config)
    store.set_ref(f"tags/{label}-tag", start)
    return store


def told(*words: object) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def at_once(folder: Path, works: list[Callable[[], object]]) -> list[object]:
    """What each gives, called in a process of its own, all let go at the same moment."""
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        barrier = context.Barrier(len(works))

        def child(number: int, work: Callable[[], object], barrier: Any = barrier) -> None:
            try:
                barrier.wait(20)
            except threading.BrokenBarrierError:
                os._exit(NOT_BEGUN)
            (folder / f"answer{number}").write_text(json.dumps(work()))

        processes = [context.Process(target=child, args=pair) for pair in enumerate(works)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        # A process that is forked beside the threads of a library may die before it has begun: then
        # nobody has.
        if all(process.exitcode != NOT_BEGUN for process in processes):
            break
    assert [process.exitcode for process in processes] == [0] * len(works)
    return [json.loads((folder / f"answer{n}").read_text()) for n in range(len(works))]


def union_of(*stores: Store) -> dict[str, list[str]]:
    return {
        kind: sorted({md5 for store in stores for md5 in store.hashes(kind)})
        for kind in contents(stores[0])
    }


def check(target: Path, *sources: Store) -> Store:
    """The union of the sources, whole; nothing damaged and nothing left."""
    store = Store.open(target)
    found = fsck.check(store, sha256=True)
    assert found.healthy, found.problems
    assert not {note.what for note in found.notes} - {report.UNNAMED}
    assert contents(store) == union_of(*sources)
    return store


def test_eight_reconciles_make_one_store(folder: Path) -> None:
    """Eight that bring three stores into one that is not there all succeed, again and again; it is
    the union, and its defaults are one source's."""
    sources = [source(folder, label) for label in "abc"]
    for number in range(3):
        target = folder / f"t{number}.orch"
        works = [
            lambda s=sources[n % 3], t=target: told("reconcile", "orch", t, s.path)
            for n in range(8)
        ]
        answers = at_once(folder, works)
        assert [answer[0] for answer in answers] == [0] * 8, answers
        store = check(target, *sources)
        assert sorted(store.tags()) == ["a-tag", "b-tag", "c-tag"]
        assert store.ref("default-snapshot") in {s.ref("default-snapshot") for s in sources}


def test_who_looks_while_a_store_is_made_sees_none_or_a_whole_one(folder: Path) -> None:
    """A reader that asks without a pause meets no damage: a mark that comes between two looks at it
    was once told as "a link to nothing"."""
    names = [folder / f"t{number}.orch" for number in range(300)]

    def make() -> None:
        for name in names:
            Store.create(name)

    def look() -> None:
        for name in names:
            while True:
                try:
                    Store.open(name)
                    break
                except (NoSuchStoreError, NotAStoreError):
                    continue

    at_once(folder, [make, look])


def test_a_ref_is_not_moved_by_the_second_of_two(folder: Path) -> None:
    """S7: what was set after a reconcile was planned stays: another default silently, another tag
    as a conflict, an equal one as none."""
    one, two = source(folder, "a"), source(folder, "b")
    for store in (one, two):
        store.set_ref("tags/shared", str(store.ref("default-snapshot")))
        store.set_ref("tags/same", add_snapshot(store, "end"))
    target = folder / "t.orch"
    plans = [merge.plan(target, [store]) for store in (one, two)]
    assert not merge.apply(plans[0]).conflicts
    outcome = merge.apply(plans[1])
    (conflict,) = outcome.conflicts
    assert (conflict.name, conflict.source) == ("tags/shared", two.label)
    made = check(target, one, two)
    for ref in ("default-snapshot", "default-config", "tags/shared", "tags/same"):
        assert made.ref(ref) == one.ref(ref)


def test_eight_by_other_ways(folder: Path) -> None:
    """`wepy init` and prepare_store of eight at once succeed all; of eight `wepy create orch`, `get
    run` or job folders one does, and seven say that it is there."""
    first = source(folder, "a")
    (run,) = first.hashes("runs")
    ends = [first.manifest("runs", run)[key]["md5"] for key in ("start", "end")]
    snapshot, configuration = pair_snapshot(), plain_configuration()

    def prepare() -> str:
        return prepare_store(folder / "d" / "p.orch", snapshot, configuration).snapshot_hash

    def job() -> str:
        try:
            Job(folder / "jobs" / "job", "job").release()
        except WepystoreError as error:
            return str(error)
        return ""

    def eight(work: Callable[[], object]) -> list[object]:
        return at_once(folder, [work] * 8)

    for answer in eight(lambda: told("init", folder / "i.orch")):
        assert answer[0] == 0, answer
    assert len(set(eight(prepare))) == 1
    assert fsck.check(Store.open(folder / "d" / "p.orch")).healthy
    for words, said in [
        (["create", "orch", folder / "c.orch"], "is already a store"),
        (["get", "run", "-O", folder / "r.orch", first.path, *ends], "is there already"),
    ]:
        answers = eight(lambda words=words: told(*words))
        assert sorted(answer[0] for answer in answers) == [0] + [1] * 7, answers
        assert all(said in answer[2] for answer in answers if answer[0])
    check(folder / "r.orch", first)
    said = [answer for answer in eight(job) if answer]
    assert len(said) == 7
    assert all("job" in str(text) and "No such file" not in str(text) for text in said), said


# ---- at every point


@pytest.mark.parametrize("line", ["reconcile", "init", "create", "prepare"])
def test_a_rival_at_every_point(folder: Path, line: str) -> None:
    """At whatever point of making a store somebody else makes it and fills it: both get what they
    want. Only `create orch` is told that it is already a store."""
    first, second = source(folder, "a"), source(folder, "b")
    # Every point is tried by one of the four.
    first_number = 1 + ["reconcile", "init", "create", "prepare"].index(line)
    for number in range(first_number, 400, 1 if line == "create" else 4):
        target = folder / f"t{number}.orch"
        target.mkdir()
        target.rmdir()

        def work(target: Path = target, number: int = number) -> bool:
            acted = []

            def act() -> None:
                acted.append(told("reconcile", "orch", target, second.path))

            at_event(number, act, EVENTS, target)
            if line == "reconcile":
                status, _, err = told("reconcile", "orch", target, first.path)
            elif line == "prepare":
                assert Store.ensure(target).put("objects", b"mine")
                status, err = 0, ""
            else:
                status, _, err = told(
                    *{"init": ["init"], "create": ["create", "orch"]}[line], target
                )
            assert not acted or acted[0][0] == 0, acted
            assert status == 0 or (line == "create" and "is already a store" in err), err
            return not acted

        status = in_child(work)
        assert status in (0, 7), number
        if status == 0:
            break
        expected = [first, second] if line == "reconcile" else [second]
        if line != "prepare":
            check(target, *expected)
    assert number > 20


def test_killed_at_every_point(folder: Path) -> None:
    """Killed at any point of making a store, it leaves what the next program makes whole:
    reconcile, init and create alike."""
    first = source(folder, "a")
    for number in range(1, 400, 2):
        target = folder / f"t{number}.orch"

        def work(target: Path = target, number: int = number) -> bool:
            at_event(number, lambda: os._exit(9), EVENTS, target)
            return told("init", target)[0] == 0

        status = in_child(work)
        if number % 3:
            words = [["init"], ["create", "orch"]][number % 3 - 1]
            status_again, _, err = told(*words, target)
            assert status_again == 0 or "is already a store" in err, (number, err)
        assert told("reconcile", "orch", target, first.path)[0] == 0, number
        assert contents(Store.open(target)) == contents(first)
        assert fsck.check(Store.open(target)).healthy
        if status == 0:
            break
        assert status == 9
    assert number > 20


def test_what_is_no_store_is_left_alone(folder: Path) -> None:
    """A directory with something in it, or a file, is refused by name by all that make stores."""
    first = source(folder, "a")
    (run,) = first.hashes("runs")
    ends = [first.manifest("runs", run)[key]["md5"] for key in ("start", "end")]
    (folder / "thesis").mkdir()
    (folder / "thesis" / "thesis.tex").write_text("much work")
    (folder / "file").write_text("much work")
    for name in ("thesis", "file"):
        for words in (
            ["reconcile", "orch", folder / name, first.path],
            ["create", "orch", folder / name],
            ["init", folder / name],
            ["push", first.path, folder / name],
            ["get", "run", "-O", folder / name, first.path, *ends],
        ):
            status, out, err = told(*words)
            assert (status, out) == (1, "") and str(folder / name) in err and "bug" not in err
        with pytest.raises((WepystoreError, OSError)):
            Store.ensure(folder / name)
    assert (folder / "file").read_text() == "much work"
    assert os.listdir(folder / "thesis") == ["thesis.tex"]
