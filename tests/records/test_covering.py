"""Runs that a longer one tells all of, and runs that continue each other (D3)."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.store.care.test_gc import at_event, in_child
from tests.store.helpers import attach
from tests.systems import run_in_turn, run_job, save_run
from wepystore.api import (
    MissingError,
    NotJoinableError,
    NotRecordedError,
    Prepared,
    Store,
    Watcher,
    load_frames,
    load_run,
    load_runs,
    load_tables,
    reconcile,
)
from wepystore.orchestrator.run import account, recorder
from wepystore.orchestrator.run.resume import resume
from wepystore.records.covering import longest_of, superfluous
from wepystore.records.recording import encode_recording
from wepystore.records.run import RunRecord
from wepystore.records.sinks import Remembering
from wepystore.records.tables import read_recording
from wepystore.store.care import fsck, gc
from wepystore.store.names import Ref


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full blocks of four cycles."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: 4)


class Reconciling(Watcher):
    """Brings the job's store into another one after each checkpoint."""

    def __init__(self, job: Path, master: Path) -> None:
        self.job, self.master = job, master

    def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
        came = reconcile(self.master, self.job)
        assert not came.left


def lengths(runs: dict[str, RunRecord] | Store) -> list[int]:
    """The cycles of runs."""
    found = load_runs(runs) if isinstance(runs, Store) else runs
    return sorted(record.n_cycles for record in found.values())


@pytest.fixture(scope="module")
def made(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store into which a run of 11 cycles was brought after each of them. Its record has had to
    leave out most of the checkpoints. Only read it."""
    folder = tmp_path_factory.mktemp("filled")
    job, master = folder / "job", folder / "m.orch"
    options = {"n_cycles": 11, "checkpoint_freq": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "block_cycles_for", lambda n_walkers: 4)
        patch.setattr(account, "_MOST_CHECKPOINTS", 4)
        run_job(
            pair_store.store, pair_store.snapshot_hash, job, Reconciling(job, master), **options
        )
    reconcile(master, job)
    assert lengths(Store.open(master)) == list(range(1, 12))
    return master


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Store:
    """The same store, to do as one likes with."""
    shutil.copytree(made, tmp_path / "m.orch")
    return Store.open(tmp_path / "m.orch")


def of_length(store: Store, n_cycles: int) -> str:
    """The run of so many cycles."""
    (found,) = [md5 for md5, record in load_runs(store).items() if record.n_cycles == n_cycles]
    return found


def collect(store: Store) -> gc.Collected:
    """gc --covered, when the grace period is over."""
    return gc.apply(gc.plan(store, now=later(), covered=lambda: superfluous(store)))


def later() -> float:
    return time.time() + 30 * 86400


def test_a_store_into_which_a_job_is_brought_does_not_grow(filled: Store) -> None:
    """Of all checkpoints that it has seen what is left is the run, as if it had been brought once;
    and gc without being asked to removes none."""
    assert not gc.plan(filled, now=later()).items
    longest = of_length(filled, 11)
    before = dict(load_tables(filled, longest))
    assert set(superfluous(filled).values()) == {longest}
    collect(filled)
    assert lengths(filled) == [11]
    record = load_run(filled, longest)
    assert filled.hashes("snapshots") == sorted([record.start.md5, record.end.md5])
    assert len(filled.hashes("recordings")) == 1
    assert fsck.check(filled).healthy
    after = load_tables(filled, longest)
    assert all(np.array_equal(after[name], column) for name, column in before.items())
    assert not gc.plan(filled, now=later(), covered=lambda: superfluous(filled)).items


class Counting(Store):
    """A store that counts which of its objects are read."""

    read_objects: ClassVar[Counter[str]] = Counter()

    def object(self, ref: Ref) -> bytes:
        self.read_objects[ref.md5] += 1
        return super().object(ref)


def test_what_covers_many_is_not_read_for_each(filled: Store) -> None:
    """Of ten checkpoints of one run neither its tables nor its frames are read ten times."""
    longest = load_run(filled, of_length(filled, 11)).recording
    assert longest is not None
    manifest = filled.manifest("recordings", longest.md5)
    objects = [part["object"]["md5"] for part in manifest["tables"]]
    frames = filled.manifest("frames", manifest["frames"]["entry"]["md5"])
    objects += [part["object"]["md5"] for each in frames["blocks"] for part in each["parts"]]
    Counting.read_objects.clear()
    assert len(superfluous(Counting.open(filled.path))) == 10
    assert len(objects) == 4 and {Counting.read_objects[md5] for md5 in objects} <= {1, 2, 3}


def test_what_somebody_counts_on_stays(filled: Store, pair_store: Prepared, tmp_path: Path) -> None:
    """A run that is tagged, one whose end is, one that another goes on from, and the default's."""
    kept = [of_length(filled, n) for n in (2, 3, 5, 7)]
    ends = [load_run(filled, md5).end.md5 for md5 in kept]
    filled.set_ref("tags/two", kept[0])
    filled.set_ref("tags/three", ends[1])
    filled.set_ref("default-snapshot", ends[2])
    done = run_job(filled, ends[3], tmp_path / "on", n_cycles=2)
    reconcile(filled.path, tmp_path / "on")
    collect(filled)
    assert lengths(filled) == [2, 2, 3, 5, 7, 11]
    assert {*kept, done.record} <= set(filled.hashes("runs"))
    assert fsck.check(filled).healthy


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"n_steps": 11},
        {"environment": {"platform": "CPU"}},
        {"environment": {"platform": "Reference", "platform_properties": {"Threads": "1"}}},
        {"recording": None},
        {"n_cycles": 8},
    ],
)
def test_other_runs_are_not_covered(filled: Store, change: dict[str, Any]) -> None:
    """What differs in what decides about a result, is not recorded, or cannot be read."""
    record = load_run(filled, of_length(filled, 7))
    other = save_run(filled, replace(record, **change))
    runs = load_runs(filled)
    assert (
        longest_of(filled, {md5: runs[md5] for md5 in (other, of_length(filled, 11))})[other]
        == other
    )


def test_another_beginning_is_not_covered(
    filled: Store, pair_store: Prepared, tmp_path: Path
) -> None:
    """Of a run in which something else happened, whatever its record says."""
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "b", n_cycles=6, seed=9)
    (record,) = load_runs(tmp_path / "b").values()
    reconcile(filled.path, tmp_path / "b")
    other = save_run(filled, replace(record, seed=1))
    assert other not in superfluous(filled)
    assert of_length(filled, 5) in superfluous(filled)


def test_where_bits_differ_only_one_execution_covers_its_checkpoints(filled: Store) -> None:
    """Of a run that is not reproducible the tables alone prove nothing."""
    runs = load_runs(filled)
    for md5, record in runs.items():
        filled.remove("runs", md5)
        save_run(filled, replace(record, reproducible=False))
    assert len(superfluous(filled)) == 10
    short = load_run(filled, of_length(filled, 4))
    again = short.execution._replace(checkpoints=[[4, 123.0]])
    other = save_run(filled, replace(short, execution=again))
    assert other not in superfluous(filled) and len(superfluous(filled)) == 10


def test_what_is_attached_counts_as_what_is_recorded(filled: Store) -> None:
    """A run covers another by recordings that were given to both of them later, unless somebody has
    given it several that differ, or a part is missing; all of it goes with the run."""
    runs, recordings = {}, {}
    for n_cycles in (4, 9, 11):
        old = of_length(filled, n_cycles)
        record = load_run(filled, old)
        assert record.recording is not None
        recordings[n_cycles] = record.recording.md5
        if n_cycles != 9:
            runs[n_cycles] = save_run(filled, replace(record, recording=None))
            attach(filled, runs[n_cycles], record.recording.md5)
            filled.remove("runs", old)
    assert superfluous(filled)[runs[4]] == runs[11] and len(superfluous(filled)) == 10
    differing = attach(filled, runs[11], recordings[9])
    assert of_length(filled, 10) == superfluous(filled)[runs[4]]
    filled.remove("attachments", differing)
    part = filled.manifest("recordings", recordings[11])["tables"][-1]["object"]["md5"]
    data = filled.read("objects", part)
    filled.remove("objects", part)
    assert of_length(filled, 10) == superfluous(filled)[runs[4]]
    filled.put("objects", data)
    collect(filled)
    assert lengths(filled) == [11] and len(filled.hashes("attachments")) == 1
    assert filled.hashes("recordings") == [recordings[11]] and fsck.check(filled).healthy
    assert len(load_tables(filled, runs[11])["n_walkers"]) == 11


def test_what_is_half_here_covers_nothing(filled: Store) -> None:
    """S5: nothing goes for a longer run of which an object is missing or damaged."""
    longest = load_run(filled, of_length(filled, 11))
    assert longest.recording is not None
    manifest = filled.manifest("recordings", longest.recording.md5)
    file = filled.file("objects", manifest["tables"][0]["object"]["md5"])
    data = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert of_length(filled, 3) not in superfluous(filled)
    file.unlink()
    covering = {load_run(filled, other).n_cycles for other in superfluous(filled).values()}
    assert covering == {3}


def test_a_new_run_from_a_covered_end_brings_its_record_back(
    filled: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody goes on from an end after it was decided that it may go."""
    covered = of_length(filled, 6)
    record = load_run(filled, covered)
    plan = gc.plan(filled, now=later(), covered=lambda: superfluous(filled))
    done = run_job(filled, record.end.md5, tmp_path / "on", n_cycles=1)
    (made,) = load_runs(tmp_path / "on").values()
    reconcile(filled.path, tmp_path / "on")
    gc.apply(plan)
    assert {covered, done.record} <= set(filled.hashes("runs")) and made.start == record.end
    assert lengths(filled) == [1, 6, 11] and fsck.check(filled).healthy


@pytest.mark.parametrize("joined", [False, True])
def test_a_record_may_go_while_they_are_read(filled: Store, joined: bool) -> None:
    """A job at work supersedes it: it is left out, and the others are read."""
    gone, asked = of_length(filled, 5), of_length(filled, 11)

    def work() -> bool:
        at_event(1, lambda: filled.remove("runs", gone), ["open"], filled.file("runs", gone))
        if joined:
            return len(load_tables(filled, asked, joined=True).runs) == 1
        return len(load_runs(filled)) == 10

    assert in_child(work) == 0 and not filled.has("runs", gone)


def test_frames_that_go_with_their_run_are_not_elsewhere(filled: Store) -> None:
    """A job at work supersedes it while its frames are looked for: nobody has left them out."""
    run = of_length(filled, 5)
    entry = load_run(filled, run).recording
    assert entry is not None
    (frames,) = (r.md5 for k, r in filled.references("recordings", entry.md5) if k == "frames")

    def go() -> None:
        filled.remove("runs", run)
        filled.remove("frames", frames)

    def work() -> bool:
        at_event(1, go, ["open"], filled.file("recordings", entry.md5))
        with pytest.raises(MissingError, match=f"{run}.json is not there"):
            load_frames(filled, run)
        return True

    assert in_child(work) == 0


# ---- histories


def test_continued_runs_are_joined(pair_store: Prepared, tmp_path: Path) -> None:
    """Every cycle of each once, in order, with cycles numbered through."""
    store, runs = run_in_turn(pair_store, tmp_path, (5, 6, 3))
    alone = [load_tables(store, md5) for md5 in runs]
    tables = load_tables(store, runs[-1], joined=True)
    assert [(span.run, span.first_cycle, span.n_cycles) for span in tables.runs] == [
        (runs[0], 0, 5),
        (runs[1], 5, 6),
        (runs[2], 11, 3),
    ]
    assert tables.recording.n_cycles == 14 and tables.by_walker("weights").shape == (14, 6)
    for name in tables:
        if not name.endswith("/cycle_idx"):
            every = [each[name] for each in alone]
            assert np.array_equal(tables[name], np.concatenate(every)), name
    shifted = [each["resampling/cycle_idx"] + n for each, n in zip(alone, (0, 5, 11), strict=True)]
    assert np.array_equal(tables["resampling/cycle_idx"], np.concatenate(shifted))
    assert [len(load_tables(store, md5, joined=True).runs) for md5 in runs] == [1, 2, 3]
    piece = tables.cycles(3, 12)
    assert piece["n_walkers"].tolist() == [6] * 9
    inside = (tables["resampling/cycle_idx"] >= 3) & (tables["resampling/cycle_idx"] < 12)
    assert np.array_equal(piece["resampling/decision_id"], tables["resampling/decision_id"][inside])


def test_a_run_that_was_left_before_its_end_is_cut_there(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """One that was extended after another continued it, also one that was left at a checkpoint:
    what counts are the cycles up to where it was left."""
    job, master = tmp_path / "job", tmp_path / "m.orch"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=4)
    (told,) = load_runs(job).values()
    watcher = Reconciling(job, master)
    resume(job, {"n_cycles": 9, "checkpoint_freq": 1}, watcher)
    reconcile(master, job)
    store = Store.open(master)
    at_six = load_run(store, of_length(store, 6))
    left = []
    for name, start, n_left in (("a", told.end.md5, 4), ("b", at_six.end.md5, 6)):
        done = run_job(store, start, tmp_path / name, n_cycles=2)
        reconcile(master, tmp_path / name)
        left.append((done.record or "", n_left))
    for _ in range(2):
        whole = load_tables(store, of_length(store, 9)).by_walker("weights")
        for run, n_left in left:
            tables = load_tables(store, run, joined=True)
            assert [span.n_cycles for span in tables.runs] == [n_left, 2]
            assert np.array_equal(tables.by_walker("weights")[:n_left], whole[:n_left])
        collect(store)
        assert lengths(store) == [2, 2, 4, 6, 9]


def test_a_checkpoint_that_its_job_has_superseded(pair_store: Prepared, tmp_path: Path) -> None:
    """A run that began from one in the job's own store, which nobody had reconciled: it tells
    itself where it left, and of the longer run only the cycles up to there count."""
    job = tmp_path / "job"

    class Leaving(Watcher):
        def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
            if n_cycles == 6:
                run_job(Store.open(job / "checkpoint.orch"), end, tmp_path / "on", n_cycles=2)

    options = {"n_cycles": 11, "checkpoint_freq": 1}
    run_job(pair_store.store, pair_store.snapshot_hash, job, Leaving(), **options)
    (whole,) = load_runs(job)
    (on,) = load_runs(tmp_path / "on")
    reconcile(tmp_path / "all.orch", job, tmp_path / "on")
    store = Store.open(tmp_path / "all.orch")
    tables = load_tables(store, on, joined=True)
    assert [(span.run, span.n_cycles) for span in tables.runs] == [(whole, 6), (on, 2)]
    alone = load_tables(store, whole)
    assert np.array_equal(tables.by_walker("weights")[:6], alone.by_walker("weights")[:6])
    inside = alone["resampling/cycle_idx"] < 6
    n_rows = int(inside.sum())
    for name in ("cycle_idx", "decision_id", "walker_idx"):
        column = tables[f"resampling/{name}"]
        assert np.array_equal(column[:n_rows], alone[f"resampling/{name}"][inside])
    assert tables["resampling/cycle_idx"][n_rows:].min() == 6
    record = load_run(store, on)
    for change in ({"seed": 2}, {"n_cycles": 12}, {"n_cycles": "6"}, {"start": None}):
        how = record.execution._replace(continues={**(record.execution.continues or {}), **change})
        other = save_run(store, replace(record, execution=how))
        with pytest.raises(NotJoinableError, match=f"the run that run {other} continues is not"):
            load_tables(store, other, joined=True)


def test_the_same_run_twice_is_no_other_history(pair_store: Prepared, tmp_path: Path) -> None:
    """A repetition that recorded the same stands for the first, and for one that recorded
    nothing."""
    store, runs = run_in_turn(pair_store, tmp_path, (5, 2))
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "again", n_cycles=5)
    reconcile(store.path, tmp_path / "again")
    assert lengths(store) == [2, 5, 5]
    assert [span.n_cycles for span in load_tables(store, runs[1], joined=True).runs] == [5, 2]
    record = load_run(store, runs[0])
    older = save_run(store, replace(record, recording=None))
    for name in set(store.hashes("runs")) - {older, runs[1]}:
        assert {span.n_cycles for span in load_tables(store, runs[1], joined=True).runs} == {5, 2}
        store.remove("runs", name)
    with pytest.raises(NotRecordedError, match=older):
        load_tables(store, runs[1], joined=True)


def test_histories_that_differ_are_refused_by_name(pair_store: Prepared, tmp_path: Path) -> None:
    """Two runs into one start, a run that leads to its own start, one without a recording, and one
    that records other columns: an error in one line, which names them."""
    store, runs = run_in_turn(pair_store, tmp_path, (5, 2))
    first, second = (load_run(store, md5) for md5 in runs)
    other = save_run(store, replace(first, seed=7, n_cycles=2, recording=second.recording))
    with pytest.raises(NotJoinableError, match=f"{min(runs[0], other)}, {max(runs[0], other)}"):
        load_tables(store, runs[1], joined=True)
    assert len(load_tables(store, runs[1]).runs) == 1
    store.remove("runs", other)

    recording = read_recording(store, first)
    assert recording is not None
    with store.batch() as batch:
        entry = encode_recording(replace(recording, decisions={}), Remembering(batch, {}))
    other = save_run(store, replace(first, recording=entry))
    store.remove("runs", runs[0])
    with pytest.raises(NotJoinableError, match=f"{other} has other columns"):
        load_tables(store, runs[1], joined=True)
    store.remove("runs", other)

    other = save_run(store, replace(first, recording=None))
    with pytest.raises(NotRecordedError, match=other):
        load_tables(store, runs[1], joined=True)
    store.remove("runs", other)

    other = save_run(store, replace(second, start=second.end, end=second.start))
    with pytest.raises(NotJoinableError, match="its own start"):
        load_tables(store, runs[1], joined=True)


def test_objects_show_themselves_in_few_words(pair_store: Prepared, tmp_path: Path) -> None:
    """A line for each, and a small table in a notebook."""
    store, runs = run_in_turn(pair_store, tmp_path, (3, 2))
    tables = load_tables(store, runs[1], joined=True)
    assert repr(tables).startswith("<RunTables: 5 cycles of 2 runs; ") and len(repr(tables)) < 160
    assert "5 cycles of 10 steps" in repr(tables.recording)
    assert "<th>warping</th>" in tables._repr_html_() and "<script" not in tables._repr_html_()
