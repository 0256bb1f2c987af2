"""The cycle manager: W1-W3 checked in every step, wepy's protocol kept."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from tests.systems import bits, pair_apparatus, pair_runner, pair_snapshot
from wepystore.api import (
    NoBC,
    NoResampler,
    PairDistance,
    RandomWalkRunner,
    SerialMapper,
    UnbindingBC,
    Walker,
    WalkerState,
)
from wepystore.engine.ensemble import weights_of
from wepystore.engine.errors import (
    ComponentError,
    PeriodicityError,
    SegmentError,
    StepError,
    WeightError,
)
from wepystore.engine.manager import CycleManager, check_conserved, check_weights, without_drift
from wepystore.engine.rng import Streams
from wepystore.engine.runners.base import Runner
from wepystore.errors import WepystoreError

EPS = np.finfo(np.float64).eps

REPORT_KEYS = {
    "cycle_idx",
    "n_segment_steps",
    "new_walkers",
    "resampled_walkers",
    "warp_data",
    "bc_data",
    "progress_data",
    "resampling_data",
    "resampler_data",
    "worker_segment_times",
    "cycle_runner_time",
    "cycle_bc_time",
    "cycle_resampling_time",
    "runner_precycle_time",
    "runner_postcycle_time",
    "runner_splits_time",
    "sim_manager_segment_overhead_time",
    "cycle_sim_manager_segment_time",
}


class Stepper(Runner):
    """Adds the length to each walker's number."""

    def run_segment(
        self, walker: Walker, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Walker:
        return Walker(walker.state + segment_length, walker.weight)


class Shaker(Stepper):
    """Adds random numbers to positions."""

    def run_segment(
        self, walker: Walker, segment_length: int, *, seed: int | None = None, **kwargs: Any
    ) -> Walker:
        moved = walker.state["positions"] + np.random.default_rng(seed).random((1, 2))
        return Walker(WalkerState(positions=moved), walker.weight)


class Notes:
    """A reporter that remembers what it was called with."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.cleanups: list[dict[str, Any]] = []

    def init(self, **keywords: Any) -> None:
        self.inits.append(keywords)

    def report(self, **report: Any) -> None:
        self.reports.append(report)

    def cleanup(self, **keywords: Any) -> None:
        self.cleanups.append(keywords)


class Reweighting(NoResampler):
    """Gives the walkers the weights it was told to."""

    def __init__(self, weights: list[float]) -> None:
        self.weights = weights

    def resample(self, walkers: Any) -> Any:
        _, records, data = super().resample(walkers)
        return (
            [Walker(w.state, new) for w, new in zip(walkers, self.weights, strict=False)],
            (records),
            data,
        )


def ensemble(*weights: float) -> list[Walker]:
    return [Walker(k, weight) for k, weight in enumerate(weights)]


def manager(walkers: Any = None, **parts: Any) -> CycleManager:
    made = {
        "init_walkers": ensemble(0.25, 0.75) if walkers is None else walkers,
        "runner": Stepper(),
        "boundary_conditions": NoBC(),
        "resampler": NoResampler(),
        "work_mapper": SerialMapper(),
        "streams": Streams(1),
        **parts,
    }
    return CycleManager(**made)


def cycle(made: CycleManager, n_steps: int = 10, cycle_idx: int = 4) -> Any:
    made.init()
    try:
        return made.run_cycle(made.init_walkers, n_steps, cycle_idx)
    finally:
        made.cleanup()


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ((), "no walkers"),
        ((0.5, 0.0, 0.5), r"walker 1 has weight 0\.0"),
        ((0.5, -0.25, 0.75), r"walker 1 has weight -0\.25"),
        ((0.5, float("nan")), "walker 1 has weight nan"),
        ((0.5, float("inf")), "sum to inf"),
        ((0.5, 0.25), r"sum to 0\.75"),
        ((0.5, 0.5 + 1e-14), "sum to 1.0"),
    ],
)
def test_a_start_with_wrong_weights_is_refused(weights: tuple[float, ...], problem: str) -> None:
    """W1, W2: the start snapshot is named, with the walker or the sum."""
    with pytest.raises(WeightError, match=f"the start snapshot.*{problem}"):
        manager(ensemble(*weights))


def test_n_eps_is_the_bound() -> None:
    """W2: |sum - 1| up to n eps passes, beyond it does not."""
    n = 48
    fine = ensemble(*[1 / n] * (n - 1), 1 / n + 40 * EPS)
    check_weights(weights_of(fine), 0, "x")
    with pytest.raises(WeightError):
        check_weights(weights_of(ensemble(*[1 / n] * (n - 1), 1 / n + 60 * EPS)), 0, "x")


def test_a_resampler_that_breaks_the_weights_is_named() -> None:
    """W1, W3: lost weight, made-up weight, a weight of 0: each stops the run, with the cycle."""
    for weights, problem in (
        ([0.25, 0.7], "went from 1.0 to 0.95"),
        ([0.75, 0.75], "went from 1.0 to 1.5"),
        ([1.0, 0.0], "walker 1"),
        ([1.0], ""),
        ([float("nan"), 0.5], "nan"),
    ):
        made = manager(resampler=Reweighting(weights))
        if weights == [1.0]:
            # Fewer walkers with all of the weight are an ensemble still.
            assert len(cycle(made).walkers) == 1
            continue
        with pytest.raises(WeightError, match=f"cycle 4: the resampler.*{problem}"):
            cycle(made)


def test_a_runner_that_breaks_the_weights_is_named() -> None:
    """W3 holds for dynamics as well."""

    class Leaking(Stepper):
        def run_segment(self, walker: Walker, segment_length: int, **kwargs: Any) -> Walker:
            return Walker(walker.state, walker.weight * 0.5)

    with pytest.raises(WeightError, match="the runner"):
        cycle(manager(runner=Leaking()))


def test_boundary_conditions_that_break_the_weights_are_named() -> None:
    """W3: a warp keeps the weight."""

    class Absorbing(NoBC):
        def warp_walkers(self, walkers: Any, cycle_idx: int) -> Any:
            return walkers[1:], [], [], {}

    with pytest.raises(WeightError, match="the boundary conditions"):
        cycle(manager(boundary_conditions=Absorbing()))


def test_conservation_allows_rounding_alone() -> None:
    """W3: the bound is n eps."""
    check_conserved(np.array([0.5, 0.5]), np.array([0.5, 0.5 + 2 * EPS]), 0, "x")
    with pytest.raises(WeightError):
        check_conserved(np.array([0.5, 0.5]), np.array([0.5, 0.5 + 4 * EPS]), 0, "x")


def test_drift_is_taken_back_before_it_breaks_w2() -> None:
    """Rounding of many cycles is rescaled away; a smaller sum keeps its bits; errors stay."""
    n = 10
    clean = ensemble(*[1 / n] * n)
    assert without_drift(clean, weights_of(clean))[0] is clean
    drifted = ensemble(*[1 / n] * (n - 1), 1 / n + 8 * EPS)
    corrected, weights = without_drift(drifted, weights_of(drifted))
    assert weights.tolist() == [w.weight for w in corrected]
    assert abs(sum(w.weight for w in corrected) - 1) <= 2 * EPS
    assert [w.state for w in corrected] == list(range(n))
    broken = ensemble(*[1 / n] * (n - 1), 1 / n + 1e-9)
    assert without_drift(broken, weights_of(broken))[0] is broken


def test_weights_stay_normalised_over_many_cycles() -> None:
    """W2 after 3000 clone-and-merge steps, each of which rounds."""
    rng = np.random.default_rng(2)

    class Shuffling(NoResampler):
        def resample(self, walkers: Any) -> Any:
            walkers = list(walkers)
            heavy = max(range(len(walkers)), key=lambda k: walkers[k].weight)
            one = walkers.pop(heavy)
            part = one.weight * rng.uniform(0.1, 0.9)
            walkers += [Walker(one.state, part), Walker(one.state, one.weight - part)]
            a, b = walkers.pop(0), walkers.pop(0)
            walkers.append(Walker(a.state, a.weight + b.weight))
            return walkers, [], []

    made = manager(ensemble(*[1 / 7] * 7), resampler=Shuffling())
    made.init()
    walkers: Any = made.init_walkers
    for cycle_idx in range(3000):
        walkers = made.run_cycle(walkers, 1, cycle_idx).walkers
    assert abs(sum(w.weight for w in walkers) - 1) <= 7 * EPS


class Meddler(Notes):
    """A reporter, and a monitor, that tries to change all it is shown."""

    def init(self, **keywords: Any) -> None:  # As a monitor it is given nothing.
        self.meddle(keywords.get("init_walkers", []))

    def report(self, **report: Any) -> None:
        for name in ("new_walkers", "resampled_walkers"):
            self.meddle(report[name])

    def cycle_monitor(self, manager: CycleManager, walkers: Any) -> None:
        self.meddle(walkers)

    def meddle(self, walkers: Any) -> None:
        shown, refused = list(walkers), (AttributeError, TypeError, ValueError)
        with contextlib.suppress(*refused):
            walkers.weights = walkers.weights[::-1]
        with contextlib.suppress(*refused):
            walkers.fields["positions"] = walkers.fields["positions"] + 1.0
        for walker in shown:
            with contextlib.suppress(*refused):
                walker.weight *= 0.5
            with contextlib.suppress(*refused):
                walker.state = shown[0].state
            with contextlib.suppress(*refused):
                walker.state["positions"][...] = 0.0
        with contextlib.suppress(*refused):
            walkers.reverse()
            walkers.clear()


@pytest.mark.parametrize("kind", ["walkers one by one", "whole ensembles"])
def test_nothing_that_looks_on_can_change_the_run(kind: str) -> None:
    """R1: weights, states, lists and arrays as they are shown to reporters and to the monitor."""
    walkers = [Walker(WalkerState(positions=[[0.1 * k, 0.0]]), w) for k, w in enumerate((0.3, 0.7))]
    ends = []
    for reporters, monitor in (([], None), ([Meddler(), Meddler()], Meddler())):
        runner = RandomWalkRunner(n_dims=2) if kind == "whole ensembles" else Shaker()
        made = manager(walkers, runner=runner, reporters=reporters, monitor=monitor)
        made.init()
        end = made.init_walkers
        for cycle_idx in range(4):
            end = made.run_cycle(end, 3, cycle_idx).walkers
        made.cleanup()
        ends.append(bits(end))
    assert ends[0] == ends[1]


def test_a_reporter_sees_the_same_whoever_looked_before() -> None:
    """Each is handed lists of its own: what one does to them is no business of the next."""
    walkers = [Walker(WalkerState(positions=[[0.1 * k, 0.0]]), w) for k, w in enumerate((0.3, 0.7))]
    notes = [Notes(), Notes()]
    for reporters in ([notes[0]], [Meddler(), notes[1]]):
        cycle(manager(walkers, runner=Shaker(), reporters=reporters))
    alone, after = (
        [bits(each.reports[0][name]) for name in ("new_walkers", "resampled_walkers")]
        for each in notes
    )
    assert alone == after
    assert len(notes[1].reports[0]["new_walkers"]) == 2


def test_report_keys_are_those_of_wepy() -> None:
    """A reporter written for wepy finds all it knows, and nothing else."""
    notes = Notes()
    made = manager(reporters=[notes])
    result = cycle(made)
    (report,) = notes.reports
    assert set(report) == REPORT_KEYS
    assert report["cycle_idx"] == 4
    assert report["n_segment_steps"] == 10
    assert [w.state for w in report["new_walkers"]] == [10, 11]
    assert report["resampled_walkers"][0].state == 10
    assert set(notes.inits[0]) == {
        "init_walkers",
        "runner",
        "resampler",
        "boundary_conditions",
        "work_mapper",
        "reporters",
        "continue_run",
    }
    assert set(notes.cleanups[0]) == {
        "runner",
        "work_mapper",
        "resampler",
        "boundary_conditions",
        "reporters",
    }
    assert all(report[key] >= 0 for key in report if key.endswith("_time"))
    assert [w.state for w in result.walkers] == [10, 11]


def test_new_walkers_are_those_before_the_warp() -> None:
    """Trajectories show where a walker came to; the warped state begins the next segment."""

    class Home(NoBC):
        def warp_walkers(self, walkers: Any, cycle_idx: int) -> Any:
            return [Walker(-1, w.weight) for w in walkers], [{"walker_idx": 0}], [], {}

    notes = Notes()
    result = cycle(manager(boundary_conditions=Home(), reporters=[notes]))
    assert [w.state for w in notes.reports[0]["new_walkers"]] == [10, 11]
    assert [w.state for w in notes.reports[0]["resampled_walkers"]] == [-1, -1]
    assert result.n_warped == 1


def test_components_written_for_wepy_run_unchanged() -> None:
    """No seed keyword, no set_rng, no dumps, no base class, boundary_conditions None, a monitor."""
    calls: list[str] = []

    class WepyRunner:
        def pre_cycle(
            self, walkers: Any = None, n_segment_steps: Any = None, **kwargs: Any
        ) -> None:
            calls.append(f"pre {len(walkers)} {n_segment_steps} {kwargs['cycle_idx']}")

        def post_cycle(self) -> None:
            calls.append("post")

        def run_segment(
            self, walker: Any, segment_length: int, cycle_idx: int = -1, walker_idx: int = -1
        ) -> Any:
            calls.append(f"segment {cycle_idx} {walker_idx}")
            return Walker(walker.state, walker.weight)

    class WepyMapper:
        worker_segment_times = None

        def init(self, segment_func: Any, num_workers: Any = None) -> None:
            self.function = segment_func

        def map(
            self, walkers: Any, lengths: Any, cycle_idx: Any = None, walker_idx: Any = None
        ) -> Any:
            return [
                self.function(*each[:2], cycle_idx=each[2], walker_idx=each[3])
                for each in zip(walkers, lengths, cycle_idx, walker_idx, strict=False)
            ]

        def cleanup(self) -> None:
            calls.append("mapper cleanup")

    class WepyResampler:
        def resample(self, walkers: Any) -> Any:
            return walkers, [{"decision_id": 1}], []

    class WepyMonitor:
        def init(self) -> None:
            calls.append("monitor init")

        def cycle_monitor(self, sim_manager: Any, walkers: Any) -> None:
            calls.append(f"monitor {len(walkers)}")

        def cleanup(self) -> None:
            calls.append("monitor cleanup")

    notes = Notes()
    made = manager(
        runner=WepyRunner(),
        work_mapper=WepyMapper(),
        resampler=WepyResampler(),
        boundary_conditions=None,
        monitor=WepyMonitor(),
        reporters=[notes],
    )
    cycle(made)
    assert set(notes.reports[0]) == REPORT_KEYS
    assert notes.reports[0]["progress_data"] == {}
    assert calls == [
        "monitor init",
        "pre 2 10 4",
        "segment 4 0",
        "segment 4 1",
        "post",
        "monitor 2",
        "monitor cleanup",
        "mapper cleanup",
    ]


def test_every_walker_gets_its_own_seed_and_the_runner_s_options() -> None:
    """Keywords of a segment: cycle, walker, seed, and what the configuration says."""
    seen: list[dict[str, Any]] = []

    class Listening(Stepper):
        def run_segment(self, walker: Walker, segment_length: int, **kwargs: Any) -> Walker:
            seen.append(kwargs)
            return walker

    cycle(manager(runner=Listening(), runner_options={"platform": "Reference"}))
    assert [each["walker_idx"] for each in seen] == [0, 1]
    assert seen[0]["seed"] != seen[1]["seed"]
    assert {each["platform"] for each in seen} == {"Reference"}
    assert [each["seed"] for each in seen] == Streams(1).segment_seeds(4, 2)


def test_components_get_the_stream_of_their_cycle() -> None:
    """R1: before every use a component's generator is that of (purpose, cycle)."""
    drawn: list[float] = []

    class Drawing(NoResampler):
        def resample(self, walkers: Any) -> Any:
            drawn.append(float(self.rng.random()))
            return super().resample(walkers)

    made = manager(resampler=Drawing())
    made.init()
    for cycle_idx in (0, 1, 0):
        made.run_cycle(made.init_walkers, 1, cycle_idx)
    assert drawn[0] == drawn[2] != drawn[1]


def test_the_input_of_a_cycle_is_not_changed() -> None:
    """A cycle that fails can be told from the one before: its walkers are whole."""
    walkers = ensemble(0.25, 0.75)
    made = manager(walkers)
    made.init()
    made.run_cycle(walkers, 10, 0)
    assert [(w.state, w.weight) for w in walkers] == [(0, 0.25), (1, 0.75)]


def test_folding_where_there_is_no_box_is_refused() -> None:
    """A periodic distance on a system without a box would be silently wrong."""
    state = pair_snapshot().walkers[0].state
    bc = UnbindingBC(0.5, [state], ligand_idxs=[0], receptor_idxs=[1], periodic=True)
    with pytest.raises(PeriodicityError, match=r"UnbindingBC.*periodic=False"):
        manager(runner=pair_runner(), boundary_conditions=bc)
    resampler = pair_apparatus().resampler
    resampler.distance = PairDistance(0, 1, periodic=True)
    with pytest.raises(PeriodicityError, match="PairDistance"):
        manager(runner=pair_runner(), resampler=resampler)


def test_one_failing_cleanup_does_not_keep_the_others_from_theirs() -> None:
    """Workers must go and files be closed even if a monitor or a reporter fails at the end."""

    class Failing(Notes):
        def cleanup(self, **keywords: Any) -> None:
            raise RuntimeError("no")

    class Monitor:
        def init(self) -> None: ...

        def cycle_monitor(self, sim_manager: Any, walkers: Any) -> None: ...

        def cleanup(self) -> None:
            raise RuntimeError("no")

    class Mapper(SerialMapper):
        cleaned = False

        def cleanup(self, **kwargs: Any) -> None:
            self.cleaned = True

    last, mapper = Notes(), Mapper()
    made = manager(reporters=[Failing(), last], monitor=Monitor(), work_mapper=mapper)
    made.init()
    with pytest.raises(ComponentError, match="Failing: it could not close its files: Runtime"):
        made.cleanup()
    assert mapper.cleaned
    assert len(last.cleanups) == 1


def leaves() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda: None, "gave no walker but None"),
        (lambda: Walker({"positions": np.array([[np.nan]])}, 1.0), "walker 0.*became NaN"),
        (leaves, "SystemExit: 3"),
    ],
)
def test_a_users_runner_is_named_for_what_it_does(gives: Any, says: str) -> None:
    """No walker, NaN or an exit() in somebody's code: one error that names the cycle and the
    class, and is no bug of this program's."""

    class Mine(Runner):
        def run_segment(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
            return gives()

    made = manager(runner=Mine(), init_walkers=[Walker({"positions": np.zeros((1, 1))}, 1.0)])
    made.init()
    with pytest.raises(WepystoreError, match=f"cycle 4.*{says}") as caught:
        made.run_cycle(made.init_walkers, 1, 4)
    assert isinstance(caught.value, StepError | SegmentError)


def test_a_users_resampler_and_reporter_are_named() -> None:
    """What is no walker, and an exception in init, come out under the name of who did it."""

    class Strange(NoResampler):
        def resample(self, walkers: Any) -> Any:
            return [1, 2, 3], [], []

    class Broken(Notes):
        def init(self, **keywords: Any) -> None:
            raise RuntimeError("no")

    made = manager(resampler=Strange())
    made.init()
    with pytest.raises(StepError, match="cycle 2: Strange failed: AttributeError"):
        made.run_cycle(made.init_walkers, 1, 2)
    with pytest.raises(StepError, match="Broken failed: RuntimeError: no"):
        manager(reporters=[Broken()]).init()


def test_what_was_not_opened_is_not_closed() -> None:
    """The error that is told is the first one, and not what a reporter that never began says."""

    class Unbegun(Notes):
        def cleanup(self, **keywords: Any) -> None:
            raise AttributeError("'Unbegun' object has no attribute '_rows'")

    class Failing(Notes):
        def init(self, **keywords: Any) -> None:
            raise RuntimeError("the true cause")

    opened = Notes()
    made = manager(reporters=[opened, Failing(), Unbegun()])
    with pytest.raises(StepError, match="Failing failed: RuntimeError: the true cause"):
        try:
            made.init()
        finally:
            made.cleanup()
    assert len(opened.cleanups) == 1
