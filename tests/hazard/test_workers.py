"""Workers and parents killed, crashed and stopped at random: no wrong result, no process left.

Every round starts a run in a process of its own and sends signals to its workers, or to itself,
at random moments from the very start on. A run that is left to end must end in the hash of an
undisturbed one, or say which walker failed twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.systems import environment, run_job
from tests.workers import alive, children_of, seconds_until_gone
from wepystore.api import Prepared, Store

RUN = """
import sys
from pathlib import Path
from tests.systems import plain_configuration, run_job
from wepystore.api import ProcessMapper, Store, save_configuration
from wepystore.errors import WepystoreError
store, snapshot, job = sys.argv[1:]
store = Store.open(store)
config = save_configuration(store, plain_configuration(ProcessMapper(2, segment_timeout=2.0)))
try:
    print(run_job(store, snapshot, Path(job), configuration=config, n_steps=4000, n_cycles=40).end)
except WepystoreError as problem:
    print(problem)
    sys.exit(1)
"""

#: What an error may say after a segment failed twice, and when nothing could even start.
NAMED = re.compile(r"cycle \d+, walker \d+, .*worker \d+|worker \d+ did not start")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)


@dataclass
class Tally:
    """What happened in a sweep."""

    runs: int = 0
    events: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    ends: int = 0
    errors: list[str] = field(default_factory=list)
    parents: int = 0
    slowest_s: float = 0.0

    def __str__(self) -> str:
        sent = ", ".join(f"{n} {name}" for name, n in sorted(self.sent.items()))
        return (
            f"{self.events} signals ({sent}) in {self.runs} runs; {self.ends} ended in the wanted "
            f"hash, {len(self.errors)} with a named failure, {self.parents} parents killed; last "
            f"worker gone after {self.slowest_s:.2f} s at most"
        )


@pytest.fixture(scope="module")
def own(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A copy of the store, for runs that keep their configurations in it."""
    path = tmp_path_factory.mktemp("own") / "pair.orch"
    shutil.copytree(pair_store.store.path, path)
    return dataclasses.replace(pair_store, store=Store.open(path))


@pytest.fixture(scope="module")
def wanted(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The end hash of the undisturbed run."""
    job = tmp_path_factory.mktemp("undisturbed") / "job"
    return run_job(
        Store.open(pair_store.store.path), pair_store.snapshot_hash, job, n_steps=4000, n_cycles=40
    ).end


def one_round(made: Prepared, folder: Path, rng: random.Random, wanted: str, tally: Tally) -> None:
    """A run with a few signals at random moments."""
    script = folder / "run.py"
    script.write_text(RUN)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(made.store.path), made.snapshot_hash, folder / "job"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=folder,
    )
    try:
        seen: set[int] = set()
        kill_parent = rng.random() < 0.3
        while parent.poll() is None and not children_of(parent.pid):
            time.sleep(0.005)
        for _ in range(rng.randint(1, 4)):
            until = time.monotonic() + rng.choice([rng.uniform(0, 0.3), rng.uniform(0, 2.0)])
            while time.monotonic() < until:
                seen |= children_of(parent.pid)
                time.sleep(0.01)
            workers = sorted(pid for pid in children_of(parent.pid) if alive(pid))
            if workers and parent.poll() is None:
                seen |= set(workers)
                tally.events += 1
                victim, number = rng.choice(workers), rng.choice(SIGNALS)
                tally.sent[number.name] += 1
                send(victim, number)
        if kill_parent and parent.poll() is None:
            seen |= children_of(parent.pid)
            parent.kill()
            tally.sent["SIGKILL to the parent"] += 1
            tally.parents += 1
            tally.events += 1
            parent.wait()
        else:
            # Its workers have the same pipe for stderr, so that this sees them all end.
            said, complaint = parent.communicate(timeout=240)
        tally.slowest_s = max(tally.slowest_s, seconds_until_gone(seen))
        if parent.returncode == -signal.SIGKILL:
            return
        if parent.returncode == 0:
            assert said.strip() == wanted
            tally.ends += 1
        else:
            assert parent.returncode == 1, complaint
            assert NAMED.search(said), said + complaint
            tally.errors.append(said.strip())
        assert not complaint
        assert sorted(path.name for path in folder.iterdir()) in (
            ["job", "run.py"],
            ["run.py"],  # A run without a cycle takes its folder away.
        )
    finally:
        parent.kill()
        parent.communicate()


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def sweep(made: Prepared, folder: Path, seed: int, n_events: int, wanted: str) -> Tally:
    """Rounds until so many signals were sent."""
    rng = random.Random(seed)
    tally = Tally()
    try:
        while tally.events < n_events:
            tally.runs += 1
            assert tally.runs < 20 + 3 * n_events, "signals find nobody to be sent to"
            place = folder / str(tally.runs)
            place.mkdir()
            one_round(made, place, rng, wanted, tally)
            print(f"\r{tally.events} signals", end="", flush=True)
    finally:
        # Of a round that failed as well: pytest shows it then.
        print(f"\rseed {seed}: {tally}", flush=True)
    return tally


def test_some_signals(own: Prepared, tmp_path: Path, wanted: str) -> None:
    """A short sample of the sweep below."""
    sweep(own, tmp_path, 7, 4, wanted)


@pytest.mark.slow
def test_many_signals(own: Prepared, tmp_path: Path, wanted: str) -> None:
    """At least a hundred signals: nothing hangs, nothing is left, every end that is reached is
    the right one, and most runs do reach it."""
    tally = sweep(own, tmp_path, 1, 100, wanted)
    assert tally.ends > len(tally.errors)


def wepy(*words: object) -> subprocess.Popen[str]:
    """The real program, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "wepystore", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def interrupted(made: Prepared, folder: Path, wait_s: float, wanted: str) -> str:
    """SIGINT to the program and its two workers, so long after the job was made, just before these
    are begun: one line about it, a whole job, nobody left, and after a resume the wanted end. How
    it ended."""
    job = folder / "job"
    parent = wepy(
        *("run", "orch", f"--job-dir={job}", "--job-name=job", "--seed=1", "--n-cycles=40"),
        *("--checkpoint-freq=3", "--n-workers=2", made.store.path, made.snapshot_hash, 600, 4000),
    )
    try:
        # Before that, Ctrl-C is met by "wepy: interrupted" and nothing is made.
        while parent.poll() is None and not (job / "job.json").exists():
            time.sleep(0.001)
        time.sleep(wait_s)
        seen = children_of(parent.pid)
        for pid in (parent.pid, *seen):
            send(pid, signal.SIGINT)
        # One more worker may just have been begun.
        late = children_of(parent.pid) - seen
        for pid in late:
            send(pid, signal.SIGINT)
        said, complaint = parent.communicate(timeout=240)
    finally:
        parent.kill()
        parent.communicate()
    seconds_until_gone(seen | late)
    assert parent.returncode in (75, 0), complaint
    assert "Traceback" not in complaint and "Exception" not in complaint, complaint
    # Unless it came behind the last cycle, when nothing is left to finish.
    told = complaint.count("SIGINT: finishing")
    assert told == 1 or (told, parent.returncode) == (0, 0), complaint
    again = wepy("resume", job)
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0 and wanted in out, err
    return "ended" if parent.returncode == 0 else "no cycle" if not said else "some cycles"


@pytest.mark.parametrize(
    "wait_s", [0.1, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.0, 0.6))]
)
def test_ctrl_c_to_everybody(own: Prepared, tmp_path: Path, wait_s: float, wanted: str) -> None:
    """While the workers' interpreters start, while they import, and while they work."""
    interrupted(own, tmp_path, wait_s, wanted)


@pytest.mark.slow
def test_ctrl_c_to_everybody_many_times(own: Prepared, tmp_path: Path, wanted: str) -> None:
    """The same at 40 random moments."""
    rng = random.Random(3)
    met = Counter[str]()
    for k in range(40):
        place = tmp_path / str(k)
        place.mkdir()
        met[interrupted(own, place, rng.uniform(0.0, rng.choice((0.2, 1.5))), wanted)] += 1
    print(f"\rCtrl-C: {met}", flush=True)
    assert met["no cycle"] and met["some cycles"]
