"""A run that is killed at any instant and resumed ends as one that never was (R2)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hazard.killing import Tally, Task, Victim, same_in_the_end, undisturbed
from tests.hazard.phases import BLOCK_CYCLES, FRAMES_CYCLES
from tests.systems import REPOSITORY, environment, pair_snapshot, plain_configuration
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    Store,
    WalkerReporter,
    load_runs,
    load_tables,
    prepare_store,
)
from wepystore.records.run_frames import read_frames

#: Those that take microseconds to milliseconds are aimed at, the rest is met by chance.
AIMS = (
    None,
    "dynamics",
    "reporting",
    "flushing",
    "checkpointing",
    "handing",
    None,
    "deciding",
    "checkpointing",
    "recording",
    "cleaning",
    "announcing",
    "opening",
    "checkpointing",
    "removing",
    "preparing",
)

#: What a hunt must have met, or it goes on for a while.
WANTED = {"dynamics", "flushing", "checkpointing", "recording"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, str]:
    """Six pairs that warp, clone and merge, with every reporter; a run that nobody kills."""
    home = tmp_path_factory.mktemp("kill-pair")
    reporters = [
        HDF5Reporter(),
        DashboardReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
        FamilyTreeReporter(),
    ]
    made = prepare_store(home / "x.orch", pair_snapshot(), plain_configuration(None, reporters))
    task = Task(made.store.path, n_steps=100, n_cycles=60, seed=2)
    line = undisturbed(task, home / "whole", "--checkpoint-freq=4")
    (run,) = load_runs(home / "whole")
    store = Store.open(home / "whole" / "checkpoint.orch")
    recording = load_tables(store, run).recording
    assert [part.n_cycles for part in recording.tables] == [BLOCK_CYCLES] * 8 + [4]
    assert recording.frames is not None
    blocks = read_frames(store, recording, run).blocks
    assert [block.n_cycles for block in blocks] == [FRAMES_CYCLES] * 15
    return task, home / "whole", line


def hunt(
    work: tuple[Task, Path, str],
    home: Path,
    seed: int,
    n_kills: int,
    most: int,
    longest: float,
) -> Tally:
    """Jobs that are killed up to `most` times each and then let end, until there were `n_kills`
    and something of all that is WANTED was met."""
    task, whole, line = work
    dice = random.Random(seed)
    tally = Tally()
    aims = list(AIMS)
    number = 0
    while tally.kills < n_kills or not tally.has_met(WANTED):
        assert tally.kills < max(4 * n_kills, 50), tally
        number += 1
        victim = Victim(task, home / f"job{number}", dice, tally)
        for _ in range(dice.randint(most // 2, most)):
            if not aims:
                aims = list(AIMS)
                dice.shuffle(aims)
            if not victim.kill_in(aims.pop(0), longest):
                break
            if tally.kills >= n_kills and tally.has_met(WANTED):
                break
        assert victim.finish() == line, f"job {number} of seed {seed}"
        same_in_the_end(victim.job, whole)
    print(f"seed {seed}: {tally.kills} kills in {number} jobs: {tally}")
    return tally


def test_killed_pairs_end_as_if_never_killed(pair: tuple[Task, Path, str], tmp_path: Path) -> None:
    """7 kills and more in dynamics, reporting, checkpointing and the rest, on one worker and on
    two: every resume ends in the uninterrupted run's hash, with the same bytes in its files."""
    assert hunt(pair, tmp_path, seed=1, n_kills=7, most=9, longest=1.0).kills >= 7


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 18))
def test_pairs_killed_many_times(pair: tuple[Task, Path, str], tmp_path: Path, seed: int) -> None:
    """The same with 8 times 20 kills, at other instants."""
    assert hunt(pair, tmp_path, seed, n_kills=20, most=8, longest=2.0).kills >= 20


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, str]:
    """The sodium chloride example, on the CPU platform."""
    home = tmp_path_factory.mktemp("kill-salt")
    subprocess.run(
        [
            sys.executable,
            REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py",
            home / "x.orch",
        ],
        check=True,
        capture_output=True,
        env=environment(),
    )
    task = Task(home / "x.orch", n_steps=10, n_cycles=8)
    return task, home / "whole", undisturbed(task, home / "whole", "--checkpoint-freq=4")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 34))
def test_killed_salt_ends_as_if_never_killed(
    salt: tuple[Task, Path, str], tmp_path: Path, seed: int
) -> None:
    """4 times 10 kills of ions in water, under PME on the CPU platform."""
    assert hunt(salt, tmp_path, seed, n_kills=10, most=5, longest=4.0).kills >= 10
