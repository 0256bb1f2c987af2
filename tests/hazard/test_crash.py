"""Stopped, or failed by the disk, at every system call by which it changes a store, a command
loses nothing, leaves nothing half-visible, and completes when it is simply run again (S2, S4)."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hazard.inject import Injector, Outcome, Point
from tests.hazard.scenarios import NAMES, Scenario, scenarios
from wepystore.store import KINDS, Store
from wepystore.store.care import fsck, report

# What a crash may leave: files in tmp/, and entries that nothing names yet.
_HARMLESS = {report.LEFTOVER, report.ORPHAN, report.UNNAMED, report.QUARANTINED}

_DEFAULT = "refs/default-snapshot"

# What is done at a point: see Injector.run.
KILLS = (("kill", 0), ("torn", 0))
FAILURES = (
    ("short", 0),
    ("fail", errno.EIO),
    ("fail", errno.ENOSPC),
    ("full", errno.ENOSPC),
    ("dead", errno.EIO),
)
# In the default suite so many points of each command, or one more, are tried in each of these ways.
SAMPLES = 1

Contents = dict[str, bytes]


def contents(root: Path) -> Contents:
    """Every file that has its final name: the mark, entries, refs."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith(("tmp/", "quarantine/")) and name != "gc.lock":
            found[name] = path.read_bytes()
    return found


@dataclass
class Sweep:
    """One command: before, after, and all that is between."""

    scenario: Scenario
    injector: Injector
    folder: Path
    before: Contents = field(init=False)
    after: Contents = field(init=False)
    points: tuple[Point, ...] = field(init=False)
    wrong: set[tuple[str, str]] = field(init=False)
    swept: int = 0

    def __post_init__(self) -> None:
        (self.folder / "before").mkdir(parents=True)
        self.scenario.prepare(self.folder / "before")
        self.before = contents(self.folder / "before" / "t.orch")
        self.wrong = self._problems(self.folder / "before" / "t.orch")
        with self._case() as case:
            outcome = self._run(case)
            assert outcome.status == 0, outcome
            self.after = contents(case / "t.orch")
            assert not self._problems(case / "t.orch")
            self.points = outcome.points

    @staticmethod
    def _problems(root: Path) -> set[tuple[str, str]]:
        if not (root / "wepystore.json").exists():
            return set()
        found = fsck.check(Store.open(root))
        assert {note.what for note in found.notes} <= _HARMLESS, found.notes
        return {(problem.kind, problem.name) for problem in found.problems}

    def _case(self) -> _Case:
        return _Case(self.folder)

    def _run(self, case: Path, at: int = 0, act: str = "count", error: int = 0) -> Outcome:
        return self.injector.run(self.scenario.task, case / "t.orch", case, at, act, error)

    def places(self, act: str) -> list[int]:
        """The numbers of the points at which this can be done."""
        halves = act in ("torn", "short")
        numbered = enumerate(self.points, 1)
        return [n for n, point in numbered if not halves or point.call in ("write", "writev")]

    def sweep(self, samples: int | None = None) -> None:
        """Every way at every point, or at so many of them, beginning elsewhere for each way."""
        for act, error in KILLS + FAILURES:
            places = self.places(act)
            step = 1 if samples is None else max(1, len(places) // samples)
            begin = zlib.crc32(f"{self.scenario.name} {act} {error}".encode()) % step
            for point in places[begin::step]:
                self.at(point, act, error)
        print(f"{self.scenario.name}: {len(self.points)} injection points, {self.swept} cases")

    def at(self, point: int, act: str, error: int = 0) -> None:
        """One case, and everything that must be true after it."""
        self.swept += 1
        with self._case() as case:
            outcome = self._run(case, point, act, error)
            where = f"{self.scenario.name}: {act} {error} at {point}: {outcome.hit[:1]}"
            try:
                if not outcome.hit or act == "short":
                    # Threads do not always do the same; this time there were fewer calls.
                    assert outcome.status == 0
                elif error:
                    self._told(outcome)
                else:
                    assert outcome.status is None
                self._whole(case / "t.orch")
                self._kept(case / "t.orch", outcome)
                if outcome.status == 0:
                    self._done(case / "t.orch")
                if act == "fail" and not outcome.hit[0].call.startswith("unlink"):
                    assert self._unfinished(case) <= self._unfinished(self.folder / "before")
                self._again(case)
            except AssertionError as failure:
                failure.add_note(f"{where}\n{outcome.err}")
                raise

    @staticmethod
    def _unfinished(case: Path) -> set[str]:
        found = {path.name for path in case.glob("t.orch/tmp/*")} - {"elsewhere"}
        return {name for name in found if not name.startswith("gc-")}

    def _told(self, outcome: Outcome) -> None:
        """One clear line and exit 1; 0 only where the work is done without that call."""
        assert outcome.status in (0, 1)
        assert "Traceback" not in outcome.err and "is a bug" not in outcome.err
        if outcome.status == 1:
            errors = [line for line in outcome.err.splitlines() if line.startswith("wepy: error:")]
            assert len(errors) == 1
            assert any(os.strerror(code) in errors[0] for code in (errno.EIO, errno.ENOSPC))
            # Where: write and fsync do not know that by themselves.
            assert "t.orch" in errors[0]

    def _whole(self, root: Path) -> None:
        """The store passes fsck, or what is wrong was wrong before."""
        assert self._problems(root) <= self.wrong

    def _kept(self, root: Path, outcome: Outcome) -> None:
        """Each file is as it was or as it will be; what was acknowledged is there."""
        now = contents(root)
        for name in self.before.keys() | self.after.keys() | now.keys():
            may = [self.before.get(name), self.after.get(name)]
            known = name in self.before or name in self.after
            if self.scenario.name == "checkpoint" and name == _DEFAULT:
                continue  # It moves with each checkpoint: `_acknowledged` looks.
            if not known and not self.scenario.exact:
                continue
            kind, _, rest = name.partition("/")
            bad = (kind, Path(rest).stem if kind in KINDS else rest) in self.wrong
            # What is damaged may be out of the way before the right file has its place.
            assert now.get(name) in may or (bad and name not in now), name
        aside = [path.read_bytes() for path in root.glob("quarantine/*")]
        for name, data in self.before.items():
            if self.wrong and self.after.get(name) != data:
                assert now.get(name) == data or data in aside, f"{name} is lost"
        if self.scenario.name == "checkpoint":
            self._acknowledged(root, outcome.out.split())

    def _acknowledged(self, root: Path, told: list[str]) -> None:
        """The last checkpoint that was told of is there, or a later one that has superseded it."""
        store = Store.open(root)
        runs = [store.manifest("runs", md5) for md5 in store.hashes("runs")]
        latest = max(runs, key=lambda run: run["n_cycles"], default=None)
        if told:
            assert latest is not None and latest["n_cycles"] >= len(told)
            assert latest["end"]["md5"] == told[-1] or latest["n_cycles"] > len(told)
            assert store.missing("snapshots", latest["end"]["md5"]) == []
        if latest is not None:
            recording = latest["recording"]["md5"]
            assert store.missing("recordings", recording, whole=True) == []
            assert store.manifest("recordings", recording)["n_cycles"] == latest["n_cycles"]
        default = store.ref("default-snapshot")
        start = self.before[_DEFAULT].decode().strip()
        ends = {run["end"]["md5"] for run in runs}
        # One at least as late as what was told of: never one that is gone, or not yet there.
        assert default in (ends | {start} if not told else {told[-1], latest["end"]["md5"]})
        assert default is not None and store.missing("snapshots", default) == []

    def _done(self, root: Path) -> None:
        now = contents(root)
        if self.scenario.exact:
            assert now == self.after
        else:
            assert self.after.items() <= now.items()

    def _again(self, case: Path) -> None:
        """The same command completes it."""
        done = contents(case / "t.orch") == self.after
        outcome = self._run(case)
        # That a tag which is to be deleted is not there any more is said, and no harm.
        assert outcome.status == 0 or done, outcome
        assert not self._problems(case / "t.orch")
        self._done(case / "t.orch")


class _Case:
    """A copy of what was before, for as long as a `with`."""

    def __init__(self, folder: Path) -> None:
        self.source, self.path = folder / "before", folder / "case"

    def __enter__(self) -> Path:
        shutil.copytree(self.source, self.path)
        return self.path

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.path)


@pytest.fixture
def sweep(injector: Injector, tmp_path: Path) -> Iterator[Callable[[str], Sweep]]:
    """In memory if that can be: what is proven is the order of calls, not what a disk does."""
    folder = tmp_path
    with suppress(OSError):
        folder = Path("/dev/shm") / f"wepystore-{os.getpid()}-{tmp_path.name}"
        folder.mkdir()
    known = {scenario.name: scenario for scenario in scenarios(tmp_path)}
    yield lambda name: Sweep(known[name], injector, folder / name)
    if folder != tmp_path:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", NAMES)
def test_stopped_here_and_there(name: str, sweep: Callable[[str], Sweep]) -> None:
    """Some of the points of the long sweep, other ones for each command."""
    sweep(name).sweep(SAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_stopped_everywhere(name: str, sweep: Callable[[str], Sweep]) -> None:
    """Killed before and in the middle of each call; each failing once with EIO and ENOSPC; a disk
    full, and one dead, from each call on."""
    sweep(name).sweep()
