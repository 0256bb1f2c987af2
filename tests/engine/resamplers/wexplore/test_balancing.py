"""Balancing: even shares, and merges and clones that respect pmax and pmin."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.engine.resamplers.resampled import clone_heaviest, max_merges, merge_lightest
from wepystore.engine.resamplers.groups import max_clones
from wepystore.engine.resamplers.wexplore.balancing import even_shares

weights_of_a_leaf = st.lists(
    st.floats(-14, 0).map(lambda exponent: 10.0**exponent), min_size=1, max_size=12
).map(lambda weights: dict(enumerate(weights)))
probabilities = st.floats(-12, 0).map(lambda exponent: 10.0**exponent)


@st.composite
def shares_asked(draw):
    """What up to four regions hold, the least and most they can hold, and a total that fits."""
    current = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    low = [draw(st.integers(0, number)) for number in current]
    high = [draw(st.integers(number, 8)) for number in current]
    return current, low, high, draw(st.integers(sum(low), sum(high)))


@given(shares_asked())
@settings(deadline=None)
def test_no_other_shares_are_more_even(asked):
    """Of all shares within the limits none is more even, and none as even moves fewer walkers."""
    current, low, high, total = asked
    shares = even_shares(current, low, high, total)
    assert sum(shares) == total
    assert all(lo <= share <= hi for lo, share, hi in zip(low, shares, high, strict=True))

    def cost(candidate):
        moved = sum(abs(share - was) for share, was in zip(candidate, current, strict=True))
        return sum(share**2 for share in candidate), moved

    ranges = [range(lo, hi + 1) for lo, hi in zip(low, high, strict=True)]
    fitting = (candidate for candidate in itertools.product(*ranges) if sum(candidate) == total)
    assert cost(shares) == min(cost(candidate) for candidate in fitting)


def test_shares_that_do_not_fit_are_refused():
    """More walkers than the regions can take is an error."""
    with pytest.raises(ValueError, match="do not fit"):
        even_shares([1, 1], [1, 1], [2, 2], 5)


@given(probabilities, probabilities, st.integers(0, 60))
def test_clones_are_as_many_as_pmin_allows(weight, pmin, limit):
    """max_clones is the largest number whose children are not lighter than pmin."""
    number = max_clones(weight, pmin, limit)
    assert 0 <= number <= limit
    assert number == 0 or weight / (number + 1) >= pmin
    assert number == limit or weight / (number + 2) < pmin


@given(weights_of_a_leaf, probabilities)
def test_merged_walkers_are_never_above_pmax(weights, pmax):
    """Merge groups are disjoint, and none is heavier than pmax."""
    groups = merge_lightest(weights, pmax)
    members = [idx for group in groups for idx in group]
    assert len(members) == len(set(members))
    assert all(len(group) > 1 for group in groups)
    assert all(math.fsum(weights[idx] for idx in group) <= pmax for group in groups)
    assert max_merges(weights, pmax) == sum(len(group) - 1 for group in groups)


@given(weights_of_a_leaf, probabilities, st.data())
def test_a_leaf_can_merge_what_it_promised(weights, pmax, data):
    """Any number of merges up to max_merges is carried out exactly."""
    most = max_merges(weights, pmax)
    wanted = data.draw(st.integers(0, most))
    groups = merge_lightest(weights, pmax, wanted)
    assert sum(len(group) - 1 for group in groups) == wanted


@given(weights_of_a_leaf, probabilities)
def test_pairs_merge_at_least_as_many_as_one_group(weights, pmax):
    """Merging pairs finds at least the merges of one group made of the lightest walkers."""
    lightest = sorted(weights.values())
    fits = [n for n in range(2, len(lightest) + 1) if math.fsum(lightest[:n]) <= pmax]
    assert max_merges(weights, pmax) >= max(fits, default=1) - 1


@given(weights_of_a_leaf, probabilities, st.data())
def test_cloning_splits_the_heaviest_first(weights, pmin, data):
    """All clones are made, none lighter than pmin, and no other split had heavier children."""
    limit = 20
    most = {idx: max_clones(weight, pmin, limit) for idx, weight in weights.items()}
    assume(sum(most.values()) > 0)
    wanted = data.draw(st.integers(1, min(sum(most.values()), 20)))
    clones = clone_heaviest(weights, pmin, wanted, limit)
    assert sum(clones.values()) == wanted
    assert all(weights[idx] / (number + 1) >= pmin for idx, number in clones.items())
    # What was split last was at least as heavy as any child that could still be split.
    split = min(weights[idx] / number for idx, number in clones.items())
    left = (
        weights[idx] / (clones.get(idx, 0) + 1) for idx in weights if clones.get(idx, 0) < most[idx]
    )
    assert all(split >= weight for weight in left)
