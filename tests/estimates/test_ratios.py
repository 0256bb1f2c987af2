"""Ratios of sums, such as a rate, and their intervals (A2)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wepystore.estimates.ratios import (
    batches,
    effective_number,
    log_interval,
    over_units,
    pooled,
)


def test_of_equal_parts_the_error_is_that_of_a_mean() -> None:
    """The standard error, as everybody computes it; of other units as for each alone."""
    rng = np.random.default_rng(1)
    amounts = rng.exponential(size=(7, 3))
    value, error = pooled(amounts, np.full(7, 2.0))
    assert value == pytest.approx(amounts.mean(axis=0) / 2)
    assert error == pytest.approx(amounts.std(axis=0, ddof=1) / math.sqrt(7) / 2)
    one = pooled(amounts[:, 1], np.full(7, 2.0))
    assert (float(one[0]), float(one[1])) == pytest.approx((value[1], error[1]))


def test_the_pooled_rate_weighs_parts_by_their_length() -> None:
    """The weight of all over the time of all, whatever the parts; a part ten times as long counts
    ten times."""
    value, error = pooled([1.0, 30.0], [10.0, 100.0])
    assert value == pytest.approx(31 / 110)
    whole, _ = pooled([31.0], [110.0])
    assert whole == value and math.isnan(pooled([31.0], [110.0])[1])
    assert error > 0


def test_the_interval_of_units_is_t_on_the_log() -> None:
    """m exp(± t s / m) with n - 1 degrees of freedom, those without an event included."""
    rates = np.array([2.0, 0.0, 4.0, 6.0])
    found = over_units([([rate], [1.0]) for rate in rates])
    s = rates.std(ddof=1) / 2
    assert found.between and found.degrees == 3 and found.value == 3.0
    assert found.low == pytest.approx(3 / math.exp(3.182446305 * s / 3))
    assert found.high == pytest.approx(3 * math.exp(3.182446305 * s / 3))


def test_one_or_two_units_are_cut_into_four_batches() -> None:
    """Each; and no more is known than so many events of equal weight can tell."""
    series = np.arange(8.0)
    found = over_units([(series, np.ones(8))])
    parts = [0.5, 2.5, 4.5, 6.5]
    assert not found.between and found.degrees == 3 and found.value == 3.5
    assert found.error == pytest.approx(np.std(parts, ddof=1) / 2)
    two = over_units([(series, np.ones(8)), (series[::-1], np.ones(8))])
    assert not two.between and two.degrees == 7
    even = over_units([(np.ones(8), np.ones(8))], effective=4.0)
    assert even.error == pytest.approx(0.5)
    assert over_units([(np.ones(8), np.ones(8))]).error == 0.0


def test_nothing_gives_no_number() -> None:
    """No event, no estimate: neither an interval around 0, nor one of a single part."""
    none = over_units([([0.0] * 8, [1.0] * 8)] * 3)
    assert none.value == 0.0 and math.isnan(none.low) and math.isnan(none.high)
    one = over_units([([3.0], [1.0])])
    assert one.value == 3.0 and math.isnan(one.low)
    assert np.isnan(log_interval(np.array([0.0, -1.0]), np.array([1.0, 1.0]), 3)).all()
    low, high = log_interval(1e-300, 1.0, 2)
    assert 0 <= low < 1e-300 < high < math.inf or math.isfinite(high)


@pytest.mark.parametrize("n_cycles", [1, 3, 4, 5, 17, 400])
def test_batches_are_contiguous_and_lose_nothing(n_cycles: int) -> None:
    """All cycles are in one, in order, and none is longer than its share by more than a cycle."""
    sums, lengths = batches(np.arange(n_cycles), np.ones(n_cycles))
    assert len(sums) == len(lengths) == min(4, n_cycles)
    assert lengths.sum() == n_cycles and sums.sum() == np.arange(n_cycles).sum()
    assert lengths.max() - lengths.min() <= 1
    ends = np.cumsum(lengths).astype(int)
    assert sums[0] == np.arange(ends[0]).sum()


def test_batches_are_of_equal_time() -> None:
    """And not of as many cycles: a continuation may have longer ones."""
    _, lengths = batches(np.ones(30), np.repeat([1.0, 10.0], [20, 10]))
    assert lengths.max() <= 40 and lengths.sum() == 120


@pytest.mark.parametrize(
    "lengths",
    [
        [0.0, 0.0, 0.0, 1.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0] * 5,
        [0.0, 0.0, 1.0],
        [5.0, 0.1, 0.1, 0.1, 0.1, 9.0],
        [0.0] * 10 + [1.0],
    ],
)
def test_batches_of_uneven_lengths_lose_nothing(lengths: list[float]) -> None:
    """Nor do they count anything twice: as where few cycles have the weight that could arrive."""
    values = 2.0 ** np.arange(len(lengths))
    sums, totals = batches(values, lengths)
    assert len(sums) == min(4, len(lengths))
    assert sums.sum() == values.sum() and totals.sum() == pytest.approx(sum(lengths))


def test_effective_number_of_events() -> None:
    """(sum w)^2 / sum w^2: all of equal ones, one where one outweighs all."""
    assert effective_number([0.25] * 4) == pytest.approx(4)
    assert effective_number([1.0, 1e-9, 1e-9]) == pytest.approx(1)
    assert effective_number([1e-170] * 4) == pytest.approx(4)
    assert effective_number([0.0, 0.0]) == effective_number([]) == 0
    assert effective_number([]) == 0.0


def test_histograms_are_ratios_too() -> None:
    """Of series with several numbers a cycle all intervals come at once."""
    rng = np.random.default_rng(2)
    units = [(rng.exponential(size=(20, 5)), np.ones(20)) for _ in range(4)]
    found = over_units(units)
    for k in range(5):
        alone = over_units([(values[:, k], lengths) for values, lengths in units])
        numbers = (alone.value, alone.low, alone.high)
        assert (found.value[k], found.low[k], found.high[k]) == pytest.approx(numbers)
