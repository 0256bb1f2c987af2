"""Fields of a state as a progress coordinate."""

from __future__ import annotations

import numpy as np
import pytest

from wepystore.api import CoordinateDistance, Ensemble, FieldCoordinate, WalkerState


def test_fields_stand_side_by_side() -> None:
    """Numbers and arrays, flat, in the order of their names; of an ensemble the same."""
    states = [WalkerState(a=float(k), b=[[k, 2.0 * k]]) for k in range(3)]
    coordinate = FieldCoordinate(["b", "a"])
    values = coordinate.many(states)
    assert values.tolist() == [[0, 0, 0], [1, 2, 1], [2, 4, 2]]
    ensemble = Ensemble.adopt(
        np.full(3, 1 / 3),
        {"a": np.arange(3.0), "b": np.array([[[k, 2.0 * k]] for k in range(3)])},
    )
    assert coordinate.many(ensemble).tolist() == values.tolist()
    assert CoordinateDistance(coordinate).distance(states[0], states[2]) == np.sqrt(24)


def test_what_is_not_there_is_named() -> None:
    """With what there is."""
    with pytest.raises(ValueError, match=r"looks at 'c', but a state has a, b"):
        FieldCoordinate(["c"]).many([WalkerState(a=1.0, b=2.0)])
    with pytest.raises(ValueError, match="a list of names"):
        FieldCoordinate("ab")
    with pytest.raises(ValueError, match="fields is empty"):
        FieldCoordinate([])
