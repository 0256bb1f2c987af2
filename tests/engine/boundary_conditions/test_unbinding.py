"""Unbinding boundary conditions: who is warped, where to, and what is recorded."""

import numpy as np
import pytest

from wepystore.engine.boundary_conditions.base import NoBC
from wepystore.engine.boundary_conditions.unbinding import UnbindingBC
from wepystore.engine.walker import Walker, WalkerState

CUBE = 4.0 * np.eye(3)


def pair(length):
    return WalkerState(positions=[[0, 0, 0], [0, length, 0]], box_vectors=CUBE)


def make(**changes):
    parameters = {
        "cutoff_distance": 1.0,
        "initial_states": [pair(0.4)],
        "ligand_idxs": [1],
        "receptor_idxs": [0],
    }
    return UnbindingBC(**{**parameters, **changes})


def test_walkers_at_the_boundary_are_warped():
    """A walker at or beyond the cutoff gets the initial state and keeps its weight (W3)."""
    conditions = make()
    walkers = [Walker(pair(length), 0.25) for length in (0.5, 1.0, 0.999, 1.5)]
    warped, records, _, progress = conditions.warp_walkers(walkers, 3)
    assert [walker.state is conditions.initial_states[0] for walker in warped] == [
        False,
        True,
        False,
        True,
    ]
    assert [walker.weight for walker in warped] == [0.25] * 4
    assert warped[0] is walkers[0]
    assert [int(record["walker_idx"][0]) for record in records] == [1, 3]
    assert progress["min_distances"] == pytest.approx([0.5, 1.0, 0.999, 1.5])
    assert walkers[1].state["positions"][1, 1] == 1.0


def test_the_nearest_periodic_image_counts():
    """Three quarters of a box apart is a quarter apart, unless the system is not periodic."""
    walkers = [Walker(pair(3.0), 0.5), Walker(pair(3.9), 0.5)]
    assert [
        len(make().warp_walkers(walkers, 1)[1]),
        len(make(periodic=False).warp_walkers(walkers, 1)[1]),
    ] == [1, 2]


def test_the_nearest_atoms_count():
    """The ligand is unbound only when all its atoms are far from all of the receptor's."""
    positions = np.array([[0, 0, 0], [1.5, 0, 0], [0.4, 0.0, 0], [1.9, 1.9, 0.0]])
    bound = WalkerState(positions=positions, box_vectors=CUBE)
    conditions = make(initial_states=[bound], ligand_idxs=[2, 3], receptor_idxs=[0, 1])
    away = positions.copy()
    away[2] = [0.4, 1.2, 0]
    walkers = [Walker(bound, 0.5), Walker(WalkerState(positions=away, box_vectors=CUBE), 0.5)]
    _, records, _, progress = conditions.warp_walkers(walkers, 1)
    assert progress["min_distances"] == pytest.approx([0.4, np.hypot(0.4, 1.2)])
    assert [int(record["walker_idx"][0]) for record in records] == [1]


def test_the_boundary_is_recorded_once():
    """boundary_distance is recorded at cycle 0 only."""
    conditions, walkers = make(), [Walker(pair(0.5), 1.0)]
    (record,) = conditions.warp_walkers(walkers, 0)[2]
    assert record["boundary_distance"].tolist() == [1.0]
    assert conditions.warp_walkers(walkers, 1)[2] == []


def test_records_hold_the_fields_they_announce():
    """Every field of every record is announced, warping's in the order of the file format."""
    conditions = make()
    _, warping, changes, progress = conditions.warp_walkers([Walker(pair(1.2), 1.0)], 0)
    assert conditions.WARPING_FIELDS == ("walker_idx", "target_idx", "weight")
    assert tuple(warping[0]) == conditions.warping_field_names()
    assert tuple(changes[0]) == conditions.bc_field_names()
    assert tuple(progress) == conditions.progress_field_names()
    for name, shape, dtype in (*conditions.warping_fields(), *conditions.bc_fields()):
        value = {**warping[0], **changes[0]}[name]
        assert value.shape == shape and value.dtype == np.dtype(dtype)
    assert conditions.warping_discontinuity(warping[0]) is True


def test_targets_are_drawn_by_their_weights():
    """Initial states are drawn in proportion to initial_weights, the same for the same seed."""
    conditions = make(
        initial_states=[pair(0.3), pair(0.4), pair(0.5)], initial_weights=[1.0, 0.0, 3.0]
    )
    walkers = [Walker(pair(1.5), 1 / 2000)] * 2000

    def targets(seed):
        conditions.set_rng(np.random.default_rng(seed))
        return [int(record["target_idx"][0]) for record in conditions.warp_walkers(walkers, 1)[1]]

    counts = np.bincount(targets(4), minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 500) < 4 * np.sqrt(2000 * 0.25 * 0.75)
    assert targets(4) == targets(4) != targets(5)


def test_rebuilt_from_parameters():
    """It is wholly described by its parameters, and keeps no state."""
    conditions = make(ligand_idxs=np.array([1]), initial_weights=(2,))
    again = UnbindingBC.from_params(conditions.params(), UnbindingBC.version)
    assert again.params() == conditions.params()
    assert conditions.state() == {}
    assert conditions.summary()["unbinding at"] == "1 nm"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cutoff_distance": 0.0}, "positive"),
        ({"initial_states": []}, "initial_states is empty"),
        ({"initial_states": pair(0.3)}, "list of states"),
        ({"initial_states": [pair(0.3), pair(1.2)]}, "initial state 1 is itself unbound"),
        ({"receptor_idxs": [0, 1]}, "in both"),
        ({"receptor_idxs": [7]}, "names atom 7"),
        ({"initial_weights": [0.5, 0.5]}, "2 initial_weights for 1"),
        ({"initial_weights": [-1.0]}, "probabilities"),
    ],
)
def test_parameters_are_checked(changes, words):
    """Parameters that make no sense are refused with the reason."""
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_no_boundary_conditions():
    """NoBC returns the walkers and no records."""
    walkers = [Walker(pair(9.0), 1.0)]
    assert NoBC().warp_walkers(walkers, 0) == (walkers, [], [], {})
    assert NoBC().warping_discontinuity({}) is False
    assert NoBC().progress_fields() == []
