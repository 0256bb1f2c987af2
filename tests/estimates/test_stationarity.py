"""Whether a flux is steady: yes, no, or not to be said (A3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wepystore.estimates.stationarity import stationarity


def units(n: int, profile: Any, events: float, seed: int = 0) -> list[tuple[Any, Any]]:
    """Fluxes of n units over 400 cycles: Poisson events at a rate of that profile."""
    rng = np.random.default_rng(seed)
    rates = events / 400 * np.interp(np.arange(400), [0, 399], profile)
    return [(rng.poisson(rates).astype(float), np.ones(400)) for _ in range(n)]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_ramp_is_seen(n: int) -> None:
    """It rises, and the estimate is a lower bound; turned round it falls, and bounds nothing."""
    for profile, rises in ((0.0, 2.0), True), ((2.0, 0.0), False):
        found = stationarity(units(n, profile, 2000), 2000.0 * n)
        assert found.stationary is False and found.rises == rises
        assert ("rises" in found.reason) == rises
        assert (found.low > 1) == rises or found.high < 1


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_flat_flux_of_many_events_is_steady(n: int) -> None:
    """Most of the time: one in twenty differs by chance."""
    found = [stationarity(units(n, (1, 1), 2000, k), 2000.0 * n).stationary for k in range(40)]
    assert found.count(True) >= 32 and found.count(False) <= 6


def test_few_events_tell_nothing() -> None:
    """Neither that a flux is steady nor that it is not: it is said why."""
    few = stationarity(units(2, (1, 1), 5), 10.0)
    assert few.stationary is None and "too few events" in few.reason
    assert stationarity(units(4, (1, 1), 1), 3.5).stationary is None
    short = stationarity([([1.0] * 3, [1.0] * 3)] * 3, 9.0)
    assert short.stationary is None and short.reason == "too few cycles"
    assert stationarity([], 0.0).stationary is None


def test_a_half_without_events() -> None:
    """Where the first half has none the flux rises; where the second has none it is not steady."""
    late = [(np.repeat([0.0, 1.0], 50), np.ones(100))] * 3
    found = stationarity(late, 150.0)
    assert (
        found.stationary is False and found.rises and "no event in the first half" in found.reason
    )
    found = stationarity([(values[::-1], lengths) for values, lengths in late], 150.0)
    assert found.stationary is False and not found.rises
    # Of five equal events all are in one half by chance in one case of sixteen.
    found = stationarity(late, 5.0)
    assert found.stationary is None and "no event in the first half" in found.reason


def test_one_unit_with_nearly_all_of_the_flux_is_no_certainty() -> None:
    """Halves of units are compared in pairs, and one that has it all agrees with itself; by what so
    few events can differ is allowed for in any case."""
    heavy = np.repeat([1.0, 0.2], 50)
    others = [(1e-6 * np.ones(100), np.ones(100))] * 5
    found = stationarity([(heavy, np.ones(100)), *others], 8.6)
    assert found.ratio == pytest.approx(0.2, rel=1e-3)
    assert found.stationary is None and found.high > 1
