"""Stores made by somebody who means harm: pickles that leave a mark, JSON and files of all kinds
that no program of ours writes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.store.helpers import add_config, add_recording, add_run, add_snapshot, entry
from wepystore.store import Store, canonical

GOOD = {"md5": "a" * 32, "sha256": "b" * 64, "size": 1}


class Marking:
    """Whoever unpickles one makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def plant(store: Store, kind: str, data: bytes) -> str:
    """A file with the right name for its bytes, whatever they are."""
    md5 = hashlib.md5(data).hexdigest()
    file = store.path / kind / md5[:2] / (md5 + ".json" if kind == "runs" else md5)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return md5


def text_with_pickle(data: bytes) -> bytes:
    """OpenMM's XML of a system that has a pickle in it."""
    return (
        '<?xml version="1.0" ?>\n<System type="System" version="1"><Forces>'
        f'<Force function="{data.hex()}" type="PythonForce" version="2"/></Forces></System>\n'
    ).encode()


def full_of_pickles(path: Path, marker: Path) -> Store:
    """A store in which every part of every entry is a pickle that makes `marker` when loaded:
    snapshots and configurations, the old format, XML, an array of objects, a file in tmp/."""
    store = Store.create(path)
    harm = pickle.dumps(Marking(marker), 4)
    part = {"pickle": store.put("objects", harm).to_json(), "of": "MyDistance"}
    old = {"pickle": store.put("objects", pickle.dumps(Marking(marker), 0)).to_json(), "of": "x"}
    xml = {"text": store.put("objects", text_with_pickle(harm)).to_json()}
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + harm
    stack = store.put("objects", array).to_json()
    walkers = {
        "weights": [1.0],
        "states": [0],
        "groups": [{"n_states": 1, "fields": {"positions": stack}}],
    }
    runner = {
        "component": {
            "class": "OpenMMRunner",
            "version": 1,
            "params": {"system": xml, "integrator": xml, "topology": None},
        }
    }
    snapshots = []
    for resampler in (part, old):
        apparatus = {"runner": runner, "boundary_conditions": part, "resampler": resampler}
        manifest = {"type": "snapshot", "format": 1, "walkers": walkers, "apparatus": apparatus}
        snapshots.append(store.put("snapshots", canonical.dumps(manifest)).md5)
    config = {
        "type": "configuration",
        "format": 1,
        "work_mapper": part,
        "reporters": [part, old],
        "monitor": part,
        "platform": None,
        "platform_properties": {"dict": {}},
    }
    config_md5 = store.put("configs", canonical.dumps(config)).md5
    happened = {**json.loads(store.read("recordings", add_recording(store, "x", 1)))}
    happened |= {"tables": [{"n_cycles": 1, "object": part["pickle"]}], "decisions": part}
    recording = plant(store, "recordings", canonical.dumps(happened | {"topology": old}))
    run = add_run(store, *snapshots, config_md5, recording=recording)
    legacy = base64.b64encode(zlib.compress(harm))
    for kind in ("snapshots", "configs", "recordings"):
        plant(store, kind, legacy)
        plant(store, kind, harm)
    plant(store, "runs", harm)
    (store.path / "tmp" / "left").write_bytes(harm)
    (store.path / "quarantine" / "bad").write_bytes(harm)
    store.set_ref("default-snapshot", snapshots[0])
    store.set_ref("default-config", config_md5)
    store.set_ref("tags/bound", snapshots[1])
    store.set_ref("tags/done", run)
    return store


def hostile_json() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of things that are not the JSON of a manifest, though some look like it."""
    deep = 100_000
    yield "deep objects", b'{"a":' * deep + b"1" + b"}" * deep
    yield "deep lists", b'{"walkers":' + b"[" * deep + b"]" * deep + b"}"
    yield "deep and open", b"[" * deep
    yield "huge number", b'{"type":"snapshot","format":1,"n_cycles":' + b"9" * 10_000 + b"}"
    yield "huge float", b'{"type":"snapshot","format":1e999}'
    yield "nan", b'{"type":"snapshot","format":1,"walkers":{"weights":[NaN]}}'
    yield "infinity", b'{"format":-Infinity}'
    yield "equal keys", b'{"type":"snapshot","type":"configuration"}'
    yield "latin-1", '{"type":"snäpshot"}'.encode("latin-1")
    yield "surrogate", b'{"type":"\\ud800"}'
    yield "utf-16", '{"type":"snapshot"}'.encode("utf-16")
    yield "nothing", b""
    yield "zeros", bytes(1000)
    yield "null", b"null"
    yield "list", b"[1, 2, 3]"
    yield "cut off", b'{"type":"snapshot","form'
    for size in (2**63, 2**64, 10**30, -1, True, 1.5, "1", None):
        yield f"size {size}", reference(size=size)
    for md5 in (
        "../../../../../../../../etc/passwd",
        "/etc/passwd",
        "A" * 32,
        "g" * 32,
        "a" * 31,
        "a" * 31 + "\n",
        "../" * 10 + "aa",
        "",
        7,
        ["a"],
    ):
        yield f"md5 {md5!r}", reference(md5=md5)
    yield "sha256", reference(sha256="../" * 21 + "x")
    for kind in ("..", "../..", "tmp", "/", "refs", 3):
        yield f"kind {kind!r}", json.dumps({"end": {**GOOD, "kind": kind}}).encode()
    # The right form, and numbers that nobody can use.
    shape = {"array": {"dtype": "<f8", "shape": [2**62, 2**62], "data": []}}
    part = {"component": {"class": "\x1b[2J", "version": 10**400, "params": {"x": shape}}}
    walkers = {"weights": [10**400, 1e308, 1e308], "states": [10**400, -1], "groups": [{}, 3]}
    odd = {"type": "snapshot", "format": 1, "walkers": walkers, "apparatus": {"runner": part}}
    yield "odd numbers", json.dumps(odd).encode()


def reference(**changes: Any) -> bytes:
    """A manifest with one reference that is not as it should be."""
    ref = {**GOOD, **changes}
    return json.dumps({"type": "snapshot", "format": 1, "walkers": {"fields": {"x": ref}}}).encode()


def hostile_arrays() -> Iterator[bytes]:
    """Files that begin like .npy and have no end, no sense or no mercy."""
    for header in (
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 0), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 3000 + b",), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"(" * 3000,
        b"[" * 3000 + b"]" * 3000,
        b"-" * 3000 + b"1",
        b"__import__('os').system('true')",
    ):
        yield b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
        yield b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + header


def ordinary(path: Path) -> tuple[Store, str, str, str]:
    """A small store of the usual kind: start, end and configuration of a run in it."""
    store = Store.create(path)
    start, end, config = add_snapshot(store, "a"), add_snapshot(store, "b"), add_config(store, "c")
    add_run(store, start, end, config)
    assert entry(store, "snapshots", start)["md5"] == start
    return store, start, end, config


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every name under a directory with the mode and the bytes or target of what it names."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = b""
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (status.st_mode, content)
    return found
