"""A cycle that fails leaves no trace in the parts that decide (R2)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.run.test_resume import full_once, goes_on_after_the_error
from tests.systems import plain_configuration
from wepystore.api import (
    Apparatus,
    NoBC,
    NoResampler,
    RandomWalkRunner,
    Snapshot,
    Walker,
    prepare_store,
)
from wepystore.engine.undo import undoing


class CountingBC(NoBC):
    """A component of a user's own that changes while it runs."""

    n_cycles = 0

    def warp_walkers(self, walkers: Sequence[Any], cycle_idx: int) -> Any:
        self.n_cycles += 1
        return super().warp_walkers(walkers, cycle_idx)

    def state(self) -> dict[str, Any]:
        return {"n_cycles": self.n_cycles}

    def restore(self, state: dict[str, Any]) -> None:
        self.n_cycles = state["n_cycles"]


class RememberingResampler:
    """No component: as one written for wepy, it keeps what it found among its attributes."""

    DECISION = NoResampler.DECISION

    def __init__(self) -> None:
        self.places: list[float] = []

    def resample(self, walkers: Sequence[Any]) -> Any:
        self.places.append(float(walkers[0].state["positions"][0, 0]))
        return NoResampler().resample(walkers)


@pytest.mark.parametrize("part", [CountingBC, RememberingResampler])
def test_a_cycle_that_failed_is_not_done_twice(part: type, tmp_path: Path) -> None:
    """A reporter fails when the others have done their part: resumed, the run ends as one
    without the error."""
    runner = RandomWalkRunner(0.4)
    made_of = {"boundary_conditions": NoBC(), "resampler": NoResampler()}
    made_of["boundary_conditions" if part is CountingBC else "resampler"] = part()
    walkers = [Walker(runner.initial_state(), 0.25)] * 4
    made = prepare_store(
        tmp_path / "x.orch",
        Snapshot(walkers, Apparatus(runner, **made_of)),
        plain_configuration(None, [full_once(tmp_path / "failed")]),
    )
    goes_on_after_the_error(made, tmp_path)


def test_what_cannot_be_copied_is_left_as_it_is() -> None:
    """A resampler that holds a lock can run; only that its changes cannot be taken back."""

    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.number = 1

    resampler = Locked()
    undo = undoing(None, resampler)
    resampler.number = 2
    undo()
    assert resampler.number == 2
