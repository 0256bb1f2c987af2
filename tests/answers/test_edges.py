"""Bins along a coordinate, and the same with half and twice as many."""

from __future__ import annotations

import numpy as np
import pytest

from wepystore.answers.edges import edges_of


def test_as_many_values_in_each():
    """Bins of a number have as many values each; the others are made of them."""
    values = np.random.default_rng(1).exponential(size=1000)
    edges = edges_of(values, 10)
    for found, n_bins in ((edges.coarser, 5), (edges.chosen, 10), (edges.finer, 20)):
        counts = np.bincount(np.searchsorted(found, values, "right"))
        assert len(counts) == n_bins
        assert counts.tolist() == [1000 // n_bins] * n_bins
    assert set(edges.coarser) < set(edges.chosen) < set(edges.finer)


def test_values_that_are_equal_are_in_one_bin():
    """Of a few different values each has a bin, and none can be cut."""
    values = np.repeat([0.0, 1, 2, 3, 4], [500, 300, 3, 2, 195])
    edges = edges_of(values, 100)
    # What fewer than a hundredth have may make no edge; finer bins tell it apart.
    assert edges.chosen.tolist() == [1, 2, 4]
    assert edges.finer.tolist() == [1, 2, 3, 4]
    assert edges_of(values, 1000).chosen.tolist() == [1, 2, 3, 4]
    assert edges_of(values, 1000).finer.tolist() == [1, 2, 3, 4]
    assert edges_of(np.zeros(10), 5).finer.tolist() == []


def test_given_edges_stay():
    """Bins between given edges are halved where there are values that differ."""
    values = np.array([0.0, 0.1, 0.2, 0.3, 5.0, 5.0])
    edges = edges_of(values, np.array([0.15, 1.0, 2.0]))
    assert edges.chosen.tolist() == [0.15, 1.0, 2.0]
    assert edges.coarser.tolist() == [1.0]
    assert edges.finer.tolist() == [0.1, 0.15, 0.3, 1.0, 2.0]


@pytest.mark.parametrize("n_bins", [2, 3, 9, 30])
def test_merged_is_counted_anew(n_bins):
    """The weights between wide bins are the sums of those between narrow ones, for whatever they
    are between: as counted at once."""
    rng = np.random.default_rng(n_bins)
    values = rng.integers(0, 40, 500) + rng.integers(0, 2, 500) * 0.5
    edges = edges_of(values, n_bins)
    begin, end, weights = rng.permutation(values), values, rng.random(500)
    special = rng.random(500) < 0.1

    def counted(found):
        n = len(found) + 2
        counts = np.zeros((n, n))
        places = [np.searchsorted(found, each, "right") for each in (begin, end)]
        rows, columns = (np.where(special, n - 1, each) for each in places)
        np.add.at(counts, (rows, columns), weights)
        return counts

    for found in edges:
        assert edges.merged(counted(edges.finer), found) == pytest.approx(counted(found))
