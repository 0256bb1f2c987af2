"""Components that were not written for this package, those of other programs above all.

A program whose components run here has a plug-in, named in one table by the package that they
come from and loaded when one of them is met; nothing else here names such a program. How they
cross (docs/design/0018-wepy-components.md, docs/design/0038-plug-ins.md):

- *Walkers* are always `Walker`s with a `WalkerState` outside of a component. What a component
  of another program's returns is turned into them on the way out: the fields are what
  `state.dict()` gives, to the bit and in its shapes, without those that are None.
- *Runners* get the walkers that they know from the runner that stands for them.
- *Random numbers*: a component that takes no generator (`set_rng`) draws from the global ones of
  `random` and `numpy.random`. While it is called, these start from the stream
  that it would have been given (R1); afterwards they are as they were before.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.ensemble import Ensemble
from wepystore.engine.errors import ComponentError
from wepystore.engine.protocols import DrawingCapabilities
from wepystore.engine.runners.base import AdaptedRunner, Runner
from wepystore.engine.walker import Walker, WalkerState

_OURS = "wepystore"

#: Package that components come from -> the plug-in for it, imported when one of them is met.
PLUGS = {"wepy": "wepystore.compat.wepy.plug"}

#: Modules that pickles name -> where what they had is now; it still says that it is from there.
MOVED = {
    "wepystore.engine.wepy_repairs": "wepystore.compat.wepy.repairs",
    "wepystore.reporters.wepy": "wepystore.compat.wepy.reporters",
}


class Plug(Protocol):
    """What is asked of a plug-in, always of components of its program's classes or derived ones.

    Attributes
    ----------
    FLAT_FIELDS : fields of records that files hold flat, whatever their shapes
    """

    FLAT_FIELDS: frozenset[str]

    def prepare(self) -> None:
        """Make the program usable in this process. Raises a FailedError if it is not here."""

    def runner(self, theirs: Any) -> AdaptedRunner:
        """What stands for a runner: it takes and gives this package's walkers, and a seed."""

    def reporter(self, theirs: Any, files: Sequence[str], folders: Sequence[str]) -> Any:
        """A Reporter that calls a reporter; what it writes is `files` and `folders`, or, if both
        are empty, what it says itself."""

    def draws_from_the_run(self, component: Any) -> bool:
        """Whether all random numbers of one without `set_rng` are known to be the global ones."""

    def releases(self) -> dict[str, str]:
        """The packages that its components compute with, and their versions, for a record."""

    def never_changes(self, boundary_conditions: Any) -> bool:
        """Whether these are known to be the same after a cycle as before it."""

    def counterpart(self, thing: Any) -> Any:
        """What its reporters know in place of a class of ours; `thing` itself if nothing."""

    def why_still(self, resampler: Any, weights: NDArray[np.float64]) -> str | None:
        """Why a resampler can clone and merge nothing, in words; None if it can."""


@functools.lru_cache(1024)
def _package_of_class(cls: Any) -> str | None:
    packages = (base.__module__.partition(".")[0] for base in cls.__mro__)
    return next((package for package in packages if package in PLUGS), None)


def _package(thing: Any) -> str | None:
    cls: Any = type(thing)
    return _package_of_class(cls)


def plug_of(thing: Any) -> Plug | None:
    """The plug-in for what `thing` is of, or derived from; None for what is of no such program."""
    package = _package(thing)
    return None if package is None else _plug(package)


def _plug(package: str) -> Plug:
    return cast(Plug, import_module(PLUGS[package]))


def moved(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that pickles name, for what a plug-in has now."""

    def found(name: str) -> Any:
        if not name.startswith("__"):
            thing = vars(import_module(MOVED[module])).get(name)
            if thing is not None and thing.__module__ == module:
                return thing
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return found


def is_ours(thing: Any) -> bool:
    """Whether `thing` is of this package's own class, and not of one derived from it."""
    return type(thing).__module__.partition(".")[0] == _OURS


def adapted_runner(runner: Any) -> Any:
    """What stands for a runner of another program's here; any other as it is."""
    plug = None if isinstance(runner, Runner) else plug_of(runner)
    if plug is None:
        return runner
    plug.prepare()
    return plug.runner(runner)


def draws_from_the_run(component: Any) -> bool:
    """Whether all random numbers of a component come from the run's seed (R1).

    So it is with built-in ones, with those that take a generator by `set_rng`, and
    with those of other programs whose source is known; any other may draw from
    wherever it likes.
    """
    if component is None or is_ours(component):
        return True
    if DrawingCapabilities(component).set_rng is not None:
        return True
    plug = plug_of(component)
    return plug is not None and plug.draws_from_the_run(component)


def releases(*components: Any) -> dict[str, str]:
    """The packages that components of other programs compute with, and their versions."""
    found: dict[str, str] = {}
    for plug in filter(None, map(plug_of, components)):
        found |= plug.releases()
    return found


def prepare(*components: Any) -> None:
    """Make the programs usable that these components are of."""
    for plug in filter(None, map(plug_of, components)):
        plug.prepare()


def counterpart(thing: Any) -> Any:
    """What reporters of another program know in place of a class of ours, if one is installed."""
    for package in PLUGS:
        if package in sys.modules or find_spec(package) is not None:
            return _plug(package).counterpart(thing)
    return thing


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
        self.passes_seed = takes(runner.run_segment, "seed")[1]

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
        if not is_walker(moved):
            raise TypeError(f"{type(self.__self__).__name__} gave no walker but {moved!r:.60}")
        # A state may be anything that the other parts understand.
        state = moved.state if isinstance(moved.state, Mapping) else {}
        if not np.isfinite(np.sum(state.get("positions", ()))):
            raise FloatingPointError("positions became NaN or infinite")
        return moved


def segment_function(runner: Any, seeded: bool = True) -> Callable[..., Any]:
    """What the work mapper calls for each walker; if `seeded`, it takes `seed` in any case."""
    function: Callable[..., Any] = runner.run_segment
    if is_ours(runner) or not seeded:
        return function
    if not takes(function, "seed")[0]:
        function = GloballySeeded(runner)
    return CheckedSegments(function, runner)


def takes(function: Callable[..., Any], name: str) -> tuple[bool, bool]:
    """Whether a function has a parameter of this name, and whether it takes any keyword.

    Both where it does not tell.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True, True
    return name in parameters, any(each.kind is each.VAR_KEYWORD for each in parameters.values())


# ---- walkers


def is_walker(thing: Any) -> bool:
    """Whether it has what every walker has, whoever's it is."""
    return hasattr(thing, "weight") and hasattr(thing, "state")


def is_state(thing: Any) -> bool:
    """Whether its fields can be had, as those of ours or by `dict()`."""
    return isinstance(thing, Mapping) or hasattr(thing, "dict")


def native_walkers(walkers: Sequence[Any]) -> Sequence[Any]:
    """The walkers with those of other programs, or with states of them, as `Walker`s.

    Walkers that share a state share one afterwards. All others are what they
    were; if there is nothing to do, `walkers` itself comes back.

    Raises
    ------
    ComponentError : a state holds something that is no array of numbers.
    """
    if isinstance(walkers, Ensemble):
        return walkers
    if not any(_package(w) or _package(w.state) for w in walkers):
        return walkers
    known: dict[int, Any] = {}
    return [_native(walker, index, known) for index, walker in enumerate(walkers)]


def _native(walker: Any, index: int, known: dict[int, Any]) -> Any:
    state = walker.state
    if _package(state):
        found = known.get(id(state))
        if found is None:
            found = known[id(state)] = native_state(state, f"walker {index}")
        state = found
    elif not _package(walker):
        return walker
    return Walker(state, float(walker.weight))


def native_state(state: Any, where: str = "a state") -> WalkerState:
    """A state of another program's, or anything with `dict()`, as a WalkerState of the same bits.

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
