"""Walker states: stacked, equal ones once (I4), readable with numpy alone."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.api import Walker, WalkerState
from wepystore.records import npy
from wepystore.records.errors import MalformedRecordError
from wepystore.records.sinks import Memory
from wepystore.records.snapshot import as_values
from wepystore.records.values import decode_states, encode_states, unique_states


def through(states: list[Any]) -> tuple[list[WalkerState], dict[str, Any], Memory]:
    memory = Memory()
    value = encode_states(states, memory, "walkers")
    again = decode_states(value, lambda ref: memory.entries["objects", ref.md5], "walkers")
    return again, value, memory


def state(x: float, **more: Any) -> WalkerState:
    return WalkerState(positions=np.full((4, 3), x), time=x, **more)


def test_equal_states_are_stored_once() -> None:
    """I4: clones, and walkers that are equal without being one object, share one row."""
    shared = state(1.0)
    again, value, memory = through([shared, state(2.0), shared, state(1.0), state(2.0)])
    assert value["index"] == [0, 1, 0, 0, 1]
    assert [group["n_states"] for group in value["groups"]] == [2]
    assert len(memory.entries) == 2
    assert again[0] is again[2] is again[3]
    assert [float(each["time"]) for each in again] == [1.0, 2.0, 1.0, 1.0, 2.0]


def test_minus_zero_is_another_state() -> None:
    """Bits, not values: a state must come back exactly."""
    again, value, _ = through(
        [WalkerState(x=[0.0]), WalkerState(x=[-0.0]), WalkerState(x=[np.nan])]
    )
    assert value["index"] == [0, 1, 2]
    assert [np.signbit(each["x"][0]) for each in again[:2]] == [False, True]


def test_states_that_differ_late_are_told_apart() -> None:
    """The quick look at a few numbers decides nothing: the last one counts as well."""
    one, other = np.zeros((5, 3)), np.zeros((5, 3))
    other[-1, -1] = 1.0
    assert unique_states([WalkerState(x=one), WalkerState(x=other)])[0] == [0, 1]


def test_states_of_other_fields_or_shapes_go_in_groups() -> None:
    """A warped walker may lack a field that the others have; order of walkers is kept."""
    states = [
        state(1.0),
        WalkerState(positions=np.ones((2, 3))),
        state(2.0, forces=np.zeros((4, 3))),
        state(3.0),
        WalkerState(positions=np.ones((2, 3))),
    ]
    again, value, _ = through(states)
    assert len(value["groups"]) == 3
    assert all(a.equals(b) for a, b in zip(again, states, strict=True))


def test_any_mapping_of_arrays_is_a_state() -> None:
    """A runner written for wepy may give plain dictionaries and lists of numbers."""
    again, _, _ = through([{"x": [1, 2]}, {"x": np.array([1.0, 2.0], np.float32)}])
    assert again[0] is again[1]
    assert again[0]["x"].dtype == np.float64


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_ensembles_come_back_to_the_bit(numbers: list[int], rank: int) -> None:
    """Whatever the multiplicities and ranks, 0-d included."""
    states = [WalkerState(x=np.full((2,) * rank, float(k))) for k in numbers]
    again, value, _ = through(states)
    assert all(a.equals(b) for a, b in zip(again, states, strict=True))
    assert sum(group["n_states"] for group in value["groups"]) == len(set(numbers))
    repeated, _, memory = through(again)
    assert memory.entries == through(states)[2].entries
    assert len(repeated) == len(numbers)


def test_decoded_states_are_immutable() -> None:
    """A component cannot change a state that others share."""
    again, _, _ = through([state(1.0), state(2.0)])
    assert not any(array.flags.writeable for each in again for array in each.values())
    Walker(again[0], 1.0)


@pytest.mark.parametrize(
    "array",
    [
        np.array(1.5),
        np.zeros(0),
        np.zeros((0, 3)),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(6),
        np.array([[True], [False]]),
        np.zeros((1,) * 20),
    ],
)
def test_arrays_are_npy_files(array: np.ndarray) -> None:
    """numpy reads them back; the header does not depend on numpy's own writer (I1)."""
    data = b"".join(bytes(buffer) for buffer in npy.array_buffers(array, "x"))
    again = np.load(io.BytesIO(data), allow_pickle=False)
    assert (again.shape, again.dtype.kind) == (array.shape, array.dtype.kind)
    assert np.array_equal(again, array)
    assert np.array_equal(npy.load(data, "x"), array)
    # Data begin at a multiple of 64 bytes, as the format asks for.
    assert (len(data) - array.size * again.dtype.itemsize) % 64 == 0


def test_the_bytes_of_an_npy_file_are_frozen() -> None:
    """I1 across numpy releases: these very bytes, header included."""
    data = b"".join(bytes(buffer) for buffer in npy.array_buffers(np.array([1.0, 2.0]), "x"))
    head = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
    assert data == head + b" " * (127 - len(head)) + b"\n" + np.array([1.0, 2.0]).tobytes()


@pytest.mark.parametrize("shape", ["9" * 5000 + ",", f"0, {'9' * 30}", ", ".join(["9" * 19] * 300)])
def test_numbers_that_no_array_has_are_damage(shape: str) -> None:
    """Of a shape that a stranger made up Python may refuse to make, or to print, the numbers."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    for load in (npy.load, npy.load_several):
        with pytest.raises(MalformedRecordError, match="its header is"):
            load(data, "x")


def test_a_stack_is_the_npy_file_of_the_stacked_arrays() -> None:
    """Stacking copies nothing, yet the bytes are those of np.stack."""
    rows = [np.full((2, 3), float(k)) for k in range(4)]
    stacked = b"".join(bytes(buffer) for buffer in npy.stack_buffers(rows, "x"))
    assert stacked == b"".join(bytes(b) for b in npy.array_buffers(np.stack(rows), "x"))
    with pytest.raises(MalformedRecordError, match="do not go together"):
        npy.stack_buffers([np.zeros(2), np.zeros(3)], "x")


def test_states_of_somebodys_own_are_as_they_were_when_they_were_taken() -> None:
    """A mapping that its runner changes in place, while what was handed over is written."""
    state = {"positions": np.zeros((2, 3))}
    held = as_values([SimpleNamespace(weight=1.0, state=state)])
    assert isinstance(held, tuple)
    state["positions"] += 1
    state["time"] = np.ones(1)
    assert list(held[1][0]) == ["positions"] and not held[1][0]["positions"].any()
