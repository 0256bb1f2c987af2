"""How long a run goes on, and what signals do to it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from wepystore.orchestrator.budget import Budget, StopSignals


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
