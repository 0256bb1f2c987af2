"""DVC: a store under `dvc add`, with files that are hard links, copies or symbolic links."""

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


def track(root: Path, cache_type: str, git: Program, dvc: Program) -> World:
    """A repository with a store that DVC tracks, and a remote."""
    git("init", root)
    dvc("init", "--quiet", cwd=root)
    dvc("config", "cache.type", cache_type, cwd=root)
    dvc("remote", "add", "--default", "storage", root.parent / "storage", cwd=root)
    world = build(root / "x.orch")
    dvc("add", "x.orch", cwd=root)
    git("add", ".", cwd=root)
    git("commit", "-m", "A store", cwd=root)
    return world


def cached(root: Path) -> dict[Path, tuple[int, bytes]]:
    """Inode and content of every file in DVC's cache."""
    files = (file for file in (root / ".dvc/cache/files").rglob("*") if file.is_file())
    return {file: (file.stat().st_ino, file.read_bytes()) for file in files}


@pytest.mark.parametrize(
    "cache_type",
    ["hardlink", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("copy", "symlink"))],
)
def test_added_pushed_pulled(
    tmp_path: Path, git: Program, dvc: Program, wepy: Wepy, verified: Verified, cache_type: str
) -> None:
    """S1: here and where it is pulled to, it has the same files and verifies; and it is a store
    that can be added to, in which no file of DVC's cache is changed in place (S2)."""
    world = track(tmp_path / "here", cache_type, git, dvc)
    store = world.store.path
    assert any(file.is_symlink() for file in store.rglob("*")) == (cache_type == "symlink")
    verified(store)
    dvc("push", cwd=store.parent)
    there = tmp_path / "there"
    git("clone", store.parent, there)
    assert wepy("ls snapshots", there / "x.orch").status == 1, "there is no store yet"
    dvc("pull", cwd=there)
    assert files_of(there / "x.orch") == files_of(store)
    verified(there / "x.orch")
    assert wepy("ls snapshots", there / "x.orch").lines == sorted({world.start, world.end})
    assert wepy("log", there / "x.orch").status == 0

    before = cached(there)
    assert before
    for file in (there / "x.orch").rglob("*"):
        os.utime(file, (1e9, 1e9))  # so old that putting it again makes it new for gc
    pulled = Store.open(there / "x.orch")
    add_snapshot(pulled, "a")
    new = add_snapshot(pulled, "another")
    assert wepy("tag --force", pulled.path, "bound", new).status == 0
    other = build(tmp_path / "other.orch", "other ").store
    assert wepy("reconcile orch", pulled.path, other.path).status == 4
    assert cached(there) == before
    verified(pulled.path)
    verified(other.path)
    if cache_type == "hardlink":
        dvc("add", "x.orch", cwd=there)
        git("commit", "-am", "More", cwd=there)
        dvc("push", cwd=there)
        git("pull", there, cwd=store.parent)
        dvc("pull", cwd=store.parent)
        assert files_of(store) == files_of(pulled.path)
        verified(store)


def test_absent_content_is_named_with_what_brings_it(
    tmp_path: Path, git: Program, dvc: Program, wepy: Wepy, verified: Verified
) -> None:
    """S5: links into a cache that was emptied are missing content, and `dvc pull` brings it."""
    world = track(tmp_path / "here", "symlink", git, dvc)
    store = world.store
    dvc("push", cwd=store.path.parent)
    ref = max((ref for _, ref in store.references("snapshots", world.start)), key=lambda r: r.size)
    file = store.file("objects", ref.md5)
    os.unlink(file.resolve())
    result = wepy("ls snapshots", store.path)
    assert result.status == 3
    assert f"object {ref.md5} missing; bring the rest with 'dvc pull'" in result.err
    fsck = wepy("fsck", store.path)
    assert fsck.status == 3
    assert "DVC has it elsewhere, and 'dvc pull' brings it" in fsck.out
    assert len(fsck.lines) == 1
    dvc("pull", cwd=store.path.parent)
    verified(store.path)


def test_reconciling_shares_no_inode_that_dvc_may_rewrite(
    tmp_path: Path, git: Program, dvc: Program, wepy: Wepy, verified: Verified
) -> None:
    """A store that was reconciled from a tracked one keeps its content when DVC unprotects, checks
    out and forgets the other."""
    world = track(tmp_path / "here", "hardlink", git, dvc)
    root = tmp_path / "here"
    target = tmp_path / "new.orch"
    assert wepy("reconcile orch", target, world.store.path).status == 0
    before = files_of(target)
    dvc("unprotect", "x.orch", cwd=root)
    shutil.rmtree(root / "x.orch")
    dvc("checkout", cwd=root)
    dvc("remove", "x.orch.dvc", cwd=root)
    dvc("gc", "--workspace", "--force", cwd=root)
    assert files_of(target) == before
    verified(target)
