"""Which frames may go from a store (D4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.records.test_covering import collect, filled, lengths, made, of_length, small_blocks
from tests.store.helpers import attach
from tests.systems import save_run
from wepystore.api import FramesElsewhereError, Store, load_frames, load_run, load_tables
from wepystore.records.covering import superfluous
from wepystore.records.spare_frames import GoesOnError, frames_to_spare
from wepystore.store import merge
from wepystore.store.care import fsck, gc

__all__ = ["filled", "made", "small_blocks"]

NOW = datetime.now(UTC)


def frames_of(store: Store, run: str) -> str:
    """The hash of a run's frames."""
    entry = load_run(store, run).recording
    assert entry is not None
    (md5,) = (r.md5 for k, r in store.references("recordings", entry.md5) if k == "frames")
    return md5


def remove(store: Store, asked: Callable[[], list[str]]) -> None:
    """gc --frames, when the grace period is over."""
    gc.apply(gc.plan(store, now=time.time() + 30 * 86400, frames=asked))


def begun(store: Store, n_cycles: int, when: datetime) -> str:
    """A copy of the record of so many cycles that says it began then."""
    record = load_run(store, of_length(store, n_cycles))
    how = record.execution._replace(begun=when.isoformat(), ended_by="n_cycles")
    store.remove("runs", of_length(store, n_cycles))
    return save_run(store, replace(record, execution=how))


def test_of_a_run(filled: Store) -> None:
    """Those of a run that has ended, and of no other; what reads them says so, tables stay."""
    run = of_length(filled, 11)
    assert frames_to_spare(filled) == []
    assert frames_to_spare(filled, [run]) == [frames_of(filled, run)]
    remove(filled, lambda: frames_to_spare(filled, [run]))
    found = fsck.check(filled)
    assert found.healthy and len(found.elsewhere) == 1 and not filled.missing("runs", run)
    with pytest.raises(FramesElsewhereError, match=f"of run {run} are not in .*: it was brought"):
        load_frames(filled, run)
    assert len(load_tables(filled, run)["n_walkers"]) == 11
    assert frames_to_spare(filled, [run]) == []


def test_not_of_a_job_that_goes_on(filled: Store) -> None:
    """Its checkpoints have not ended: they are refused by name, and stay at any age."""
    run = of_length(filled, 7)
    with pytest.raises(GoesOnError, match=run):
        frames_to_spare(filled, [run])
    spare = frames_to_spare(filled, begun_before=NOW + timedelta(days=9))
    assert spare == [frames_of(filled, of_length(filled, 11))]


@pytest.mark.parametrize(
    ("ref", "of"), [("tags/it", "record"), ("tags/it", "end"), ("default-snapshot", "end")]
)
def test_by_age(filled: Store, ref: str, of: str) -> None:
    """Of runs that began before; of what is asked to stay only if it is named itself."""
    old, young = begun(filled, 3, NOW - timedelta(days=9)), begun(filled, 5, NOW)
    week = NOW - timedelta(days=7)
    assert frames_to_spare(filled, begun_before=week) == [frames_of(filled, old)]
    assert frames_to_spare(filled, [young], week) == sorted(
        frames_of(filled, run) for run in (old, young)
    )
    filled.set_ref(ref, old if of == "record" else load_run(filled, old).end.md5)
    assert frames_to_spare(filled, begun_before=week) == []
    assert frames_to_spare(filled, [old]) == [frames_of(filled, old)]


def test_what_another_run_has_too_stays(filled: Store) -> None:
    """Two executions of one run have one recording; and an attached one is of two runs."""
    run = of_length(filled, 11)
    record = load_run(filled, run)
    other = save_run(filled, replace(record, environment={"machine": "another"}))
    assert frames_to_spare(filled, [run]) == []
    assert frames_to_spare(filled, [run, other]) == [frames_of(filled, run)]
    filled.remove("runs", other)
    assert record.recording is not None
    third = of_length(filled, 5)
    attach(filled, third, record.recording.md5)
    assert frames_to_spare(filled, [run]) == []


def test_a_moment_that_is_none(filled: Store) -> None:
    """A stranger's record may say anything of when it began: it is of no age."""
    record = load_run(filled, of_length(filled, 11))
    for text in ("yesterday", "9" * 99, None, "2020-01-01"):
        how = record.execution._replace(begun=text)
        filled.remove("runs", of_length(filled, 11))
        save_run(filled, replace(record, execution=how))
        spare = frames_to_spare(filled, begun_before=NOW)
        assert bool(spare) == (text == "2020-01-01")


# ---- covered


def test_covered_runs_go_with_their_frames(filled: Store) -> None:
    """Of a job that was brought every hour one run is left, and one entry of frames."""
    run = of_length(filled, 11)
    wanted = load_frames(filled, run).walker(2)
    collect(filled)
    assert lengths(filled) == [11] and len(filled.hashes("frames")) == 1
    assert (load_frames(filled, run).walker(2) == wanted).all()
    found = fsck.check(filled)
    assert found.healthy and not found.notes and not found.elsewhere


def test_covered_though_frames_are_elsewhere(filled: Store, tmp_path: Path) -> None:
    """Every hour without frames: the tables tell; and a shorter run whose frames are here is not
    covered by one whose frames are not."""
    target = tmp_path / "w.orch"
    merge.apply(merge.plan(target, [filled], frames=False))
    store = Store.open(target)
    assert not store.hashes("frames") and len(superfluous(store)) == 10
    short = frames_of(filled, of_length(filled, 5))
    merge.apply(merge.plan(target, [filled], only=[("frames", short)]))
    assert store.hashes("frames") == [short]
    assert of_length(store, 5) not in superfluous(store) and len(superfluous(store)) == 9
    collect(store)
    assert lengths(store) == [5, 11] and fsck.check(store).healthy
    merge.apply(merge.plan(target, [filled]))
    collect(store)
    assert lengths(store) == [11] and not fsck.check(store).elsewhere
