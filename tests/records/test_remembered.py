"""What is remembered between two pickles of a user's own code bears on no byte of them (I1)."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import dill
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.records import pickles

SOURCE = """
import math
from functools import partial

SCALE = 2.0
TABLE = {"a": [1, 2]}
OTHER = 3.0


def helper(x):
    return SCALE * x


def other(x):
    return [OTHER * each for each in TABLE["a"]]


def closed(start):
    total = start

    def add(x):
        nonlocal total
        total += x
        return total + helper(x)

    return add


class Base:
    factor = 1.0

    def image(self, state):
        return helper(state) * self.factor


class Own(Base):
    weights = [1.0, 2.0]

    def __init__(self):
        self.seen = []
        self.add = closed(1.0)

    def image(self, state, power=2):
        return super().image(state) ** power + self.nested()(state)

    def nested(self):
        return lambda x: math.sqrt(other(x)[0])
"""

#: Each changes something of the module or the object that a pickle of the object holds.
CHANGES: dict[str, Callable[[Any, Any, float], None]] = {
    "an attribute": lambda m, o, x: o.seen.append(x),
    "a new attribute": lambda m, o, x: setattr(o, f"a{x}", x),
    "a global number": lambda m, o, x: setattr(m, "SCALE", x),
    "within a global": lambda m, o, x: m.TABLE["a"].append(x),
    "a class attribute": lambda m, o, x: setattr(m.Own, "factor", x),
    "of the base": lambda m, o, x: setattr(m.Base, "factor", x),
    "within a class attribute": lambda m, o, x: m.Own.weights.append(x),
    "a closure": lambda m, o, x: o.add(x),
    "a default": lambda m, o, x: setattr(m.Own.image, "__defaults__", (x,)),
    "a method": lambda m, o, x: setattr(m.Own, "nested", method(m, f"SCALE + {x}")),
    "a method's globals": lambda m, o, x: setattr(m.Own, "nested", method(m, f"OTHER + {x}")),
    "a helper": lambda m, o, x: setattr(m, "helper", method(m, f"OTHER * {x}", "x")),
    "code in place": lambda m, o, x: setattr(
        m.helper, "__code__", method(m, f"SCALE * OTHER - {x}", "x").__code__
    ),
}


def method(module: Any, expression: str, argument: str = "self") -> Any:
    """A function of the module, as if it had been written in it."""
    space: dict[str, Any] = {}
    exec(f"def made({argument}):\n    return {expression}\n", vars(module), space)
    made = space["made"]
    made.__module__ = module.__name__
    return made


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """A module of a user's, imported."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "remembered_user.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("remembered_user")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["remembered_user"]


def forget() -> None:
    """As a process that has analysed nothing yet."""
    pickles._names_of_globals.cache_clear()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=6))
def test_whatever_changes_in_between(user: types.ModuleType, names: list[str]) -> None:
    """Attributes, globals, class attributes, closures, defaults, methods, code: what a program that
    remembers makes of the object is what one makes that does not, and not what it was before."""
    importlib.reload(user)
    thing = user.Own()
    forget()
    before = pickles.dumps(thing)
    for number, name in enumerate(names):
        CHANGES[name](user, thing, number + 0.5)
        remembering = pickles.dumps(thing)
        forget()
        assert pickles.dumps(thing) == remembering, name
        # A later one may concern what an earlier one has cut off.
        assert remembering != before or number > 0, name


def test_an_unchanged_class_is_analysed_once(user: types.ModuleType) -> None:
    """Also where the object's own attributes change, as a user's resampler's do: no code is
    disassembled, and no path followed, a second time."""
    importlib.reload(user)
    thing = user.Own()
    pickles.dumps(thing)
    analysed, followed = pickles._names_of_globals.cache_info(), pickles._is_users.cache_info()
    thing.seen.append(1.0)
    pickles.dumps(thing)
    assert pickles._names_of_globals.cache_info().misses == analysed.misses
    assert pickles._names_of_globals.cache_info().hits > analysed.hits
    assert pickles._is_users.cache_info().misses == followed.misses


def test_names_are_those_that_dill_finds(user: types.ModuleType) -> None:
    """For functions, methods, code and what is neither; equal code of different functions."""
    twice = [method(user, "SCALE + OTHER"), method(user, "SCALE + OTHER")]
    assert twice[0].__code__ == twice[1].__code__
    things = [user.helper, user.other, user.closed, user.Own.image, user.Own().image, *twice]
    things += [user.helper.__code__, dill.dumps, pickles.dumps, 1, None, len]
    for thing in things:
        for recurse in (True, False):
            expected = set(pickles._nested_globals(thing, recurse))
            assert set(pickles._nested(thing, recurse)) == expected


def test_dill_is_left_as_it_was(user: types.ModuleType) -> None:
    """While nothing is pickled its functions are its own, also after an error."""

    class Refuses:
        def __reduce__(self) -> Any:
            raise RuntimeError("on request")

    own = (dill.detect.globalvars, dill.detect.nestedglobals)
    pickles.dumps(user.Own())
    with pytest.raises(RuntimeError):
        pickles.dumps(Refuses())
    assert (dill.detect.globalvars, dill.detect.nestedglobals) == own
    assert own[1] is pickles._nested_globals
