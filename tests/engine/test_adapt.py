"""Components that were written for something else: random numbers and walkers at the border."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest

from wepystore.api import NoResampler, RandomWalkRunner, SerialMapper, Walker, WalkerState
from wepystore.compat.wepy.repairs import WepyMissingError, have_wepy, prepare_wepy
from wepystore.engine.adapt import (
    is_ours,
    native_state,
    native_walkers,
    seeded_globals,
    segment_function,
)
from wepystore.engine.errors import ComponentError
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams


def ensemble(n_walkers: int = 4) -> list[Walker]:
    return [Walker(WalkerState(positions=np.zeros((1, 1))), 1 / n_walkers) for _ in range(4)]


class GlobalWalk:
    """A runner of somebody's: draws globally, from both generators, and takes no seed."""

    def pre_cycle(self, **keywords: Any) -> None:
        pass

    def post_cycle(self) -> None:
        pass

    def run_segment(self, walker: Any, segment_length: int, *, cycle_idx: int, walker_idx: int):
        step = random.gauss(0, 1) + np.random.normal(size=(1, 1))
        return Walker(WalkerState(positions=walker.state["positions"] + step), walker.weight)


class Swap:
    """A resampler of somebody's that puts the walkers in another order, drawn globally."""

    def resample(self, walkers: Any) -> Any:
        order = np.random.permutation(len(walkers)).tolist()
        random.shuffle(order)
        return [walkers[k] for k in order], [], []


def end_of(runner: Any, resampler: Any, seed: int) -> list[float]:
    manager = CycleManager(ensemble(), runner, None, resampler, SerialMapper(), Streams(seed))
    manager.init()
    walkers: Any = ensemble()
    for cycle in range(3):
        walkers = manager.run_cycle(walkers, 1, cycle).walkers
    manager.cleanup()
    return [float(walker.state["positions"][0, 0]) for walker in walkers]


def global_state() -> Any:
    return random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2:]


def test_global_draws_follow_the_seed() -> None:
    """R1: a run of components that draw globally is a function of the run's seed, whatever the
    process has drawn before."""
    one = end_of(GlobalWalk(), Swap(), 5)
    random.random(), np.random.random(17)
    assert end_of(GlobalWalk(), Swap(), 5) == one
    assert end_of(GlobalWalk(), Swap(), 6) != one
    assert len(set(one)) == 4


def test_global_generators_are_set_back() -> None:
    """A run leaves the process's own random numbers where they were, also after an error."""
    before = global_state()
    end_of(GlobalWalk(), Swap(), 5)
    assert global_state() == before
    with pytest.raises(ZeroDivisionError), seeded_globals(np.random.default_rng(1)):
        random.random(), np.random.random()
        raise ZeroDivisionError
    assert global_state() == before


def test_ours_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Components of this package cost and change nothing: the global generators are not touched."""

    def refuse(*args: Any) -> None:
        raise AssertionError("the global generators were touched")

    for module, name in ((random, "seed"), (random, "setstate"), (np.random, "set_state")):
        monkeypatch.setattr(module, name, refuse)
    end_of(RandomWalkRunner(0.4), NoResampler(), 5)
    runner = RandomWalkRunner(0.4)
    assert is_ours(runner) and segment_function(runner).__self__ is runner


def test_walkers_of_ours_cross_as_they_are() -> None:
    """Nothing is copied where nothing is wepy's: the very same sequence comes back."""
    walkers = ensemble()
    assert native_walkers(walkers) is walkers


class Dictionary:
    """A state as wepy's protocol has it."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def dict(self) -> dict[str, Any]:
        return self.fields


def test_a_state_crosses_with_its_bits() -> None:
    """Arrays keep shape and bits, quantities of OpenMM come in nm and ps, None is left out, and
    nobody can change the state through the array that was given."""
    from openmm import unit

    given = np.array([[0.1, -0.0, np.pi]])
    state = native_state(
        Dictionary(
            positions=given,
            velocities=unit.Quantity(given, unit.angstrom / unit.picosecond),
            time=np.array([3.5]),
            forces=None,
        )
    )
    assert sorted(state) == ["positions", "time", "velocities"]
    assert state["positions"].tobytes() == given.tobytes()
    np.testing.assert_allclose(state["velocities"], given / 10, rtol=1e-15)
    assert state["time"].shape == (1,)
    given[0, 0] = 9
    assert state["positions"][0, 0] == 0.1


def test_a_field_that_is_no_array_is_named() -> None:
    """What cannot be kept is refused with the field's name, before a cycle is lost over it."""
    with pytest.raises(ComponentError, match=r"walker 3: state field 'label'.*str"):
        native_state(Dictionary(label="bound"), "walker 3")


@pytest.mark.skipif(have_wepy(), reason="wepy is installed here")
def test_without_wepy_the_package_is_named() -> None:
    """One line says what to install."""
    with pytest.raises(WepyMissingError, match=re.escape("pip install 'wepy==1.2'")):
        prepare_wepy()
