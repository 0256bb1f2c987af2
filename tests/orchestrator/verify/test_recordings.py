"""Where two recordings of one run part, and what they tell of it as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import pair_snapshot, plain_configuration, run_job, save_run
from wepystore.api import (
    Configuration,
    NoResampler,
    Recording,
    Snapshot,
    Store,
    Walker,
    load_run,
    prepare_store,
    save_configuration,
)
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.verify.recordings import Parting, first_difference
from wepystore.orchestrator.verify.verify import Verdict, distinct, verify
from wepystore.records.snapshot import Apparatus
from wepystore.store import canonical
from wepystore.store.names import EntryRef


def test_a_value_that_is_missing_is_no_nan() -> None:
    """Also where every column has the same bits."""
    columns = {
        "missing": np.empty((0, 2), np.int64),
        "n_walkers": np.ones(2, np.int64),
        "weights": np.ones(2),
        "x/cycle_idx": np.arange(2),
        "x/y": np.full(2, np.nan),
    }
    assert first_difference(columns, dict(columns), 8) is None
    other = {**columns, "missing": np.array([[4, 1]])}
    assert first_difference(columns, other, 8) == Parting(8, "missing")


def made(folder: Path, snapshot: Snapshot, n_cycles: int = 3) -> tuple[Store, str]:
    """A job's store, and the record of its run."""
    prepared = prepare_store(folder / "a.orch", snapshot, plain_configuration())
    done = run_job(prepared.store, prepared.snapshot_hash, folder / "job", n_cycles=n_cycles)
    return Store.open(folder / "job" / "checkpoint.orch"), done.record or ""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A run; others may be put beside it."""
    store, run = made(tmp_path_factory.mktemp("known"), pair_snapshot(4), 2)
    verdict = again(store, run)
    assert verdict.is_same and not verdict.other_facts
    return store, run


def again(store: Store, run: str) -> Verdict:
    return verify(store, run, Means())


Change = Callable[[dict[str, Any]], object]


def told_otherwise(store: Store, run: str, kind: str, change: Change) -> str:
    """The record of a run whose recording's manifest, or that of its frames, says something else of
    the run; its arrays are the same."""
    record = load_run(store, run)
    assert record.recording is not None
    recording = store.manifest("recordings", record.recording.md5)
    if kind == "frames":
        manifest = store.manifest("frames", recording["frames"]["entry"]["md5"])
        change(manifest)
        ref = store.put("frames", canonical.dumps(manifest))
        recording["frames"]["entry"] = EntryRef("frames", ref).to_json()
    else:
        change(recording)
    entry = EntryRef("recordings", store.put("recordings", canonical.dumps(recording)))
    return save_run(store, replace(record, recording=entry))


def renamed(manifest: dict[str, Any]) -> None:
    """A column under another name, which its object does not tell."""
    place = manifest["columns"].index("resampling/step_idx")
    manifest["columns"][place] = "resampling/step_of"


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("recordings", lambda m: m.update(step_size_ps=0.004), "step_size_ps"),
        ("recordings", lambda m: m.update(masses=m["topology"]), "masses"),
        ("recordings", lambda m: m.update(masses=None), "masses"),
        ("recordings", lambda m: m.update(topology=m["masses"]), "topology"),
        ("recordings", lambda m: m["decisions"].update(CLONE=4), "decisions"),
        ("recordings", lambda m: m["summaries"].update(warping=[]), "summaries"),
        ("recordings", renamed, "columns"),
        ("frames", lambda m: m["fields"][0].update(unit="angstrom"), "frames/fields"),
    ],
)
def test_what_is_told_of_the_run_as_a_whole_is_compared(
    known: tuple[Store, str], kind: str, change: Change, told: str
) -> None:
    """Units, masses, steps, names: arrays that are the same to the bit mean something else."""
    verdict = again(known[0], told_otherwise(*known, kind, change))
    assert verdict.reproduced and verdict.other_facts == [told] and not verdict.is_same


def test_what_an_older_version_did_not_tell_is_not_compared(known: tuple[Store, str]) -> None:
    """A recording of the first format knows no masses, and is no other for that."""

    def older(manifest: dict[str, Any]) -> None:
        for key in ("frames", "masses", "step_size_ps"):
            del manifest[key]
        manifest["format"] = 1

    assert again(known[0], told_otherwise(*known, "recordings", older)).is_same


def test_frames_that_nobody_keeps_now_are_others(known: tuple[Store, str]) -> None:
    """Frames beside a configuration that says there are none: they come from elsewhere."""
    store, run = known
    usual = plain_configuration()
    none = Configuration(usual.work_mapper, usual.reporters, recording=Recording(fields=()))
    md5 = save_configuration(store, none)
    entry = EntryRef("configs", store.read_manifest("configs", md5).ref)
    verdict = again(store, save_run(store, replace(load_run(store, run), config=entry)))
    assert verdict.parting == Parting(0, "frames") and verdict.other_facts == ["frames"]
    assert verdict.reproduced and not verdict.is_same


class Restless(NoResampler):
    """As many walkers as a file says, one cycle after the other."""

    def resample(self, walkers: Any) -> Any:
        import os
        from pathlib import Path

        file = Path(os.environ["COUNTS"])
        count, *rest = file.read_text().split()
        file.write_text(" ".join(rest))
        every = [walkers[k % len(walkers)].state for k in range(int(count))]
        return [Walker(state, 1 / len(every)) for state in every], [], []


def test_other_numbers_of_walkers_are_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that draws from elsewhere: where the two part is told; nothing of it is damage."""
    counts = tmp_path / "counts"
    monkeypatch.setenv("COUNTS", str(counts))
    counts.write_text("3 6 4 5 4")
    apparatus = Apparatus.as_found(pair_snapshot().apparatus.runner, None, Restless())
    store, run = made(tmp_path, Snapshot.as_found(pair_snapshot(4).walkers, apparatus), 5)
    for told in ("3 7 4 5 4", "3 2 4 5 4"):
        counts.write_text(told)
        verdict = again(store, run)
        assert verdict.parting == Parting(2, "weights", 0)
        assert not verdict.is_same


def test_records_with_other_recordings_are_not_proved_by_one(known: tuple[Store, str]) -> None:
    """Each of them says something else of what happened."""
    store, run = known
    other = told_otherwise(store, run, "recordings", lambda m: m.update(step_size_ps=1.0))
    assert distinct(store, [run, other, run]) == [run, other]
