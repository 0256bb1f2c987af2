"""Adding, verifying and merging side by side with restic, borg, disk-objectstore and DVC.

    python -m tests.benchmarks.bench_peers [--set A|B|small] [--rounds N] [--python PYTHON] [DIR]

PYTHON is the interpreter of an environment with disk-objectstore and dvc; restic and borg are
looked for on PATH. What is not installed is left out. Each is a process of its own, started
anew, as a user would; compression and encryption are off where they can be. Figures are medians
in seconds, and how many times ours they are.

- add: the files of a directory (bench_bulk's sets; `small`: 2,000 of 4 KiB and 4 of 10 MB) into
  an empty store. Ours reads them in one batch. What a peer does not make durable is its gain.
- verify: read everything and compare it with its hashes.
- merge: a store with all the files into one that has half of them.

A peer that is faster in anything is a limit missed: that is what we want to know.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import bench_bulk, table
from tests.benchmarks.table import Lacking, Misused, Row
from wepystore.store import Store

LEFT_OUT = {"": "ten minutes; restic, borg, and --python of disk-objectstore and dvc"}

bench_bulk.SETS["small"] = (2_000, 4096, 4, 10_000_000)
ACTS = ("add", "verify", "merge")
ROOT = Path(__file__).parents[2]

OUR_ADD = """
import os, sys
from tests.benchmarks.bench_bulk import add_files, add_manifests
from wepystore.store import Store
top, store = sys.argv[1:]
paths = [d + "/" + f for d, _, names in os.walk(top) for f in names]
store = Store.create(store)
add_manifests(store, add_files(store, paths))
"""

# disk-objectstore has no command that adds a directory.
DOS_ADD = """
import os, sys
from disk_objectstore import Container
way, top, folder = sys.argv[1:]
container = Container(folder)
container.init_container()
contents = []
for d, _, names in os.walk(top):
    for name in names:
        with open(d + "/" + name, "rb") as file:
            if way == "loose":
                container.add_object(file.read())
            else:
                contents.append(file.read())
if way == "pack":
    container.add_objects_to_pack(contents)
"""
DOS_VERIFY = """
import sys
from disk_objectstore import Container
assert Container(sys.argv[1]).validate().is_valid()
"""
DOS_MERGE = """
import sys
from disk_objectstore import Container
ours, theirs = map(Container, sys.argv[1:])
ours.import_objects(list(theirs.list_all_objects()), theirs)
"""

Command = Callable[[], list[list[str]]]


def commands(folder: Path, python: str | None) -> dict[str, dict[str, Command]]:
    """For each peer, each act as command lines; `all` holds the files and `half` half of them;
    X-all is the store that `add` makes, X-half a copy of one of the half."""
    f = str(folder)
    wepy = [sys.executable, "-m", "wepystore"]
    peers: dict[str, dict[str, Command]] = {
        "wepystore": {
            "half": lambda: [[sys.executable, "-c", OUR_ADD, f"{f}/half", f"{f}/wepystore-half"]],
            "add": lambda: [[sys.executable, "-c", OUR_ADD, f"{f}/all", f"{f}/wepystore-all"]],
            "verify": lambda: [[*wepy, "fsck", f"{f}/wepystore-all"]],
            "merge": lambda: [
                [*wepy, "reconcile", "orch", f"{f}/wepystore-half", f"{f}/wepystore-all"]
            ],
        }
    }
    if shutil.which("restic"):
        base = ["restic", "--no-cache", "-q"]

        def restic(which: str) -> list[list[str]]:
            repo = ["-r", f"{f}/restic-{which}"]
            # Version 1 of the format does not compress; it always encrypts.
            return [
                [*base, *repo, "init", "--repository-version", "1"],
                [*base, *repo, "backup", f"{f}/{which}"],
            ]

        all_repo = ["-r", f"{f}/restic-all"]
        peers["restic"] = {
            "half": lambda: restic("half"),
            "add": lambda: restic("all"),
            "verify": lambda: [[*base, *all_repo, "check", "--read-data"]],
            "merge": lambda: [
                [*base, "-r", f"{f}/restic-half", "copy", "--from-repo", f"{f}/restic-all"]
            ],
        }
    if shutil.which("borg"):

        def borg(which: str) -> list[list[str]]:
            repo = f"{f}/borg-{which}"
            return [
                ["borg", "init", "-e", "none", repo],
                ["borg", "create", "-C", "none", f"{repo}::a", f"{f}/{which}"],
            ]

        # borg 1 has no command that brings archives from one repository into another.
        peers["borg"] = {
            "add": lambda: borg("all"),
            "verify": lambda: [["borg", "check", "--verify-data", f"{f}/borg-all"]],
        }
    if python is None:
        return peers
    for way in ("loose", "pack"):

        def dos(which: str, way: str = way) -> list[list[str]]:
            return [[python, "-c", DOS_ADD, way, f"{f}/{which}", f"{f}/dos-{way}-{which}"]]

        peers[f"disk-objectstore, {way}"] = {
            "half": lambda dos=dos: dos("half"),
            "add": lambda dos=dos: dos("all"),
            "verify": lambda way=way: [[python, "-c", DOS_VERIFY, f"{f}/dos-{way}-all"]],
            "merge": lambda way=way: [
                [python, "-c", DOS_MERGE, f"{f}/dos-{way}-half", f"{f}/dos-{way}-all"]
            ],
        }
    dvc = str(Path(python).parent / "dvc")

    def dvc_add(which: str) -> list[list[str]]:
        # In place of the user's files DVC leaves copies of the cache's.
        where = f"{f}/dvc-{which}"
        return [
            ["mkdir", where],
            ["cp", "-r", f"{f}/{which}", f"{where}/data"],
            [dvc, "--cd", where, "init", "-q", "--no-scm"],
            [dvc, "--cd", where, "add", "-q", "data"],
        ]

    def dvc_merge() -> list[list[str]]:
        where = f"{f}/dvc-all"
        there = f"{f}/dvc-half/.dvc/cache"
        return [
            [
                dvc,
                "--cd",
                where,
                "remote",
                "add",
                "-q",
                "-f",
                "-d",
                "x",
                there,
            ],
            [dvc, "--cd", where, "push", "-q"],
        ]

    peers["DVC"] = {
        "half": lambda: dvc_add("half"),
        "add": lambda: dvc_add("all"),
        # DVC has no command that reads its cache and compares it with its hashes.
        "merge": dvc_merge,
    }
    return peers


def timed(lines: list[list[str]]) -> float:
    """Seconds for the last of them; those before only prepare."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RESTIC_PASSWORD": "x",
        "RESTIC_FROM_PASSWORD": "x",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_BASE_DIR": str(Path(tempfile.gettempdir()) / "bench-borg"),
        "DVC_NO_ANALYTICS": "1",
    }
    taken = 0.0
    for line in lines:
        os.sync()
        start = time.perf_counter()
        done = subprocess.run(line, env=env, capture_output=True, text=True)
        taken = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{line[:6]}: {done.stderr[-800:]}")
    return taken


def clear(folder: Path, ending: str) -> None:
    for path in folder.glob("*-" + ending):
        shutil.rmtree(path, ignore_errors=True)


def measure(
    folder: Path, which: str, rounds: int, python: str | None
) -> dict[str, dict[str, float]]:
    """Medians of each peer and act."""
    paths = bench_bulk.make_files(folder / "all", which)
    for path in paths[::2]:
        half = folder / "half" / Path(path).relative_to(folder / "all")
        half.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, half)
    peers = commands(folder, python)
    times: dict[str, dict[str, list[float]]] = {peer: {} for peer in peers}
    for _ in range(rounds):
        for peer, acts in peers.items():
            for act in ACTS:
                if act not in acts:
                    continue
                if act == "merge":
                    timed(acts["half"]())
                times[peer].setdefault(act, []).append(timed(acts[act]()))
            if peer == "wepystore":
                whole = Store.open(folder / "wepystore-half")
                assert len(whole.hashes("objects")) == len(paths)
            clear(folder, "all")
            clear(folder, "half")
            print(f"{peer}: { ({a: round(t[-1], 2) for a, t in times[peer].items()}) }", flush=True)
    return {
        peer: {act: statistics.median(taken) for act, taken in acts.items()}
        for peer, acts in times.items()
    }


def rows(arguments: list[str]) -> Iterator[Row]:
    """Each act of each peer, in ours."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--set", choices=list(bench_bulk.SETS), default="A")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python")
    parser.add_argument("directory", nargs="?")
    try:
        options = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        raise Misused(error) from None
    if len(commands(Path(), options.python)) == 1:
        raise Lacking("restic and borg (packages restic, borgbackup), and no --python PYTHON given")
    folder = Path(tempfile.mkdtemp(dir=options.directory))
    try:
        found = measure(folder, options.set, options.rounds, options.python)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours = found.pop("wepystore")
    for peer, acts in found.items():
        for act, taken in acts.items():
            said = f"{taken:.1f} s; ours {ours[act]:.1f} s"
            yield Row(f"{act}, {peer}", taken / ours[act], "x ours", least=1.0, detail=said)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
