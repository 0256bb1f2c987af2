"""What a user's own component raises outside of its cycle's work is told with its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.systems import Recorder, pair_apparatus, plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    Configuration,
    DashboardReporter,
    NoResampler,
    Runner,
    Snapshot,
    Walker,
    WalkerState,
    prepare_store,
)
from wepystore.engine.errors import StepError, WrongPartError
from wepystore.orchestrator.run.desk import Desk
from wepystore.orchestrator.run.resume import resume


class Mistaken(KeyError):
    """What no code of this package expects."""


def mistake(*args: Any, **kwargs: Any) -> Any:
    raise Mistaken("on request")


class Adds(Runner):
    """Adds one."""

    def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
        return Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight)


class AllAtOnce:
    """A runner that has no method for one walker."""

    def pre_cycle(self, **facts: Any) -> None: ...

    def run_segments(self, walkers: Any, n_steps: int, **keywords: Any) -> list[Walker]:
        return [Walker(WalkerState(x=walker.state["x"] + 1.0), walker.weight) for walker in walkers]

    def post_cycle(self) -> None: ...


class Reporter:
    """Writes nothing."""

    def init(self, **kwargs: Any) -> None: ...

    def report(self, **kwargs: Any) -> None: ...

    def cleanup(self, **kwargs: Any) -> None: ...


def run_with(home: Path, **parts: Any) -> None:
    """A job of four walkers; parts of the apparatus, or a reporter."""
    reporters = [parts.pop("reporter")] if "reporter" in parts else []
    parts = {"runner": Adds(), "resampler": NoResampler(), "boundary_conditions": None, **parts}
    start = Snapshot(
        [Walker(WalkerState(x=[float(k)]), 0.25) for k in range(4)], pair_apparatus(**parts)
    )
    made = prepare_store(home / "x.orch", start, plain_configuration(None, reporters))
    run_job(made.store, made.snapshot_hash, home / "job")


@pytest.mark.parametrize("what", ["check_platform", "environment", "reproducible"])
def test_a_runner_s(tmp_path: Path, what: str) -> None:
    """Where it is asked for its platform, and whether equal seeds give equal bits."""
    cls = type("Wrong", (Adds,), {what: mistake})
    with pytest.raises(StepError, match=r"Wrong failed: Mistaken"):
        run_with(tmp_path, runner=cls())


def test_a_resampler_s(tmp_path: Path) -> None:
    """Where it is given its random numbers."""
    cls = type("Wrong", (NoResampler,), {"set_rng": mistake})
    with pytest.raises(StepError, match=r"Wrong failed: Mistaken"):
        run_with(tmp_path, resampler=cls())


@pytest.mark.parametrize("what", ["bind", "annotate", "flush", "remarks"])
def test_a_reporter_s(tmp_path: Path, what: str) -> None:
    """In all that is called only where a reporter has it."""
    wrong = property(mistake) if what == "remarks" else mistake
    cls = type("Wrong", (Reporter,), {what: wrong})
    with pytest.raises(StepError, match=r"Wrong failed: Mistaken"):
        run_with(tmp_path, reporter=cls())


def test_a_reporter_may_come_by_it_later(tmp_path: Path) -> None:
    """With its file, say, which `init` opens."""
    flushed = []

    class Late(Reporter):
        def init(self, **kwargs: Any) -> None:
            self.flush = lambda: flushed.append("flush")

    desk = Desk(plain_configuration(None, [Late()]), tmp_path / "job")
    for reporter in desk.placed.reporters:
        reporter.init()
    desk.tell("flush", 1)
    assert flushed == ["flush"]


def test_what_has_the_name_and_is_no_method(tmp_path: Path) -> None:
    """A word, or None: nobody calls it."""
    resampler = type("Worded", (NoResampler,), {"summary": "mine"})()
    runner = type("Worded", (AllAtOnce,), {"summary": None, "environment": None})()
    run_with(tmp_path, resampler=resampler, runner=runner, reporter=DashboardReporter())


def test_a_runner_of_all_walkers_needs_no_method_for_one(tmp_path: Path) -> None:
    """It need not be derived from anything either."""
    run_with(tmp_path, runner=AllAtOnce())


def test_a_reporter_s_when_a_job_is_resumed(tmp_path: Path) -> None:
    """The job stays as it was."""
    cls = type("Wrong", (Reporter,), {"resume": mistake})
    run_with(tmp_path, reporter=cls())
    for _ in range(2):
        with pytest.raises(StepError, match=r"Wrong failed: Mistaken"):
            resume(tmp_path / "job", {"n_cycles": 5}, Recorder())


@pytest.mark.parametrize("part", ["runner", "boundary_conditions", "resampler", "work_mapper"])
def test_what_is_no_such_part(tmp_path: Path, part: str) -> None:
    """A stranger's entry may hold anything: refused by name before a job folder is there."""
    parts = {"runner": Adds(), "resampler": NoResampler(), "boundary_conditions": None}
    configuration = plain_configuration()
    if part in parts:
        parts[part] = "x"
    else:
        configuration = Configuration.as_found(**{**vars(configuration), part: "x"})
    walkers = [Walker(WalkerState(x=[0.0]), 1.0)]
    start = Snapshot.as_found(walkers, Apparatus.as_found(**parts))
    made = prepare_store(tmp_path / "x.orch", start, configuration)
    with pytest.raises(WrongPartError, match=f"{part} must be .*can be shown, and not be run"):
        run_job(made.store, made.snapshot_hash, tmp_path / "job")
    assert not (tmp_path / "job").exists()
