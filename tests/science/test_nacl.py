"""Ions in water move alike in a weighted ensemble and in plain molecular dynamics.

Nobody knows the exact law of the distance between a sodium and a chloride ion
0.4 ps after a given start, so it is found with as many MD steps without resampling
as with each resampler, and more, and the two are compared. Only short times are
looked at: 0.04 to 0.4 ps from one state in contact, with 8 walkers a
repeat, through OpenMM's CPU platform. With so few trajectories only gross errors
would be seen: docs/validation.md says which wrong resamplers pass.
"""

import importlib.util

import pytest

from tests.science.ensembles import Experiment
from tests.science.estimate import Figure, agrees
from tests.systems import REPOSITORY
from wepystore.api import (
    BinResampler,
    ImageCoordinate,
    NoResampler,
    OpenMMRunner,
    PairDistance,
    REVOResampler,
    WExploreResampler,
    as_walker_state,
)
from wepystore.engine.ensemble import weights_of

pytestmark = pytest.mark.slow

SEED = 20250104
N_WALKERS, N_STEPS, N_CYCLES = 8, 20, 10
N_REPEATS, N_PLAIN_REPEATS = 10, 16
#: Beyond the contact minimum, nm.
FAR_NM = (0.27, 0.29)

DISTANCE = PairDistance(0, 1)
RESAMPLERS = {
    "wexplore": lambda: WExploreResampler(DISTANCE, (10, 10), (0.02, 0.005), pmax=0.5),
    "revo": lambda: REVOResampler(
        DISTANCE, merge_dist=0.02, char_dist=0.01, dist_exponent=0.5, pmax=0.5
    ),
    "bins": lambda: BinResampler(
        ImageCoordinate(DISTANCE), edges=(0.25, 0.26, 0.27, 0.28, 0.29, 0.30), pmax=0.5
    ),
}


def distances(walkers):
    """Of each walker, shape (n,), nm."""
    return DISTANCE.images([walker.state for walker in walkers])[:, 0]


def moments(walkers):
    """The mean distance, its mean square about 0.27 nm, and the weight beyond FAR_NM."""
    apart, weights = distances(walkers), weights_of(walkers)
    return [
        float(weights @ apart),
        float(weights @ (apart - 0.27) ** 2),
        *(float(weights @ (apart > far)) for far in FAR_NM),
    ]


NAMES = ("mean distance", "mean square", *(f"P(d > {far})" for far in FAR_NM))


@pytest.fixture(scope="module")
def ions():
    """(runner, start): the fixture's box of water, equilibrated with the ions in contact."""
    path = REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py"
    spec = importlib.util.spec_from_file_location("make_nacl", path)
    nacl = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nacl)
    topology, positions = nacl.solvated_pair()
    state = nacl.equilibrate(topology, positions)
    start = as_walker_state(
        state.getPositions(asNumpy=True),
        state.getPeriodicBoxVectors(asNumpy=True),
        state.getVelocities(asNumpy=True),
    )
    runner = OpenMMRunner(
        nacl.make_system(topology),
        None,
        nacl.make_integrator(0),
        platform=nacl.PLATFORM,
        platform_properties=nacl.PROPERTIES,
    )
    return runner, start


def observed(ions, make_resampler, n_repeats, seed):
    """Moments over the cycles, shape (n_repeats, 4)."""
    runner, start = ions
    experiment = Experiment(runner, None, make_resampler, start, N_WALKERS, N_STEPS, N_CYCLES)
    _, seen = experiment.repeats(n_repeats, seed, moments)
    return seen.mean(axis=1)


@pytest.fixture(scope="module")
def plain(ions):
    """What plain MD gives: no resampling, other random numbers."""
    return observed(ions, NoResampler, N_PLAIN_REPEATS, SEED + 1)


def figures(name, found, plain):
    """Each moment's difference from plain MD."""
    print(dict(zip(NAMES, plain.mean(axis=0).tolist(), strict=True)))
    return [
        Figure.between(f"NaCl, {what}, {name} less plain MD", found[:, k], plain[:, k])
        for k, what in enumerate(NAMES)
    ]


@pytest.mark.parametrize("kind", RESAMPLERS)
def test_distances_are_those_of_plain_dynamics(kind, ions, plain):
    """Mean, spread and tail of the ions' distance are the same with and without resampling."""
    found = observed(ions, RESAMPLERS[kind], N_REPEATS, SEED)
    assert agrees(*figures(kind, found, plain))
