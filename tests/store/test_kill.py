"""Killed at any instant, a writer leaves a store that is whole (S1, S2, S4)."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.store.helpers import add_config, add_run, add_snapshot, contents
from wepystore.store import Store, merge
from wepystore.store.names import KINDS


def _write_for_ever(root: Path) -> None:
    store = Store.open(root)
    previous = add_snapshot(store, "first")
    config = add_config(store, "one")
    for number in range(1_000_000):
        with store.batch() as batch:
            batch.put("objects", [os.urandom(700_000), os.urandom(700_000)])
        snapshot = add_snapshot(store, f"{os.getpid()}-{number}", parts=4)
        add_run(store, previous, snapshot, config)
        previous = snapshot


def _merge_for_ever(root: Path) -> None:
    source = Store.open(root.parent / "source")
    while True:
        merge.apply(merge.plan(root, [source]))


def kill_at_random(
    work: Callable[[Path], None], root: Path, seed: int, at_most: float = 0.15
) -> None:
    """Run work in a process of its own and kill it with SIGKILL after 0 to 150 ms."""
    child = multiprocessing.get_context("fork").Process(target=work, args=(root,))
    child.start()
    time.sleep(random.Random(seed).uniform(0, at_most))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def assert_whole(store: Store) -> None:
    """Every name has its bytes, and everything it names is there."""
    for kind in KINDS:
        for md5 in store.hashes(kind):
            store.read(kind, md5)
            assert kind == "objects" or store.missing(kind, md5) == []


def test_killed_while_writing(store: Store) -> None:
    """After each of a dozen kills the store is whole, and the next writer goes on."""
    for seed in range(12):
        kill_at_random(_write_for_ever, store.path, seed)
        assert_whole(store)
    # A busy machine may not have come as far as a run in so short a time.
    at_most = 0.15
    while not store.hashes("runs"):
        at_most *= 2
        assert at_most < 60
        kill_at_random(_write_for_ever, store.path, 12, at_most)
        assert_whole(store)


def test_killed_while_reconciling(tmp_path: Path) -> None:
    """After each kill the target is whole, and another reconcile completes it."""
    source = Store.create(tmp_path / "source")
    for number in range(60):
        add_snapshot(source, str(number))
    for seed in range(8):
        target = tmp_path / f"target{seed}"
        Store.create(target)
        kill_at_random(_merge_for_ever, target, seed)
        assert_whole(Store.open(target))
        merge.apply(merge.plan(target, [source]))
        assert contents(Store.open(target)) == contents(source)
