"""What a command imports: little (start-up), and never pickle (S9)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT, World

_HEAVY = ("numpy", "openmm", "dill", "rich", "networkx", "h5py", "concurrent.futures")
_PICKLES = ("pickle", "_pickle", "dill", "pickletools", "shelve")

_SCRIPT = """
import json, sys
from wepystore.cli.main import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([status, sorted(sys.modules)], file)
"""


def modules_of(tmp_path: Path, *argv: object) -> set[str]:
    """What is in sys.modules after a command in a fresh interpreter that succeeded."""
    report = tmp_path / "modules.json"
    subprocess.run(
        [sys.executable, "-c", _SCRIPT, report, *map(str, argv)],
        check=True,
        capture_output=True,
        env=ENVIRONMENT,
    )
    status, modules = json.loads(report.read_text())
    assert status == 0
    return set(modules)


@pytest.mark.parametrize("kind", ["snapshots", "configs", "runs"])
def test_ls_imports_little(tmp_path: Path, world: World, kind: str) -> None:
    """`wepy ls` imports none of the heavy packages."""
    for line in (["ls", kind, world.store.path], ["ls", kind, world.store.path, "--long"]):
        assert modules_of(tmp_path, *line).isdisjoint(_HEAVY)


def test_help_imports_nearly_nothing(tmp_path: Path) -> None:
    """`wepy --help` does not even need the store or docopt."""
    modules = modules_of(tmp_path, "--help")
    assert modules.isdisjoint((*_HEAVY, "docopt", "wepystore.store", "difflib"))


def test_reading_imports_no_pickle(tmp_path: Path, world: World) -> None:
    """S9: ls, show, log, get, add, tag and reconcile import no pickle, not even by way of the
    standard library."""
    path = world.store.path
    file = tmp_path / "x.pkl"
    for line in (
        ["ls", "snapshots", path, "--json"],
        ["ls", "runs", path, "--long"],
        ["show", path, world.start],
        ["show", path, world.config, "--json"],
        ["show", path, f"{world.start},{world.end}"],
        ["log", path],
        ["log", path, "--json"],
        ["get", "snapshot", path, world.start, "-O", file],
        ["add", "snapshot", path, file],
        ["tag", path, "one", world.start],
        ["create", "orch", tmp_path / "new.orch"],
        ["reconcile", "orch", tmp_path / "new.orch", path],
    ):
        found = modules_of(tmp_path, *line).intersection(_PICKLES)
        assert not found, line
