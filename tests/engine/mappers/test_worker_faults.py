"""Workers that die, hang or raise: one more try elsewhere, then an error that names the place."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.systems import (
    environment,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    pair_state,
    plain_configuration,
    run_job,
)
from tests.waiting import PATIENCE_S, until
from tests.workers import (
    Adder,
    Signing,
    Spoiled,
    Terminating,
    alive,
    children_of,
    claimed,
    crash,
    numbers,
    orders,
    seconds_until_gone,
    stat_of,
)
from wepystore.api import (
    OpenMMRunner,
    ProcessMapper,
    SerialMapper,
    Store,
    Walker,
    as_walker_state,
    prepare_store,
    save_configuration,
)
from wepystore.engine.errors import SegmentError, WorkerDiedError, WorkerHungError
from wepystore.engine.mappers import timeouts
from wepystore.engine.mappers.timeouts import (
    FIRST_IDLE_S,
    FIRST_S,
    FLOOR_S,
    LONG_FIRST_S,
    SILENT_S,
    Pace,
    Watch,
)
from wepystore.errors import WepystoreError
from wepystore.orchestrator.errors import CycleFailedError

FAULTS = ["raise", "interrupt", "leave", "kill", "exit", "crash", "stop", "hang"]
#: Of these the worker gives an account, and lives on.
RAISED = ("raise", "interrupt", "leave")


@contextlib.contextmanager
def two_workers() -> Iterator[ProcessMapper]:
    """They are given up after two seconds in one segment; none is left afterwards."""
    before = children_of(os.getpid())
    made = ProcessMapper(2, segment_timeout=2.0)
    made.init(Adder().run_segment)
    yield made
    made.cleanup()
    assert children_of(os.getpid()) <= before


@pytest.fixture(scope="module")
def mapper() -> Iterator[ProcessMapper]:
    """Two workers over many tests: whatever befell them in one, they serve in the next."""
    with two_workers() as made:
        yield made


@pytest.fixture
def own() -> Iterator[ProcessMapper]:
    """Two workers for one test."""
    with two_workers() as made:
        yield made


@pytest.mark.parametrize("order", FAULTS)
def test_a_segment_that_fails_once_is_run_again_elsewhere(
    mapper: ProcessMapper, tmp_path: Path, order: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Results as if nothing had happened; a worker that was lost is gone, a fresh one is there;
    and nobody has written anything (Python shows where a KeyboardInterrupt was raised)."""
    mark = tmp_path / "mark"
    found = mapper.map(
        numbers(7), [10] * 7, order=orders(7, w3=order), mark=[str(mark)] * 7, cycle_idx=[0] * 7
    )
    assert [walker.state for walker in found] == [k + 10 for k in range(7)]
    first = int(mark.read_text())
    assert alive(first) == (order in RAISED)
    assert len(mapper._workers) == 2
    assert capfd.readouterr() == ("", "")
    again = mapper.map(numbers(4), [1] * 4)
    assert [walker.state for walker in again] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("order", "error", "says"),
    [
        ("kill", WorkerDiedError, "died with status -9"),
        ("exit", WorkerDiedError, "died with status 3"),
        ("crash", WorkerDiedError, "died with status -11"),
        ("hang", WorkerHungError, "gave no answer for"),
        ("raise", SegmentError, "ZeroDivisionError: on request"),
        ("interrupt", SegmentError, "KeyboardInterrupt$"),
        ("leave", SegmentError, "SystemExit: on request"),
    ],
)
def test_a_segment_that_fails_twice_ends_the_cycle(
    mapper: ProcessMapper, order: str, error: type[WepystoreError], says: str
) -> None:
    """The error names cycle, walker and worker."""
    with pytest.raises(error, match=says) as caught:
        mapper.map(
            numbers(3),
            [1] * 3,
            order=orders(3, w1=order),
            delay=[0.0, 0.0, 0.5],
            cycle_idx=[5] * 3,
            walker_idx=range(3),
        )
    assert re.search(r"cycle 5, walker 1, worker \d", str(caught.value))


def test_signals_to_a_whole_job_are_nothing_to_workers(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """SIGINT, SIGTERM and the others, from the first moment of a worker's process on, while its
    interpreter starts, imports and works: none dies, nothing is written."""
    before = children_of(os.getpid())
    n_sent = 0
    over = threading.Event()

    def pester() -> None:
        nonlocal n_sent
        while not over.is_set():
            for pid in children_of(os.getpid()) - before:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                    os.kill(pid, number)
                    n_sent += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=pester)
    made = ProcessMapper(2)
    thread.start()
    try:
        made.init(Adder().run_segment)
        found = made.map(numbers(8), [10] * 8, delay=[0.05] * 8)
        assert made.n_replaced == 0
    finally:
        over.set()
        thread.join()
        made.cleanup()
    assert [walker.state for walker in found] == [k + 10 for k in range(8)]
    assert n_sent > 50
    assert capfd.readouterr() == ("", "")


def test_one_worker_alone_gets_a_successor(tmp_path: Path) -> None:
    """With nobody else to try, elsewhere means a fresh process, after an exception too."""
    made = ProcessMapper(1, segment_timeout=2.0)
    made.init(Adder().run_segment)
    mark = tmp_path / "mark"
    made.map(numbers(2), [1] * 2, order=orders(2, w0="raise"), mark=[str(mark)] * 2)
    assert not alive(int(mark.read_text()))
    made.cleanup()


def test_each_walker_has_its_own_second_try(mapper: ProcessMapper, tmp_path: Path) -> None:
    """Five walkers whose first attempts kill their workers: the others in their batches are not
    blamed, and all five end well."""
    marks = [str(tmp_path / str(k)) for k in range(20)]
    bad = {f"w{k}": "kill" for k in (0, 1, 7, 8, 19)}
    mapper.map(numbers(20), [1] * 20)  # Now it knows that they are short, and makes batches.
    before = mapper.n_replaced
    found = mapper.map(numbers(20), [2] * 20, order=orders(20, **bad), mark=marks)
    assert [walker.state for walker in found] == [k + 2 for k in range(20)]
    assert mapper.n_replaced - before == 5


def test_workers_killed_between_cycles_cost_nothing(mapper: ProcessMapper) -> None:
    """Idle workers that are gone when the next cycle begins are replaced; no walker is blamed."""
    for _ in range(3):
        while not all(worker.ready for worker in mapper._workers):
            mapper.map(numbers(4), [1] * 4, delay=[0.05] * 4)
        for worker in mapper._workers:
            os.kill(worker.pid, signal.SIGKILL)
        seconds_until_gone([worker.pid for worker in mapper._workers])
        found = mapper.map(numbers(4), [1] * 4, cycle_idx=[0] * 4)
        assert [walker.state for walker in found] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_stopped_worker_is_given_up_without_any_limit(tmp_path: Path) -> None:
    """SIGSTOP is seen by itself: in the first cycle, when nobody knows what segments take."""
    made = ProcessMapper(2)
    made.init(Adder().run_segment)
    mark = [str(tmp_path / "mark")] * 4
    found = made.map(numbers(4), [1] * 4, order=orders(4, w0="stop"), mark=mark)
    made.cleanup()
    assert [walker.state for walker in found] == [1, 2, 3, 4]


def test_a_walker_of_nan_is_named(tmp_path: Path) -> None:
    """Two atoms in one place have no finite force: the same message by every mapper."""
    said = []
    for mapper in (SerialMapper(), ProcessMapper(2)):
        mapper.init(pair_runner().run_segment)
        walkers = [Walker(pair_state(distance), 0.25) for distance in (0.4, 0.4, 0.0, 0.4)]
        with pytest.raises(SegmentError, match=r"cycle 2, walker 2.*NaN") as caught:
            mapper.map(walkers, [10] * 4, seed=[1, 2, 3, 4], cycle_idx=[2] * 4)
        mapper.cleanup()
        said.append(caught.value.fields["problem"])
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", [SerialMapper, lambda: ProcessMapper(1), lambda: ProcessMapper(2)])
def test_contexts_are_dropped_before_the_second_try(kind: Any) -> None:
    """What a segment left behind in a context has no part in the second try of the next."""
    mapper = kind()
    mapper.init(Spoiled().run_segment)
    try:
        for _ in range(2):
            found = mapper.map(numbers(6), [1] * 6)
            assert [walker.state for walker in found] == [1, 2, 3, 4, 5, 6]
    finally:
        mapper.cleanup()


class Dropped(BaseException):
    """What a signal handler raises to end a cycle."""


@pytest.mark.parametrize("delay", [0.02, 0.2, 0.4])
def test_an_exception_out_of_a_signal_handler_leaves_nothing(
    own: ProcessMapper, delay: float
) -> None:
    """Raised into `map` at any moment: busy workers end at once, or the next `map` works."""
    mapper = own

    def drop(number: int, frame: FrameType | None) -> None:
        raise Dropped

    before = signal.signal(signal.SIGALRM, drop)
    try:
        for _ in range(2):
            signal.setitimer(signal.ITIMER_REAL, delay)
            with pytest.raises(Dropped):
                mapper.map(numbers(4), [1] * 4, delay=[0.9] * 4)
        found = mapper.map(numbers(4), [3] * 4)
        assert [walker.state for walker in found] == [3, 4, 5, 6]
        signal.setitimer(signal.ITIMER_REAL, delay)
        with pytest.raises(Dropped):
            mapper.map(numbers(4), [1] * 4, delay=[0.9] * 4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    mapper.cleanup()


def test_no_process_is_forgotten_when_its_start_is_broken_off() -> None:
    """An exception out of a signal handler at 150 moments of starting, replacing and losing
    workers: after `cleanup` not even a zombie is left."""
    armed, n_dropped = False, 0

    def drop(number: int, frame: FrameType | None) -> None:
        nonlocal n_dropped
        if armed:
            n_dropped += 1
            raise Dropped

    before = signal.signal(signal.SIGALRM, drop)
    children = children_of(os.getpid())
    # Of what is no longer referred to nothing is tidied up in passing.
    gc.disable()
    try:
        for k in range(150):
            made = ProcessMapper(2)
            with contextlib.suppress(Dropped):
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.0001 * k)
                with contextlib.suppress(WorkerDiedError):
                    made.init(Adder().run_segment)
                    if k % 2:
                        made.map(numbers(2), [1] * 2, order=["kill"] * 2, cycle_idx=[0] * 2)
                armed = False
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            made.cleanup()
            assert children_of(os.getpid()) <= children, k
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert n_dropped > 75


def test_programs_that_a_runner_started_go_too(tmp_path: Path) -> None:
    """A worker that is given up takes along what its runner runs."""
    made = ProcessMapper(1, segment_timeout=0.5)
    made.init(Adder().run_segment)
    made.map(numbers(1), [1])
    (worker,) = made._workers
    with pytest.raises(WorkerHungError):
        made.map(numbers(1), [1], order=["program"], cycle_idx=[0])
    made.cleanup()
    processes = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    seconds_until_gone(
        pid for pid in processes if (stat := stat_of(pid)) and int(stat[2]) == worker.pid
    )


@pytest.mark.waits
def test_programs_that_a_runner_starts_can_be_ended() -> None:
    """SIGTERM, which is nothing to the worker, ends what its runner runs: a Pool of processes waits
    for that."""
    made = ProcessMapper(1)
    made.init(Terminating().run_segment)
    found = made.map(numbers(1), [1])
    made.cleanup()
    assert [walker.state for walker in found] == [-signal.SIGTERM]


STOPPED_PARENT = """
import sys
from tests.workers import Patient, numbers
from wepystore.api import ProcessMapper
mapper = ProcessMapper(2, segment_timeout=3.0)
mapper.init(Patient().run_segment)
mapper.map(numbers(4), [1] * 4, delay=[0.1] * 4)
print(*[worker.pid for worker in mapper._workers], flush=True)
mapper.map(numbers(2), [1] * 2, mark=[sys.argv[1]] * 2)
print(mapper.n_replaced)
mapper.cleanup()
"""


@pytest.mark.waits
def test_a_parent_that_was_stopped_gives_no_false_alarm(tmp_path: Path) -> None:
    """Stopped for longer than any limit, alone or with its workers (a suspended job), and then
    continued before them: no worker is taken for hung."""
    script = tmp_path / "parent.py"
    script.write_text(STOPPED_PARENT)
    marks = [tmp_path / "first", tmp_path / "second"]
    parents = [
        subprocess.Popen(
            [sys.executable, str(script), str(mark)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for mark in marks
    ]
    try:
        workers = [[int(word) for word in read(parent)] for parent in parents]
        for parent, mark, pids in zip(parents, marks, workers, strict=True):
            begun = [Path(f"{mark}-{pid}") for pid in pids]
            until(lambda begun=begun: all(file.exists() for file in begun), parent)
            os.kill(parent.pid, signal.SIGSTOP)
        for pid in workers[1]:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4.0)  # Longer than the limit.
        for pid in (parents[0].pid, parents[1].pid, *workers[1]):
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)
        for mark in marks:
            mark.touch()
        assert [read(parent) for parent in parents] == [["0"], ["0"]]
        for parent in parents:
            with parent:
                assert parent.wait(PATIENCE_S) == 0
    finally:
        for parent in parents:
            parent.kill()
            parent.wait()
    seconds_until_gone(workers[0] + workers[1])


def read(parent: subprocess.Popen[str]) -> list[str]:
    """The words of the next line that it writes."""
    assert parent.stdout is not None
    return parent.stdout.readline().split()


class Still:
    """A process that neither is stopped nor uses the processor; or uses it."""

    def __init__(self, used: float = 0.0) -> None:
        self.used = used

    def stopped(self) -> bool:
        return False

    def cpu_seconds(self) -> float | None:
        return self.used


def test_how_long_a_worker_is_waited_for() -> None:
    """By what others took, with a floor; by its use of the processor as long as none has ended;
    as long as the user says, if he does."""
    pace = Pace()
    assert pace.limit(100) is None
    pace.note(0.01, 100)
    assert pace.limit(100) == FLOOR_S
    pace.note(50.0, 100)
    pace.note(1.0, 100)
    assert pace.limit(100) == pytest.approx(1000)
    assert pace.limit(200) == pytest.approx(2000)

    process = Still()
    look = partial(Watch(0.0).look, pace=Pace())
    assert look(0.0, 1, process) is None
    for now in range(0, 10_000, 100):
        process.used += 1.0  # Busy: whatever it does may be what it should do.
        assert look(float(now), 1, process) is None
    assert look(now + FIRST_IDLE_S - 1, 1, process) is None
    assert "has not used the processor" in str(look(now + FIRST_IDLE_S + 1, 1, process))
    assert look(now + 2 * FIRST_IDLE_S, 2, process) is None, "it begins another one"
    look = partial(Watch(0.0).look, pace=Pace(), timeout=5.0)
    assert look(0.0, 1, process) is None
    assert look(4.9, 1, process) is None
    assert "gave no answer for 5.1 s" in str(look(5.1, 1, process, signs=9))


def test_a_livelock_in_the_first_segment_is_noticed() -> None:
    """Busy for ever, nothing known of others: after ten minutes where there were signs of life
    before, in this worker or in another one, and after four hours where there never were any."""
    process = Still()

    def given_up_at(signs: list[float], pace: Pace) -> float:
        watch = Watch(0.0)
        now = 0.0
        n_signs = 0
        while True:
            process.used += 1.0
            n_signs += bool(signs and now >= signs[n_signs % len(signs)] and n_signs < len(signs))
            if watch.look(now, 1, process, pace=pace, length=100, signs=n_signs):
                return now
            now += 10.0

    assert given_up_at([], Pace()) == pytest.approx(FIRST_S, abs=20)
    pace = Pace()
    assert given_up_at([10.0, 20.0], pace) == pytest.approx(20 + SILENT_S, abs=20)
    assert given_up_at([], pace) == pytest.approx(SILENT_S, abs=20)
    # A system whose context takes five minutes to make may take a hundred.
    assert given_up_at([300.0], Pace()) == pytest.approx(300 + 20 * 300, abs=20)
    # What others took still counts; signs of life are no excuse for silence.
    pace.note(1.0, 100)
    assert given_up_at([], pace) == pytest.approx(FLOOR_S, abs=20)
    # As long as it gets on it is left alone, however much slower it is than the others.
    assert given_up_at([20.0 * k for k in range(100)], pace) > 2000


def test_a_segment_that_takes_far_longer_than_others_is_remarked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once, with cycle and walker, if it gives signs of life; it is waited for, and ends."""
    monkeypatch.setattr(timeouts, "FACTOR", 2.0)
    monkeypatch.setattr(timeouts, "SILENT_S", 1.5)
    for timeout, n_expected in ((None, 1), (60.0, 0)):
        remarks: list[str] = []
        mapper = ProcessMapper(1, segment_timeout=timeout)
        mapper.remark = remarks.append
        mapper.init(Signing().run_segment)
        try:
            for length, cycle_idx in ((1, 0), (5, 1)):
                mapper.map(numbers(1), [length], cycle_idx=[cycle_idx], walker_idx=[0])
            assert remarks == []
            mapper._pace.slowest = 1e-3  # The next one has a step of a hundred times that.
            for cycle_idx in (7, 8):
                found = mapper.map(numbers(1), [25], cycle_idx=[cycle_idx], walker_idx=[0])
                assert found[0].state == 25 and mapper.n_replaced == 0
                mapper._pace.slowest = 1e-3
        finally:
            mapper.cleanup()
        assert len(remarks) == n_expected
        assert all(text.startswith("cycle 7, walker 0, worker 0: ") for text in remarks)


def test_how_long_is_far_longer_than_others() -> None:
    """Ten minutes at least, 20 times the slowest by the step; an hour as long as none has ended."""
    pace = Pace()
    assert pace.long(100) == LONG_FIRST_S
    pace.note(1.0, 100)
    assert pace.long(100) == SILENT_S
    pace.note(60.0, 100)
    assert pace.long(100) == pytest.approx(1200) and pace.long(200) == pytest.approx(2400)


def test_a_runner_s_signs_of_life_reach_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM's runner gives them between pieces of a segment, any runner may; with them a segment
    may take longer than others ever did, and one that falls silent is given up."""
    monkeypatch.setattr(timeouts, "FACTOR", 2.0)
    monkeypatch.setattr(timeouts, "FLOOR_S", 1.5)
    monkeypatch.setattr(timeouts, "SILENT_S", 1.5)
    mapper = ProcessMapper(1)
    mapper.init(Signing().run_segment)
    try:
        mapper.map(numbers(1), [1])
        mapper.map(numbers(1), [1], cycle_idx=[0])
        found = mapper.map(numbers(1), [20], cycle_idx=[1])
        assert found[0].state == 20
        assert mapper.n_replaced == 0
        assert 21 <= mapper._workers[0].child.slot.signs() <= 22
        with pytest.raises(WorkerHungError, match="gave no answer for"):
            mapper.map(numbers(1), [3], order=["hang"], cycle_idx=[2])
    finally:
        mapper.cleanup()
    openmm = ProcessMapper(1)
    openmm.init(pair_runner().run_segment)
    openmm.map([Walker(pair_state(), 1.0)], [500], seed=[1])
    assert openmm._workers[0].child.slot.signs() >= 1
    openmm.cleanup()


class Sabotaged(OpenMMRunner):
    """The pair's runner, which misbehaves in one segment of cycle 2."""

    fault = ("", "")

    def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
        what, mark = self.fault
        at_it = keywords["cycle_idx"] == 2 and keywords["walker_idx"] == 3
        if what and at_it and (mark == "always" or claimed(mark)):
            if what == "raise":
                raise ArithmeticError("on request")
            if what == "nan":
                walker = Walker(as_walker_state(np.full((2, 3), np.nan)), walker.weight)
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "unnoticed nan":
                return Walker(as_walker_state(np.full((2, 3), np.nan)), walker.weight)
            if what == "hang":
                time.sleep(1000)
            if what == "crash":
                crash()
        return super().run_segment(walker, segment_length, **keywords)


def sabotaged(what: str, mark: str) -> Any:
    """A snapshot of six pairs whose runner does `what`."""
    plain = pair_runner()
    runner = Sabotaged(plain.system, plain.topology, plain.integrator, plain.platform)
    runner.fault = (what, mark)
    return pair_snapshot(6, pair_apparatus(runner=runner))


@pytest.mark.parametrize(
    "what",
    [
        *("unnoticed nan", "kill", "hang"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("raise", "nan", "crash")),
    ],
)
def test_a_run_survives_one_fault_exactly(tmp_path: Path, what: str) -> None:
    """R1: a run with a segment that had to be run again ends in the hash of a run without; serial
    too, where the process lives on."""
    mark = tmp_path / "mark"
    mark.touch()  # Somebody was there before: no fault.
    snapshot = sabotaged(what, str(mark))
    made = prepare_store(tmp_path / "a.orch", snapshot, plain_configuration())
    wanted = run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=5).end
    mappers: list[Any] = [ProcessMapper(2, segment_timeout=2.0)]
    if what in ("raise", "nan", "unnoticed nan"):
        mappers.append(SerialMapper())
    for mapper in mappers:
        mark.unlink()
        config = save_configuration(made.store, plain_configuration(mapper))
        job = tmp_path / type(mapper).__name__
        end = run_job(made.store, made.snapshot_hash, job, configuration=config, n_cycles=5).end
        assert mark.exists()
        assert end == wanted


@pytest.mark.parametrize("what", ["raise", "kill"])
def test_a_run_that_cannot_go_on_keeps_its_cycles(tmp_path: Path, what: str) -> None:
    """The cycles before the fault are in the job's store; the message names the place and the
    end that is kept."""
    made = prepare_store(
        tmp_path / "a.orch", sabotaged(what, "always"), plain_configuration(ProcessMapper(2))
    )
    before = children_of(os.getpid())
    with pytest.raises(CycleFailedError, match=r"cycle 2, walker 3, worker \d") as caught:
        run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=5)
    assert children_of(os.getpid()) <= before
    assert caught.value.fields["n_cycles"] == 2
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    assert store.ref("default-snapshot") == caught.value.fields["end"]
