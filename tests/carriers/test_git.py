"""git: a store that was committed, cloned, merged and checked out again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.carriers.conftest import Program, World, build, files_of
from tests.cli.conftest import Wepy
from tests.store.helpers import add_snapshot
from wepystore.store import Store

Verified = Callable[[Path], None]

#: Settings by which git changes the ends of lines, and what a repository may say of its own.
SETTINGS = {
    "autocrlf=true": (("core.autocrlf", "true"), ""),
    "autocrlf=input": (("core.autocrlf", "input"), ""),
    "eol=crlf": (("core.eol", "crlf"), ""),
    "attributes": (("core.autocrlf", "false"), "* text=auto eol=crlf\n"),
    "text by name": (("core.autocrlf", "true"), "*.json text eol=crlf\n*.orch/** text\n"),
}


@pytest.mark.parametrize("place", ["", "data/runs/"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_clone_verifies(
    tmp_path: Path, git: Program, wepy: Wepy, verified: Verified, setting: str, place: str
) -> None:
    """S1: every byte is what it was, whatever git thinks of line ends, with the store as the
    repository's root and below it; and the clone is a store that can be added to."""
    option, attributes = SETTINGS[setting]
    git("config", "--global", *option)
    repository, clone = tmp_path / "repository.orch", tmp_path / "clone.orch"
    git("init", repository)
    if place and attributes:
        (repository / ".gitattributes").write_text(attributes)
    (repository / place).mkdir(parents=True, exist_ok=True)
    inside = place + "x.orch" if place else ""
    world = build(repository / inside)
    git("add", ".", cwd=repository)
    git("commit", "-m", "A store", cwd=repository)
    git("clone", repository, clone)
    store = clone / inside
    assert files_of(store) == files_of(world.store.path)
    verified(store)
    assert not (store / "tmp").exists(), "git keeps no empty directories"
    assert wepy("ls snapshots", store).lines == sorted({world.start, world.end})
    assert wepy("tag", store, "late", world.end).status == 0
    add_snapshot(Store.open(store), "another")
    verified(store)


def test_what_git_does_to_a_work_tree(
    world: World, tmp_path: Path, git: Program, wepy: Wepy, verified: Verified
) -> None:
    """S10: other modes, packing, and files that git writes anew make no difference."""
    repository = world.store.path
    before = files_of(repository)
    git("init", repository)
    git("add", ".", cwd=repository)
    git("commit", "-m", "A store", cwd=repository)
    git("gc", "--prune=now", cwd=repository)
    for number, file in enumerate(sorted((repository / "objects").rglob("*"))):
        if file.is_file():
            file.chmod((0o755, 0o444, 0o600)[number % 3])
    verified(repository)
    for kind in ("objects", "snapshots", "refs"):
        shutil.rmtree(repository / kind)
    assert wepy("fsck", repository).status == 3
    git("checkout", "-f", "HEAD", "--", ".", cwd=repository)
    assert files_of(repository) == before
    verified(repository)
    git("archive", "--output", tmp_path / "store.tar", "HEAD", cwd=repository)
    shutil.unpack_archive(tmp_path / "store.tar", tmp_path / "unpacked.orch")
    verified(tmp_path / "unpacked.orch")


def test_a_clone_with_a_strict_umask(
    world: World, tmp_path: Path, git: Program, wepy: Wepy
) -> None:
    """A clone that only its owner may read is reconciled from and into."""
    git("init", world.store.path)
    git("add", ".", cwd=world.store.path)
    git("commit", "-m", "A store", cwd=world.store.path)
    before = os.umask(0o077)
    try:
        git("clone", world.store.path, tmp_path / "clone.orch")
    finally:
        os.umask(before)
    assert wepy("reconcile orch", tmp_path / "new.orch", tmp_path / "clone.orch").status == 0
    other = build(tmp_path / "other.orch", "other ").store.path
    wepy("reconcile orch", tmp_path / "clone.orch", other)
    for path in ("new.orch", "clone.orch"):
        assert wepy("fsck", tmp_path / path).status == 0


def test_branches_merge_as_a_union(
    world: World, tmp_path: Path, git: Program, verified: Verified
) -> None:
    """S6, S7: what two people have added comes together; a tag that both have set is git's
    conflict, and until it is settled holds what it held here, with no marks of a merge in it."""
    git("init", world.store.path)
    git("add", ".", cwd=world.store.path)
    git("commit", "-m", "A store", cwd=world.store.path)
    added = {}
    for name in ("ours", "theirs"):
        git("clone", world.store.path, tmp_path / name)
        store = Store.open(tmp_path / name)
        added[name] = add_snapshot(store, name)
        store.set_ref("tags/" + name, added[name])
        store.set_ref("tags/best", added[name])
        git("add", ".", cwd=store.path)
        git("commit", "-m", name, cwd=store.path)
    ours = Store(tmp_path / "ours")
    git("pull", "--no-rebase", "--no-edit", tmp_path / "theirs", cwd=ours.path, status=1)
    conflicts = git("diff", "--name-only", "--diff-filter=U", cwd=ours.path).split()
    assert conflicts == ["refs/tags/best"]
    assert ours.tags() == {
        "best": added["ours"],
        "bound": world.end,
        "ours": added["ours"],
        "theirs": added["theirs"],
    }
    verified(ours.path)
    git("checkout", "--theirs", "refs/tags/best", cwd=ours.path)
    assert ours.ref("tags/best") == added["theirs"]
    verified(ours.path)


def test_a_store_is_made_in_a_repository(tmp_path: Path, git: Program, wepy: Wepy) -> None:
    """`git init` may come first; what the repository's .gitattributes says is left alone."""
    git("init", tmp_path / "new.orch")
    assert wepy("create orch", tmp_path / "new.orch").status == 0
    assert (tmp_path / "new.orch/.gitattributes").read_text() == "* -text -merge\n"
    git("init", tmp_path / "mine.orch")
    (tmp_path / "mine.orch/.gitattributes").write_text("* text\n")
    assert wepy("create orch", tmp_path / "mine.orch").status == 0
    assert (tmp_path / "mine.orch/.gitattributes").read_text() == "* text\n"
    assert wepy("fsck", tmp_path / "mine.orch").status == 0
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    assert wepy("create orch", tmp_path / "taken").status == 1


def test_damage_by_a_repository_without_the_rules_is_found(
    world: World, tmp_path: Path, git: Program, wepy: Wepy
) -> None:
    """What the rules are for: without them git damages text, and fsck names every such file."""
    git("config", "--global", "core.autocrlf", "true")
    (world.store.path / ".gitattributes").unlink()
    git("init", world.store.path)
    git("add", ".", cwd=world.store.path)
    git("commit", "-m", "A store", cwd=world.store.path)
    git("clone", world.store.path, tmp_path / "clone.orch")
    result = wepy("fsck", tmp_path / "clone.orch")
    assert result.status == 3
    assert f"snapshots/{world.start[:2]}/{world.start}" in result.out
    assert wepy("fsck --repair --from", world.store.path, tmp_path / "clone.orch").status == 0
