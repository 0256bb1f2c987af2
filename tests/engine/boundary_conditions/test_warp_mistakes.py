"""A user's own WarpBC with a mistake in it stops; it does not silently warp nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wepystore.api import Walker, WalkerState, WarpBC

START = WalkerState(positions=[[0.0]])
WALKERS = [Walker(WalkerState(positions=[[float(x)]]), 0.25) for x in range(4)]


class Far(WarpBC):
    """Sends back what is at 2 or beyond; gives what it is told to instead of its own figures."""

    PROGRESS_FIELDS = ("place",)

    def __init__(self, **instead: Any) -> None:
        self.instead = instead
        self._set_initial([START], None)

    def progress(self, walkers: Any) -> Any:
        places = np.array([walker.state["positions"][0, 0] for walker in walkers])
        return self.instead.get("progress", places)

    def arrived(self, progress: Any) -> Any:
        return self.instead.get("arrived", progress >= 2)


@pytest.mark.parametrize("given", [{}, {"arrived": [False, False, True, True]}])
def test_without_a_mistake_those_that_arrived_are_warped(given: dict[str, Any]) -> None:
    """The truths may be a list as well as an array."""
    _, records, _, _ = Far(**given).warp_walkers(WALKERS, 0)
    assert [int(record["walker_idx"][0]) for record in records] == [2, 3]


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"arrived": None}, r"arrived\(\) gave shape \(\) for 4 walkers"),
        ({"arrived": np.ones(2, dtype=bool)}, r"arrived\(\) gave shape \(2,\)"),
        ({"arrived": np.ones((4, 1), dtype=bool)}, r"arrived\(\) gave shape \(4, 1\)"),
        ({"progress": None}, r"progress has shape \(\)"),
        ({"progress": np.array([0.0, 1.0, np.nan, 5.0])}, r"progress of walker 2 is NaN"),
        ({"progress": np.array([[0.0, 1.0]] * 3 + [[np.nan, 5.0]])}, r"progress of walker 3 is"),
    ],
)
def test_a_mistake_is_named(mistake: dict[str, Any], says: str) -> None:
    """By the method and what it gave; a forgotten `return` is the commonest."""
    with pytest.raises(ValueError, match=says):
        Far(**mistake).warp_walkers(WALKERS, 0)
