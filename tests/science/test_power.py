"""The checks of this folder fail when a resampler is wrong, and only then.

Each check is made twice here with the same seeds: of a resampler that is right,
and of one in which the survivors of merges are drawn wrongly. Such an error
leaves weights, records and the number of walkers as they should be, so nothing
but the figures can tell. Two kinds of error:

- survivors are drawn by weight ** exponent: 0.9 is slightly wrong, 0 is evenly;
- some merges keep the walker that has come farthest, whatever the weights.

Walkers far apart are merged, unlike in the other tests: of walkers in one place
it does not matter which survives. docs/validation.md says how small an error is found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.science import test_double_well as double_well
from tests.science import test_lj_pair as lj_pair
from tests.science import test_random_walk as random_walk
from tests.science import walks
from tests.science.ensembles import Favouring
from tests.science.estimate import Figure, agrees

WIDTH = 4


@dataclass(frozen=True)
class Check:
    """One of the checks, in a form that a wrong draw of survivors matters to.

    Parameters
    ----------
    figures : name and what makes resamplers -> figures
    resampler : kind and exponent -> what makes resamplers
    coordinate : walkers -> how far they have come
    """

    figures: Callable[[str, Callable[[], Any]], list[Figure]]
    resampler: Callable[[str, float], Callable[[], Any]]
    coordinate: Callable[[Any], Any]


def flux(measurement, **changes):
    """The one figure of a flux, by other numbers than there."""
    changed = replace(measurement, **changes)
    return lambda name, make: [changed.figure(name, make)]


def on_walk(kind, exponent):
    return walks.resampler(kind, WIDTH, exponent)


CHECKS = {
    "law": Check(
        lambda name, make: random_walk.law_figures(name, make, n_repeats=200),
        on_walk,
        walks.position,
    ),
    "stationary": Check(
        lambda name, make: random_walk.stationary_figures(name, make, n_repeats=40),
        on_walk,
        walks.position,
    ),
    "walk": Check(
        flux(random_walk.QUICK[0], target=9, discard=70, n_repeats=30),
        lambda kind, exponent: walks.resampler(kind, 4.5, exponent),
        walks.position,
    ),
    "double well": Check(
        flux(double_well.QUICK[1], n_repeats=80),
        lambda kind, exponent: double_well.resampler(kind, 5, exponent, WIDTH),
        walks.position,
    ),
    "pair": Check(
        flux(lj_pair.QUICK[0], n_repeats=24),
        lambda kind, exponent: lj_pair.resampler(kind, exponent, WIDTH),
        lj_pair.distances,
    ),
}


def power(exponent):
    """Survivors drawn by weight ** exponent."""
    return ("exponent", exponent)


def favour(chance):
    """So many of the merges keep the walker that has come farthest."""
    return ("favour", chance)


#: The smallest error tried that each check finds, or a larger one where that takes too long.
ERRORS = {
    ("law", "wexplore"): favour(1.0),
    ("law", "revo"): power(0.0),
    ("law", "bins"): favour(1.0),
    ("stationary", "wexplore"): favour(1.0),
    ("stationary", "revo"): power(0.5),
    ("stationary", "bins"): power(0.0),
    ("walk", "wexplore"): favour(1.0),
    ("walk", "revo"): power(0.9),
    ("walk", "bins"): power(0.0),
    ("double well", "wexplore"): favour(1.0),
    ("double well", "revo"): power(0.0),
    ("double well", "bins"): favour(1.0),
    ("pair", "wexplore"): favour(1.0),
    ("pair", "revo"): power(0.0),
    ("pair", "bins"): favour(1.0),
}
#: The cheapest belong to the default suite.
CASES = [
    pytest.param(*case, marks=() if case[0] == "law" else pytest.mark.slow, id="-".join(case))
    for case in ERRORS
]


def wrong(check, kind, error):
    """Makes resamplers of a kind with such an error."""
    how, size = error
    if how == "exponent":
        return check.resampler(kind, size)
    make = check.resampler(kind, 1.0)
    return lambda: Favouring(make(), check.coordinate, size)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_wrong_resampler_is_noticed(name, kind):
    """The check refuses the resampler whose draw of survivors is wrong."""
    check, error = CHECKS[name], ERRORS[name, kind]
    label = f"{kind}, wrong by {error[0]} {error[1]:g}"
    assert not agrees(*check.figures(label, wrong(check, kind, error)))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_same_check_passes_the_right_resampler(name, kind):
    """Of the resampler as it is, the same check with the same seeds says that it agrees."""
    check = CHECKS[name]
    assert agrees(*check.figures(f"{kind}, right", check.resampler(kind, 1.0)))
