"""Job folders: refused when they hold a run, left as they were when nothing came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.systems import (
    environment,
    pair_apparatus,
    pair_snapshot,
    plain_configuration,
    run_job,
    tree_of,
)
from wepystore.api import HDF5Reporter, Prepared, Runner, Store, prepare_store
from wepystore.engine.errors import PlatformError, SegmentError
from wepystore.errors import WepystoreError
from wepystore.orchestrator.errors import (
    JobBusyError,
    JobDirError,
    JobExistsError,
    JobNameError,
    MalformedJobError,
    NewerJobError,
)
from wepystore.orchestrator.job.job import CHECKPOINT, SPEC, Job, JobSpec
from wepystore.orchestrator.job.lock import JobLock
from wepystore.orchestrator.run.request import RunRequest, check_job_name
from wepystore.store.names import EntryRef


def everything(root: Path) -> dict[str, Any]:
    """All of a directory: files by content and time, and the directories."""
    return {
        **tree_of(root),
        **{str(path.relative_to(root)) + "/": None for path in root.rglob("*") if path.is_dir()},
    }


@pytest.mark.parametrize("job_name", ["job", "other"])
def test_a_folder_that_holds_a_run_is_left_alone(
    pair_store: Prepared, tmp_path: Path, job_name: str
) -> None:
    """Byte for byte, times included, whatever the new job's name; the message names the folder."""
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job")
    before = everything(tmp_path)
    with pytest.raises(JobExistsError, match=r"job.*checkpoint\.orch.*left alone"):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", job_name=job_name)
    assert everything(tmp_path) == before


def test_a_folder_with_files_of_that_name_is_left_alone(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """Somebody's trajectory is never overwritten, even without a checkpoint."""
    (tmp_path / "job.wepy.h5").write_bytes(b"precious")
    before = everything(tmp_path)
    with pytest.raises(JobExistsError, match=r"job\.wepy\.h5"):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path)
    assert everything(tmp_path) == before


def test_foreign_files_do_no_harm(pair_store: Prepared, tmp_path: Path) -> None:
    """A folder with the user's notes in it may take a job, and keeps the notes."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "jobs.txt").write_text("mine")
    run_job(pair_store.store, pair_store.snapshot_hash, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / CHECKPOINT).is_dir()


class Failing(Runner):
    """Fails in the first cycle."""

    def run_segment(self, walker: Any, segment_length: int, **kwargs: Any) -> Any:
        raise ArithmeticError("on request")


def failing_store(path: Path) -> Prepared:
    return prepare_store(
        path,
        pair_snapshot(apparatus=pair_apparatus(runner=Failing())),
        plain_configuration(reporters=[HDF5Reporter()]),
    )


@pytest.mark.parametrize("folder", ["job", "a/b/job", "."])
def test_a_failed_first_cycle_leaves_nothing_behind(tmp_path: Path, folder: str) -> None:
    """Not even the folders that were made on the way; the next try is not blocked."""
    made = failing_store(tmp_path / "x.orch")
    home = tmp_path / "home"
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    before = everything(home)
    for _ in range(2):
        with pytest.raises(SegmentError, match=r"cycle 0.*on request"):
            run_job(made.store, made.snapshot_hash, home / folder)
        assert everything(home) == before


@pytest.mark.parametrize("wrong", ["ffffffff", "xyz", "no-such-tag", ""])
def test_a_wrong_hash_leaves_no_folder(pair_store: Prepared, tmp_path: Path, wrong: str) -> None:
    """What to run is looked up before anything is made."""
    with pytest.raises(WepystoreError):
        run_job(pair_store.store, wrong, tmp_path / "job")
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_is_no_start(pair_store: Prepared, tmp_path: Path) -> None:
    """START that is a config is refused by name, and leaves no folder."""
    with pytest.raises(WepystoreError, match="configuration"):
        run_job(pair_store.store, pair_store.config_hash, tmp_path / "job")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_platform_leaves_no_folder(pair_store: Prepared, tmp_path: Path) -> None:
    """Checked before the job folder is made."""
    with pytest.raises(PlatformError, match="Quantum"):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job", platform="Quantum")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(pair_store: Prepared, tmp_path: Path) -> None:
    """It is kept, and named; so is a file further up the path."""
    (tmp_path / "file").write_text("mine")
    before = everything(tmp_path)
    for folder in ("file", "file/job"):
        with pytest.raises(JobDirError, match="file"):
            run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / folder)
        assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\0b", "a\nb", "x" * 201, "é" * 101, "-v", ".x"]
)
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    """S10: a job's name is checked before it becomes a path; no folder is made for it."""
    with pytest.raises(JobNameError):
        check_job_name(name)
    with pytest.raises(JobNameError):
        Job(tmp_path / "job", name)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("name", ["job", "4ac37de", "a b", "Größe", "x.y", "x-v"])
def test_other_names_are_fine(name: str) -> None:
    """Spaces, dots and letters of any language."""
    assert check_job_name(name) == name


def test_the_files_are_named_by_the_job(pair_store: Prepared, tmp_path: Path) -> None:
    """The job's name begins the files; its store is checkpoint.orch; job.json says what it is.
    No lock stays behind."""
    made = prepare_store(
        tmp_path / "x.orch", pair_snapshot(), plain_configuration(reporters=[HDF5Reporter()])
    )
    run_job(made.store, made.snapshot_hash, tmp_path / "job", job_name="first")
    names = {path.name for path in (tmp_path / "job").iterdir()}
    assert names == {"first.wepy.h5", "job.json", CHECKPOINT}
    assert Store.open(tmp_path / "job" / CHECKPOINT).hashes("configs") == [made.config_hash]


DRIVER = """
import os, sys
from pathlib import Path
from tests.systems import run_job
from wepystore.api import Store
from wepystore.orchestrator.job.job import Job
where = sys.argv[4]
if where == "store":
    Job.publish = lambda self, spec: os._exit(9)
elif where == "lock":
    Store.create = classmethod(lambda cls, path: os._exit(9))
run_job(Store.open(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
"""


@pytest.mark.parametrize("where", ["lock", "store"])
def test_a_run_that_was_killed_before_it_began_does_not_block_the_next(
    pair_store: Prepared, tmp_path: Path, where: str
) -> None:
    """Without job.json no cycle was run: the next run takes the folder, whatever it starts from,
    and nothing of the first is left in it."""
    other = prepare_store(tmp_path / "y.orch", pair_snapshot(3), plain_configuration())
    (tmp_path / "drive.py").write_text(DRIVER)
    words = [other.store.path, other.snapshot_hash, tmp_path / "job", where]
    done = subprocess.run(
        [sys.executable, tmp_path / "drive.py", *words], env=environment(), timeout=60
    )
    assert done.returncode == 9
    assert (tmp_path / "job" / ".lock").exists()
    outcome = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job")
    store = Store.open(tmp_path / "job" / CHECKPOINT)
    assert set(store.hashes("snapshots")) == {outcome.start, outcome.end}
    assert not (tmp_path / "job" / ".lock").exists()


def test_a_store_that_nobody_killed_here_is_left_alone(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """A checkpoint.orch without a lock's file beside it may be anybody's; so may one with runs."""
    made = prepare_store(tmp_path / "job" / CHECKPOINT, pair_snapshot(2), plain_configuration())
    before = everything(tmp_path)
    with pytest.raises(JobExistsError):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "job")
    assert everything(tmp_path) == before
    run_job(made.store, made.snapshot_hash, tmp_path / "run")
    (tmp_path / "run" / "job.json").unlink()
    lock = JobLock.acquire(tmp_path / "run")
    lock.sign()
    lock.release(remove=False)
    before = everything(tmp_path)
    with pytest.raises(JobExistsError):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "run")
    assert everything(tmp_path) == before


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """And told; free again when it is let go, and when a stale file says otherwise."""
    lock = JobLock.acquire(tmp_path)
    lock.sign()
    with pytest.raises(JobBusyError, match=f"process {os.getpid()} on"):
        JobLock.acquire(tmp_path)
    lock.release(remove=False)
    again = JobLock.acquire(tmp_path)
    assert again.signed
    again.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_program_is_not_ours(pair_store: Prepared, tmp_path: Path) -> None:
    """Its file is neither overwritten nor removed."""
    (tmp_path / ".lock").write_text("theirs")
    with pytest.raises(JobDirError, match="another program"):
        run_job(pair_store.store, pair_store.snapshot_hash, tmp_path)
    assert (tmp_path / ".lock").read_text() == "theirs"


def spec_file(folder: Path, **changes: Any) -> Path:
    """A job.json that says what no run of 5 cycles in a folder says, with changes."""
    ref = {"md5": "0" * 32, "sha256": "0" * 64, "size": 1}
    start, config = (EntryRef.from_json({"kind": k, **ref}, "") for k in ("snapshots", "configs"))
    request = RunRequest(job_name="job", seed=1, n_steps=10, seconds=1.0, n_cycles=5)
    spec = JobSpec(request, start, config, begun="")
    value = json.loads(spec.to_bytes())
    file = folder / SPEC
    file.write_text(json.dumps({**value, **changes}))
    return file


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", [-1, 2**63, None, True, 1.5]),
        ("n_steps", [0, -1, 2**63, None]),
        ("seconds", [-0.5, "1"]),
        ("n_cycles", [0, 1.5, 2**70]),
        ("checkpoint_freq", [0, -1]),
        ("n_workers", [0, -1]),
        ("name", ["", "a/b", "x" * 300, "\u202e"]),
        ("start", [None, [], {"md5": "x"}, {"kind": "runs"}]),
        ("format", [True, 0, "1", None]),
        ("type", ["run"]),
    ],
)
def test_a_job_json_that_says_nonsense_is_refused(
    tmp_path: Path, name: str, values: list[Any]
) -> None:
    """Exit 3, naming the file and the way on; nothing is run with a number that cannot be."""
    assert JobSpec.read(spec_file(tmp_path)).request.n_cycles == 5
    for value in values:
        with pytest.raises(
            MalformedJobError, match=r"job\.json does not say .* new run$"
        ) as caught:
            JobSpec.read(spec_file(tmp_path, **{name: value}))
        assert caught.value.exit_status == 3 and len(str(caught.value)) < 500


def test_a_job_json_of_a_newer_program(tmp_path: Path) -> None:
    """It is not damaged: the message says to upgrade."""
    with pytest.raises(NewerJobError, match=r"format 9; this one reads 2.*upgrade"):
        JobSpec.read(spec_file(tmp_path, format=9))


def test_a_job_json_that_is_no_file(tmp_path: Path) -> None:
    """A folder, a pipe, a link to a file without an end: refused at once, not waited for."""
    file = tmp_path / SPEC
    for make in (file.mkdir, lambda: os.mkfifo(file), lambda: file.symlink_to("/dev/zero")):
        make()
        with pytest.raises(MalformedJobError, match="nothing in a job folder is followed"):
            JobSpec.read(file)
        file.rmdir() if file.is_dir() else file.unlink()
    for data in (b"", b"\0" * 9, b"\xff\xfe{}", b"[]", b"[" * 100_000, b'{"type":"job"'):
        file.write_bytes(data)
        with pytest.raises(MalformedJobError):
            JobSpec.read(file)
