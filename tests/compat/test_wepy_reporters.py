"""A user's own reporters, written for wepy, from configurations that the real wepy 1.2 wrote."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.conftest import InWepy

#: Files of reporters that can be pickled.
EXACT = ("energies.txt", "summary.txt", "warps.txt", "lines.txt")

Runs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def files(in_wepy: InWepy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What report_wepy.py made, trusted: wepy's start and configurations, and wepy's own run."""
    folder = tmp_path_factory.mktemp("files")
    made = in_wepy(Path(__file__).with_name("report_wepy.py"), folder)
    assert made.returncode == 0, made.stderr
    for file in folder.glob("*.pkl"):
        assert in_wepy("-m", "wepystore", "trust", file).returncode == 0
    return folder


@pytest.fixture(scope="module")
def runs(in_wepy: InWepy, files: Path) -> Runs:
    """`wepystore run snapshot` of wepy's start, 20 steps a cycle, a checkpoint every 3 cycles."""

    def run(
        config: str, job: Path, n_cycles: int, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return in_wepy(
            *("-m", "wepystore", "run", "snapshot", "--seed=3", "--checkpoint-freq=3"),
            *(f"--n-cycles={n_cycles}", "--job-name=job", f"--job-dir={job}"),
            *(files / "start.snap.dill.pkl", files / f"{config}.config.dill.pkl", 600, 20),
            PYTHONPATH=_with_user_modules(),
            **environment,
        )

    return run


def _with_user_modules() -> str:
    here = Path(__file__).parent
    return f"{here.parents[1]}:{here}"


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job of 9 cycles that nothing interrupted."""
    job = tmp_path_factory.mktemp("whole") / "job"
    done = runs("own", job, 9)
    assert done.returncode == 0, done.stderr
    # Said when the run begins, of this one only.
    warned = [line for line in done.stderr.splitlines() if "cannot be pickled" in line]
    assert len(warned) == 1 and warned[0].startswith("wepy: warning: reporter TableReporter")
    assert "job.from-CYCLE" in warned[0]
    return job


def test_the_arguments_are_wepys(runs: Runs, files: Path, tmp_path: Path) -> None:
    """A reporter that writes down what it is given (names and classes of all arguments; shapes,
    units, fields of states) writes here what it writes under wepy's own simulation manager."""
    done = runs("arguments", tmp_path / "job", 2)
    assert done.returncode == 0, done.stderr
    expected = (files / "wepys.arguments.txt").read_text()
    assert expected.count("wepy.runners.openmm.OpenMMState") == 5
    assert (tmp_path / "job" / "job.arguments.txt").read_text() == expected


def test_what_they_wrote(whole: Path) -> None:
    """Every cycle is there, in the unit that the configuration's options ask for."""
    energies = (whole / "job.energies.txt").read_text().splitlines()
    assert energies[0] == "# 8 2" and energies[-1] == "# the end"
    assert [int(line.split()[0]) for line in energies[1:-1]] == list(range(9))
    # In kcal/mol, of a pair whose well is 1 kJ/mol deep.
    assert all(-1 / 4.184 <= float(v) < 1 for line in energies[1:-1] for v in line.split()[1:])
    assert [line.split()[1] for line in lines(whole)] == [str(k) for k in range(9)]
    assert (whole / "job.summary.txt").read_text().split()[2] == "Reference"


def lines(job: Path) -> list[str]:
    return (job / "job.lines.txt").read_text("utf-16").splitlines()


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


def test_killed_twice(
    in_wepy: InWepy, runs: Runs, files: Path, whole: Path, tmp_path: Path
) -> None:
    """R2, for reporters that can be pickled: killed in cycle 4 and again in cycle 7, every file
    ends with the bytes of the run that was not. One holds its file open, with lines not yet
    written; one remembers all cycles; one opens its file for each."""
    job = tmp_path / "job"
    assert runs("own", job, 9, KILLED_AT="4").returncode == -9
    assert resume(in_wepy, job, KILLED_AT="7").returncode == -9
    done = resume(in_wepy, job)
    assert done.returncode == 0, done.stderr
    for name in EXACT:
        assert (job / f"job.{name}").read_bytes() == (whole / f"job.{name}").read_bytes(), name
        assert not list(job.glob(f"job.from-*.{name}"))
    assert ends(job) == ends(whole)
    # What could not be pickled: nothing is lost, and the cycles say what is there twice.
    warned = [line for line in done.stderr.splitlines() if "is not gone on with" in line]
    assert len(warned) == 1 and "TableReporter" in warned[0]
    assert "cycles from 6 on go into job.from-6.table.csv" in warned[0]
    found = {
        row[0]: row
        for part in ("", "from-3.", "from-6.")
        for row in rows(job / f"job.{part}table.csv")
    }
    assert sorted(found.values()) == rows(whole / "job.table.csv")
    assert [row[0] for row in rows(job / "job.from-6.table.csv")] == ["6", "7", "8"]
    # A checkpoint vouches for its cycles: they were written although the csv.writer buffers.
    assert [row[0] for row in rows(job / "job.table.csv")][:3] == ["0", "1", "2"]


def test_killed_before_the_first_checkpoint(
    in_wepy: InWepy, runs: Runs, whole: Path, tmp_path: Path
) -> None:
    """Then the run begins at its start again, and so do all files, that of the csv.writer too."""
    job = tmp_path / "job"
    assert runs("own", job, 9, KILLED_AT="1").returncode == -9
    assert resume(in_wepy, job).returncode == 0
    for name in (*EXACT, "table.csv"):
        assert (job / f"job.{name}").read_bytes() == (whole / f"job.{name}").read_bytes(), name
    assert not list(job.glob("job.from-*"))


def test_made_longer(in_wepy: InWepy, runs: Runs, whole: Path, tmp_path: Path) -> None:
    """A job that ended, and whose reporters wrote their last lines, goes on as if it had not."""
    longer, job = tmp_path / "longer", tmp_path / "job"
    assert runs("own", longer, 12).returncode == 0
    assert runs("own", job, 9).returncode == 0
    assert resume(in_wepy, job, "--n-cycles=12").returncode == 0
    for name in EXACT:
        assert (job / f"job.{name}").read_bytes() == (longer / f"job.{name}").read_bytes(), name
    assert [row[0] for row in rows(job / "job.from-9.table.csv")] == ["9", "10", "11"]


def test_memories_of_somebody_else(in_wepy: InWepy, runs: Runs, tmp_path: Path) -> None:
    """S9: a reporter's memory in a job folder is loaded only if this user's programs made it. If
    not, the old file stays as it is, and new ones begin."""
    job = tmp_path / "job"
    assert runs("own", job, 9, KILLED_AT="7").returncode == -9
    before = (job / "job.energies.txt").read_bytes()
    kept = job / ".job.energies.txt.kept-6"
    head, _, rest = kept.read_bytes().partition(b"\n")
    facts = json.loads(head)
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "evil").encode() + b"'\ntR."
    size = facts["memory"]["size"]
    facts["memory"] = {"size": len(evil), "sha256": sha256(evil)}
    kept.write_bytes(json.dumps(facts).encode() + b"\n" + evil + rest[size:])
    done = resume(in_wepy, job)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "evil").exists()
    assert "EnergyReporter is not gone on with" in done.stderr
    assert "was not made by you" in done.stderr
    assert (job / "job.energies.txt").read_bytes() == before
    fresh = (job / "job.from-6.energies.txt").read_text().splitlines()
    assert [line.split()[0] for line in fresh] == ["#", "6", "7", "8", "#"]


def test_a_reporter_that_fails_is_named(in_wepy: InWepy, runs: Runs, tmp_path: Path) -> None:
    """By the user's class, and not by what calls it here."""
    done = runs("failing", tmp_path / "job", 3)
    assert done.returncode == 1
    assert "FailingReporter" in done.stderr and "WepyReporter" not in done.stderr
    assert "no such thing" in done.stderr
    done = runs("failing", tmp_path / "end", 3, FAILS_IN="cleanup")
    assert done.returncode == 1
    assert "FailingReporter" in done.stderr and "WepyReporter" not in done.stderr
    assert "it could not close its files: KeyError: 'no such end'" in done.stderr


def resume(
    in_wepy: InWepy, job: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    words = ("-m", "wepystore", "resume", *words, str(job))
    return in_wepy(*words, PYTHONPATH=_with_user_modules(), **environment)


def ends(job: Path) -> set[str]:
    runs = (job / "checkpoint.orch" / "runs").rglob("*.json")
    return {json.loads(path.read_text())["end"]["md5"] for path in runs}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_one_that_a_script_made(in_wepy: InWepy, tmp_path: Path) -> None:
    """A reporter object of wepy's in a configuration of ours, with a file of the script's choosing:
    it writes into the job's folder. Killed, the folder moved and resumed, that file ends with
    the bytes of a run that was not; where the script wanted it, there is none."""
    made = in_wepy(Path(__file__).with_name("report_wepy.py"), tmp_path, "script")
    assert made.returncode == 0, made.stderr
    store = tmp_path / "own.orch"
    assert in_wepy("-m", "wepystore", "trust", "--store", store).returncode == 0
    ends = []
    for name, killed_at in (("whole", ""), ("killed", "5")):
        job = tmp_path / name
        run = in_wepy(
            *("-m", "wepystore", "run", "orch", "--seed=3", "--n-cycles=7", "--checkpoint-freq=2"),
            *("--job-name=job", "--job-dir", job, store, "default", 600, 20),
            KILLED_AT=killed_at,
        )
        said = f"reporter EnergyReporter writes {job}/job.mine.txt, and not {tmp_path}/mine.txt"
        assert said in run.stderr
        if killed_at:
            assert run.returncode == -9, run.stderr
            assert not (job / "job.mine.txt").read_text().endswith("# the end\n")
            job = job.rename(tmp_path / "moved")
            run = in_wepy("-m", "wepystore", "resume", job)
        assert run.returncode == 0, run.stderr
        ends.append((job / "job.mine.txt").read_bytes())
        assert not list(tmp_path.glob("mine*"))
    assert ends[0] == ends[1]
    assert len(ends[0].splitlines()) == 9


def test_converted(in_wepy: InWepy, files: Path, whole: Path, tmp_path: Path) -> None:
    """A converted configuration holds the classes by value: it runs, without their module, to the
    same files. The status is 3, for wepy is still needed; the last line names the reporters."""
    store = tmp_path / "s.orch"
    assert in_wepy("-m", "wepystore", "create", "orch", store).returncode == 0
    hashes = []
    for kind, name in (("snapshot", "start.snap"), ("config", "own.config")):
        added = in_wepy("-m", "wepystore", "add", kind, store, files / f"{name}.dill.pkl")
        assert added.returncode == 0, added.stderr
        hashes.append(added.stdout.strip())
    assert in_wepy("-m", "wepystore", "trust", "--store", store).returncode == 0
    convert = ("-m", "wepystore", "convert", store, hashes[1])
    done = in_wepy(*convert, PYTHONPATH=_with_user_modules())
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "wepy must be installed" in last
    assert "reporters[0]" in last and "wepy.reporter.reporter" in last
    run = in_wepy(
        *("-m", "wepystore", "run", "orch", "--seed=3", "--n-cycles=9", "--job-name=job"),
        *("--job-dir", tmp_path / "job", "--configuration", done.stdout.strip()),
        *(store, hashes[0], 600, 20),
    )
    assert run.returncode == 0, run.stderr
    for name in (*EXACT, "table.csv"):
        assert (tmp_path / "job" / f"job.{name}").read_bytes() == (
            whole / f"job.{name}"
        ).read_bytes()


def test_walkers_of_an_ensemble(in_wepy: InWepy) -> None:
    """Walkers that are made when they are asked for, and gone again, keep their own states; clones
    share one."""
    code = """
import numpy as np
from wepystore.api import Ensemble, Walker, WalkerState
from wepystore.compat.wepy.walkers import TheirWalkers
places = np.arange(50.0).reshape(50, 1, 1)
made = TheirWalkers(False)(Ensemble.adopt(np.full(50, 1 / 50), {"positions": places}))
assert [w.state["positions"].item() for w in made] == list(range(50))
state = WalkerState(positions=[[1.0]])
one, two = TheirWalkers(False)([Walker(state, 0.5), Walker(state, 0.5)])
assert one.state is two.state and type(one).__module__ == "wepy.walker"
"""
    done = in_wepy("-c", code)
    assert done.returncode == 0, done.stderr
