"""Canonical JSON: one value, one sequence of bytes; bytes from anywhere never give a traceback."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wepystore.errors import DamagedError
from wepystore.store import Ref, canonical
from wepystore.store.errors import BadJSONError, NotCanonicalError

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read_back(value: object) -> None:
    """loads(dumps(x)) is x, and writing it again gives the same bytes."""
    data = canonical.dumps(value)
    assert canonical.loads(data, "x") == value
    assert canonical.dumps(canonical.loads(data, "x")) == data


@given(st.dictionaries(texts, st.integers()))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    """Two dicts that are equal give the same bytes whatever their insertion order."""
    assert canonical.dumps(value) == canonical.dumps(dict(reversed(value.items())))


def test_the_form_is_fixed() -> None:
    """The bytes that identify everything ever stored: changing them would change every hash."""
    value = {"b": [1, 2.5, -0.0, None, True], "a": 'é\n"', "A": {}}
    assert canonical.dumps(value) == '{"A":{},"a":"é\\n\\"","b":[1,2.5,-0.0,null,true]}\n'.encode()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {1: 2},
        b"x",
        {"a": {None: 1}},
        {"a": [Ref("", "", 0)]},
        "\ud800",
        {1, 2},
    ],
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    """No NaN, no silent conversion of keys, no unpaired surrogate."""
    with pytest.raises(NotCanonicalError):
        canonical.dumps(value)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"\xff{}", "UTF-8"),
        (b'{"a":1,"a":2}', "twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "range"),
        (b'["\\ud800"]', ""),
        (b"[" * 100_000, "deep"),
        (b"[" * 200 + b"]" * 200, "deep"),
        (b"[" + b"9" * 5000 + b"]", ""),
        (b'{"a":1', ""),
    ],
)
def test_damaged_json_is_named(data: bytes, word: str) -> None:
    """Bad bytes raise an error of exit status 3 that names the file, in one line."""
    with pytest.raises(BadJSONError) as caught:
        canonical.loads(data, "FILE")
    message = str(caught.value)
    assert "FILE" in message and word in message and "\n" not in message
    assert caught.value.exit_status == 3


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever the bytes, there is a value or a DamagedError."""
    with contextlib.suppress(DamagedError):
        canonical.dumps(canonical.loads(data, "x"))


@given(values, st.data())
def test_mutated_json_is_read_or_refused(value: object, data: st.DataObject) -> None:
    """A flipped byte in good JSON gives a value or a DamagedError."""
    good = bytearray(json.dumps(value).encode())
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DamagedError):
        canonical.load_object(bytes(good), "x")
