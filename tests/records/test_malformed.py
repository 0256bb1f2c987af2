"""Damage that a hash cannot see: a manifest that says something else than it should.

Whoever edits a manifest and renames it gets a store that verifies. Reading it must
end in an error that a user can act on (exit status 3 or 1), never in a traceback.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.systems import pair_snapshot, plain_configuration
from wepystore.api import Configuration, HDF5Reporter, ProcessMapper, Snapshot
from wepystore.errors import DamagedError, WepystoreError
from wepystore.records.bundle import encode
from wepystore.records.configuration import decode_configuration
from wepystore.records.errors import MalformedRecordError
from wepystore.records.run import RunRecord, decode_run, encode_run
from wepystore.records.sinks import Memory
from wepystore.records.snapshot import decode_snapshot
from wepystore.store.names import EntryRef, Ref

Path = tuple[Any, ...]

#: What takes the place of each value in turn.
OTHERS: tuple[Any, ...] = (None, True, -1, 0, 2**80, 0.5, "x", [], {}, [1], {"a": 1}, [[]])


def snapshot_parts() -> tuple[Memory, Any]:
    memory = Memory()
    snapshot = pair_snapshot(3)
    # With regions, so that there is a state to restore as well.
    snapshot.apparatus.resampler.resample(list(snapshot.walkers))
    _, ref = encode(snapshot, memory)
    return memory, json.loads(memory.entries["snapshots", ref.md5])


def configuration_parts() -> tuple[Memory, Any]:
    memory = Memory()
    made = Configuration(
        ProcessMapper(2), [HDF5Reporter()], platform="CPU", platform_properties={"Threads": "1"}
    )
    _, ref = encode(made, memory)
    return memory, json.loads(memory.entries["configs", ref.md5])


def run_parts() -> tuple[Memory, Any]:
    memory = Memory()
    ref = Ref("a" * 32, "b" * 64, 1)
    snapshot, config = EntryRef("snapshots", ref), EntryRef("configs", ref)
    md5 = encode_run(RunRecord(snapshot, snapshot, config, 3, 10, 1, True), memory).md5
    return memory, json.loads(memory.entries["runs", md5])


CASES: dict[str, tuple[Callable[[], tuple[Memory, Any]], Callable[..., Any]]] = {
    "snapshot": (snapshot_parts, decode_snapshot),
    "configuration": (configuration_parts, decode_configuration),
    "run": (run_parts, lambda manifest, fetch, where: decode_run(manifest, where)),
}


def places(value: Any, here: Path = ()) -> Iterator[Path]:
    """The path of every value in a JSON tree."""
    yield here
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*here, key))
    elif isinstance(value, list):
        for key, item in enumerate(value[:3]):
            yield from places(item, (*here, key))


def changed(manifest: Any, path: Path, new: Any, remove: bool = False) -> Any:
    root = {"root": copy.deepcopy(manifest)}
    holder: Any = root
    keys = ("root", *path)
    for key in keys[:-1]:
        holder = holder[key]
    if remove:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = new
    return root.get("root")


def attempt(what: str, memory: Memory, manifest: Any) -> Any:
    """The decoded thing, or None where it was refused properly."""

    def fetch(ref: Ref) -> bytes:
        try:
            return memory.entries["objects", ref.md5]
        except KeyError:
            raise DamagedError("no such object") from None

    try:
        return CASES[what][1](manifest, fetch, what)
    except WepystoreError as error:
        assert str(error)
        assert len(str(error).splitlines()) == 1
        return None


@pytest.mark.parametrize("what", CASES)
def test_every_mutation_is_refused_or_harmless(what: str) -> None:
    """Each value in turn removed, or replaced by one of many others: a clear error, or an object
    that holds what it should; never KeyError, TypeError or worse."""
    memory, manifest = CASES[what][0]()
    n_refused = n_tried = 0
    for path in places(manifest):
        variants = [changed(manifest, path, other) for other in OTHERS]
        if path:
            variants.append(changed(manifest, path, None, remove=True))
        for variant in variants:
            found = attempt(what, memory, variant)
            # What a record tells of how it came about damages nothing, however odd it is.
            if path[:1] != ("execution",) or len(path) == 1:
                n_tried += 1
                n_refused += found is None
            if isinstance(found, Snapshot):
                assert all(isinstance(walker.weight, float) for walker in found.walkers)
                assert len(found.walkers) > 0
            if isinstance(found, Configuration):
                assert isinstance(list(found.reporters), list)
                dict(found.platform_properties)
                assert found.platform is None or isinstance(found.platform, str)
            if isinstance(found, RunRecord):
                assert type(found.n_cycles) is int
                # Runs of wepy 1.x have neither.
                assert type(found.n_steps) in (int, type(None))
                assert type(found.seed) in (int, type(None))
    assert n_refused > 0.7 * n_tried


@pytest.mark.parametrize("what", CASES)
def test_another_type_or_format_is_refused(what: str) -> None:
    """A configuration where a snapshot is expected, and what a newer version wrote."""
    memory, manifest = CASES[what][0]()
    assert attempt(what, memory, manifest) is not None
    for path, other in ((("type",), "config"), (("format",), 2), (("format",), True)):
        assert attempt(what, memory, changed(manifest, path, other)) is None
    for other in OTHERS:
        assert attempt(what, memory, other) is None


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def a_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x", "y")
    return stream.getvalue()[:-10]


WRONG_OBJECTS = {
    "nothing": b"",
    "text": b"hello",
    "truncated": npy(np.zeros((1, 2, 3)))[:-1],
    "pickled": npy(np.array([{}], dtype=object), allow_pickle=True),
    "npz": npz(),
    "a broken zip": a_zip(),
    "strings": npy(np.array(["a"])),
    "float32": npy(np.zeros((1, 2, 3), np.float32)),
    "complex": npy(np.zeros((1, 2, 3), complex)),
    "records": npy(np.zeros(1, dtype=[("a", "<f8")])),
    "one row too many": npy(np.zeros((2, 2, 3))),
    "no rows": npy(np.zeros((0, 2, 3))),
    "a number": npy(np.array(1.0)),
    "enormous": npy(np.zeros(3)).replace(b"(3,), }" + b" " * 12, b"(3" + b"0" * 13 + b",), }", 1),
    "header of nonsense": b"\x93NUMPY\x01\x00\x10\x00{'descr': object\n" + b"\0" * 40,
}


@pytest.mark.parametrize("what", WRONG_OBJECTS)
def test_a_walkers_array_that_is_none_is_refused(what: str) -> None:
    """An object that is no float64 stack of the right length is named; nothing is unpickled."""
    memory, manifest = snapshot_parts()
    ref = memory.put("objects", WRONG_OBJECTS[what])
    path = ("walkers", "groups", 0, "fields", "positions")
    assert attempt("snapshot", memory, changed(manifest, path, ref.to_json())) is None


def test_texts_that_are_no_utf8_are_refused() -> None:
    """Bytes where a topology or a system should be."""
    memory, manifest = snapshot_parts()
    ref = memory.put("objects", b"\xff\xfe\x00")
    path = ("apparatus", "runner", "component", "params", "system", "text")
    assert attempt("snapshot", memory, changed(manifest, path, ref.to_json())) is None


def test_a_component_of_a_newer_wepystore_is_named() -> None:
    """The message says what to do about it."""
    memory, manifest = snapshot_parts()
    for path, new, said in (
        (("apparatus", "runner", "component", "class"), "QuantumRunner", "QuantumRunner"),
        (("apparatus", "runner", "component", "version"), 99, "version 99"),
    ):
        with pytest.raises(WepystoreError, match=f"{said}.*upgrade"):
            decode_snapshot(
                changed(manifest, path, new), lambda ref: memory.entries["objects", ref.md5], "s"
            )


def test_a_group_of_nothing_is_refused_at_once() -> None:
    """A billion states without fields would otherwise fill the memory."""
    memory, manifest = snapshot_parts()
    group = {"n_states": 10**12, "fields": {}}
    variant = changed(manifest, ("walkers", "groups"), [group])
    assert attempt("snapshot", memory, variant) is None


def test_plain_configurations_decode() -> None:
    """The same helper accepts what is in order."""
    memory = Memory()
    _, ref = encode(plain_configuration(), memory)
    manifest = json.loads(memory.entries["configs", ref.md5])
    assert attempt("configuration", memory, manifest).reporters == []


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("n_cycles",), -3),
        (("n_steps",), -5),
        (("seed",), -1),
        (("environment", "platform"), 3),
        (("environment", "platform_properties"), [1]),
        (("environment", "platform_properties"), {"Threads": 4}),
    ],
)
def test_a_run_record_that_nobody_could_repeat_is_refused(path: Any, new: Any) -> None:
    """What a repetition acts by is checked when the record is read."""
    ref = EntryRef("snapshots", Ref("0" * 32, "0" * 64, 1))
    record = RunRecord(ref, ref, ref, 3, 10, 1, True, {"platform": "Reference"})
    memory = Memory()
    manifest = json.loads(memory.entries["runs", encode_run(record, memory).md5])
    assert decode_run(manifest, "run").n_cycles == 3
    with pytest.raises(MalformedRecordError, match=path[-1]):
        decode_run(changed(manifest, path, new), "run")
