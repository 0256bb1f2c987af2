"""`wepy resume` as a user meets it."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hazard.killing import ENDS, hdf5_contents, same_in_the_end
from tests.systems import (
    environment,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    plain_configuration,
    program,
)
from tests.waiting import PATIENCE_S, announcing, mark_in, records_in, until
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    NoResampler,
    ProcessMapper,
    Runner,
    Snapshot,
    Store,
    Walker,
    WalkerReporter,
    WalkerState,
    prepare_store,
)
from wepystore.cli.running import _moment, until_of


class Result(NamedTuple):
    status: int
    out: str
    err: str


def wepy(*words: object, **variables: str) -> Result:
    done = program(*words, **variables)
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wepystore", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def orch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reporters = [
        HDF5Reporter(),
        DashboardReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
        FamilyTreeReporter(),
    ]
    path = tmp_path_factory.mktemp("resume") / "x.orch"
    prepare_store(path, pair_snapshot(), plain_configuration(None, reporters))
    return path


def run_words(orch: Path, job: Path, n_cycles: int, *options: object, n_steps: int = 40) -> list:
    return [
        *("run", "orch", f"--job-dir={job}", "--job-name=job", "--seed=2"),
        *(f"--n-cycles={n_cycles}", *options, orch, "default", 1000, n_steps),
    ]


@pytest.fixture(scope="module")
def whole(orch: Path) -> tuple[Path, str]:
    """A run of 12 cycles in one go, and what it says on stdout."""
    job = orch.parent / "whole"
    result = wepy(*run_words(orch, job, 12))
    assert result.status == 0, result.err
    return job, result.out


def records(job: Path) -> list[dict]:
    files = (job / "checkpoint.orch" / "runs").glob("*/*.json")
    return sorted((json.loads(file.read_text()) for file in files), key=lambda r: r["n_cycles"])


def test_more_cycles_are_the_same_run(orch: Path, whole: tuple[Path, str], tmp_path: Path) -> None:
    """5 cycles, then 12 by --n-cycles, on two workers: the end, the HDF5 and the tree of 12 at
    once. The shorter run's record, which was complete, stays beside it."""
    job = tmp_path / "job"
    short = wepy(*run_words(orch, job, 5, "--checkpoint-freq=2"))
    result = wepy("resume", job, "--n-cycles=12", "--n-workers=2")
    assert (result.status, result.out) == (0, whole[1]), result.err
    assert "going on after 5 cycles" in result.err
    assert hdf5_contents(job / "job.wepy.h5") == hdf5_contents(whole[0] / "job.wepy.h5")
    for name in ("job.restree.gexf", "job.walkers.dcd"):
        assert (job / name).read_bytes() == (whole[0] / name).read_bytes()
    assert [record["n_cycles"] for record in records(job)] == [5, 12]
    assert records(job)[0]["end"]["md5"] in short.out
    told = records(job)[1]["execution"]
    assert [each["n_cycles"] for each in told["resumed_from"]] == [5]
    assert told["resumed_from"][0]["differs"] == []
    assert [n for n, _ in told["checkpoints"]] == [2, 4, 5, 6, 8, 10, 12]
    assert told["wall_s"] == told["checkpoints"][-1][1] > told["checkpoints"][2][1]


def test_a_complete_job_is_left_as_it_is(whole: tuple[Path, str]) -> None:
    """Exit 0, the same last line, what to give to go on; no file is touched."""
    job, out = whole
    before = {p: p.stat().st_mtime_ns for p in job.rglob("*") if p.is_file()}
    for options in ((), ("--n-cycles=12",)):
        result = wepy("resume", job, *options)
        assert (result.status, result.out) == (0, out)
        assert "all it was asked for" in result.err and "--n-cycles" in result.err
    assert {p: p.stat().st_mtime_ns for p in job.rglob("*") if p.is_file()} == before
    fewer = wepy("resume", job, "--n-cycles=3")
    assert fewer.status == 2 and "has done 12 already" in fewer.err and fewer.out == ""


def test_seconds_extend_a_complete_job(orch: Path, tmp_path: Path) -> None:
    """SECONDS on top of a job that has all its cycles: it is the time that counts."""
    job = tmp_path / "job"
    wepy(*run_words(orch, job, 2))
    result = wepy("resume", job, 1)
    assert result.status == 0, result.err
    assert records(job)[-1]["n_cycles"] > 2
    assert json.loads((job / "job.json").read_text())["n_cycles"] is None


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_warned_run_goes_on(
    orch: Path, whole: tuple[Path, str], tmp_path: Path, number: signal.Signals
) -> None:
    """SLURM's signals: exit 75 after a checkpoint, with the command that goes on; then the end of
    a run that was never warned, and the same store, but that the end of the signal is kept."""
    job = tmp_path / "job"
    process = start(*run_words(orch, job, 10**6, "--checkpoint-freq=2"))
    until(lambda: records_in(job), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, err
    assert ENDS.fullmatch(out)
    assert f"To go on: wepy resume {job}" in err
    (record,) = records(job)
    assert record["execution"]["stopped_by"] == number.name
    done = record["n_cycles"]
    again = wepy("resume", job, f"--n-cycles={done + 3}")
    assert again.status == 0, again.err
    straight = tmp_path / "straight"
    assert wepy(*run_words(orch, straight, done + 3)).out == again.out
    same_in_the_end(job, straight, n_told=1)


@pytest.mark.waits
def test_a_cycle_without_time_is_dropped(orch: Path, tmp_path: Path) -> None:
    """A first cycle of half an hour and --grace 2: exit 75 without it, on one worker and on two; no
    worker is left; the folder can be resumed from its start, to the end of an undisturbed run."""
    snapshot = pair_snapshot(6, pair_apparatus(runner=announcing(pair_runner())))
    orch = prepare_store(tmp_path / "x.orch", snapshot, plain_configuration()).store.path
    jobs = {n: tmp_path / f"job{n}" for n in (1, 2)}
    running = {}
    for n, job in jobs.items():
        words = run_words(orch, job, 1, "--grace=2", f"--n-workers={n}", n_steps=10**9)
        (tmp_path / str(n)).mkdir()
        mark, variables = mark_in(tmp_path / str(n))
        running[job] = start(*words, **variables), mark
    for process, mark in running.values():
        until(mark.exists, process)
        process.send_signal(signal.SIGTERM)
    for job, (process, _) in running.items():
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (75, ""), err
        assert "before the first cycle" in err and f"wepy resume {job}" in err
        assert records(job) == []
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    end = time.time() + 5.5
    for process in [start("resume", job, "--until", end) for job in jobs.values()]:
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 75 and "the time is up" in err, err


class Slow(Runner):
    """Adds one; from the fourth cycle on it takes for ever, and a file shows that it is there."""

    def run_segment(self, walker: object, segment_length: int, **kwargs: int) -> object:
        if kwargs["cycle_idx"] >= 3:
            Path(os.environ["FOURTH"]).touch()
            while True:
                time.sleep(0.01)
        return Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight)


@pytest.mark.waits
def test_until_drops_a_cycle_that_turns_out_too_long(tmp_path: Path) -> None:
    """Quick cycles, then one without end: --until is kept, the quick ones are, and stopped_by says
    why; for workers as for one process."""
    apparatus = pair_apparatus(runner=Slow(), boundary_conditions=None, resampler=NoResampler())
    walkers = [Walker(WalkerState(x=[float(k)]), 0.5) for k in range(2)]
    left = {
        name: prepare_store(
            tmp_path / f"{name}.orch", Snapshot(walkers, apparatus), plain_configuration(mapper)
        ).store.path
        for name, mapper in (("serial", None), ("workers", ProcessMapper(2)))
    }
    # A machine that has not come to the fourth cycle by then is given more time.
    for seconds in (8, 16, 32, 64, 128):
        running = {}
        for name, store in left.items():
            fourth, end = tmp_path / f"{name}-fourth", int(time.time()) + seconds
            words = ("--job-dir", tmp_path / f"{name}-{seconds}", store, "default", 1000, 1)
            variables = {"SLURM_JOB_END_TIME": str(end), "FOURTH": str(fourth)}
            running[name] = start("run", "orch", *words, **variables)
        for name, process in running.items():
            _, err = process.communicate(timeout=PATIENCE_S)
            if not (tmp_path / f"{name}-fourth").exists():
                continue
            del left[name]
            assert process.returncode == 75, err
            (record,) = records(tmp_path / f"{name}-{seconds}")
            assert record["n_cycles"] == 3
            assert record["execution"]["stopped_by"] == "until"
            assert record["execution"]["complete"] is False
    assert not left


@pytest.mark.waits
def test_who_holds_the_job_is_named(orch: Path, tmp_path: Path) -> None:
    """A second run or resume of a live job: exit 1, one line with the process; nothing of the
    job is touched. Killed, the job is free at once."""
    job = tmp_path / "job"
    process = start(*run_words(orch, job, 10**6))
    try:
        until((job / "job.json").exists, process)
        for words in (["resume", job], run_words(orch, job, 3)):
            result = wepy(*words)
            assert result.status == 1 and result.out == ""
            assert f"process {process.pid} on {os.uname().nodename}" in result.err
            assert result.err.count("\n") == 1
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert wepy("resume", job, 0.5).status == 0


def test_what_is_no_job(orch: Path, tmp_path: Path) -> None:
    """Exit 1 (3 for a damaged job.json), one line that says what is wrong, and no file made."""
    (tmp_path / "empty").mkdir()
    job = tmp_path / "job"
    wepy(*run_words(orch, job, 1))
    cases = {
        tmp_path / "none": "nothing of that name",
        tmp_path / "empty": "no job.json",
        job / "job.wepy.h5": "no folder",
        job / "checkpoint.orch": f"'wepy resume {job}'",
    }
    for path, says in cases.items():
        result = wepy("resume", path)
        assert (result.status, result.out) == (1, "") and says in result.err, result.err
        assert result.err.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == []
    bare = '{"format": 1, "type": "job"}'
    for status, text in ((3, ""), (3, bare), (1, bare.replace("1", "9"))):
        (job / "job.json").write_text(text)
        result = wepy("resume", job)
        assert result.status == status and "job.json" in result.err, result.err
        assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x", "0"], "SECONDS"),
        ([""], "JOB_DIR is empty"),
        (["x", "--n-cycles=0"], "--n-cycles"),
        (["x", "--grace=-1"], "--grace"),
        (["x", "--grace=soon"], "--grace"),
        (["x", "--until=soon"], "--until"),
        (["x", "--until=25:00"], "--until"),
        (["x", "--until=2020-01-31T18:00"], "time has passed"),
        (["x", "--seed=1"], "--seed"),
        ([], ""),
    ],
)
def test_wrong_usage(words: list[str], says: str, tmp_path: Path) -> None:
    """Exit 2, naming the word."""
    result = wepy("resume", *words)
    assert result.status == 2 and says in result.err and result.out == ""


def test_times_that_until_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """ISO local and UTC time, a time of day (tomorrow's if it is over), seconds since 1970; the
    environment's only without the option, and never an error."""
    now = time.time()
    assert until_of("2030-01-01T00:00:00Z") == 1893456000.0
    assert until_of("2030-01-01T01:00+01:00") == 1893456000.0
    local = time.mktime((2030, 1, 1, 0, 0, 0, 0, 0, -1))
    assert until_of("2030-01-01 00:00") == until_of("2030-01-01") == local
    assert until_of("1893456000") == 1893456000.0
    for text in ("00:00", "23:59:59", "12:30"):
        assert 0 < (until_of(text) or 0) - now <= 90000
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    # The clocks go back meanwhile: it is 24 and a half hours until then.
    assert _moment("12:00", datetime.datetime(2036, 10, 25, 12, 30)) == 2108631600.0
    assert until_of("2036-10-26T02:30+02:00") == until_of("2036-10-26T00:30Z") == 2108593800.0
    monkeypatch.undo()
    time.tzset()
    default = "$SLURM_JOB_END_TIME"
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert until_of(default) is None
    for text, expected in (("1893456000", 1893456000.0), ("NONE", None), ("0", None), ("", None)):
        monkeypatch.setenv("SLURM_JOB_END_TIME", text)
        assert until_of(default) == expected
        assert until_of("1893456001") == 1893456001.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2020-01-31T18:00", "passed"),
        ("1580493600", "passed"),
        ("just now", "passed"),
        ("soon", "must be a time"),
        ("2036-10-26T02:30", "twice"),
        ("2036-03-30T02:30", "never"),
        ("", "must be a time"),
    ],
)
def test_a_limit_that_is_no_moment_to_come_makes_nothing(
    orch: Path, tmp_path: Path, text: str, says: str
) -> None:
    """Past, malformed, or a local time that the clocks leave open: exit 2 with one line, for run
    and resume; no folder is made, and a job that is there stays as it is."""
    job = tmp_path / "job"
    until = "--until=" + (str(time.time() - 1) if text == "just now" else text)
    result = wepy(*run_words(orch, job, 3, until), TZ="Europe/Berlin")
    assert (result.status, result.out) == (2, "") and not job.exists(), result.err
    first, *more = result.err.splitlines()
    assert says in first and until.partition("=")[2] in first
    assert not more
    job.mkdir()
    again = wepy("resume", until, job, TZ="Europe/Berlin")
    assert (again.status, again.out) == (2, "") and not list(job.iterdir())
    # But for the present moment, which the message names.
    assert again.err.partition("it is")[0] == result.err.partition("it is")[0]


def test_a_schedulers_limit_that_is_over_can_be_resumed(
    orch: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    """$SLURM_JOB_END_TIME past, or too near for a checkpoint, is no slip of the user's: exit 75
    before the first cycle, and the next job of the chain begins it."""
    for name, end in (("past", time.time() - 60), ("near", time.time() + 2)):
        job = tmp_path / name
        result = wepy(*run_words(orch, job, 12), SLURM_JOB_END_TIME=str(int(end)))
        assert (result.status, result.out) == (75, ""), result.err
        assert "before the first cycle" in result.err and (job / "job.json").exists()
        assert wepy("resume", job)[:2] == (0, whole[1])


def test_a_run_without_its_last_checkpoint_goes_on_from_the_one_before(
    orch: Path, tmp_path: Path
) -> None:
    """A damaged object costs the cycles since the checkpoint before, not the result; and the
    user is told which file cost them."""
    job = tmp_path / "job"
    process = start(*run_words(orch, job, 10**6, "--checkpoint-freq=1"))
    until(lambda: len(records_in(job)) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    first, last = records(job)
    store = Store.open(job / "checkpoint.orch")
    refs = dict.fromkeys(r for _, r in store.references("snapshots", last["end"]["md5"]))
    shared = {r for _, r in store.references("snapshots", first["end"]["md5"])}
    victim = next(ref for ref in refs if ref not in shared)
    store.file("objects", victim.md5).write_bytes(bytes(victim.size))
    result = wepy("resume", job, f"--n-cycles={last['n_cycles'] + 2}")
    assert result.status == 0, result.err
    assert f"after {last['n_cycles']} cycles is passed over: " in result.err
    assert victim.md5 in result.err
    straight = wepy(*run_words(orch, tmp_path / "straight", last["n_cycles"] + 2))
    assert straight.out == result.out
