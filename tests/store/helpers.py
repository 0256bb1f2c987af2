"""Small stores made by hand: any JSON with references is a manifest to this layer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wepystore.store import Store, canonical
from wepystore.store.names import KINDS


def add_snapshot(store: Store, label: str, parts: int = 2) -> str:
    """A snapshot of `parts` objects; equal labels give equal snapshots."""
    with store.batch() as batch:
        refs = batch.put_many("objects", [f"{label}/{i}".encode() * 20 for i in range(parts)])
        shared = batch.put("objects", b"the apparatus, the same in all of them")
        manifest = {
            "type": "snapshot",
            "format": 1,
            "walkers": {"fields": {str(i): ref.to_json() for i, ref in enumerate(refs)}},
            "apparatus": {"system": shared.to_json()},
        }
        return batch.put("snapshots", canonical.dumps(manifest)).md5


def add_config(store: Store, label: str) -> str:
    """A configuration of one object."""
    with store.batch() as batch:
        part = batch.put("objects", f"config {label}".encode())
        manifest = {"type": "configuration", "format": 1, "monitor": part.to_json()}
        return batch.put("configs", canonical.dumps(manifest)).md5


def entry(store: Store, kind: str, md5: str) -> dict[str, object]:
    """The reference to an entry that a run record holds."""
    data = store.file(kind, md5).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return {"kind": kind, "md5": md5, "sha256": sha256, "size": len(data)}


def add_frames(store: Store, label: str, n_cycles: int = 12) -> str:
    """Frames of so many cycles, in a block of eight and a piece. Of all labels the block is the
    same."""
    counts = [8, n_cycles - 8] if n_cycles > 8 else [n_cycles]
    of = ["the first frames", f"frames of {label}"]
    with store.batch() as batch:
        objects = [batch.put("objects", text.encode() * 50).to_json() for text in of[: len(counts)]]
        manifest = {
            "type": "frames",
            "format": 1,
            "n_cycles": n_cycles,
            "every": 1,
            "block_cycles": 8,
            "fields": [{"name": "positions", "shape": [2, 3], "dtype": "<f4"}],
            "atoms": None,
            "blocks": [
                {"n_cycles": count, "parts": [{"n_walkers": 1, "object": ref}]}
                for count, ref in zip(counts, objects, strict=True)
            ],
        }
        return batch.put("frames", canonical.dumps(manifest)).md5


def add_recording(store: Store, label: str, n_cycles: int = 12) -> str:
    """A recording of so many cycles, in blocks of five and a piece, with frames. Of all labels the
    first block is the same, as it is of a run and one that goes on from it."""
    frames = add_frames(store, label, n_cycles)
    counts = [5] * (n_cycles // 5) + [n_cycles % 5] * (n_cycles % 5 > 0)
    of = ["the beginning", *[f"{label}/{place}" for place in range(1, len(counts))]]
    with store.batch() as batch:
        objects = [batch.put("objects", text.encode() * 20).to_json() for text in of[: len(counts)]]
        manifest = {
            "type": "recording",
            "format": 2,
            "n_cycles": n_cycles,
            "n_steps": 10,
            "block_cycles": 5,
            "columns": ["missing", "n_walkers", "weights"],
            "tables": [
                {"n_cycles": count, "object": ref}
                for count, ref in zip(counts, objects, strict=True)
            ],
            "decisions": {"NOTHING": 1},
            "summaries": {},
            "topology": None,
            "frames": {
                "entry": entry(store, "frames", frames),
                "fields": ["positions"],
                "n_atoms": 2,
                "every": 1,
                "precision": "float32",
                "n_bytes": 800,
            },
        }
        return batch.put("recordings", canonical.dumps(manifest)).md5


def add_run(
    store: Store,
    start: str,
    end: str,
    config: str,
    n_cycles: int = 12,
    recording: str | None = None,
) -> str:
    """A run record between two snapshots of the store, with a recording."""
    recording = recording or add_recording(store, f"{start}{end}{config}", n_cycles)
    record = {
        "type": "run",
        "format": 2,
        "recording": entry(store, "recordings", recording),
        "start": entry(store, "snapshots", start),
        "end": entry(store, "snapshots", end),
        "config": entry(store, "configs", config),
        "n_cycles": n_cycles,
        "n_steps": 10,
        "seed": 1,
        "reproducible": True,
        "environment": {},
        "execution": {"complete": True},
    }
    return store.put("runs", canonical.dumps(record)).md5


def attach(store: Store, run: str, recording: str) -> str:
    """An attachment of a recording to a run."""
    manifest = {
        "type": "attachment",
        "format": 1,
        "run": entry(store, "runs", run),
        "recording": entry(store, "recordings", recording),
    }
    return store.put("attachments", canonical.dumps(manifest)).md5


def contents(store: Store) -> dict[str, list[str]]:
    """All hashes of all kinds."""
    return {kind: store.hashes(kind) for kind in KINDS}


def check(root: Path) -> None:
    """S1 with nothing but hashlib: every file is named by the MD5 of its bytes; tmp/ is empty, but
    for a note of where frames are."""
    for kind in KINDS:
        for file in (root / kind).glob("*/*"):
            md5 = hashlib.md5(file.read_bytes()).hexdigest()
            assert file.name == (md5 + ".json" if kind == "runs" else md5)
            assert file.parent.name == md5[:2]
    assert not {file.name for file in (root / "tmp").iterdir()} - {"elsewhere"}


def memory() -> str | None:
    """A file system in memory, if there is one: for tests of many small stores, most of whose
    time would go into waiting for a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
