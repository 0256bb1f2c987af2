"""Job folders whose run ended while it was being begun, or whose job.json is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems import environment, run_job
from wepystore.api import Prepared, Store
from wepystore.orchestrator.errors import JobDirError, NoJobError
from wepystore.orchestrator.job.job import SPEC, Job
from wepystore.records.trust import arguments

# A Ctrl-C at one place: where the first directory of that name is made.
_INTERRUPTED = """
import sys
from wepystore.cli.main import main
where = sys.argv.pop(1)

def hook(event, details):
    if event == "os.mkdir" and str(details[0]).endswith(where):
        raise KeyboardInterrupt

sys.addaudithook(hook)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "where",
    [
        *("job", "checkpoint.orch", "tmp"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("objects", "runs")),
    ],
)
def test_ctrl_c_while_the_folder_is_made_leaves_nothing(
    pair_store: Prepared, tmp_path: Path, where: str
) -> None:
    """Wherever it comes: the same command can be given again."""
    (tmp_path / "job").mkdir() if where != "job" else None
    place = where if where in ("job", "checkpoint.orch") else f"checkpoint.orch/{where}"
    words = ["run", "orch", "--n-cycles=1", f"--job-dir={tmp_path / 'job'}"]
    words += [str(pair_store.store.path), "default", "10", "10"]
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, place, *words],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (130, "wepy: interrupted\n")
    assert where == "job" or not list((tmp_path / "job").iterdir())
    again = [sys.executable, "-m", "wepystore", *words]
    assert subprocess.run(again, capture_output=True, env=environment()).returncode == 0


@pytest.mark.parametrize("where", [".", "objects", "tmp/job", "new/job"])
def test_no_job_is_made_inside_a_store(pair_store: Prepared, where: str, tmp_path: Path) -> None:
    """rsync would carry it with the store, fsck not know it, and gc take what is in tmp/."""
    store = Store.create(tmp_path / "x.orch")
    before = sorted(store.path.rglob("*"))
    with pytest.raises(JobDirError, match=f"inside the store {store.path}; .*--job-dir"):
        run_job(pair_store.store, pair_store.snapshot_hash, store.path / where)
    assert sorted(store.path.rglob("*")) == before


def test_a_job_that_has_lost_its_job_json_is_not_said_to_be_empty(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """Nobody is told to start again what has run for days; what goes on from there is named."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job)
    (job / SPEC).unlink()
    with pytest.raises(
        NoJobError, match=r"lost its job\.json.*wepy run orch \S+job/checkpoint\.orch"
    ):
        Job.reopen(job)


def test_words_of_a_command_line_can_be_pasted() -> None:
    """Paths that begin with a dash are no options."""
    assert arguments("-x", "a b", Path("-y") / "z", "c") == "./-x 'a b' ./-y/z c"
