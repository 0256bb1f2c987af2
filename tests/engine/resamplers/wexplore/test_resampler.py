"""WExplore as a whole: what it conserves, respects, records, keeps and restores."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.resamplers.resampled import (
    assert_announced,
    assert_kept,
    ensembles,
    make_walkers,
    where,
)
from wepystore.engine.distances.pair import PairDistance
from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
from wepystore.engine.walker import Walker, WalkerState

LEVELS = {"max_n_regions": (3, 3, 3, 3), "max_region_sizes": (1.0, 0.5, 0.35, 0.25)}


class Line:
    """The first coordinate of the first atom; the vectorised distance."""

    def image(self, state):
        return state["positions"][0, :1]

    def image_distances(self, image, images):
        return np.abs(images[:, 0] - image[0])

    def image_distance(self, a, b):
        return abs(float(a[0] - b[0]))


class Names:
    """Images that are no arrays."""

    def image(self, state):
        return "x" * round(10 * float(state["positions"][0, 0]))

    def image_distance(self, a, b):
        return abs(len(a) - len(b)) / 10


def shaken(walkers, rng, step=0.3):
    """Every walker moved a little: what a runner would do between resamplings."""
    moved = [abs(x + step * rng.normal()) for x in where(walkers)]
    return make_walkers(moved, [walker.weight for walker in walkers])


@given(ensembles(), st.integers(0, 2**32))
@settings(deadline=None)
def test_conserves_and_respects(ensemble, seed):
    """Twice: the second time with clones among the walkers."""
    walkers, pmin, pmax = ensemble
    resampler = WExploreResampler(Line(), **LEVELS, pmin=pmin, pmax=pmax)
    resampler.set_rng(np.random.default_rng(seed))
    for _ in range(2):
        after, records, _ = resampler.resample(walkers)
        assert_kept(walkers, after, records, pmin, pmax)
        walkers = after


@given(ensembles())
@settings(deadline=None)
def test_records_hold_the_fields_they_announce(ensemble):
    """Every field of every record is announced, with its shape and its type."""
    walkers, pmin, pmax = ensemble
    resampler = WExploreResampler(Line(), **LEVELS, pmin=pmin, pmax=pmax)
    _, resampling, changes = resampler.resample(walkers)
    assert_announced(resampler, resampling, changes)
    assert [int(record["walker_idx"][0]) for record in resampling] == list(range(len(walkers)))


def test_regions_get_equal_numbers_of_walkers():
    """Two regions, 9 walkers against 1, become 5 against 5: the new region is cloned into."""
    resampler = WExploreResampler(Line(), (4,), (1.0,), pmax=0.5)
    after, records, changes = resampler.resample(make_walkers([0.0] * 9 + [3.0]))
    assert sorted(where(after)) == [0.0] * 5 + [3.0] * 5
    (change,) = changes
    assert change["new_leaf_id"].tolist() == [1]
    assert change["distance"].tolist() == [3.0] and change["image"].tolist() == [3.0]
    assert records[9]["region_assignment"].tolist() == [1]


def test_upper_levels_come_first():
    """Walkers are shared out between the top regions before the regions inside them."""
    resampler = WExploreResampler(Line(), (4, 4), (2.0, 0.5), pmax=0.9)
    # One region at the top holds three inside it, the other a single one.
    after, _, _ = resampler.resample(make_walkers([0.0] * 10 + [0.8, 1.6, 9.0, 9.0]))
    counts = {x: where(after).count(x) for x in (0.0, 0.8, 1.6, 9.0)}
    assert counts[9.0] == 7
    assert sorted((counts[0.0], counts[0.8], counts[1.6])) == [2, 2, 3]


def test_pmax_stops_merging():
    """Walkers that together exceed pmax are not merged, however crowded their region."""
    resampler = WExploreResampler(Line(), (4,), (1.0,), pmax=0.15)
    walkers = make_walkers([0.0] * 9 + [3.0])
    after, _, _ = resampler.resample(walkers)
    assert where(after) == where(walkers)


def test_pmin_stops_cloning():
    """A walker as light as pmin is not cloned, however lonely its region."""
    resampler = WExploreResampler(Line(), (4,), (1.0,), pmin=1e-3, pmax=0.5)
    walkers = make_walkers([0.0] * 9 + [3.0], [0.111] * 9 + [0.001])
    after, _, _ = resampler.resample(walkers)
    assert where(after) == where(walkers)


def test_first_image():
    """The first image is that of init_state if given, else that of the first walker."""
    walkers = make_walkers([0.3, 0.3])
    for init_state, expected in ((None, 0.3), (WalkerState(positions=[[0.1, 0, 0]]), 0.1)):
        resampler = WExploreResampler(Line(), **LEVELS, init_state=init_state)
        assert resampler.state() == {}
        resampler.resample(walkers)
        assert resampler.state()["images"].tolist() == [[expected]]


@pytest.mark.parametrize("distance", [Line(), Names(), PairDistance(0, 1, periodic=False)])
def test_restored_goes_on_to_the_bit(distance):
    """R2: restoring a state into a new resampler continues exactly as the old one does."""
    rng = np.random.default_rng(3)

    def pair(walkers):
        return [
            Walker(WalkerState(positions=[[x, 0, 0], [0, 0, 0]]), walker.weight)
            for x, walker in zip(where(walkers), walkers, strict=True)
        ]

    walkers = make_walkers([0.3] * 20)
    old = WExploreResampler(distance, **LEVELS, pmax=0.5)
    for cycle in range(6):
        old.set_rng(np.random.default_rng([5, cycle]))
        walkers = pair(shaken(old.resample(pair(walkers))[0], rng))
    state = old.state()
    assert json.loads(json.dumps(state["branches"])) == state["branches"]
    new = WExploreResampler.from_params(old.params(), WExploreResampler.version)
    new.restore(state)
    for cycle in range(6, 12):
        results = []
        for resampler in (old, new):
            resampler.set_rng(np.random.default_rng([5, cycle]))
            results.append(resampler.resample(walkers))
        (after, records, changes), (again, same_records, same_changes) = results
        assert where(after) == where(again)
        assert [w.weight for w in after] == [w.weight for w in again]
        assert repr(records) == repr(same_records)
        assert repr(changes) == repr(same_changes)
        walkers = pair(shaken(after, rng))
    assert repr(old.state()) == repr(new.state())
    assert old.summary() == new.summary()


def test_state_is_a_copy():
    """A state that was taken does not change when the resampler goes on."""
    resampler = WExploreResampler(Line(), **LEVELS)
    resampler.resample(make_walkers([0.1, 0.2]))
    state = resampler.state()
    text = repr(state)
    resampler.resample(make_walkers([2.0, 9.0]))
    assert repr(state) == text


def test_images_are_one_float_array():
    """A state's images are one float64 array, so that a store keeps them without pickling."""
    resampler = WExploreResampler(PairDistance(0, 1, periodic=False), **LEVELS)
    resampler.resample(
        [Walker(WalkerState(positions=[[x, 0, 0], [0, 0, 0]]), 0.25) for x in (1, 2, 4, 8)]
    )
    state = resampler.state()
    assert set(state) == {"branches", "images"}
    assert state["images"].dtype == np.float64
    assert state["images"].shape == (len(state["branches"]), 1)


def test_same_result_under_any_hash_seed():
    """I1, R1: two processes with different hash seeds make the same decisions."""
    program = textwrap.dedent(
        """
        import hashlib, numpy as np
        from wepystore.engine.distances.pair import PairDistance
        from wepystore.engine.resamplers.wexplore.resampler import WExploreResampler
        from wepystore.engine.walker import Walker, WalkerState
        rng = np.random.default_rng(11)
        resampler = WExploreResampler(
            PairDistance(0, 1, periodic=False), (3, 3, 3), (1.0, 0.5, 0.25), pmax=0.5
        )
        lengths, weights = np.full(30, 0.3), np.full(30, 1 / 30)
        seen = hashlib.sha256()
        for cycle in range(10):
            lengths = np.abs(lengths + 0.3 * rng.normal(size=30))
            walkers = [
                Walker(WalkerState(positions=[[0, 0, 0], [0, 0, length]]), float(weight))
                for length, weight in zip(lengths, weights)
            ]
            resampler.set_rng(np.random.default_rng([1, cycle]))
            after, records, changes = resampler.resample(walkers)
            lengths = np.array([walker.state["positions"][1, 2] for walker in after])
            weights = np.array([walker.weight for walker in after])
            seen.update(lengths.tobytes() + weights.tobytes())
            seen.update(repr((records, changes, resampler.state())).encode())
        print(seen.hexdigest())
        """
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_summary_counts_regions():
    """The summary tells regions and free slots per level."""
    resampler = WExploreResampler(Line(), (2, 3), (1.0, 0.5))
    assert resampler.summary() == {"regions per level": "none yet"}
    resampler.resample(make_walkers([0.0, 0.7, 5.0]))
    summary = resampler.summary()
    assert summary["regions per level"] == "2, 3"
    assert summary["free slots per level"] == "0, 3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_n_regions": (3, 3)}, "one number per level"),
        ({"max_n_regions": (3, 3, 0, 3)}, "at least 1"),
        ({"max_region_sizes": (1.0, 0.5, 0.35, 0.0)}, "positive"),
        ({"pmin": 0.5}, "pmin"),
    ],
)
def test_parameters_are_checked(change, words):
    """Parameters that make no sense are refused with the reason."""
    with pytest.raises(ValueError, match=words):
        WExploreResampler(Line(), **{**LEVELS, **change})


def test_no_walkers():
    """There is nothing to resample without walkers, and the error says so."""
    with pytest.raises(ValueError, match="no walkers"):
        WExploreResampler(Line(), **LEVELS).resample([])
