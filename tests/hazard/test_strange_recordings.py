"""Recordings that a stranger has made: whatever is in their manifests and tables, what reads them
says in one line what is wrong, or shows it, and takes no more memory than they have bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.cli.conftest import ENVIRONMENT, Wepy, wepy
from tests.hazard.hostile import plant
from tests.systems import run_job
from wepystore.api import Prepared, Store, load_run, load_tables
from wepystore.errors import DamagedError
from wepystore.orchestrator.run import recorder
from wepystore.records.parts import read_parts
from wepystore.records.recording import buffers_of
from wepystore.store import canonical
from wepystore.store.names import EntryRef, Ref

__all__ = ["wepy"]

#: Of five cycles, in blocks of two.
N_CYCLES = 5


class Job(NamedTuple):
    """A job that has been run, and the record of that."""

    folder: Path
    run: str

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "checkpoint.orch")

    def changed(
        self,
        manifest: Callable[[dict[str, Any]], object] | None = None,
        columns: Callable[[dict[str, Any]], object] | None = None,
        **of_record: Any,
    ) -> str:
        """The record's hash after the recording's manifest, or its last tables, have been replaced
        by others; or what else the record says."""
        store = self.store
        record = store.manifest("runs", self.run)
        if "recording" not in of_record:
            held = store.manifest("recordings", record["recording"]["md5"])
            if columns is not None:
                _change_columns(store, held, columns)
            if manifest is not None:
                manifest(held)
            data = json.dumps(held).encode()
            plant(store, "recordings", data)
            record["recording"] = EntryRef("recordings", Ref.of(data)).to_json()
        store.remove("runs", self.run)
        return store.put("runs", canonical.dumps(record | of_record)).md5


def _change_columns(
    store: Store, manifest: dict[str, Any], change: Callable[[dict[str, Any]], object]
) -> None:
    run = next(iter(store.hashes("runs")))
    recording = load_tables(store, run).recording
    (last,) = read_parts(recording.tables[-1:], recording.columns, store.object, "it")
    columns = dict(last)
    change(columns)
    columns = {name: np.asarray(columns[name]) for name in sorted(columns)}
    manifest["columns"] = list(columns)
    manifest["tables"][-1]["object"] = store.put("objects", buffers_of(columns)).to_json()


@pytest.fixture(scope="module")
def original(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only to be copied."""
    folder = tmp_path_factory.mktemp("strange") / "job"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "block_cycles_for", lambda n_walkers: 2)
        run_job(pair_store.store, pair_store.snapshot_hash, folder, n_cycles=N_CYCLES)
    return folder


@pytest.fixture
def job(original: Path, tmp_path: Path) -> Job:
    folder = tmp_path / "job"
    shutil.copytree(original, folder)
    (run,) = Store.open(folder / "checkpoint.orch").hashes("runs")
    return Job(folder, run)


READING = """
    ls runs {s}
    ls runs --json {s}
    log {s}
    status {s}
    show {s} {r}
    show --json {s} {r}
    show --pickles {s} {r}
    fsck {s}
    fsck --sha256 {s}
    diff {s} {r} {r}
    trust --store {s}
    get run -O alone.orch {s} {a} {b}
    reconcile orch new.orch {s}
    push {s} pushed.orch
    gc {s}
    gc --apply --grace 0s --unreferenced-snapshots {s}
"""
WORKING = """
    verify {s} {r}
    resume --n-cycles=7 {j}
"""


def all_commands(wepy: Wepy, job: Job, run: str) -> dict[str, int]:
    """The status of each, by its first two words; each says what it says in lines of its own."""
    store = job.store
    record = store.manifest("runs", run)
    known = {"s": store.path, "r": run, "j": job.folder}
    known |= {"a": record["start"]["md5"], "b": record["end"]["md5"]}
    found = {}
    for line in [*READING.split("\n"), *WORKING.split("\n")]:
        if not line.strip():
            continue
        result = wepy(line.strip().format(**known))
        assert result.status in (0, 1, 3), (line, result)
        assert "bug in wepystore" not in result.err and "Traceback" not in result.err, result.err
        assert "\x1b" not in result.out + result.err
        errors = [told for told in result.err.splitlines() if told.startswith("wepy: error")]
        assert len(errors) <= 1, (line, result.err)
        assert result.status == 0 or result.out or result.err, line
        found[" ".join(line.split()[:2])] = result.status
    return found


def tables(*counts: Any) -> Callable[[dict[str, Any]], object]:
    """As if the last object had the cycles of several parts."""

    def change(manifest: dict[str, Any]) -> None:
        ref = manifest["tables"][-1]["object"]
        manifest["tables"] = [{"n_cycles": count, "object": ref} for count in counts]

    return change


#: What is wrong in a manifest, so that nobody reads its tables.
MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another number of cycles": lambda m: (m.update(n_cycles=4), m["tables"].pop()),
    "of cycles that are not there": lambda m: m.update(n_cycles=6),
    "cycles beyond number": lambda m: (
        m.update(n_cycles=10**400),
        m["tables"][-1].update(n_cycles=10**400),
    ),
    "another number of steps": lambda m: m.update(n_steps=11),
    "blocks of no cycles": lambda m: m.update(block_cycles=0),
    "blocks that no memory holds": lambda m: m.update(block_cycles=1 << 31),
    "blocks without order": tables(1, 2, 2),
    "pieces that are a block": tables(2, 1, 1, 1),
    "tables of no cycles": tables(2, 2, 1, 0),
    "tables less than none": tables(2, 2, 2, -1),
    "a part that is true": tables(2, 2, True),
    "a part that is longer than a block": tables(5),
    "no list of columns": lambda m: m.update(columns=3),
    "columns of all kinds": lambda m: m["columns"].append({"a": []}),
    "columns twice": lambda m: m["columns"].append(m["columns"][-1]),
    "deep columns": lambda m: m.update(columns=json.loads("[" * 90 + "]" * 90)),
    "decisions that are words": lambda m: m.update(decisions={"CLONE": "\x1b[2J"}),
    "summaries of numbers": lambda m: m.update(summaries={"warping": 7}),
    "a topology that is a pickle": lambda m: m.update(
        topology={"pickle": m["tables"][0]["object"], "of": "x"}
    ),
    "no reference": lambda m: m["tables"][0].update(object={"md5": "../../etc/passwd"}),
    "another kind of object": lambda m: m["tables"][0].update(
        object=m["tables"][0]["object"] | {"kind": "objects"}
    ),
    "more keys": lambda m: m.update(films=[]),
    "a later format": lambda m: m.update(format=3),
    "a snapshot": lambda m: m.update(type="snapshot"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_is_none(wepy: Wepy, job: Job, what: str) -> None:
    """What has to read what happened says that it is no recording, status 3; a resume goes back to
    the start, and says why; all else that is in the store can be had."""
    run = job.changed(manifest=MANIFESTS[what])
    with pytest.raises(DamagedError):
        load_tables(job.store, run)
    found = all_commands(wepy, job, run)
    assert found["verify {s}"] == 3
    assert found["resume --n-cycles=7"] == 0
    again = max(load_run(job.store, md5).n_cycles for md5 in job.store.hashes("runs"))
    assert again == 7


#: What is wrong in tables.
TABLES: dict[str, Callable[[dict[str, Any]], object]] = {
    "weights that are texts": lambda c: c.update(weights=np.zeros(6, np.uint8).reshape(6, 1)),
    "fewer weights": lambda c: c.update(weights=c["weights"][:-1]),
    "walkers less than none": lambda c: c.update(n_walkers=np.array([-6])),
    "walkers beyond number": lambda c: c.update(n_walkers=np.array([2**62])),
    "a single number": lambda c: c.update(n_walkers=np.array(6)),
    "lengths beyond number": lambda c: c.update(
        {"resampling/target_idxs/lengths": c["resampling/target_idxs/lengths"] + 2**62}
    ),
    "lengths that are no numbers": lambda c: c.update(
        {"resampling/target_idxs/lengths": c["resampling/target_idxs/lengths"] * np.inf}
    ),
    "more decisions than cycles": lambda c: c.update(
        {"resampling/decision_id": np.zeros((99, 1), np.int64)}
    ),
    "cycles that are no numbers": lambda c: c.update(
        {"resampling/cycle_idx": c["resampling/cycle_idx"] * np.nan}
    ),
    "missing what is not there": lambda c: c.update(missing=np.array([[10**9, 10**9]])),
    "missing less than nothing": lambda c: c.update(missing=np.array([[-1, -1]])),
    "missing by three numbers": lambda c: c.update(missing=np.zeros((1, 3), np.int64)),
    "another shape than before": lambda c: c.update(
        {"resampling/decision_id": np.repeat(c["resampling/decision_id"], 2, axis=1)}
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables_that_do_not_go_together(wepy: Wepy, job: Job, what: str) -> None:
    """The same: nothing is read out of bounds, and no traceback is seen."""
    run = job.changed(columns=TABLES[what])
    with pytest.raises(DamagedError):
        dict(load_tables(job.store, run))
    found = all_commands(wepy, job, run)
    assert found["fsck {s}"] == 0, "it is what its name says"
    assert found["resume --n-cycles=7"] == 0


@pytest.mark.parametrize("what", TABLES)
def test_one_column_of_what_does_not_go_together(job: Job, what: str) -> None:
    """Asked for one by one, alone or joined: arrays, or damage in one line, and no error of
    numpy's; what was not asked for is not looked at."""
    run = job.changed(columns=TABLES[what])
    told = []
    for joined in (False, True):
        for name in load_tables(job.store, run).recording.columns:
            tables = load_tables(job.store, run, joined=joined)
            try:
                tables[name]
            except DamagedError as error:
                told.append(str(error))
    assert told and not any("\n" in each for each in told)
    if what.startswith(("missing less", "missing what", "lengths beyond")):
        assert load_tables(job.store, run).by_walker("weights").shape == (5, 6)


def _object(job: Job) -> Path:
    """The last object with tables."""
    recording = load_tables(job.store, job.run).recording
    return job.store.file("objects", recording.tables[-1].ref.md5)


def test_every_byte_of_a_header_counts(job: Job) -> None:
    """A table whose file has been changed in one place: the headers say what they said, or it is
    damage; with `verify` it is damage wherever that was."""
    file = _object(job)
    good = file.read_bytes()
    expected = load_tables(job.store, job.run)["weights"].tobytes()
    begin = good.rindex(b"\x93NUMPY")
    noticed = 0
    for place in (*range(begin, begin + 128), *range(0, begin, 97)):
        data = bytearray(good)
        data[place] ^= 0x15
        file.write_bytes(data)
        with suppress(DamagedError):
            assert load_tables(job.store, job.run)["weights"].tobytes() == expected
            continue
        noticed += 1
    assert noticed >= 128, "of the header of the weights itself"
    with pytest.raises(DamagedError, match="is damaged"):
        load_tables(job.store, job.run, verify=True)["weights"]


def test_a_table_that_is_shortened_while_it_is_open(wepy: Wepy, job: Job) -> None:
    """Nobody is ended by it: what is read is damage from then on, and never what is not there."""
    file = _object(job)
    tables = load_tables(job.store, job.run)
    assert tables["weights"].shape == (30,)
    data = file.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 0):
        os.truncate(file, size)
        with pytest.raises(DamagedError, match=f"it has {size} bytes and should have {len(data)}"):
            tables["weights"]
    file.unlink()
    with pytest.raises(DamagedError, match="is not there"):
        tables["weights"]
    os.mkfifo(file)
    with pytest.raises(DamagedError, match="not a file"):
        tables["weights"]
    assert wepy("fsck", job.store.path).status == 3


def test_numbers_of_a_stranger(wepy: Wepy, job: Job) -> None:
    """Weights that are NaN, infinite or less than none are numbers: shown as they are, and found
    out by who repeats the run."""
    odd = np.array([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308])
    run = job.changed(columns=lambda c: c.update(weights=odd))
    shown = load_tables(job.store, run).by_walker("weights")
    assert np.array_equal(shown[-1], odd, equal_nan=True)
    told = wepy("verify", job.store.path, run)
    assert told.status == 1 and "from cycle 4 on (weights, walker 0)" in told.err


def test_columns_of_another_program(wepy: Wepy, job: Job) -> None:
    """Of a later version, or a stranger's: read and carried; a repetition names them as text; a
    run does not go on with other columns, and says so before anything is written."""

    def more(columns: dict[str, Any]) -> None:
        columns["warping/\x1b[2Jforged"] = np.zeros(len(columns["warping/cycle_idx"]))

    run = job.changed(columns=more)
    # All parts have to have it.
    store = job.store
    for place in (0, 1):
        record = store.manifest("runs", run)
        held = store.manifest("recordings", record["recording"]["md5"])
        names = [name for name in held["columns"] if "forged" not in name]
        ref = Ref.from_json(held["tables"][place]["object"], "it")
        columns = dict(_read(store, ref, names))
        more(columns)
        data = buffers_of({name: columns[name] for name in sorted(columns)})
        held["tables"][place]["object"] = store.put("objects", data).to_json()
        store.remove("runs", run)
        entry = EntryRef("recordings", store.put("recordings", canonical.dumps(held)))
        run = store.put("runs", canonical.dumps(record | {"recording": entry.to_json()})).md5
    assert "warping/\x1b[2Jforged" in load_tables(store, run)
    told = wepy("verify", store.path, run)
    assert told.status == 1 and "forged" in told.err and "\x1b" not in told.err
    before = sorted(store.path.rglob("*"))
    refused = wepy("resume --n-cycles=7", job.folder)
    assert refused.status == 1 and "other columns" in refused.err and "bug" not in refused.err
    assert sorted(store.path.rglob("*")) == before


def _read(store: Store, ref: Ref, names: list[str]) -> dict[str, Any]:
    import io

    file = io.BytesIO(store.object(ref))
    return {name: np.load(file) for name in names}


@pytest.mark.parametrize("kind", ["objects", "snapshots", "configs", "runs"])
def test_a_recording_of_another_kind(wepy: Wepy, job: Job, kind: str) -> None:
    """A record that names a snapshot, itself nearly, or an object as its recording is no record:
    damaged for every command, and never carried."""
    store = job.store
    (md5, *_) = store.hashes(kind)
    entry = EntryRef(kind, Ref.of(store.read(kind, md5))).to_json()
    run = job.changed(recording=entry)
    result = wepy("fsck", store.path)
    assert result.status == 3 and f"runs/{run[:2]}/{run}.json" in result.out
    assert "recording" in result.out
    for line in ("ls runs", "status", "log", "gc", "get run-cycles"):
        result = wepy(line, store.path, *(["a" * 32, "b" * 32] if "cycles" in line else []))
        assert result.status == 3 and "bug" not in result.err, (line, result)
    assert wepy("show", store.path, run).status == 3
    assert wepy("reconcile orch new.orch", store.path).status == 3
    assert not Store.open("new.orch").hashes("runs")


def test_what_a_recording_names_is_kept(wepy: Wepy, job: Job) -> None:
    """Whatever that is: where somebody's recording names an entry too, gc takes it for needed."""
    store = job.store
    other = store.manifest("snapshots", store.hashes("snapshots")[0])
    other["walkers"] = {"weights": [1.0]}
    ref = store.put("snapshots", canonical.dumps(other))
    named = EntryRef("snapshots", ref).to_json()
    run = job.changed(manifest=lambda m: m.update(decisions={"NOTHING": 1, "x": named}))
    assert wepy("gc --apply --grace 0s --unreferenced-snapshots", store.path).status == 0
    assert store.has("snapshots", ref.md5) and store.missing("runs", run) == []


@pytest.mark.parametrize(("block_cycles", "many"), [(1, 40), (1 << 14, 15_000)])
def test_many_parts_of_one_object(job: Job, block_cycles: int, many: int) -> None:
    """Of one cycle each, all of them one object of 16 MB. As pieces they are refused, as blocks
    read one after the other: in either case 300 MB more memory at most, of 640 or more."""
    store = job.store
    wide = {
        "missing": np.empty((0, 2), np.int64),
        "n_walkers": np.array([1]),
        "weights": np.ones(1),
        "wide/cycle_idx": np.array([0]),
        "wide/x": np.zeros((1, 2_000_000)),
    }
    ref = store.put("objects", buffers_of(wide)).to_json()
    run = job.changed(
        manifest=lambda m: m.update(
            columns=list(wide),
            n_cycles=many,
            block_cycles=block_cycles,
            tables=[{"n_cycles": 1, "object": ref}] * many,
        ),
        n_cycles=many,
    )

    script = (
        "import resource, sys\n"
        "from wepystore.api import load_tables, WepystoreError\n"
        "from wepystore.cli.main import main\n"
        "path, run, blocks = sys.argv[1], sys.argv[2], sys.argv[3] == '1'\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for words in (['show'], ['status'], ['fsck'], ['ls', 'runs']):\n"
        "    line = [*words, path, *[run] * (words == ['show'])]\n"
        "    assert main(line) == 0, line\n"
        "if blocks:\n"
        "    assert load_tables(path, run)['weights'].shape == (40,)\n"
        "else:\n"
        "    assert main(['verify', path, run]) == 3\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert used < 300_000, used\n"
    )
    line = [sys.executable, "-c", script, str(store.path), run, str(block_cycles)]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "bug" not in done.stderr, done.stderr
    with pytest.raises(DamagedError, match="15000 pieces") if block_cycles > 1 else nullcontext():
        load_tables(store, run)
