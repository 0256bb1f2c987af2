"""`prepare_store`: the default is what was made last, or it is said that it is not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.systems import REPOSITORY, environment, pair_snapshot, plain_configuration
from wepystore.api import HDF5Reporter, prepare_store
from wepystore.orchestrator.setup import DefaultStaysWarning
from wepystore.store import Store


def test_another_default_stays_and_is_told(tmp_path: Path) -> None:
    """S7: which stays, which was made, the command and the argument that move it; the same again
    is silent."""
    store = tmp_path / "one.orch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = prepare_store(store, pair_snapshot(6), plain_configuration())
        again = prepare_store(store, pair_snapshot(6), plain_configuration())
    assert again.snapshot_hash == first.snapshot_hash and again.other_defaults == {}
    assert first.other_defaults == {} and first.remark == ""
    with pytest.warns(DefaultStaysWarning) as told:
        second = prepare_store(store, pair_snapshot(4), plain_configuration())
    (warning,) = told
    text = str(warning.message)
    assert f"the default snapshot of {store} stays {first.snapshot_hash}" in text
    assert f"'wepy default snapshot {store} {second.snapshot_hash}'" in text
    assert "make_default=True" in text and "configuration" not in text and "\n" not in text
    assert warning.filename == __file__
    assert second.other_defaults == {"snapshot": first.snapshot_hash}
    assert Store.open(store).ref("default-snapshot") == first.snapshot_hash


def test_a_default_is_moved_when_asked(tmp_path: Path) -> None:
    """With `make_default` both are what was made, silently, also over a damaged one."""
    store = tmp_path / "one.orch"
    prepare_store(store, pair_snapshot(6), plain_configuration())
    (store / "refs" / "default-config").write_text("rubbish")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = prepare_store(
            store, pair_snapshot(4), plain_configuration(None, [HDF5Reporter()]), make_default=True
        )
    refs = [Store.open(store).ref(f"default-{kind}") for kind in ("snapshot", "config")]
    assert refs == [made.snapshot_hash, made.config_hash] and not made.other_defaults


def test_only_what_differs_is_told(tmp_path: Path) -> None:
    """Another configuration for the same start."""
    store = tmp_path / "one.orch"
    first = prepare_store(store, pair_snapshot(), plain_configuration())
    with pytest.warns(DefaultStaysWarning, match="the default configuration of"):
        other = prepare_store(store, pair_snapshot(), plain_configuration(None, [HDF5Reporter()]))
    assert other.other_defaults == {"config": first.config_hash}
    assert "wepy default config " in other.remark and "default snapshot" not in other.remark


def test_a_script_shows_it_on_stderr(tmp_path: Path) -> None:
    """An edited script, run again into the same store, as its user sees it."""
    script = tmp_path / "script.py"
    for n_walkers in (6, 4):
        script.write_text(
            "from tests.systems import pair_snapshot, plain_configuration\n"
            "from wepystore.api import prepare_store\n"
            f"prepare_store('s.orch', pair_snapshot({n_walkers}), plain_configuration())\n"
        )
        done = subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env=environment() | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert "DefaultStaysWarning: the default snapshot of s.orch stays" in done.stderr
    assert done.stdout == ""
