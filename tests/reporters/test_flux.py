"""The rate on the dashboard: which cycles it is of, and whether it can be quoted."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from tests.science.reference import random_walk
from wepystore.reporters.flux import Flux, rate_lines

#: From 0 to 20 and back to 0: a walk whose flux takes some hundred steps to become steady.
WALK, TARGET = random_walk(0.45, 30), 20


def fed(weights: Any, time: float = 1.0) -> Flux:
    """One cycle for each list of weights."""
    flux = Flux()
    for each in weights:
        flux = flux.after(time, list(each))
    return flux


@pytest.mark.parametrize("n_cycles", [1, 7, 8, 9, 63, 64, 65, 127, 128, 1000, 5000])
def test_every_cycle_is_in_one_window(n_cycles: int) -> None:
    """The windows follow each other, miss less than a thirty-second of the run at its end, and the
    last four are equally long: together more than two fifths of it, and at most half."""
    flux = fed([[1.0]] * n_cycles, time=0.5)
    assert len(flux.blocks) < 64
    windows = flux.windows()
    if n_cycles < 8:
        assert windows == []
        assert flux.estimate() is None
        return
    assert windows[0][0] == 1
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(windows))
    assert n_cycles - windows[-1][1] < max(1, n_cycles / 32 + 1)
    for first, last, block in windows:
        assert block.n_cycles == block.n_warps == last - first + 1 == block.time / 0.5
    assert len({last - first for first, last, _ in windows[-4:]}) == 1
    length = windows[-1][1] - windows[-4][0] + 1
    assert length <= n_cycles / 2
    assert length > n_cycles / 4 if n_cycles < 32 else length > 0.4 * n_cycles
    assert len(windows) <= 11


def test_the_memory_is_constant_and_comes_back_to_the_bit() -> None:
    """R2: what is kept does not grow, and a run that goes on from it has the same figures."""
    rng = np.random.default_rng(3)
    weights = [rng.exponential(size=rng.integers(0, 3)).tolist() for _ in range(3000)]
    whole = fed(weights)
    for cut in (0, 1, 63, 64, 777, 2999):
        text = json.dumps(asdict(fed(weights[:cut])))
        assert len(text) < 8000
        resumed = Flux.of(json.loads(text))
        for each in weights[cut:]:
            resumed = resumed.after(1.0, each)
        assert resumed == whole


def test_the_start_of_a_run_is_left_out() -> None:
    """Of the exact flux of a walk, the mean over all cycles is far too small for long; that of the
    last half is not, and says that it rises for as long as it matters."""
    exact, steady = WALK.fluxes(TARGET, 4000), 1 / WALK.mfpt(TARGET)
    flux = Flux()
    seen = {}
    for cycle, each in enumerate(exact, 1):
        flux = flux.after(1.0, [each])
        found = flux.estimate()
        if cycle in (100, 200, 400, 800, 4000):
            assert found is not None and found.tells
            seen[cycle] = (exact[:cycle].mean() / steady, found.rate / steady, found.rises)
    raw, half, rises = (list(each) for each in zip(*seen.values(), strict=True))
    assert raw == sorted(raw) and half == sorted(half)
    assert all(b > a for a, b in zip(raw, half, strict=True))
    assert rises[:3] == [True] * 3 and not rises[4]
    assert raw[2] < 0.85 and half[2] > 0.97
    assert half[4] == pytest.approx(1.0, abs=1e-3)


def test_the_interval_covers() -> None:
    """Warps of very different weight at a constant rate: of 300 runs, nine in ten intervals, and
    more, hold the rate, where a figure is given at all."""
    rng = np.random.default_rng(11)
    held = told = 0
    for _ in range(300):
        counts = rng.poisson(0.2, size=400)
        flux = fed(rng.lognormal(-0.5, 1.0, size=count) for count in counts)
        found = flux.estimate()
        if found is None or not found.tells:
            continue
        told += 1
        held += found.low <= 0.2 <= found.high
    assert told > 240
    assert held / told > 0.9


def test_no_event_no_figure() -> None:
    """Nothing yet, nothing in the last half, or one heavy warp: no rate and no time."""
    early = list(rate_lines(fed([[0.1]] * 3), "ps"))
    assert early == ["- rate :: none yet: the run is too short"]
    gone = "\n".join(rate_lines(fed([[0.1]] * 30 + [[]] * 300), "ps"))
    assert "no warp in cycles" in gone and "mean first passage" not in gone
    assert "| cycles | flux (1/ps) | warps |" in gone
    one = "\n".join(rate_lines(fed([[]] * 90 + [[1e-3]] + [[]] * 9), "ps"))
    assert "not known yet: 1 warps" in one and "mean first passage" not in one


def test_a_rate_that_heavy_warps_made_before_is_not_passed_over() -> None:
    """Where the first half had far more, light warps in the last one are no figure: what carries
    the rate is rare, and was not met."""
    weights = [[0.01]] * 50 + [[1e-9]] * 50
    text = "\n".join(rate_lines(fed(weights), "ps"))
    assert "not known yet" in text
    assert "1e-09 1/ps there, 0.0" in text


def test_what_is_told_has_no_more_digits_than_are_known() -> None:
    """Window, rate, interval, time and verdict, two digits each."""
    rng = np.random.default_rng(2)
    weights = [[] for _ in range(100)]
    weights += [rng.uniform(1, 2, size=rng.poisson(1.0)).tolist() for _ in range(220)]
    lines = list(rate_lines(fed(weights, time=0.2), "ps"))
    facts = dict(line[2:].split(" :: ") for line in lines if line.startswith("- "))
    assert list(facts) == ["window", "rate", "mean first passage time", "interval", "steady"]
    assert facts["window"].startswith("cycles 161 to 320, the last half: ")
    found = fed(weights, time=0.2).estimate()
    assert found is not None and found.rises
    assert found.low < found.rate < found.high
    assert math.isclose(found.rate / found.low, found.high / found.rate)
    assert facts["rate"] == f"{found.rate:.2g} 1/ps ({found.low:.2g} to {found.high:.2g})"
    assert facts["steady"].startswith("no: ") and "lower bound" in facts["steady"]
    flat = dict(
        line[2:].split(" :: ")
        for line in rate_lines(fed([[1.0], [1.5]] * 200), "steps")
        if line.startswith("- ")
    )
    assert flat["steady"].startswith("as far as this run can tell")
    assert flat["rate"].startswith("1.3 1/steps") or flat["rate"].startswith("1.2 1/steps")


def test_many_cycles_at_once_are_to_the_bit_what_they_are_one_by_one() -> None:
    """A resumed run takes those before from its tables, in stretches of any length."""
    rng = np.random.default_rng(3)
    cycles = [(rng.random(rng.integers(3)) * 1e-3).tolist() for _ in range(1000)]
    one_by_one = joined = Flux()
    for weights in cycles:
        one_by_one = one_by_one.after(0.3, weights)
    done = 0
    for length in (0, 1, 1, 62, 3, 200, 0, 733):
        joined = joined.after_cycles(0.3, cycles[done : done + length])
        done += length
    assert joined == one_by_one and one_by_one.estimate() is not None


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"first": -1, "length": 1, "blocks": [], "current": [0, 0, 0, 0, 0]},
        {"first": 0, "length": 1, "blocks": [[1, 2]], "current": [0, 0, 0, 0, 0]},
        {"first": 0, "length": 1, "blocks": [[1, 1, 1, 1, 1]] * 64, "current": [0, 0, 0, 0, 0]},
        {"first": 0, "length": 2, "blocks": [], "current": [2, 0, 0, 0, 0]},
        [],
    ],
)
def test_what_is_no_state_is_refused(state: Any) -> None:
    """A file from elsewhere may hold anything."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        Flux.of(state)
