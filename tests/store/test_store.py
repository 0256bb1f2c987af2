"""The store as a directory: opening, listing, verified reads, refs, and the names users type."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.helpers import add_config, add_run, add_snapshot, contents
from wepystore.errors import DamagedError, WepystoreError
from wepystore.store import Store, canonical
from wepystore.store.errors import (
    AmbiguousHashError,
    BadJSONError,
    DamagedEntryError,
    MalformedHashError,
    MalformedTagError,
    MissingError,
    NewerFormatError,
    NoSuchStoreError,
    NotAStoreError,
    NotEmptyError,
    SeveralHashesError,
    StoreExistsError,
    UnknownHashError,
    WrongKindError,
)
from wepystore.store.names import KINDS, Ref
from wepystore.store.resolving import resolve


def test_a_new_store_is_empty_and_opens(tmp_path: Path) -> None:
    """create makes missing parents, and what it makes opens and holds nothing."""
    store = Store.create(tmp_path / "deep" / "er" / "s.orch")
    assert contents(Store.open(store.path)) == {kind: [] for kind in KINDS}
    assert store.tags() == {} and store.ref("default-snapshot") is None


def test_creating_over_something_is_refused(tmp_path: Path) -> None:
    """An existing store, a directory in use and a file are left alone."""
    Store.create(tmp_path / "s")
    with pytest.raises(StoreExistsError, match="already a store"):
        Store.create(tmp_path / "s")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("x")
    with pytest.raises(NotEmptyError, match=r"thesis\.tex"):
        Store.create(tmp_path / "d")
    (tmp_path / "f").write_text("x")
    with pytest.raises((NotEmptyError, OSError)):
        Store.create(tmp_path / "f")
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["thesis.tex"]


def test_a_half_made_store_is_finished(tmp_path: Path) -> None:
    """A create that was killed before its last step can be repeated."""
    store = Store.create(tmp_path / "s")
    (store.path / "wepystore.json").unlink()
    (store.path / "tmp" / "host-1-2").write_text("half")
    with pytest.raises(NotAStoreError, match="parts of one"):
        Store.open(store.path)
    assert Store.create(store.path).hashes("objects") == []


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    """No such path, a plain directory, a file, a wepy 1.x database, a newer and a damaged store."""
    with pytest.raises(NoSuchStoreError, match="no such directory"):
        Store.open(tmp_path / "none")
    (tmp_path / "d").mkdir()
    with pytest.raises(NotAStoreError, match=r"wepystore\.json"):
        Store.open(tmp_path / "d")
    (tmp_path / "x.orch.sqlite").write_text("SQLite")
    with pytest.raises(NotAStoreError, match=r"wepy 1\.x"):
        Store.open(tmp_path / "x.orch.sqlite")
    mark = Store.create(tmp_path / "s").path / "wepystore.json"
    mark.write_text('{"format": 2, "type": "store"}')
    with pytest.raises(NewerFormatError, match="upgrade"):
        Store.open(tmp_path / "s")
    for text in ("", "{", "[]", '{"format": "one"}', '{"format": true}', "{}"):
        mark.write_text(text)
        with pytest.raises(BadJSONError, match=r"wepystore\.json"):
            Store.open(tmp_path / "s")


def test_missing_directories_are_empty_and_made_when_needed(store: Store) -> None:
    """git and some copies drop empty directories: the store reads as before, and grows again."""
    for child in store.path.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
    assert contents(store) == {kind: [] for kind in KINDS}
    assert store.tags() == {} and store.ref("default-config") is None
    md5 = add_snapshot(store, "a")
    store.set_ref("tags/one", md5)
    store.remove("objects", "0" * 32)
    store.del_ref("default-config")
    assert store.tags() == {"one": md5}


def test_foreign_files_are_passed_over(store: Store) -> None:
    """What NFS, rsync, editors and Finder leave behind is not an entry; dangling links are."""
    md5 = add_snapshot(store, "a")
    prefix = store.file("snapshots", md5).parent
    for name in (".nfs0001", f".{md5}.AbCdEf", md5 + "~", md5[:-1], md5.upper(), ".DS_Store"):
        (prefix / name).write_text("x")
    wrong = store.path / "snapshots" / ("00" if md5[:2] != "00" else "11")
    wrong.mkdir()
    (wrong / md5).write_text("x")
    (wrong / ("00" * 16 if wrong.name == "00" else "11" * 16)).mkdir()
    (store.path / "snapshots" / "README").write_text("x")
    (store.path / "refs" / "tags" / ".nfs1").write_text("x")
    dangling = prefix / (md5[:2] + "f" * 30)
    dangling.symlink_to("../.git/annex/none")
    assert store.hashes("snapshots") == sorted([md5, dangling.name])
    assert not store.has("snapshots", dangling.name)
    assert store.tags() == {}


def test_md5sum_checks_a_store(store: Store) -> None:
    """S1: coreutils alone verify every file by its name."""
    add_run(store, add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c"))
    script = r"""find snapshots configs recordings objects runs -type f | while read -r f; do
        n=${f##*/}; echo "${n%.json}  $f"; done | md5sum --check --quiet --strict"""
    subprocess.run(["bash", "-o", "pipefail", "-ec", script], cwd=store.path, check=True)


def test_reads_verify(store: Store) -> None:
    """S10: rot, truncation and a wrong SHA-256 or size are seen by every read, and named."""
    ref = store.put("objects", b"precious bytes")
    assert store.read("objects", ref.md5) == store.read("objects", ref.md5, ref)
    with pytest.raises(DamagedEntryError, match="SHA-256"):
        store.read("objects", ref.md5, ref._replace(sha256="0" * 64))
    with pytest.raises(DamagedEntryError, match="14 bytes and should have 15"):
        store.read("objects", ref.md5, ref._replace(size=15))
    file = store.file("objects", ref.md5)
    for bad in (b"precious bytez", b"prec", b""):
        file.write_bytes(bad)
        with pytest.raises(DamagedEntryError, match=ref.md5):
            store.read("objects", ref.md5)
    file.unlink()
    with pytest.raises(MissingError, match=ref.md5):
        store.read("objects", ref.md5)


def test_missing_names_what_is_not_there(store: Store) -> None:
    """S5: an entry whose parts are absent or cut short is incomplete, and it is said which."""
    a, b = add_snapshot(store, "a"), add_snapshot(store, "b")
    run = add_run(store, a, b, add_config(store, "c"))
    assert store.missing("runs", run) == [] == store.missing("snapshots", a)
    kind, part = store.references("snapshots", b)[-1]
    file = store.file(kind, part.md5)
    file.write_bytes(file.read_bytes()[:-1])
    assert store.missing("snapshots", b) == [("objects", part)] == store.missing("runs", run)
    file.unlink()
    assert store.missing("snapshots", b) == [("objects", part)]
    store.file("snapshots", a).unlink()
    assert next((kind, ref.md5) for kind, ref in store.missing("runs", run)) == ("snapshots", a)
    with pytest.raises(MissingError):
        store.missing("snapshots", a)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_damaged_manifest_is_never_a_traceback(store: Store, data: st.DataObject) -> None:
    """S10: a manifest with any byte changed raises an error of exit status 3, nothing else; and
    so does one whose name was made to fit the changed bytes, or else it is a manifest."""
    md5 = add_snapshot(store, "a")
    good = bytearray(store.read("snapshots", md5))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    file = store.file("snapshots", md5)
    file.write_bytes(good)
    try:
        with pytest.raises(DamagedError):
            store.manifest("snapshots", md5)
    finally:
        file.unlink()
    renamed = store.put("snapshots", bytes(good)).md5
    try:
        store.missing("snapshots", renamed)
    except DamagedError as error:
        assert "\n" not in str(error)
    store.remove("snapshots", renamed)


def test_refs_are_checked(store: Store) -> None:
    """A ref holds a hash of an entry that is there, of its kind; its name is no path (S10)."""
    snapshot, config = add_snapshot(store, "a"), add_config(store, "c")
    store.set_ref("default-snapshot", snapshot)
    store.set_ref("default-config", config)
    store.set_ref("tags/bound", snapshot)
    store.set_ref("tags/bound", config)
    assert store.ref("default-snapshot") == snapshot
    assert (store.path / "refs" / "tags" / "bound").read_text() == config + "\n"
    with pytest.raises(WrongKindError):
        store.set_ref("default-snapshot", config)
    with pytest.raises(MissingError):
        store.set_ref("tags/x", "0" * 32)
    with pytest.raises(MalformedTagError):
        store.set_ref("tags/../../x", snapshot)
    with pytest.raises(MalformedHashError):
        store.set_ref("tags/x", "../x")
    store.del_ref("tags/bound")
    store.del_ref("tags/bound")
    assert store.tags() == {}
    (store.path / "refs" / "default-config").write_text("")
    with pytest.raises(BadJSONError, match="default-config"):
        store.ref("default-config")


@pytest.mark.parametrize("name", ["tmp", "refs"])
def test_a_ref_that_cannot_be_written_is_not_claimed(store: Store, name: str) -> None:
    """Where a file stands in place of a directory, that is no ref that was there before."""
    config = add_config(store, "c")
    shutil.rmtree(store.path / name)
    (store.path / name).write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        store.claim_ref("default-config", config)
    assert caught.value.filename == store.path / name


def test_names_resolve(store: Store) -> None:
    """A full hash, any unambiguous prefix of 4 digits or more, a tag, "default"."""
    snapshot, config = add_snapshot(store, "a"), add_config(store, "c")
    store.set_ref("tags/bound", snapshot)
    assert resolve(store, snapshot) == ("snapshots", snapshot)
    assert resolve(store, snapshot[:6]) == ("snapshots", snapshot)
    assert resolve(store, config[:6]) == ("configs", config)
    assert resolve(store, "bound") == ("snapshots", snapshot)
    with pytest.raises(UnknownHashError, match="no default"):
        resolve(store, "default", ("configs",))
    store.set_ref("default-config", config)
    assert resolve(store, "default", ("configs",)) == ("configs", config)


def test_names_that_do_not_resolve_say_why(store: Store) -> None:
    """Unknown, ambiguous, malformed and wrong kind are told apart and name the culprit."""
    snapshot, config = add_snapshot(store, "a"), add_config(store, "c")
    store.set_ref("tags/unbound", snapshot)
    last = "0" if snapshot[-1] != "0" else "1"
    for text, error, match in [
        (snapshot[:-1] + last, UnknownHashError, f"did you mean {snapshot}"),
        ("f" * 32, UnknownHashError, "wepy ls snapshots"),
        ("unbuond", UnknownHashError, "did you mean unbound"),
        ("UNBOUND", UnknownHashError, "did you mean unbound"),
        ("unb", UnknownHashError, "did you mean unbound"),
        (snapshot[:7] + "o", UnknownHashError, f"did you mean {snapshot}"),
        ("abc", MalformedHashError, "at least 4"),
        (snapshot + "0", MalformedHashError, "33 digits"),
        (snapshot[:-1] + "g", MalformedHashError, "character 32, 'g'"),
        (snapshot.upper(), MalformedHashError, "lower-case"),
        ("../etc", MalformedHashError, "character 1"),
        ("", MalformedHashError, "empty"),
        (config, WrongKindError, "is a configuration, and a snapshot is needed"),
        (config[:5], WrongKindError, "configuration"),
    ]:
        with pytest.raises(error, match=match) as caught:
            resolve(store, text, ("snapshots",))
        assert caught.value.exit_status == 1 and "\n" not in str(caught.value)
    twins = [snapshot[:8] + c * 24 for c in "01"]
    for twin in twins:
        store.file("snapshots", twin).write_text("x")
    with pytest.raises(AmbiguousHashError, match="3: snapshot") as caught:
        resolve(store, snapshot[:8])
    assert all(twin in str(caught.value) for twin in twins)
    assert resolve(store, twins[0]) == ("snapshots", twins[0])


@pytest.mark.parametrize("word", ["defualt", "Default", "dfault", "defa", "defaults"])
def test_a_default_that_is_written_wrong_is_recognised(store: Store, word: str) -> None:
    """Whoever meant 'default' is told so, where there is one; of a run there is none."""
    with pytest.raises(UnknownHashError, match=r"did you mean default\?"):
        resolve(store, word)
    with pytest.raises(UnknownHashError, match="it holds none"):
        resolve(store, word, ("runs",))


@pytest.mark.parametrize("between", ["\n", " ", ",", ", ", "\n\n", "\t"])
def test_several_hashes_where_one_is_needed(store: Store, between: str) -> None:
    """What "$(wepy ls snapshots)" gives, or START,END, is told as what it is."""
    hashes = [add_snapshot(store, name) for name in "abcde"]
    with pytest.raises(SeveralHashesError, match=r"5 hashes .*…\) where one is needed"):
        resolve(store, between.join(hashes), ("snapshots",))
    with pytest.raises(SeveralHashesError, match="2 hashes"):
        resolve(store, between.join(hashes[:2]) + between.strip(","), ("snapshots",))
    with pytest.raises(MalformedHashError, match="character"):
        resolve(store, f"{hashes[0]}{between}what", ("snapshots",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_any_text_resolves_or_is_refused(store: Store, text: str) -> None:
    """Whatever a user types there is a clear error of ours, in one line."""
    try:
        resolve(store, text)
    except WepystoreError as error:
        assert "\n" not in str(error)


def test_removing_takes_one_entry(store: Store) -> None:
    """remove (for superseded checkpoints) takes that entry, and none that is not there; of its
    directory nothing is left but what else is in it."""
    a, b = add_snapshot(store, "a"), add_snapshot(store, "b")
    store.remove("snapshots", a)
    store.remove("snapshots", a)
    assert store.hashes("snapshots") == [b]
    assert not store.file("snapshots", a).parent.exists()
    note = store.file("snapshots", b).with_name("note.txt")
    note.touch()
    store.remove("snapshots", b)
    assert note.exists() and not store.hashes("snapshots")


def test_entries_of_no_kind_are_bugs(store: Store) -> None:
    """Kinds come from the code, not from users: a wrong one is a ValueError."""
    with pytest.raises(ValueError, match="kind"):
        store.file("refs", "0" * 32)
    with pytest.raises(ValueError, match="kind"):
        store.hashes("tmp")
    with pytest.raises(ValueError, match="ref"):
        store.ref("HEAD")
    assert canonical.dumps(Ref("0" * 32, "1" * 64, 0).to_json())
