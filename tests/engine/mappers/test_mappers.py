"""Mappers: order, errors that name their place, and processes that never outlive their use."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clusters import cluster
from tests.systems import bits, environment, pair_runner, pair_state, python
from tests.waiting import until
from tests.workers import (
    Adder,
    CustomError,
    Unloadable,
    alive,
    numbers,
    orders,
    seconds_until_gone,
)
from wepystore.api import DaskMapper, ProcessMapper, SerialMapper, Walker, WalkerState
from wepystore.engine.errors import ComponentError, SegmentError, WorkerStartError
from wepystore.engine.mappers.pack import pack_answers, pack_tasks, unpack_answers, unpack_tasks
from wepystore.engine.mappers.segment import Done, Failed, Task
from wepystore.engine.mappers.wire import Reader, encode


@pytest.fixture(
    scope="module",
    params=[
        SerialMapper,
        lambda: ProcessMapper(1),
        lambda: ProcessMapper(3),
        DaskMapper,
    ],
    ids=["serial", "one", "three", "dask"],
)
def mapper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Every mapper there is, to run an Adder, cleaned up when all tests have used it."""
    with contextlib.ExitStack() as stack:
        arguments = ()
        if request.param is DaskMapper:
            arguments = stack.enter_context(cluster(tmp_path_factory.mktemp("cluster")))[:1]
        made = request.param(*arguments)
        made.init(Adder().run_segment)
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
    return [worker.pid for worker in mapper._workers]


def warm(mapper: ProcessMapper) -> None:
    """Until every worker is up: whoever is first does all that there is to do."""
    while not all(worker.ready for worker in mapper._workers):
        mapper.map(numbers(4), [1] * 4, delay=[0.05] * 4)


def test_results_come_in_the_order_of_the_walkers(mapper: Any) -> None:
    """Whoever finishes first: the k-th result is the k-th walker's, in every call."""
    for length in (10, 20):
        delays = [0.02 * (k % 3 == 0) for k in range(13)]
        found = mapper.map(numbers(13), [length] * 13, delay=delays, cycle_idx=[0] * 13)
        assert [walker.state for walker in found] == [k + length for k in range(13)]
        times = mapper.worker_segment_times
        assert sum(len(each) for each in times.values()) == 13
    assert mapper.map([], []) == []


def test_a_failed_segment_names_cycle_walker_and_worker(mapper: Any) -> None:
    """The error says where it happened and what was wrong; for --debug there is a note with the
    place of the first attempt and the traceback of the second."""
    with pytest.raises(SegmentError, match=r"ZeroDivisionError: on request") as caught:
        mapper.map(
            numbers(5),
            [1] * 5,
            order=orders(5, w3="raise"),
            cycle_idx=[7] * 5,
            walker_idx=range(5),
        )
    text = str(caught.value)
    assert "cycle 7" in text
    assert "walker 3" in text
    assert "this process" in text or "worker " in text
    (note,) = caught.value.__notes__
    assert "cycle 7, walker 3" in note
    assert "the first attempt failed as well, on" in note
    assert "_obey" in note


def test_our_own_errors_come_through_as_they_are(mapper: Any) -> None:
    """A message made for the user is not wrapped into another."""
    with pytest.raises(CustomError, match="walker w is odd"):
        mapper.map(numbers(2), [1] * 2, order=orders(2, w1="own"), cycle_idx=[0] * 2)


def test_cleanup_lets_idle_workers_go(two: ProcessMapper) -> None:
    """After cleanup no worker is there; cleaning up twice, or before any init, is harmless."""
    workers = pids(two)
    two.map(numbers(3), [1] * 3)
    two.cleanup()
    assert seconds_until_gone(workers) < 5, "asked to leave, not waited for until killed"
    two.cleanup()
    ProcessMapper(1).cleanup()


def test_cleanup_before_the_workers_are_up() -> None:
    """A run refused right after init leaves no process behind."""
    mapper = ProcessMapper(2)
    mapper.init(Adder().run_segment)
    workers = pids(mapper)
    mapper.cleanup()
    seconds_until_gone(workers)


def test_workers_are_other_processes_and_share_the_work(two: ProcessMapper) -> None:
    """Two workers, none of them this process, both of them used."""
    warm(two)
    found = two.map(numbers(8), [1] * 8, order=["pid"] * 8, delay=[0.05] * 8)
    assert {walker.state for walker in found} == set(pids(two))
    assert os.getpid() not in pids(two)
    assert {k: len(v) > 0 for k, v in two.worker_segment_times.items()} == {0: True, 1: True}


def test_ctrl_c_is_the_parent_s_business(two: ProcessMapper) -> None:
    """SIGINT, sent to each worker and to this process's group, ends no worker."""
    two.map(numbers(2), [1] * 2)
    for pid in pids(two):
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0)
    found = two.map(numbers(4), [1] * 4)
    assert [walker.state for walker in found] == [1, 2, 3, 4]


def test_a_runner_that_cannot_be_loaded_is_a_start_error() -> None:
    """The worker says why; the parent does not hang."""

    def broken(function: Any) -> bytes:
        return pickle.dumps(os.getpid)[:-3]

    mapper = ProcessMapper(1)
    mapper.init(Adder().run_segment, dumps=broken)
    with pytest.raises(WorkerStartError, match="worker 0 did not start"):
        mapper.map(numbers(1), [1])
    mapper.cleanup()


def test_a_runner_that_ends_whoever_opens_it_is_a_start_error() -> None:
    """An error after a few processes, not new ones for ever."""
    mapper = ProcessMapper(1)
    mapper.init(Unloadable().run_segment)
    with pytest.raises(WorkerStartError, match=r"worker 0 did not start \(status 4\)"):
        mapper.map(numbers(2), [1] * 2)
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
    locked = sys.argv[1] == "locked"
    mark = sys.argv[2]
    def run_segment(self, walker, length, **kwargs):
        import ctypes, time
        if walker.state:
            open(self.mark, "w").close()
        if self.locked:
            ctypes.PyDLL(None).sleep(int(walker.state))  # This keeps the interpreter's lock.
        else:
            time.sleep(walker.state)
        return walker

mapper = ProcessMapper(2)
mapper.init(Sleeper().run_segment, dumps=dumps)
if sys.argv[1] != "starting":
    mapper.map([Walker(0.0, 1.0)] * 2, [1] * 2)
print(*[worker.pid for worker in mapper._workers], flush=True)
if sys.argv[1] in ("busy", "locked"):
    mapper.map([Walker(60.0, 1.0)] * 8, [1] * 8)
time.sleep(60)
"""


@pytest.mark.waits
@pytest.mark.parametrize("state", ["starting", "idle", "busy", "locked"])
def test_workers_of_a_killed_parent_leave(tmp_path: Path, state: str) -> None:
    """SIGKILL gives the parent no chance to clean up: its workers notice by themselves, and do
    not go on computing what nobody waits for; nor do those that are still importing what they
    need, or whose runner holds the interpreter's lock."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    mark = tmp_path / "mark"
    parent = subprocess.Popen(
        [sys.executable, str(script), state, str(mark)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    if state in ("busy", "locked"):
        until(mark.exists, parent)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    seconds_until_gone(workers)


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


def test_new_parameters_leave_old_hashes_alone() -> None:
    """A configuration stored before these parameters existed has none of their names in it."""
    assert ProcessMapper().params() == {"n_workers": None}
    full = ProcessMapper(2, [{"DeviceIndex": "0"}], 5)
    assert ProcessMapper.from_params(full.params(), 1).params() == full.params()
    assert full.params()["segment_timeout"] == 5.0


@pytest.mark.parametrize("n_atoms", [2, 5000])
def test_a_message_comes_out_as_it_went_in(n_atoms: int) -> None:
    """Whole or in pieces of any size, small states (in the pickle) and large ones (beside it)."""
    import socket

    rng = np.random.default_rng(n_atoms)
    walkers = [
        Walker(WalkerState(positions=rng.normal(size=(n_atoms, 3)), time=np.array(1.5)), 0.25)
        for _ in range(4)
    ]
    batch = [Task(k, walker, 10, {"seed": k, "x": None}) for k, walker in enumerate(walkers)]
    data = b"".join(encode(pack_tasks(batch)))
    for size in (1, 7, len(data)):
        if len(data) // size > 200_000:
            continue
        ours, theirs = socket.socketpair()
        reader, found = Reader(), []
        for place in range(0, len(data), size):
            for start in range(place, min(place + size, len(data)), 65536):
                ours.sendall(data[start : min(start + 65536, place + size)])
                while not found:
                    theirs.setblocking(False)
                    try:
                        complete = reader.read(theirs)
                    except BlockingIOError:
                        break
                    if complete is not None:
                        found.extend(complete)
        ours.close()
        theirs.close()
        back = unpack_tasks(found[0])
        assert bits([task.walker for task in back]) == bits(walkers)
        assert [(t.index, t.length, t.keywords) for t in back] == [
            (t.index, t.length, t.keywords) for t in batch
        ]
        assert back[0].walker.state["time"].shape == ()
        assert not back[0].walker.state["positions"].flags.writeable


def test_answers_of_any_form_survive_packing() -> None:
    """Walkers of one form, of several, of another class, and failures among them."""
    small = [Walker(WalkerState(a=np.arange(3.0) + k), 0.5) for k in range(2)]
    other = Walker(WalkerState(b=np.arange(2.0)), 0.5)
    for results in (small, [*small, other], [*small, Walker(5, 0.1)], [other], []):
        answers: list[Done | Failed] = [Done(k, each, 0.1) for k, each in enumerate(results)]
        answers.append(Failed(9, "bad", "trace", None))
        back = unpack_answers(pickle.loads(pickle.dumps(pack_answers(answers))))
        assert back[-1] == answers[-1]
        for done, walker in zip(back[:-1], results, strict=True):
            assert isinstance(done, Done)
            assert done.result.weight == walker.weight
            if isinstance(walker.state, WalkerState):
                assert walker.state.equals(done.result.state)


def test_walkers_that_no_worker_can_read_are_an_error_not_a_death(two: ProcessMapper) -> None:
    """A class that only this function knows cannot be loaded elsewhere: the message says so."""

    class Unreadable:
        def __reduce__(self) -> Any:
            return (exec, ("raise KeyError('unknown here')",))

    two.map(numbers(2), [1] * 2)
    workers = pids(two)
    with pytest.raises(SegmentError, match="cannot be read in a worker: KeyError"):
        two.map([Unreadable()], [1], cycle_idx=[0])
    assert [alive(pid) for pid in workers] == [True, True]


def test_results_that_cannot_travel_are_an_error(two: ProcessMapper) -> None:
    """A runner that gives back what no pickle can hold is told so, with the walker's number."""
    two.cleanup()
    two.init(Opener().run_segment)
    with pytest.raises(SegmentError, match=r"walker 1, worker .: .*TextIOWrapper"):
        two.map(numbers(2), [1] * 2, cycle_idx=[0] * 2)


class Opener(Adder):
    """Gives back an open file for the second walker."""

    def run_segment(self, walker: Walker, length: int, **kwargs: Any) -> Any:
        return walker if walker.state == 0 else Walker(open(os.devnull), walker.weight)
