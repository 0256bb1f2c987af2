"""What a monitor that was written for wepy finds, and how one that fails is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.systems import pair_snapshot
from wepystore.api import SerialMapper
from wepystore.engine.errors import ComponentError, StepError
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams


class Metrics:
    """Reads all that wepy's own SimMonitor reads."""

    def __init__(self, fails_in: str = "") -> None:
        self.fails_in = fails_in
        self.seen: list[Any] = []

    def init(self) -> None:
        if self.fails_in == "init":
            raise OSError(98, "Address already in use")

    def cycle_monitor(self, sim_manager: Any, walkers: Any) -> None:
        if self.fails_in == "cycle_monitor":
            self.seen.append(sim_manager.init_walkers)
        report = sim_manager._last_report
        times = [
            report[name]
            for name in (
                *("cycle_bc_time", "cycle_resampling_time", "cycle_sim_manager_segment_time"),
                *("runner_precycle_time", "runner_postcycle_time"),
                "sim_manager_segment_overhead_time",
            )
        ]
        segments = [time for each in report["worker_segment_times"].values() for time in each]
        splits = [each["steps_time"] for each in report["runner_splits_time"]]
        parts = [
            *(sim_manager.runner, sim_manager.resampler, sim_manager.boundary_conditions),
            *(sim_manager.work_mapper, sim_manager.reporters),
        ]
        self.seen.append(
            (report["cycle_idx"], len(walkers), times, segments, splits, parts, sim_manager)
        )

    def cleanup(self) -> None:
        if self.fails_in == "cleanup":
            raise KeyError("no such end")


def run(monitor: Any) -> CycleManager:
    snapshot = pair_snapshot(4)
    parts = snapshot.apparatus
    manager = CycleManager(
        snapshot.walkers,
        *(parts.runner, parts.boundary_conditions, parts.resampler),
        work_mapper=SerialMapper(),
        streams=Streams(1),
        monitor=monitor,
    )
    manager.init()
    walkers: Any = manager.init_walkers
    for cycle_idx in range(2):
        walkers = manager.run_cycle(walkers, 5, cycle_idx).walkers
    manager.cleanup()
    return manager


def test_what_wepys_monitor_reads_is_there() -> None:
    """Components, the last report with its times, and of each worker its segments'."""
    monitor = Metrics()
    manager = run(monitor)
    assert [each[:2] for each in monitor.seen] == [(0, 4), (1, 4)]
    _, _, times, segments, splits, parts, seen = monitor.seen[1]
    assert all(time >= 0 for time in times) and len(segments) == 4 and splits == []
    assert parts[0] is manager.runner and parts[4] == ()
    assert seen.n_init_walkers == 4
    assert len(seen._last_report["new_walkers"]) == 4


@pytest.mark.parametrize(
    ("fails_in", "says"),
    [
        ("init", "cycle 0: the monitor Metrics failed: OSError: .*Address already in use"),
        ("cycle_monitor", "cycle 0: the monitor Metrics failed: .*finds no 'init_walkers' in the"),
        ("cleanup", "the monitor Metrics: it failed at the end: KeyError: 'no such end'"),
    ],
)
def test_one_that_fails_is_named(fails_in: str, says: str) -> None:
    """By its class: a port that is taken names no file, and what the manager has not says what
    there is."""
    with pytest.raises((StepError, ComponentError), match=says):
        run(Metrics(fails_in))


def test_what_is_no_monitor_is_refused_before_anything_runs() -> None:
    """A class in place of an object, and an object without the methods."""
    for wrong, says in ((Metrics, "monitor Metrics: it is a class"), (3, "monitor int: it has no")):
        with pytest.raises(ComponentError, match=says):
            run(wrong)
