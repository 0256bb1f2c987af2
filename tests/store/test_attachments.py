"""Attachments: entries that name a run and a recording, and go with the run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.care.test_gc import at_event, in_child, later
from tests.store.helpers import add_config, add_recording, add_run, add_snapshot, attach, contents
from wepystore.store import Store, canonical, graph, merge
from wepystore.store.attachments import read_attachments
from wepystore.store.care import fsck, gc
from wepystore.store.errors import BadJSONError


@pytest.fixture
def run(store: Store) -> str:
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    return add_run(store, start, end, add_config(store, "c"))


@pytest.fixture
def unrecorded(store: Store, run: str) -> str:
    """A run whose record names no recording."""
    record = store.manifest("runs", run) | {"format": 1}
    del record["recording"]
    return store.put("runs", canonical.dumps(record)).md5


@pytest.fixture
def attached(store: Store, run: str) -> str:
    return attach(store, run, add_recording(store, "imported"))


@pytest.mark.parametrize("key", ["run", "recording", "more"])
def test_others_are_damage(store: Store, attached: str, key: str) -> None:
    """What names no run, no recording, or more, is told, and gc does not work beside it."""
    manifest = store.manifest("attachments", attached)
    manifest |= {"run": manifest["recording"], "recording": manifest["run"], "more": 1}
    told = {**store.manifest("attachments", attached), key: manifest[key]}
    bad = store.put("attachments", canonical.dumps(told)).md5
    with pytest.raises(BadJSONError):
        graph.parse("attachments", bad, store.read("attachments", bad), "it")
    assert [each.name for each in fsck.check(store).problems] == [bad]
    with pytest.raises(gc.UnreadableManifestsError):
        gc.plan(store)


def test_a_union_brings_them(store: Store, attached: str, tmp_path: Path) -> None:
    """With all that they name; twice is as once."""
    path = tmp_path / "b.orch"
    for _ in range(2):
        outcome = merge.apply(merge.plan(path, [store]))
        assert not outcome.left and not outcome.conflicts
        assert contents(Store.open(path)) == contents(store)


def test_without_its_run_it_is_incomplete(store: Store, run: str, attached: str) -> None:
    """Half a store is a normal state (S5): it is told, and what is left out has a reason."""
    store.remove("runs", run)
    assert [each.name for each in fsck.check(store).problems] == [run]
    (left,) = merge.plan(store.path.with_name("b.orch"), [store]).left
    assert (left.kind, left.md5) == ("attachments", attached) and run in left.why


def test_gc_keeps_them_with_their_run(store: Store, run: str, attached: str) -> None:
    """With what they name; when the run goes, so do they."""
    before = contents(store)
    gc.apply(gc.plan(store, grace_s=-1, unnamed=True))
    assert contents(store) == before
    done = gc.apply(gc.plan(store, grace_s=-1, covered=lambda: [run]))
    kinds = [item.kind for item in done.removed]
    assert kinds[:4] == ["attachments", "runs", "recordings", "recordings"]
    assert not contents(store)["recordings"] and fsck.check(store).healthy


def test_a_run_stays_while_something_young_is_attached_to_it(store: Store, run: str) -> None:
    """Both go together: nothing is left that names what has gone."""
    added, then = attach(store, run, add_recording(store, "imported")), later()
    file = store.file("attachments", added)
    os.utime(file, (then, then))
    plan = gc.plan(store, now=then, covered=lambda: [run])
    assert (plan.items, plan.young) == ((), 1)
    os.utime(file, (0, 0))
    gc.apply(gc.plan(store, now=then, covered=lambda: [run]))
    assert not any(contents(store).values())


def tagged(store: Store, run: str) -> None:
    store.set_ref("tags/it", run)


def gone_on_from(store: Store, run: str) -> None:
    end = store.manifest("runs", run)["end"]["md5"]
    add_run(store, end, add_snapshot(store, "z"), add_config(store, "c"))


def attached_to(store: Store, run: str) -> None:
    attach(store, run, add_recording(store, "imported otherwise"))


@pytest.mark.parametrize("needed", [tagged, gone_on_from, attached_to])
def test_what_is_attached_comes_back_with_its_run(
    store: Store, run: str, attached: str, needed: Callable[[Store, str], None]
) -> None:
    """Somebody comes to need the run while gc takes it away: nothing of it is lost."""
    plan = gc.plan(store, now=later(), covered=lambda: [run])
    before = contents(store)
    needed(store, run)
    assert not gc.apply(plan).removed
    assert all(set(before[kind]) <= set(md5s) for kind, md5s in contents(store).items())
    assert fsck.check(store).healthy


def test_one_that_lost_its_run_goes_when_asked(store: Store, run: str, attached: str) -> None:
    """As a recording that nobody names: with those, and not before."""
    store.remove("runs", run)
    assert not gc.plan(store, grace_s=-1).items
    gc.apply(gc.plan(store, grace_s=-1, unnamed=True))
    assert not any(contents(store).values())


def test_several_that_differ_are_a_conflict(store: Store, unrecorded: str, tmp_path: Path) -> None:
    """All come, since a union loses nothing (S6); it is told of each merge until one is gone."""
    other = Store.create(tmp_path / "b.orch")
    merge.apply(merge.plan(other.path, [store]))
    ours = attach(store, unrecorded, add_recording(store, "imported"))
    theirs = attach(other, unrecorded, add_recording(other, "imported otherwise"))
    for both in ((ours, theirs), tuple(sorted((ours, theirs)))):
        outcome = merge.apply(merge.plan(store.path, [other]))
        (conflict,) = outcome.conflicts
        assert conflict.name == f"runs/{unrecorded}"
        assert (conflict.ours, conflict.theirs) == both
        assert not outcome.left and store.hashes("attachments") == sorted([ours, theirs])
    third = merge.plan(tmp_path / "c.orch", [store, other])
    assert {each.ours for each in third.conflicts} == {None} and not third.left
    store.remove("attachments", theirs)
    assert not merge.plan(store.path, []).conflicts


def test_what_does_not_count_is_no_conflict(
    store: Store, run: str, unrecorded: str, tmp_path: Path
) -> None:
    """What is attached to a run that has a recording of its own; the same recording, attached by
    other bytes; and what stays out, since it is not there whole."""
    other = Store.create(tmp_path / "b.orch")
    attach(store, run, add_recording(store, "imported"))
    first = attach(store, unrecorded, add_recording(store, "imported"))
    merge.apply(merge.plan(other.path, [store]))
    attach(other, run, add_recording(other, "imported otherwise"))
    # Not canonical, as somebody else may write it.
    again = json.dumps(store.manifest("attachments", first)).encode()
    assert other.put("attachments", again).md5 != first
    half = add_recording(other, "half")
    left = attach(other, unrecorded, half)
    other.remove("recordings", half)
    for _ in range(2):
        outcome = merge.apply(merge.plan(store.path, [other]))
        assert not outcome.conflicts and [each.md5 for each in outcome.left] == [left]


@pytest.mark.parametrize("key", ["run", "recording"])
def test_a_union_brings_none_that_is_none(
    store: Store, attached: str, key: str, tmp_path: Path
) -> None:
    """One would keep every reader from what is attached to all runs."""
    manifest = store.manifest("attachments", attached)
    manifest[key] = manifest["run" if key == "recording" else "recording"]
    bad = store.put("attachments", canonical.dumps(manifest)).md5
    outcome = merge.apply(merge.plan(tmp_path / "b.orch", [store]))
    assert [(each.kind, each.md5) for each in outcome.left] == [("attachments", bad)]
    there = Store.open(tmp_path / "b.orch")
    assert there.hashes("attachments") == [attached] and fsck.check(there).healthy


def test_one_that_goes_while_they_are_read(store: Store, run: str, attached: str) -> None:
    """Somebody removes it: it is not there, and nothing is amiss."""

    def work() -> bool:
        file = store.file("attachments", attached)
        at_event(1, file.unlink, ["open"], file)
        return read_attachments(store) == {}

    assert in_child(work) == 0 and not store.has("attachments", attached)


def test_an_older_program_refuses_to_clean(store: Store, attached: str, tmp_path: Path) -> None:
    """D8: one of a later format is carried, says nothing to who reads, and gc refuses."""
    value = json.loads(store.read("attachments", attached)) | {"format": 2, "more": 1}
    newer = store.put("attachments", canonical.dumps(value)).md5
    parts, number = graph.parse("attachments", newer, store.read("attachments", newer), "it")
    assert number == 2 and {kind for kind, _ in parts} == {"runs", "recordings"}
    with pytest.raises(gc.NewerEntriesError):
        gc.plan(store)
    (held,) = read_attachments(store).values()
    assert [each.md5 for each in held] == [attached]
    outcome = merge.apply(merge.plan(tmp_path / "b.orch", [store]))
    assert not outcome.left and newer in Store.open(tmp_path / "b.orch").hashes("attachments")
