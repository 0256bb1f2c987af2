"""Where two stretches of one run's tables part."""

from __future__ import annotations

import numpy as np

from wepystore.orchestrator.verify.recordings import Parting, first_difference


def test_a_value_that_is_missing_is_no_nan() -> None:
    """Also where every column has the same bits."""
    columns = {
        "missing": np.empty((0, 2), np.int64),
        "n_walkers": np.ones(2, np.int64),
        "weights": np.ones(2),
        "x/cycle_idx": np.arange(2),
        "x/y": np.full(2, np.nan),
    }
    assert first_difference(columns, dict(columns), 8) is None
    other = {**columns, "missing": np.array([[4, 1]])}
    assert first_difference(columns, other, 8) == Parting(8, "missing")
