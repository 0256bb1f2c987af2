"""The real programs that carry stores about, each with a home of its own for its settings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import installed
from tests.cli.conftest import Wepy, World, wepy
from tests.store.helpers import add_config, add_run, add_snapshot
from tests.warm import Warm
from wepystore.store import Store, canonical

__all__ = ["wepy"]

_DVC = Path(__file__).parents[2] / ".venv-dvc"
OF_DVC = (
    *("dvc.cli.parser", "dvc.repo.add", "dvc.repo.graph", "dvc.output", "dvc.stage", "dvc_render"),
    *("dvc_data.index", "scmrepo.git", "networkx", "flatten_dict", "fsspec.implementations.memory"),
)
_TIMEOUT_S = 120

Program = Callable[..., str]


def build(path: Path, label: str = "") -> World:
    """With defaults and a tag; its objects are what a program that converts text would damage."""
    store = Store.create(path)
    start, end = add_snapshot(store, label + "a"), add_snapshot(store, label + "b\r\n\x00$Id$")
    config = add_config(store, label + "c\r\nunix\n")
    run = add_run(store, start, end, config)
    store.set_ref("default-snapshot", start)
    store.set_ref("default-config", config)
    store.set_ref("tags/bound", end)
    return World(store, start, end, config, run)


def add_large(store: Store, label: str, size: int = 12 << 20) -> str:
    """A configuration with one large object, which is copied long after the manifest."""
    with store.batch() as batch:
        part = batch.put("objects", label.encode() * (size // len(label)))
        manifest = {"type": "configuration", "format": 1, "monitor": part.to_json()}
        return batch.put("configs", canonical.dumps(manifest)).md5


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of a store, whatever it is for, by its path in it; without what it alone knows of
    where frames are."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and not {".git", "elsewhere"} & {*file.relative_to(root).parts}
    }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path / "first.orch")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the developer's settings nor the network are of any influence."""
    home = tmp_path / "home"
    home.mkdir()
    for key in [key for key in os.environ if key.startswith(("GIT_", "DVC_", "RSYNC_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    (home / ".gitconfig").write_text(
        "[user]\nname = Somebody\nemail = somebody@example.org\n[init]\ndefaultBranch = main\n"
    )


def _program(*program: str, warm: Warm | None = None) -> Program:
    def run(*words: object, cwd: Path | None = None, status: int = 0) -> str:
        command = [*program, *map(str, words)]
        done = (
            warm.run(command, os.environ, cwd)
            if warm
            else subprocess.run(
                command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S
            )
        )
        assert done.returncode == status, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def rsync(environment: None) -> Program:
    """`rsync(option, ..., source, target)`."""
    installed.need("rsync")
    return _program("rsync")


@pytest.fixture
def git(environment: None) -> Program:
    """`git(word, ..., cwd=repository)`."""
    installed.need("git")
    return _program("git")


@pytest.fixture
def annex(git: Program) -> Program:
    """`annex(word, ..., cwd=repository)`: git annex."""
    installed.need("git-annex")
    return _program("git", "annex")


@pytest.fixture(scope="session")
def dvc_program() -> Path:
    """The program of a virtual environment in which DVC is, made once."""
    return installed.environment(_DVC, ["dvc>=3,<4"], _runs) / "dvc"


def _runs(programs: Path) -> bool:
    if not (programs / "dvc").exists():
        return False
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([programs / "dvc", "--version"], capture_output=True, env=environment)
    return done.returncode == 0


@pytest.fixture(scope="session")
def warm_dvc(dvc_program: Path) -> Warm:
    """DVC takes a second and more to import. (Not pygit2, which looks for its user's home then.)"""
    return Warm(str(dvc_program.with_name("python")), os.environ, modules=OF_DVC)


@pytest.fixture
def dvc(git: Program, warm_dvc: Warm) -> Program:
    """`dvc(word, ..., cwd=repository)`."""
    return _program("-m", "dvc", warm=warm_dvc)


@pytest.fixture
def verified(wepy: Wepy) -> Callable[[Path], None]:
    """`verified(store)`: fsck reads all of it and finds nothing wrong."""

    def check(root: Path) -> None:
        result = wepy("fsck --sha256", root)
        assert result.status == 0, result.out + result.err
        assert result.out == ""
        assert Store.open(root).hashes("recordings"), "what happened in runs was carried along"

    return check
