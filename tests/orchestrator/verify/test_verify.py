"""R1, R2: a recorded run is repeated from its record alone, and what comes of it is told truly."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import (
    Recorder,
    bits,
    pair_apparatus,
    pair_runner,
    pair_snapshot,
    plain_configuration,
    run_job,
    salt_apparatus,
    save_run,
    tree_of,
)
from wepystore.api import (
    Configuration,
    HDF5Reporter,
    Prepared,
    ProcessMapper,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    load_run,
    load_snapshot,
    prepare_store,
)
from wepystore.engine.errors import PlatformError
from wepystore.errors import DamagedError, UntrustedError
from wepystore.orchestrator.run import recorder
from wepystore.orchestrator.run.request import Means
from wepystore.orchestrator.run.resume import resume
from wepystore.orchestrator.run.watching import Watcher
from wepystore.orchestrator.verify.comparison import compare
from wepystore.orchestrator.verify.recordings import Parting
from wepystore.orchestrator.verify.verify import (
    NotRepeatableError,
    RecordedPlatformError,
    Verdict,
    distinct,
    verify,
)
from wepystore.records.errors import MalformedRecordError
from wepystore.records.parts import read_parts
from wepystore.records.recording import Part, buffers_of, encode_recording
from wepystore.records.run import encode_run
from wepystore.records.sinks import Remembering
from wepystore.records.tables import read_recording
from wepystore.records.trust import Trust
from wepystore.store import canonical
from wepystore.store.pickles.pickled import parts_in


def job_store(made: Prepared, job: Path, **options: Any) -> tuple[Store, str]:
    """The store that a run leaves, and the hash of the record in it."""
    outcome = run_job(made.store, made.snapshot_hash, job, **options)
    store = Store.open(outcome.job_dir / "checkpoint.orch")
    (run,) = store.hashes("runs")
    return store, run


def forged(store: Store, run: str, path: Path, **changes: Any) -> tuple[Store, str]:
    """A copy of a store in which the run's record says something else, with a hash to match."""
    shutil.copytree(store.path, path)
    copy = Store.open(path)
    record = load_run(copy, run)
    copy.remove("runs", run)
    return copy, save_run(copy, dataclasses.replace(record, **changes))


def again(store: Store, run: str, **options: Any) -> Verdict:
    return verify(store, run, Means(**options))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """Six cycles of the pair on two workers, with WExplore and a boundary at work."""
    folder = tmp_path_factory.mktemp("verify")
    made = prepare_store(folder / "pair.orch", pair_snapshot(), plain_configuration())
    return job_store(made, folder / "job", n_cycles=6, n_steps=20, n_workers=2)


def test_a_run_on_two_workers_is_repeated_by_one(pair: tuple[Store, str]) -> None:
    """R1: the same end hash in another number of processes; the verdict says so and no more."""
    verdict = again(*pair, n_workers=1)
    assert verdict.reproduced and verdict.promised
    assert verdict.end == verdict.record.end.md5
    assert verdict.differences == [] and verdict.reason is None and verdict.comparison is None


def test_nothing_is_written_and_no_reporter_is_called(tmp_path: Path) -> None:
    """Repeating leaves store and folder as they were, though the configuration has reporters."""
    made = prepare_store(
        tmp_path / "s.orch", pair_snapshot(), plain_configuration(reporters=[HDF5Reporter()])
    )
    store, run = job_store(made, tmp_path / "job")
    before = tree_of(tmp_path)
    assert again(store, run).reproduced
    assert tree_of(tmp_path) == before


def test_pme_on_the_cpu_platform_is_repeated_by_other_workers(tmp_path: Path) -> None:
    """R1 where it is hardest: PME with deterministic forces, one worker and then two."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    made = prepare_store(tmp_path / "s.orch", snapshot, plain_configuration())
    store, run = job_store(made, tmp_path / "job")
    assert again(store, run, n_workers=2).reproduced


def test_properties_of_workers_are_honoured(tmp_path: Path) -> None:
    """A run whose workers had properties of their own is repeated with them. Where these make the
    platform inexact the record promises nothing, and the reason that is told is this one."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    for threads in ("1", "2"):
        own = [{"Threads": "1"}, {"Threads": threads}]
        made = prepare_store(
            tmp_path / f"{threads}.orch",
            snapshot,
            plain_configuration(ProcessMapper(worker_properties=own)),
        )
        store, run = job_store(made, tmp_path / threads, n_steps=4, n_cycles=2)
        verdict = again(store, run, n_workers=1)
        assert verdict.promised == (threads == "1")
        if threads == "1":
            assert verdict.reproduced
        else:
            assert verdict.reason is not None
            assert "the configuration gives a worker properties" in verdict.reason
            assert "Threads=2" in verdict.reason


def test_on_another_platform_workers_have_no_properties(tmp_path: Path) -> None:
    """Those of one platform mean nothing to another: a run, and its repetition, with --platform."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    own = plain_configuration(ProcessMapper(worker_properties=[{"Threads": "2"}, {}]))
    made = prepare_store(tmp_path / "s.orch", snapshot, own)
    short = {"n_steps": 4, "n_cycles": 1}
    store, run = job_store(made, tmp_path / "cpu", **short)
    elsewhere = again(store, run, platform="Reference")
    assert not elsewhere.promised
    store, run = job_store(made, tmp_path / "reference", platform="Reference", **short)
    verdict = again(store, run)
    assert verdict.promised and verdict.reproduced
    assert verdict.end == elsewhere.end


def test_properties_that_the_platform_lacks_are_named_before_anything_runs(tmp_path: Path) -> None:
    """No worker is started and no job begun for a device that a platform cannot have."""
    own = plain_configuration(ProcessMapper(worker_properties=[{"DeviceIndex": "0"}]))
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), own)
    with pytest.raises(PlatformError, match="no property 'DeviceIndex'"):
        run_job(made.store, made.snapshot_hash, tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_another_seed_is_found_out(pair: tuple[Store, str], tmp_path: Path) -> None:
    """A record that claims another seed ends elsewhere: promised, nothing differs, and still not
    reproduced; what the ends have in common is measured."""
    verdict = again(*forged(*pair, tmp_path / "forged.orch", seed=2))
    assert not verdict.reproduced and verdict.promised and verdict.differences == []
    found = verdict.comparison
    assert found is not None
    assert found.parts == ["walkers", "resampler"]
    assert found.n_walkers == (6, 6) and found.n_same == 0
    assert 0 < found.fields["positions"] < 5 and found.fields["velocities"] > 0
    assert found.fields["box_vectors"] == 0.0 and found.fields["time"] == 0.0


def test_what_is_compared_is_measured_right(pair: tuple[Store, str], tmp_path: Path) -> None:
    """The largest deviations are those of the two ends' own arrays."""
    store, run = forged(*pair, tmp_path / "forged.orch", seed=2)
    record = load_run(store, run)
    made = Prepared(store, record.start.md5, record.config.md5)
    other = run_job(made.store, made.snapshot_hash, tmp_path / "o", n_cycles=6, n_steps=20, seed=2)
    there = load_snapshot(Store.open(tmp_path / "o" / "checkpoint.orch"), other.end)
    recorded = load_snapshot(store, record.end.md5)
    both = list(zip(recorded.walkers, there.walkers, strict=True))
    found = again(store, run).comparison
    assert found is not None
    for name in ("positions", "velocities"):
        apart = max(float(np.abs(a.state[name] - b.state[name]).max()) for a, b in both)
        assert found.fields[name] == apart
    assert found.weights == max(abs(a.weight - b.weight) for a, b in both)


@pytest.mark.parametrize("walkers", [True, {"states": 1.5}, {"weights": "x"}, {"groups": [{}]}])
def test_a_recorded_end_of_another_shape_is_named(
    pair: tuple[Store, str], tmp_path: Path, walkers: Any
) -> None:
    """A stranger's record may name anything as its end: told of as damaged, and no bug."""
    shutil.copytree(pair[0].path, tmp_path / "copy.orch")
    store = Store.open(tmp_path / "copy.orch")
    end = load_run(*pair).end
    manifest = store.manifest("snapshots", end.md5)
    odd = {**manifest["walkers"], **walkers} if isinstance(walkers, dict) else walkers
    ref = store.put("snapshots", canonical.dumps({**manifest, "walkers": odd}))
    here = load_snapshot(store, end.md5)
    with pytest.raises(MalformedRecordError, match=f"snapshot {ref.md5}"):
        compare(store, ref, here.walkers, here.apparatus)


def test_the_environment_s_difference_is_named(pair: tuple[Store, str], tmp_path: Path) -> None:
    """A run recorded under another OpenMM that ends otherwise: the verdict names OpenMM."""
    environment = {**load_run(*pair).environment, "openmm": "7.7.0"}
    verdict = again(*forged(*pair, tmp_path / "f.orch", seed=2, environment=environment))
    assert not verdict.reproduced
    assert [name for name, _, _ in verdict.differences] == ["openmm"]
    assert verdict.differences[0].then == "7.7.0"


def test_a_run_on_several_threads_promises_nothing(tmp_path: Path) -> None:
    """R1: on the CPU platform with two threads the record says so, and the verdict says why."""
    threads = Configuration(SerialMapper(), platform="CPU", platform_properties={"Threads": "2"})
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), threads)
    store, run = job_store(made, tmp_path / "job", n_cycles=1)
    verdict = again(store, run)
    assert not verdict.promised
    assert verdict.reason is not None
    assert "CPU" in verdict.reason and "Threads=2" in verdict.reason
    assert verdict.environment["platform_properties"]["Threads"] == "2"


class Dice:
    """A resampler that takes no generator, as one written for wepy."""

    def resample(self, walkers: Any) -> Any:
        return walkers, [], []


def test_a_component_that_draws_for_itself_is_the_reason(tmp_path: Path) -> None:
    """Where the platform can and the record promises nothing, the components are to blame."""
    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=Dice()))
    made = prepare_store(tmp_path / "s.orch", snapshot, plain_configuration())
    store, run = forged(*job_store(made, tmp_path / "job"), tmp_path / "f.orch", reproducible=False)
    verdict = again(store, run)
    assert verdict.reason is not None and "component" in verdict.reason
    assert verdict.reproduced and not verdict.promised


def test_the_recorded_platform_counts(tmp_path: Path) -> None:
    """Neither the configuration nor the runner names a platform: the one that was used is taken
    from the record, not the one that the runner would choose here."""
    snapshot = pair_snapshot(apparatus=pair_apparatus(runner=pair_runner(platform=None)))
    made = prepare_store(tmp_path / "s.orch", snapshot, plain_configuration())
    store, run = job_store(made, tmp_path / "job", platform="Reference")
    execution = load_run(store, run).execution._replace(platform_override=None)
    verdict = again(*forged(store, run, tmp_path / "f.orch", execution=execution))
    assert verdict.reproduced and verdict.environment["platform"] == "Reference"


def test_a_platform_that_was_asked_for_is_taken(pair: tuple[Store, str]) -> None:
    """--platform: repeated there, nothing promised, and the platform is the difference."""
    verdict = again(*pair, platform="CPU")
    assert not verdict.promised
    assert verdict.environment["platform"] == "CPU"
    assert [name for name, _, _ in verdict.differences] == ["platform"]
    assert again(*pair, platform="Reference").promised


def test_a_platform_that_is_not_here_is_told_of(pair: tuple[Store, str], tmp_path: Path) -> None:
    """A run made on a GPU, where there is none: exit 1, the platform, and the way out."""
    record = load_run(*pair)
    environment = {**record.environment, "platform": "Abacus"}
    store, run = forged(*pair, tmp_path / "f.orch", environment=environment)
    with pytest.raises(RecordedPlatformError, match=r"Abacus.*--platform") as refused:
        again(store, run)
    assert refused.value.exit_status == 1
    with pytest.raises(PlatformError, match="Sieve"):
        again(store, run, platform="Sieve")
    assert again(store, run, platform="Reference").reproduced


def test_an_override_of_the_platform_is_repeated(tmp_path: Path) -> None:
    """0005: the configuration says Reference, the run was made on CPU; it is repeated on CPU."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    store, run = job_store(made, tmp_path / "job", platform="CPU")
    verdict = again(store, run)
    assert verdict.reproduced and verdict.promised and verdict.differences == []


def test_a_run_from_a_checkpoint_is_repeated_from_there(
    pair: tuple[Store, str], tmp_path: Path
) -> None:
    """A continuation starts with a resampler that remembers, and is repeated from that."""
    store, run = pair
    end = load_run(store, run).end.md5
    made = Prepared(store, end, load_run(store, run).config.md5)
    after, its = job_store(made, tmp_path / "job", checkpoint_freq=1, n_workers=2)
    assert again(after, its).reproduced


def resumed(made: Prepared, job: Path, **more: Any) -> tuple[Store, str]:
    """Six cycles in two sessions: a signal ends the first, in its third cycle, on two workers."""
    watcher = Recorder()

    def stop(progress: Any) -> None:
        if progress.n_cycles_done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    watcher.on_cycle = stop
    options: dict[str, Any] = {"n_cycles": 6, "n_workers": 2, "checkpoint_freq": 2}
    first = run_job(made.store, made.snapshot_hash, job, watcher, **options)
    assert first.stopped_by == "SIGTERM" and first.n_cycles < 6
    second = resume(job, {"n_workers": 1, **more}, Recorder())
    assert second.n_cycles == 6
    store = Store.open(job / "checkpoint.orch")
    (run,) = [md5 for md5 in store.hashes("runs") if load_run(store, md5).end.md5 == second.end]
    return store, run


def test_an_interrupted_run_is_repeated_in_one_go(tmp_path: Path) -> None:
    """R2: stopped by a signal on two workers and resumed on one, the record is verified by a
    repetition that is never interrupted."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    store, run = resumed(made, tmp_path / "job")
    assert load_run(store, run).execution.resumed_from
    verdict = again(store, run)
    assert verdict.reproduced and verdict.promised and verdict.changes == []


def test_a_run_resumed_on_another_platform_promises_nothing(tmp_path: Path) -> None:
    """A run whose sessions had two platforms: no repetition on one of them need end the same, and
    the verdict says that this is why."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    store, run = resumed(made, tmp_path / "job", platform="CPU")
    verdict = again(store, run)
    assert not verdict.promised and "platform" in verdict.changes
    assert verdict.reason is not None and "resumed in another environment" in verdict.reason


def test_checkpoints_narrow_down_where_two_ends_part(tmp_path: Path) -> None:
    """Shorter records of the same run say until when the repetition is the same, and after which
    cycle it is another."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(), plain_configuration())
    store, run = job_store(made, tmp_path / "whole", n_cycles=6)
    record = load_run(store, run)
    ends = {}
    for n_cycles in (2, 4, 5):
        seed = 1 if n_cycles == 2 else 2
        job, its = job_store(made, tmp_path / str(n_cycles), n_cycles=n_cycles, seed=seed)
        ends[n_cycles] = load_run(job, its)
    # As if the machine had begun to miscount after the second cycle.
    for shorter in ends.values():
        save_run(store, dataclasses.replace(shorter, seed=1))
    store.remove("runs", run)
    wrong = save_run(store, dataclasses.replace(record, end=ends[5].end))
    verdict = again(store, wrong)
    assert not verdict.reproduced
    assert (verdict.same_until, verdict.other_after) == (2, 4)
    # Its end is not in this store, so there is nothing to compare with.
    assert verdict.comparison is None


def test_a_run_of_wepy_1_cannot_be_repeated(pair: tuple[Store, str], tmp_path: Path) -> None:
    """wepy 1.x noted neither seed nor steps: one line that says so, exit 1."""
    for n, missing in enumerate(({"seed": None}, {"n_steps": None})):
        store, run = forged(*pair, tmp_path / f"{n}.orch", **missing)
        with pytest.raises(NotRepeatableError, match=r"wepy 1\.x") as refused:
            again(store, run)
        assert refused.value.exit_status == 1


@pytest.mark.parametrize("lost", ["start", "config"])
def test_half_a_store_cannot_be_verified(
    pair: tuple[Store, str], tmp_path: Path, lost: str
) -> None:
    """S5: without its start, its configuration or a part of them nothing is repeated; exit 3."""
    store, run = pair
    entry = getattr(load_run(store, run), lost)
    for n, (kind, md5) in enumerate([(entry.kind, entry.md5), _part(store, entry)]):
        shutil.copytree(store.path, tmp_path / f"{n}.orch")
        half = Store.open(tmp_path / f"{n}.orch")
        half.file(kind, md5).unlink()
        with pytest.raises(DamagedError, match=entry.md5) as refused:
            again(half, run)
        assert refused.value.exit_status == 3


def _part(store: Store, entry: Any) -> tuple[str, str]:
    parts = [(kind, ref.md5) for kind, ref in store.references(entry.kind, entry.md5)]
    return parts[0] if parts else (entry.kind, entry.md5)


def test_without_the_end_the_hash_still_proves_it(pair: tuple[Store, str], tmp_path: Path) -> None:
    """S5: the end's own bytes are not needed to say that they came out again."""
    store, run = pair
    shutil.copytree(store.path, tmp_path / "half.orch")
    half = Store.open(tmp_path / "half.orch")
    end = load_run(store, run).end.md5
    half.file("snapshots", end).unlink()
    assert again(half, run).reproduced


def test_a_start_with_another_sha256_is_refused(pair: tuple[Store, str], tmp_path: Path) -> None:
    """S3: a record that names its start by another SHA-256 proves that one of them is forged."""
    record = load_run(*pair)
    ref = record.start.ref._replace(sha256="0" * 64)
    store, run = forged(*pair, tmp_path / "f.orch", start=record.start._replace(ref=ref))
    with pytest.raises(DamagedError, match="SHA-256"):
        again(store, run)


def test_an_end_with_another_sha256_is_not_the_same(
    pair: tuple[Store, str], tmp_path: Path
) -> None:
    """S3: an equal MD5 alone reproduces nothing."""
    record = load_run(*pair)
    ref = record.end.ref._replace(sha256="0" * 64)
    store, run = forged(*pair, tmp_path / "f.orch", end=record.end._replace(ref=ref))
    store.file("snapshots", record.end.md5).unlink()
    verdict = again(store, run)
    assert verdict.end == record.end.md5 and not verdict.reproduced


def test_untrusted_pickles_are_not_loaded(tmp_path: Path) -> None:
    """S9: trust comes first: exit 5 and nothing is run; trusted ones are repeated."""
    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=Dice()))
    made = prepare_store(tmp_path / "s.orch", snapshot, plain_configuration())
    store, run = job_store(made, tmp_path / "job")
    stranger = Trust(tmp_path / "trusted")
    with pytest.raises(UntrustedError) as refused:
        verify(store, run, Means(), trust=stranger)
    assert refused.value.exit_status == 5
    start = load_run(store, run).start.md5
    stranger.add([part.ref.sha256 for part in parts_in(store.read_manifest("snapshots", start))])
    before = stranger.trusted()
    assert verify(store, run, Means(), trust=stranger).reproduced
    assert stranger.trusted() == before


def test_workers_are_gone_when_a_cycle_fails(pair: tuple[Store, str], tmp_path: Path) -> None:
    """A repetition that fails leaves no process behind."""

    class Raises(Watcher):
        def cycle_done(self, progress: Any) -> None:
            assert progress.n_cycles_done == 1 and progress.n_cycles == 6
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(*pair, Means(n_workers=2), Raises())
    assert multiprocessing.active_children() == []


def test_a_process_mapper_of_the_configuration_is_used(tmp_path: Path) -> None:
    """Without an option the configuration's own mapper runs the segments."""
    made = prepare_store(
        tmp_path / "s.orch", pair_snapshot(), plain_configuration(mapper=ProcessMapper(2))
    )
    store, run = job_store(made, tmp_path / "job", n_workers=1)
    assert again(store, run).reproduced


def test_two_records_of_one_run_are_repeated_once(pair: tuple[Store, str], tmp_path: Path) -> None:
    """Records that differ in their times only are proved by one repetition; another seed is not."""
    store, run = pair
    shutil.copytree(store.path, tmp_path / "c.orch")
    copy = Store.open(tmp_path / "c.orch")
    record = load_run(store, run)
    execution = record.execution._replace(wall_s=1e6)
    slower = save_run(copy, dataclasses.replace(record, execution=execution))
    other = save_run(copy, dataclasses.replace(record, seed=5))
    assert distinct(copy, [run, slower, other]) == [run, other]


def test_the_repetition_draws_what_the_run_drew(pair: tuple[Store, str], tmp_path: Path) -> None:
    """Not the hash alone: a run with the record's parameters ends in the walkers that the
    recorded end holds, bit for bit, whatever a sink may make of them."""
    store, run = pair
    record = load_run(store, run)
    assert record.seed is not None and record.n_steps is not None
    outcome = run_job(
        store,
        record.start.md5,
        tmp_path / "job",
        seed=record.seed,
        n_steps=record.n_steps,
        n_cycles=record.n_cycles,
    )
    there = load_snapshot(Store.open(tmp_path / "job" / "checkpoint.orch"), outcome.end)
    assert bits(there.walkers) == bits(load_snapshot(store, record.end.md5).walkers)
    assert again(store, run).end == outcome.end


def with_recording(
    store: Store, run: str, path: Path, column: str, place: Any
) -> tuple[Store, str]:
    """A copy of a store in which a number of a run's recording is another one; and the run."""
    record = load_run(store, run)
    assert record.recording is not None
    shutil.copytree(store.path, path)
    other = Store.open(path)
    recording = read_recording(other, record)
    assert recording is not None
    columns = [
        dict(part) for part in read_parts(recording.tables, recording.columns, other.object, "")
    ]
    held = columns[0][column] = columns[0][column].copy()
    held[place] += 1
    with other.batch() as batch:
        parts = [
            Part(len(each["n_walkers"]), batch.put("objects", buffers_of(each))) for each in columns
        ]
        changed = dataclasses.replace(recording, tables=tuple(parts))
        entry = encode_recording(changed, Remembering(batch, {}))
        md5 = encode_run(dataclasses.replace(record, recording=entry), batch).md5
    return other, md5


@pytest.mark.parametrize("blocks", [2, 1 << 14])
@pytest.mark.parametrize(
    ("column", "place", "expected"),
    [
        ("weights", 6 + 2, ("weights", 1, 2)),
        ("resampling/decision_id", 3, ("resampling/decision_id", 0, 3)),
        ("progress/min_distances", 6 + 5, ("progress/min_distances", 1, 5)),
        ("resampling/target_idxs", 7, ("resampling/target_idxs", 1, 1)),
    ],
)
def test_it_says_where_two_recordings_part(
    pair_store: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
    column: str,
    place: int,
    expected: tuple[str, int, int],
) -> None:
    """Cycle, walker and field, in a block or in what is left over; the end is the same (D2)."""
    monkeypatch.setattr(recorder, "block_cycles_for", lambda n_walkers: blocks)
    store, run = job_store(pair_store, tmp_path / "job", n_cycles=5)
    verdict = again(store, run)
    assert verdict.is_recorded and verdict.parting is None and verdict.is_same
    verdict = again(*with_recording(store, run, tmp_path / "changed.orch", column, place))
    assert verdict.reproduced and not verdict.is_same
    assert verdict.parting == Parting(expected[1], expected[0], expected[2])


def test_a_recording_that_is_not_here_is_not_compared(pair_store: Prepared, tmp_path: Path) -> None:
    """The end alone is, and the verdict says so."""
    store, run = job_store(pair_store, tmp_path / "job")
    record = load_run(store, run)
    assert record.recording is not None
    store.remove("recordings", record.recording.md5)
    verdict = again(store, run)
    assert verdict.reproduced and not verdict.is_recorded and verdict.parting is None
