"""Ensembles: walkers as arrays behave as the list of the same walkers, everywhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.systems import bits
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    Ensemble,
    EnsembleRunner,
    NoBC,
    NoResampler,
    PairDistance,
    PositionCoordinate,
    RandomWalkRunner,
    REVOResampler,
    SerialMapper,
    UnbindingBC,
    Walker,
    WalkerState,
    WExploreResampler,
)
from wepystore.engine import rng as streams_of
from wepystore.engine.ensemble import stacked, weights_of
from wepystore.engine.errors import StepError, WeightError
from wepystore.engine.manager import CycleManager, without_drift
from wepystore.engine.record_fields import Ragged, RecordColumns, together
from wepystore.engine.record_tables import REPORT_KEYS
from wepystore.engine.rng import Streams
from wepystore.records.recording import Layout

EPS = float(np.finfo(np.float64).eps)


def made(n_walkers: int = 5, seed: int = 1) -> Ensemble:
    """Pairs of atoms at random places, with random weights."""
    draw = np.random.default_rng(seed)
    weights = draw.random(n_walkers) + 0.1
    return Ensemble(
        weights / weights.sum(),
        {"positions": draw.normal(size=(n_walkers, 2, 3)), "time": np.arange(n_walkers)},
    )


def test_it_is_the_sequence_of_its_walkers() -> None:
    """Indexing, slices, iteration and length agree with the list; a scalar field is an array."""
    ensemble = made()
    walkers = list(ensemble)
    assert len(ensemble) == len(walkers) == 5
    assert bits([ensemble[k] for k in range(5)]) == bits(walkers)
    assert bits(ensemble[1:4]) == bits(walkers[1:4])
    assert isinstance(ensemble[1:4], Ensemble)
    assert ensemble[-1].weight == walkers[4].weight
    assert type(walkers[2]) is Walker and type(walkers[2].weight) is float
    assert walkers[2].state["time"].shape == ()
    assert walkers[2].state["positions"].tolist() == ensemble.fields["positions"][2].tolist()
    with pytest.raises(IndexError):
        ensemble[5]


def test_nothing_in_it_can_be_changed() -> None:
    """Its arrays and the views of them are read-only, and apart from those it was made of."""
    weights, positions = np.array([0.5, 0.5]), np.zeros((2, 1, 3))
    ensemble = Ensemble(weights, {"positions": positions})
    positions[0] = 7.0
    weights[0] = 7.0
    assert ensemble.weights.tolist() == [0.5, 0.5]
    assert not ensemble.fields["positions"].any()
    for array in (ensemble.weights, ensemble.fields["positions"], ensemble[0].state["positions"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_a_list_becomes_an_ensemble_and_back() -> None:
    """To the bit; walkers whose states differ in fields or shapes do not fit into one."""
    walkers = list(made())
    assert bits(Ensemble.of(walkers)) == bits(walkers)
    whole = Ensemble.of(walkers)
    assert Ensemble.of(whole) is whole
    bare = Walker(WalkerState(positions=np.zeros((2, 3))), 0.1)
    with pytest.raises(ValueError, match="walker 5 has the fields"):
        Ensemble.of([*walkers, bare])
    other = Walker(WalkerState(positions=np.zeros((3, 3)), time=0.0), 0.1)
    with pytest.raises(ValueError, match="positions has shapes"):
        Ensemble.of([*walkers, other])
    with pytest.raises(ValueError, match="at least one walker"):
        Ensemble.of([])


@pytest.mark.parametrize(
    ("weights", "fields", "problem"),
    [
        ([[0.5], [0.5]], {}, "one number a walker"),
        ([0.5, 0.5], {"positions": np.zeros((3, 1, 3))}, r"'positions' has shape \(3, 1, 3\)"),
        ([0.5, 0.5], {"time": 1.0}, "'time' has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(weights: Any, fields: Any, problem: str) -> None:
    """The message names the field and its shape."""
    with pytest.raises(ValueError, match=problem):
        Ensemble(weights, fields)


def test_rows_are_taken_and_replaced() -> None:
    """`take` as indexing a list; `with_states` replaces states and keeps weights (W3)."""
    ensemble = made()
    walkers = list(ensemble)
    assert bits(ensemble.take([3, 3, 0])) == bits([walkers[3], walkers[3], walkers[0]])
    assert ensemble.take([1], np.array([1.0])).weights.tolist() == [1.0]
    new = WalkerState(positions=np.ones((2, 3)), time=9.0)
    replaced = ensemble.with_states([1, 4], [new, new])
    expected = [Walker(new, w.weight) if k in (1, 4) else w for k, w in enumerate(walkers)]
    assert isinstance(replaced, Ensemble) and bits(replaced) == bits(expected)
    assert bits(ensemble) == bits(walkers)


def test_a_state_of_another_form_makes_a_list() -> None:
    """A warped walker may lack a field; the walkers are then what a list would hold."""
    ensemble = made()
    bare = WalkerState(positions=np.ones((2, 3)))
    replaced = ensemble.with_states([2], [bare])
    assert isinstance(replaced, list)
    assert replaced[2].state is bare and replaced[2].weight == ensemble.weights[2]
    assert bits([replaced[0], replaced[4]]) == bits([ensemble[0], ensemble[4]])


def test_arrays_of_any_walkers() -> None:
    """weights_of and stacked give the same for a list and for the ensemble; errors name walkers."""
    ensemble = made()
    walkers = list(ensemble)
    assert weights_of(walkers).tolist() == weights_of(ensemble).tolist()
    assert weights_of(ensemble) is ensemble.weights
    for name in ensemble.fields:
        assert np.array_equal(stacked(walkers, name), stacked(ensemble, name))
    for some in (ensemble, walkers):
        with pytest.raises(ValueError, match="no velocities"):
            stacked(some, "velocities")


def test_it_can_be_sent_to_another_process() -> None:
    """Plain pickle brings it back to the bit."""
    assert bits(pickle.loads(pickle.dumps(made()))) == bits(made())


def test_record_columns_are_records() -> None:
    """A sequence of dicts: what is got one by one equals what is iterated and sliced, and what
    somebody writes into one stays there."""
    lengths = np.array([1, 0, 2, 1])
    records = RecordColumns(
        walker_idx=np.arange(4)[:, None], weight=np.ones((4, 1)), of=Ragged(np.arange(4), lengths)
    )
    assert len(records) == 4 and records.columns is not None
    listed = list(records)
    assert len(records) == len(listed) == 4
    assert [record["walker_idx"][0] for record in listed] == [0, 1, 2, 3]
    assert [record["of"].tolist() for record in listed] == [[0], [], [1, 2], [3]]
    assert records[2] == listed[2] == records[1:][1]
    for record in records:
        record["more"] = 1
    assert records[3]["more"] == 1 and records.columns is None
    assert len(RecordColumns()) == 0 == len(list(RecordColumns()))


def test_records_of_several_cycles_come_together() -> None:
    """As columns where all are, those without records left out, and else as dicts."""
    plain = RecordColumns(a=np.ones((2, 1)), b=np.ones((2, 1)))
    other = RecordColumns(a=np.zeros((1, 1)), b=Ragged(np.arange(3), np.array([3])))
    both = together([plain, [], other], ["a", "b"])
    assert isinstance(both, RecordColumns) and plain.columns is not None
    assert [record["b"].tolist() for record in both] == [[1], [1], [0, 1, 2]]
    assert [record["a"].tolist() for record in both] == [[1], [1], [0]]
    assert together([plain, [{"a": 1}]], ["a"])[2] == {"a": 1}
    assert together([other], ["a", "c"]) == list(other)
    assert together([[], []], ["a"]) == []


class PlaceOnly(PositionCoordinate):
    """Takes no ensembles."""

    takes_ensembles = False


@pytest.mark.parametrize("resampler", ["bins", "WExplore", "REVO", "NoResampler"])
def test_no_object_is_made_for_a_walker(resampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walkers and records of an ensemble stay arrays through a cycle and its recording."""
    place = PositionCoordinate()
    make: dict[str, Callable[[Any], Any]] = {
        "bins": lambda at: BinResampler(at, [0.5, 1.0, 2.0], 3, pmax=0.9),
        "WExplore": lambda at: WExploreResampler(CoordinateDistance(at), (3, 3), (0.5, 0.2)),
        "REVO": lambda at: REVOResampler(CoordinateDistance(at), 1.0, 0.5, pmax=0.9),
        "NoResampler": lambda at: NoResampler(),
    }
    expected = bits(cycles(made(20), runner=Adding1(), resampler=make[resampler](PlaceOnly())))
    seen = []

    class Record:
        def add(self, report: Mapping[str, Any]) -> None:
            layout = Layout.of(driven.resampler, None)
            data = {table: report.get(key) or [] for table, key in REPORT_KEYS.items()}
            weights = [report["new_walkers"].weights]
            seen.append((layout, weights, data, layout.columns(0, weights, [data])))
            assert report["resampling_data"].columns is not None

        def keep(self) -> None:
            pass

    monkeypatch.setattr(Ensemble, "state", None)
    monkeypatch.setattr(RecordColumns, "_dicts", None)
    driven = manager(made(20), runner=Adding1(), resampler=make[resampler](place), record=Record())
    driven.init()
    walkers: Sequence[Any] = driven.init_walkers
    counted = 0
    for cycle_idx in range(3):
        result = driven.run_cycle(walkers, 10, cycle_idx)
        walkers = result.walkers
        counted += result.n_cloned or 0
    monkeypatch.undo()
    assert bits(walkers) == expected
    assert (counted > 0) == (resampler != "NoResampler")
    for layout, weights, data, columns in seen:
        dicts = {**data, "resampling": list(data["resampling"])}
        one_by_one = layout.columns(0, weights, [dicts])
        assert one_by_one.keys() == columns.keys()
        for name, column in one_by_one.items():
            assert column.dtype == columns[name].dtype and np.array_equal(column, columns[name])


class Mapper(SerialMapper):
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def init(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append("init")

    def map(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("map")

    def cleanup(self, **kwargs: Any) -> None:
        self.calls.append("cleanup")


class Adding(EnsembleRunner):
    """Adds the first random number of the cycle to every position."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def run_segments(
        self, walkers: Sequence[Any], n_steps: int, *, rng: np.random.Generator, **kwargs: Any
    ) -> Ensemble:
        self.drawn.append(rng.random())
        positions, times = self.start(walkers)
        return self.end(walkers, positions + self.drawn[-1], times + n_steps)


def manager(walkers: Sequence[Any], **parts: Any) -> CycleManager:
    given = {
        "runner": Adding(),
        "boundary_conditions": None,
        "resampler": NoResampler(),
        "work_mapper": SerialMapper(),
        "streams": Streams(1),
        **parts,
    }
    return CycleManager(init_walkers=walkers, **given)


def cycles(walkers: Sequence[Any], n_cycles: int = 3, **parts: Any) -> Sequence[Any]:
    driven = manager(walkers, **parts)
    driven.init()
    for cycle_idx in range(n_cycles):
        walkers = driven.run_cycle(walkers, 10, cycle_idx).walkers
    driven.cleanup()
    return walkers


def test_a_runner_of_ensembles_is_called_once_a_cycle_and_no_mapper() -> None:
    """Its generator is the cycle's own segment stream; the mapper is not even started (R1)."""
    mapper, runner = Mapper(), Adding()
    end = cycles(list(made()), runner=runner, work_mapper=mapper)
    assert mapper.calls == []
    assert runner.drawn == [
        Streams(1).generator(streams_of.SEGMENTS, cycle).random() for cycle in range(3)
    ]
    assert isinstance(end, Ensemble)
    assert end.fields["time"].tolist() == [30.0, 31.0, 32.0, 33.0, 34.0]


def test_interruptible_only_while_segments_run() -> None:
    """A signal may raise within the segments; before, after and once it has raised, it may not."""
    seen: dict[str, bool] = {}

    class Looking(Adding):
        def pre_cycle(self, **kwargs: Any) -> None:
            seen["before"] = driven.interruptible

        def run_segments(self, *args: Any, **kwargs: Any) -> Ensemble:
            seen["while"] = driven.interruptible
            if kwargs["cycle_idx"]:
                raise KeyboardInterrupt
            return super().run_segments(*args, **kwargs)

        def post_cycle(self, **kwargs: Any) -> None:
            seen["after"] = driven.interruptible

    driven = manager(made(), runner=Looking())
    driven.init()
    driven.run_cycle(driven.init_walkers, 10, 0)
    assert seen == {"before": False, "while": True, "after": False}
    with pytest.raises(KeyboardInterrupt):
        driven.run_cycle(driven.init_walkers, 10, 1)
    assert not driven.interruptible


def test_interruptible_while_a_mapper_maps() -> None:
    """The same where segments go through a work mapper."""
    seen = []

    class Looking(SerialMapper):
        def map(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(driven.interruptible)
            return super().map(*args, **kwargs)

    class Still(Adding):
        run_segments = None  # type: ignore[assignment]

        def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
            return walker

    driven = manager(list(made()), runner=Still(), work_mapper=Looking())
    driven.init()
    driven.run_cycle(driven.init_walkers, 10, 0)
    assert seen == [True] and not driven.interruptible


@pytest.mark.parametrize("conditions", ["none", "NoBC", "unbinding"])
@pytest.mark.parametrize("resampler", ["NoResampler", "WExplore", "REVO", "bins"])
def test_a_list_and_an_ensemble_end_in_the_same_bits(conditions: str, resampler: str) -> None:
    """Whatever the components: walkers in arrays are the same walkers."""
    start = WalkerState(positions=[[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]], time=0.0)
    distance = PairDistance(0, 1, periodic=False)

    def separation(state: Any) -> float:
        return float(distance.image(state)[0])

    def end(walkers: Sequence[Any]) -> str:
        return bits(
            cycles(
                walkers,
                runner=Adding1(),
                boundary_conditions={
                    "none": None,
                    "NoBC": NoBC(),
                    "unbinding": UnbindingBC(1.5, [start], [0], [1], periodic=False),
                }[conditions],
                resampler={
                    "NoResampler": NoResampler(),
                    "WExplore": WExploreResampler(distance, (10,), (0.2,), pmax=0.9),
                    "REVO": REVOResampler(distance, 1.0, 0.5, pmax=0.9),
                    "bins": BinResampler(separation, [0.5, 1.0, 2.0], 3, pmax=0.9),
                }[resampler],
            )
        )

    ensemble = made(12)
    assert end(list(ensemble)) == end(ensemble) != bits(ensemble)


class Adding1(Adding):
    """Moves each walker's first atom by a number of its own, so that distances change."""

    def run_segments(
        self, walkers: Sequence[Any], n_steps: int, *, rng: np.random.Generator, **kwargs: Any
    ) -> Ensemble:
        positions, times = self.start(walkers)
        positions[:, 0] += rng.normal(size=positions[:, 0].shape)
        return self.end(walkers, positions, times + n_steps)


def test_warped_rows_stay_an_ensemble() -> None:
    """Walkers at a target are replaced within the arrays, and the records name them."""
    start = WalkerState(positions=np.zeros((2, 3)), time=0.0)
    conditions = UnbindingBC(1.0, [start], [0], [1], periodic=False)
    positions = np.zeros((3, 2, 3))
    positions[1, 1, 0] = 1.5
    ensemble = Ensemble([0.5, 0.25, 0.25], {"positions": positions, "time": [5.0, 5.0, 5.0]})
    warped, records, bc_data, progress = conditions.warp_walkers(ensemble, 0)
    assert isinstance(warped, Ensemble)
    assert warped.fields["time"].tolist() == [5.0, 0.0, 5.0]
    assert warped.weights.tolist() == [0.5, 0.25, 0.25]
    assert [(int(r["walker_idx"][0]), float(r["weight"][0])) for r in records] == [(1, 0.25)]
    assert len(bc_data) == 1 and list(progress["min_distances"]) == [0.0, 1.5, 0.0]
    away, none, _, _ = conditions.warp_walkers(warped, 1)
    assert away is warped and none == []


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([0.5, 0.0, 0.5], r"walker 1 has weight .*0\.0"),
        ([0.5, float("nan"), 0.5], "walker 1 has weight .*nan"),
        ([0.5, 0.25, 0.5], r"sum to 1\.25"),
    ],
)
def test_an_ensemble_with_wrong_weights_is_refused(weights: list[float], problem: str) -> None:
    """W1 and W2 are checked on the arrays as they are on lists."""
    with pytest.raises(WeightError, match=problem):
        manager(Ensemble(weights, {"positions": np.zeros((3, 1, 1))}))


def test_a_runner_that_loses_walkers_or_weight_is_named() -> None:
    """W3, and one walker out for each one in, are checked with the runner's name in the message."""

    class Losing(Adding):
        def run_segments(self, walkers: Any, n_steps: int, **kwargs: Any) -> Ensemble:
            return Ensemble.of(walkers)[1:]

    class Reweighting(Adding):
        def run_segments(self, walkers: Any, n_steps: int, **kwargs: Any) -> Ensemble:
            return Ensemble.of(walkers).with_weights(weights_of(walkers) * 0.5)

    class Failing(Adding):
        def run_segments(self, walkers: Any, n_steps: int, **kwargs: Any) -> Ensemble:
            raise RuntimeError("no more")

    with pytest.raises(StepError, match="Losing failed: it gave 4 walkers for 5"):
        cycles(made(), runner=Losing())
    with pytest.raises(WeightError, match="the runner broke the weights"):
        cycles(made(), runner=Reweighting())
    with pytest.raises(StepError, match="Failing failed: RuntimeError: no more"):
        cycles(made(), runner=Failing())


def test_drift_is_taken_out_of_an_ensemble_as_of_a_list() -> None:
    """To the bit; states and order stay, and without drift the ensemble itself comes back."""
    ensemble = made(10)
    drifted = ensemble.with_weights(ensemble.weights * (1.0 + 8 * EPS))
    mended, _ = without_drift(drifted, drifted.weights)
    assert isinstance(mended, Ensemble) and mended is not drifted
    assert bits(mended) == bits(without_drift(list(drifted), drifted.weights)[0])
    assert abs(mended.weights.sum() - 1.0) <= 5 * EPS
    assert without_drift(ensemble, ensemble.weights)[0] is ensemble


def test_ten_thousand_walkers_make_no_walker_each() -> None:
    """On the fast path a cycle makes no Walker and no WalkerState at all."""
    n_walkers = 10_000
    runner = RandomWalkRunner()
    start = Ensemble(
        np.full(n_walkers, 1 / n_walkers),
        {"positions": np.zeros((n_walkers, 1, 1)), "time": np.zeros(n_walkers)},
    )
    driven = manager(start, runner=runner)
    driven.init()
    import sys

    made_now: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_qualname in (
            "Walker.__init__",
            "WalkerState.adopt",
            "WalkerState.__init__",
        ):
            made_now.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        driven.run_cycle(start, 10, 0)
    finally:
        sys.setprofile(None)
    assert made_now == []
