"""Two Lennard-Jones particles part in the time that can be computed, by way of OpenMM.

Brownian dynamics on the Reference platform, sigma 0.34 nm, mass 39.9, 300 K,
1/ps, from r_min until they are seen 1 nm apart. A run takes steps of 0.1 fs
and looks every 100 of them, and its exact MFPT is that of this very chain of steps
in r (reference.Pair.chain). Looked at all the time it would be 4 % less: what is
missed between two looks is known exactly, and so is not an error.
"""

from dataclasses import dataclass

import openmm
import pytest

from tests.science.ensembles import Experiment, biased, flux_figure
from tests.science.estimate import agrees
from tests.science.reference import Pair
from wepystore.api import (
    BinResampler,
    ImageCoordinate,
    NoResampler,
    OpenMMRunner,
    PairDistance,
    REVOResampler,
    UnbindingBC,
    WExploreResampler,
    as_walker_state,
)

SEED = 20250103
TARGET_NM = 1.0
STEP_PS = 1e-4
N_STEPS = 100
DISTANCE = PairDistance(0, 1, periodic=False)
RESAMPLERS = ("wexplore", "revo", "bins")
EDGES_NM = (0.41, 0.43, 0.45, 0.48, 0.52, 0.58, 0.68, 0.82)


def resampler(kind, exponent=1.0, width=1):
    """Makes resamplers along the distance; `exponent` as in `ensembles.biased`.

    With a greater width, walkers farther apart are merged: less efficient, but
    then it matters more which of them survives.
    """
    if kind == "wexplore":
        return lambda: biased(WExploreResampler, exponent)(
            DISTANCE, (20,), (0.06 * width,), pmax=0.1
        )
    if kind == "revo":
        return lambda: biased(REVOResampler, exponent)(
            DISTANCE, merge_dist=0.06 * width, char_dist=0.1, dist_exponent=0.5, pmax=0.1
        )
    return lambda: biased(BinResampler, exponent)(
        ImageCoordinate(DISTANCE), edges=EDGES_NM[::width], pmax=0.1
    )


def distances(walkers):
    """Of the particles of each walker, shape (n,), nm."""
    return DISTANCE.images([walker.state for walker in walkers])[:, 0]


def runner(pair):
    """OpenMM on the Reference platform."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(pair.mass)
        force.addParticle(0.0, pair.sigma, pair.epsilon)
    system.addForce(force)
    integrator = openmm.BrownianIntegrator(pair.temperature, pair.friction, STEP_PS)
    return OpenMMRunner(system, None, integrator, platform="Reference")


@dataclass(frozen=True)
class Unbinding:
    """How an MFPT is measured."""

    epsilon: float
    n_walkers: int
    n_cycles: int
    discard: int
    n_repeats: int

    def __str__(self):
        return f"epsilon {self.epsilon:g}"

    def figure(self, name, make_resampler):
        """The flux to 1 nm, per cycle."""
        pair = Pair(self.epsilon)
        start = as_walker_state([[0.0, 0.0, 0.0], [pair.r_min, 0.0, 0.0]])
        fluxes, _ = Experiment(
            runner(pair),
            UnbindingBC(TARGET_NM, [start], [0], [1], periodic=False),
            make_resampler,
            start,
            n_walkers=self.n_walkers,
            n_steps=N_STEPS,
            n_cycles=self.n_cycles,
        ).repeats(self.n_repeats, SEED)
        chain = pair.chain(STEP_PS, TARGET_NM).every(N_STEPS)
        return flux_figure(f"LJ pair, {self}, {name}", fluxes, chain, TARGET_NM, self.discard)


QUICK = [Unbinding(10, n_walkers=24, n_cycles=230, discard=130, n_repeats=7)]
LONG = [
    Unbinding(10, n_walkers=48, n_cycles=400, discard=130, n_repeats=20),
    Unbinding(15, n_walkers=48, n_cycles=400, discard=110, n_repeats=25),
]
#: The walk tries every resampler each time; here one is enough for OpenMM.
UNBINDINGS = [
    pytest.param(
        unbinding, kind, marks=[] if unbinding in QUICK and kind == "bins" else pytest.mark.slow
    )
    for unbinding in (*QUICK, *LONG)
    for kind in RESAMPLERS
]


@pytest.mark.parametrize(("unbinding", "kind"), UNBINDINGS, ids=str)
def test_unbinding_time(unbinding, kind):
    """Pairs put back at r_min when seen 1 nm apart flow there at the rate 1 / MFPT."""
    assert agrees(unbinding.figure(kind, resampler(kind)))


@pytest.mark.slow
def test_unbinding_time_without_resampling():
    """OpenMM's Brownian dynamics by itself has that MFPT: what fails elsewhere is the resampler."""
    assert agrees(LONG[0].figure("no resampling", NoResampler))


@pytest.mark.parametrize("epsilon", [10, 15])
def test_what_is_missed_between_looks(epsilon):
    """The chain that is measured is within 5 % of the pair that is looked at all the time."""
    pair = Pair(epsilon)
    chain = pair.chain(STEP_PS, TARGET_NM).every(N_STEPS)
    measured = chain.mfpt(TARGET_NM) * N_STEPS * STEP_PS
    assert 1 < measured / pair.continuous_mfpt(TARGET_NM) < 1.05
