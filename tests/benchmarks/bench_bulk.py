"""Many files at once: adding, reconciling, listing, against cp, rsync and find on the same data.

    python -m tests.benchmarks.bench_bulk [--rounds N] [--only WORD,…] [--set A|B] [DIRECTORY]

The data of add and reconcile: A, 10,000 files of 4 KiB and 20 of 50 MB; B, 100,000 files of 1 KiB.
Both sides of a ratio are measured alternately, in one run, on the file system of DIRECTORY
(default: a temporary one), everything in the page cache; a ratio is one of medians.

- `add`: files into a store in one batch, read, hashed (MD5 and SHA-256), durable; against
  `cp -r` and `sync -f`.
- `reconcile`: a store whose snapshots name 100 files each into one that has half of them,
  verified and durable; against `rsync -a --ignore-existing` of the same directories, which does
  neither, and against rsync followed by `sync -f`.
- `linear`: time for each object of that, for 1,000, 10,000 and 100,000 objects.
- `no-op`: a reconcile that has nothing to bring, of 100,000 objects and of 100,000 snapshots.
- `ls`: `wepy ls snapshots` of 100,000 against `find snapshots -type f`.
- `packs` (only where asked for): what 100,000 files of B cost as files and as one tar; no limit
  (docs/design/0015-small-files.md).
"""

from __future__ import annotations

import argparse
import functools
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.table import Lacking, Misused, Row
from wepystore.store import Store, canonical, merge, publish
from wepystore.store.names import Ref

LEFT_OUT = {
    "--set B --only add,reconcile": "six minutes; 100,000 small files",
    "--only packs": "two minutes; files against one archive, no limits",
}

# name: small files, their size, large files, their size
SETS = {"A": (10_000, 4096, 20, 50_000_000), "B": (100_000, 1024, 0, 0)}
LIMITS = {"add": 1.3, "reconcile": 1.2, "ls": 3.0}
NO_OP_LIMIT_S = 2.0
# Time for an object among 100,000 at most so many times that among 10,000.
LINEAR_LIMIT = 1.5
PARTS = 100


def make_files(folder: Path, which: str, seed: int = 1) -> list[str]:
    """The data as plain files in 256 directories; returns their paths."""
    import numpy as np

    n_small, small, n_large, large = SETS[which]
    rng = np.random.default_rng(seed)
    paths = []
    for place in range(n_small + n_large):
        inside = folder / f"{place % 256:02x}"
        if place < 256:
            inside.mkdir(parents=True)
        path = f"{inside}/{place:06d}"
        with open(path, "wb") as file:
            file.write(rng.bytes(small if place < n_small else large))
        paths.append(path)
    return paths


def add_files(store: Store, paths: list[str]) -> list[Ref]:
    """All in one batch."""
    with store.batch() as batch:
        return batch.put_many("objects", [content(path) for path in paths])


def content(path: str) -> bytes | mmap.mmap:
    """The bytes of a file; a large one is never in memory as a whole."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < publish.LARGE:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def add_manifests(store: Store, refs: list[Ref], parts: int = PARTS) -> None:
    """Snapshots that name so many objects each, all of them once."""
    with store.batch() as batch:
        for first in range(0, len(refs), parts):
            named = [ref.to_json() for ref in refs[first : first + parts]]
            manifest = {"type": "snapshot", "format": 1, "apparatus": named}
            batch.put("snapshots", canonical.dumps(manifest))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, from a disk that has nothing to do."""
    os.sync()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def shell(command: str) -> None:
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def compared(
    name: str, times: dict[str, list[float]], limits: dict[tuple[str, str], float]
) -> Iterator[Row]:
    """Ratios of medians."""
    medians = {side: statistics.median(values) for side, values in times.items()}
    for (ours, theirs), limit in limits.items():
        said = f"{medians[ours]:.2f} of {medians[theirs]:.2f} s; of minima "
        said += f"{min(times[ours]) / min(times[theirs]):.2f}"
        ratio = medians[ours] / medians[theirs]
        what = name if len(limits) == 1 else f"{name}: {ours}"
        yield Row(what, ratio, f"x {theirs}", most=limit, detail=said)


def bench_add(folder: Path, which: str, rounds: int) -> Iterator[Row]:
    """Adding against copying."""
    paths = make_files(folder / "files", which)
    times: dict[str, list[float]] = {"cp -r; sync -f": [], "add": []}
    for number in range(rounds):

        def copy() -> None:
            shell(f"cp -r {folder}/files {folder}/copy; sync -f {folder}/copy")

        def add() -> None:
            add_files(Store.create(folder / "a.orch"), paths)

        works = [("cp -r; sync -f", copy), ("add", add)]
        for side, work in works if number % 2 else works[::-1]:
            clear(folder / "copy")
            clear(folder / "a.orch")
            times[side].append(seconds(work))
    yield from compared(f"add {which}", times, {("add", "cp -r; sync -f"): LIMITS["add"]})


def halves(folder: Path, refs: list[Ref], parts: int = PARTS) -> None:
    """`a.orch` is the source; `half.orch` gets every other one of its snapshots."""
    source = Store.open(folder / "a.orch")
    add_manifests(source, refs, parts)
    names = source.hashes("snapshots")[::2]
    chosen = [("snapshots", md5) for md5 in names]
    merge.apply(merge.plan(folder / "half.orch", [source], only=chosen))
    # As copies: a store that came from elsewhere shares no inode with the source.
    shell(f"cp -r {folder}/half.orch {folder}/apart; rm -r {folder}/half.orch")
    os.rename(folder / "apart", folder / "half.orch")


def reconciled(folder: Path) -> None:
    outcome = merge.apply(
        merge.plan(Store.open(folder / "b.orch"), [Store.open(folder / "a.orch")])
    )
    assert not outcome.left


def bench_reconcile(folder: Path, which: str, rounds: int) -> Iterator[Row]:
    """Merging against rsync, with links and (into another file system's place) copies."""
    refs = add_files(Store.create(folder / "a.orch"), make_files(folder / "files", which))
    clear(folder / "files")
    halves(folder, refs)
    command = f"rsync -a --ignore-existing {folder}/a.orch/ {folder}/b.orch/"
    works: dict[str, Callable[[], object]] = {
        "rsync": lambda: shell(command),
        "rsync; sync -f": lambda: shell(f"{command}; sync -f {folder}/b.orch"),
        "reconcile": lambda: reconciled(folder),
        "reconcile, copying": lambda: reconciled(folder),
    }
    times: dict[str, list[float]] = {side: [] for side in works}
    for number in range(rounds):
        for side in list(works) if number % 2 else list(works)[::-1]:
            clear(folder / "b.orch")
            shell(f"cp -r {folder}/half.orch {folder}/b.orch")
            if side == "reconcile, copying":
                # What fewer people may read than the target is copied, not linked.
                os.chmod(folder / "b.orch/wepystore.json", 0o644)
                shell(f"chmod -R go-r {folder}/a.orch/objects {folder}/a.orch/snapshots")
            times[side].append(seconds(works[side]))
            if side == "reconcile, copying":
                shell(f"chmod -R go+r {folder}/a.orch/objects {folder}/a.orch/snapshots")
    limits = {
        ("reconcile", "rsync"): LIMITS["reconcile"],
        ("reconcile, copying", "rsync; sync -f"): LIMITS["reconcile"],
    }
    yield from compared(f"reconcile {which}", times, limits)


def bench_linear(folder: Path, rounds: int) -> Iterator[Row]:
    """Time for an object, whatever their number."""
    each: dict[int, float] = {}
    all_paths = make_files(folder / "files", "B")
    for count in (1_000, 10_000, 100_000):
        refs = add_files(Store.create(folder / "a.orch"), all_paths[:count])
        halves(folder, refs)
        taken = []
        for _ in range(rounds):
            clear(folder / "b.orch")
            shell(f"cp -r {folder}/half.orch {folder}/b.orch")
            taken.append(seconds(lambda: reconciled(folder)))
        each[count] = statistics.median(taken) / count
        yield Row(f"reconcile of {count:,} objects, each", each[count] * 1e6, "µs")
        for name in ("a.orch", "b.orch", "half.orch"):
            clear(folder / name)
    ratio = each[100_000] / each[10_000]
    yield Row("an object among 100,000", ratio, "x among 10,000", most=LINEAR_LIMIT)


def small_snapshots(folder: Path) -> Store:
    """100,000 snapshots that name one object."""
    store = Store.create(folder / "s.orch")
    one = store.put("objects", b"the apparatus").to_json()
    with store.batch() as batch:
        for number in range(100_000):
            manifest = {"type": "snapshot", "format": 1, "walkers": number, "apparatus": one}
            batch.put("snapshots", canonical.dumps(manifest))
    return store


def bench_no_op(folder: Path, rounds: int) -> Iterator[Row]:
    """Nothing to bring."""
    refs = add_files(Store.create(folder / "a.orch"), make_files(folder / "files", "B"))
    add_manifests(Store.open(folder / "a.orch"), refs)
    small_snapshots(folder)
    for name, what in (("a.orch", "objects"), ("s.orch", "snapshots")):
        shell(f"cp -r {folder}/{name} {folder}/b-{name}")
        target, source = Store.open(folder / f"b-{name}"), Store.open(folder / name)
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            outcome = merge.apply(merge.plan(target, [source]))
            taken.append(time.perf_counter() - start)
            assert not outcome.entries and not outcome.left
        middle = statistics.median(taken)
        name = f"reconcile, nothing new, 100,000 {what}"
        yield Row(name, middle, "s", most=NO_OP_LIMIT_S, detail=f"min {min(taken):.2f} s")


def bench_ls(folder: Path, rounds: int) -> Iterator[Row]:
    """Listing against find."""
    small_snapshots(folder)
    times: dict[str, list[float]] = {"find": [], "ls": []}
    wepy = f"{sys.executable} -m wepystore"
    for _ in range(max(rounds, 5)):
        times["find"].append(seconds(lambda: shell(f"find {folder}/s.orch/snapshots -type f")))
        times["ls"].append(
            seconds(lambda: shell(f"{wepy} ls snapshots {folder}/s.orch 2>/dev/null"))
        )
    yield from compared("ls snapshots, 100,000", times, {("ls", "find"): LIMITS["ls"]})


def bench_packs(folder: Path, rounds: int) -> Iterator[Row]:
    """As files, and as one archive: each act in seconds, once."""
    paths = make_files(folder / "files", "B")
    store = Store.create(folder / "a.orch")
    loose, pack = f"{folder}/a.orch/objects", f"{folder}/pack.tar"

    def read() -> None:
        shell(f"find {loose} -type f -print0 | xargs -0 md5sum")

    def union() -> None:
        with Store.create(folder / "b.orch").batch() as batch:
            batch.bring_many("objects", pairs)

    refs: list[Ref] = []
    pairs: list[tuple[Ref, str]] = []
    tar = f"tar cf {pack} -C {folder}/files . ; sync -f {pack}"
    out = f"tar xOf {pack} | md5sum"
    again = f"tar cf {pack} -C {folder}/files . ; tar xOf {pack} | md5sum; sync -f {pack}"
    works: list[tuple[str, Callable[[], object], str]] = [
        ("add, durable", lambda: refs.extend(add_files(store, paths)), tar),
        ("list", lambda: store.hashes("objects"), f"tar tf {pack}"),
        ("read and hash", read, out),
        ("union into an empty one", union, f"cp {pack} {pack}.b; {out}; sync -f {pack}.b"),
        ("add one more", lambda: store.put("objects", b"one more"), again),
        (
            "rsync -a to a new place",
            lambda: shell(f"rsync -a {loose}/ {folder}/c; sync -f {folder}"),
            f"rsync -a {pack} {pack}.c; sync -f {pack}.c",
        ),
        (
            "rsync -a again",
            lambda: shell(f"rsync -a {loose}/ {folder}/c"),
            f"rsync -a {pack} {pack}.c",
        ),
        ("rm", lambda: shell(f"rm -r {folder}/c"), f"rm {pack}.c"),
    ]
    for name, work, command in works:
        pairs[:] = [(ref, store.locate("objects", ref.md5)) for ref in refs]
        ours = seconds(work)
        theirs = seconds(functools.partial(shell, command))
        said = f"{ours:.2f} of {theirs:.2f} s"
        yield Row(f"files or a pack: {name}", ours / theirs, "x tar", detail=said)
    for place in (loose, pack):
        shell(f"du -sk {place} >&2; find {place} | wc -l >&2")


def rows(arguments: list[str]) -> Iterator[Row]:
    """All that are chosen, each in a folder of its own."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="add,reconcile,linear,no-op,ls")
    parser.add_argument("--set", choices=list(SETS), default="A")
    parser.add_argument("directory", nargs="?")
    try:
        options = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        raise Misused(error) from None
    works: dict[str, Callable[[Path], Iterator[Row]]] = {
        "add": lambda folder: bench_add(folder, options.set, options.rounds),
        "reconcile": lambda folder: bench_reconcile(folder, options.set, options.rounds),
        "linear": lambda folder: bench_linear(folder, options.rounds),
        "no-op": lambda folder: bench_no_op(folder, options.rounds),
        "ls": lambda folder: bench_ls(folder, options.rounds),
        "packs": lambda folder: bench_packs(folder, options.rounds),
    }
    for word in options.only.split(","):
        if word not in works:
            raise Misused(f"--only {word!r}: one of {', '.join(works)}")
        if word == "reconcile" and not shutil.which("rsync"):
            raise Lacking("rsync (package rsync)")
        folder = Path(tempfile.mkdtemp(dir=options.directory))
        try:
            yield from works[word](folder)
        finally:
            clear(folder)


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
