"""A job that is killed again and again, and what must be true each time and in the end."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hazard.phases import BESIDE, SIZE, Noted
from tests.systems import environment
from tests.waiting import until
from wepystore.api import Store, load_frames, load_run, load_tables
from wepystore.cli.main import main as wepy_main
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.reporters.hdf5.journal import JournaledHDF5, journal_name
from wepystore.store import graph
from wepystore.store.names import KINDS, Name

ENDS = re.compile(r"Run start and end hashes: ([0-9a-f]{32}), ([0-9a-f]{32})\n")


@dataclass(frozen=True)
class Task:
    """What a job is to do; the same for the run that nobody kills."""

    orch: Path
    n_steps: int
    n_cycles: int
    seed: int = 5

    def run(self, job: Path, *options: object) -> list[str]:
        return [
            *("run", "orch", "--job-name=job", f"--job-dir={job}", f"--seed={self.seed}"),
            *(f"--n-cycles={self.n_cycles}", *map(str, options)),
            *(str(self.orch), "default", "100000", str(self.n_steps)),
        ]


@dataclass
class Tally:
    """What the kills have met."""

    phases: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    mixtures: int = 0
    """Files that HDF5 alone could not open, and the journal beside them healed."""

    @property
    def kills(self) -> int:
        return sum(self.phases.values())

    def has_met(self, phases: set[str]) -> bool:
        return phases <= {*self.phases, *self.beside}


def undisturbed(task: Task, job: Path, *options: object) -> str:
    """The end line of a run that nobody kills."""
    notes = job.parent / f"{job.name}.phase"
    notes.write_bytes(bytes(SIZE))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hazard.phases", str(notes), *task.run(job, *options)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert ENDS.fullmatch(done.stdout)
    return done.stdout


#: How often a victim writes checkpoints: by cycles, or whenever that much time has gone by.
OFTEN = (
    *(f"--checkpoint-freq={n}" for n in (1, 2, 3)),
    *(f"--checkpoint-every={time}" for time in ("0.000001s", "0.02s")),
)


class Victim:
    """A job folder, and one process after the other that works in it."""

    def __init__(self, task: Task, job: Path, random: random.Random, tally: Tally) -> None:
        self.task = task
        self.job = job
        self.random = random
        self.tally = tally
        self.often = random.choice(OFTEN)
        self._notes = job.parent / f"{job.name}.phase"

    def start(self) -> subprocess.Popen[str]:
        """Begin the job, or resume it where it can be."""
        workers = f"--n-workers={self.random.choice((1, 1, 1, 2))}"
        words = ["resume", workers, str(self.job)]
        if not (self.job / "job.json").exists():
            words = self.task.run(self.job, workers, self.often)
        self._notes.write_bytes(bytes(SIZE))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.hazard.phases", str(self._notes), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=Path(__file__).resolve().parents[2],
            start_new_session=True,
        )

    def kill_in(self, phase: str | None, longest: float) -> bool:
        """Start it and kill it: in a phase that it enters for a random time, or after a random
        time up to `longest` s. False if it was done before."""
        process = self.start()
        noted = Noted(str(self._notes))
        try:
            if phase is None:
                if self.random.random() < 0.7:
                    # Half of the time goes by until it begins.
                    self._await(process, noted, "between")
                self._sleep(process, self.random.uniform(0.0, longest))
            else:
                self._await(process, noted, phase)
            if process.poll() is not None:
                _, err = process.communicate()
                assert process.returncode == 0, err
                return False
            # Stopped first: its children can then be counted, and it is dead already.
            os.kill(process.pid, signal.SIGSTOP)
            while (state := status_of(process.pid)) and state[0] not in "TZX":
                time.sleep(0.0005)
            workers = children(process.pid)
            met, beside = noted.phase, noted.beside
            process.kill()
            if process.wait() == 0:
                return False
        finally:
            process.kill()
            process.communicate()
        self.tally.phases[met] += 1
        self.tally.beside[beside] += 1
        await_gone(workers)
        self.check()
        return True

    def _sleep(self, process: subprocess.Popen[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)

    def _await(self, process: subprocess.Popen[str], noted: Noted, phase: str) -> None:
        deadline = time.monotonic() + 120
        # Some of them come once in a session, others in each cycle.
        often = phase in ("dynamics", "deciding", "reporting", "flushing", "handing")
        times = self.random.choice((1, 1, 2, 3, 5, 8)) if often else 1
        looks = 0
        while time.monotonic() < deadline:
            if noted.beside == phase if phase in BESIDE else noted.entered(phase) >= times:
                break
            looks += 1
            if looks % 1000 == 0 and process.poll() is not None:
                return
        # Some time into it, if it lasts so long.
        end = time.perf_counter() + self.random.choice((0.0, 0.0002, 0.001, 0.004))
        while time.perf_counter() < end:
            pass

    def check(self) -> None:
        """After a kill: what the job's store names is whole, the recording has tables and frames
        of every cycle up to its checkpoint, whoever goes on knows of all that nothing names, and
        the HDF5 file opens and holds every cycle of the last checkpoint."""
        done = 0
        if (self.job / "checkpoint.orch" / "wepystore.json").exists():
            store = Store.open(self.job / "checkpoint.orch")
            for run in store.hashes("runs"):
                record = load_run(store, run)
                assert store.missing("runs", run, whole=True) == []
                frames = load_frames(store, run, verify=True)
                for walker in range(int(frames.n_walkers.max())):
                    assert len(frames.walker(walker)) == record.n_cycles
                assert len(load_tables(store, run)["n_walkers"]) == record.n_cycles
                done = max(done, record.n_cycles)
            if (self.job / "job.json").exists():
                assert unnamed_in(store) <= set(Ledger(self.job).read())
        file = self.job / "job.wepy.h5"
        if file.exists():
            assert self._cycles_of(file) >= done
        else:
            assert done == 0

    def _cycles_of(self, file: Path) -> int:
        try:
            return n_cycles_of(file)
        except OSError:
            # Only within the milliseconds in which a commit's pages are put in place.
            assert os.path.exists(journal_name(str(file)))
            JournaledHDF5(str(file), create=False).close()
            self.tally.mixtures += 1
            return n_cycles_of(file)

    def finish(self) -> str:
        """Let it end; the last line of its answer."""
        process = self.start()
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return out


def unnamed_in(store: Store) -> set[Name]:
    """Entries that no record names, nor the start: what is under way, or was."""
    held = [("runs", md5) for md5 in store.hashes("runs")]
    held += [("configs", md5) for md5 in store.hashes("configs")]
    held += [("snapshots", md5) for md5 in [store.ref("default-snapshot")] if md5 is not None]
    named = set(graph.closure(graph.load(store).parts, held))
    return {(kind, md5) for kind in KINDS for md5 in store.hashes(kind)} - named


def n_cycles_of(file: Path) -> int:
    with h5py.File(file, "r") as opened:
        trajectories = opened["runs/0/trajectories"]
        return len(trajectories["0/weights"]) if len(trajectories) else 0


def children(pid: int) -> list[tuple[int, str]]:
    """The processes below one, each with the time it began (a number alone may be used again)."""
    found: list[tuple[int, str]] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return found
    for task in tasks:
        try:
            named = (task / "children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # A thread that has ended meanwhile.
        for child in map(int, named.split()):
            state = status_of(child)
            if state:
                found += [(child, state[1]), *children(child)]
    return found


def status_of(pid: int) -> tuple[str, str] | None:
    """State and time of beginning of a process; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]


def await_gone(workers: list[tuple[int, str]]) -> None:
    """Every worker is dead (its new parent may be slow to bury it)."""
    for pid, began in workers:

        def gone(pid: int = pid, began: str = began) -> bool:
            state = status_of(pid)
            return state is None or state[1] != began or state[0] in "ZX"

        until(gone, what=f"worker {pid} outlives its parent")


def same_in_the_end(job: Path, whole: Path, n_told: int = 0) -> None:
    """Every file of a job says what that of the undisturbed one says.

    Of `n_told` ends that were told on the way (by a signal, a limit) the job's store has a record
    and the snapshot besides.
    """
    assert {entry.name for entry in job.iterdir()} == {entry.name for entry in whole.iterdir()}
    for suffix in ("walkers.dcd", "walkers.csv", "init_top.pdb", "restree.gexf"):
        assert (job / f"job.{suffix}").read_bytes() == (whole / f"job.{suffix}").read_bytes(), (
            suffix
        )
    assert hdf5_contents(job / "job.wepy.h5") == hdf5_contents(whole / "job.wepy.h5")
    assert timeless(job / "job.dash.org") == timeless(whole / "job.dash.org")
    store, other = (Store.open(each / "checkpoint.orch") for each in (job, whole))
    runs = [load_run(store, md5) for md5 in store.hashes("runs")]
    *told, record = sorted(runs, key=lambda each: each.n_cycles)
    assert len(told) == n_told and all(each.execution.ended_by for each in told)
    ends = {each.end.md5 for each in told}
    recordings = {each.recording.md5 for each in told if each.recording is not None}
    held = [*(("snapshots", end) for end in ends), *(("recordings", each) for each in recordings)]
    more_of: dict[str, set[str]] = {kind: set() for kind in KINDS if kind != "runs"}
    for kind, md5 in graph.closure(graph.load(store).parts, held):
        more_of[kind].add(md5)
    for kind, more in more_of.items():
        assert timeless_in(store, kind) == timeless_in(other, kind) | more
    (expected,) = other.hashes("runs")
    twin = load_run(other, expected)
    assert record.recording is not None
    same = ("start", "end", "config", "n_cycles", "n_steps", "seed", "reproducible", "recording")
    for name in same:
        assert getattr(record, name) == getattr(twin, name), name
    assert record.execution.complete is True
    for name in ("n_warped", "n_cloned", "n_merged"):
        assert getattr(record.execution, name) == getattr(twin.execution, name), name
    assert store.ref("default-snapshot") == other.ref("default-snapshot")
    assert wepy_main(["fsck", str(job / "checkpoint.orch")]) == 0


def timeless_in(store: Store, kind: str) -> set[str]:
    """All entries of a kind, but for the objects that records name: they hold times."""
    named = {part for md5 in store.hashes("runs") for part in store.references("runs", md5)}
    return set(store.hashes(kind)) - {ref.md5 for part, ref in named if part == "objects" == kind}


def hdf5_contents(file: Path) -> dict[str, Any]:
    """Every dataset and attribute of a file, to the bit."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = np.asarray(value).tolist()
        if isinstance(item, h5py.Dataset):
            found[name] = (item.shape, str(item.dtype), bits(item[...] if item.shape else item[()]))

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return found


def bits(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype == object:
        return [
            (np.asarray(each).dtype.str, np.asarray(each).tobytes())
            if isinstance(each, np.ndarray)
            else each
            for each in array.ravel()
        ]
    return array.tobytes()


def timeless(page: Path) -> list[str]:
    """The lines of a dashboard that do not tell of seconds, workers' or the machine's."""
    lines = page.read_text().split("* Performance")[0].splitlines()
    timed = ("- speed", "- wall-clock", "- work mapper")
    return [line for line in lines if not line.startswith(timed)]
