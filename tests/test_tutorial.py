"""The tutorial, typed as a user types it, on both real systems."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from tests.systems import REPOSITORY, program, python

ENDS = re.compile(r"Run start and end hashes: ([0-9a-f]{32}), ([0-9a-f]{32})\n")


def wepy(*words: object, status: int = 0, cwd: Path | None = None) -> str:
    """stdout of a wepy command."""
    done = program(*words, cwd=cwd)
    assert done.returncode == status, f"wepy {words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def make(fixture: str, out: Path) -> None:
    python(REPOSITORY / "fixtures" / fixture / "make_orchestrator.py", out)


def contents(directory: Path) -> dict[str, tuple[str, int]]:
    """MD5 and mtime of every file below a directory."""
    return {
        str(path.relative_to(directory)): (
            hashlib.md5(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def walk_through(orch: Path, tmp: Path, first: list[object], again: list[object]) -> None:
    """Every command of the tutorial; `first` and `again` are the options of its two runs."""
    start_hash = wepy("ls", "snapshots", orch).strip()
    config_hash = wepy("ls", "configs", orch).strip()
    assert re.fullmatch("[0-9a-f]{32}", start_hash)
    assert re.fullmatch("[0-9a-f]{32}", config_hash)

    before = contents(orch)
    job = tmp / "first_job"
    out = wepy("run", "orch", f"--job-dir={job}", *first[:-2], orch, start_hash, *first[-2:])
    match = ENDS.fullmatch(out)
    assert match is not None, out
    assert match[1] == start_hash
    end_hash = match[2]
    assert contents(orch) == before, "the master store was touched"

    assert {entry.name for entry in job.iterdir()} == {
        "checkpoint.orch",
        "job.json",
        f".{start_hash}.dash.org.state",
        f".{start_hash}.restree.gexf.spool",
        *(
            f"{start_hash}.{suffix}"
            for suffix in (
                *("wepy.h5", "dash.org", "init_top.pdb"),
                *("walkers.dcd", "walkers.csv", "restree.gexf"),
            )
        ),
    }
    checkpoint = job / "checkpoint.orch"
    assert set(wepy("ls", "snapshots", checkpoint).split()) == {start_hash, end_hash}
    assert wepy("ls", "configs", checkpoint).split() == [config_hash]
    assert wepy("ls", "runs", checkpoint) == f"{start_hash}, {end_hash}\n"

    wepy("reconcile", "orch", orch, checkpoint)
    assert set(wepy("ls", "snapshots", orch).split()) == {start_hash, end_hash}
    assert wepy("ls", "runs", orch) == f"{start_hash}, {end_hash}\n"
    assert wepy("ls", "configs", orch).strip() == config_hash

    snap, config = tmp / "start.snap.dill.pkl", tmp / "c.config.dill.pkl"
    wepy("get", "snapshot", f"--output={snap}", orch, start_hash)
    wepy("get", "config", f"--output={config}", orch, config_hash)
    second = tmp / "run_again"
    out = wepy("run", "snapshot", snap, config, *again[-2:], f"--job-dir={second}", *again[:-2])
    match = ENDS.fullmatch(out)
    assert match is not None, out
    assert match[1] == start_hash

    wepy("reconcile", "orch", orch, second / "checkpoint.orch")
    assert set(wepy("ls", "snapshots", orch).split()) == {start_hash, end_hash, match[2]}
    assert len(wepy("ls", "runs", orch).splitlines()) == 2
    assert wepy("ls", "configs", orch).strip() == config_hash, "a script takes ONE config"

    # An end is a start like any other.
    third = tmp / "go_on"
    out = wepy("run", "orch", f"--job-dir={third}", "--n-cycles=1", orch, end_hash, 60, 10)
    assert ENDS.fullmatch(out)


def test_lj_pair_goes_through_the_whole_tutorial(tmp_path: Path) -> None:
    """The README's tutorial with a smaller time budget: 2 seconds at 10 and at 100 steps."""
    make("lj_pair", tmp_path / "lj.orch")
    walk_through(tmp_path / "lj.orch", tmp_path, [2, 10], [2, 100])


@pytest.mark.parametrize(
    ("n_cycles", "n_steps"), [(2, 20), pytest.param(10, 500, marks=pytest.mark.slow)]
)
def test_nacl_goes_through_the_whole_tutorial(
    nacl: Path, tmp_path: Path, n_cycles: int, n_steps: int
) -> None:
    """Ions in PME water on 2 workers, every command; the long one is as long as a trial run."""
    first = ["--seed=11", f"--n-cycles={n_cycles}", 3000, n_steps]
    shutil.copytree(nacl, tmp_path / "nacl.orch")
    walk_through(tmp_path / "nacl.orch", tmp_path, first, ["--seed=12", "--n-cycles=1", 600, 20])


@pytest.mark.slow
def test_nacl_ends_the_same_on_one_worker_and_on_two(nacl: Path, tmp_path: Path) -> None:
    """R1 on the CPU platform: 5 cycles of 500 steps, one hash."""
    ends = {
        wepy(
            "run",
            "orch",
            f"--n-workers={n}",
            f"--job-dir={tmp_path / str(n)}",
            "--seed=5",
            "--n-cycles=5",
            nacl,
            "default",
            3000,
            500,
        )
        for n in (1, 2)
    }
    assert len(ends) == 1
