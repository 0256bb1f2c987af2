"""The commands that are interrupted everywhere, each with what it works on."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.store.helpers import add_config, add_recording, add_run, add_snapshot
from wepystore.durable import unfinished_path
from wepystore.store import Store, canonical, exports
from wepystore.store.batch import FEW

LARGE = bytes(range(256)) * 5000  # more than 1 MiB: hashed in threads
OLD = (1_000_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Scenario:
    """One command and the folder it is run in.

    Attributes
    ----------
    prepare : callable
        Makes what is there before in an empty folder; the store is `t.orch` in it.
    task : list of str
        See Injector.run.
    exact : bool
        Whether at every moment each file is either as before or as after; else there may be more.
    """

    name: str
    prepare: Callable[[Path], None]
    task: tuple[str, ...]
    exact: bool = True


def add_large_snapshot(store: Store, label: str) -> str:
    """Small parts, and one that is large."""
    with store.batch() as batch:
        refs = batch.put_many("objects", [LARGE + label.encode(), label.encode() * 9, b"shared"])
        manifest = {"type": "snapshot", "format": 1, "apparatus": [ref.to_json() for ref in refs]}
        return batch.put("snapshots", canonical.dumps(manifest)).md5


def make_old(root: Path) -> None:
    """As if all of it had been written long ago, so that putting it again touches it."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, OLD)


def _for_add(folder: Path) -> None:
    source = Store.create(folder / "s.orch")
    exports.write(source, "snapshots", add_large_snapshot(source, "new"), folder / "new.snap")
    target = Store.create(folder / "t.orch")
    add_large_snapshot(target, "there")
    make_old(target.path)


def _for_add_over_damage(folder: Path) -> None:
    _for_add(folder)
    target = Store(folder / "t.orch")
    _, _, entries = exports.read(folder / "new.snap")
    for kind, md5 in entries:
        file = target.file(kind, md5)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"cut short")


def _source(folder: Path) -> Store:
    source = Store.create(folder / "s.orch")
    start, end = add_snapshot(source, "a"), add_large_snapshot(source, "b")
    config = add_config(source, "c")
    add_run(source, start, end, config)
    source.set_ref("default-snapshot", start)
    source.set_ref("default-config", config)
    source.set_ref("tags/end", end)
    return source


def _for_reconcile(folder: Path) -> None:
    _source(folder)
    target = Store.create(folder / "t.orch")
    add_snapshot(target, "a")
    target.set_ref("tags/own", add_snapshot(target, "own"))
    make_old(target.path)


def _for_bulk(folder: Path) -> None:
    # So many files at a time are made durable in another way.
    add_snapshot(_source(folder), "many", FEW + 10)
    Store.create(folder / "t.orch")


def _for_copying(folder: Path) -> None:
    # What fewer people may read than the target is copied, and not linked.
    _for_reconcile(folder)
    for path in (folder / "s.orch").glob("*/??/*"):
        path.chmod(0o600)


def _for_tag(folder: Path) -> None:
    target = Store.create(folder / "t.orch")
    target.set_ref("tags/old", add_snapshot(target, "a"))
    add_snapshot(target, "b")


def _hash_of_b(folder: Path) -> str:
    store = Store.create(folder)
    return add_snapshot(store, "b")


def _for_gc(folder: Path) -> None:
    target = _source(folder)
    os.rename(target.path, folder / "t.orch")
    target = Store(folder / "t.orch")
    for number in range(3):
        target.put("objects", b"orphan %d" % number)
    add_snapshot(target, "unnamed")
    add_recording(target, "unnamed")
    # No process has so large a number.
    name = unfinished_path(target.path / "tmp").name.replace(f"-{os.getpid()}-", "-99999999-")
    (target.path / "tmp" / name).write_bytes(b"unfinished")
    make_old(target.path)


def _for_repair(folder: Path) -> None:
    good = _source(folder)
    target = Store.create(folder / "t.orch")
    for path in sorted(good.path.rglob("*")):
        new = target.path / path.relative_to(good.path)
        if path.is_file():
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(path.read_bytes())
    (recording,) = target.hashes("recordings")
    *_, (_, happened) = target.references("recordings", recording)
    others = [md5 for md5 in target.hashes("objects") if md5 != happened.md5]
    flipped, cut, gone, *_ = (target.file("objects", md5) for md5 in others)
    data = bytearray(flipped.read_bytes())
    data[0] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:3])
    gone.unlink()
    target.file("snapshots", target.hashes("snapshots")[0]).write_bytes(b"{}")
    target.file("recordings", recording).write_bytes(b"[]")
    target.file("frames", target.hashes("frames")[0]).write_bytes(b"[]")
    target.file("objects", happened.md5).write_bytes(b"nothing")
    (target.path / "refs" / "tags" / "end").write_text("no hash\n")


def _for_checkpoints(folder: Path) -> None:
    from tests.systems import pair_snapshot, plain_configuration
    from wepystore.api import prepare_store

    made = prepare_store(folder / "t.orch", pair_snapshot(4), plain_configuration())
    # The default moves with the checkpoints, and a second attempt is of the same run.
    made.store.set_ref("tags/start", made.snapshot_hash)


def checkpoints(path: str) -> None:
    """Four checkpoints of one run, the last of them its end; each is told when it is written. What
    happens is recorded in blocks of three cycles, frames in blocks of two."""
    from types import SimpleNamespace

    from tests.systems import pair_snapshot, pair_state
    from wepystore.api import Recording, Walker
    from wepystore.orchestrator.job.ledger import Ledger
    from wepystore.orchestrator.run import recorder as recorder_module
    from wepystore.orchestrator.run.checkpoint import Checkpointer
    from wepystore.orchestrator.run.recorder import Recorder
    from wepystore.orchestrator.run.writer import Writer
    from wepystore.records import frames
    from wepystore.records.run import RunRecord, Unfinished
    from wepystore.store.names import EntryRef, Ref

    store = Store.open(path)

    def entry(name: str, kind: str) -> EntryRef:
        md5 = store.ref(name)
        assert md5 is not None
        data = store.read(kind, md5)
        return EntryRef(kind, Ref.of(data))

    start, config = entry("tags/start", "snapshots"), entry("default-config", "configs")

    def record(n_cycles: int) -> Unfinished:
        how = {"n_cycles": n_cycles, "n_steps": 10, "seed": 1, "reproducible": True}
        return functools.partial(RunRecord, start, config=config, **how)

    snapshot = pair_snapshot(4)
    apparatus = snapshot.apparatus
    manager = SimpleNamespace(**vars(apparatus), init_walkers=snapshot.walkers)
    recorder_module.block_cycles_for = lambda n_walkers: 3
    frames.block_cycles_for = lambda n_walkers, frame_bytes, every: 2
    recorder = Recorder.begun(manager, 10, Recording())
    writer = Writer(store, Ledger(store.path.parent))
    checkpointer = Checkpointer(writer, apparatus, record, recorder)
    for number in range(1, 5):
        walkers = [Walker(pair_state(0.3 + 0.01 * (number + i % 2)), 0.25) for i in range(4)]
        decided = {"decision_id": [1], "target_idxs": [0], "step_idx": [number], "walker_idx": [0]}
        try:
            recorder.add({"new_walkers": walkers, "resampling_data": [decided]})
            recorder.keep()
            end = checkpointer.write(walkers, number, last=number == 4)
        except OSError as error:
            sys.stderr.write(f"wepy: error: {error}\n")
            sys.exit(1)
        print(end.md5, flush=True)


def _for_init(folder: Path) -> None:
    """Nothing is there."""


def scenarios(folder: Path) -> list[Scenario]:
    """All of them; `folder` is for the scratch stores that tell hashes."""
    b = _hash_of_b(folder / "hashes.orch")
    return [
        Scenario("add", _for_add, ("wepy", "add", "snapshot", "t.orch", "new.snap")),
        Scenario(
            "add-over-damage",
            _for_add_over_damage,
            ("wepy", "add", "snapshot", "t.orch", "new.snap"),
        ),
        Scenario("reconcile", _for_reconcile, ("wepy", "reconcile", "orch", "t.orch", "s.orch")),
        Scenario(
            "reconcile-copying", _for_copying, ("wepy", "reconcile", "orch", "t.orch", "s.orch")
        ),
        Scenario("reconcile-bulk", _for_bulk, ("wepy", "reconcile", "orch", "t.orch", "s.orch")),
        Scenario(
            "reconcile-without",
            _for_reconcile,
            ("wepy", "reconcile", "orch", "--without", "frames", "t.orch", "s.orch"),
        ),
        Scenario(
            "gc-frames",
            _for_gc,
            ("wepy", "gc", "--apply", "--grace=0", "--frames", f"--run={_run(folder)}", "t.orch"),
        ),
        Scenario("reconcile-new", _source_only, ("wepy", "reconcile", "orch", "t.orch", "s.orch")),
        Scenario("tag", _for_tag, ("wepy", "tag", "t.orch", "new", b)),
        Scenario("tag-force", _for_tag, ("wepy", "tag", "--force", "t.orch", "old", b)),
        Scenario("tag-delete", _for_tag, ("wepy", "tag", "--delete", "t.orch", "old")),
        Scenario(
            "gc",
            _for_gc,
            ("wepy", "gc", "--apply", "--grace", "0", "--unreferenced-snapshots", "t.orch"),
        ),
        Scenario("repair", _for_repair, ("wepy", "fsck", "--repair", "--from", "s.orch", "t.orch")),
        Scenario(
            "checkpoint",
            _for_checkpoints,
            ("tests.hazard.scenarios:checkpoints", "t.orch"),
            exact=False,
        ),
        Scenario("init", _for_init, ("wepy", "init", "t.orch")),
    ]


def _run(folder: Path) -> str:
    (run,) = _source(folder).hashes("runs")
    return run


def _source_only(folder: Path) -> None:
    _source(folder)


NAMES = [
    "add",
    "add-over-damage",
    "reconcile",
    "reconcile-copying",
    "reconcile-bulk",
    "reconcile-without",
    "gc-frames",
    "reconcile-new",
    "tag",
    "tag-force",
    "tag-delete",
    "gc",
    "repair",
    "checkpoint",
    "init",
]
# What the commands import, so that each child has it from the start.
MODULES = [
    "wepystore.cli.add",
    "wepystore.cli.init",
    "wepystore.cli.fsck",
    "wepystore.cli.gc",
    "wepystore.cli.merging",
    "wepystore.cli.reconcile",
    "wepystore.cli.tag",
    "wepystore.cli.usage",
    "wepystore.store.batch",
    "wepystore.store.exports",
    "wepystore.store.care.busy",
    "wepystore.store.care.fsck",
    "wepystore.store.care.gc",
    "wepystore.store.merge",
    "wepystore.store.care.repair",
    "wepystore.remotes",
    "wepystore.remotes.address",
    "wepystore.orchestrator.run.checkpoint",
    "wepystore.orchestrator.run.recorder",
    "tests.systems",
]
