"""The checks of this folder fail when a resampler is wrong, and only then.

Each check is made twice here with the same seeds: of a resampler that is right,
and of one that is wrong on purpose. Three kinds of error, none of which shows in
the records, the sum of weights or the number of walkers:

- the survivor of a merge is drawn by weight ** exponent: 0 draws evenly;
- some merges keep the walker that has come farthest, whatever the weights;
- a small share of all weight is dealt out evenly at each resampling.

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
from tests.science.ensembles import Favouring, Leaking
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


#: Over 7 kT, looked at every 50 steps.
HIGH = replace(double_well.HIGH_REVO[1], n_repeats=30)


CHECKS = {
    "short law": Check(
        lambda name, make: random_walk.law_figures(name, make, n_repeats=100),
        on_walk,
        walks.position,
    ),
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
        flux(double_well.QUICK[0], n_repeats=80),
        lambda kind, exponent: double_well.resampler(kind, 5, exponent, WIDTH),
        walks.position,
    ),
    "high barrier": Check(
        lambda name, make: [HIGH.even_figure(name, make)],
        lambda kind, exponent: double_well.even_resampler(kind, HIGH.even_coordinate(), exponent),
        walks.position,
    ),
    "pair": Check(
        flux(lj_pair.QUICK[0], n_repeats=24),
        lambda kind, exponent: lj_pair.resampler(kind, exponent, WIDTH),
        lj_pair.distances,
    ),
}


def drawn(exponent):
    """Survivors are drawn by weight ** exponent."""
    return ("drawn by power", exponent)


def favour(chance):
    """So many of the merges keep the walker that has come farthest."""
    return ("favouring", chance)


def leak(share):
    """So much of the weight is dealt out evenly at each resampling."""
    return ("leaking", share)


#: Errors that each check finds; those of the default suite come first.
QUICK = [
    ("short law", "wexplore", leak(0.05)),
    ("short law", "bins", leak(0.05)),
]
LONG = [
    ("short law", "revo", drawn(0.0)),
    ("law", "revo", drawn(0.0)),
    ("law", "bins", leak(0.05)),
    ("law", "wexplore", leak(0.05)),
    ("law", "bins", favour(1.0)),
    ("stationary", "wexplore", leak(0.001)),
    ("stationary", "revo", leak(0.001)),
    ("stationary", "revo", drawn(0.5)),
    ("stationary", "bins", leak(0.001)),
    ("stationary", "bins", drawn(0.0)),
    ("walk", "wexplore", leak(0.0003)),
    ("walk", "revo", leak(0.0003)),
    ("walk", "revo", drawn(0.5)),
    ("walk", "bins", leak(0.001)),
    ("walk", "bins", favour(1.0)),
    ("double well", "wexplore", leak(0.002)),
    ("double well", "revo", leak(0.002)),
    ("double well", "revo", drawn(0.0)),
    ("double well", "bins", leak(0.002)),
    ("double well", "bins", favour(1.0)),
    ("high barrier", "wexplore", leak(0.005)),
    ("high barrier", "revo", leak(0.005)),
    ("high barrier", "bins", leak(0.005)),
    ("pair", "wexplore", leak(0.005)),
    ("pair", "wexplore", favour(1.0)),
    ("pair", "revo", drawn(0.0)),
    ("pair", "bins", favour(1.0)),
]


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def wrong(check, kind, error):
    """Makes resamplers of a kind with such an error."""
    how, size = error
    right = check.resampler(kind, 1.0)
    if how == "leaking":
        return lambda: Leaking(right(), size)
    if how == "favouring":
        return lambda: Favouring(right(), check.coordinate, size)
    return check.resampler(kind, size)


@pytest.mark.parametrize(("name", "kind", "error"), [*QUICK, *(slow(*case) for case in LONG)])
def test_a_wrong_resampler_is_noticed(name, kind, error):
    """The check refuses a resampler that is wrong."""
    check = CHECKS[name]
    label = f"{kind}, wrong by {error[0]} {error[1]:g}"
    assert not agrees(*check.figures(label, wrong(check, kind, error)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("short law", "bins"),
        ("short law", "wexplore"),
        slow("short law", "revo"),
        *(slow(name, kind) for name in [*CHECKS][1:] for kind in walks.RESAMPLERS),
    ],
)
def test_the_same_check_passes_the_right_resampler(name, kind):
    """Of the resampler as it is, the same check with the same seeds says that it agrees."""
    check = CHECKS[name]
    assert agrees(*check.figures(f"{kind}, right", check.resampler(kind, 1.0)))
