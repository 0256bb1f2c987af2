"""Walkers and their states."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from wepystore.engine.walker import Walker, WalkerState


def test_a_state_cannot_be_changed_through_an_array_somebody_kept() -> None:
    """Clones share a state, so it must be immutable, whatever it was made of."""
    kept = np.zeros((2, 3))
    view = np.zeros((4, 3))[1:3]
    state = WalkerState(positions=kept, velocities=view)
    kept[:] = 1.0
    view.base[:] = 1.0  # type: ignore[index]
    assert not state["positions"].any()
    assert not state["velocities"].any()
    with pytest.raises(ValueError, match="read-only"):
        state["positions"][0] = 1.0


def test_fields_become_float64_arrays_of_their_own_rank() -> None:
    """A time stays 0-d; integers become float64."""
    state = WalkerState(time=1, positions=[[1, 2, 3]])
    assert state["time"].shape == ()
    assert state["positions"].dtype == np.float64
    assert list(state) == ["time", "positions"]
    assert state.dict() == dict(state)


def test_equality_is_of_bits() -> None:
    """0.0 and -0.0 are different states; equal NaNs are the same one."""
    assert WalkerState(x=[0.0]).equals(WalkerState(x=[0.0]))
    assert not WalkerState(x=[0.0]).equals(WalkerState(x=[-0.0]))
    assert WalkerState(x=[np.nan]).equals(WalkerState(x=[np.nan]))
    assert not WalkerState(x=[1.0]).equals(WalkerState(x=[[1.0]]))
    assert not WalkerState(x=[1.0]).equals(WalkerState(y=[1.0]))


def test_a_state_survives_pickle_and_stays_immutable() -> None:
    """States cross to worker processes and back."""
    state = WalkerState(x=np.arange(6.0).reshape(2, 3), t=0.5)
    again = pickle.loads(pickle.dumps(state, protocol=5))
    assert again.equals(state)
    assert not again["x"].flags.writeable


def test_a_walker_cannot_be_changed() -> None:
    """Nor by whoever is shown one; made anew, copied or sent to a worker, it stays what it was."""
    walker = Walker(WalkerState(x=[1.0]), 0.5)
    for each in (walker, copy.copy(walker), copy.deepcopy(walker), *walker.clone()):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(each, protocol))
            assert again.weight == each.weight and again.state.equals(each.state)
            for name in ("weight", "state"):
                with pytest.raises(AttributeError, match=f"{name} of a walker cannot be"):
                    setattr(again, name, getattr(each, name))
                with pytest.raises(AttributeError, match=f"{name} of a walker cannot be"):
                    delattr(again, name)


class Numbered(Walker):
    """A user's walker, with a constructor and something of its own."""

    def __init__(self, state: object, weight: float, number: int = 0) -> None:
        self.state = state
        self.weight = weight
        self.number = number


def test_a_users_walker_may_hold_more() -> None:
    """What is its own may change; state and weight may not."""
    walker = Numbered(WalkerState(x=[1.0]), 0.5, 3)
    walker.number += 1
    assert pickle.loads(pickle.dumps(walker)).number == 4
    with pytest.raises(AttributeError):
        walker.weight = 0.25


def test_cloning_shares_the_weight() -> None:
    """W3: n + 1 clones of one walker carry its weight together, and its state."""
    walker = Walker(WalkerState(x=[1.0]), 0.75)
    clones = walker.clone(2)
    assert [clone.weight for clone in clones] == [0.25] * 3
    assert all(clone.state is walker.state for clone in clones)


def test_squashing_adds_the_weight_to_the_target() -> None:
    """W3: the target keeps its state and takes the weight; neither walker is changed."""
    a, b = Walker("a", 0.25), Walker("b", 0.5)
    merged = a.squash(b)
    assert (merged.state, merged.weight) == ("b", 0.75)
    assert (a.weight, b.weight) == (0.25, 0.5)


def test_merging_keeps_a_state_with_probability_proportional_to_weight() -> None:
    """What makes merging unbiased: 0.6 : 0.3 : 0.1, within 4 standard errors of 4000 draws."""
    rng = np.random.default_rng(11)
    group = [Walker(name, weight) for name, weight in (("a", 0.6), ("b", 0.3), ("c", 0.1))]
    counts = np.zeros(3)
    for _ in range(4000):
        merged, kept = group[0].merge(group[1:], rng)
        assert merged.state == group[kept].state
        assert merged.weight == pytest.approx(1.0, abs=1e-15)
        counts[kept] += 1
    p = np.array([0.6, 0.3, 0.1])
    assert np.all(np.abs(counts - 4000 * p) < 4 * np.sqrt(4000 * p * (1 - p)))


def test_subclasses_stay_what_they_are() -> None:
    """A user's own walker class survives cloning, squashing and merging."""

    class Mine(Walker):
        pass

    a, b = Mine("a", 0.5), Mine("b", 0.5)
    assert type(a.clone()[0]) is type(a.squash(b)) is type(a.merge([b])[0]) is Mine
