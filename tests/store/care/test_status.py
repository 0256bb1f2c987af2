"""What `wepy status` tells of a store."""

from __future__ import annotations

from tests.store.helpers import add_config, add_recording, add_run, add_snapshot
from tests.systems import tree_of
from wepystore.store import KINDS, Store
from wepystore.store.care import status


def test_an_empty_store(store: Store) -> None:
    """Nothing in it, nothing amiss."""
    found = status.look(store)
    assert found.whole and set(found.entries.values()) == {(0, 0)}
    assert not (found.defaults or found.tags or found.unnamed or found.quarantine)


def test_everything_that_can_be_told(store: Store) -> None:
    """Counts and bytes by kind, names, what nothing refers to, leftovers; nothing is written."""
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    config = add_config(store, "c")
    add_run(store, start, end, config)
    unnamed, unasked = add_snapshot(store, "unnamed"), add_recording(store, "unnamed")
    store.set_ref("default-config", config)
    store.set_ref("tags/bound", end)
    orphan = store.put("objects", b"an orphan")
    (store.path / "tmp" / "host-1-ff").write_bytes(b"12345")
    (store.path / "quarantine" / "objects-x").write_bytes(b"123")
    tree = tree_of(store.path)
    found = status.look(store)
    assert tree_of(store.path) == tree
    assert found.whole
    for kind in KINDS:
        sizes = [store.size(kind, md5) or 0 for md5 in store.hashes(kind)]
        assert found.entries[kind] == (len(sizes), sum(sizes))
    assert (found.defaults, found.tags) == ({"config": config}, {"bound": end})
    (_, frames), *_ = (
        each for each in store.references("recordings", unasked) if each[0] != "objects"
    )
    assert found.unnamed == (
        ("frames", frames.md5),
        ("recordings", unasked),
        ("snapshots", unnamed),
    )
    assert found.orphans == (1, orphan.size)
    assert found.leftovers == (1, 5)
    assert (found.quarantine, found.quarantine_size) == (("objects-x",), 3)


def test_what_is_incomplete(store: Store) -> None:
    """S5: an entry lacks what is missing from what it names, through others too; what cannot be
    read, and refs to nothing, are damaged."""
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    config = add_config(store, "c")
    run = add_run(store, start, end, config)
    part = store.references("snapshots", end)[1]
    store.remove("objects", part[1].md5)
    found = status.look(store)
    assert not found.whole and not found.damaged
    assert [(item.kind, item.md5, item.missing) for item in found.incomplete] == [
        ("snapshots", end, (part,)),
        ("runs", run, (part,)),
    ]
    store.set_ref("tags/gone", start)
    store.file("snapshots", start).write_bytes(b"{}")
    store.remove("configs", config)
    found = status.look(store)
    assert set(found.damaged) == {f"snapshots/{start[:2]}/{start}"}
    (of_run,) = [item for item in found.incomplete if item.kind == "runs"]
    assert {ref.md5 for _, ref in of_run.missing} == {part[1].md5, config, start}
    store.remove("snapshots", start)
    assert set(status.look(store).damaged) == {"refs/tags/gone"}
    (store.path / "refs" / "tags" / "gone").write_text("rubbish")
    assert "rubbish" not in status.look(store).damaged["refs/tags/gone"]
