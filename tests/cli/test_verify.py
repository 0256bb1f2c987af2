"""`wepy verify` as a user meets it: one line, an exit status, and reasons on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT, Wepy
from tests.orchestrator.run.test_environment import needs_fma
from tests.systems import (
    REPOSITORY,
    pair_snapshot,
    plain_configuration,
    program,
    run_job,
    save_run,
)
from tests.test_tutorial import make
from tests.waiting import PATIENCE_S, until
from wepystore.api import Configuration, SerialMapper, Store, load_run, prepare_store

WEPY1 = REPOSITORY / "fixtures" / "wepy1" / "first_job.checkpoint.orch.sqlite"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """Four cycles of the pair on two workers: the job's store, and the record's hash."""
    folder = tmp_path_factory.mktemp("verify")
    made = prepare_store(folder / "pair.orch", pair_snapshot(), plain_configuration())
    run_job(made.store, made.snapshot_hash, folder / "job", n_cycles=4, n_workers=2)
    store = Store.open(folder / "job" / "checkpoint.orch")
    return store, store.hashes("runs")[0]


def copied(recorded: tuple[Store, str], path: Path, **changes: object) -> Store:
    """A copy of the store, whose record says something else."""
    store, run = recorded
    shutil.copytree(store.path, path)
    copy = Store.open(path)
    if changes:
        copy.remove("runs", run)
        save_run(copy, dataclasses.replace(load_run(store, run), **changes))  # type: ignore[arg-type]
    return copy


def test_another_process_reproduces_it(recorded: tuple[Store, str]) -> None:
    """Run on two workers, verified serially elsewhere: one line on stdout, exit 0."""
    store, _ = recorded
    pair = program("ls", "runs", store.path).stdout.strip()
    done = program("verify", "--n-workers=1", store.path, pair)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{pair} reproduced\n"
    assert "should not" not in done.stderr and "differs" not in done.stderr


def test_every_way_to_name_a_run(
    recorded: tuple[Store, str], wepy: Wepy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ls runs` prints it, as two words, by prefixes, by the end alone, by the record's hash,
    and with the store found from the environment."""
    store, run = recorded
    record = load_run(store, run)
    start, end = record.start.md5, record.end.md5
    ways = [
        [store.path, f"{start},{end}"],
        [store.path, f"{start}, {end}"],
        [store.path, start, end],
        [store.path, f"{start},", end],
        [store.path, f"{start[:8]},{end[:8]}"],
        [store.path, end[:10]],
        [store.path, run],
        [store.path, "default,default"] if start == end else [store.path, "default"],
    ]
    for way in ways:
        found = wepy("verify", *way)
        assert (found.status, found.out) == (0, f"{start}, {end} reproduced\n"), (way, found.err)
    monkeypatch.setenv("WEPY_ORCH", str(store.path))
    for way in ([f"{start},{end}"], [start, end], [f"{start},", end], [end], [run]):
        found = wepy("verify", *way)
        assert (found.status, found.out) == (0, f"{start}, {end} reproduced\n"), (way, found.err)


def test_runs_that_are_not_there(recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path) -> None:
    """A snapshot that no run ends in, a pair without a run, a word that is nothing, a store that
    is none: exit 1, with what to do, and no traceback."""
    store, run = recorded
    record = load_run(store, run)
    for words, said in [
        ([store.path, record.start.md5], "wepy ls runs"),
        ([store.path, record.end.md5, record.start.md5], "wepy ls runs"),
        ([store.path, "nonsense"], "nonsense"),
        ([tmp_path / "no.orch", run], "no.orch"),
        (["no.orch", run], "no.orch"),
    ]:
        found = wepy("verify", *words)
        assert found.status == 1 and found.out == "", words
        assert said in found.err and found.err.count("\n") == 1


def test_an_end_with_several_starts_must_be_named(
    recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path
) -> None:
    """The end alone is ambiguous when two starts lead to it: exit 1, and how to say which."""
    store = copied(recorded, tmp_path / "c.orch")
    record = load_run(store, store.hashes("runs")[0])
    save_run(store, dataclasses.replace(record, start=record.end))
    found = wepy("verify", store.path, record.end.md5)
    assert found.status == 1 and "wepy verify" in found.err and "2 starts" in found.err


def test_what_is_typed_wrong_is_named(recorded: tuple[Store, str], wepy: Wepy) -> None:
    """Usage errors: exit 2, before anything is run."""
    store, run = recorded
    for words in (
        ["verify", store.path, run, "--n-workers=0"],
        ["verify", store.path, run, "--n-workers=two"],
        ["verify", store.path, run, "--seed=1"],
        ["verify"],
        ["verify", store.path, run, run, run],
    ):
        found = wepy(words[0], *words[1:])
        assert found.status == 2 and found.out == "", words
        assert "wepy: error" in found.err


def test_a_forged_record_should_not_happen(
    recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path
) -> None:
    """Reproducible, the same environment, another end: exit 1, and that it should not happen."""
    store = copied(recorded, tmp_path / "c.orch", seed=2)
    record = load_run(store, store.hashes("runs")[0])
    found = wepy("verify", store.path, record.end.md5)
    assert found.status == 1
    assert found.out == f"{record.start.md5}, {record.end.md5} not reproduced\n"
    assert "should not happen" in found.err and "differs" not in found.err
    assert "Positions: largest deviation" in found.err and " nm\n" in found.err
    assert "Walkers: 6, 0 of them" in found.err


def test_another_openmm_is_named(recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path) -> None:
    """Another end in another environment: the field is named, with then and now."""
    environment = {**load_run(*recorded).environment, "openmm": "7.7.0"}
    store = copied(recorded, tmp_path / "c.orch", seed=2, environment=environment)
    found = wepy("verify", store.path, load_run(store, store.hashes("runs")[0]).end.md5)
    assert found.status == 1
    assert "  openmm: 7.7.0 -> " in found.err and "should not" not in found.err


@needs_fma
def test_a_really_different_environment_is_told_by_its_name(tmp_path: Path) -> None:
    """Nothing forged: the C library's code for processors without FMA rounds some logarithms
    otherwise, a few of 800,000 steps with it, and the verdict names libm and the last bits."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(10), plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "j", seed=7, n_cycles=20, n_steps=4000)
    path = tmp_path / "j" / "checkpoint.orch"
    store = Store.open(path)
    (run,) = store.hashes("runs")
    assert program("verify", path, run).returncode == 0
    done = program("verify", path, run, GLIBC_TUNABLES="glibc.cpu.hwcaps=-FMA,-AVX2,-FMA4")
    assert "The environment differs" in done.stderr and "  libm: " in done.stderr
    if done.returncode == 0 and platform.libc_ver()[1] != "2.36":
        # Another release may round these very logarithms alike; then that is what it says.
        assert "made no difference" in done.stderr
        return
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith(" not reproduced\n")
    assert "Positions: largest deviation" in done.stderr


@pytest.mark.slow
def test_ions_in_water_are_reproduced_by_other_workers(tmp_path: Path) -> None:
    """A real system on the CPU platform: 1,500 atoms with PME and constraints, run on two workers,
    resumed on one, verified serially in another process."""
    make("nacl", tmp_path / "nacl.orch")
    begin = ["run", "orch", f"--job-dir={tmp_path / 'job'}", "--seed=1", "--n-cycles=2"]
    for words in (
        [*begin, "--n-workers=2", tmp_path / "nacl.orch", "default", 10000, 50],
        ["resume", "--n-workers=1", "--n-cycles=3", tmp_path / "job"],
    ):
        done = program(*words)
        assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    run = max(store.hashes("runs"), key=lambda md5: load_run(store, md5).n_cycles)
    done = program("verify", "--n-workers=1", store.path, run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" reproduced\n") and " interrupted, and resumed" in done.stderr


def test_two_threads_are_said_to_be_not_reproducible(wepy: Wepy, tmp_path: Path) -> None:
    """The record of a CPU run on two threads promises nothing: said, with why, and the exit
    status still tells whether the bits are the same."""
    threads = Configuration(SerialMapper(), platform="CPU", platform_properties={"Threads": "2"})
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), threads)
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=1)
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    found = wepy("verify", store.path, record.end.md5)
    assert "it is not reproducible: platform CPU with DeterministicForces=true" in found.err
    assert "Threads=2" in found.err
    same = found.out.endswith(" reproduced\n") and "not reproduced" not in found.out
    assert found.status == (0 if same else 1)
    # Another end, whichever way the two threads went this time.
    forged = store.path.parent / "forged.orch"
    shutil.copytree(store.path, forged)
    other = Store.open(forged)
    other.remove("runs", store.hashes("runs")[0])
    save_run(other, dataclasses.replace(record, seed=9))
    found = wepy("verify", forged, record.end.md5)
    assert found.status == 1 and "should not happen" not in found.err
    assert "Positions: largest deviation" in found.err and "Weights: the same" in found.err


def test_another_platform_on_request(recorded: tuple[Store, str], wepy: Wepy) -> None:
    """--platform repeats elsewhere, and says that equal bits cannot be expected."""
    store, run = recorded
    found = wepy("verify --platform=CPU --n-workers=1", store.path, run)
    assert "on another platform, as asked" in found.err
    assert "  platform: Reference -> CPU" in found.err
    assert found.status == (
        0 if found.out.endswith(f"{load_run(*recorded).end.md5} reproduced\n") else 1
    )


def test_a_platform_that_is_not_there(
    recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path
) -> None:
    """Recorded on a GPU that is not here: exit 1, one line with the way out."""
    environment = {**load_run(*recorded).environment, "platform": "Abacus"}
    store = copied(recorded, tmp_path / "c.orch", environment=environment)
    found = wepy("verify", store.path, store.hashes("runs")[0])
    assert found.status == 1 and "Abacus" in found.err and "--platform" in found.err


def test_the_verdict_as_json(recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path) -> None:
    """--json has all of it, and nothing else is on stdout."""
    store, run = recorded
    record = load_run(store, run)
    found = wepy("verify --json", store.path, run)
    said = json.loads(found.out)
    assert found.status == 0
    assert said["reproduced"] is True and said["promised"] is True
    assert said["end"] == said["end_now"] == record.end.md5
    assert said["environment"] == record.environment and said["differences"] == []
    other = copied(recorded, tmp_path / "c.orch", seed=2)
    found = wepy("verify --json", other.path, record.end.md5)
    said = json.loads(found.out)
    assert found.status == 1 and said["reproduced"] is False
    assert said["end_now"] != said["end"]
    assert said["comparison"]["fields"]["positions"] > 0


def test_a_resumed_run_is_told_to_be_one(
    recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path
) -> None:
    """R2: a record with a list of resumes is verified like any other, and they are mentioned;
    what is no such list is passed over, since a record may come from anybody."""
    execution = load_run(*recorded).execution
    for n, (resumed, said) in enumerate(
        [
            ([{"snapshot": "0" * 32, "n_cycles": 2, "at": "2024-01-01T00:00:00+00:00"}], "cycle 2"),
            (["x", {}], "cycle ?"),
            ("nonsense", None),
            ([], None),
        ]
    ):
        store = copied(
            recorded, tmp_path / f"{n}.orch", execution=execution._replace(resumed_from=resumed)
        )
        found = wepy("verify", store.path, store.hashes("runs")[0])
        assert found.status == 0, found.err
        assert (said in found.err) if said else ("resumed" not in found.err)


def test_a_run_of_wepy_1(wepy: Wepy, tmp_path: Path) -> None:
    """Its records have no seed: exit 1 and one line that says why."""
    assert wepy("create orch", tmp_path / "w.orch").status == 0
    assert wepy("reconcile orch", tmp_path / "w.orch", WEPY1).status == 0
    pair = wepy("ls runs", tmp_path / "w.orch").lines[0]
    found = wepy("verify", tmp_path / "w.orch", pair)
    assert found.status == 1 and found.out == ""
    assert "wepy 1.x" in found.err and found.err.count("\n") == 1


def test_a_missing_start_is_exit_3(recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path) -> None:
    """S5: half a store is named as such."""
    store = copied(recorded, tmp_path / "c.orch")
    run = store.hashes("runs")[0]
    store.file("snapshots", load_run(store, run).start.md5).unlink()
    found = wepy("verify", store.path, run)
    assert found.status == 3 and "wepy reconcile orch" in found.err


class Own:
    """A user's own resampler."""

    def resample(self, walkers: list) -> tuple:
        return walkers, [], []


def test_untrusted_pickles_are_exit_5(
    wepy: Wepy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: verify executes what a run executes, so it asks as a run does."""
    from tests.systems import pair_apparatus

    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=Own()))
    made = prepare_store(tmp_path / "s.orch", snapshot, plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "job")
    path = tmp_path / "job" / "checkpoint.orch"
    run = Store.open(path).hashes("runs")[0]
    assert wepy("verify", path, run).status == 0
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "nobody"))
    found = wepy("verify", path, run)
    assert found.status == 5 and "wepy trust" in found.err


def test_ctrl_c_ends_it_at_once(recorded: tuple[Store, str], tmp_path: Path) -> None:
    """SIGINT: a word, no traceback, exit 130, and no worker is left."""
    store = copied(recorded, tmp_path / "c.orch", n_cycles=10**7, recording=None)
    run = store.hashes("runs")[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "wepystore", "verify", "--n-workers=2", str(store.path), run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stderr is not None
    while "cycle 1/" not in process.stderr.readline():
        assert process.poll() is None
    # As a terminal does: to the whole group, the workers as well.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and out == ""
    assert "Traceback" not in err and "interrupted" in err

    def gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone, what="a worker outlived the program")


def test_a_pair_is_found_though_its_end_is_not_there(
    recorded: tuple[Store, str], wepy: Wepy, tmp_path: Path
) -> None:
    """As `wepy ls runs` prints it, or by first digits: the start is all that a repetition needs."""
    store = copied(recorded, tmp_path / "c.orch")
    record = load_run(store, recorded[1])
    start, end = record.start.md5, record.end.md5
    store.file("snapshots", end).unlink()
    for pair in (f"{start}, {end}", f"{start[:8]},{end[:8]}"):
        found = wepy("verify", store.path, pair)
        assert found.status == 0 and found.out.strip().endswith("reproduced"), found.err
    assert wepy("verify", store.path, f"{end},{start}").status == 1
