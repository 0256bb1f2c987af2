"""Frames that a stranger has made: whoever reads them, mapped or verified, is told in one line what
is wrong, and takes no more memory than they have bytes."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hazard.hostile import plant
from tests.systems import run_job
from wepystore.api import Prepared, Store, load_frames, load_run
from wepystore.errors import DamagedError
from wepystore.orchestrator.run import recorder
from wepystore.records import frames, npy
from wepystore.records.run_frames import read_cycles, read_frames
from wepystore.records.tables import read_recording
from wepystore.store import canonical
from wepystore.store.names import EntryRef, Ref

#: In blocks of two.
N_CYCLES = 5


@pytest.fixture(scope="module")
def original(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only to be copied."""
    folder = tmp_path_factory.mktemp("strange") / "job"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "block_cycles_for", lambda n_walkers: 2)
        patch.setattr(frames, "block_cycles_for", lambda n_walkers, n_bytes, every: 2 * every)
        run_job(pair_store.store, pair_store.snapshot_hash, folder, n_cycles=N_CYCLES)
    return folder / "checkpoint.orch"


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Store:
    shutil.copytree(original, tmp_path / "a.orch")
    return Store.open(tmp_path / "a.orch")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A gigabyte more than there is taken already."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def changed(store: Store, change: Callable[[dict[str, Any]], object]) -> str:
    """The record's hash after the manifest of its frames has been replaced by another."""
    (run,) = store.hashes("runs")
    record = store.manifest("runs", run)
    recording = store.manifest("recordings", record["recording"]["md5"])
    manifest = store.manifest("frames", recording["frames"]["entry"]["md5"])
    change(manifest)
    entry = planted(store, "frames", manifest)
    recording["frames"]["entry"] = entry.to_json()
    with suppress(DamagedError):
        # Whoever makes one up can have the recording tell of it.
        told = frames.FramesSummary.of(frames.decode_frames(manifest, "it"), entry)
        recording["frames"] = told.to_json()
    return with_recording(store, recording)


def planted(store: Store, kind: str, value: dict[str, Any]) -> EntryRef:
    data = json.dumps(value).encode()
    plant(store, kind, data)
    return EntryRef(kind, Ref.of(data))


def with_recording(store: Store, recording: dict[str, Any]) -> str:
    """The record's hash after its recording has been replaced by another."""
    (run,) = store.hashes("runs")
    record = store.manifest("runs", run)
    record["recording"] = planted(store, "recordings", recording).to_json()
    store.remove("runs", run)
    return store.put("runs", canonical.dumps(record)).md5


def looked_at(store: Store, run: str) -> None:
    """All of them, by cycles and by walkers."""
    found = load_frames(store, run)
    for walker in range(int(found.n_walkers.max())):
        found.walker(walker)
    for cycle in found.cycles.tolist():
        found.cycle(cycle)


def verified(store: Store, run: str) -> None:
    """All of them, as a repetition of the run is compared with them."""
    recording = read_recording(store, load_run(store, run))
    assert recording is not None
    found = read_frames(store, recording, "they")
    counts = np.full(N_CYCLES, 6)
    read_cycles(store, found, counts, 0, N_CYCLES, "they")


def assert_damaged(store: Store, run: str) -> None:
    """For both ways to read them, in one line."""
    for read in (looked_at, verified):
        with pytest.raises(DamagedError) as told:
            read(store, run)
        assert "\n" not in str(told.value)


def first(manifest: dict[str, Any]) -> Any:
    """The first object, which is of all walkers in two cycles."""
    return manifest["blocks"][0]["parts"][0]


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "more walkers than any memory holds": lambda m: first(m).update(n_walkers=(1 << 32) - 1),
    "walkers beyond number": lambda m: first(m).update(n_walkers=10**30),
    "fewer walkers": lambda m: first(m).update(n_walkers=5),
    "walkers twice": lambda m: m["blocks"][0].update(parts=[first(m), first(m)]),
    "no walkers": lambda m: m["blocks"][0].update(parts=[]),
    "other cycles": lambda m: m.update(block_cycles=3),
    "fewer cycles": lambda m: m.update(n_cycles=4, blocks=m["blocks"][:-1]),
    "every cycle but the first": lambda m: m.update(every=0),
    "every so many": lambda m: m.update(every=1 << 31, block_cycles=1 << 31),
    "another shape": lambda m: m["fields"][0].update(shape=[1 << 20, 1 << 18]),
    "any number of axes": lambda m: m["fields"][0].update(shape=[1] * 80),
    "another type": lambda m: m["fields"][0].update(dtype="<f8"),
    "a pickle": lambda m: m["fields"][0].update(dtype="|O"),
    "no fields": lambda m: m.update(fields=[]),
    "a single number": lambda m: m["fields"][0].update(shape=[]),
    "atoms that are frames": lambda m: m.update(atoms=first(m)["object"]),
    "more keys": lambda m: m.update(films=[]),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_manifests(store: Store, what: str, little_memory: None) -> None:
    """Numbers that lie, and what no version has written."""
    assert_damaged(store, changed(store, MANIFESTS[what]))


SUMMARIES: dict[str, dict[str, Any]] = {
    "other fields": {"fields": ["velocities"]},
    "other atoms": {"n_atoms": 3},
    "other cycles": {"every": 2},
    "another precision": {"precision": "float64"},
    "another size": {"n_bytes": 1},
}


@pytest.mark.parametrize("what", SUMMARIES)
def test_what_the_recording_tells_of_them(store: Store, what: str) -> None:
    """It decides what covers what, and what a removal is said to free: it is to be true."""
    (recording,) = store.hashes("recordings")
    manifest = store.manifest("recordings", recording)
    manifest["frames"].update(SUMMARIES[what])
    assert_damaged(store, with_recording(store, manifest))


@pytest.mark.parametrize("atoms", [[0], [0, 1, 2], [0, 0], [-1, 0], [], [[0, 1]], [0.0, 1.0]])
def test_atoms(store: Store, atoms: Any) -> None:
    """Numbers of atoms that go with no positions of two."""
    ref = store.put("objects", npy.array_buffers(np.array(atoms), "it"))
    assert_damaged(store, changed(store, lambda m: m.update(atoms=ref.to_json())))


#: Of the positions, (n, 2, 3), and of what is missing, (0, 2).
ARRAYS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "fewer rows": lambda p, m: [p[:-1], m],
    "more rows": lambda p, m: [np.concatenate([p, p]), m],
    "whole numbers": lambda p, m: [p.astype(np.int64), m],
    "double precision": lambda p, m: [p.astype(float), m],
    "flat": lambda p, m: [p.reshape(-1), m],
    "a single number": lambda p, m: [np.array(3.0), m],
    "nothing": lambda p, m: [],
    "nothing missing": lambda p, m: [p],
    "more arrays": lambda p, m: [p, p, m],
    "missing beyond all rows": lambda p, m: [p, np.array([[0, len(p)]])],
    "missing before all rows": lambda p, m: [p, np.array([[0, -1]])],
    "missing of no field": lambda p, m: [p, np.array([[1, 0]])],
    "missing as text": lambda p, m: [p, np.zeros((1, 2), np.uint8)],
    "missing by three": lambda p, m: [p, np.zeros((1, 3), np.int64)],
}


@pytest.mark.parametrize("block", [0, -1])
@pytest.mark.parametrize("what", ARRAYS)
def test_objects(store: Store, what: str, block: int) -> None:
    """Arrays that do not go together with their manifest, in a full block, which is mapped, and in
    the last one, of which rows are read."""

    def change(manifest: dict[str, Any]) -> None:
        part = manifest["blocks"][block]["parts"][0]
        arrays = npy.load_several(store.object(Ref.from_json(part["object"], "it")), "it")
        buffers = [each for array in ARRAYS[what](*arrays) for each in npy.buffers(array)]
        part["object"] = store.put("objects", buffers).to_json()

    assert_damaged(store, changed(store, change))


def test_an_object_that_is_shortened(store: Store) -> None:
    """What is mapped is not this one any more: to look at it is damage, and no signal."""
    (run,) = store.hashes("runs")
    recording = read_recording(store, load_run(store, run))
    assert recording is not None
    blocks = read_frames(store, recording, "they").blocks
    for block in (blocks[0], blocks[-1]):
        file = store.file("objects", block.parts[0].ref.md5)
        data = file.read_bytes()
        file.write_bytes(data[:-8])
        assert_damaged(store, run)
        file.write_bytes(data)
    looked_at(store, run)
