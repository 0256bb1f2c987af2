"""How long a run goes on, and what signals do to it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from wepystore.orchestrator.run.budget import Budget, CycleDropped, StopSignals
from wepystore.records.circumstances import N_CYCLES, SECONDS, UNTIL


def used(budget: Budget, seconds: float) -> Budget:
    """As if so many seconds had passed."""
    budget.begun = time.monotonic() - seconds
    return budget


def test_the_first_cycle_always_runs() -> None:
    """However short the time: a job of no cycles would be of no use."""
    budget = used(Budget(1e-9), 100.0)
    budget.slowest_cycle = 1e6
    assert budget.allows(0)
    assert not budget.allows(1)


def test_a_cycle_that_would_overrun_is_not_begun() -> None:
    """By the slowest cycle and the slowest checkpoint so far."""
    budget = used(Budget(100.0), 80.0)
    budget.slowest_cycle = 19.0
    assert budget.allows(3)
    budget.slowest_checkpoint = 2.0
    assert not budget.allows(3)
    budget.slowest_checkpoint = 0.0
    budget.slowest_cycle = 21.0
    assert not budget.allows(3)


def test_the_number_of_cycles_ends_a_run() -> None:
    """--n-cycles N stops after N, with time left."""
    budget = Budget(1e9, n_cycles=3)
    assert [budget.allows(n) for n in range(5)] == [True, True, True, False, False]


def test_remaining_time_is_what_ends_first() -> None:
    """By the clock, or by the mean cycle times those to go; never negative."""
    budget = used(Budget(100.0, n_cycles=10), 20.0)
    assert budget.remaining(5) == pytest.approx(20.0, abs=0.1)
    assert budget.remaining(1) == pytest.approx(80.0, abs=0.1)
    assert budget.remaining(0) == pytest.approx(80.0, abs=0.1)
    assert used(Budget(1.0), 5.0).remaining(3) == 0.0


def test_what_opening_took_is_no_part_of_a_cycle() -> None:
    """Workers that take 15 s to start do not make the two cycles since take 10 s each."""
    budget = used(Budget(1e9, n_cycles=10), 15.0)
    budget.cycles_begin()
    budget.begun -= 4.0
    assert budget.cycling() == pytest.approx(4.0, abs=0.1)
    assert budget.remaining(2) == pytest.approx(16.0, abs=0.5)
    assert budget.elapsed() == pytest.approx(19.0, abs=0.1)


def test_a_resumed_run_counts_from_its_start() -> None:
    """One cycle of the session always runs by the time; cycles are those of the run."""
    budget = used(Budget(1e-9, n_cycles=12, first=10), 100.0)
    assert budget.allows(10) and not budget.allows(11)
    assert Budget(1e9, n_cycles=12, first=12).ends(12) == N_CYCLES
    assert used(Budget(1e9, n_cycles=12, first=10), 4.0).remaining(11) == pytest.approx(4, abs=0.1)


def test_until_leaves_room_for_a_checkpoint() -> None:
    """Also for the first cycle; a fifth more than the slowest cycle, twice the checkpoint."""
    assert Budget(1e9, until=time.time() + 2).ends(0) == UNTIL
    budget = Budget(1e9, until=time.time() + 60)
    assert budget.ends(0) is None
    budget.slowest_checkpoint = 10.0
    budget.slowest_cycle = 33.0
    assert budget.ends(1) is None
    budget.slowest_cycle = 34.0
    assert budget.ends(1) == UNTIL
    # The one that is being written comes first.
    budget.slowest_cycle, budget.is_writing = 17.0, True
    assert budget.ends(1) == UNTIL
    budget.slowest_cycle = 16.0
    assert budget.ends(1) is None
    budget.checkpoint_written(1.0)
    assert budget.room() == 20.0
    # What was asked for comes first.
    assert used(Budget(1.0, until=time.time()), 2.0).ends(1) == SECONDS


class Segments:
    """Stands where the cycle manager does: something that may be interrupted, or not yet."""

    interruptible = True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_cycle_too_long_for_the_grace_is_dropped_at_once(number: signal.Signals) -> None:
    """By the slowest cycle so far; not by waiting for the grace to end."""
    budget = Budget(1e9)
    budget.slowest_cycle = 1e6
    with StopSignals(lambda name: None, budget, grace=1e6) as signals:
        signals.cycle_begins(Segments())
        with pytest.raises(CycleDropped):
            os.kill(os.getpid(), number)
            time.sleep(10)
        signals.cycle_ends()
    assert signals.received == number.name


def test_a_cycle_that_may_end_in_time_is_given_the_grace() -> None:
    """And dropped when three quarters of it are over: the estimate was wrong."""
    begun = time.monotonic()
    with StopSignals(lambda name: None, Budget(1e9), grace=1.0) as signals:
        signals.cycle_begins(Segments())
        with pytest.raises(CycleDropped):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
    assert time.monotonic() - begun > 0.7


def test_nothing_is_raised_where_it_could_do_harm() -> None:
    """Between cycles, and in a cycle's other parts, a signal waits; a drop comes when segments
    run again."""
    with StopSignals(lambda name: None, Budget(1e9), grace=0.0) as signals:
        manager = Segments()
        manager.interruptible = False
        signals.cycle_begins(manager)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(CycleDropped):
            manager.interruptible = True
            time.sleep(10)
        assert manager.interruptible is False
        signals.cycle_ends()
        time.sleep(0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_until_drops_a_cycle_without_any_signal() -> None:
    """A first cycle of unknown length must not eat the time of the checkpoint."""
    until = time.time() + 3.3
    with StopSignals(lambda name: None, Budget(1e9, until=until)) as signals:
        signals.cycle_begins(Segments())
        with pytest.raises(CycleDropped):
            time.sleep(10)
    assert time.time() < until
    assert signals.received is None


def test_a_signal_is_remembered_and_handlers_come_back() -> None:
    """The first signal is noted and told; after the block everything is as before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told: list[str] = []
    with StopSignals(told.append) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
        # The next Ctrl-C is the system's: it works even inside OpenMM.
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert told == ["SIGTERM"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_embedding_thread_keeps_its_handlers() -> None:
    """Python lets only the main thread set handlers; elsewhere the block does nothing."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with StopSignals(lambda name: None) as signals:
                assert signals.received is None
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not problems
