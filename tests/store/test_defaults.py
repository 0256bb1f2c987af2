"""What becomes the default of a store that has none (docs/design/0023-defaults.md)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.store.helpers import add_config, add_run, add_snapshot
from wepystore.store import Store, merge
from wepystore.store.runs import Run, origin_of


def job(path: Path, start: str, *ends: str) -> Store:
    """A store as a job has it: runs from `start` to each of `ends`, the last of them default."""
    store = Store.create(path)
    config = add_config(store, "c")
    first = add_snapshot(store, start)
    for end in ends:
        md5 = add_snapshot(store, end)
        add_run(store, first, md5, config)
        store.set_ref("default-snapshot", md5)
    store.set_ref("default-config", config)
    return store


def snapshot(store: Store, label: str) -> str:
    """The hash of a snapshot that is there already."""
    return add_snapshot(store, label)


def merged(tmp_path: Path, *sources: Store) -> tuple[Store, merge.Outcome]:
    """A new store with all that these have."""
    outcome = merge.apply(merge.plan(tmp_path / "new.orch", sources))
    return Store.open(tmp_path / "new.orch"), outcome


def test_the_end_of_a_run_does_not_become_the_default(tmp_path: Path) -> None:
    """A job's store has its last checkpoint as its default; a new store gets the start, and what
    the job's default is stays in the job's store and is told."""
    source = job(tmp_path / "job.orch", "a", "b", "c")
    new, outcome = merged(tmp_path, source)
    start, end = snapshot(source, "a"), snapshot(source, "c")
    assert new.ref("default-snapshot") == start and outcome.end == end
    assert new.ref("default-config") == source.ref("default-config")
    assert source.ref("default-snapshot") == end


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_several_jobs_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Jobs that go on from one another: in whatever order they come, the default is where the first
    began; with one from elsewhere behind them."""
    jobs = [
        job(tmp_path / "1.orch", "a", "b"),
        job(tmp_path / "2.orch", "b", "c"),
        job(tmp_path / "3.orch", "c", "d"),
    ]
    other = job(tmp_path / "other.orch", "x", "y")
    new, _ = merged(tmp_path, *(jobs[i] for i in order), other)
    assert new.ref("default-snapshot") == snapshot(jobs[0], "a")


def test_a_default_that_is_no_end_comes_as_it_is(tmp_path: Path) -> None:
    """Of a store whose owner has set it to a start; nothing is told of it."""
    source = job(tmp_path / "own.orch", "a", "b")
    source.set_ref("default-snapshot", snapshot(source, "lone"))
    new, outcome = merged(tmp_path, source)
    assert new.ref("default-snapshot") == snapshot(source, "lone") and outcome.end == ""


def test_without_the_start_the_end_is_all_there_is(tmp_path: Path) -> None:
    """Where the start was taken away, and the run stays out for that, the end is the default."""
    source = job(tmp_path / "job.orch", "a", "b")
    source.remove("snapshots", snapshot(source, "a"))
    new, outcome = merged(tmp_path, source)
    assert outcome.left and new.ref("default-snapshot") == snapshot(source, "b")


def test_a_target_that_has_the_runs(tmp_path: Path) -> None:
    """A target without a default whose own runs tell where the source's default came from."""
    target, source = job(tmp_path / "new.orch", "a", "b"), job(tmp_path / "2.orch", "b", "c")
    for name in ("default-snapshot", "default-config"):
        target.del_ref(name)
    new, _ = merged(tmp_path, source)
    assert new.ref("default-snapshot") == snapshot(target, "a")


def test_a_default_that_is_set_stays(tmp_path: Path) -> None:
    """S7: also one that is the end of a run; and a run alone brings none."""
    target, source = job(tmp_path / "new.orch", "a", "b"), job(tmp_path / "2.orch", "x", "y")
    new, outcome = merged(tmp_path, source)
    assert new.ref("default-snapshot") == snapshot(target, "b") and not outcome.refs
    plan = merge.plan(tmp_path / "alone", [source], only=[("runs", source.hashes("runs")[0])])
    assert not plan.refs and not plan.end


def run(start: str, end: str) -> Run:
    """A run between two made-up snapshots."""
    return Run(f"{start}{end}", start, end, "config", 1)


def test_where_runs_began() -> None:
    """Followed back over chains, loops, circles and several starts, as far as what is there."""
    everything = set("abcdxy")
    chain = [run("a", "b"), run("b", "c"), run("c", "d")]
    for runs, there, of, expected in [
        (chain, everything, "d", "a"),
        (chain, everything, "a", "a"),
        (chain, everything - {"a"}, "d", "b"),
        (chain, everything - {"c"}, "d", "d"),
        ([*chain, run("a", "a"), run("d", "d")], everything, "d", "a"),
        ([*chain, run("d", "a")], everything, "d", "d"),
        ([*chain, run("y", "c"), run("x", "b")], everything, "d", "a"),
        ([], everything, "x", "x"),
    ]:
        assert origin_of(of, runs, there.__contains__) == expected
