"""`wepy run` as a user meets it: options, signals, and everything one can type wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems import (
    environment,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    plain_configuration,
    program,
)
from tests.test_tutorial import ENDS, contents, make, wepy
from tests.waiting import PATIENCE_S, announcing, mark_in, records_in, until
from wepystore.api import prepare_store


@pytest.fixture(scope="module")
def orch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "lj.orch"
    make("lj_pair", path)
    return path


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wepystore", "run", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )


def fails(status: int, *words: object, cwd: Path | None = None) -> str:
    """The one line that `wepy run` says on stderr."""
    done = program("run", *words, cwd=cwd)
    assert done.returncode == status, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_same_seed_ends_the_same_on_any_number_of_workers(orch: Path, tmp_path: Path) -> None:
    """R1: --seed and --n-cycles fix the end hash, whatever --n-workers is."""
    ends = set()
    for n in (1, 2, 3):
        ends.add(
            wepy(
                *("run", "orch", "--seed=7", "--n-cycles=12", f"--n-workers={n}"),
                *(f"--job-dir={tmp_path / str(n)}", orch, "default", 100, 200),
            )
        )
    assert len(ends) == 1


def test_a_run_without_seed_draws_one(orch: Path, tmp_path: Path) -> None:
    """Two runs of one start differ, and each says with which seed it can be repeated."""
    ends = []
    for n in range(2):
        words = ("--n-cycles=2", f"--job-dir={tmp_path / str(n)}", orch, "default", 9, 100)
        out = wepy("run", "orch", *words)
        record = one_record(tmp_path / str(n))
        again = wepy(
            *("run", "orch", f"--seed={record['seed']}", f"--job-dir={tmp_path / f'{n}b'}"),
            *("--n-cycles=2", orch, "default", 9, 100),
        )
        assert again == out
        ends.append(out)
    assert ends[0] != ends[1]


def one_record(job: Path) -> dict:
    (file,) = (job / "checkpoint.orch" / "runs").glob("*/*.json")
    return json.loads(file.read_text())


def test_every_option_arrives(orch: Path, tmp_path: Path) -> None:
    """Job name, narration, seed, cycles, workers and platform are in the files or the record."""
    job = tmp_path / "deep" / "er" / "job"
    wepy(
        *("run", "orch", f"--job-dir={job}", "--job-name=mine", "--narration=a note"),
        *("--n-workers=2", "--platform=CPU", "--checkpoint-freq=2", "--seed=3", "--n-cycles=5"),
        *(orch, "default", 100, 20),
    )
    assert (job / "mine.wepy.h5").exists()
    record = one_record(job)
    assert record["seed"] == 3
    assert record["n_cycles"] == 5
    assert record["n_steps"] == 20
    assert record["environment"]["platform"] == "CPU"
    assert record["execution"]["narration"] == "a note"
    assert record["execution"]["n_workers"] == 2
    assert record["reproducible"] is True
    assert len(wepy("ls", "configs", job / "checkpoint.orch").split()) == 1


def test_a_cpu_run_on_many_threads_says_it_is_not_reproducible(tmp_path: Path) -> None:
    """R1: where the platform cannot, the record says so."""
    from wepystore.api import Configuration, SerialMapper, load_snapshot, prepare_store

    make("lj_pair", tmp_path / "lj.orch")
    from wepystore.api import Store

    store = Store.open(tmp_path / "lj.orch")
    snapshot = load_snapshot(store, store.ref("default-snapshot") or "")
    threads = Configuration(SerialMapper(), platform="CPU", platform_properties={"Threads": "2"})
    prepare_store(tmp_path / "t.orch", snapshot, threads)
    wepy(
        *("run", "orch", "--n-cycles=1", f"--job-dir={tmp_path / 'job'}"),
        *(tmp_path / "t.orch", "default", 10, 10),
    )
    assert one_record(tmp_path / "job")["reproducible"] is False


def test_the_job_dir_is_the_start_hash_by_default(orch: Path, tmp_path: Path) -> None:
    """Without --job-dir the folder is named by the start hash, in the current directory."""
    out = wepy("run", "orch", "--n-cycles=1", orch, "default", 10, 10, cwd=tmp_path)
    match = ENDS.fullmatch(out)
    assert match is not None
    assert [entry.name for entry in tmp_path.iterdir()] == [match[1]]
    assert (tmp_path / match[1] / f"{match[1]}.wepy.h5").exists()


@pytest.mark.waits
def test_seconds_are_a_budget_that_is_kept(orch: Path, tmp_path: Path) -> None:
    """It ends a run by itself, in an ordinary way; one cycle is always run. (By what estimate:
    tests/orchestrator/run/test_budget.py, without a clock.)"""
    wepy("run", "orch", f"--job-dir={tmp_path / 'a'}", orch, "default", 2, 20000)
    assert one_record(tmp_path / "a")["execution"]["stopped_by"] is None
    wepy("run", "orch", f"--job-dir={tmp_path / 'b'}", orch, "default", 1e-6, 10)
    assert one_record(tmp_path / "b")["n_cycles"] == 1


@pytest.mark.waits
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_cycle(
    orch: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM: final checkpoint, exit 75, and the way to go on, which works."""
    job = tmp_path / "job"
    options = ("--n-workers=2", "--checkpoint-freq=1", f"--job-dir={job}")
    run = start("orch", *options, orch, "default", 600, 2000)
    until(lambda: records_in(job), run)
    run.send_signal(number)
    out, error = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 75, error
    match = ENDS.fullmatch(out)
    assert match is not None
    assert f"{number.name}: finishing this cycle" in error
    assert one_record(job)["execution"]["stopped_by"] == number.name
    command = re.search(r"To go on: wepy (resume .*)", error)
    assert command is not None
    n_cycles = one_record(job)["n_cycles"]
    assert match[1] in wepy(*command[1].split(), f"--n-cycles={n_cycles + 1}")
    # The end that was printed stays beside it.
    files = (job / "checkpoint.orch" / "runs").glob("*/*.json")
    found = sorted(json.loads(file.read_text())["n_cycles"] for file in files)
    assert found == [n_cycles, n_cycles + 1]


@pytest.mark.waits
def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path: Path) -> None:
    """Even in the middle of a segment of minutes, which it does not wait for."""
    snapshot = pair_snapshot(6, pair_apparatus(runner=announcing(pair_runner())))
    store = prepare_store(tmp_path / "x.orch", snapshot, plain_configuration()).store.path
    mark, variables = mark_in(tmp_path)
    # The walkers' 10^9 steps would take half an hour.
    words = ("orch", "--grace=3600", f"--job-dir={tmp_path / 'job'}", store, "default", 600, 10**9)
    run = start(*words, **variables)
    until(mark.exists, run)
    run.send_signal(signal.SIGINT)
    assert run.stderr is not None
    said = iter(run.stderr.readline, "")
    assert any("SIGINT: finishing this cycle" in line for line in said), "it was not heard"
    assert run.poll() is None, "the first Ctrl-C must not end it"
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE_S)
    assert run.returncode == -signal.SIGINT


def test_a_job_folder_with_a_run_is_refused_and_left_alone(orch: Path, tmp_path: Path) -> None:
    """Byte for byte, mtime for mtime."""
    job = tmp_path / "job"
    wepy("run", "orch", "--n-cycles=2", f"--job-dir={job}", orch, "default", 10, 10)
    before = contents(job)
    error = fails(1, "orch", f"--job-dir={job}", orch, "default", 10, 10)
    assert str(job) in error
    assert "already holds a run" in error
    assert contents(job) == before


def test_an_empty_or_foreign_folder_may_become_a_job_folder(orch: Path, tmp_path: Path) -> None:
    """Schedulers put their logs there first."""
    (tmp_path / "slurm-1.out").write_text("hello")
    wepy("run", "orch", "--n-cycles=1", f"--job-dir={tmp_path}", orch, "default", 10, 10)
    assert (tmp_path / "checkpoint.orch").is_dir()
    assert (tmp_path / "slurm-1.out").read_text() == "hello"


@pytest.mark.parametrize(
    ("text", "what"),
    [("0", "SECONDS"), ("-1", "SECONDS"), ("nan", "SECONDS"), ("ten", "SECONDS"), ("", "SECONDS")],
)
def test_seconds_must_be_a_positive_number(
    orch: Path, tmp_path: Path, text: str, what: str
) -> None:
    """Exit 2, naming SECONDS and what was typed; no folder."""
    error = fails(2, "orch", f"--job-dir={tmp_path / 'j'}", orch, "default", "--", text, "10")
    assert what in error
    assert repr(text) in error or text in error
    assert not (tmp_path / "j").exists()


def test_negative_numbers_are_numbers_not_options(orch: Path, tmp_path: Path) -> None:
    """As argparse has it: -1 in SECONDS' place is a wrong SECONDS, not an unknown option."""
    for words, what in (((-1, 10), "SECONDS"), ((10, -1), "STEPS")):
        assert what in fails(2, "orch", orch, "default", *words, cwd=tmp_path)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "ten", "1.5", "1e3", ""])
def test_steps_must_be_a_positive_whole_number(orch: Path, tmp_path: Path, text: str) -> None:
    """Exit 2, naming STEPS and what was typed; no folder."""
    error = fails(2, "orch", f"--job-dir={tmp_path / 'j'}", orch, "default", "--", "10", text)
    assert "STEPS" in error
    assert not (tmp_path / "j").exists()


@pytest.mark.parametrize(
    "option",
    ["--n-workers=0", "--n-cycles=-3", "--checkpoint-freq=x", "--seed=-1", "--seed=1.5"],
)
def test_options_with_numbers_name_themselves(orch: Path, tmp_path: Path, option: str) -> None:
    """Exit 2 and the option's name."""
    error = fails(2, "orch", option, f"--job-dir={tmp_path / 'j'}", orch, "default", 10, 10)
    assert option.partition("=")[0] in error
    assert not (tmp_path / "j").exists()


@pytest.mark.parametrize(
    ("start_text", "status", "says"),
    [
        ("0123456789abcdef0123456789abcdef", 1, "0123456789abcdef0123456789abcdef"),
        ("zzz", 1, "zzz"),
        ("ab", 1, "ab"),
    ],
)
def test_a_wrong_hash_leaves_no_folder_behind(
    orch: Path, tmp_path: Path, start_text: str, status: int, says: str
) -> None:
    """Unknown and malformed hashes: one line, and nothing is made."""
    error = fails(status, "orch", orch, start_text, 10, 10, cwd=tmp_path)
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_config_as_start_is_named_as_what_it_is(orch: Path, tmp_path: Path) -> None:
    """START that is a configuration."""
    config = wepy("ls", "configs", orch).strip()
    error = fails(1, "orch", orch, config, 10, 10, cwd=tmp_path)
    assert "configuration" in error
    assert "snapshot" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_such_store_and_not_a_store(tmp_path: Path) -> None:
    """Both are named, and told apart."""
    assert "no store at" in fails(1, "orch", tmp_path / "none.orch", "default", 1, 1)
    (tmp_path / "dir").mkdir()
    assert "not a store" in fails(1, "orch", tmp_path / "dir", "default", 1, 1)


def test_files_that_are_truncated_empty_foreign_or_swapped(orch: Path, tmp_path: Path) -> None:
    """run snapshot: each bad file is named with what is wrong, and no folder is left."""
    good, config = tmp_path / "s", tmp_path / "c"
    wepy("get", "snapshot", f"--output={good}", orch, "default")
    wepy("get", "config", f"--output={config}", orch, "default")
    data = good.read_bytes()
    cases = {
        "truncated": (data[:-100], "truncated"),
        "empty": (b"", "empty"),
        "foreign": (b"\x80\x04N.", "pickle"),
        "text": (b"hello", "not a file of"),
    }
    for name, (content, says) in cases.items():
        bad = tmp_path / name
        bad.write_bytes(content)
        error = fails(1, "snapshot", bad, config, 10, 10, "--job-dir", tmp_path / "job")
        assert says in error
        assert str(bad) in error
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    (tmp_path / "flipped").write_bytes(flipped)
    error = fails(
        3, "snapshot", tmp_path / "flipped", config, 10, 10, "--job-dir", tmp_path / "job"
    )
    assert "damaged" in error
    error = fails(1, "snapshot", config, good, 10, 10, "--job-dir", tmp_path / "job")
    assert "configuration" in error
    error = fails(1, "snapshot", tmp_path / "none", config, 10, 10, "--job-dir", tmp_path / "job")
    assert "none" in error
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["orch", "x", "default", "10"], ""),
        (["orch", "x", "default", "10", "10", "10"], ""),
        (["orchs", "x", "default", "10", "10"], "orch"),
        (["orch", "--job-dri=x", "x", "default", "10", "10"], "--job-dir"),
        (["orch", "--seed"], "--seed"),
        (["orch", "--seed=" + "9" * 5000, "x", "default", "10", "10"], "--seed must be"),
        ([], ""),
    ],
)
def test_wrong_usage_exits_with_2(words: list[str], says: str, tmp_path: Path) -> None:
    """And says which word, or suggests the nearest."""
    error = fails(2, *words, cwd=tmp_path)
    assert says in error
    assert error.strip()
    assert list(tmp_path.iterdir()) == []


def test_a_platform_that_is_not_there(orch: Path, tmp_path: Path) -> None:
    """Named with those that are; no folder."""
    error = fails(1, "orch", "--platform=Abacus", orch, "default", 10, 10, cwd=tmp_path)
    assert "Abacus" in error
    assert "Reference" in error
    assert list(tmp_path.iterdir()) == []


def test_a_job_dir_that_cannot_be_written(orch: Path, tmp_path: Path) -> None:
    """Below a file, and (unless we are root) in a read-only directory."""
    (tmp_path / "file").write_text("")
    error = fails(1, "orch", f"--job-dir={tmp_path / 'file' / 'job'}", orch, "default", 10, 10)
    assert str(tmp_path / "file" / "job") in error
    assert error.count("\n") == 1
    # A file system that nobody can write, root included.
    error = fails(1, "orch", "--job-dir=/proc/job", orch, "default", 10, 10)
    assert "/proc/job" in error


@pytest.mark.parametrize("name", ["a/b", "..", "", "tab\t"])
def test_job_names_that_are_no_names(orch: Path, tmp_path: Path, name: str) -> None:
    """S10: a job name is checked before it becomes a path."""
    error = fails(2, "orch", f"--job-name={name}", orch, "default", 10, 10, cwd=tmp_path)
    assert "job's name" in error
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_scheduler(orch: Path, tmp_path: Path) -> None:
    """Neither an address nor a file: one line, at once, and no job folder."""
    for scheduler in ("nonsense", str(tmp_path / "none.json")):
        words = (f"--scheduler={scheduler}", f"--job-dir={tmp_path / 'job'}", orch, "default", 9, 1)
        assert f"the dask scheduler {scheduler} cannot be reached" in fails(1, "orch", *words)
        assert not (tmp_path / "job").exists()


def test_an_empty_job_dir_is_refused(orch: Path, tmp_path: Path) -> None:
    """Most often a variable that is not set: nothing is made in the directory one is in."""
    assert "--job-dir is empty" in fails(2, "orch", "--job-dir=", orch, "default", 9, 1)
