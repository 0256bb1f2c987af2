"""Rebinding boundary conditions: a ligand back in its pose is warped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.systems import bits
from wepystore.api import Ensemble, RebindingBC, Walker, WalkerState

#: A binding site of four atoms, and a ligand of two beside it.
SITE = np.array([[0.0, 0, 0], [0.3, 0, 0], [0, 0.4, 0], [0, 0, 0.5]])
LIGAND = np.array([[0.5, 0.5, 0.5], [0.7, 0.5, 0.5]])
BOX = np.eye(3) * 5.0


def complex_(shift: Any = (0.0, 0.0, 0.0), turn: float = 0.0, moved: Any = 0.0) -> WalkerState:
    """The ligand shifted out of its pose; then everything turned about z and moved."""
    positions = np.concatenate([SITE, LIGAND + np.array(shift)])
    rotation = np.array(
        [[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    return WalkerState(positions=positions @ rotation + moved, box_vectors=BOX)


FAR = complex_((1.0, 0.0, 0.0))


def make(**changes: Any) -> RebindingBC:
    parameters: dict[str, Any] = {
        "cutoff_rmsd": 0.2,
        "initial_states": [FAR],
        "native_state": complex_(),
        "ligand_idxs": [4, 5],
        "binding_site_idxs": [0, 1, 2, 3],
    }
    return RebindingBC(**{**parameters, **changes})


@pytest.mark.parametrize("form", [list, Ensemble.of])
def test_a_ligand_within_the_cutoff_is_warped(form: Any) -> None:
    """However the complex lies in space; the RMSD is that of the shift, the weight is kept (W3)."""
    given = [
        Walker(complex_((0.3, 0, 0)), 0.125),
        Walker(complex_((0, 0.1, 0), turn=2.0, moved=0.7), 0.25),
        Walker(complex_((0, 0, 0.25), turn=1.0), 0.5),
        Walker(complex_((0, 0.12, 0.16)), 0.125),
    ]
    conditions = make(cutoff_rmsd=0.2000001)
    after, records, bc_data, progress = conditions.warp_walkers(form(given), 0)
    assert list(progress["native_rmsd"]) == pytest.approx([0.3, 0.1, 0.25, 0.2])
    assert [int(record["walker_idx"][0]) for record in records] == [1, 3]
    assert bc_data[0]["native_rmsd_cutoff"].tolist() == [0.2000001]
    expected = [given[0], Walker(FAR, 0.25), given[2], Walker(FAR, 0.125)]
    assert bits(after) == bits(expected)
    assert conditions.warp_walkers(given, 1)[2] == []
    assert conditions.warping_discontinuity(records[0])


def test_the_nearest_image_of_the_ligand_counts() -> None:
    """A box away is where it was, unless the system is not periodic."""
    image = complex_((5.0, 0.0, 0.0))
    walkers = [Walker(image, 1.0)]
    assert [
        len(make(periodic=periodic).warp_walkers(walkers, 1)[1]) for periodic in (True, False)
    ] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cutoff_rmsd": 0.0}, "cutoff_rmsd must be a positive number of nm"),
        ({"cutoff_rmsd": 2.0}, "initial state 0 is itself bound"),
        ({"initial_states": []}, "initial_states is empty"),
        ({"binding_site_idxs": [0, 1]}, "at least 3"),
        ({"ligand_idxs": [9]}, "ligand_idxs names atom 9"),
        ({"initial_weights": [0.0]}, "initial_weights must be probabilities"),
    ],
)
def test_wrong_parameters_are_refused(changes: dict[str, Any], problem: str) -> None:
    """The message names the parameter or the state."""
    with pytest.raises(ValueError, match=problem):
        make(**changes)
