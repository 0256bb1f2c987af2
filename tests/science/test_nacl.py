"""Ions in water move alike in a weighted ensemble and in plain molecular dynamics.

Nobody knows the exact law of the distance between a sodium and a chloride ion
0.3 ps after a given start, so it is found with more MD steps without resampling than
with each resampler, and the two are compared: through OpenMM's CPU platform, from one
state in contact. Each resampler is then made wrong on purpose, and the same
comparison with the same seeds must fail.

For a wrong resampler to show, resampling must matter. A pair in contact swings with a period of
0.2 ps; with the fixture's friction of 1/ps clones of a walker go on together for that long, and
what is in the tail falls back before it can be split. So the friction is 50/ps here, about
that of critical damping, and walkers are resampled every 10 fs: with fine bins some ten of 24
then are where a few per cent of the weight is.
pmax keeps walkers light, so that none that enters the tail is the whole of it.
"""

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import openmm
import pytest
from openmm import unit

from tests.science.ensembles import Experiment, Leaking
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
#: The fixture's box of 2.5 nm costs twice as much.
BOX_NM = 2.0
FRICTION = 50 / unit.picosecond
N_WALKERS, N_STEPS, N_CYCLES = 24, 5, 30
N_REPEATS, N_PLAIN_REPEATS = 20, 24
N_PROCESSES = 2
#: Beyond the contact minimum, nm. Plain dynamics sees each of these tails many times.
FAR_NM = (0.28, 0.29, 0.30)
#: Of the weight, dealt out evenly in each resampling by a resampler that is wrong on purpose.
#: WExplore has the fewest walkers in the tail, so that the least of it arrives there.
WRONG_SHARES = {"wexplore": 0.10, "revo": 0.05, "bins": 0.05}

DISTANCE = PairDistance(0, 1)
BOUNDS = {"pmin": 1e-4, "pmax": 0.1}
EDGES_NM = (0.26, 0.27, 0.28, 0.285, 0.29, 0.295, 0.30, 0.305, 0.31, 0.32)
RESAMPLERS = {
    "wexplore": lambda: WExploreResampler(DISTANCE, (30,), (0.005,), **BOUNDS),
    "revo": lambda: REVOResampler(
        DISTANCE, merge_dist=0.01, char_dist=0.01, dist_exponent=1, **BOUNDS
    ),
    "bins": lambda: BinResampler(ImageCoordinate(DISTANCE), edges=EDGES_NM, **BOUNDS),
}


def maker(kind, share):
    """Makes resamplers of a kind that deal out such a share of the weight evenly."""
    if kind == "plain":
        return NoResampler
    return RESAMPLERS[kind] if share == 0 else lambda: Leaking(RESAMPLERS[kind](), share)


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

#: (runner, start) in each of the processes.
_ions = ()


def _take(*ions):
    global _ions
    _ions = ions


def one_repeat(kind, share, seed, repeat):
    """Moments over the cycles of one repeat, shape (5,)."""
    runner, start = _ions
    experiment = Experiment(runner, None, maker(kind, share), start, N_WALKERS, N_STEPS, N_CYCLES)
    _, seen = experiment.repeats(1, seed, moments, first=repeat)
    return seen.mean(axis=(0, 1))


@pytest.fixture(scope="module")
def observed():
    """kind, share, n_repeats, seed -> moments of each repeat, shape (n_repeats, 5)."""
    path = REPOSITORY / "fixtures" / "nacl" / "make_orchestrator.py"
    spec = importlib.util.spec_from_file_location("make_nacl", path)
    nacl = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nacl)
    nacl.BOX_NM = BOX_NM
    topology, positions = nacl.solvated_pair()
    state = nacl.equilibrate(topology, positions)
    start = as_walker_state(
        state.getPositions(asNumpy=True),
        state.getPeriodicBoxVectors(asNumpy=True),
        state.getVelocities(asNumpy=True),
    )
    assert np.diag(start["box_vectors"]).min() > 2 * nacl.CUTOFF_NM
    runner = OpenMMRunner(
        nacl.make_system(topology),
        None,
        openmm.LangevinMiddleIntegrator(nacl.TEMPERATURE, FRICTION, nacl.STEP),
        platform=nacl.PLATFORM,
        platform_properties=nacl.PROPERTIES,
    )
    with ProcessPoolExecutor(
        N_PROCESSES, multiprocessing.get_context("spawn"), _take, (runner, start)
    ) as pool:

        def measure(kind, share, n_repeats, seed):
            repeats = range(n_repeats)
            tasks = [pool.submit(one_repeat, kind, share, seed, repeat) for repeat in repeats]
            return np.array([task.result() for task in tasks])

        yield measure


@pytest.fixture(scope="module")
def plain(observed):
    """What plain MD gives: no resampling, other random numbers."""
    found = observed("plain", 0.0, N_PLAIN_REPEATS, SEED + 1)
    print(dict(zip(NAMES, found.mean(axis=0).tolist(), strict=True)))
    return found


def figures(name, found, plain):
    """Each moment's difference from plain MD."""
    return [
        Figure.between(f"NaCl, {what}, {name} less plain MD", found[:, k], plain[:, k])
        for k, what in enumerate(NAMES)
    ]


@pytest.mark.parametrize("kind", RESAMPLERS)
def test_distances_are_those_of_plain_dynamics(kind, observed, plain):
    """Mean, spread and tail of the ions' distance are the same with and without resampling."""
    assert agrees(*figures(kind, observed(kind, 0.0, N_REPEATS, SEED), plain))


@pytest.mark.parametrize("kind", RESAMPLERS)
def test_a_wrong_resampler_is_noticed(kind, observed, plain):
    """The same comparison refuses a resampler that deals out a little of the weight."""
    share = WRONG_SHARES[kind]
    found = observed(kind, share, N_REPEATS, SEED)
    assert not agrees(*figures(f"{kind}, wrong by {share:g}", found, plain))
