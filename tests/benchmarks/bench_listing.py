"""Listings of large stores, against a Python process that reads the same files and parses them.

    python -m tests.benchmarks.bench_listing

Processor time of whole processes, the least of some rounds in turns. 5,000 runs between ten
snapshots, so that the records are nearly all there is to read; and 10,000 runs, each from where the
one before has ended. What is read and parsed is what the command cannot do without: records for
`log`, and manifests as well for `ls runs` and `status`, which say what is incomplete.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wepystore
from tests.benchmarks import table
from tests.benchmarks.table import Row
from wepystore.store import Store, canonical

ROUNDS = 5

_READ = """
import json, os, sys
for kind in sys.argv[2:]:
    top = os.path.join(sys.argv[1], kind)
    for directory in os.listdir(top):
        for name in os.listdir(os.path.join(top, directory)):
            with open(os.path.join(top, directory, name), "rb") as file:
                json.loads(file.read())
"""


def put(root: Path, kind: str, data: bytes) -> dict[str, Any]:
    """An entry as a plain file: nobody waits for a disk."""
    md5 = hashlib.md5(data).hexdigest()
    folder = root / kind / md5[:2]
    folder.mkdir(exist_ok=True)
    (folder / (md5 + ".json" if kind == "runs" else md5)).write_bytes(data)
    return {"md5": md5, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def snapshot(root: Path, number: int, system: dict[str, Any]) -> dict[str, Any]:
    """Ten walkers in one state, as a run of WExplore leaves them."""
    names = ("positions", "velocities", "time", "box_vectors")
    fields = {name: put(root, "objects", f"{number} {name}".encode()) for name in names}

    def component(name: str, **params: Any) -> dict[str, Any]:
        return {"component": {"class": name, "version": 1, "params": params}}

    manifest = {
        "type": "snapshot",
        "format": 1,
        "walkers": {
            "weights": [0.1] * 10,
            "states": [0] * 10,
            "groups": [{"n_states": 1, "fields": fields}],
        },
        "apparatus": {
            "runner": component("OpenMMRunner", system={"text": system}, platform="Reference"),
            "resampler": component("WExploreResampler", pmax=0.5, pmin=1e-12),
            "boundary_conditions": component("NoBC"),
        },
    }
    return put(root, "snapshots", canonical.dumps(manifest))


def record(
    number: int, start: dict[str, Any], end: dict[str, Any], config: dict[str, Any]
) -> bytes:
    """A run record with all that one holds."""
    environment = dict.fromkeys(
        ("cpu", "cpu_flags", "libc", "libm", "machine", "numpy", "openmm", "os", "python"),
        "some twenty letters of it",
    )
    execution = {
        "begun": "2026-01-31T18:00:00+00:00",
        "checkpoints": [[number, 1.5], [2 * number, 3.0]],
        "complete": True,
        "ended_by": "n_cycles",
        "job_name": f"job{number}",
        "n_walkers": 10,
        "n_warped": number % 7,
        "n_workers": 1,
        "narration": "",
        "platform_override": None,
        "resumed_from": [],
        "step_size_ps": 0.002,
        "stopped_by": None,
        "wall_s": 12.5,
    }
    return canonical.dumps(
        {
            "type": "run",
            "format": 1,
            "start": {"kind": "snapshots", **start},
            "end": {"kind": "snapshots", **end},
            "config": {"kind": "configs", **config},
            "n_cycles": number,
            "n_steps": 1000,
            "seed": number,
            "reproducible": True,
            "environment": environment | {"platform": "Reference", "platform_properties": {}},
            "execution": execution,
        }
    )


def make(root: Path, n_runs: int, n_snapshots: int) -> Path:
    """Runs from each snapshot to the next, over and over."""
    Store.create(root)
    system = put(root, "objects", b"<System/>")
    config = put(
        root, "configs", canonical.dumps({"type": "configuration", "format": 1, "reporters": []})
    )
    snapshots = [snapshot(root, number, system) for number in range(n_snapshots)]
    for number in range(n_runs):
        k = number % (n_snapshots - 1)
        put(root, "runs", record(number, snapshots[k], snapshots[k + 1], config))
    return root


def processor_seconds(*argv: object) -> float:
    """Of one interpreter that succeeds, user and system."""
    environment = {**os.environ, "PYTHONPATH": str(Path(wepystore.__file__).parents[1])}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *map(str, argv)], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(*commands: tuple[object, ...]) -> list[float]:
    """The least processor time of each, measured in turns."""
    best = [float("inf")] * len(commands)
    for _ in range(ROUNDS):
        for place, argv in enumerate(commands):
            best[place] = min(best[place], processor_seconds(*argv))
    return best


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each listing against reading what it reads."""
    every = ("runs", "snapshots", "configs")
    with tempfile.TemporaryDirectory() as folder:
        few = make(Path(folder) / "few.orch", 5_000, 10)
        chain = make(Path(folder) / "chain.orch", 10_000, 10_001)
        for what, store, line, kinds, most in (
            ("ls runs, 5,000 runs", few, ("ls", "runs"), every, 3),
            ("ls runs --long, 5,000 runs", few, ("ls", "runs", "--long"), every, None),
            ("log, 5,000 runs", few, ("log",), every[:1], 3),
            ("status, 5,000 runs", few, ("status",), every, 3),
            ("log --graph, 10,000 in a chain", chain, ("log", "--graph"), every[:1], 6),
            ("ls runs, 10,000 in a chain", chain, ("ls", "runs"), every, None),
            ("status, 10,000 in a chain", chain, ("status",), every, None),
        ):
            took, bare = least(("-m", "wepystore", *line, store), ("-c", _READ, store, *kinds))
            detail = f"{took:.2f} s of processor, {bare:.2f} s"
            yield Row(what, took / bare, "x read and parse", most=most, detail=detail)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
