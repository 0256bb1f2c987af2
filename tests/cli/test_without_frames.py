"""`--without frames`, and `gc --frames`: who lacks frames, where they are, what brings them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import contents
from tests.systems import run_job
from wepystore.api import Prepared, load_runs, reconcile
from wepystore.orchestrator.job.lock import JobLock
from wepystore.store import Store, whereabouts


@pytest.fixture(scope="module")
def finished(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of three cycles. Only read it."""
    folder = tmp_path_factory.mktemp("finished")
    run_job(pair_store.store, pair_store.snapshot_hash, folder / "job", n_cycles=3)
    reconcile(folder / "m.orch", folder / "job")
    return folder / "m.orch"


def command_of(text: str) -> str:
    """The command in quotes that a message names, without the program."""
    found = re.search(r"'wepy (reconcile .*?)' brings", text.replace("'\"'\"'", ""))
    assert found is not None, text
    return found[1]


def test_all_else_comes_and_then_they_do(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Status 0 and no damage without them; what brings them is named, and does; sizes with and
    without are told before."""
    with_them = wepy("reconcile orch -n n.orch w.orch")
    assert re.search(r"Would bring 17 files, .* kB, .* kB of them frames\.", with_them.err)
    dry = wepy("reconcile orch -n n.orch w.orch --without frames")
    assert re.search(r"Would bring 14 files, .* kB\. Frames, .* kB, stay where they are\.", dry.err)
    came = wepy("reconcile orch --without frames n.orch w.orch")
    assert came.status == 0 and "frames]" not in came.err and "stay where they are" in came.err
    assert wepy("fsck n.orch").status == 0 == wepy("ls runs n.orch").status
    told = wepy("status n.orch")
    assert told.status == 0 and "1 recording's frames are elsewhere" in told.out
    assert "1 recording's frames are elsewhere" in wepy("fsck n.orch").err
    line = command_of(told.out)
    assert line == f"reconcile orch n.orch {world.store.path}"
    brought = wepy(line)
    assert brought.status == 0 and "[new frames]" in brought.err and "3 files linked" in brought.err
    assert contents(Store.open(tmp_path / "n.orch")) == contents(world.store)
    assert "elsewhere" not in wepy("status n.orch").out + wepy("fsck n.orch").err


def test_json_tells_it(wepy: Wepy, world: World) -> None:
    """Bytes of frames, and which recordings lack theirs."""
    came = json.loads(wepy("reconcile orch --json --without frames n.orch w.orch").out)
    assert came["bytes_of_frames"] == 0 and came["bytes_left_there"] > 0
    assert not any(entry["kind"] == "frames" for entry in came["entries"])
    (recording,) = world.store.hashes("recordings")
    for command in ("status", "fsck"):
        (lacking,) = json.loads(wepy(f"{command} --json n.orch").out)["elsewhere"]
        assert lacking == {"frames": world.store.hashes("frames")[0], "recordings": [recording]}
    came = json.loads(wepy("reconcile orch --json n.orch w.orch").out)
    assert came["bytes_of_frames"] == came["bytes"] > 0 == came["bytes_left_there"]


@pytest.mark.parametrize("place", ["d.orch", "file://{}/d.orch"])
def test_push(wepy: Wepy, world: World, tmp_path: Path, place: str) -> None:
    """To a directory, and elsewhere."""
    if "://" in place:
        pytest.importorskip("fsspec")
    place = place.format(tmp_path)
    assert "stay where they are" in wepy(f"push --without frames w.orch {place}").err
    there = Store.open(tmp_path / "d.orch")
    assert there.hashes("runs") and not there.hashes("frames") and wepy("fsck d.orch").status == 0
    assert wepy(f"push --without frames w.orch {place}").err.startswith("Already up to date. F")
    assert "3 files sent" in wepy(f"push w.orch {place}").err
    assert contents(there) == contents(world.store)


def test_get_run(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """A store of the run alone, without its frames, that knows where they are."""
    told = wepy(f"get run --without frames -O one.orch w.orch {world.start} {world.end}")
    assert told == (0, "one.orch\n", "")
    one = Store.open(tmp_path / "one.orch")
    assert one.hashes("runs") and not one.hashes("frames")
    assert whereabouts.places_of(one, world.store.hashes("frames")) == [str(world.store.path)]
    refused = wepy(f"get snapshot --without frames w.orch {world.start}")
    assert refused.status == 2 and "get run" in refused.err


def test_only_frames_can_be_left(wepy: Wepy, world: World, tmp_path: Path) -> None:
    """Anything else is wrong usage, and nothing is made."""
    for line in ("reconcile orch n.orch w.orch", "push w.orch n.orch"):
        result = wepy(f"{line} --without weights")
        assert (
            result.status == 2 and "'frames'" in result.err and not (tmp_path / "n.orch").exists()
        )


def test_damaged_frames_are_left_out_alone(wepy: Wepy, world: World) -> None:
    """Status 3, and the run comes; without frames they are nobody's business."""
    md5 = world.store.hashes("frames")[0]
    part = world.store.references("frames", md5)[-1][1].md5
    world.store.remove("objects", part)
    assert wepy("fsck w.orch").status == 3 == wepy("status w.orch").status
    came = wepy("reconcile orch n.orch w.orch")
    assert came.status == 3 and f"[left out] frames {md5}" in came.err and "[new run]" in came.err
    assert wepy("reconcile orch --without frames m.orch w.orch").status == 0


@pytest.mark.parametrize("place", ["all.orch", "file://{}/all.orch"])
def test_what_was_pushed_may_go_from_here(
    wepy: Wepy, finished: Path, tmp_path: Path, place: str
) -> None:
    """A dry run first; then they are elsewhere, where push has sent them, and come back from."""
    if "://" in place:
        pytest.importorskip("fsspec")
    place = place.format(tmp_path)
    shutil.copytree(finished, tmp_path / "m.orch")
    store = Store.open(tmp_path / "m.orch")
    wepy(f"push m.orch {place}")
    (run,), before = store.hashes("runs"), contents(store)
    dry = wepy(f"gc --frames --run {run} --grace 0 m.orch")
    assert dry.status == 0 and "Would remove 2 files" in dry.err and contents(store) == before
    gone = wepy(f"gc --frames --run {run} --grace 0 --apply m.orch")
    assert gone.status == 0 and [line[:7] for line in gone.lines] == ["frames/", "objects"]
    there = place if "://" in place else str(tmp_path / place)
    assert command_of(gone.err) == f"reconcile orch m.orch {there}"
    assert not store.hashes("frames") and wepy("fsck m.orch").status == 0
    assert wepy(command_of(gone.err)).status == 0 and contents(store) == before


def test_gc_says_what_it_needs(wepy: Wepy, finished: Path) -> None:
    """Nothing goes that was not asked for; a duration is one; the grace period counts."""
    (run,) = Store.open(finished).hashes("runs")
    for line in ("--frames", f"--run {run}", "--older-than 3d", "--frames --older-than soon"):
        result = wepy(f"gc {line} {finished}")
        assert result.status == 2 and "--" in result.err, line
    told = wepy(f"gc --frames --run {run} {finished}")
    assert told.status == 0 and not told.out and "1 more stay for now" in told.err


def test_gc_waits_for_a_job_that_goes_on(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """An ended run may just be extended, from the frames that are there: nothing goes."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=2)
    store = Store.open(job / "checkpoint.orch")
    ((run,), before) = store.hashes("runs"), contents(store)
    lock = JobLock.acquire(job)
    lock.sign()
    line = f"gc --frames --run {run} --grace 0 --apply job"
    busy = wepy(line)
    assert busy.status == 1 and f"process {os.getpid()}" in busy.err and contents(store) == before
    lock.release()
    assert wepy(line).status == 0 and not store.hashes("frames")
    assert not (job / ".lock").exists()


def test_of_a_real_run(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """show, verify and what reads frames say where they are; a resume of the job's own store that
    lacks them goes on once they are back."""
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", n_cycles=3)
    own = tmp_path / "job" / "checkpoint.orch"
    wepy("reconcile orch all.orch job")
    wepy("reconcile orch --without frames m.orch all.orch")
    (run,) = load_runs(tmp_path / "m.orch")
    shown = wepy(f"show m.orch {run}")
    assert shown.status == 0
    assert re.search(rf"  frames: positions .*, elsewhere: {tmp_path}/all\.orch\n", shown.out)
    frames = json.loads(wepy(f"show --json m.orch {run}").out)["recorded"]["frames"]
    assert not frames["here"] and frames["seen_at"] == [f"{tmp_path}/all.orch"]
    verified = wepy(f"verify m.orch {run}")
    assert verified.status == 0 and "frames are elsewhere, and were not compared" in verified.err
    assert command_of(verified.err) == f"reconcile orch m.orch {tmp_path}/all.orch"
    wepy(command_of(verified.err))
    assert "elsewhere" not in wepy(f"verify m.orch {run}").err
    # The job's own.
    assert wepy(f"gc --frames --run {run} --grace 0 --apply job").status == 0
    assert wepy("fsck job").status == 0
    stuck = wepy("resume job --n-cycles 5")
    assert stuck.status == 1 and f"the frames of run {run} are not in job/" in stuck.err
    assert stuck.err.count("\n") == 1
    assert wepy(f"reconcile orch {shlex.quote(str(own))} all.orch").status == 0
    assert wepy("resume job --n-cycles 5").status == 0
    assert wepy("fsck job").status == 0 and len(load_runs(own)) == 2
