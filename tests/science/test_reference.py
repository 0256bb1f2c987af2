"""The exact values that all science tests are held to: each computed here in two ways."""

import numpy as np
import pytest

from tests.science import relaxing
from tests.science.reference import Pair, double_well, random_walk

#: k -> mean number of looks until a walk looked at every 10 steps is first seen at k or beyond.
WALK_MFPT_EVERY_10 = {5: 269.30853, 8: 7308.4314, 10: 65792.353}

#: height -> MFPT from -1 to 1 in time units, looked at every 1, 10, 50 steps of 1e-3.
DOUBLE_WELL_MFPT = {
    3: (8.8760, 8.9343, 9.0843),
    5: (36.306, 36.351, 36.486),
    7: (184.37, 184.41, 184.54),
    10: (2521.8, 2521.85, 2521.97),
}

#: epsilon in kJ/mol -> MFPT in ps from r_min to 1 nm, looked at all the time.
PAIR_MFPT = {5: 1.671, 10: 4.432, 15: 17.81, 20: 90.71}


def test_walk_law():
    """The law after 10 steps from 0 is what counting paths gives."""
    assert random_walk().law(10)[:3] == pytest.approx([0.67298126, 0.22108269, 0.07369423])


def test_walk_stationary_law():
    """(2/3)(1/3)^x is left as it is by a step: 0.25 p(x) = 0.75 p(x + 1)."""
    chain = random_walk()
    stationary = 2 / 3 * (1 / 3) ** chain.points
    assert stationary @ chain.matrix == pytest.approx(stationary, abs=1e-15)


@pytest.mark.parametrize("target", [1, 5, 10, 15])
def test_walk_mfpt(target):
    """3^(k+1) - 2k - 3: from x to x + 1 takes t(x) = 4 + 3 t(x-1) steps, and t(0) = 4."""
    assert random_walk().mfpt(target) == pytest.approx(3 ** (target + 1) - 2 * target - 3)


@pytest.mark.parametrize("target", WALK_MFPT_EVERY_10)
def test_walk_mfpt_every_10_steps(target):
    """Looked at every 10 steps only, the chain is the matrix to the power of 10."""
    assert random_walk().every(10).mfpt(target) == pytest.approx(WALK_MFPT_EVERY_10[target])


@pytest.mark.parametrize("interval", [1, 10])
def test_hill_relation(interval):
    """The flux of walkers that are put back at the start becomes 1 / MFPT."""
    chain = random_walk().every(interval)
    assert chain.fluxes(8, 200)[-1] == pytest.approx(1 / chain.mfpt(8))


@pytest.mark.parametrize("height", DOUBLE_WELL_MFPT)
def test_double_well_mfpt(height):
    """The MFPT of the Euler-Maruyama chain on quadrature nodes is that computed elsewhere."""
    chain = double_well(height)
    found = [interval * 1e-3 * chain.every(interval).mfpt(1.0) for interval in (1, 10, 50)]
    assert found == pytest.approx(DOUBLE_WELL_MFPT[height], rel=3e-5)


def test_double_well_does_not_depend_on_the_grid():
    """Half the nodes give the same MFPT to eight digits: the quadrature has converged."""
    coarse, fine = (double_well(7, n_nodes=n).every(10).mfpt(1.0) for n in (10, 20))
    assert coarse == pytest.approx(fine, rel=1e-8)


@pytest.mark.parametrize("epsilon", PAIR_MFPT)
def test_pair_mfpt_looked_at_all_the_time(epsilon):
    """The MFPT of the Smoluchowski equation in r, by quadrature, is that computed elsewhere."""
    assert Pair(epsilon).continuous_mfpt(1.0) == pytest.approx(PAIR_MFPT[epsilon], rel=3e-4)


@pytest.mark.parametrize("epsilon", [10, 15])
def test_pair_mfpt_of_steps_converges_to_that(epsilon):
    """The chain of shorter and shorter steps, looked at after each, has that MFPT in the end.

    What is passed between two looks is missed, which is an error of the order
    of the square root of the interval; of two intervals it can be extrapolated.
    """
    pair = Pair(epsilon)
    long, short = (pair.chain(step, 1.0).mfpt(1.0) * step for step in (8e-5, 2e-5))
    assert 2 * short - long == pytest.approx(PAIR_MFPT[epsilon], rel=5e-3)


def test_pair_chain_does_not_depend_on_its_end():
    """That all distances far beyond the target are one makes no difference."""
    near, far = (Pair(10).chain(1e-4, 1.0, end).every(100).mfpt(1.0) for end in (0.4, 0.8))
    assert near == pytest.approx(far, rel=1e-6)


@pytest.mark.parametrize("chain", [random_walk(), double_well(5), Pair(10).chain(1e-4, 1.0)])
def test_probability_is_conserved(chain):
    """Rows of a transition matrix sum to 1, the flux law as well."""
    assert chain.matrix.sum(axis=1) == pytest.approx(np.ones(len(chain.points)))
    assert chain.law(20).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("chain", "target", "mfpt", "time", "early"),
    [
        (relaxing.chain(), relaxing.TARGET, relaxing.MFPT, relaxing.RELAXATION, 0.118),
        (
            relaxing.fine(),
            relaxing.FINE_TARGET,
            relaxing.FINE_MFPT,
            relaxing.FINE_RELAXATION,
            0.122,
        ),
    ],
    ids=["lattice", "fine"],
)
def test_what_relaxes_slowly(chain, target, mfpt, time, early):
    """Mean first passage time and relaxation time of the chains with an intermediate, and how much
    of the flux has come in 500 looks."""
    assert chain.mfpt(target) == pytest.approx(mfpt, rel=1e-6)
    assert chain.fluxes(target, 500).mean() * mfpt == pytest.approx(early, abs=1e-3)
    recycling = chain.matrix.copy()
    recycling[chain.points >= target] = chain.start @ chain.matrix
    second = np.sort(np.linalg.eigvals(recycling).real)[-2]
    assert -1 / np.log(second) == pytest.approx(time, rel=1e-5)
