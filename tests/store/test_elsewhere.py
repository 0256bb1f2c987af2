"""Frames may be elsewhere, as a whole: nothing else may (D4)."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.store.care.test_gc import at_event, in_child, later
from tests.store.helpers import add_config, add_frames, add_run, add_snapshot, check, contents
from wepystore.store import Store, canonical, merge, whereabouts
from wepystore.store.care import fsck, gc, report, status
from wepystore.store.merge import Outcome
from wepystore.store.names import Name


@pytest.fixture
def filled(store: Store) -> Store:
    """A run with a recording and frames."""
    add_run(store, add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c"))
    return store


def frames_of(store: Store) -> str:
    """The hash of the one recording's frames."""
    (recording,) = store.hashes("recordings")
    (md5,) = (
        ref.md5 for kind, ref in store.references("recordings", recording) if kind == "frames"
    )
    return md5


def parts_of_frames(store: Store) -> list[Name]:
    """The frames' manifest and its objects."""
    md5 = frames_of(store)
    return [("frames", md5), *((kind, ref.md5) for kind, ref in store.references("frames", md5))]


def put_away(store: Store) -> None:
    """Remove the frames as gc does: first what names."""
    for name in parts_of_frames(store):
        store.remove(*name)


def brought(source: Store, target: Path, frames: bool = True) -> Outcome:
    """Reconcile."""
    return merge.apply(merge.plan(target, [source], frames=frames))


@pytest.fixture
def without(filled: Store, tmp_path: Path) -> Store:
    """A copy that was brought without frames."""
    assert not brought(filled, tmp_path / "w.orch", frames=False).left
    return Store.open(tmp_path / "w.orch")


def test_without_frames_a_store_is_whole(filled: Store, without: Store) -> None:
    """All else came; nothing is missing, and it is said that the frames are elsewhere."""
    gone = parts_of_frames(filled)
    assert {
        name for kind in contents(filled) for name in [(kind, m) for m in filled.hashes(kind)]
    } == {
        *gone,
        *((kind, md5) for kind, md5s in contents(without).items() for md5 in md5s),
    }
    (run,), (recording,) = without.hashes("runs"), without.hashes("recordings")
    assert not without.missing("runs", run)
    assert [kind for kind, _ in without.missing("runs", run, whole=True)] == ["frames"]
    checked, seen = fsck.check(without), status.look(without)
    assert checked.healthy and not checked.notes and seen.whole
    assert checked.elsewhere == seen.elsewhere == {gone[0][1]: (recording,)}


def test_a_union_brings_them(filled: Store, without: Store) -> None:
    """Also where the run and its recording are there already; then nothing is elsewhere."""
    outcome = brought(filled, without.path)
    assert [(entry.kind, entry.new) for entry in outcome.entries] == [("frames", True)]
    assert contents(without) == contents(filled) and not fsck.check(without).elsewhere
    assert not brought(filled, without.path).copies
    check(without.path)


def test_the_plan_tells_sizes_with_and_without(filled: Store, tmp_path: Path) -> None:
    """Files that nothing but frames needs."""
    size = sum(filled.size(*name) or 0 for name in parts_of_frames(filled))
    both = merge.plan(tmp_path / "n.orch", [filled])
    other = merge.plan(tmp_path / "n.orch", [filled], frames=False)
    assert sum(copy.ref.size for copy in both.of_frames) == size
    assert sum(copy.ref.size for copy in other.withheld) == size
    assert both.size == other.size + size and not both.withheld and not other.of_frames
    assert other.frames_kept_at(filled) == [frames_of(filled)]


def test_only_as_a_whole(filled: Store) -> None:
    """With their manifest here and a part of them not, it is damage, healed by a union (S5)."""
    shutil.copytree(filled.path, filled.path.with_name("c.orch"))
    (_, part) = parts_of_frames(filled)[1]
    filled.remove("objects", part)
    (run,) = filled.hashes("runs")
    assert [ref.md5 for _, ref in filled.missing("runs", run)] == [part]
    (problem,) = fsck.check(filled).problems
    assert (problem.what, problem.name) == (report.MISSING, part)
    assert ("runs", run) in problem.needed_by and not status.look(filled).whole
    brought(Store.open(filled.path.with_name("c.orch")), filled.path)
    assert fsck.check(filled).healthy


def test_a_link_to_nothing_is_not_elsewhere(filled: Store, tmp_path: Path) -> None:
    """Something of their name is there: they are missing, as anything else that git-annex has not
    got, and a union brings them."""
    other = Store.open(shutil.copytree(filled.path, tmp_path / "c.orch"))
    (run,), md5 = filled.hashes("runs"), frames_of(filled)
    file = filled.file("frames", md5)
    file.unlink()
    file.symlink_to("../../.git/annex/objects/it")
    found = fsck.check(filled)
    assert not found.elsewhere and [each.name for each in found.problems] == [md5]
    seen = status.look(filled)
    assert not seen.elsewhere and not seen.whole
    assert [ref.md5 for _, ref in filled.missing("runs", run)] == [md5]
    brought(other, filled.path)
    assert fsck.check(filled).healthy and contents(filled) == contents(other)


def test_what_is_damaged_of_them_is_healed(filled: Store) -> None:
    """Their manifest or a part, by repair; without a source it is set aside."""
    other = Store.open(shutil.copytree(filled.path, filled.path.with_name("c.orch")))
    for name in parts_of_frames(filled):
        filled.file(*name).write_bytes(b"rot")
        found = fsck.check(filled)
        (problem,) = found.problems
        assert (problem.kind, problem.name) == name and not found.elsewhere
        assert not fsck.repair(filled, found, [other]).unhealed
        assert fsck.check(filled).healthy and contents(filled) == contents(other)
    filled.file(*parts_of_frames(other)[0]).write_bytes(b"rot")
    assert fsck.repair(filled, fsck.check(filled)).unhealed
    assert fsck.check(filled).elsewhere


def test_repair_brings_no_frames_that_are_elsewhere(filled: Store, without: Store) -> None:
    """It heals what is damaged: that they are elsewhere is as somebody wanted it."""
    (recording,) = without.hashes("recordings")
    # It may be a hard link to the other's.
    without.file("recordings", recording).unlink()
    without.file("recordings", recording).write_bytes(b"rot")
    assert not fsck.repair(without, fsck.check(without), [filled]).unhealed
    assert fsck.check(without).healthy and not without.hashes("frames")


@pytest.mark.parametrize("place", [0, 1])
def test_frames_that_are_damaged_keep_nothing_else(
    filled: Store, tmp_path: Path, place: int
) -> None:
    """They stay out with what is wrong with them, and all else comes."""
    filled.file(*parts_of_frames(filled)[place]).write_bytes(b"rot")
    outcome = brought(filled, tmp_path / "n.orch")
    assert [(left.kind, left.md5) for left in outcome.left] == [("frames", frames_of(filled))]
    new = Store.open(tmp_path / "n.orch")
    assert new.hashes("runs") == filled.hashes("runs") and fsck.check(new).elsewhere
    assert not brought(filled, tmp_path / "w.orch", frames=False).left


def test_of_a_single_run_they_are_told_too(filled: Store, tmp_path: Path) -> None:
    """Where only some entries are asked for."""
    filled.remove("objects", parts_of_frames(filled)[1][1])
    only = [("runs", md5) for md5 in filled.hashes("runs")]
    made = merge.plan(tmp_path / "n.orch", [filled], only=only)
    assert [left.kind for left in made.left] == ["frames"]


def test_rot_that_is_found_while_they_come(filled: Store, tmp_path: Path) -> None:
    """The size is right: only the bytes tell. The run comes, the frames do not."""
    file = filled.file(*parts_of_frames(filled)[1])
    file.write_bytes(file.read_bytes()[::-1])
    outcome = brought(filled, tmp_path / "n.orch")
    assert [left.kind for left in outcome.left] == ["frames"]
    new = Store.open(tmp_path / "n.orch")
    assert fsck.check(new).healthy and fsck.check(new).elsewhere and new.hashes("runs")


def test_nothing_but_a_recording_may_lack_frames(filled: Store) -> None:
    """What else names some, which only somebody who makes manifests up does, needs them."""
    md5 = add_frames(filled, "made up")
    data = filled.read("frames", md5)
    manifest = {"type": "snapshot", "format": 1, "walkers": {"x": _entry(filled, md5)}}
    snapshot = filled.put("snapshots", canonical.dumps(manifest)).md5
    filled.remove("frames", md5)
    assert [ref.md5 for _, ref in filled.missing("snapshots", snapshot)] == [md5]
    (problem,) = fsck.check(filled).problems
    assert (problem.what, problem.name) == (report.MISSING, md5) and not status.look(filled).whole
    filled.put("frames", data)
    assert fsck.check(filled).healthy


def _entry(store: Store, md5: str) -> dict[str, object]:
    from tests.store.helpers import entry

    return entry(store, "frames", md5)


# ---- removed here


def removal(store: Store) -> gc.Removal:
    """Of the frames that are here, when the grace period is over."""
    return gc.plan(store, now=later(), frames=lambda: store.hashes("frames"))


def test_they_can_be_removed(filled: Store, tmp_path: Path) -> None:
    """With their objects, and nothing else; within the grace period not; a union brings them."""
    other = Store.open(shutil.copytree(filled.path, tmp_path / "c.orch"))
    gone = parts_of_frames(filled)
    assert not gc.plan(filled, now=later()).items
    young = gc.plan(filled, frames=lambda: filled.hashes("frames"))
    assert not young.items and young.young == 1
    done = gc.apply(removal(filled))
    assert {(item.kind, item.name) for item in done.removed} == {*gone}
    assert done.removed[0].kind == "frames"
    assert fsck.check(filled).healthy and [*fsck.check(filled).elsewhere] == [gone[0][1]]
    brought(other, filled.path)
    assert contents(filled) == contents(other)


def test_shared_objects_stay(filled: Store) -> None:
    """What other frames need as well."""
    (first,) = filled.hashes("frames")
    other = add_frames(filled, "other")
    done = gc.apply(gc.plan(filled, now=later(), frames=lambda: [first]))
    assert [item.kind for item in done.removed] == ["frames", "objects"]
    assert not filled.lacking(filled.references("frames", other))


def test_killed_at_any_rename(filled: Store, tmp_path: Path) -> None:
    """S4 backwards: at every moment they are here as a whole, or elsewhere as a whole; and the next
    gc gives back what was on its way."""
    before, killed = contents(filled), 0
    for number in itertools.count(1):
        copied = Store.open(shutil.copytree(filled.path, tmp_path / f"{number}.orch"))

        def work(copied: Store = copied, number: int = number) -> bool:
            at_event(number, _die, ("os.rename",), copied.path)
            return bool(gc.apply(removal(copied)).removed)

        if in_child(work) == 0:
            break
        killed += 1
        found = fsck.check(copied)
        assert found.healthy
        # Nobody asks for the frames any more.
        gc.apply(gc.plan(copied, now=later()))
        assert contents(copied) == before and fsck.check(copied).healthy
    assert killed >= 3


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_new_recording_names_comes_back(filled: Store) -> None:
    """Somebody takes the run in again while its frames go."""
    plan = removal(filled)
    start, end = add_snapshot(filled, "x"), add_snapshot(filled, "y")
    (recording,) = filled.hashes("recordings")
    manifest = filled.manifest("recordings", recording) | {"n_steps": 11}
    other = filled.put("recordings", canonical.dumps(manifest)).md5
    add_run(filled, start, end, add_config(filled, "c"), recording=other)
    done = gc.apply(plan)
    assert not done.removed and len(done.returned) == 3 and fsck.check(filled).healthy
    assert not fsck.check(filled).elsewhere


# ---- where they are


def test_where_they_are_is_a_hint(without: Store, filled: Store) -> None:
    """By address; what is not as it should be is no hint. It is no part of the store: gc, fsck and
    a union pass it over, and git ignores it."""
    md5 = frames_of(filled)
    whereabouts.note(without, "/here", [md5])
    whereabouts.note(without, "host:there", ["0" * 32])
    assert whereabouts.places_of(without, [md5]) == ["/here"]
    whereabouts.note(without, "host:first", [md5])
    whereabouts.note(without, "host:last", [md5])
    assert whereabouts.places_of(without, [md5]) == ["host:last", "host:first", "/here"]
    for address in ("host:last", "host:first"):
        whereabouts.note(without, address, [])
    assert "reconcile orch" in whereabouts.way(without, [md5])
    assert "/here" in whereabouts.way(without, [md5])
    whereabouts.note(without, "/here", [])
    assert not whereabouts.places_of(without, [md5])
    assert "a store that has them" in whereabouts.way(without, [md5])
    assert not fsck.check(without).notes and not gc.plan(without, now=later()).items
    assert status.look(without).leftovers.files == 0
    assert (without.path / "tmp/elsewhere/.gitignore").read_text() == "*\n"
    file = without.path / "tmp/elsewhere/frames.json"
    target = Store.create(without.path.with_name("t.orch"))
    brought(without, target.path)
    assert not (target.path / "tmp/elsewhere").exists()
    held = {"address": "-x", "frames": [md5]}
    for odd in ({}, {"address": "a\x1b"}, {"address": 1}, {"address": "a", "frames": "x"}):
        file.write_bytes(canonical.dumps({"places": [held | odd, [], None]}))
        assert not whereabouts.places_of(without, [md5])
    for data in (b"", b"[]", b'{"places":{}}'):
        file.write_bytes(data)
        assert not whereabouts.places_of(without, [md5])
    file.unlink()
    os.mkfifo(file)
    assert not whereabouts.places_of(without, [md5])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("host:path", "host:path"),
        ("me@host:path", "host:path"),
        ("me@[::1]:/a b", "[::1]:/a b"),
        ("s3://bucket/path", "s3://bucket/path"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("sftp://me:secret@host:22/path", "sftp://host:22/path"),
        ("sftp://me@host/path", "sftp://host/path"),
        ("https://host/path?token=secret#x", "https://host/path"),
        ("sftp://me:sec/ret@host/path", None),
    ],
)
def test_a_hint_has_no_credentials(address: str, shown: str | None) -> None:
    """Neither user nor password, nor what a URL says besides."""
    assert whereabouts.without_credentials(address) == shown
