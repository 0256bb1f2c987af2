"""What `wepy run` tells of frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy
from wepystore.api import Prepared, load_snapshot


def test_the_size_of_frames_is_told_before_the_first_cycle(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cycle, and of all if their number is known; a disk that is too small is named (D5)."""
    n_walkers = len(load_snapshot(pair_store.store, "default").walkers)
    run = f"run orch --n-cycles 2 --job-dir {{}} {pair_store.store.path} default - 10"
    told = wepy(run.format("first")).err
    assert f"frames: positions; {24 * n_walkers} B a cycle, {48 * n_walkers} B in all\n" in told
    assert "room for" not in told
    told = wepy("resume --n-cycles 5 first").err
    assert f"{24 * n_walkers} B a cycle, {72 * n_walkers} B in all\n" in told
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    told = wepy(run.format("second")).err
    assert "warning: the disk has room for 100 B of frames: where it is full the run ends" in told
