"""Recordings that a stranger has made, written to files: in one line it is said what is wrong with
them, or the files are written, and nothing else is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hazard.hostile import plant
from tests.systems import pair_snapshot, run_job
from wepystore.api import (
    Configuration,
    Recording,
    SerialMapper,
    Store,
    WepystoreError,
    export_run,
    export_runs,
    prepare_store,
)
from wepystore.records import npy
from wepystore.records.frames import FramesSummary, decode_frames
from wepystore.records.recording import buffers_of
from wepystore.store import canonical
from wepystore.store.names import EntryRef, Ref


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only to be copied."""
    folder = tmp_path_factory.mktemp("strange") / "job"
    keeps = Configuration(SerialMapper(), recording=Recording(("positions", "velocities")))
    prepared = prepare_store(folder.with_name("a.orch"), pair_snapshot(), keeps)
    run_job(prepared.store, prepared.snapshot_hash, folder, n_cycles=2)
    return folder / "checkpoint.orch"


def changed(
    store: Store,
    recording: Callable[[dict[str, Any]], object] | None = None,
    frames: Callable[[dict[str, Any]], object] | None = None,
    topology: bytes | None = None,
    columns: Callable[[dict[str, Any]], object] | None = None,
) -> str:
    """The record's hash after parts of what it names have been replaced."""
    (run,) = store.hashes("runs")
    record = store.manifest("runs", run)
    held = store.manifest("recordings", record["recording"]["md5"])
    kept = store.manifest("frames", held["frames"]["entry"]["md5"])
    if topology is not None:
        held["topology"] = put(store, "objects", topology).to_json()
    if columns is not None:
        (part,) = held["tables"]
        data = store.read("objects", part["object"]["md5"])
        found = dict(zip(held["columns"], npy.load_several(data, ""), strict=True))
        columns(found)
        held["columns"] = sorted(found)
        data = b"".join(map(bytes, buffers_of({name: found[name] for name in sorted(found)})))
        part["object"] = put(store, "objects", data).to_json()
    if frames is not None:
        frames(kept)
        entry = EntryRef("frames", put(store, "frames", canonical.dumps(kept)))
        held["frames"] = FramesSummary.of(decode_frames(kept, "it"), entry).to_json()
    if recording is not None:
        recording(held)
    ref = put(store, "recordings", json.dumps(held).encode())
    record["recording"] = EntryRef("recordings", ref).to_json()
    return put(store, "runs", canonical.dumps(record)).md5


def put(store: Store, kind: str, data: bytes) -> Ref:
    plant(store, kind, data)
    return Ref.of(data)


def renamed(number: int, name: str) -> Callable[[dict[str, Any]], object]:
    """Gives a field of the frames another name; they stay sorted if it comes last."""

    def change(kept: dict[str, Any]) -> None:
        kept["fields"][number]["name"] = name

    return change


def system(*atoms: dict[str, Any], bonds: Any = ()) -> dict[str, Any]:
    """A topology of one residue."""
    residue = {"index": 0, "name": "R", "resSeq": 1, "segmentID": "", "atoms": atoms}
    chains = [{"index": 0, "residues": [residue]}]
    return {"topology": json.dumps({"chains": chains, "bonds": bonds}).encode()}


def atom(index: int, name: str = "A", element: str = "Ar") -> dict[str, Any]:
    return {"index": index, "name": name, "element": element}


def with_column(name: str) -> dict[str, Any]:
    """One more column of warps, of which there are none."""
    return {"columns": lambda found: found.update({name: np.zeros(0)})}


def of_more_walkers(kept: dict[str, Any]) -> None:
    """Of whose rows a list would take a gigabyte."""
    kept["blocks"][0]["parts"][-1]["n_walkers"] += 1 << 27


def without_cycles(found: dict[str, Any]) -> None:
    found["resampling/cycle_idx"] = found["resampling/cycle_idx"] * 0 - 7


def far_atoms(store: Store) -> dict[str, Any]:
    """Frames of two atoms, of which one is number a thousand million; and no topology."""
    ref = put(store, "objects", b"".join(map(bytes, npy.array_buffers(np.array([0, 10**9]), ""))))
    return {
        "frames": lambda kept: kept.update(atoms=ref.to_json()),
        "recording": lambda held: held.update(topology=None),
    }


ALL = {"a.h5", "a.pdb", "a.dcd", "b.h5"}
IN_HDF5 = {"a.h5", "b.h5"}
#: What is strange, and of which files it is told; the others are written.
STRANGE: dict[str, tuple[Any, set[str]]] = {
    "a field with a path": ({"frames": renamed(1, "q/../../x")}, IN_HDF5),
    "a field in a field": ({"frames": renamed(1, "positions/x")}, IN_HDF5),
    "a field like another dataset": ({"frames": renamed(1, "weights")}, IN_HDF5),
    "a field with a zero": ({"frames": renamed(1, "q\0q")}, set()),
    "walkers without end": ({"frames": of_more_walkers}, ALL),
    "no positions": ({"frames": renamed(0, "places")}, ALL),
    "a topology that is none": ({"topology": b"[]"}, ALL),
    "a topology of bytes": ({"topology": b"\xff\xfe"}, ALL),
    "a topology without end": ({"topology": b"[" * 10_000}, ALL),
    "one atom": (system(atom(0)), ALL),
    "bonds of nothing": (system(atom(0), atom(1), bonds=[[0, 7], [], 3]), ALL - IN_HDF5),
    "no element": (system(atom(0, element="Qq"), atom(1)), ALL - IN_HDF5),
    "a name of lines": (system(atom(0, name="\n"), atom(1)), set()),
    "decisions with paths": (
        {"recording": lambda held: held["decisions"].update({"a/b/../c": 7, "": 8})},
        IN_HDF5,
    ),
    "a summary of any table": (
        {"recording": lambda held: held["summaries"].update({"../x": ["y"]})},
        set(),
    ),
    "a summary of no text": (
        {"recording": lambda held: held["summaries"].update({"warping": ["\ud800"]})},
        ALL,
    ),
    "a column with a path": (with_column("warping/../x"), IN_HDF5),
    "a column like the cycles": (with_column("warping/_cycle_idxs"), IN_HDF5),
    "records of other cycles": ({"columns": without_cycles}, set()),
    "an atom beyond number": (far_atoms, ALL),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_strange_recordings_are_told_of(
    original: Path, tmp_path: Path, strange: tuple[Any, set[str]]
) -> None:
    """Of each kind of file, or it is written."""
    store = Store.open(shutil.copytree(original, tmp_path / "a.orch"))
    changes = strange[0](store) if callable(strange[0]) else strange[0]
    run, told = changed(store, **changes), set()
    out = tmp_path / "out"
    out.mkdir()
    for name in sorted(ALL):
        before = set(out.iterdir())
        try:
            if name == "b.h5":
                export_runs(store, out / name, [run])
            else:
                export_run(store, run, out / name, replace=True)
        except (WepystoreError, OSError) as error:
            # One of the system has the name of the file.
            assert "\n" not in str(error)
            assert set(out.iterdir()) == before
            told.add(name)
    assert told == strange[1]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.orch", "out"]
