"""Ctrl-C and SIGTERM, sent to the real program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.systems import (
    environment,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    plain_configuration,
    tree_of,
)
from tests.waiting import PATIENCE_S, announcing, mark_in, records_in, until
from tests.workers import alive
from wepystore.api import (
    HDF5Reporter,
    Prepared,
    ProcessMapper,
    SerialMapper,
    Store,
    load_run,
    load_snapshot,
    prepare_store,
)


@pytest.fixture(scope="module", params=["serial", "workers"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Six pairs, run here or by two workers."""
    mapper: Any = SerialMapper() if request.param == "serial" else ProcessMapper(2)
    return prepare_store(
        tmp_path_factory.mktemp("signals") / "x.orch",
        pair_snapshot(6, pair_apparatus(runner=announcing(pair_runner()))),
        plain_configuration(mapper, [HDF5Reporter()]),
    )


class Program:
    """`wepystore run orch` in a process group of its own, as a shell starts it."""

    def __init__(self, made: Prepared, job: Path, n_steps: int, **variables: str) -> None:
        self.job = job
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "wepystore", "run", "orch"),
                *("--job-dir", job, "--job-name", "job", "--checkpoint-freq", "2", "--seed", "1"),
                *("--grace", "3600"),
                *(made.store.path, made.snapshot_hash, "600", str(n_steps)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**variables),
            start_new_session=True,
        )

    def await_checkpoint(self) -> None:
        until(lambda: records_in(self.job), self.process)

    def send(self, number: signal.Signals) -> None:
        """To the whole group, as a terminal and many schedulers do."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Those started; ended in any case."""
    started: list[Program] = []
    yield started
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_run_after_the_cycle(
    made: Prepared, tmp_path: Path, programs: list[Program], number: signal.Signals
) -> None:
    """Exit 75, a final checkpoint, hashes on stdout, the way to go on on stderr, no worker left."""
    before = tree_of(made.store.path)
    program = Program(made, tmp_path / "job", 100)
    programs.append(program)
    program.await_checkpoint()
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
    workers = children.read_text().split()
    program.send(number)
    status, out, err = program.end()
    assert status == 75, err
    assert number.name in err
    assert "Traceback" not in err
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    (run,) = store.hashes("runs")
    record = load_run(store, run)
    assert record.execution.stopped_by == number.name
    assert out == f"Run start and end hashes: {record.start.md5}, {record.end.md5}\n"
    assert "wepy run orch" in err or "resume" in err
    assert load_snapshot(store, record.end.md5).walkers
    assert len(store.hashes("snapshots")) == 2
    assert tree_of(made.store.path) == before
    until(lambda: not any(alive(int(pid)) for pid in workers), what="a worker is left")


def test_a_second_ctrl_c_ends_it_at_once(
    made: Prepared, tmp_path: Path, programs: list[Program]
) -> None:
    """In the middle of a cycle that would last for half an hour, which it does not wait for."""
    mark, variables = mark_in(tmp_path)
    program = Program(made, tmp_path / "job", 10**9, **variables)
    programs.append(program)
    until(mark.exists, program.process)
    program.send(signal.SIGINT)
    assert program.process.stderr is not None
    said = iter(program.process.stderr.readline, "")
    assert any("SIGINT: finishing" in line for line in said), "it was not heard"
    assert program.process.poll() is None
    program.send(signal.SIGINT)
    status, _, err = program.end()
    assert status in (-signal.SIGINT, 130)
    assert "Traceback" not in err


def test_the_time_ends_a_run_normally(made: Prepared, tmp_path: Path) -> None:
    """SECONDS used up is exit 0, without anybody's signal, and after at least one cycle."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "wepystore", "run", "orch", "--job-dir", tmp_path / "job"),
            *(made.store.path, made.snapshot_hash, "1", "50"),
        ],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Run start and end hashes: {made.snapshot_hash}, ")
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    assert record.n_cycles >= 1
    assert record.execution.stopped_by is None
