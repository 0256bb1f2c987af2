"""One cycle of weighted ensemble: runner, boundary conditions, resampler, reporters.

Each arrow is a function of its input; only reporters have side effects, and
nothing they do can change the result. The components are duck-typed: those
written for wepy need no change.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wepystore.engine import adapt, protocols, rng
from wepystore.engine.ensemble import Ensemble, Floats, weights_of
from wepystore.engine.errors import ComponentError, MeasureError, StepError, WeightError
from wepystore.engine.fit import check_periodicity, weights_problem
from wepystore.engine.monitor import Monitored, check_monitor
from wepystore.engine.record_tables import weights_warped
from wepystore.engine.resamplers.decision import count_decisions, decision_numbers
from wepystore.errors import WepystoreError

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class CycleResult:
    """What a cycle leaves behind.

    Attributes
    ----------
    seconds : float
        How long it took, reporters included.
    n_cloned, n_merged : int or None
        Clones made, and walkers merged away; None where the resampler's records do not tell.
    resampling_data : sequence of dict, the resampler's records
    warped : tuple of float
        The weights that were warped, as far as their records tell.
    segment_times : {worker: s of each of its segments}
        As far as the mapper tells.
    runner_s : float
        How long all segments took together.
    """

    walkers: Sequence[Any]
    seconds: float
    n_warped: int
    n_cloned: int | None
    n_merged: int | None
    resampling_data: Sequence[Any]
    warped: tuple[float, ...] = ()
    segment_times: Mapping[Any, Sequence[float]] = field(default_factory=dict)
    runner_s: float = 0.0


@dataclass
class CycleManager:
    """Runs cycles over an apparatus under a configuration.

    Parameters
    ----------
    init_walkers : sequence of walkers
    runner, boundary_conditions, resampler
        The apparatus; boundary_conditions may be None.
    work_mapper
        Maps segments over walkers.
    streams : rng.Streams
        Where every random number comes from.
    reporters, monitor
        Look on.
    runner_options : dict
        Keywords for every segment: platform, platform_kwargs, getState_kwargs.
    dumps : callable or None
        Handed to the work mapper for runners that plain pickle cannot take.
    record : CycleRecord or None

    Attributes
    ----------
    interruptible : bool
        True only while segments run. A signal handler may then raise, having set
        it to False: the cycle is dropped whole, and the walkers and the
        resampler stay as the cycle before left them.
    """

    init_walkers: Sequence[Any]
    runner: protocols.Runner | protocols.EnsembleRunner
    boundary_conditions: protocols.BoundaryConditions | None
    resampler: protocols.Resampler
    work_mapper: protocols.WorkMapper
    streams: rng.Streams
    reporters: Sequence[protocols.Reporter] = ()
    monitor: protocols.Monitor | None = None
    runner_options: dict[str, Any] = field(default_factory=dict)
    dumps: Callable[[Any], bytes] | None = None
    record: protocols.CycleRecord | None = None

    def __post_init__(self) -> None:
        self.interruptible = False
        self._opened: list[protocols.Reporter] = []
        self._monitored = False
        # Runners and walkers of other programs come in as ours: all below is the same for both.
        self.runner = adapt.adapted_runner(self.runner)
        self.init_walkers = adapt.native_walkers(self.init_walkers)
        # A runner of whole ensembles needs no workers: its arrays are the batch.
        whole = protocols.RunnerCapabilities(self.runner).run_segments
        self._whole = whole if callable(whole) else None
        # A mapper that knows no seeds runs the segments as the runner alone would.
        self._seeded = any(adapt.takes(self.work_mapper.map, "seed"))
        adapt.prepare(self.boundary_conditions, self.resampler)
        self._decisions = decision_numbers(self.resampler)
        self.n_init_walkers = len(self.init_walkers)
        check_monitor(self.monitor)
        check_weights(weights_of(self.init_walkers), 0, "the start snapshot")
        check_periodicity(self.runner, self.boundary_conditions, self.resampler)

    def init(self, num_workers: int | None = None, continue_run: Any = None) -> None:
        """Start the mapper's workers and open the reporters' files."""
        if self.monitor is not None:
            with self._of_monitor(0):
                self.monitor.init()
            self._monitored = True
        if not self._whole:
            segment = adapt.segment_function(self.runner, self._seeded)
            options: dict[str, Any] = {"segment_func": segment}
            if any(adapt.takes(self.work_mapper.init, "dumps")):
                options["dumps"] = self.dumps
            self.work_mapper.init(num_workers=num_workers, **options)
        for reporter in self.reporters:
            with named(reporter, 0):
                reporter.init(
                    init_walkers=self.init_walkers[:],
                    runner=self.runner,
                    resampler=self.resampler,
                    boundary_conditions=self.boundary_conditions,
                    work_mapper=self.work_mapper,
                    reporters=self.reporters,
                    continue_run=continue_run,
                )
            self._opened.append(reporter)

    def run_cycle(self, walkers: Sequence[Any], n_steps: int, cycle_idx: int) -> CycleResult:
        """Propagate, warp, resample and report once; the input is not changed.

        Raises WeightError if a component breaks the weights (W1-W3).
        """
        begun = time.perf_counter()
        report: dict[str, Any] = {"cycle_idx": cycle_idx, "n_segment_steps": n_steps}

        new_walkers = self._propagate(walkers, n_steps, cycle_idx, report)
        new_weights = weights_of(new_walkers)
        check_conserved(weights_of(walkers), new_weights, cycle_idx, "the runner")
        propagated = time.perf_counter()

        warped_walkers = self._warp(new_walkers, cycle_idx, report)
        warped_weights = weights_of(warped_walkers)
        check_conserved(new_weights, warped_weights, cycle_idx, "the boundary conditions")
        warped = time.perf_counter()

        drawing = self._drawing(self.resampler, rng.RESAMPLING, cycle_idx)
        with named(self.resampler, cycle_idx), drawing:
            resampled_walkers, resampling_data, resampler_data = self.resampler.resample(
                warped_walkers
            )
            if not adapt.is_ours(self.resampler):
                resampled_walkers = adapt.native_walkers(resampled_walkers)
            weights = weights_of(resampled_walkers)
        check_conserved(warped_weights, weights, cycle_idx, "the resampler")
        resampled_walkers, weights = without_drift(resampled_walkers, weights)
        check_weights(weights, cycle_idx, "the resampler")
        resampled = time.perf_counter()

        if not isinstance(resampled_walkers, Ensemble):
            resampled_walkers = list(resampled_walkers)
        report.update(
            resampling_data=resampling_data,
            resampler_data=resampler_data,
            worker_segment_times=self._segment_times(),
            cycle_runner_time=propagated - begun,
            cycle_bc_time=warped - propagated,
            cycle_resampling_time=resampled - warped,
        )
        # Before anybody asks for records one by one: then they are no columns any more.
        counted = count_decisions(resampling_data, self._decisions)
        n_cloned, n_merged = counted or (None, None)
        arrived = weights_warped(report["warp_data"])
        if self.record is not None:
            told = {"worker_segment_walkers": self._told_by_mapper("worker_segment_walkers")}
            self.record.add({**report, **told, "new_walkers": new_walkers})
        for reporter in self.reporters:
            # Lists of its own: one that sorts them changes neither the next cycle nor what the
            # others see.
            own = {"new_walkers": new_walkers[:], "resampled_walkers": resampled_walkers[:]}
            with named(reporter, cycle_idx):
                reporter.report(**report, **own)
        reported = time.perf_counter()
        if self.monitor is not None:
            own = {"new_walkers": new_walkers[:], "resampled_walkers": resampled_walkers[:]}
            with self._of_monitor(cycle_idx):
                self.monitor.cycle_monitor(Monitored(self, {**report, **own}), resampled_walkers[:])
        if self.record is not None:
            self.record.keep()
        return CycleResult(
            walkers=resampled_walkers,
            seconds=reported - begun,
            n_warped=len(report["warp_data"]),
            n_cloned=n_cloned,
            n_merged=n_merged,
            resampling_data=resampling_data,
            warped=arrived,
            segment_times=report["worker_segment_times"],
            runner_s=report["cycle_runner_time"],
        )

    def _propagate(
        self, walkers: Sequence[Any], n_steps: int, cycle_idx: int, report: dict[str, Any]
    ) -> Sequence[Any]:
        begun = time.perf_counter()
        with named(self.runner, cycle_idx):
            self.runner.pre_cycle(
                walkers=walkers, n_segment_steps=n_steps, cycle_idx=cycle_idx, **self.runner_options
            )
        prepared = time.perf_counter()
        try:
            self.interruptible = True
            with named(self.runner, cycle_idx):
                new_walkers = (self._run_whole if self._whole else self._map)(
                    walkers, n_steps, cycle_idx
                )
        finally:
            self.interruptible = False
        mapped = time.perf_counter()
        with named(self.runner, cycle_idx):
            self.runner.post_cycle()
            if self._whole and not adapt.is_ours(self.runner):
                _check_places(new_walkers)
        done = time.perf_counter()
        busiest = max(
            (sum(times) for times in self._segment_times().values()), default=mapped - prepared
        )
        report.update(
            runner_precycle_time=prepared - begun,
            runner_postcycle_time=done - mapped,
            runner_splits_time=mapped - prepared,
            cycle_sim_manager_segment_time=mapped - prepared,
            sim_manager_segment_overhead_time=max(0.0, mapped - prepared - busiest),
        )
        return new_walkers

    def _map(self, walkers: Sequence[Any], n_steps: int, cycle_idx: int) -> Sequence[Any]:
        """One segment for each walker, through the work mapper."""
        n_walkers = len(walkers)
        keywords: dict[str, Any] = {
            "cycle_idx": itertools.repeat(cycle_idx, n_walkers),
            "walker_idx": range(n_walkers),
        }
        if self._seeded:
            keywords["seed"] = self.streams.segment_seeds(cycle_idx, n_walkers)
        for name, value in self.runner_options.items():
            keywords[name] = itertools.repeat(value, n_walkers)
        return list(self.work_mapper.map(walkers, itertools.repeat(n_steps, n_walkers), **keywords))

    def _run_whole(self, walkers: Sequence[Any], n_steps: int, cycle_idx: int) -> Sequence[Any]:
        """All segments at once, in this process, so that no mapper has a say in the result."""
        assert self._whole is not None
        new_walkers = self._whole(
            walkers,
            n_steps,
            rng=self.streams.generator(rng.SEGMENTS, cycle_idx),
            cycle_idx=cycle_idx,
            **self.runner_options,
        )
        if len(new_walkers) != len(walkers):
            raise StepError(
                cycle_idx=cycle_idx,
                component=type(self.runner).__name__,
                problem=f"it gave {len(new_walkers)} walkers for {len(walkers)}",
            )
        return new_walkers

    def _segment_times(self) -> dict[int, list[float]]:
        return self._told_by_mapper("worker_segment_times")

    def _told_by_mapper(self, name: str) -> dict[int, Any]:
        if self._whole:
            return {}
        return getattr(self.work_mapper, name, None) or {}

    def _warp(
        self, walkers: Sequence[Any], cycle_idx: int, report: dict[str, Any]
    ) -> Sequence[Any]:
        warp_data: Any = []
        bc_data: Any = []
        progress_data: Any = {}
        warped: Sequence[Any] = walkers
        if self.boundary_conditions is not None:
            drawing = self._drawing(self.boundary_conditions, rng.BOUNDARY_CONDITIONS, cycle_idx)
            with named(self.boundary_conditions, cycle_idx), drawing:
                warped, warp_data, bc_data, progress_data = self.boundary_conditions.warp_walkers(
                    walkers, cycle_idx
                )
                if not adapt.is_ours(self.boundary_conditions):
                    warped = adapt.native_walkers(warped)
                weights_of(warped)  # Whatever is no walker has none.
        report.update(warp_data=warp_data, bc_data=bc_data, progress_data=progress_data)
        return warped

    def _drawing(
        self, component: Any, purpose: int, cycle_idx: int
    ) -> contextlib.AbstractContextManager[None]:
        """Give a component its stream, now; or, to enter, the block in which it draws from it."""
        take = protocols.DrawingCapabilities(component).set_rng
        if take is not None:
            with named(component, cycle_idx):
                take(self.streams.generator(purpose, cycle_idx))
        elif not adapt.is_ours(component):
            return adapt.seeded_globals(self.streams.generator(purpose, cycle_idx))
        return contextlib.nullcontext()

    def cleanup(self) -> None:
        """Close the reporters' files and let the workers go, each even if another one fails."""
        with contextlib.ExitStack() as stack:
            # The last one pushed is the first one called. One that was not opened has nothing to
            # close: what it would say of that would hide what went wrong before.
            for reporter in reversed(self._opened):
                stack.callback(
                    close,
                    reporter,
                    type(reporter).__name__,
                    runner=self.runner,
                    work_mapper=self.work_mapper,
                    resampler=self.resampler,
                    boundary_conditions=self.boundary_conditions,
                    reporters=self.reporters,
                )
            if not self._whole:
                stack.callback(self.work_mapper.cleanup)
            if self._monitored:
                name = f"the monitor {type(self.monitor).__name__}"
                stack.callback(close, self.monitor, name, "failed at the end", WepystoreError)

    def _of_monitor(self, cycle_idx: int) -> contextlib.AbstractContextManager[None]:
        """As `named`; an OSError, too: that of a port that is taken names nothing."""
        name = f"the monitor {type(self.monitor).__name__}"
        return named(self.monitor, cycle_idx, name, WepystoreError)


#: These say what is wrong themselves.
_TELLING = (WepystoreError, OSError)


def close(
    component: Any,
    name: str,
    failed: str = "could not close its files",
    telling: Any = _TELLING,
    /,
    **parts: Any,
) -> None:
    """Let a component go; what it raises, but for `telling`, gets its name: ComponentError."""
    try:
        component.cleanup(**parts)
    except telling:
        raise
    except Exception as problem:
        why = f"it {failed}: {type(problem).__name__}: {problem}"
        raise ComponentError(component=name, problem=why) from problem


@contextlib.contextmanager
def named(
    component: Any, cycle_idx: int, name: str = "", telling: Any = _TELLING
) -> Iterator[None]:
    """Give an exception out of a component the component's name: it may be a user's own.

    The name is that of its class, unless the user knows it by another `name`.

    Raises StepError; what says itself what is wrong, `telling`, passes.
    """
    try:
        yield
    except MeasureError as problem:
        problem.happened_in(cycle_idx)
        raise
    except telling:
        raise
    except (Exception, SystemExit) as problem:
        # An exit() in somebody's code would end the run without a word, its status passed on.
        raise StepError(
            cycle_idx=cycle_idx,
            component=name or type(component).__name__,
            problem=f"{type(problem).__name__}: {problem}",
        ) from problem


def _check_places(walkers: Sequence[Any]) -> None:
    """What built-in runners of ensembles see to themselves: no NaN among the positions."""
    if not isinstance(walkers, Ensemble) or "positions" not in walkers.fields:
        return  # A state may be anything that the other parts understand.
    places = walkers.fields["positions"].reshape(len(walkers), -1)
    finite = np.isfinite(places.sum(axis=1))
    if not finite.all():
        idx = int(np.argmin(finite))
        raise FloatingPointError(f"the positions of walker {idx} became NaN or infinite")


def check_weights(weights: Floats, cycle_idx: int, step: str) -> None:
    """Raise WeightError unless every weight is > 0 (W1) and they sum to 1 (W2)."""
    problem = weights_problem(weights)
    if problem is not None:
        raise WeightError(cycle_idx=cycle_idx, step=step, problem=problem)


def check_conserved(before: Floats, after: Floats, cycle_idx: int, step: str) -> None:
    """Raise WeightError unless `step` conserved the total weight (W3)."""
    if before is after:
        return
    total_before, total_after = float(before.sum()), float(after.sum())
    if not abs(total_after - total_before) <= max(len(before), len(after)) * _EPS:
        raise WeightError(
            cycle_idx=cycle_idx,
            step=step,
            problem=f"the total went from {total_before!r} to {total_after!r}",
        )


def without_drift(walkers: Sequence[Any], weights: Floats) -> tuple[Sequence[Any], Floats]:
    """Walkers and weights, these rescaled to sum to 1, if rounding has begun to add up.

    Every clone and merge rounds once; over 10^6 cycles these errors wander far
    beyond what W2 allows, though each step keeps W3. Nothing is touched before
    half of W2's bound is used up, so most cycles keep their weights bit for bit.
    """
    total = math.fsum(weights.tolist())
    drift = abs(total - 1.0)
    n_eps = len(weights) * _EPS
    if not n_eps / 2 < drift <= 2 * n_eps:
        # Small enough to leave, or no rounding error: check_weights will tell.
        return walkers, weights
    rescaled = weights / total
    if isinstance(walkers, Ensemble):
        return walkers.with_weights(rescaled), rescaled
    return [
        type(walker)(walker.state, weight)
        for walker, weight in zip(walkers, rescaled.tolist(), strict=True)
    ], rescaled
