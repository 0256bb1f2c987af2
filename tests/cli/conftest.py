"""Runs command lines in this process, as a user types them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import wepystore
from tests.store.helpers import add_config, add_run, add_snapshot
from wepystore.cli.main import main
from wepystore.store import Store

# For commands in an interpreter of their own: this very package, and no store of the developer's.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "WEPY_ORCH"}
ENVIRONMENT["PYTHONPATH"] = str(Path(wepystore.__file__).parents[1])


class Result(NamedTuple):
    """What a command line did."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Wepy = Callable[..., Result]


@pytest.fixture
def wepy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Wepy:
    """`wepy("ls snapshots", path, ...)` in tmp_path, without any environment of the developer's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEPY_ORCH", raising=False)

    def run(line: str, *more: object) -> Result:
        capsys.readouterr()
        status = main([*shlex.split(line), *map(str, more)])
        return Result(status, *capsys.readouterr())

    return run


class World(NamedTuple):
    """A store with two snapshots, a configuration, and the run from one to the other."""

    store: Store
    start: str
    end: str
    config: str
    run: str


@pytest.fixture
def world(tmp_path: Path) -> World:
    store = Store.create(tmp_path / "w.orch")
    start, end = add_snapshot(store, "a"), add_snapshot(store, "b")
    config = add_config(store, "c")
    return World(store, start, end, config, add_run(store, start, end, config))
