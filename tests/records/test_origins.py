"""What was loaded and is unchanged is stored as what it was loaded from (I2, I4)."""

from __future__ import annotations

import pickle
from typing import Any

import dill
import pytest

from wepystore.records import trust
from wepystore.records.sinks import Memory
from wepystore.records.values import Fetch, decode, encode
from wepystore.store.names import Ref


class Own:
    """A user's own object, which a test changes."""

    def __init__(self, value: Any) -> None:
        self.value = value


def stored(value: object) -> tuple[dict[str, Any], Memory]:
    memory = Memory()
    return encode(value, memory, "it"), memory


@pytest.fixture
def other() -> bytes:
    """A pickle as some other version writes it: of the same object, in other bytes."""
    data = dill.dumps(Own([1, 2]), protocol=2)
    assert pickle.loads(data).value == [1, 2]
    return data


def fetch(memory: Memory) -> Fetch:
    return lambda ref: memory.entries["objects", ref.md5]


def loaded(data: bytes) -> Own:
    memory = Memory()
    ref = memory.put("objects", data)
    return decode({"pickle": ref.to_json(), "of": "Own"}, fetch(memory), "it")


def test_unchanged(other: bytes) -> None:
    """It keeps its hash, however often it is stored."""
    own = loaded(other)
    for _ in range(2):
        record, _ = stored(own)
        assert Ref.from_json(record["pickle"], "it") == Ref.of(other)


def test_changed(other: bytes) -> None:
    """Whatever is changed, inside of it too, is stored as it is; changed back, as it was."""
    own = loaded(other)
    own.value.append(3)
    record, memory = stored(own)
    ref = Ref.from_json(record["pickle"], "it")
    assert ref != Ref.of(other)
    assert decode(record, fetch(memory), "it").value == [1, 2, 3]
    own.value.pop()
    assert Ref.from_json(stored(own)[0]["pickle"], "it") == Ref.of(other)


def test_another_object_in_its_place(other: bytes) -> None:
    """Nothing is taken for what was there before and is gone."""
    own = loaded(other)
    del own
    for _ in range(100):
        fresh = Own([1, 2])
        assert Ref.from_json(stored(fresh)[0]["pickle"], "it") != Ref.of(other)
        del fresh


def test_what_was_loaded_is_no_ones_own_for_being_stored(other: bytes) -> None:
    """Bytes that this process has not written are not trusted, though they give what it would
    write: loading them may do more than that. What it writes is."""
    told: list[str] = []
    before = trust.tell(told.append)
    own = loaded(other)
    stored(own)
    assert told == []
    own.value.append(3)
    record, _ = stored(own)
    trust.tell(before)
    assert told == [record["pickle"]["sha256"]]
