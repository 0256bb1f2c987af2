"""Rates between states that coordinates tell, with and without warps (A1)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.science.reference import random_walk
from wepystore.answers.between_states import Bounds, State, transitions_of
from wepystore.answers.errors import NoRateError, StatesOverlapError, StateTextError
from wepystore.answers.rates import load_rates
from wepystore.answers.study import load_study
from wepystore.api import Configuration, SerialMapper, load_frames, load_lineages, load_tables
from wepystore.api import Recording as RecordingChoice

POSITION = "position(index 0, x)"
LOW, HIGH = f"{POSITION} < 1", f"{POSITION} >= 3"


@pytest.fixture(scope="module")
def warped(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of a walk to 3, and back to 0. Only read it."""
    found = Place(tmp_path_factory.mktemp("warped"), walk_snapshot(3, n_walkers=20, per_bin=5))
    found.runs((1, 2, 3), 60)
    return found


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of a walk that nothing is done to, one of them of two parts. Only read it."""
    found = Place(tmp_path_factory.mktemp("free"), walk_snapshot(None, n_walkers=24, per_bin=4))
    found.runs((1, 2), 60)
    first = found.run(3, 30, n_steps=1)
    found.run(4, 30, first.end, n_steps=1)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("progress<0.4", [Bounds("progress", high=0.4)]),
        (" progress  >= 1e-3 ", [Bounds("progress", low=1e-3, low_open=False)]),
        (
            "-80 < torsion(@phi-2) <= -40",
            [Bounds("torsion(@phi-2)", -80, -40, high_open=False)],
        ),
        (
            "rg(all) > .5 and progress/x <= 2",
            [Bounds("rg(all)", low=0.5), Bounds("progress/x", high=2.0, high_open=False)],
        ),
        ("2*rg(all) - rg(index 0) < 1&progress>0", None),
    ],
)
def test_states_are_read(text: str, expected: Any) -> None:
    """Coordinates and bounds, one-sided or two-sided, joined by "and"."""
    found = State.read(text)
    assert len(found.bounds) == (2 if expected is None else len(expected))
    assert expected is None or [*found.bounds] == expected


@pytest.mark.parametrize(
    "text",
    ["", "progress", "progress=3", "progress<", "<3", "3>progress", "progress<a", "2<progress<1"],
)
def test_what_is_no_state_is_refused(text: str) -> None:
    """It says which part, and shows what would be one."""
    with pytest.raises(StateTextError, match="is no state"):
        State.read(text)


def test_bounds_are_open_or_closed() -> None:
    """As they are written; NaN is in none."""
    values = np.array([0.0, 1.0, 2.0, math.nan])
    assert State.read("0<x<=2").bounds[0].hold(values).tolist() == [False, True, True, False]
    assert State.read("x>=1").bounds[0].hold(values).tolist() == [False, True, True, False]
    assert State.read("x<1").bounds[0].hold(values).tolist() == [True, False, False, False]


@pytest.mark.parametrize("states", [(LOW, HIGH), ("progress < 1", "progress >= 3")])
def test_into_the_target_it_is_the_rate_of_the_warps(
    warped: Place, states: tuple[str, str]
) -> None:
    """By a position of frames or by recorded progress: the same events, flux and interval."""
    plain = load_rates(warped.store)
    found = load_rates(warped.store, states=states)
    there, back = found.rows[:2]
    assert there.flux == pytest.approx(plain.pool.flux)
    assert there.interval == pytest.approx(plain.pool.interval)
    assert (there.events, there.ancestors) == (plain.pool.events, plain.pool.ancestors)
    assert there.occupied == pytest.approx(1.0) and there.source == states[0]
    # Who arrived begins anew, and goes back on no way of its own.
    assert back.flux is None and back.events == 0 and back.destination == states[0]
    assert [(e.run, e.cycle, e.walker, e.weight) for e in found.events] == [
        (e.run, e.cycle, e.walker, e.weight) for e in plain.events
    ]


def by_hand(store: Any, run: str) -> tuple[list[float], list[float], list[Any]]:
    """Weight that came from A to B in each cycle, weight with colour A at its start, and who came:
    of each walker its lineage looked through, one by one."""
    lineages, tables = load_lineages(store, run), load_tables(store, run, joined=True)
    frames = load_frames(store, run, joined=True)
    places_of = np.array([frames.walker(walker)[:, 0, 0] for walker in range(12)])
    counts = tables["n_walkers"]
    weights = np.split(tables["weights"], np.cumsum(counts)[:-1])
    flux, held, events = [], [], []
    for cycle, n_walkers in enumerate(counts.tolist()):
        came, coloured = 0.0, 0.0
        for walker in range(n_walkers):
            way = lineages.of(walker, cycle)
            places = places_of[way.walker, way.joined_cycle]
            seen = [x for x in places[:-1] if x < 1 or x >= 3]
            if seen and seen[-1] < 1:
                coloured += weights[cycle][walker]
                if places[-1] >= 3:
                    came += weights[cycle][walker]
                    events.append((cycle, walker))
        flux.append(came)
        held.append(coloured)
    return flux, held, events


def test_colours_go_with_lineages(tmp_path: Path) -> None:
    """Through clones, merges and a continued run: each event, and the weight of the colour in each
    cycle, are what every walker's own lineage tells."""
    place = Place(tmp_path, walk_snapshot(None, n_walkers=12, per_bin=2))
    place.run(4, 25, place.run(3, 20, n_steps=1).end, n_steps=1)
    study = load_study(place.store)
    _, found = transitions_of(study, (LOW, HIGH))
    (chain,) = study.chains
    flux, held, events = by_hand(place.store, chain.run)
    there, _ = found[id(chain)]
    assert [*zip(there.cycle.tolist(), there.walker.tolist(), strict=True)] == events
    assert len(events) >= 3
    assert there.per_cycle() == pytest.approx(np.array(flux))
    assert there.exposure == pytest.approx(np.array(held))


def test_both_directions_without_warps(free: Place) -> None:
    """The exact times of the walk, from 0 to 3 and from 3 to 0, are within the intervals; the flux
    there, at equilibrium, is that back."""
    found = load_rates(free.store, states=(LOW, HIGH))
    there, back = found.rows[:2]
    assert there.n_units == back.n_units == 3 and not there.within
    for row, exact in ((there, random_walk().mfpt(3)), (back, _back_from(3))):
        assert row.mfpt_interval
        low, high = row.mfpt_interval
        assert low < exact < high
    assert there.occupied + back.occupied == pytest.approx(1.0, abs=0.01)
    assert {row.of for row in found.rows} == {"pool", "unit", "run"}


def _back_from(place: int) -> float:
    """Mean steps from `place` down to 0: each site down takes 1 / (0.75 - 0.25)."""
    return place / 0.5


def test_events_without_a_warp_are_named(free: Place) -> None:
    """By walker and cycle, as lineages take them."""
    found = load_rates(free.store, states=(LOW, HIGH))
    event = next(found.events)
    assert event.warp is None and event.destination == HIGH
    lineage = load_lineages(free.store, event.lineage_of).of(event.walker, event.joined_cycle)
    assert lineage.runs[lineage.run[-1]] == event.run and lineage.cycle[-1] == event.cycle
    assert lineage.weight[-1] == event.weight


def test_frames_of_some_cycles(tmp_path: Path) -> None:
    """Where frames are kept of each third cycle only these are looked at; colours go on between."""
    kept = Configuration(SerialMapper(), recording=RecordingChoice(["positions"], every=3))
    place = Place(tmp_path, walk_snapshot(None, n_walkers=24, per_bin=4), kept)
    place.runs((1,), 60)
    (chain,) = load_study(place.store).chains
    _, found = transitions_of(load_study(place.store), (LOW, HIGH))
    ((there, back),) = found.values()
    assert len(there.cycle) and not (there.cycle % 3).any() and not (back.cycle % 3).any()
    # Before the first frames nobody has a colour.
    assert not there.exposure[0] and (there.exposure[1:] > 0).all() and chain.n_cycles == 60


def test_what_cannot_be(free: Place, warped: Place) -> None:
    """States that are not apart, one that nobody is in, and coordinates that nobody recorded."""
    with pytest.raises(StatesOverlapError, match="are not apart: walker"):
        load_rates(free.store, states=(f"{POSITION} < 2", f"{POSITION} >= 1"))
    with pytest.raises(NoRateError, match="no walker went from one of the states to the other"):
        load_rates(free.store, states=(LOW, f"{POSITION} > 70"))
    with pytest.raises(Exception, match="record no progress"):
        load_rates(free.store, states=("progress < 1", "progress > 3"))
    with pytest.raises(Exception, match="distnce"):
        load_rates(warped.store, states=("distnce(index 0, index 0) < 1", HIGH))
