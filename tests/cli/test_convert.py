"""`wepy convert` where wepy is not installed, as in this environment: what can be told without it.

What it makes is tested in tests/compat/test_wepy1_entries.py, by an interpreter that has wepy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Wepy
from tests.systems import REPOSITORY
from wepystore.api import Prepared
from wepystore.compat.wepy.repairs import have_wepy
from wepystore.store import Store

FIXTURES = REPOSITORY / "fixtures" / "wepy1"
START = "a553a890d72e2c89e5013cce73b8ae02"

pytestmark = pytest.mark.skipif(have_wepy(), reason="wepy is installed here")


@pytest.fixture
def old(wepy: Wepy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with what wepy 1.x wrote, and a list of trusted pickles of the test's own."""
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "trusted"))
    path = tmp_path / "old.orch"
    wepy("reconcile orch", path, FIXTURES / "LJ-pair.initial.orch.sqlite")
    return path


def test_untrusted_is_refused_first(wepy: Wepy, old: Path) -> None:
    """S9: exit 5, one line that says how to look and how to trust; nothing is written."""
    result = wepy("convert", old, START)
    assert (result.status, result.out) == (5, "")
    assert result.err.count("\n") == 1
    assert f"wepy trust {old} {START}" in result.err
    assert Store.open(old).hashes("snapshots") == [START]


@pytest.mark.parametrize("command", ["convert", "run orch --n-cycles=1 --job-dir=j"])
def test_without_wepy_it_is_named(wepy: Wepy, old: Path, tmp_path: Path, command: str) -> None:
    """Trusted, but wepy is not here: one line names the entry, the package and the way out."""
    assert wepy("trust --store", old).status == 0
    result = wepy(command, old, START, *(["60", "10"] if "run" in command else []))
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert START in result.err or Store.open(old).hashes("configs")[0] in result.err
    assert "pip install 'wepy==1.2'" in result.err and "convert" in result.err
    assert not (tmp_path / "j").exists()


def test_native_entries_have_nothing_to_convert(wepy: Wepy, pair_store: Prepared) -> None:
    """A snapshot and a configuration of ours: exit 1, one line, and the store as it was."""
    path = Path(pair_store.store.path)
    before = sorted(path.rglob("*"))
    for md5 in (pair_store.snapshot_hash, pair_store.config_hash):
        result = wepy("convert", path, md5)
        assert (result.status, result.out) == (1, "")
        assert md5 in result.err and "nothing to convert" in result.err
    assert sorted(path.rglob("*")) == before


def test_what_there_is_not(wepy: Wepy, old: Path) -> None:
    """An unknown hash and a missing word are told as everywhere."""
    assert wepy("convert", old, "0123456789abcdef").status == 1
    assert wepy("convert").status == 2
