"""`wepy get trajectories`: files of what is recorded of a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import pytest

from tests.cli.conftest import Wepy
from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import prepare_store


class Made(NamedTuple):
    """A job's store, and its run."""

    path: Path
    run: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("trajectories")
    prepared = prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    done = run_job(prepared.store, prepared.snapshot_hash, folder / "job", n_cycles=4)
    return Made(folder / "job", done.record)


def test_the_names_of_the_files_are_printed(wepy: Wepy, made: Made, tmp_path: Path) -> None:
    """One a line; without a name it is that of the record."""
    result = wepy("get trajectories", made.path, made.run)
    assert (result.status, result.out, result.err) == (0, f"{made.run}.wepy.h5\n", "")
    with h5py.File(tmp_path / f"{made.run}.wepy.h5") as found:
        assert found["runs/0/trajectories/5/positions"].shape == (4, 2, 3)
    options = "--walkers 0,2-3 --cycles=-3: --every 2 --atoms 1 --align 0-1"
    result = wepy(f"get trajectories {options} -O a.xtc", made.path, made.run)
    assert result.lines == ["a-W000.xtc", "a-W002.xtc", "a-W003.xtc", "a.pdb", "a.csv"]
    assert (tmp_path / "a.csv").read_text().count("\n") == 1 + 3 * 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("-O a.trr", 2, "ends as nothing that trajectories are written to: .h5,"),
        ("-O none/a.dcd", 1, "there is no directory none"),
        ("-O a.dcd --walkers 6", 2, "no walker 6 in these cycles of run"),
        ("-O a.dcd --walkers 3-1", 2, "3-1 is no walker of any run"),
        ("-O a.dcd --walkers x", 2, "must be numbers of walkers, as in 0,3-5"),
        ("-O a.dcd --cycles 3", 2, "must be A:B, as in"),
        ("-O a.dcd --cycles 4:", 2, "has 4 cycles, and of none of those"),
        ("-O a.dcd --every 0", 2, "--every is 0 and must be"),
        ("-O a.dcd --atoms 2", 2, "has atom 2"),
        ("-O a.h5 --whole", 1, "of a system without a box no molecule is cut"),
        ("-O a.h5 --link --align 0", 2, "linking frames that are moved does not go with"),
        ("-O a.dcd --whole", 1, "of a system without a box no molecule is cut"),
        ("-O a.dcd --warp 1", 2, "--warp is for 'wepy get lineage'"),
    ],
)
def test_wrong_words(
    wepy: Wepy, made: Made, tmp_path: Path, words: str, status: int, said: str
) -> None:
    """Are told in one line, and leave nothing."""
    result = wepy(f"get trajectories {words}", made.path, made.run)
    assert (result.status, result.out) == (status, "")
    assert said in result.err.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_stay(wepy: Wepy, made: Made, tmp_path: Path) -> None:
    """Unless --force is given."""
    (tmp_path / "a.pdb").write_text("mine")
    result = wepy("get trajectories -O a.pdb --walkers 0", made.path, made.run)
    assert (result.status, result.out) == (1, "")
    assert "a.pdb is there already" in result.err
    assert (tmp_path / "a.pdb").read_text() == "mine"
    result = wepy("get trajectories -f -O a.pdb --walkers 0", made.path, made.run)
    assert result.lines == ["a.pdb", "a.csv"]


def test_options_of_trajectories_are_theirs_alone(wepy: Wepy, made: Made) -> None:
    """Other files have none of them."""
    result = wepy("get lineage --walkers 1", made.path, made.run)
    assert (result.status, result.out) == (2, "")
    assert "--walkers is for 'wepy get trajectories'" in result.err


@pytest.fixture
def ended_midway() -> Iterator[None]:
    """A SIGTERM as soon as somebody has it end the program as an exception does."""

    def look(*_: object) -> None:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "words",
    [
        "get trajectories -O a.pdb {path} {run}",
        "get lineage --walker 1 -O a.pdb {path} {run}",
        "reconcile hdf5 {path} a.h5",
        "hdf5 copy {path}.h5 a.h5",
    ],
)
def test_a_signal_leaves_nothing(
    wepy: Wepy, made: Made, tmp_path: Path, request: pytest.FixtureRequest, words: str
) -> None:
    """Of a scheduler whose time is over, midway: neither a file nor a part of one."""
    if words.startswith("hdf5"):
        assert wepy(f"get trajectories -f -O {made.path}.h5", made.path, made.run).status == 0
    request.getfixturevalue("ended_midway")
    with pytest.raises(SystemExit) as ended:
        wepy(words.format(path=made.path, run=made.run))
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
