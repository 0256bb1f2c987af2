"""`wepy resume JOB` and `wepy run --job-dir JOB` in a folder that somebody else has prepared."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import pair_snapshot, plain_configuration, python, run_job
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    Store,
    WalkerReporter,
    prepare_store,
)

__all__ = ["wepy"]

VICTIM = b"precious\n" * 1000

#: Every name that a job's own process opens, `j` being the job's name.
_NAMES = """
    job.json .job.json.tmp .lock .checkpoints .checkpoints.tmp
    j.wepy.h5 .j.wepy.h5.tmp .j.wepy.h5.journal .j.wepy.h5.journal.tmp
    j.dash.org .j.dash.org.tmp .j.dash.org.state ..j.dash.org.state.tmp
    j.init_top.pdb .j.init_top.pdb.tmp
    j.walkers.dcd .j.walkers.dcd.tmp j.walkers.csv .j.walkers.csv.tmp
    j.restree.gexf .j.restree.gexf.tmp .j.restree.gexf.spool ..j.restree.gexf.spool.tmp
"""
NAMES = _NAMES.split()

REPORTERS = (
    HDF5Reporter,
    DashboardReporter,
    InitTopologyReporter,
    WalkerReporter,
    FamilyTreeReporter,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store `s.orch` and the job `job` of two cycles, named j."""
    root = tmp_path_factory.mktemp("job")
    made = prepare_store(
        root / "s.orch", pair_snapshot(3), plain_configuration(None, [cls() for cls in REPORTERS])
    )
    run_job(made.store, made.snapshot_hash, root / "job", n_cycles=2, job_name="j")
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy, and an alarm for who waits for a pipe."""

    def wake(*_: Any) -> None:
        raise AssertionError("it waits")

    for name in ("s.orch", "job"):
        shutil.copytree(prepared / name, tmp_path / name)
    (tmp_path / "victim").write_bytes(VICTIM)
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "trusted"))
    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(120)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def link(path: Path) -> None:
    path.symlink_to(path.parents[1] / "victim")


def dangling(path: Path) -> None:
    path.symlink_to(path.parents[1] / "new")


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [link, dangling, pipe])
def test_resume_follows_and_waits_for_nothing(
    wepy: Wepy, root: Path, make: Callable[[Path], None]
) -> None:
    """Every file of a job in turn a symbolic link to the user's own file, to a new one, or a pipe:
    one line that names it, at once, nothing written anywhere; and without it the job goes on."""
    for name in NAMES:
        kept = root / "kept"
        place = root / "job" / name
        there = place.exists()
        if there:
            place.rename(kept)
        make(place)
        said = wepy("resume --n-cycles 3 job")
        assert said.status in (1, 3), f"{name}: {said}"
        assert said.err.count("wepy: error") == 1 and name in said.err, f"{name}: {said}"
        assert (root / "victim").read_bytes() == VICTIM and not (root / "new").exists(), name
        place.unlink()
        if there:
            kept.rename(place)
    assert wepy("resume --n-cycles 3 job").status == 0


def test_a_linked_store_of_a_job_is_not_its_own(wepy: Wepy, root: Path) -> None:
    """`checkpoint.orch` a link to another store: entries of that one would be removed as superseded
    checkpoints, and its default moved. Refused, and nothing in it changes."""
    (root / "job" / "checkpoint.orch").rename(root / "main.orch")
    (root / "job" / "checkpoint.orch").symlink_to(root / "main.orch")
    before = {path: path.read_bytes() for path in (root / "main.orch").rglob("*") if path.is_file()}
    listed = "".join(
        f"+ {kind} {md5}\n"
        for kind in ("objects", "snapshots", "runs")
        for md5 in Store.open(root / "main.orch").hashes(kind)
    )
    (root / "job" / ".checkpoints").write_text(listed)
    said = wepy("resume --n-cycles 3 --checkpoint-freq 1 job")
    assert said.status == 1 and "checkpoint.orch: it is a symbolic link" in said.err
    after = {path: path.read_bytes() for path in (root / "main.orch").rglob("*") if path.is_file()}
    assert after == before


def test_files_with_another_name_are_not_written_to(wepy: Wepy, root: Path) -> None:
    """A hard link to a file of the user's in place of one that is changed in place: refused; in
    place of one that is replaced: replaced."""
    for name in ("j.wepy.h5", ".j.restree.gexf.spool", ".lock", ".checkpoints", "j.dash.org"):
        place, kept = root / "job" / name, root / "kept"
        there = place.exists()
        if there:
            place.rename(kept)
        place.hardlink_to(root / "victim")
        said = wepy("resume --n-cycles 3 job")
        if name in (".checkpoints", "j.dash.org"):
            assert said.status == 0, f"{name}: {said}"
        else:
            assert said.status == 1 and name in said.err, f"{name}: {said}"
        assert (root / "victim").read_bytes() == VICTIM
        place.unlink(missing_ok=True)
        if there:
            kept.rename(place)


def test_a_job_folder_may_be_a_link_itself(wepy: Wepy, root: Path) -> None:
    """What the user names is the user's: a link to a job folder on another disk goes on."""
    (root / "job").rename(root / "elsewhere")
    (root / "job").symlink_to(root / "elsewhere")
    assert wepy("resume --n-cycles 3 job").status == 0


@pytest.mark.parametrize("make", [link, dangling, pipe])
def test_a_new_run_in_a_prepared_folder(
    wepy: Wepy, root: Path, make: Callable[[Path], None]
) -> None:
    """`wepy run --job-dir` into a folder in which links or pipes wait under the names of the files
    to come: refused, or files of its own; never a byte elsewhere."""
    for name in (*NAMES, "checkpoint.orch"):
        folder = root / "new-job"
        folder.mkdir()
        make(folder / name)
        said = wepy("run orch --n-cycles 1 --job-dir new-job --job-name j s.orch default 60 5")
        assert said.status in (0, 1, 3), f"{name}: {said}"
        assert said.err.count("wepy: error") == (said.status != 0), f"{name}: {said}"
        assert (root / "victim").read_bytes() == VICTIM and not (root / "new").exists(), name
        shutil.rmtree(folder)


SCRIPT = """
import sys
from tests.systems import pair_snapshot, plain_configuration
from wepystore.api import prepare_store

class Writes:
    def __init__(self): self.path = "energies.txt"
    def init(self, **k): self.file = open(self.path, "a")
    def report(self, **k): self.file.write("x")
    def cleanup(self, **k): self.file.close()

prepare_store(sys.argv[1], pair_snapshot(2), plain_configuration(None, [Writes()]))
"""


def test_files_of_other_reporters(wepy: Wepy, root: Path) -> None:
    """A reporter of a user's own opens its file by name: what waits under it is refused first."""
    (root / "script.py").write_text(SCRIPT)
    python(root / "script.py", root / "t.orch", cwd=root, WEPY_TRUST=str(root / "trusted"))
    words = "run orch --n-cycles 1 --job-name j t.orch default 60 5"
    assert wepy(f"{words} --job-dir first").status == 0
    (made,) = (root / "first").glob("*.txt")
    for make in (link, dangling, pipe):
        folder = root / make.__name__
        folder.mkdir()
        make(folder / made.name)
        said = wepy(f"{words} --job-dir {folder}")
        assert said.status == 1 and made.name in said.err, said
        assert (root / "victim").read_bytes() == VICTIM and not (root / "new").exists()


def test_a_list_of_trusted_pickles_that_is_a_pipe(wepy: Wepy, root: Path) -> None:
    """$WEPY_TRUST a pipe: told, not waited for."""
    os.mkfifo(root / "trusted")
    for line in ("trust --list", "trust --store s.orch"):
        said = wepy(line)
        assert said.status in (0, 1), said
    assert "it is no file" in wepy("trust --list").err
