"""Whether the parts that a person puts together can run: asked when they are built.

Only what is certainly wrong is refused. A part of somebody's own is taken as it
is if it has the methods that the manager calls. Nothing here is asked when an
entry of a store or an exported file is decoded: what is old or of another program stays
readable, and a run of it says itself what is wrong.
"""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.engine.adapt import is_ours, is_state, is_walker, native_state, plug_of
from wepystore.engine.component import Component
from wepystore.engine.ensemble import Ensemble, Floats, weights_of
from wepystore.engine.errors import ComponentError, PeriodicityError, UnfitError, WrongPartError
from wepystore.engine.kept_frames import Recording
from wepystore.engine.parameters import platform_properties
from wepystore.engine.protocols import (
    MeasuringCapabilities,
    PeriodicCapabilities,
    StartCapabilities,
    WarpCapabilities,
)
from wepystore.engine.runners.base import Runner
from wepystore.engine.walker import UnaskedBox

_EPS = float(np.finfo(np.float64).eps)

#: Part -> what it is called in words, and the methods of which the manager calls one.
_ROLES = {
    "runner": ("a runner", ("run_segment", "run_segments")),
    "boundary_conditions": ("boundary conditions", ("warp_walkers",)),
    "resampler": ("a resampler", ("resample",)),
    "work_mapper": ("a work mapper", ("map",)),
    "reporter": ("a reporter", ("report",)),
    "monitor": ("a monitor", ("cycle_monitor",)),
}

_APPARATUS = "the order is Apparatus(runner, boundary_conditions, resampler)"
_CONFIGURATION = "the order is Configuration(work_mapper, reporters, monitor, platform)"


# ---- parts


def check_apparatus(runner: Any, boundary_conditions: Any, resampler: Any) -> None:
    """Raise unless these can be an apparatus.

    Raises
    ------
    WrongPartError : one is not what its place is for.
    PeriodicityError : distances fold by a box that the system does not have.
    WepystoreError : what the runner says of itself (`Runner.check`).
    """
    _check_role("runner", runner, _APPARATUS)
    if boundary_conditions is not None:
        _check_role("boundary_conditions", boundary_conditions, f"{_APPARATUS}; None for none")
    _check_role("resampler", resampler, f"{_APPARATUS}; NoResampler() for none")
    if isinstance(runner, Runner):
        runner.check()
    check_periodicity(runner, boundary_conditions, resampler)
    initial = WarpCapabilities(boundary_conditions).initial_states
    if _has_no_box(runner) and isinstance(initial, list):
        initial[:] = [_without_unasked_box(state) for state in initial]


def check_decoded(apparatus: Any, work_mapper: Any) -> None:
    """Raise WrongPartError for a part that no manager could call: a run is about to begin, and what
    was decoded has not been asked yet."""
    way_out = "the entry that it stands in can be shown, and not be run"
    _check_role("runner", apparatus.runner, way_out)
    if apparatus.boundary_conditions is not None:
        _check_role("boundary_conditions", apparatus.boundary_conditions, way_out)
    _check_role("resampler", apparatus.resampler, way_out)
    _check_role("work_mapper", work_mapper, way_out)


def check_configuration(
    work_mapper: Any, reporters: Any, monitor: Any, platform: Any, properties: Any
) -> None:
    """Raise WrongPartError or ComponentError unless these can be a configuration."""
    _check_role("work_mapper", work_mapper, f"{_CONFIGURATION}; SerialMapper() is the plainest")
    if not isinstance(reporters, Sequence) or isinstance(reporters, (str, bytes)):
        way_out = f"put it into one, [reporter]; {_CONFIGURATION}"
        raise _wrong("reporters", "a list of reporters", reporters, way_out)
    for place, reporter in enumerate(reporters):
        _check_role("reporter", reporter, _CONFIGURATION, f"reporters[{place}]")
    if monitor is not None:
        _check_role("monitor", monitor, f"{_CONFIGURATION}; None for none")
    if platform is not None and not isinstance(platform, str):
        wanted = "the name of an OpenMM platform, or None"
        raise _wrong("platform", wanted, platform, 'as in platform="CPU"')
    if not isinstance(properties, Mapping) or not all(
        isinstance(word, str) for item in properties.items() for word in item
    ):
        way_out = 'as in {"Threads": "1"}, the number in quotes too'
        raise _wrong("platform_properties", "a dict of texts to texts", properties, way_out)
    try:
        platform_properties(properties)
    except ValueError as problem:
        raise ComponentError(component="Configuration", problem=problem) from None


def check_recording(recording: Any) -> None:
    """Raise WrongPartError unless this is a Recording, or None."""
    if recording is not None and not isinstance(recording, Recording):
        wanted = "a Recording, or None for the usual frames"
        raise _wrong("recording", wanted, recording, "Recording(fields=()) keeps none")


def check_type(thing: Any, wanted: type, call: str) -> None:
    """Raise WrongPartError unless `thing` is a `wanted`; `call` shows how it should be given."""
    if not isinstance(thing, wanted):
        name = wanted.__name__
        raise _wrong(name.lower(), f"a {name}", thing, f"the order is {call}")


def _wrong(part: str, wanted: str, thing: Any, way_out: str) -> WrongPartError:
    return WrongPartError(part=part, wanted=wanted, got=_described(thing), way_out=way_out)


def _check_role(role: str, thing: Any, way_out: str, part: str | None = None) -> None:
    words, methods = _ROLES[role]
    if _has_one(thing, methods):
        return
    if inspect.isclass(thing) and _has_one(thing, methods, of_class=True):
        way_out = f"make one of it: {thing.__name__}(...)"
    raise _wrong(part or role, f"{words}, with a method {methods[0]}", thing, way_out)


def _has_one(thing: Any, methods: Sequence[str], of_class: bool = False) -> bool:
    """Whether `thing` has one of the methods, ready to be called."""
    found = [name for name in methods if callable(getattr(thing, name, None))]
    if not inspect.isclass(thing) or of_class:
        return bool(found)
    # Of a class, those that need no instance will do.
    return any(
        isinstance(inspect.getattr_static(thing, name, None), (staticmethod, classmethod))
        for name in found
    )


def _described(thing: Any) -> str:
    """What a part is, for a message: its class, and what that is for; or its value."""
    if thing is None or isinstance(thing, (bool, int, float, str, bytes, list, tuple, dict)):
        return reprlib.repr(thing)
    if inspect.isclass(thing):
        return f"the class {thing.__name__}"
    name = type(thing).__name__
    for words, methods in _ROLES.values():
        if _has_one(thing, methods):
            return f"{name}, which is {words}"
    return f"an object of the class {name}"


def check_periodicity(runner: Any, boundary_conditions: Any, resampler: Any) -> None:
    """Refuse distances that would fold by a box that the runner's system does not have."""
    folds = PeriodicCapabilities(runner).periodic
    if folds is None or folds:
        return
    looking = MeasuringCapabilities(resampler)
    for component in (boundary_conditions, looking.distance, looking.coordinate):
        if PeriodicCapabilities(component).periodic:
            raise PeriodicityError(component=type(component).__name__)


# ---- walkers


def checked_walkers(walkers: Any, apparatus: Any) -> Any:
    """The walkers, if they can start in this apparatus.

    Of a system that is not periodic they are left without boxes that nobody asked for.

    Raises
    ------
    WrongPartError : walkers or apparatus are something else.
    UnfitError : weights, states or atoms do not fit.
    WepystoreError : what the resampler says of the weights (`check_start`).
    """
    order = "the order is Snapshot(walkers, apparatus)"
    parts = ("runner", "boundary_conditions", "resampler")
    if not all(hasattr(apparatus, part) for part in parts):
        way_out = f"{order}, and Apparatus(runner, boundary_conditions, resampler)"
        raise _wrong("apparatus", "an Apparatus", apparatus, way_out)
    if not isinstance(walkers, Sequence) or isinstance(walkers, (str, bytes)):
        raise _wrong("walkers", "a list of walkers", walkers, order)
    if not len(walkers):
        raise UnfitError(
            where="walkers", problem="there are none", way_out="a run needs at least one"
        )
    _check_each(walkers)
    weights = _checked_weights(walkers)
    runner, resampler = apparatus.runner, apparatus.resampler
    _check_states(walkers, runner)
    _check_atoms(walkers, runner, apparatus.boundary_conditions, resampler)
    StartCapabilities(resampler).check_start(weights)
    if isinstance(walkers, Ensemble) or not _has_no_box(runner):
        return walkers
    if not any(isinstance(walker.state, UnaskedBox) for walker in walkers):
        return walkers
    # Those that share a state share one afterwards.
    bare = {id(walker.state): _without_unasked_box(walker.state) for walker in walkers}
    return [type(walker)(bare[id(walker.state)], walker.weight) for walker in walkers]


def doubts(walkers: Sequence[Any], runner: Any) -> list[str]:
    """What can run and is seldom meant, in words; [] for a runner that says nothing of it."""
    if not isinstance(runner, Runner):
        return []
    try:
        return runner.doubts([state for _, state in distinct_states(walkers)])
    except Exception:
        # A run begins with what was read, and not checked: whatever is wrong with it, the run
        # says that itself.
        return []


def _has_no_box(runner: Any) -> bool:
    return isinstance(runner, Runner) and not runner.periodic


def _without_unasked_box(state: Any) -> Any:
    return state.without_box() if isinstance(state, UnaskedBox) else state


def _check_each(walkers: Sequence[Any]) -> None:
    if isinstance(walkers, Ensemble):
        return
    for index, walker in enumerate(walkers):
        if not is_walker(walker):
            way_out = "make one of a state and a weight: Walker(state, weight)"
            raise _wrong(f"walkers[{index}]", "a walker", walker, way_out)
        if not is_state(walker.state):
            part = f"the state of walkers[{index}]"
            way_out = "as_walker_state(positions) makes one of OpenMM's quantities, arrays or State"
            raise _wrong(part, "a WalkerState", walker.state, way_out)


def _checked_weights(walkers: Sequence[Any]) -> Floats:
    try:
        weights = weights_of(walkers)
    except (TypeError, ValueError):
        weights = np.array([np.nan])
    problem = weights_problem(weights)
    if problem is not None:
        raise UnfitError(
            where="walkers",
            problem=problem,
            way_out="every weight is a probability, above 0, and all together are 1: divide each "
            "by their sum",
        )
    return weights


def weights_problem(weights: Floats) -> str | None:
    """What is wrong with the weights of an ensemble, shape (n,) (W1, W2); None if nothing is."""
    if len(weights) == 0:
        return "there are no walkers"
    if not weights.min() > 0:  # A NaN is neither, and the least of whatever it is among.
        bad = int(np.argmin(weights > 0))
        return f"walker {bad} has weight {float(weights[bad])!r}, not > 0"
    total = float(weights.sum())
    if not abs(total - 1.0) <= len(weights) * _EPS:
        return f"the weights sum to {total!r}, not 1"
    return None


def distinct_states(walkers: Sequence[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The first walker that has it, and the fields, of each state; shared ones come once.

    Of an Ensemble all states have one form: the first stands for all.
    """
    if isinstance(walkers, Ensemble):
        yield 0, walkers.state(0)
        return
    seen: set[int] = set()
    for index, walker in enumerate(walkers):
        if id(walker.state) not in seen:
            seen.add(id(walker.state))
            state = walker.state
            yield index, state if isinstance(state, Mapping) else native_state(state)


def _check_states(walkers: Sequence[Any], runner: Any) -> None:
    """Shapes and numbers, as far as the runner is known to need them so."""
    known = isinstance(runner, Runner) and is_ours(runner)
    plug = None if isinstance(runner, Runner) else plug_of(runner)
    checker = runner if plug is None else plug.runner(runner)
    for index, state in distinct_states(walkers):
        if "positions" not in state:
            continue
        where = f"the state of walker {index}"
        if known and not np.isfinite(state["positions"]).all():
            raise UnfitError(
                where=where,
                problem="a position is NaN or infinite",
                way_out="look at where the positions came from",
            )
        if isinstance(checker, Runner):
            checker.check_state(state, where)


# ---- atoms


def check_together(walkers: Sequence[Any], reporters: Sequence[Any]) -> None:
    """Raise UnfitError if a reporter names atoms that the walkers do not have."""
    shape = _shape(walkers)
    for reporter in reporters:
        if shape is not None and isinstance(reporter, Component):
            _check_indices(reporter, math.prod(shape[:-1]))


def _shape(walkers: Sequence[Any]) -> tuple[int, ...] | None:
    """Of the first walker's positions; None where it has none."""
    _, state = next(distinct_states(walkers))
    return np.shape(state["positions"]) if "positions" in state else None


def _check_atoms(walkers: Sequence[Any], runner: Any, boundaries: Any, resampler: Any) -> None:
    """That atoms which distances and boundary conditions name are there, and warps fit."""
    shape = _shape(walkers)
    if shape is None:
        return
    for component in (boundaries, resampler):
        for owner in _components(component):
            _check_indices(owner, math.prod(shape[:-1]))
    if isinstance(boundaries, Component):
        _check_initial_states(boundaries, shape, runner)


def _components(thing: Any) -> Iterator[Component]:
    """A built-in component, or one derived from it, and those that it is made of."""
    if not isinstance(thing, Component):
        return
    yield thing
    inside = MeasuringCapabilities(thing)
    for part in (inside.distance, inside.coordinate):
        yield from _components(part)


def _check_indices(owner: Component, n_atoms: int) -> None:
    for name in owner.ATOM_PARAMETERS:
        value = getattr(owner, name, None)
        if value is None:
            continue
        highest = max(np.ravel(value).tolist(), default=-1)
        if highest >= n_atoms:
            raise UnfitError(
                where=f"{type(owner).__name__}, {name}",
                problem=f"it names atom {highest}, but the walkers have {n_atoms} atoms",
                way_out=f"atoms are counted from 0, so the last is {n_atoms - 1}",
            )


def _check_initial_states(owner: Any, shape: tuple[int, ...], runner: Any) -> None:
    """States that walkers may take while the run goes on."""
    for place, state in enumerate(WarpCapabilities(owner).initial_states or ()):
        where = f"{type(owner).__name__}, initial_states[{place}]"
        if not isinstance(state, Mapping) or "positions" not in state:
            continue
        found = np.shape(state["positions"])
        if found != shape:
            raise UnfitError(
                where=where,
                problem=f"its positions have shape {found}, those of the walkers {shape}",
                way_out="give states of the system that the walkers are of",
            )
        if isinstance(runner, Runner):
            runner.check_state(state, where)
