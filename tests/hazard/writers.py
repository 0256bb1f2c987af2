"""One of many processes that work on one store at the same time.

As a program: writers.py (write|read) STORE SECONDS SEED SOURCE…; prints what it did as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.store.helpers import add_config, add_run, add_snapshot
from wepystore.cli.main import main
from wepystore.store import KINDS, Store, merge
from wepystore.store.completeness import may_be_elsewhere
from wepystore.store.resolving import resolve

# So few that most of what is added is there already, or is just being added by somebody else.
LABELS = 60


def write(store: Store, until: float, draw: random.Random, sources: list[Store]) -> dict[str, Any]:
    """Adds and reconciles what others add too; everything that it was told to be there."""
    made: dict[str, set[str]] = {kind: set() for kind in KINDS[1:]}
    acts = 0
    while time.monotonic() < until:
        acts += 1
        labels = [str(draw.randrange(LABELS)) for _ in range(3)]
        act = draw.randrange(4)
        if act < 2:
            start, end = (add_snapshot(store, label, 3) for label in labels[:2])
            config = add_config(store, labels[2])
            made["snapshots"] |= {start, end}
            made["configs"].add(config)
            made["runs"].add(run := add_run(store, start, end, config))
            made["recordings"].add(recording := store.manifest("runs", run)["recording"]["md5"])
            made["frames"].add(store.manifest("recordings", recording)["frames"]["entry"]["md5"])
        elif act == 2:
            source, frames = draw.choice(sources), draw.random() < 0.5
            outcome = merge.apply(merge.plan(store, [source], frames=frames))
            assert not outcome.left, outcome.left
            for kind in made:
                made[kind] |= set(source.hashes(kind)) if frames or kind != "frames" else set()
        else:
            with store.batch() as batch:
                # Large: hashed and written by several threads.
                batch.put("objects", labels[0].encode() * 800_000)
                batch.put("objects", draw.randbytes(5000))
            md5 = draw.choice(sorted(made["snapshots"]) or [add_snapshot(store, labels[0], 3)])
            store.set_ref(f"tags/shared{draw.randrange(3)}", md5)
    return {"acts": acts, **{kind: sorted(hashes) for kind, hashes in made.items()}}


def read(store: Store, until: float, draw: random.Random, sources: list[Store]) -> dict[str, Any]:
    """Lists, shows, and reads with verification; nothing that was seen may go."""
    acts = 0
    seen: dict[str, set[str]] = {}
    while time.monotonic() < until:
        acts += 1
        for kind in ("runs", "recordings", "frames", "snapshots", "configs"):
            hashes = set(store.hashes(kind))
            assert seen.setdefault(kind, set()) <= hashes, f"{seen[kind] - hashes} have gone"
            seen[kind] = hashes
            for md5 in draw.sample(sorted(hashes), min(5, len(hashes))):
                for part, ref in store.references(kind, md5):
                    # They may not have come yet.
                    if not may_be_elsewhere(kind, part) or store.has(part, ref.md5):
                        store.read(part, ref.md5, ref)
        for tag in store.tag_names():
            assert resolve(store, tag)[1] in seen["snapshots"] | set(store.hashes("snapshots"))
        lines = [["ls", "snapshots", str(store.path)], ["status", str(store.path)]]
        if seen["snapshots"]:
            lines.append(["show", str(store.path), draw.choice(sorted(seen["snapshots"]))])
        for line in lines:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = main(line)
            assert status == 0, (line, status, out.getvalue())
    return {"acts": acts}


if __name__ == "__main__":
    what, path, seconds, seed, *others = sys.argv[1:]
    work = {"write": write, "read": read}[what]
    try:
        answer = work(
            Store.open(path),
            time.monotonic() + float(seconds),
            random.Random(seed),
            [Store.open(Path(other)) for other in others],
        )
    except BaseException:
        answer = {"failed": traceback.format_exc()}
    print(json.dumps(answer))
