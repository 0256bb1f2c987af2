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
    """The reference to a snapshot or configuration that a run record holds."""
    data = store.file(kind, md5).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return {"kind": kind, "md5": md5, "sha256": sha256, "size": len(data)}


def add_run(store: Store, start: str, end: str, config: str, n_cycles: int = 12) -> str:
    """A run record between two snapshots of the store."""
    record = {
        "type": "run",
        "format": 1,
        "start": entry(store, "snapshots", start),
        "end": entry(store, "snapshots", end),
        "config": entry(store, "configs", config),
        "n_cycles": n_cycles,
        "n_steps": 10,
        "seed": 1,
    }
    return store.put("runs", canonical.dumps(record)).md5


def contents(store: Store) -> dict[str, list[str]]:
    """All hashes of all kinds."""
    return {kind: store.hashes(kind) for kind in KINDS}


def check(root: Path) -> None:
    """S1 with nothing but hashlib: every file is named by the MD5 of its bytes; tmp/ is empty."""
    for kind in KINDS:
        for file in (root / kind).glob("*/*"):
            md5 = hashlib.md5(file.read_bytes()).hexdigest()
            assert file.name == (md5 + ".json" if kind == "runs" else md5)
            assert file.parent.name == md5[:2]
    assert not list((root / "tmp").iterdir())


def memory() -> str | None:
    """A file system in memory, if there is one: for tests of many small stores, most of whose
    time would go into waiting for a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
