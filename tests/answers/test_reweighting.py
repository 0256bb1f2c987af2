"""Reweighting of what stores hold: what is counted, what comes of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.made import N_WALKERS, chain
from tests.answers.studies import Place, walk_snapshot
from tests.systems import plain_configuration
from wepystore.answers.errors import NotReweightedError, UnfitBinsError, UnknownTimeError
from wepystore.answers.lineages import Lineages
from wepystore.answers.reweighting import load_reweighting, reweighting_of
from wepystore.answers.segments import segments_to_warps
from wepystore.answers.starts import starts_in_initial_state
from wepystore.answers.study import load_study
from wepystore.api import (
    Apparatus,
    Configuration,
    NoResampler,
    RandomWalkRunner,
    RandomWalkTargetBC,
    Snapshot,
    Store,
    Walker,
    WalkerState,
    hash_of,
    load_rates,
    load_runs,
    save_snapshot,
)
from wepystore.api import Recording as RecordingChoice
from wepystore.store.errors import MissingError

#: Of a walk from 0 with probability 1/4 to go up, to this many, in steps.
TARGET, MFPT = 3, 72.0
N_CYCLES, SEEDS = 40, (1, 2, 3, 4, 5)
ALONG = "progress/distance"


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Five runs of 24 walkers, a step a cycle."""
    place = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(TARGET, n_walkers=24))
    place.runs(SEEDS, N_CYCLES)
    return place


def test_segments_begin_where_the_states_say(tmp_path: Path) -> None:
    """Through clones, merges, warps and continued runs: the states of these walkers remember where
    each of their segments began, and that is where it is counted from."""
    folder, _ = chain(tmp_path)
    ((found,),) = (unit.chains for unit in load_study(folder).units)
    lineages = Lineages(found.tables)
    segments = segments_to_warps(lineages, True, found.counted)
    values = found.tables["progress/progress_coordinate"]
    frames = found.frames()
    remembered = np.concatenate([frames.cycle(c)[:, 1, 0] for c in range(found.n_cycles)])
    began = np.where(segments.origin < 0, 0.0, values[segments.origin])
    assert len(began) == found.n_cycles * N_WALKERS == len(remembered)
    assert began == pytest.approx(remembered[segments.end], abs=1e-6)
    assert segments.arrived.sum() == len(lineages.warps) > 0
    assert (segments.origin < 0).sum() > N_WALKERS
    # Some of the walkers were not where they are now.
    own = segments.end - N_WALKERS
    assert (segments.origin[N_WALKERS:] != own[N_WALKERS:]).any()
    assert segments.weight.sum() == pytest.approx(found.n_cycles)


def test_the_first_segments_count_where_it_is_known_that_they_began_in_the_initial_state(
    tmp_path: Path,
) -> None:
    """Nobody knows where the first segments began of walkers that started elsewhere."""
    folder, _ = chain(tmp_path)
    ((found,),) = (unit.chains for unit in load_study(folder).units)
    lineages = Lineages(found.tables)
    known, unknown = (segments_to_warps(lineages, here, found.counted) for here in (True, False))
    assert len(known.end) - len(unknown.end) == N_WALKERS
    assert unknown.cycle.min() == 1
    late = np.arange(found.n_cycles) >= 10
    assert segments_to_warps(lineages, True, late).cycle.min() == 10


def test_the_rate_of_a_walk(walks: Place) -> None:
    """The rate of a walk is one over its known mean first passage time, within three standard
    errors, and in bins that are places the finer ones say the same."""
    found = load_reweighting(walks.store, ALONG)
    assert abs(found.rate.value - 1 / MFPT) < 3 * found.rate.error < 0.5 / MFPT
    assert found.interval is not None and found.interval[0] < 1 / MFPT < found.interval[1]
    assert found.rate.between and found.rate.degrees == len(SEEDS) - 1
    assert found.mfpt == pytest.approx(1 / found.rate.value)
    assert (found.coordinate, found.unit, found.n_bins) == (ALONG, "steps", TARGET)
    assert found.edges.tolist() == [1, 2]
    assert found.finer == (TARGET, found.rate.value) and not found.bins_matter
    assert found.coarser.n_bins == 2
    assert found.kept.all() and found.left_out == pytest.approx(0, abs=1e-12)
    assert found.n_segments == len(SEEDS) * N_CYCLES * 24
    assert found.length == N_CYCLES
    assert len(found.study.units) == len(found.unit_rates) == len(SEEDS)
    assert (found.states, found.initial) == (None, (0.0, 0.0))
    assert found.unit_rates.mean() == pytest.approx(found.rate.value, rel=0.1)


def test_what_it_is_beside_the_recorded(walks: Place) -> None:
    """The recorded flux and weights are the means of the tables; in the steady state the weights
    are those that a matrix of the walk tells."""
    found = load_reweighting(walks.store, ALONG)
    study = load_study(walks.store)
    arrived = [each.tables["warping/weight"].sum() for each in study.chains]
    assert found.recorded_rate == pytest.approx(sum(arrived) / len(arrived) / N_CYCLES)
    squares = sum((each.tables["warping/weight"] ** 2).sum() for each in study.chains)
    assert found.effective_arrivals == pytest.approx(sum(arrived) ** 2 / squares)
    at_0 = [
        (each.tables["weights"] * (each.tables[ALONG] == 0)).sum() / N_CYCLES
        for each in study.chains
    ]
    assert found.recorded[0] == pytest.approx(np.mean(at_0))
    assert found.recorded.sum() + found.recorded_rate == pytest.approx(1)
    assert found.probabilities.sum() == pytest.approx(1)
    # From 0, 1 and 2, and from the target to where a step from 0 leads.
    matrix = np.array(
        [[0.75, 0.25, 0, 0], [0.75, 0, 0.25, 0], [0, 0.75, 0, 0.25], [0.75, 0.25, 0, 0]]
    )
    steady = np.linalg.matrix_power(matrix, 10_000)[0]
    assert steady[3] == pytest.approx(1 / MFPT)
    assert found.probabilities == pytest.approx(steady[:3] / steady[:3].sum(), abs=0.02)


@pytest.mark.parametrize("n_units", [1, 2])
def test_one_or_two_runs(walks: Place, n_units: int) -> None:
    """The interval is from four parts of each, and says so."""
    runs = [unit.chains[0].run for unit in load_study(walks.store).units][:n_units]
    found = load_reweighting(walks.store, ALONG, runs)
    assert not found.rate.between and found.rate.degrees == 4 * n_units - 1
    assert found.interval is not None and found.interval[0] < 1 / MFPT < found.interval[1]
    assert len(found.unit_rates) == n_units


def test_of_two_branches_each_cycle_counts_once(tmp_path: Path) -> None:
    """What branches have in common is counted once, and they are one unit."""
    place = Place(tmp_path, walk_snapshot(2))
    trunk = place.run(1, 10, n_steps=1)
    for seed, n_cycles in ((7, 8), (8, 6)):
        place.run(seed, n_cycles, trunk.end, n_steps=1)
    found = load_reweighting(place.store, ALONG)
    assert found.n_segments == (10 + 8 + 6) * 8
    assert len(found.study.units) == 1 and found.length == (18 + 16) / 2


def test_units_of_time(tmp_path: Path) -> None:
    """A cycle has so many steps; what is not known is refused."""
    place = Place(tmp_path, walk_snapshot(2))
    place.runs((1, 2, 3), 8, n_steps=3)
    steps, cycles = (load_reweighting(place.store, ALONG, unit=u) for u in ("steps", "cycles"))
    for name in ("recorded_rate", "unit_rates"):
        assert 3 * getattr(steps, name) == pytest.approx(getattr(cycles, name))
    assert steps.interval == pytest.approx([end / 3 for end in cycles.interval or ()])
    assert steps.relaxation == pytest.approx(3 * cycles.relaxation)
    assert (steps.length, cycles.length) == (24, 8)
    with pytest.raises(UnknownTimeError, match="ns"):
        load_reweighting(place.store, ALONG, unit="ns")


def test_it_shows_itself(walks: Place) -> None:
    """As text and in a notebook, what a stranger wrote escaped."""
    found = load_reweighting(walks.store, ALONG)
    assert repr(found).startswith(f"<Reweighting along {ALONG}: 0.01")
    assert "5 units" in repr(found)
    assert f"<th>{TARGET} bins</th>" in found._repr_html_()
    assert "&lt;Reweighting" in found._repr_html_()


@pytest.mark.parametrize("bins", [1, 501, [], [np.nan], [2.0, 1.0], [1.0, 1.0], [[1.0, 2.0]]])
def test_bins_that_cannot_be(walks: Place, bins: Any) -> None:
    """Named in one line."""
    with pytest.raises(UnfitBinsError, match="no bins"):
        load_reweighting(walks.store, ALONG, bins=bins)


def test_bins_that_nobody_visits(walks: Place) -> None:
    """They have no part in it."""
    found = load_reweighting(walks.store, ALONG, bins=[-5.0, 1.0, 2.0, 50.0])
    assert found.kept.tolist() == [False, True, True, True, False]
    assert found.probabilities[[0, 4]].tolist() == [0, 0]
    assert found.rate.value == pytest.approx(load_reweighting(walks.store, ALONG).rate.value)


def test_where_nobody_arrives(tmp_path: Path) -> None:
    """No rate is told: without arrivals, and where nothing comes after the only ones."""
    place = Place(tmp_path, walk_snapshot(4))
    place.runs((1,), 3)
    with pytest.raises(NotReweightedError, match="no walker was warped"):
        load_reweighting(place.store, ALONG)


def started_elsewhere(target: int) -> Snapshot:
    """Walkers at 1 that go back to 0, one after the other straight up."""
    runner = RandomWalkRunner(probability=1.0)
    start = runner.initial_state()
    here = WalkerState(**{**start, "positions": start["positions"] + 1.0})
    apparatus = Apparatus(runner, RandomWalkTargetBC(target, [start]), NoResampler())
    return Snapshot([Walker(here, 0.25) for _ in range(4)], apparatus)


def test_where_nothing_is_known_of_the_initial_state(tmp_path: Path) -> None:
    """All arrive in the last cycle, and none is seen to begin anew; a cycle later it is not known
    where that leads, and some later how it all goes round."""
    place = Place(tmp_path, started_elsewhere(4))
    for n_cycles in (3, 4, 7):
        place.run(n_cycles, n_cycles, n_steps=1)
    runs = {record.n_cycles: run for run, record in load_runs(place.store).items()}
    places = [1.0, 2.0, 3.0]
    with pytest.raises(NotReweightedError, match="where walkers went on to"):
        load_reweighting(place.store, ALONG, [runs[3]], bins=places)
    with pytest.raises(NotReweightedError, match="no segments lead from the initial state"):
        load_reweighting(place.store, ALONG, [runs[4]], bins=places)
    found = load_reweighting(place.store, ALONG, [runs[7]], bins=places)
    # From 0 to 1, to 2, to 3, and to the target.
    assert found.rate.value == pytest.approx(1 / 4)
    assert found.n_segments == 6 * 4


def test_cycles_of_different_lengths(tmp_path: Path) -> None:
    """There is no one matrix of them."""
    place = Place(tmp_path, walk_snapshot(2))
    for n_steps in (2, 3):
        place.run(n_steps, 5, n_steps=n_steps)
    for unit in (None, "steps", "cycles"):
        with pytest.raises(NotReweightedError, match="not equally long"):
            load_reweighting(place.store, ALONG, unit=unit)


def place_of(positions: Any, boxes: Any) -> Any:
    """Of the first atom."""
    return positions[:, 0, 0]


def test_a_coordinate_of_frames(tmp_path: Path) -> None:
    """A coordinate that is computed is that which was recorded; one that is not known of each cycle
    is refused."""
    place = Place(tmp_path, walk_snapshot(2))
    place.runs((1, 2), 12)
    study = load_study(place.store)
    recorded, computed = (
        reweighting_of(study, along)
        for along in (ALONG, lambda positions, boxes: positions[:, 0, 0])
    )
    assert computed.rate.value == pytest.approx(recorded.rate.value)
    sparse = Configuration(plain_configuration().work_mapper, recording=RecordingChoice(every=2))
    place = Place(tmp_path / "sparse", walk_snapshot(2), sparse)
    place.runs((1,), 12)
    with pytest.raises(NotReweightedError, match="not known in each cycle"):
        load_reweighting(place.store, place_of)
    with pytest.raises(UnfitBinsError, match="2 numbers"):
        reweighting_of(study, lambda positions, boxes: positions[:, 0, [0, 0]])


def snapshot_of(starts: list[float], initial: list[float], **more: Any) -> Snapshot:
    """Walkers and warped walkers at these places."""
    runner = RandomWalkRunner()
    states = [
        [WalkerState(positions=np.full((1, 1), x), **more) for x in places]
        for places in (starts, initial)
    ]
    apparatus = Apparatus(runner, RandomWalkTargetBC(9, states[1]), NoResampler())
    return Snapshot([Walker(state, 1 / len(starts)) for state in states[0]], apparatus)


@pytest.mark.parametrize(
    ("starts", "initial", "expected"),
    [
        ([0.0, 0.0], [0.0], True),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 1.0], [0.0], False),
        ([1.0, 1.0], [0.0], False),
        ([0.0, 1.0], [0.0, 1.0], True),
        ([1.0, 0.0], [0.0, 1.0], True),
        ([0.0, 0.0, 1.0], [0.0, 1.0], False),
        ([0.0, 1.0], [0.0, 1.0, 2.0], False),
    ],
)
def test_whether_a_run_started_in_the_initial_state(
    tmp_path: Path, starts: list[float], initial: list[float], expected: bool
) -> None:
    """It did if its walkers were where warped ones go, and as many there."""
    store = Store.create(tmp_path / "a.orch")
    assert (
        starts_in_initial_state(store, save_snapshot(store, snapshot_of(starts, initial)))
        is expected
    )


def test_weights_of_initial_states(tmp_path: Path) -> None:
    """Of places to which warped walkers go more often there have to be more at the start."""
    store = Store.create(tmp_path / "a.orch")
    plain = snapshot_of([0.0, 1.0], [0.0, 1.0])
    states = [walker.state for walker in plain.walkers]
    boundary = RandomWalkTargetBC(9, states, initial_weights=[3.0, 1.0])
    apparatus = Apparatus(plain.apparatus.runner, boundary, NoResampler())
    for weights, expected in (([0.5, 0.5], False), ([0.75, 0.25], True)):
        walkers = [Walker(*each) for each in zip(states, weights, strict=True)]
        snapshot = save_snapshot(store, Snapshot(walkers, apparatus))
        assert starts_in_initial_state(store, snapshot) is expected


def test_velocities_do_not_matter(tmp_path: Path) -> None:
    """Each walker may start with velocities of its own."""
    store = Store.create(tmp_path / "a.orch")
    snapshot = snapshot_of([0.0], [0.0], velocities=np.zeros((1, 1)))
    walkers = [
        Walker(WalkerState(positions=np.zeros((1, 1)), velocities=np.full((1, 1), v)), 0.5)
        for v in (1.0, 2.0)
    ]
    started = Snapshot(walkers, snapshot.apparatus)
    assert starts_in_initial_state(store, save_snapshot(store, started))


def test_a_start_that_is_not_here(tmp_path: Path) -> None:
    """Of a snapshot elsewhere nobody knows."""
    store = Store.create(tmp_path / "a.orch")
    snapshot = snapshot_of([0.0], [0.0])
    assert not starts_in_initial_state(store, hash_of(snapshot))
    with pytest.raises(MissingError):
        store.manifest("snapshots", hash_of(snapshot))


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of the walk to which nothing is done, one of them of two parts."""
    place = Place(tmp_path_factory.mktemp("free"), walk_snapshot(None, n_walkers=24))
    place.runs((1, 2), 40)
    place.run(4, 20, place.run(3, 20, n_steps=1).end, n_steps=1)
    return place


POSITION = "position(index 0, x)"
STATES = (f"{POSITION} < 1", f"{POSITION} >= 3")


def test_between_states_without_warps(free: Place) -> None:
    """Of walkers that were last in one state: the exact rate of the walk to another, and back from
    there."""
    there = load_reweighting(free.store, POSITION, states=STATES)
    assert there.states == STATES and there.n_bins == 2
    assert abs(there.rate.value - 1 / MFPT) < 3 * there.rate.error < 0.5 / MFPT
    # Down by 3 in mean steps of 1/2, from the place at which it came; at 3 or beyond.
    back = load_reweighting(free.store, POSITION, states=STATES[::-1])
    assert abs(back.rate.value - 1 / 6) < 3 * back.rate.error + 0.03
    assert back.rate.error < 0.05


def test_between_states_is_counted_as_of_rates(free: Place) -> None:
    """The flux that is recorded is that of rates, over all cycles; the weights in the bins and in
    the first state are those of walkers that were last there."""
    found = load_reweighting(free.store, POSITION, states=STATES)
    rates = load_rates(free.store, states=STATES, burn_in=0)
    assert found.recorded_rate == pytest.approx(rates.pool.flux)
    assert found.n_arrivals == rates.pool.events
    assert found.recorded.sum() + found.initial[1] + found.recorded_rate == pytest.approx(1)
    assert found.probabilities.sum() + found.initial[0] == pytest.approx(1)
    # Two thirds of the walk are at 0.
    assert found.initial[0] == pytest.approx(0.75, abs=0.1)


def test_between_states_and_with_warps(walks: Place) -> None:
    """Where all go back to one place, to have come from there and to have begun there is nearly
    the same; nobody knows of the first segments and what came of them where they were last."""
    to_warps = load_reweighting(walks.store, ALONG)
    states = ("progress < 1", "progress >= 3")
    between = load_reweighting(walks.store, ALONG, states=states)
    assert between.rate.value == pytest.approx(to_warps.rate.value, rel=0.1)
    assert 0.9 * to_warps.n_arrivals < between.n_arrivals <= to_warps.n_arrivals
    assert 0 < to_warps.n_segments - between.n_segments < 0.1 * to_warps.n_segments


def test_states_that_nobody_goes_between(free: Place) -> None:
    """Named, and not counted as a rate of 0."""
    far = f"{POSITION} > 70"
    with pytest.raises(NotReweightedError, match=r"was last in position.* came to position.* > 70"):
        load_reweighting(free.store, POSITION, states=(STATES[0], far))
