"""Time limits of `wepy run` and `wepy resume`, the words of their command lines, and their ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wepy
from wepystore.api import Prepared
from wepystore.cli.running import interval_of, options_of
from wepystore.orchestrator.run.request import RunRequest

RUN = "run orch --seed=1 --job-name=job"
#: So short that only the cycle is run that always is.
NO_TIME = "1e-9"


def spec(job: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job / "job.json").read_text())
    return found


def test_a_time_limit_that_ends_a_run_before_its_cycles_is_said(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path
) -> None:
    """Status 0, the hashes, and one line with the limit, the cycles and what goes on; which then
    does all that is left, and is done."""
    path = pair_store.store.path
    short = wepy(f"{RUN} --job-dir=a --n-cycles=4", path, "default", NO_TIME, 10)
    assert short.status == 0 and short.out.startswith("Run start and end hashes: ")
    assert "time limit of 1e-09 s ended it after 1 of 4 cycles; for the rest: wepy resume a" in (
        short.err
    )
    rest = wepy("resume a")
    assert rest.status == 0 and "going on after 1 cycle, without a time limit" in rest.err
    assert "time limit of" not in rest.err and "4 cycles with seed 1" in rest.err
    whole = wepy(f"{RUN} --job-dir=b --n-cycles=4", path, "default", 1000, 10)
    assert rest.out == whole.out != short.out
    assert "time limit" not in whole.err
    assert "has done all it was asked for, 4 cycles" in wepy("resume a").err


def test_a_time_limit_alone_is_no_surprise(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path
) -> None:
    """Without --n-cycles the time is all that was asked for."""
    done = wepy(f"{RUN} --job-dir=a", pair_store.store.path, "default", NO_TIME, 10)
    assert done.status == 0 and "time limit" not in done.err
    assert "wepy resume a SECONDS" in done.err
    assert "has done all it was asked for, 1 cycle" in wepy("resume a").err


def test_a_dash_means_no_limit(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """For run orch, run snapshot and resume: the cycles end the run."""
    path = pair_store.store.path
    done = wepy(f"{RUN} --job-dir=a --n-cycles=2", path, "default", "-", 10)
    assert done.status == 0 and spec(tmp_path / "a")["seconds"] is None
    wepy("get snapshot --output=s", path, pair_store.snapshot_hash)
    wepy("get config --output=cfg", path, pair_store.config_hash)
    again = wepy("run snapshot --seed=1 --job-name=job --job-dir=b --n-cycles=2 s cfg - 10")
    assert (again.status, again.out) == (0, done.out)
    wepy(f"{RUN} --job-dir=c --n-cycles=2", path, "default", NO_TIME, 10)
    rest = wepy("resume c -")
    assert (rest.status, rest.out) == (0, done.out)
    assert "has done all it was asked for" in wepy("resume c -").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("STORE", "default", "10"), "STEPS is missing"),
        (("STORE", "default", "-"), "STEPS is missing"),
        (("STORE", "10", "100"), "START is missing"),
        (("STORE", "-", "100"), "START is missing"),
        (("STORE", "default"), "STEPS is missing"),
        (("STORE", "default", "10", "1000000000000000000000"), "at most 2,147,483,647"),
        (("STORE", "default", "1e300", "10"), "SECONDS is 1e300 and must be at most"),
        (("STORE", "default", "ten", "10"), "or '-' for no limit"),
        (("STORE", "default", "10", "-"), "STEPS is '-'"),
        (("--n-cycles=1000000000000000000000", "STORE", "default", "10", "10"), "--n-cycles"),
        (("--checkpoint-freq=1" + 30 * "0", "STORE", "default", "10", "10"), "--checkpoint-freq"),
        (("--n-workers=1" + 30 * "0", "STORE", "default", "10", "10"), "--n-workers"),
    ],
)
def test_words_that_are_missing_or_too_large_are_named(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    """Status 2, and nothing is made that could then not be resumed."""
    store = str(pair_store.store.path)
    done = wepy("run orch --job-dir=a", *(store if word == "STORE" else word for word in words))
    assert done.status == 2 and says in done.err and done.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", ["run orch --job-dir=a STORE HASHES 10 10", "show STORE HASHES"]
)
def test_several_hashes_where_one_is_meant(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path, command: str
) -> None:
    """As $(wepy ls snapshots ORCH) gives them: the message says what to give instead."""
    hashes = "0" * 32 + "\n" + "1" * 32
    told = {"STORE": str(pair_store.store.path), "HASHES": hashes}
    done = wepy("", *(told.get(word, word) for word in command.split()))
    assert done.status == 1
    assert (
        "2 hashes (" in done.err and "where one is needed" in done.err and "'default'" in done.err
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("5m", 300), ("5 min", 300), ("1.5h", 5400), (".5s", 0.5)),
        *(("0", 0), ("never", 0), ("0.0m", 0)),
    ],
)
def test_intervals_of_checkpoints(text: str, seconds: float) -> None:
    """Seconds, minutes, hours; 0 for never."""
    assert interval_of(text, "--checkpoint-every") == seconds
    assert options_of({"--checkpoint-every": None}, RunRequest) == {}


def test_checkpoint_every_arrives(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """In job.json, from run orch and run snapshot; resume has the option too; what is no time is
    refused by name."""
    path = pair_store.store.path
    words = "--checkpoint-every=0.000001s --checkpoint-freq=100 --n-cycles=3"
    assert wepy(f"{RUN} --job-dir=a {words}", path, "default", "-", 10).status == 0
    assert spec(tmp_path / "a")["checkpoint_every"] == 1e-6
    assert checkpoints(tmp_path / "a") == [1, 2, 3]
    wepy("get snapshot --output=s", path, pair_store.snapshot_hash)
    wepy("get config --output=cfg", path, pair_store.config_hash)
    wepy(f"run snapshot --seed=1 --job-dir=b {words} s cfg - 10")
    assert checkpoints(tmp_path / "b") == [1, 2, 3]
    assert wepy("resume --n-cycles=5 --checkpoint-every=never a").status == 0
    assert checkpoints(tmp_path / "a") == [1, 2, 3, 5]
    for text in ("", "soon", "-1s", "5d", "nan", "1e400", "9" * 400 + "h"):
        for command in ("run orch --job-dir=c", "resume a"):
            rest = (path, "default", 10, 10) if command.startswith("run") else ()
            done = wepy(f"{command} --checkpoint-every={text}", *rest)
            assert done.status == 2 and "--checkpoint-every" in done.err
    assert not (tmp_path / "c").exists()


def checkpoints(job: Path) -> list[int]:
    """After which cycles, by the job's longest record."""
    files = (job / "checkpoint.orch" / "runs").glob("*/*.json")
    found = max((json.loads(file.read_text()) for file in files), key=lambda r: r["n_cycles"])
    return [n_cycles for n_cycles, _ in found["execution"]["checkpoints"]]
