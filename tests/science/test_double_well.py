"""A particle leaves one well of V = h (x^2 - 1)^2 for the other in the time that can be computed.

Diffusion constant and kT are 1, steps are 1e-3 long; a walker seen at x >= 1 goes
back to -1. The exact MFPT is that of this very chain of steps, looked at as
often as the run looks (tests/science/reference.py), so no error of the time step
is left between them. The figures are fluxes per cycle.

Over barriers of 7 and 10 kT, resamplers work along a coordinate in which equal steps deserve
equally many walkers, and the set-up is held to the error and the skewness that can be foreseen
(tests/science/fluctuations.py): with other bins a few heavy walkers that jump far bring most
of the flux, and an error bar from the runs means nothing.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.science.ensembles import Experiment, biased, flux_figure
from tests.science.estimate import agrees
from tests.science.fluctuations import EvenProgress, Fluctuations
from tests.science.reference import double_well
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    DoubleWell,
    OverdampedLangevinRunner,
    PositionCoordinate,
    REVOResampler,
    TargetBC,
    WExploreResampler,
)

SEED = 20250102
TARGET = 1.0
POSITION = PositionCoordinate()
RESAMPLERS = ("wexplore", "revo", "bins")
#: Beyond these a set-up is too small, whatever comes out: relative error, and skewness of the mean.
HIGHEST_ERROR = 0.1
HIGHEST_SKEWNESS = 0.5


def edges(height):
    """Where the potential is 1, 2, … kT above the well, up the slope; then down in wider steps."""
    levels = np.arange(1.0, height)
    up = -np.sqrt(1 - np.sqrt(levels / height)[::-1])[::-1]
    return np.concatenate([np.sort(up), [0.0, 0.3, 0.6]])


def resampler(kind, height, exponent=1.0, width=1):
    """Makes resamplers along x; `exponent` as in `ensembles.biased`.

    With a greater width, walkers farther apart are merged: less efficient, but
    then it matters more which of them survives.
    """
    if kind == "wexplore":
        return lambda: biased(WExploreResampler, exponent)(
            CoordinateDistance(POSITION), (60,), (0.08 * width,), pmax=0.1
        )
    if kind == "revo":
        return lambda: biased(REVOResampler, exponent)(
            CoordinateDistance(POSITION),
            merge_dist=0.15 * width,
            char_dist=0.1,
            dist_exponent=0.5,
            pmax=0.1,
        )
    return lambda: biased(BinResampler, exponent)(POSITION, edges=edges(height)[::width], pmax=0.1)


def even_resampler(kind, coordinate, exponent=1.0):
    """Makes resamplers along a coordinate from 0 to 1 in which walkers are to be spread evenly."""
    if kind == "wexplore":
        return lambda: biased(WExploreResampler, exponent)(
            CoordinateDistance(coordinate), (40,), (0.05,), pmax=0.1
        )
    if kind == "revo":
        return lambda: biased(REVOResampler, exponent)(
            CoordinateDistance(coordinate),
            merge_dist=0.02,
            char_dist=0.3,
            dist_exponent=0.5,
            pmax=0.1,
        )
    edges = np.linspace(0, 1, 51)[1:-1]
    return lambda: biased(BinResampler, exponent)(coordinate, edges=edges, pmax=0.1)


@dataclass(frozen=True)
class Passage:
    """How an MFPT is measured: looked at every n_steps steps, that is each cycle."""

    height: float
    n_steps: int
    n_walkers: int
    n_cycles: int
    discard: int
    n_repeats: int = 20

    def __str__(self):
        return f"height {self.height:g} every {self.n_steps}"

    @property
    def chain(self):
        """The exact chain, looked at once a cycle."""
        return double_well(self.height).every(self.n_steps)

    def run(self, make_resampler, **watch):
        """Fluxes, and what is asked for of the walkers, of each cycle of each repeat."""
        runner = OverdampedLangevinRunner(DoubleWell(self.height), diffusion=1.0, dt=1e-3, beta=1.0)
        start = runner.initial_state(-1.0)
        return Experiment(
            runner,
            TargetBC(POSITION, [start], threshold=TARGET),
            make_resampler,
            start,
            n_walkers=self.n_walkers,
            n_steps=self.n_steps,
            n_cycles=self.n_cycles,
        ).repeats(self.n_repeats, SEED, **watch)

    def figure(self, name, make_resampler):
        """The flux into the other well, per cycle."""
        fluxes, _ = self.run(make_resampler)
        return flux_figure(f"double well, {self}, {name}", fluxes, self.chain, TARGET, self.discard)

    def even_coordinate(self):
        """That in which equal steps deserve equally many walkers."""
        return EvenProgress(Fluctuations.of(self.chain, TARGET))

    def even_figure(self, name, make_resampler):
        """The same, if the walkers' weights and places do not foretell too large an error."""
        fluctuations = Fluctuations.of(self.chain, TARGET)
        fluxes, costs = self.run(make_resampler, look=fluctuations.cost, of="resampled_walkers")
        error, skewness = fluctuations.foreseen(costs[:, self.discard :])
        name = f"double well, {self}, {name}"
        print(f"{name}: foreseen error {error:.1%}, skewness {skewness:.2f}")
        assert error < HIGHEST_ERROR, f"{name}: too few walkers or cycles"
        assert skewness < HIGHEST_SKEWNESS, f"{name}: a few jumps would decide"
        return flux_figure(name, fluxes, self.chain, TARGET, self.discard)


QUICK = [Passage(5, 50, n_walkers=80, n_cycles=60, discard=20, n_repeats=15)]
LONG = [
    Passage(3, 50, n_walkers=60, n_cycles=60, discard=25, n_repeats=12),
    Passage(5, 1, n_walkers=80, n_cycles=1400, discard=800, n_repeats=10),
    Passage(5, 10, n_walkers=80, n_cycles=260, discard=90),
]
PASSAGES = [*QUICK, *(pytest.param(passage, marks=pytest.mark.slow) for passage in LONG)]

#: Looked at every 50 steps, 85 % of the best allocation is in the well, below -0.7; from its
#: bottom one walker in 600,000 jumps over. Many walkers are the price. REVO's time grows with
#: the square of their number, so it gets fewer and more cycles.
HIGH = [
    Passage(7, 10, n_walkers=400, n_cycles=260, discard=80),
    Passage(7, 50, n_walkers=400, n_cycles=90, discard=20),
    Passage(10, 1, n_walkers=400, n_cycles=1000, discard=350),
    Passage(10, 10, n_walkers=400, n_cycles=260, discard=70, n_repeats=40),
    Passage(10, 50, n_walkers=2000, n_cycles=100, discard=20),
]
HIGH_REVO = [
    Passage(7, 10, n_walkers=150, n_cycles=260, discard=80),
    Passage(7, 50, n_walkers=150, n_cycles=90, discard=20),
    Passage(10, 1, n_walkers=150, n_cycles=1000, discard=350),
    Passage(10, 10, n_walkers=150, n_cycles=260, discard=70),
    Passage(10, 50, n_walkers=300, n_cycles=200, discard=20, n_repeats=40),
]


@pytest.mark.parametrize(
    # REVO passes the walk's each time; here it takes as long as the other two together.
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "revo")) for kind in RESAMPLERS],
)
@pytest.mark.parametrize("passage", PASSAGES, ids=str)
def test_first_passage_time(passage, kind):
    """Walkers put back at -1 when seen in the other well flow there at the rate 1 / MFPT."""
    assert agrees(passage.figure(kind, resampler(kind, passage.height)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("passage", "kind"),
    [(passage, kind) for kind in RESAMPLERS for passage in (HIGH_REVO if kind == "revo" else HIGH)],
    ids=str,
)
def test_first_passage_time_over_a_high_barrier(passage, kind):
    """The same over 7 and 10 kT, by a set-up whose error and skewness are known beforehand."""
    make_resampler = even_resampler(kind, passage.even_coordinate())
    assert agrees(passage.even_figure(kind, make_resampler))
