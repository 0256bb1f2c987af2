"""The steady state that counted transitions lead to."""

from __future__ import annotations

import numpy as np
import pytest

from tests.science import relaxing
from wepystore.estimates.steady_state import relaxation, stationary, steady_state


def random_counts(n: int, seed: int) -> np.ndarray:
    """A full matrix, of numbers over many powers of ten."""
    rng = np.random.default_rng(seed)
    return 10.0 ** rng.uniform(-9, 0, (n, n))


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_nothing_changes_any_more(n):
    """One more transition leaves the distribution as it is."""
    matrix = random_counts(n, n)
    matrix /= matrix.sum(axis=1, keepdims=True)
    found = stationary(matrix)
    assert found.sum() == pytest.approx(1, rel=1e-14)
    assert found @ matrix == pytest.approx(found, rel=1e-12)


def test_small_probabilities_are_known_as_well_as_large_ones():
    """Of a walk over a barrier of 700 kT, each probability has all of its digits; a general solver
    has none of the smallest ones."""
    energies = np.concatenate([np.linspace(0, 700, 30), np.linspace(700, 0, 30)[1:]])
    up = 0.4 * np.minimum(1, np.exp(-np.diff(energies)))
    down = 0.4 * np.minimum(1, np.exp(np.diff(energies)))
    matrix = np.diag(up, 1) + np.diag(down, -1)
    matrix += np.diag(1 - matrix.sum(axis=1))
    exact = np.exp(-energies) / np.exp(-energies).sum()
    assert exact.min() < 1e-300
    assert stationary(matrix) == pytest.approx(exact, rel=1e-12)


def counts_of_lattice(n_cycles: int, width: int = 1) -> np.ndarray:
    """What infinitely many walkers of the lattice leave in so many cycles, in bins so wide."""
    chain = relaxing.chain()
    n_bins = -(-relaxing.TARGET // width)
    bins = np.append(np.arange(relaxing.TARGET) // width, n_bins)
    counts, weights = np.zeros((n_bins + 1, n_bins + 1)), np.zeros(relaxing.N_SITES)
    weights[-1] = 1.0
    for _ in range(n_cycles):
        moved = weights[:, np.newaxis] * chain.matrix
        moved[-1] = weights[-1] * chain.start @ chain.matrix
        np.add.at(counts, (bins[:, np.newaxis], bins), moved)
        weights = moved.sum(axis=0)
    return counts


@pytest.mark.parametrize("n_cycles", [25, 500, 2000])
def test_the_rate_does_not_wait_for_the_flux(n_cycles):
    """Transitions of no more than 25 cycles give the rate of a steady state that is 1,461 cycles
    away: the mean first passage time, and how long it takes."""
    found = steady_state(counts_of_lattice(n_cycles))
    assert found.flux * relaxing.MFPT == pytest.approx(1, rel=1e-6)
    assert found.relaxation == pytest.approx(relaxing.RELAXATION, rel=1e-6)
    assert found.kept.all()
    assert found.left_out == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("n_cycles", "width", "rate"), [(500, 2, 0.430), (2000, 2, 0.717), (500, 4, 0.196)]
)
def test_in_wide_bins_it_still_waits(n_cycles, width, rate):
    """Where walkers in one bin are not alike, it matters how long they have been there."""
    found = steady_state(counts_of_lattice(n_cycles, width))
    assert found.flux * relaxing.MFPT == pytest.approx(rate, abs=2e-3)
    assert found.relaxation < relaxing.RELAXATION


def test_bins_that_lead_nowhere_are_left_out():
    """Bins that nobody left, nobody entered, or that lead to such alone, have no part in it; how
    much went there is told."""
    counts = np.zeros((6, 6))
    counts[5, 0] = 10.0  # the initial state
    counts[0, [0, 1]] = 6.0, 4.0
    counts[1, [0, 5, 2, 3]] = 1.0, 2.0, 0.5, 0.5
    counts[3, 2] = 1.0  # 2 is never left
    counts[4, 1] = 5.0  # 4 is never entered
    found = steady_state(counts)
    assert found.kept.tolist() == [True, True, False, False, False, True]
    assert found.left_out == pytest.approx(7 / 30)
    # From 1, without what is left out, 1/3 back and 2/3 to the target; 0.6 of 0 stay there.
    assert found.probabilities[[0, 1, 5]] == pytest.approx(np.array([7.5, 3, 2]) / 12.5)
    assert found.probabilities[[2, 3, 4]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((3, 3)),
        [[1.0, 1, 0], [1, 1, 0], [1, 0, 0]],  # nothing arrives
        [[1.0, 1, 1], [1, 1, 1], [0, 0, 0]],  # nothing begins
    ],
)
def test_a_target_that_is_not_reached_has_no_flux(counts):
    """There is no number that stands for it."""
    assert steady_state(np.array(counts)) is None


def test_a_walk_that_goes_round_in_one_transition():
    """All that begins arrives at once: one arrival a transition, and nothing to relax."""
    found = steady_state(np.array([[0.0, 0.0], [0.0, 2.0]]))
    assert (found.flux, found.relaxation) == (1.0, 0.0)


def test_relaxation_by_the_second_eigenvalue():
    """Of two states that are left with probabilities p and q what is left is (1 - p - q)^n."""
    assert relaxation(np.array([[0.9, 0.1], [0.2, 0.8]])) == pytest.approx(-1 / np.log(0.7))
    # One that swaps all the time comes back at once.
    assert relaxation(np.array([[0.0, 1.0], [1.0, 0.0]])) == 0.0
