"""Mappers: order, errors that name their place, and processes that never outlive their use."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.systems import bits, environment, pair_runner, pair_state, python
from wepystore.api import Component, ProcessMapper, SerialMapper, Walker
from wepystore.engine.errors import (
    ComponentError,
    SegmentError,
    WorkerDiedError,
    WorkerStartError,
)
from wepystore.errors import FailedError


class CustomError(FailedError):
    """walker {name} is {how}"""


class Adder(Component):
    """A runner whose walkers are numbers, and that can be told to misbehave."""

    def run_segment(
        self, walker: Walker, length: int, *, order: str = "", delay: float = 0.0, **kwargs: Any
    ) -> Walker:
        time.sleep(delay)
        if order == "fail":
            raise ZeroDivisionError("on request")
        if order == "own":
            raise CustomError(name="w", how="odd")
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "exit":
            os._exit(3)
        if order == "pid":
            return Walker(os.getpid(), walker.weight)
        return Walker(walker.state + length, walker.weight)


def walkers(n: int) -> list[Walker]:
    return [Walker(k, 1 / n) for k in range(n)]


def orders(n: int, **special: str) -> list[str]:
    return [special.get(f"w{k}", "") for k in range(n)]


@pytest.fixture(params=[SerialMapper, lambda: ProcessMapper(2), lambda: ProcessMapper(3)])
def mapper(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Every mapper there is, cleaned up afterwards."""
    made = request.param()
    yield made
    made.cleanup()


@pytest.fixture
def two() -> Iterator[ProcessMapper]:
    """Two workers that run an Adder."""
    made = ProcessMapper(2)
    made.init(Adder().run_segment)
    yield made
    made.cleanup()


def pids(mapper: ProcessMapper) -> list[int]:
    return [worker.process.pid for worker in mapper._workers]


def gone(pid: int, within_s: float = 10.0) -> bool:
    """True if no process has this id any more: neither alive nor a zombie."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


def test_results_come_in_the_order_of_the_walkers(mapper: Any) -> None:
    """Whoever finishes first: the k-th result is the k-th walker's, in every call."""
    mapper.init(Adder().run_segment)
    for length in (10, 20):
        delays = [0.02 * (k % 3 == 0) for k in range(13)]
        found = mapper.map(walkers(13), [length] * 13, delay=delays, cycle_idx=[0] * 13)
        assert [walker.state for walker in found] == [k + length for k in range(13)]
        times = mapper.worker_segment_times
        assert sum(len(each) for each in times.values()) == 13
    assert mapper.map([], []) == []


def test_a_failed_segment_names_cycle_walker_and_worker(mapper: Any) -> None:
    """The error says where it happened and what was wrong."""
    mapper.init(Adder().run_segment)
    with pytest.raises(SegmentError, match=r"ZeroDivisionError: on request") as caught:
        mapper.map(
            walkers(5),
            [1] * 5,
            order=orders(5, w3="fail"),
            cycle_idx=[7] * 5,
            walker_idx=range(5),
        )
    text = str(caught.value)
    assert "cycle 7" in text
    assert "walker 3" in text
    assert "this process" in text or "worker " in text


def test_our_own_errors_come_through_as_they_are(mapper: Any) -> None:
    """A message made for the user is not wrapped into another."""
    mapper.init(Adder().run_segment)
    with pytest.raises(CustomError, match="walker w is odd"):
        mapper.map(walkers(2), [1] * 2, order=orders(2, w1="own"), cycle_idx=[0] * 2)


def test_a_worker_s_traceback_is_kept(two: ProcessMapper) -> None:
    """The parent's traceback ends at the pipe; the worker's is in the notes of the error."""
    with pytest.raises(SegmentError) as caught:
        two.map(walkers(2), [1] * 2, order=orders(2, w0="fail"), cycle_idx=[0] * 2)
    assert any("run_segment" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(("order", "status"), [("die", "-9"), ("exit", "3")])
def test_a_killed_worker_is_named_and_nothing_is_left(order: str, status: str) -> None:
    """SIGKILL (say, out of memory) is an error with pid, status and walkers; no zombie stays."""
    mapper = ProcessMapper(2)
    mapper.init(Adder().run_segment)
    mapper.map(walkers(2), [1, 1])
    workers = pids(mapper)
    begun = time.monotonic()
    with pytest.raises(WorkerDiedError, match=f"status {status}") as caught:
        mapper.map(
            walkers(4),
            [1] * 4,
            order=orders(4, w0=order),
            delay=[0.0, 0.0, 0.0, 30.0],
            cycle_idx=[5] * 4,
        )
    assert "cycle 5" in str(caught.value)
    assert caught.value.fields["pid"] in workers
    assert "0" in caught.value.fields["walker_idxs"]
    mapper.cleanup()
    # The other one, which is in the middle of half a minute's work, is not waited for.
    assert time.monotonic() - begun < 10
    assert all(gone(pid) for pid in workers)


def test_cleanup_lets_idle_workers_go(two: ProcessMapper) -> None:
    """After cleanup no worker is there; cleaning up twice, or before any init, is harmless."""
    workers = pids(two)
    two.map(walkers(3), [1] * 3)
    two.cleanup()
    assert all(gone(pid) for pid in workers)
    two.cleanup()
    ProcessMapper(1).cleanup()


def test_cleanup_before_the_workers_are_up() -> None:
    """A run refused right after init leaves no process behind."""
    mapper = ProcessMapper(2)
    mapper.init(Adder().run_segment)
    workers = pids(mapper)
    mapper.cleanup()
    assert all(gone(pid) for pid in workers)


def test_workers_are_other_processes_and_share_the_work(two: ProcessMapper) -> None:
    """Two workers, none of them this process, both of them used."""
    found = two.map(walkers(8), [1] * 8, order=["pid"] * 8, delay=[0.05] * 8)
    assert {walker.state for walker in found} == set(pids(two))
    assert os.getpid() not in pids(two)
    assert {k: len(v) > 0 for k, v in two.worker_segment_times.items()} == {0: True, 1: True}


def test_ctrl_c_is_the_parent_s_business(two: ProcessMapper) -> None:
    """SIGINT, sent to each worker and to this process's group, ends no worker."""
    two.map(walkers(2), [1] * 2)
    for pid in pids(two):
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0)
    found = two.map(walkers(4), [1] * 4)
    assert [walker.state for walker in found] == [1, 2, 3, 4]


def test_a_runner_that_cannot_be_loaded_is_a_start_error() -> None:
    """The worker says why; the parent does not hang."""

    def broken(function: Any) -> bytes:
        return pickle.dumps(os.getpid)[:-3]

    mapper = ProcessMapper(1)
    mapper.init(Adder().run_segment, dumps=broken)
    with pytest.raises(WorkerStartError, match="worker 0 did not start"):
        mapper.map(walkers(1), [1])
    mapper.cleanup()


def test_the_number_of_workers() -> None:
    """The run's own number goes before the configuration's; less than one is refused."""
    mapper = ProcessMapper(3)
    mapper.init(Adder().run_segment, num_workers=1)
    assert len(pids(mapper)) == 1
    mapper.cleanup()
    with pytest.raises(ComponentError, match="at least 1, not 0"):
        ProcessMapper(0)
    with pytest.raises(ComponentError, match="-2"):
        ProcessMapper(-2)


def test_openmm_segments_are_the_same_in_a_worker() -> None:
    """R1: the mapper changes no bit."""
    start = [Walker(pair_state(), 0.25) for _ in range(4)]
    found = []
    for mapper in (SerialMapper(), ProcessMapper(2)):
        mapper.init(pair_runner().run_segment)
        found.append(bits(mapper.map(start, [20] * 4, seed=[4, 5, 6, 7])))
        mapper.cleanup()
    assert found[0] == found[1]


PARENT = """
import sys, time
from wepystore.api import ProcessMapper, Walker
from wepystore.records.pickles import dumps

class Sleeper:
    def run_segment(self, walker, length, **kwargs):
        time.sleep(walker.state)
        return walker

mapper = ProcessMapper(2)
mapper.init(Sleeper().run_segment, dumps=dumps)
mapper.map([Walker(0.0, 1.0)] * 2, [1] * 2)
print(*[worker.process.pid for worker in mapper._workers], flush=True)
if sys.argv[1] == "busy":
    mapper.map([Walker(60.0, 1.0)] * 8, [1] * 8)
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_of_a_killed_parent_leave(tmp_path: Path, state: str) -> None:
    """SIGKILL gives the parent no chance to clean up: its workers notice by themselves, and do
    not go on computing what nobody waits for."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), state], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert all(gone(pid) or zombie(pid) for pid in workers)


def zombie(pid: int) -> bool:
    """Ended, and waiting for an init process that a container may lack."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


UNGUARDED = """
from wepystore.api import ProcessMapper, Walker
from wepystore.records.pickles import dumps

SCALE = 3

class Mine:
    '''A runner that only this script knows.'''
    def __init__(self, offset):
        self.offset = offset
    def run_segment(self, walker, length, **kwargs):
        return Walker(helper(walker.state) + self.offset, walker.weight)

def helper(x):
    return x * SCALE

print("top")
mapper = ProcessMapper(2)
mapper.init(Mine(1).run_segment, dumps=dumps)
print([walker.state for walker in mapper.map([Walker(k, 0.25) for k in range(4)], [1] * 4)])
mapper.cleanup()
"""


def test_a_script_s_own_runner_works_without_a_main_guard(tmp_path: Path) -> None:
    """A class of __main__, with what it uses, travels by value; the script is not run again."""
    script = tmp_path / "mine.py"
    script.write_text(UNGUARDED)
    assert python(script).splitlines() == ["top", "[1, 4, 7, 10]"]


def test_a_mapper_is_its_parameters() -> None:
    """Neither workers nor their state go into a store."""
    mapper = ProcessMapper(2)
    mapper.init(Adder().run_segment)
    copy = pickle.loads(pickle.dumps(mapper))
    mapper.cleanup()
    assert copy.params() == {"n_workers": 2}
    assert copy._workers == []
    assert SerialMapper().params() == {}
