"""Reconcile is a verified union (S5, S6, S7): whole things come over, and nothing else."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.helpers import add_config, add_run, add_snapshot, check, contents, entry, memory
from wepystore.store import Store, canonical, merge
from wepystore.store import publish as publish_module
from wepystore.store.errors import NotAStoreError
from wepystore.store.merge import Outcome


def reconciled(target: Store | Path, *sources: Store) -> Outcome:
    """Plan and apply."""
    return merge.apply(merge.plan(target, sources))


def fill(store: Store, labels: str) -> str:
    """A chain of snapshots, a configuration, and the run from the first to the last."""
    snapshots = [add_snapshot(store, label) for label in labels]
    return add_run(store, snapshots[0], snapshots[-1], add_config(store, "one"))


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A second store."""
    return Store.create(tmp_path / "b.orch")


def test_what_is_new_comes_and_is_listed(store: Store, other: Store) -> None:
    """Snapshots, configurations and runs come over; the outcome lists them with their facts."""
    first = add_snapshot(store, "a")
    run = fill(other, "ab")
    outcome = reconciled(store, other)
    assert [(e.kind, e.new) for e in outcome.entries] == [
        ("configs", True),
        ("snapshots", True),
        ("frames", True),
        ("recordings", True),
        ("runs", True),
    ]
    assert outcome.entries[-1].run is not None
    assert outcome.entries[-1].run[:2] == (run, first) and outcome.entries[-1].run.n_cycles == 12
    assert contents(store) == contents(other)
    # Two objects of snapshot b, one of the configuration, three of what happened, two of frames,
    # four manifests, one record.
    assert outcome.linked + outcome.copied == 13 and outcome.size > 0 and not outcome.left
    check(store.path)


def test_again_changes_nothing(store: Store, other: Store) -> None:
    """Idempotent: the second plan is empty."""
    fill(other, "abc")
    reconciled(store, other)
    plan = merge.plan(store, [other, store])
    assert not plan.copies and not plan.entries and not plan.refs and not plan.conflicts
    assert merge.apply(plan).entries == ()


def test_a_target_that_is_not_there_is_made(other: Store, tmp_path: Path) -> None:
    """The plan writes nothing; applying it makes the store. A plain directory is refused."""
    fill(other, "ab")
    plan = merge.plan(tmp_path / "new" / "c.orch", [other])
    assert plan.creates and not (tmp_path / "new").exists() and plan.size > 0
    merge.apply(plan)
    assert contents(Store.open(tmp_path / "new" / "c.orch")) == contents(other)
    (tmp_path / "empty").mkdir()
    reconciled(tmp_path / "empty", other)
    assert contents(Store.open(tmp_path / "empty")) == contents(other)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "thesis.tex").touch()
    with pytest.raises(NotAStoreError):
        merge.plan(tmp_path / "plain", [other])


def test_files_are_linked_where_they_can_be(store: Store, other: Store) -> None:
    """On one file system nothing is stored twice."""
    md5 = add_snapshot(other, "a")
    outcome = reconciled(store, other)
    assert outcome.copied == 0 and outcome.linked == 4
    assert store.file("snapshots", md5).samefile(other.file("snapshots", md5))


def test_private_files_are_copied_into_a_shared_store(store: Store, other: Store) -> None:
    """A link would carry over the mode: who may read the target may read what comes to it."""
    md5 = add_snapshot(other, "a")
    os.chmod(store.path / "wepystore.json", 0o664)
    for file in other.path.glob("objects/*/*"):
        file.chmod(0o600)
    outcome = reconciled(store, other)
    assert (outcome.linked, outcome.copied) == (1, 3)
    (_, part), *_ = store.references("snapshots", md5)
    assert store.file("objects", part.md5).stat().st_mode & 0o444 == 0o444
    check(store.path)


def test_files_are_copied_where_they_cannot_be_linked(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across file systems (EXDEV) the same comes over as copies."""
    link = os.link

    def across(source: Path | str, target: Path, **options: bool) -> None:
        if other.path in Path(source).parents:
            raise OSError(18, "Invalid cross-device link")
        link(source, target, **options)

    fill(other, "ab")
    monkeypatch.setattr(publish_module.os, "link", across)
    outcome = reconciled(store, other)
    assert outcome.linked == 0 and outcome.copied == 17
    assert contents(store) == contents(other)
    check(store.path)


labels = st.text("abcdef", min_size=1, max_size=4)


@settings(max_examples=8, deadline=None)
@given(st.lists(labels, min_size=3, max_size=3))
def test_the_union_in_any_order(worlds: list[str]) -> None:
    """S6: stores merged in any order, one at a time or all at once, give the same store, and
    it is what copying all files into one directory gives."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        stores = []
        for index, text in enumerate(worlds):
            stores.append(Store.create(f"{folder}/{index}"))
            fill(stores[-1], text)
        results = []
        for number, order in enumerate(itertools.permutations(stores)):
            target = Path(f"{folder}/one-by-one{number}")
            for source in order:
                reconciled(target, source)
            reconciled(Path(f"{folder}/at-once{number}"), *order)
            results += [
                contents(Store.open(t))
                for t in Path(folder).glob(f"*{number}")
                if t.name[0] in "oa"
            ]
        for source in stores:
            shutil.copytree(source.path, f"{folder}/copied", dirs_exist_ok=True)
        results.append(contents(Store.open(f"{folder}/copied")))
        assert all(result == results[0] for result in results)


def test_the_incomplete_is_left_out_with_what_needs_it(store: Store, other: Store) -> None:
    """S5: a snapshot with a missing or truncated part stays out, and so does its run, and it is
    said why; everything else comes. When the part comes back all heals."""
    run = fill(other, "ab")
    b = add_snapshot(other, "b")
    add_snapshot(other, "whole")
    part = other.references("snapshots", b)[-1][1]
    file = other.file("objects", part.md5)
    data = file.read_bytes()
    for bad in (data[:-1], None, "dangling"):
        file.unlink()
        if isinstance(bad, bytes):
            file.write_bytes(bad)
        elif bad is not None:
            file.symlink_to("nowhere")
        outcome = reconciled(store, other)
        assert {(left.kind, left.md5) for left in outcome.left} == {("snapshots", b), ("runs", run)}
        assert part.md5 in outcome.left[0].why
        assert b not in store.hashes("snapshots") and not store.hashes("runs")
        file.write_bytes(b"")
    assert len(store.hashes("snapshots")) == 2
    file.write_bytes(data)
    assert {e.md5 for e in reconciled(store, other).entries} == {b, run}
    assert contents(store) == contents(other)
    check(store.path)


def test_halves_in_two_sources_make_a_whole(store: Store, other: Store, tmp_path: Path) -> None:
    """S6: the parts may be spread over the sources and the target."""
    fill(other, "abc")
    third = Store.create(tmp_path / "c.orch")
    reconciled(third, other)
    for index, md5 in enumerate(other.hashes("objects")):
        [other, third][index % 2].remove("objects", md5)
    outcome = reconciled(store, other, third)
    assert not outcome.left and len(outcome.entries) == 7
    check(store.path)
    reconciled(other, third)
    assert contents(other) == contents(store)


def test_half_a_target_is_healed(store: Store, other: Store) -> None:
    """S5: a target with manifests whose parts are missing or truncated gets the parts."""
    fill(other, "ab")
    reconciled(store, other)
    first, second = store.hashes("objects")[:2]
    store.remove("objects", first)
    file = store.file("objects", second)
    file.unlink()
    file.write_bytes(b"cut")
    outcome = reconciled(store, other)
    assert outcome.entries and not any(e.new for e in outcome.entries)
    assert contents(store) == contents(other)
    check(store.path)
    assert len(list((store.path / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("which", ["object", "manifest", "run"])
def test_the_damaged_is_never_linked_in(store: Store, other: Store, which: str) -> None:
    """S2, S10: bytes that rotted in the source (same size) get no name in the target; what needs
    them stays out; a second source with good bytes is used instead."""
    run = fill(other, "ab")
    b = add_snapshot(other, "b")
    good = Store.create(other.path.parent / "good")
    reconciled(good, other)
    kind, md5 = {
        "object": ("objects", other.references("snapshots", b)[-1][1].md5),
        "manifest": ("snapshots", b),
        "run": ("runs", run),
    }[which]
    file = other.file(kind, md5)
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.unlink()
    file.write_bytes(data)
    outcome = reconciled(store, other)
    expected = {("runs", run)} if which == "run" else {("snapshots", b), ("runs", run)}
    assert {(left.kind, left.md5) for left in outcome.left} == expected
    assert not store.has(kind, md5)
    check(store.path)
    assert not reconciled(store, other, good).left
    assert contents(store) == contents(good)
    check(store.path)


def test_a_collision_made_on_purpose_is_seen(store: Store, other: Store) -> None:
    """S3: an object whose MD5 and size fit but whose SHA-256 does not stays out."""
    from tests.store.test_publish import wang_pair

    one, two = wang_pair()
    ref = other.put("objects", one)
    manifest = canonical.dumps({"type": "snapshot", "format": 1, "apparatus": ref.to_json()})
    md5 = other.put("snapshots", manifest).md5
    file = other.file("objects", ref.md5)
    file.unlink()
    file.write_bytes(two)
    outcome = reconciled(store, other)
    assert [left.md5 for left in outcome.left] == [md5] and "SHA-256" in outcome.left[0].why
    assert not store.hashes("objects") and not store.hashes("snapshots")


def test_tags_and_defaults(store: Store, other: Store, tmp_path: Path) -> None:
    """S7: refs that the target lacks are set; a tag that differs is a conflict and is left
    alone; a default of the target stays."""
    ours, theirs = add_snapshot(store, "a"), add_snapshot(other, "b")
    config = add_config(other, "c")
    store.set_ref("default-snapshot", ours)
    store.set_ref("tags/bound", ours)
    other.set_ref("default-snapshot", theirs)
    other.set_ref("default-config", config)
    other.set_ref("tags/bound", theirs)
    other.set_ref("tags/new", theirs)
    outcome = reconciled(store, other)
    assert store.ref("default-snapshot") == ours and store.ref("default-config") == config
    assert store.tags() == {"bound": ours, "new": theirs}
    assert [(c.name, c.ours, c.theirs) for c in outcome.conflicts] == [("tags/bound", ours, theirs)]
    assert store.has("snapshots", theirs)
    both = reconciled(tmp_path / "new", store, other)
    assert {c.theirs for c in both.conflicts} == {ours, theirs}
    assert Store.open(tmp_path / "new").tags() == {"new": theirs}


def test_bad_refs_are_left_out(store: Store, other: Store) -> None:
    """A ref that is damaged or names what is not there is reported, and not brought."""
    md5 = add_snapshot(other, "a")
    other.set_ref("tags/gone", md5)
    (other.path / "refs/tags/rot").write_text("x")
    other.remove("snapshots", md5)
    outcome = reconciled(store, other)
    assert {left.md5 for left in outcome.left} == {"tags/gone", "tags/rot"}
    assert store.tags() == {}


def test_what_goes_meanwhile_is_no_damage(store: Store, other: Store) -> None:
    """A live job replaces its checkpoint between plan and apply: what is gone with its manifest
    is skipped, and the rest comes."""
    keep, gone = add_snapshot(other, "a"), add_snapshot(other, "b")
    plan = merge.plan(store, [other])
    parts = [ref.md5 for _, ref in other.references("snapshots", gone)]
    other.remove("snapshots", gone)
    for md5 in parts[1:]:  # the first is the apparatus, shared with the other
        other.remove("objects", md5)
    outcome = merge.apply(plan)
    assert [e.md5 for e in outcome.entries] == [keep] and not outcome.left
    assert store.hashes("snapshots") == [keep]


def test_a_run_without_its_facts_is_damage(store: Store, other: Store) -> None:
    """A run record that does not say from where to where stays out."""
    record = {"type": "run", "start": entry(other, "snapshots", add_snapshot(other, "a"))}
    md5 = other.put("runs", canonical.dumps(record)).md5
    assert [left.md5 for left in reconciled(store, other).left] == [md5]


def test_progress_is_told(store: Store, other: Store) -> None:
    """The last call says that all bytes are done."""
    fill(other, "ab")
    told: list[tuple[int, int]] = []
    plan = merge.plan(store, [other])
    merge.apply(plan, lambda *now: told.append(now))
    assert told[-1] == (plan.size, plan.size) and len(plan.copies) == 17
