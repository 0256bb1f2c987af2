"""Superseded checkpoints leave nothing behind, also where they share objects."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.systems import pair_snapshot
from wepystore.api import Apparatus, NoResampler, Store, Walker, WalkerState
from wepystore.engine.component import Text
from wepystore.orchestrator.job.ledger import Ledger
from wepystore.orchestrator.run import recorder as recorder_module
from wepystore.orchestrator.run.checkpoint import Checkpointer
from wepystore.orchestrator.run.recorder import Recorder
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.run import RunRecord, Unfinished
from wepystore.store.names import EntryRef, Name, Ref


def walkers(seed: int) -> list[Walker]:
    """Positions differ from checkpoint to checkpoint, velocities never do."""
    rng = np.random.default_rng(seed)
    still = np.zeros((3, 3))
    return [
        Walker(WalkerState(positions=rng.random((3, 3)), velocities=still), 0.5) for _ in range(2)
    ]


def record(n_cycles: int) -> Unfinished:
    """Of a run from a snapshot that is not there."""
    start = EntryRef("snapshots", Ref("0" * 32, "0" * 64, 0))
    return partial(
        RunRecord, start, config=start, n_cycles=n_cycles, n_steps=10, seed=1, reproducible=True
    )


def test_objects_that_checkpoints_share_go_with_the_last_that_needs_them(tmp_path: Path) -> None:
    """After the end, every object in the job's store is named by a manifest (0002)."""
    store = Store.create(tmp_path / "checkpoint.orch")
    apparatus = Apparatus.as_found(None, None, NoResampler())

    checkpointer = Checkpointer(Writer(store, Ledger(tmp_path)), apparatus, record)
    # The third shares its positions with the first, the fourth shares nothing but velocities.
    for n, seed in enumerate((1, 2, 1, 3, 4), start=1):
        checkpointer.write(walkers(seed), n)
    checkpointer.write(
        [Walker(WalkerState(positions=np.ones((1, 3)), velocities=np.ones((1, 3))), 1.0)],
        6,
        last=True,
    )
    named = {
        ref.md5
        for md5 in store.hashes("snapshots")
        for _, ref in store.references("snapshots", md5)
    }
    assert set(store.hashes("objects")) == named
    assert len(store.hashes("snapshots")) == 1
    assert len(store.hashes("runs")) == 1


def test_a_text_that_went_with_its_checkpoint_is_put_again(tmp_path: Path) -> None:
    """A state that a checkpoint had, two that followed had not, and the fourth has again: every
    checkpoint is whole."""
    store = Store.create(tmp_path / "checkpoint.orch")
    # A built-in's state may hold texts; so far none of them has one that changes.
    resampler = NoResampler()

    apparatus = Apparatus.as_found(None, None, resampler)
    checkpointer = Checkpointer(Writer(store, Ledger(tmp_path)), apparatus, record)
    for n, text in enumerate(("even", "odd", "none", "even", "odd"), start=1):
        vars(resampler)["state"] = partial(dict, text=Text(text * 1000))
        end = checkpointer.write(walkers(n), n)
        assert store.missing("snapshots", end.md5) == []
    checkpointer.finish()
    assert store.missing("snapshots", end.md5) == []
    assert len(store.hashes("snapshots")) == 1


def test_a_block_is_not_taken_away_while_it_is_put_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a killed process had put goes with what it left, beside the run, while that comes
    to the same cycle again: the next checkpoint has it."""
    monkeypatch.setattr(recorder_module, "block_cycles_for", lambda n_walkers: 3)
    store = Store.create(tmp_path / "checkpoint.orch")
    ledger = Ledger(tmp_path)
    snapshot = pair_snapshot(4)
    manager = SimpleNamespace(**vars(snapshot.apparatus), init_walkers=snapshot.walkers)

    def begin() -> tuple[Recorder, Checkpointer]:
        recorder = Recorder.begun(manager, 10)
        writer = Writer(store, ledger)
        return recorder, Checkpointer(writer, snapshot.apparatus, record, recorder)

    recorder, first = begin()
    for _ in range(3):
        recorder.add({"new_walkers": snapshot.walkers})
        recorder.keep()
    first.close()
    (block,) = store.hashes("objects")
    recorder, again = begin()
    again.adopt(EntryRef("snapshots", Ref("0" * 32, "0" * 64, 0)), None, None)
    remove = again._remove

    def slowly(entries: set[Name]) -> list[Name]:
        time.sleep(0.3)
        return remove(entries)

    again._remove = slowly  # type: ignore[method-assign]
    recorder.add({"new_walkers": snapshot.walkers})
    recorder.keep()
    again.write(snapshot.walkers, 1)
    for _ in range(2):
        recorder.add({"new_walkers": snapshot.walkers})
        recorder.keep()
    again.write(snapshot.walkers, 3, last=True)
    (recording,) = store.hashes("recordings")
    assert store.has("objects", block) and store.missing("recordings", recording) == []
