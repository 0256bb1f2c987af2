"""Components that were not written for this package, wepy's above all.

How they cross (docs/design/0018-wepy-components.md):

- *Walkers* are always `Walker`s with a `WalkerState` outside of a component. Of wepy's own
  classes, what a component returns is turned into them on the way out: the fields are what
  `state.dict()` gives, to the bit and in its shapes, without those that are None.
- *Runners* of wepy's get wepy's walkers: see runners/wepy.py.
- *Random numbers*: a component that takes no generator (`set_rng`) draws from the global ones of
  `random` and `numpy.random`. While it is called, these start from the stream
  that it would have been given (R1); afterwards they are as they were before.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.errors import ComponentError
from wepystore.engine.protocols import DrawingCapabilities
from wepystore.engine.walker import Walker, WalkerState
from wepystore.engine.wepy_repairs import KNOWN_RELEASE, installed, prepare_wepy

_WEPY = "wepy"
_OURS = "wepystore"

#: What every class has in its namespace; a subclass that has no more is its base.
_NOTHING = frozenset(
    {"__module__", "__doc__", "__qualname__", "__dict__", "__weakref__", "__annotations__"}
    | {"__firstlineno__", "__static_attributes__", "__slotnames__"}
)

#: Resamplers and boundary conditions of wepy's that, in its release KNOWN_RELEASE, take all of
#: their random numbers from the global generators, and nothing from clocks or hash seeds.
_REPEATABLE = frozenset(
    {
        "wepy.resampling.resamplers.wexplore.WExploreResampler",
        "wepy.resampling.resamplers.revo.REVOResampler",
        "wepy.resampling.resamplers.resampler.NoResampler",
        "wepy.boundary_conditions.boundary.NoBC",
        "wepy.boundary_conditions.receptor.UnbindingBC",
        "wepy.boundary_conditions.randomwalk.RandomWalkBC",
    }
)

#: Packages whose release bears on the bits of a run with components of wepy's.
_BELOW_WEPY = ("wepy", "networkx", "geomm")


def is_wepy(thing: Any) -> bool:
    """Whether `thing` is of a class of the package wepy, or of one derived from such a class."""
    return any(cls.__module__.partition(".")[0] == _WEPY for cls in type(thing).__mro__)


def is_ours(thing: Any) -> bool:
    """Whether `thing` is of this package's own class, and not of one derived from it."""
    return type(thing).__module__.partition(".")[0] == _OURS


def wepy_class(cls: type) -> str | None:
    """The class of wepy's that `cls` is, or does not differ from, as "module.Name"; else None."""
    while cls.__module__.partition(".")[0] != _WEPY:
        if len(cls.__bases__) != 1 or not vars(cls).keys() <= _NOTHING:
            return None
        (cls,) = cls.__bases__
    return f"{cls.__module__}.{cls.__qualname__}"


def is_known_release() -> bool:
    """Whether the wepy that is installed is the one whose source is known here."""
    return installed(_WEPY) == KNOWN_RELEASE


def draws_from_the_run(component: Any) -> bool:
    """Whether all random numbers of a component come from the run's seed (R1).

    So it is with built-in ones, with those that take a generator by `set_rng`, and
    with those of wepy's own whose source is known; any other may draw from
    wherever it likes.
    """
    if component is None or type(component).__module__.startswith(f"{_OURS}."):
        return True
    if DrawingCapabilities(component).set_rng is not None:
        return True
    return wepy_class(type(component)) in _REPEATABLE and is_known_release()


def releases(*components: Any) -> dict[str, str]:
    """The packages that components of wepy's compute with, and their versions, for a record."""
    if not any(is_wepy(component) for component in components):
        return {}
    found = {name: installed(name) for name in _BELOW_WEPY}
    return {name: version for name, version in found.items() if version is not None}


def prepare(*components: Any) -> None:
    """Make wepy usable (wepy_repairs) if any of the components is of its classes."""
    if any(is_wepy(component) for component in components):
        prepare_wepy(drawing=False)


# ---- random numbers


@contextlib.contextmanager
def seeded_globals(generator: np.random.Generator) -> Iterator[None]:
    """Within the block `random` and `numpy.random` start from `generator`.

    Both are set back afterwards, also after an exception: what else uses them in
    this process does not notice. They belong to all threads, though.
    """
    words = generator.integers(0, 2**32, size=8, dtype=np.uint32)
    before = random.getstate(), np.random.get_state()
    random.seed(int.from_bytes(words[:4].tobytes(), "little"))
    np.random.seed(words[4:])
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class GloballySeeded:
    """A `run_segment` that takes a seed, for a runner whose own does not.

    Parameters
    ----------
    runner : object with run_segment(walker, segment_length, **keywords)
    """

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        # As a bound method has it: mappers ask whose segments they run.
        self.__self__ = runner
        # One that takes any keyword may look for the seed.
        self.passes_seed = _parameters(runner.run_segment)[1]

    def __call__(self, walker: Any, segment_length: int, *, seed: int, **keywords: Any) -> Any:
        """The walker after the segment; everything that is drawn globally follows from `seed`."""
        if self.passes_seed:
            keywords["seed"] = seed
        with seeded_globals(np.random.default_rng(seed)):
            return self.runner.run_segment(walker, segment_length, **keywords)


class CheckedSegments:
    """A `run_segment` of somebody's own, with what built-in runners see to themselves.

    Where the segment ran, so that a mapper has it run once more elsewhere.

    Parameters
    ----------
    function : callable(walker, segment_length, **keywords)
    runner : object whose segments they are
    """

    def __init__(self, function: Callable[..., Any], runner: Any) -> None:
        self.function = function
        self.__self__ = runner

    def __call__(self, walker: Any, segment_length: int, **keywords: Any) -> Any:
        """The walker after the segment.

        Raises
        ------
        TypeError : the runner gave no walker.
        FloatingPointError : its positions hold NaN or infinity.
        """
        moved = self.function(walker, segment_length, **keywords)
        if not (hasattr(moved, "weight") and hasattr(moved, "state")):
            raise TypeError(f"{type(self.__self__).__name__} gave no walker but {moved!r:.60}")
        # A state may be anything that the other parts understand.
        state = moved.state if isinstance(moved.state, Mapping) else {}
        if not np.isfinite(np.sum(state.get("positions", ()))):
            raise FloatingPointError("positions became NaN or infinite")
        return moved


def segment_function(runner: Any) -> Callable[..., Any]:
    """What the work mapper calls for each walker; it takes `seed` in any case."""
    function: Callable[..., Any] = runner.run_segment
    if not is_ours(runner) and not _parameters(function)[0]:
        function = GloballySeeded(runner)
    if type(runner).__module__.startswith("wepystore."):
        return function
    return CheckedSegments(function, runner)


def _parameters(function: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether a function names a parameter `seed`, and whether it takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True, True
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return "seed" in parameters, takes_any


# ---- walkers


def native_walkers(walkers: Sequence[Any]) -> Sequence[Any]:
    """The walkers with those of wepy's classes, or with states of them, as `Walker`s.

    Walkers that share a state share one afterwards. All others are what they
    were; if there is nothing to do, `walkers` itself comes back.

    Raises
    ------
    ComponentError : a state holds something that is no array of numbers.
    """
    if isinstance(walkers, Ensemble):
        return walkers
    if not any(is_wepy(walker) or is_wepy(walker.state) for walker in walkers):
        return walkers
    known: dict[int, Any] = {}
    return [_native(walker, index, known) for index, walker in enumerate(walkers)]


def _native(walker: Any, index: int, known: dict[int, Any]) -> Any:
    state = walker.state
    if is_wepy(state):
        found = known.get(id(state))
        if found is None:
            found = known[id(state)] = native_state(state, f"walker {index}")
        state = found
    elif not is_wepy(walker):
        return walker
    return Walker(state, float(walker.weight))


def native_state(state: Any, where: str = "a state") -> WalkerState:
    """A state of wepy's, or anything with `dict()`, as a WalkerState of the same bits.

    Quantities of OpenMM are taken in nm, ps and kJ/mol. Fields that are None are left out.

    Raises
    ------
    ComponentError : a field is no array of numbers.
    """
    fields: Mapping[str, Any] = state.dict()
    return WalkerState.adopt(
        {
            str(name): _array(value, f"{where}: state field {name!r}")
            for name, value in fields.items()
            if value is not None
        }
    )


def _array(value: Any, where: str) -> NDArray[np.float64]:
    if hasattr(value, "value_in_unit_system"):
        from openmm import unit

        value = value.value_in_unit_system(unit.md_unit_system)
    try:
        # A copy: nobody else may change it afterwards.
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ComponentError(
            component=where,
            problem=f"{type(value).__name__} is no array of numbers, and cannot be kept",
        ) from None
