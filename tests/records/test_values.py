"""Values of parameters <-> JSON and objects."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.systems import pair_state
from wepystore.api import PairDistance, SerialMapper, UnbindingBC, WalkerState
from wepystore.engine.component import Text
from wepystore.records.errors import CannotRecordError, PickleLoadError
from wepystore.records.sinks import Memory
from wepystore.records.values import decode, encode
from wepystore.store import canonical

ARRAYS = st.one_of(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, min_side=0, max_side=7)),
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, min_side=0, max_side=7)),
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=0, min_side=0, max_side=7)),
    hnp.arrays(np.float64, st.integers(250, 400)),
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text("abcé\n", max_size=20).map(Text),
    ARRAYS,
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text("abmd5size", max_size=6), inner, max_size=4),
        st.builds(
            lambda x: WalkerState(positions=x, time=0.5),
            hnp.arrays(np.float64, hnp.array_shapes(min_dims=0)),
        ),
    ),
    max_leaves=12,
)


def through(value: Any) -> tuple[Any, Memory]:
    """`value` after the way into canonical JSON and objects, and back."""
    memory = Memory()
    data = canonical.dumps(encode(value, memory, "x"))
    return (
        decode(canonical.loads(data, "x"), lambda ref: memory.entries["objects", ref.md5], "x"),
        memory,
    )


def same(a: Any, b: Any) -> bool:
    """Equal to the bit and of equal kind; a tuple comes back as a list."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, float):
        return type(b) is float and (
            (math.isnan(a) and math.isnan(b))
            or (a == b and math.copysign(1, a) == math.copysign(1, b))
        )
    if isinstance(a, (list, tuple)):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, WalkerState):
        return isinstance(b, WalkerState) and a.equals(b)
    if isinstance(a, dict):
        return type(b) is dict and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


@given(VALUES)
@settings(max_examples=250, deadline=None)
def test_values_come_back_as_they_went(value: Any) -> None:
    """Any tree of storable values survives to the bit, and encodes to the same bytes again (I1)."""
    again, memory = through(value)
    assert same(value, again)
    other = Memory()
    assert canonical.dumps(encode(again, other, "x")) == canonical.dumps(
        encode(value, Memory(), "x")
    )
    assert other.entries == memory.entries


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 0.1])
def test_every_float_survives(value: float) -> None:
    """JSON has no NaN and no infinity; -0.0 and denormals keep their bits."""
    again, _ = through([value, np.float64(value), np.array(value), np.array([value] * 2)])
    expected = [value, value, np.array(value), np.array([value] * 2)]
    assert same(expected, again)


def test_other_number_types_become_the_stored_ones() -> None:
    """Equal numbers have one spelling, whatever numpy type held them (I1)."""
    again, memory = through(
        {
            "f4": np.float32(0.5),
            "i4": np.array([1, 2], np.int32),
            "u1": np.array([1, 255], np.uint8),
            "big": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
            "endian": np.array([1.5], ">f8"),
            "bool": np.bool_(True),
        }
    )
    assert again["f4"] == 0.5
    assert again["i4"].dtype == again["u1"].dtype == np.int64
    assert again["bool"] is True
    assert again["endian"].dtype == np.dtype("<f8")
    assert np.array_equal(again["big"], np.arange(600.0).reshape(20, 30))
    assert len(memory.entries) == 1


def test_small_arrays_are_in_the_manifest_and_large_ones_are_objects() -> None:
    """An inode costs more than a few numbers (I4)."""
    assert not through(np.zeros(256))[1].entries
    assert len(through(np.zeros(257))[1].entries) == 1


def test_integers_beyond_int64_in_an_array_are_refused() -> None:
    """They would change their value silently."""
    with pytest.raises(Exception, match=r"x.*uint64"):
        encode(np.array([2**63], np.uint64), Memory(), "x")


def test_a_component_is_its_class_and_params() -> None:
    """Built-ins contain no pickle; components within components neither."""
    state = pair_state()
    bc = UnbindingBC(0.5, [state, state], [0], [1], periodic=False)
    again, memory = through(
        {"bc": bc, "d": PairDistance(0, 1, periodic=False), "m": SerialMapper()}
    )
    assert again["bc"].params().keys() == bc.params().keys()
    assert again["bc"].initial_states[0] is again["bc"].initial_states[1]
    assert type(again["m"]) is SerialMapper
    text = json.dumps(encode(bc, Memory(), "x"))
    assert '"pickle"' not in text
    assert len(memory.entries) == 4  # One stack for each field of the one state.


def test_a_subclass_of_a_built_in_is_a_user_s_class() -> None:
    """It may behave differently: by value, marked as pickled, and it comes back as itself."""

    class Mine(PairDistance):
        def image_distance(self, a: Any, b: Any) -> float:
            return 42.0

    encoded = encode(Mine(0, 1), Memory(), "x")
    assert set(encoded) == {"pickle", "of"}
    assert encoded["of"].endswith("Mine")
    assert through(Mine(0, 1))[0].image_distance(0, 0) == 42.0


def test_functions_and_odd_objects_are_pickled_and_marked() -> None:
    """A lambda, a set, a complex number, a str subclass: whatever has no form of its own."""
    for value in (lambda x: x + 1, {1, 2}, 1j, object, type("S", (str,), {})("x")):
        assert "pickle" in encode(value, Memory(), "x")
    assert through(lambda x: x + 1)[0](2) == 3
    assert through({"a": {1, 2}})[0] == {"a": {1, 2}}


def test_what_cannot_be_pickled_is_named() -> None:
    """The message says which parameter, and what it is."""
    with pytest.raises(CannotRecordError, match=r"reporters\[1\].*generator"):
        encode([1, (k for k in range(3))], Memory(), "reporters")


def test_a_pickle_that_cannot_be_loaded_is_named() -> None:
    """A missing module ends in a message that says what to install, not in a traceback."""
    memory = Memory()
    ref = memory.put("objects", b"cno_such_module\nThing\n.")
    with pytest.raises(PickleLoadError, match=r"runner: the pickled Thing.*no_such_module"):
        decode(
            {"pickle": ref.to_json(), "of": "Thing"},
            lambda ref: memory.entries["objects", ref.md5],
            "runner",
        )
