"""Student's t, against tables."""

from __future__ import annotations

import math

import pytest

from wepystore.estimates.students import t_probability, t_quantile

#: Of 97.5 % and 99.5 %: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
TABLE = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    9: (2.262, 3.250),
    30: (2.042, 2.750),
    100: (1.984, 2.626),
}


@pytest.mark.parametrize("degrees", TABLE)
def test_quantiles_are_those_of_tables(degrees: int) -> None:
    """To all digits that are printed; the two tails are alike."""
    for probability, expected in zip((0.975, 0.995), TABLE[degrees], strict=True):
        assert t_quantile(probability, degrees) == pytest.approx(expected, abs=5.1e-4)
        assert t_quantile(1 - probability, degrees) == -t_quantile(probability, degrees)


def test_closed_forms() -> None:
    """Of one and two degrees of freedom, to ten digits; of many, the normal distribution's."""
    for p in (0.5, 0.6, 0.9, 0.975, 0.9999, 1 - 1e-9):
        assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-6, abs=1e-12)
        two = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
        assert t_quantile(p, 2) == pytest.approx(two, rel=1e-6, abs=1e-12)
        assert t_probability(t_quantile(p, 5), 5) == pytest.approx(p, abs=1e-12)
    assert t_quantile(0.975, 1e7) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize("wrong", [(0.0, 3), (1.0, 3), (0.9, 0), (math.nan, 3), (0.9, math.nan)])
def test_what_there_is_none_of(wrong: tuple[float, float]) -> None:
    """It is refused and not computed."""
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_quantile(*wrong)
