"""What differs between two manifests, down to a parameter."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from wepystore.store import Store, canonical
from wepystore.store.arrays import read_array
from wepystore.store.manifests import Manifest
from wepystore.store.merge.diff import Difference, differences


def npy(values: list[float], shape: tuple[int, ...] | None = None) -> bytes:
    """A .npy file of doubles."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape or (len(values),)}, }}"
    return (
        b"\x93NUMPY\x01\x00"
        + len(header).to_bytes(2, "little")
        + header.encode()
        + struct.pack(f"<{len(values)}d", *values)
    )


def side(store: Store, **manifest: Any) -> Manifest:
    """One whose bytes values are objects: arrays, or (with b"<") texts."""

    def stored(value: Any) -> Any:
        if isinstance(value, bytes):
            ref = store.put("objects", value).to_json()
            return {"text": ref} if value.startswith(b"<") else {"array": ref}
        if isinstance(value, dict):
            return {key: stored(item) for key, item in value.items()}
        return value

    return Manifest.of("snapshots", canonical.dumps(stored(manifest)), store.object, "it")


def component(name: str, **params: Any) -> dict[str, Any]:
    return {"component": {"class": name, "version": 1, "params": params}}


def one(a: Manifest, b: Manifest) -> Difference:
    (found,) = differences(a, b)
    return found


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (0.5, 0.25, ("0.5", "0.25")),
        (None, True, ("none", "yes")),
        ("x", {"float": "nan"}, ("x", "nan")),
        ([1, 2], [1, 3], ("[1, 2]", "[1, 3]")),
        (1, 1.0, None),
    ],
)
def test_a_parameter(store: Store, a: Any, b: Any, words: tuple[str, str] | None) -> None:
    """The path to it and both values; equal values are no difference."""
    apparatus = [{"resampler": component("W", distance=component("D", cut=x))} for x in (a, b)]
    found = differences(side(store, apparatus=apparatus[0]), side(store, apparatus=apparatus[1]))
    if words is None:
        assert found == []
        return
    assert [(d.path, d.a, d.b) for d in found] == [("resampler.distance.cut", *words)]


def test_classes_and_parameters_of_one_side_only(store: Store) -> None:
    """Another class, and each parameter that only one of them has."""
    a = side(store, apparatus={"resampler": component("NoResampler")})
    b = side(store, apparatus={"resampler": component("WExploreResampler", pmax=0.5)})
    assert [(d.path, d.a, d.b) for d in differences(a, b)] == [
        ("resampler", "NoResampler", "WExploreResampler"),
        ("resampler.pmax", None, "0.5"),
    ]
    assert [(d.path, d.a, d.b) for d in differences(b, a)][1] == ("resampler.pmax", "0.5", None)


def test_arrays(store: Store) -> None:
    """Shapes, how many numbers differ and by how much; bits count, so 0.0 is not -0.0."""
    nan = float("nan")
    a = side(store, x=npy([1.0, 2.0, nan, 0.0]))
    found = one(a, side(store, x=npy([1.0, 2.5, nan, -0.0])))
    assert found.path == "x" and found.how == "4: 2 of 4 numbers differ, by 0.5 at most"
    assert one(a, side(store, x=npy([1.0]))).how == "4 <f8 and 1 <f8"
    assert one(a, side(store, x=b"no array")).how == ""


def test_texts_and_pickles(store: Store) -> None:
    """Texts by hash, size and first line; pickles by hash alone."""
    found = one(side(store, x=b"<a>\n1\n</a>"), side(store, x=b"<a>\n2\n</a>"))
    assert "10 bytes" in str(found.a) and found.how.endswith("line 2")
    parts = [{"pickle": store.put("objects", d).to_json(), "of": "Mine"} for d in (b"N.", b"].")]
    found = one(side(store, x=parts[0]), side(store, x=parts[1]))
    assert str(found.a).startswith("pickled Mine, object ") and found.how == ""


def walkers(store: Store, weights: list[float], index: list[int], stack: list[float]) -> Manifest:
    ref = store.put("objects", npy(stack, (len(stack) // 2, 2))).to_json()
    group = {"n_states": len(stack) // 2, "fields": {"positions": ref}}
    return side(store, walkers={"weights": weights, "states": index, "groups": [group]})


def test_walkers(store: Store) -> None:
    """How many, their weights, and which are in another state; the order in which states are
    numbered does not matter."""
    a = walkers(store, [0.5, 0.5], [0, 1], [1.0, 2.0, 3.0, 4.0])
    turned = walkers(store, [0.5, 0.5], [1, 0], [3.0, 4.0, 1.0, 2.0])
    assert [d.path for d in differences(a, turned)] == ["walkers.positions"]
    moved = walkers(store, [0.25, 0.75], [0, 1], [1.0, 2.0, 9.0, 4.0])
    found = {d.path: d for d in differences(a, moved)}
    assert found["walkers.weights"].how == "2 of 2 differ, by 0.25 at most"
    assert found["walkers.states"].how == "1 states in both; 1 of 2 walkers in another one: 1"
    assert found["walkers.positions"].how == "2×2: 1 of 4 numbers differ, by 6 at most"
    more = walkers(store, [1.0], [0], [1.0, 2.0])
    found = {d.path: d for d in differences(a, more)}
    assert (found["walkers"].a, found["walkers"].b) == ("2 walkers", "1 walkers")
    assert differences(a, a) == []


def test_what_is_missing_is_said(store: Store) -> None:
    """S5: a difference all the same, with what is not there."""
    a, b = side(store, x=npy([1.0])), side(store, x=npy([2.0]))
    for md5 in store.hashes("objects"):
        store.remove("objects", md5)
    assert "is not there" in one(a, b).how
    a, b = (walkers(store, [1.0], [0], [x, x]) for x in (1.0, 2.0))
    for md5 in store.hashes("objects"):
        store.remove("objects", md5)
    assert all("is not there" in d.how for d in differences(a, b))


def test_arrays_are_read_as_numpy_reads_them() -> None:
    """Types and shapes that records write, and what is refused: Fortran order, objects, wrong
    lengths."""
    import io

    import numpy as np

    for array in (
        np.arange(6.0).reshape(2, 3),
        np.arange(3),
        np.array([True, False]),
        np.array(1.5),
    ):
        stream = io.BytesIO()
        np.save(stream, array)
        found = read_array(stream.getvalue())
        assert found is not None and found.shape == array.shape
        assert list(found.numbers) == array.reshape(-1).tolist()
        assert read_array(stream.getvalue()[:-1]) is None
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(np.ones((2, 3))))
    assert read_array(stream.getvalue()) is None
