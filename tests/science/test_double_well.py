"""A particle leaves one well of V = h (x^2 - 1)^2 for the other in the time that can be computed.

Diffusion constant and kT are 1, steps are 1e-3 long; a walker seen at x >= 1 goes
back to -1. The exact MFPT is that of this very chain of steps, looked at as
often as the run looks (tests/science/reference.py), so no error of the time step
is left between them. The figures are fluxes per cycle.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.science.ensembles import Experiment, biased, flux_figure
from tests.science.estimate import agrees
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

    def figure(self, name, make_resampler):
        """The flux into the other well, per cycle."""
        runner = OverdampedLangevinRunner(DoubleWell(self.height), diffusion=1.0, dt=1e-3, beta=1.0)
        start = runner.initial_state(-1.0)
        fluxes, _ = Experiment(
            runner,
            TargetBC(POSITION, [start], threshold=TARGET),
            make_resampler,
            start,
            n_walkers=self.n_walkers,
            n_steps=self.n_steps,
            n_cycles=self.n_cycles,
        ).repeats(self.n_repeats, SEED)
        chain = double_well(self.height).every(self.n_steps)
        return flux_figure(f"double well, {self}, {name}", fluxes, chain, TARGET, self.discard)


QUICK = [
    Passage(3, 50, n_walkers=60, n_cycles=60, discard=25, n_repeats=12),
    Passage(5, 50, n_walkers=80, n_cycles=60, discard=20, n_repeats=15),
]
#: Not h = 10 looked at every 50 steps: see docs/validation.md.
LONG = [
    Passage(5, 1, n_walkers=80, n_cycles=1400, discard=800, n_repeats=10),
    Passage(5, 10, n_walkers=80, n_cycles=260, discard=90),
    Passage(7, 10, n_walkers=120, n_cycles=260, discard=80),
    Passage(7, 50, n_walkers=120, n_cycles=90, discard=20),
    Passage(10, 10, n_walkers=200, n_cycles=260, discard=70),
]
PASSAGES = [*QUICK, *(pytest.param(passage, marks=pytest.mark.slow) for passage in LONG)]


@pytest.mark.parametrize("kind", RESAMPLERS)
@pytest.mark.parametrize("passage", PASSAGES, ids=str)
def test_first_passage_time(passage, kind):
    """Walkers put back at -1 when seen in the other well flow there at the rate 1 / MFPT."""
    assert agrees(passage.figure(kind, resampler(kind, passage.height)))
