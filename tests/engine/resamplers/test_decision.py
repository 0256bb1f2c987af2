"""Decisions: applying records conserves weight and number, and refuses records that cannot be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.record_fields import RecordColumns
from wepystore.engine.resamplers import decision
from wepystore.engine.resamplers.clone_merge import (
    CloneMergeResampler,
    assign_slots,
)
from wepystore.engine.resamplers.decision import Decision, DecisionError, apply_decisions, resolve
from wepystore.engine.walker import Walker, WalkerState


def make_walkers(weights):
    return [
        Walker(WalkerState(positions=[[idx, 0.0, 0.0]]), weight)
        for idx, weight in enumerate(weights)
    ]


def record(number, *targets):
    return {"decision_id": int(number), "target_idxs": targets}


def origin(walker):
    return int(walker.state["positions"][0, 0])


def test_numbers_are_those_of_the_file_format():
    """The names and numbers written into HDF5 files are wepy's."""
    assert Decision.enum_dict_by_name() == {
        "NOTHING": 1,
        "CLONE": 2,
        "SQUASH": 3,
        "KEEP_MERGE": 4,
    }


def test_applying_moves_states_and_weights():
    """A clone fills the slot of the squashed walker, and the kept walker gets its weight."""
    walkers = make_walkers([0.5, 0.2, 0.2, 0.1])
    records = [
        record(Decision.CLONE, 0, 3),
        record(Decision.KEEP_MERGE, 1),
        record(Decision.NOTHING, 2),
        record(Decision.SQUASH, 1),
    ]
    after = apply_decisions(walkers, records)
    assert [origin(walker) for walker in after] == [0, 1, 2, 0] == resolve(records).parents.tolist()
    assert [walker.weight for walker in after] == [0.25, math.fsum([0.2, 0.1]), 0.2, 0.25]
    assert after[2] is walkers[2]
    assert [walker.weight for walker in walkers] == [0.5, 0.2, 0.2, 0.1]


def test_array_values_are_read_too():
    """Records as reporters see them, with arrays of shape (1,), can be applied."""
    walkers = make_walkers([0.5, 0.5])
    records = [{"decision_id": np.array([1]), "target_idxs": np.array([idx])} for idx in range(2)]
    assert apply_decisions(walkers, records) == walkers


class Foreign:
    """A walker of somebody else's, with no more than the protocol asks for."""

    def __init__(self, state, weight):
        self.state, self.weight = state, weight

    def clone(self, number=1):
        return [Foreign(self.state, self.weight / (number + 1)) for _ in range(number + 1)]


def test_any_walkers_that_keep_the_protocol_will_do():
    """Walkers of another class stay of that class."""
    walkers = [Foreign({"name": name}, weight) for name, weight in (("a", 0.6), ("b", 0.3))]
    walkers.append(Foreign({"name": "c"}, 0.1))
    after = apply_decisions(walkers, assign_slots(3, {1: [2]}, {0: 1}))
    assert [type(walker) for walker in after] == [Foreign] * 3
    assert [walker.state["name"] for walker in after] == ["a", "b", "a"]
    assert [walker.weight for walker in after] == [0.3, 0.4, 0.3]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record(1, 0)], "1 records for 2 walkers"),
        ([record(1, 0), record(1, 0)], "first slot is 0"),
        ([record(2, 0, 1), record(1, 1)], "slot 1 is filled by walkers 0 and 1"),
        ([record(3, 1), record(1, 1)], "not KEEP_MERGE"),
        ([record(4, 0), record(3, 0)], "no walker fills slot 1"),
        ([record(2, 0), record(1, 1)], "cloned into 1 slots"),
        ([record(1, 0), record(1, 2)], "names slot 2"),
        ([record(1, 0), record(1, 1, 0)], "names 2 slots"),
        ([record(1, 0), record(9, 1)], "no decision 9"),
    ],
)
def test_impossible_records_are_refused(records, words):
    """Records that fill a slot twice or never are an error that says which."""
    with pytest.raises(DecisionError, match=words):
        apply_decisions(make_walkers([0.5, 0.5]), records)


def test_columns_say_what_dicts_say():
    """Decisions kept as arrays come to the same, and are refused the same."""
    columns = assign_slots(5, {1: [3, 2]}, {4: 2})
    dicts = list(assign_slots(5, {1: [3, 2]}, {4: 2}))
    for one, other in zip(resolve(columns), resolve(dicts), strict=True):
        assert one.tolist() == other.tolist()
    assert columns.columns is not None
    with pytest.raises(DecisionError, match="no decision 9"):
        resolve(RecordColumns(decision_id=np.array([[1], [9]]), target_idxs=np.array([[0], [1]])))


@st.composite
def plans(draw):
    """Weights, merges and clones that balance."""
    n_walkers = draw(st.integers(1, 24))
    order = draw(st.permutations(range(n_walkers)))
    merges, position = {}, 0
    for size in draw(st.lists(st.integers(2, 4), max_size=4)):
        if position + size < n_walkers:
            kept, *squashed = order[position : position + size]
            merges[kept] = squashed
            position += size
    freed = sum(len(squashed) for squashed in merges.values())
    clones = {}
    for _ in range(freed):
        walker_idx = draw(st.sampled_from(order[position:]))
        clones[walker_idx] = clones.get(walker_idx, 0) + 1
    raw = draw(st.lists(st.floats(1e-9, 1.0), min_size=n_walkers, max_size=n_walkers))
    return [weight / math.fsum(raw) for weight in raw], merges, clones


@given(plans())
def test_slots_weights_and_numbers(plan):
    """W1, W3: any balanced plan keeps the number of walkers, the weight, and survivors' slots."""
    weights, merges, clones = plan
    records = assign_slots(len(weights), merges, clones)
    after = apply_decisions(make_walkers(weights), records)
    assert len(after) == len(weights)
    assert min(walker.weight for walker in after) > 0
    total = math.fsum(walker.weight for walker in after)
    assert abs(total - math.fsum(weights)) <= len(weights) * np.finfo(float).eps
    squashed = {idx for group in merges.values() for idx in group}
    for idx, line in enumerate(resolve(records).parents.tolist()):
        assert origin(after[idx]) == line
        assert idx in squashed or line == idx
    for kept, group in merges.items():
        assert after[kept].weight == math.fsum(weights[idx] for idx in (kept, *group))


@given(plans())
def test_an_ensemble_stays_one_and_gets_the_same_bits(plan):
    """Walkers in arrays end in the weights and states that a list of them ends in."""
    weights, merges, clones = plan
    records = assign_slots(len(weights), merges, clones)
    walkers = make_walkers(weights)
    ensemble = Ensemble.of(walkers)
    before = ensemble.weights.tobytes(), ensemble.fields["positions"].tobytes()
    expected, after = apply_decisions(walkers, records), apply_decisions(ensemble, records)
    assert isinstance(after, Ensemble)
    assert after.weights.tolist() == [walker.weight for walker in expected]
    assert [origin(walker) for walker in after] == [origin(walker) for walker in expected]
    assert before == (ensemble.weights.tobytes(), ensemble.fields["positions"].tobytes())


def longest_drift(n_cycles):
    """The furthest the weights of 10 walkers get from a sum of 1, in n eps, over many cycles."""
    rng = np.random.default_rng(0)
    walkers = make_walkers([0.1] * 10)
    worst = 0.0
    for _ in range(n_cycles):
        order = np.argsort([walker.weight for walker in walkers]).tolist()
        number = int(rng.integers(1, 4))
        records = assign_slots(10, {order[0]: order[1 : 1 + number]}, {order[-1]: number})
        walkers = apply_decisions(walkers, records)
        off = math.fsum([-1.0, *(walker.weight for walker in walkers)])
        worst = max(worst, abs(off) / (10 * np.finfo(float).eps))
    return worst


def test_rounding_does_not_add_up(monkeypatch):
    """W2: over many resamplings the sum of weights stays at 1, which it would not do by itself."""
    assert longest_drift(2500) <= 0.1
    monkeypatch.setattr(decision, "_without_rounding", lambda weights, merged: {})
    assert longest_drift(2500) > 0.3


def test_walkers_that_are_no_ensemble_keep_their_sum():
    """A part of an ensemble is not pushed towards a sum of 1."""
    records = assign_slots(3, {0: [1]}, {2: 1})
    after = apply_decisions(make_walkers([0.1, 0.1, 0.3]), records)
    assert math.fsum(walker.weight for walker in after) == 0.5


@pytest.mark.parametrize(
    ("merges", "clones", "words"),
    [
        ({0: [1]}, {}, "0 clones are asked for but merging frees 1"),
        ({}, {0: 1}, "1 clones are asked for but merging frees 0"),
        ({0: [1]}, {1: 1}, "both cloned and merged"),
        ({0: [1], 2: [1]}, {3: 2}, "in two merge groups"),
    ],
)
def test_unbalanced_plans_are_refused(merges, clones, words):
    """A plan that would change the number of walkers is an error."""
    with pytest.raises(DecisionError, match=words):
        assign_slots(4, merges, clones)


def test_survivor_is_drawn_by_weight():
    """The kept walker of a merge is drawn with probability proportional to weight."""
    resampler = CloneMergeResampler()
    resampler.set_rng(np.random.default_rng(7))
    weights = [0.1, 0.6, 0.3]
    n_draws = 20_000
    counts = np.bincount([resampler.draw_survivor(weights) for _ in range(n_draws)], minlength=3)
    expected = np.array(weights) * n_draws
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected * (1 - np.array(weights)))).all()


@pytest.mark.parametrize("bounds", [(0.0, 0.1), (0.1, 0.1), (0.1, 1.5), (-1.0, 0.5)])
def test_weight_bounds_are_checked(bounds):
    """pmin and pmax that allow nothing, or a weight of 0 (W1), are refused."""
    with pytest.raises(ValueError, match="pmin"):
        CloneMergeResampler(*bounds)
