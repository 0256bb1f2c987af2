"""The statistics that judge all others: false alarms come as seldom as they say."""

import math

import numpy as np
import pytest

from tests.science.estimate import BOUND, Figure, agrees, bound_for, normal_equivalent


@pytest.mark.parametrize("n_repeats", [8, 20, 60])
def test_false_alarms_are_as_rare_as_stated(n_repeats):
    """Of 100,000 figures that are right, one in 22 is 2 sigma off, and one in 370 is 3."""
    samples = np.random.default_rng(1).normal(3.0, 2.0, size=(100_000, n_repeats))
    errors = samples.std(axis=1, ddof=1) / math.sqrt(n_repeats)
    deviations = np.array(
        [normal_equivalent(t, n_repeats - 1) for t in (samples.mean(axis=1) - 3.0) / errors]
    )
    assert np.mean(np.abs(deviations) > 2) == pytest.approx(0.0455, rel=0.05)
    assert np.mean(np.abs(deviations) > 3) == pytest.approx(0.0027, rel=0.25)


def test_the_worst_of_many_has_a_wider_bound():
    """Of five independent figures the worst is beyond the bound in 0.27 % of all cases."""
    worst = np.abs(np.random.default_rng(2).normal(size=(1_000_000, 5))).max(axis=1)
    assert bound_for(1) == pytest.approx(BOUND)
    assert np.mean(worst > bound_for(5)) == pytest.approx(0.0027, rel=0.1)


def test_a_wrong_figure_is_refused():
    """A mean that is 5 standard errors off does not agree, alone or among good ones."""
    rng = np.random.default_rng(3)
    good = Figure.of("good", rng.normal(1.0, 0.1, 50), 1.0)
    wrong = Figure.of("wrong", rng.normal(1.0, 0.1, 50), 1.0 + 5 * 0.1 / math.sqrt(50))
    assert agrees(good)
    assert not agrees(wrong)
    assert not agrees(good, good, good, wrong)


def test_without_spread_only_equality_agrees():
    """Repeats that all gave the same number have no error bar to hide behind."""
    assert Figure.of("exact", [2.0, 2.0], 2.0).sigmas == 0.0
    assert not agrees(Figure.of("no event was seen", [0.0, 0.0], 1e-3))


def test_two_means_of_different_spread():
    """The difference of equal means is 2 sigma off in one of 22 cases, whatever their spreads."""
    rng = np.random.default_rng(4)
    off = [
        Figure.between("", rng.normal(0, 1, 10), rng.normal(0, 3, 15)).sigmas for _ in range(20_000)
    ]
    assert np.mean(np.abs(off) > 2) == pytest.approx(0.0455, rel=0.15)
