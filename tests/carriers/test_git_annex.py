"""git-annex: objects are links to content that may be elsewhere."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.carriers.conftest import Program, World, build, files_of
from tests.cli.conftest import Result, Wepy
from tests.store.helpers import add_snapshot
from wepystore.api import Prepared
from wepystore.store import Store
from wepystore.store.errors import ElsewhereError

Verified = Callable[[Path], None]

#: Objects go to the annex, the rest to git, so that a clone always has manifests and refs.
LARGE = "include=*.orch/objects/*"


@pytest.fixture
def repository(tmp_path: Path, git: Program, annex: Program) -> Path:
    """An annex with a store in it; nothing is committed yet."""
    root = tmp_path / "data"
    git("init", root)
    annex("init", "here", cwd=root)
    annex("config", "--set", "annex.largefiles", LARGE, cwd=root)
    return root


@pytest.fixture
def annexed(repository: Path, git: Program, annex: Program) -> World:
    """A store that was added to the annex, in its root folder, and committed."""
    world = build(repository / "x.orch")
    annex("add", ".", cwd=repository)
    git("commit", "-m", "A store", cwd=repository)
    return world


@pytest.fixture
def clone(annexed: World, tmp_path: Path, git: Program, annex: Program) -> Path:
    """A clone of it, which has no contents of objects."""
    root = tmp_path / "clone"
    git("clone", tmp_path / "data", root)
    annex("init", "there", cwd=root)
    return root


def gets(text: str) -> list[str]:
    """The files of all `git annex get` that a text tells to call."""
    found = []
    for command in re.findall(r"'(git annex get [^']+)'", text):
        found += shlex.split(command)[3:]
    return sorted(set(found))


def objects_of(store: Store, kind: str, md5: str) -> list[str]:
    """The paths of all objects that an entry needs, itself or through others."""
    paths = set()
    for part, ref in store.references(kind, md5):
        if part == "objects":
            paths.add(str(store.file(part, ref.md5)))
        else:
            paths.update(objects_of(store, part, ref.md5))
    return sorted(paths)


def links(store: Path) -> dict[str, tuple[str, bytes, int]]:
    """Of every link: where to, the content behind it, and the inode of that."""
    return {
        str(file): (os.readlink(file), file.read_bytes(), file.stat().st_ino)
        for file in store.rglob("*")
        if file.is_symlink() and file.exists()
    }


def test_objects_are_links_and_all_is_there(annexed: World, wepy: Wepy, verified: Verified) -> None:
    """With all contents here an annexed store is like any other."""
    store = annexed.store
    assert all(file.is_symlink() for file in (store.path / "objects").glob("*/*"))
    assert not any(file.is_symlink() for file in (store.path / "snapshots").glob("*/*"))
    verified(store.path)
    for line in ("ls snapshots", "ls configs", "ls runs", "log", "status"):
        assert wepy(line, store.path).status == 0, line
    assert wepy("show", store.path, annexed.start).status == 0


@pytest.mark.parametrize("way", ["dropped", "cloned"])
def test_absent_contents_are_named_with_what_brings_them(
    annexed: World,
    clone: Path,
    annex: Program,
    wepy: Wepy,
    verified: Verified,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """S5: ls, show, status, fsck, get and run say which files `git annex get` is to bring; with
    just these the entry is whole."""
    root = clone
    if way == "dropped":
        annex("get", ".", cwd=clone)
        verified(clone / "x.orch")
        annex("drop", "--force", ".", cwd=clone)
    monkeypatch.chdir(root)
    store = Store.open("x.orch")
    wanted = objects_of(store, "snapshots", annexed.start)
    every = sorted(str(file) for file in store.path.glob("objects/*/*"))

    result = wepy("ls snapshots x.orch")
    assert result.status == 3
    assert result.lines == sorted({annexed.start, annexed.end})
    assert gets(line_of(result, annexed.start)) == wanted
    assert wepy("ls runs x.orch").lines == [f"{annexed.start}, {annexed.end}"]
    log = wepy("log x.orch")
    assert log.status == 0 and f"snapshot {annexed.end} (tag: bound)" in log.lines
    show = wepy("show x.orch", annexed.start)
    assert show.status == 3 and gets(show.err) == wanted
    assert wepy("show --json x.orch", annexed.start).status == 3
    status = wepy("status x.orch")
    assert status.status == 3 and gets(status.out) == every
    for line in ("fsck x.orch", "fsck --fast x.orch"):
        fsck = wepy(line)
        assert fsck.status == 3 and gets(fsck.out) == every
        assert all(text.startswith("missing: objects/") for text in fsck.lines)
    for line in (f"get snapshot x.orch {annexed.start}", f"run orch x.orch {annexed.start} 60 2"):
        result = wepy(line)
        assert result.status == 3 and gets(result.err) == wanted, line
    assert gets(wepy("reconcile orch other.orch x.orch").err)

    annex("get", *wanted, cwd=root)
    assert wepy("show x.orch", annexed.start).status == 0
    result = wepy("ls snapshots x.orch")
    assert f"snapshot {annexed.start}" not in result.err
    annex("get", "x.orch", cwd=root)
    verified(root / "x.orch")


def line_of(result: Result, md5: str) -> str:
    return next(line for line in result.err.splitlines() if md5 in line)


def test_everything_is_annexed_and_nothing_is_here(
    repository: Path,
    tmp_path: Path,
    git: Program,
    annex: Program,
    wepy: Wepy,
    verified: Verified,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where manifests, records, refs and the store's own file went to the annex, what is
    said leads, step by step, to the whole store."""
    annex("config", "--set", "annex.largefiles", "anything", cwd=repository)
    world = build(repository / "x.orch")
    world.store.set_ref("tags/again", world.end)
    annex("add", ".", cwd=repository)
    git("commit", "-m", "A store", cwd=repository)
    verified(repository / "x.orch")
    git("clone", repository, tmp_path / "clone")
    annex("init", "there", cwd=tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "clone")
    result = wepy("ls snapshots x.orch")
    assert result.status == 3
    assert gets(result.err) == ["x.orch/wepystore.json"]
    assert wepy("fsck x.orch").status == 3
    for _ in range(6):
        result = wepy("fsck x.orch")
        if result.status == 0:
            break
        assert gets(result.out), result.out
        for line in ("ls snapshots x.orch", "ls runs x.orch", "log x.orch", "show x.orch default"):
            assert wepy(line).status in (0, 3), line
        annex("get", *gets(result.out), cwd=tmp_path / "clone")
    verified(tmp_path / "clone/x.orch")
    assert wepy("ls snapshots x.orch").status == 0


@pytest.mark.parametrize("adjusted", [False, True])
def test_unlocked_files_whose_content_is_absent(
    annexed: World,
    clone: Path,
    git: Program,
    annex: Program,
    wepy: Wepy,
    verified: Verified,
    monkeypatch: pytest.MonkeyPatch,
    adjusted: bool,
) -> None:
    """What git-annex leaves in place of an unlocked file is missing content, not damage: it is
    named as such, and stays where it is when the store is repaired or added to."""
    if adjusted:
        annex("adjust", "--unlock", cwd=clone)
    else:
        annex("unlock", "x.orch", cwd=clone)
    monkeypatch.chdir(clone)
    store = Store.open("x.orch")
    pointers = {f: f.read_bytes() for f in sorted(store.path.glob("objects/*/*"))}
    assert all(data.startswith(b"/annex/objects/") for data in pointers.values())
    every = list(map(str, pointers))
    for line in ("fsck x.orch", "fsck --fast x.orch", "fsck --repair x.orch"):
        fsck = wepy(line)
        assert fsck.status == 3 and gets(fsck.out) == every
        assert all(text.startswith("missing: objects/") for text in fsck.lines)
    assert {f: f.read_bytes() for f in pointers} == pointers
    assert gets(wepy("ls snapshots x.orch").err)
    _, ref = store.references("snapshots", annexed.start)[0]
    with pytest.raises(ElsewhereError, match="git annex get x"):
        store.read("objects", ref.md5, ref)
    # Adding what is absent brings it, without setting the pointer aside.
    assert wepy("reconcile orch x.orch", annexed.store.path).status == 0
    assert not list(store.path.glob("quarantine/*"))
    verified(clone / "x.orch")
    annex("add", ".", cwd=clone)
    assert git("status", "--porcelain", cwd=clone) == ""
    verified(clone / "x.orch")


def test_adding_to_a_locked_store_changes_no_content_of_the_annex(
    annexed: World, tmp_path: Path, git: Program, annex: Program, wepy: Wepy, verified: Verified
) -> None:
    """S2: what is there already, what is new, and refs: links and what they lead to stay the same
    bytes in the same inodes; what is new can be annexed too."""
    store = annexed.store
    before = links(store.path)
    for name in before:
        os.utime(name, (1e9, 1e9))  # so old that putting it again makes it new for gc
    add_snapshot(store, "a")
    new = add_snapshot(store, "another")
    assert wepy("tag", store.path, "another", new).status == 0
    other = build(tmp_path / "other.orch", "other ").store
    assert wepy("reconcile orch", store.path, other.path).status == 4, "both have a tag 'bound'"
    assert {name: links(store.path)[name] for name in before} == before
    verified(store.path)
    root = store.path.parent
    annex("add", ".", cwd=root)
    git("commit", "-m", "More", cwd=root)
    verified(store.path)
    verified(other.path)
    annex("fsck", cwd=root)
    assert git("status", "--porcelain", cwd=root) == ""


def test_absent_content_that_is_added_again_takes_the_place_of_the_link(
    annexed: World, clone: Path, git: Program, annex: Program, wepy: Wepy, verified: Verified
) -> None:
    """A dangling link does not stand in the way, and git-annex takes the content back as the very
    same link."""
    store = Store.open(clone / "x.orch")
    add_snapshot(store, "a")
    assert not store.missing("snapshots", annexed.start)
    assert wepy("reconcile orch", store.path, annexed.store.path).status == 0
    verified(store.path)
    annex("add", ".", cwd=clone)
    assert git("status", "--porcelain", cwd=clone) == ""
    assert all(file.is_symlink() for file in store.path.glob("objects/*/*"))
    verified(store.path)


def test_reconciling_from_an_annex(
    annexed: World, tmp_path: Path, git: Program, annex: Program, wepy: Wepy, verified: Verified
) -> None:
    """The new store has plain files, and dropping the contents from the annex leaves them; those
    that are absent are left out and come with another try."""
    target = tmp_path / "new.orch"
    assert wepy("reconcile orch", target, annexed.store.path).status == 0
    assert not any(file.is_symlink() for file in target.rglob("*"))
    contents = files_of(target)
    root = annexed.store.path.parent
    before = {file: file.read_bytes() for file in (root / ".git/annex/objects").rglob("*/SHA*/*")}
    add_snapshot(Store.open(target), "more")
    assert {file: file.read_bytes() for file in before} == before
    annex("fsck", cwd=root)
    annex("drop", "--force", ".", cwd=root)
    assert {name: files_of(target)[name] for name in contents} == contents
    verified(target)
    result = wepy("reconcile orch", tmp_path / "third.orch", annexed.store.path)
    assert result.status == 3
    # And the annex gets its contents back from the copy.
    assert wepy("reconcile orch", annexed.store.path, target).status == 0
    verified(annexed.store.path)
    annex("add", ".", cwd=root)
    assert git("status", "--porcelain", "x.orch/objects", cwd=root).count("T") == 0
    verified(annexed.store.path)


def test_a_run_from_an_annexed_store(
    pair_store: Prepared, repository: Path, git: Program, annex: Program, wepy: Wepy
) -> None:
    """What is run from may be links, and the job's store has files of its own."""
    store = repository / "x.orch"
    assert wepy("reconcile orch", store, pair_store.store.path).status == 0
    annex("add", ".", cwd=repository)
    job = repository.parent / "job"
    line = f"run orch --seed=1 --n-cycles=1 --job-dir={job} {store} default 60 2"
    assert wepy(line).status == 0
    assert not any(file.is_symlink() for file in (job / "checkpoint.orch").rglob("*"))
    assert wepy("reconcile orch", store, job / "checkpoint.orch").status == 0
    assert wepy("fsck", store).status == 0


def test_house_keeping_with_absent_contents(
    annexed: World, clone: Path, wepy: Wepy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gc removes what nothing needs, whether its content is here or not, and nothing else."""
    monkeypatch.chdir(clone)
    store = Store.open("x.orch")
    line = "gc --apply --unreferenced-snapshots --grace 0s x.orch"
    before = set(store.hashes("objects"))
    assert wepy(line).status == 0
    assert set(store.hashes("objects")) == before
    assert wepy("tag", "x.orch", "late", annexed.start).status == 0
    only_end = {Path(path).name for path in objects_of(store, "snapshots", annexed.end)}
    only_end -= {Path(path).name for path in objects_of(store, "snapshots", annexed.start)}
    (happened,) = store.hashes("recordings")
    only_end |= {Path(path).name for path in objects_of(store, "recordings", happened)}
    store.del_ref("tags/bound")
    store.remove("runs", annexed.run)
    assert wepy(line).status == 0
    assert store.hashes("snapshots") == [annexed.start] and not store.hashes("recordings")
    assert set(store.hashes("objects")) == before - only_end
