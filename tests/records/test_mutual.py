"""What a user's functions may call: each other, and this package by its modules."""

from __future__ import annotations

import wepystore.api
from wepystore.records.pickles import dumps, loads

SCRIPT = """
def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)
"""


def test_functions_that_call_each_other_can_be_kept() -> None:
    """Their globals lead from one to the other and back; both come along, and still work."""
    script = {"__name__": "__main__"}
    exec(SCRIPT, script)
    even = loads(dumps(script["even"]))
    assert even(10) and not even(7)


def test_this_package_is_never_copied_into_a_pickle() -> None:
    """A function that says `api.PositionCoordinate` names the module, from a checkout as well.

    A copy of all that it holds would depend on the version, and be set in whoever loads it.
    """
    script = {"__name__": "__main__", "api": wepystore.api}
    exec("def first(state): return api.PositionCoordinate((0,)), api", script)
    data = dumps(script["first"])
    assert b"prepare_store" not in data
    before = dict(vars(wepystore.api))
    coordinate, module = loads(data)({})
    assert (type(coordinate), module) == (wepystore.api.PositionCoordinate, wepystore.api)
    assert vars(wepystore.api) == before


def test_what_a_librarys_function_calls_is_not_in_the_pickle(monkeypatch) -> None:
    """Of a user's function that calls one of a library: the next version of that changes nothing.

    Its names would be looked up in the user's module, and what is found there come along.
    """
    script = {"__name__": "__main__", "hash_of": wepystore.api.hash_of}
    exec("table = [1, 2]\ndef own(thing):\n    return hash_of(thing)", script)
    before = dumps(script["own"])
    other: dict[str, object] = {}
    exec("def hash_of(thing):\n    return sorted(table(thing))", other)
    monkeypatch.setattr(wepystore.api.hash_of, "__code__", other["hash_of"].__code__)
    assert dumps(script["own"]) == before
