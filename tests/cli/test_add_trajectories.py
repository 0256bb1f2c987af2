"""`wepy add trajectories`, and what other commands tell of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import pytest

from tests.cli.conftest import Wepy
from tests.systems import REPOSITORY
from wepystore.store import Store

WEPY = REPOSITORY / "fixtures" / "wepy1"
RUN = "a553a890d72e2c89e5013cce73b8ae02,80611cb15a878cbb4390b1e814a0af04"


@pytest.fixture
def file(wepy: Wepy) -> str:
    """wepy's file, beside a store with the run that it is of."""
    wepy(f"reconcile orch w.orch {WEPY / 'first_job.checkpoint.orch.sqlite'}")
    data = gzip.decompress((WEPY / "first_job.wepy.h5.gz").read_bytes())
    Path("first_job.wepy.h5").write_bytes(data)
    return "first_job.wepy.h5"


def test_it_is_told_of(wepy: Wepy, file: str) -> None:
    """The hash, twice the same; by show, ls, log, fsck and status; lineages go through it."""
    result = wepy(f"add trajectories w.orch {RUN} {file}")
    (added,) = Store.open("w.orch").hashes("attachments")
    assert result == (0, added + "\n", "")
    assert wepy(f"add trajectories w.orch {RUN} {file}") == result
    shown = wepy(f"show w.orch {RUN}").out
    assert f"attached: {added}" in shown and "recorded: 53 cycles, 9" in shown
    assert "frames: box_vectors, positions of 2 atoms, float32" in shown
    told = json.loads(wepy(f"show --json w.orch {RUN}").out)
    assert told["attachments"] == [added] and told["recorded"]["n_cycles"] == 53
    (listed,) = json.loads(wepy("ls runs --json w.orch").out)
    assert listed["recorded_bytes"] == told["recorded"]["bytes"] > 50_000
    assert "kB" in wepy("ls runs --long w.orch").lines[1]
    assert "kB recorded" in wepy("log w.orch").out
    entry = json.loads(wepy(f"show --json w.orch {added[:8]}").out)
    assert entry["manifest"]["type"] == "attachment"
    assert "1 attachments" in wepy("fsck w.orch").err
    assert "attachments: 1" in wepy("status w.orch").out
    assert len(wepy(f"get lineage w.orch {RUN} --walker 3").lines) == 53
    assert "[new attachment]" in wepy("reconcile orch b.orch w.orch").err


def test_a_run_is_got_with_it(wepy: Wepy, file: str) -> None:
    """What is attached to a run goes where the run goes."""
    added = wepy(f"add trajectories w.orch {RUN} {file}").lines
    start, end = RUN.split(",")
    wepy(f"get run w.orch {start} {end} -O alone.orch")
    assert Store.open("alone.orch").hashes("attachments") == added


def test_it_goes_into_other_files(wepy: Wepy, file: str) -> None:
    """As what is recorded of any run."""
    wepy(f"add trajectories w.orch {RUN} {file}")
    assert wepy("reconcile hdf5 w.orch all.h5").lines == ["all.h5"]
    assert wepy(f"get trajectories w.orch {RUN} -O a.h5 --cycles :5").lines == ["a.h5"]
    for name, n_cycles in (("all.h5", 53), ("a.h5", 5)):
        with h5py.File(name) as found, h5py.File(file) as true:
            for walker in ("0", "9"):
                held = found[f"runs/0/trajectories/{walker}/positions"][:]
                given = true[f"runs/0/trajectories/{walker}/positions"][:n_cycles]
                assert (held == given.astype(held.dtype)).all()


def test_what_cannot_be_is_refused(wepy: Wepy, file: str) -> None:
    """One line, and the status that its kind of failure has."""
    Path("text.h5").write_text("a text")
    with h5py.File(file) as held, h5py.File("other.h5", "w") as other:
        for name in held:
            held.copy(name, other)
        other["runs/0"].attrs["start_snapshot_hash"] = "b" * 32
    for line, status, word in [
        (f"{RUN} text.h5", 3, "text.h5 cannot be read as a WepyHDF5 file"),
        (f"{RUN} other.h5", 1, "other.h5 is not of run "),
        (f"{RUN} none.h5", 1, "none.h5: No such file"),
        (f"{RUN} {file} --run-idx 1", 1, "has no run 1: it has 0"),
        (f"{RUN} {file} --run-idx first", 2, "--run-idx is 'first'"),
        (f"{RUN} {file} --precision half", 2, "--precision is 'half'"),
        (f"{RUN} {file} --fields forces", 1, "no 'forces'; they have box_vectors"),
        (f"{RUN} {file} --fields positions --tables-only", 2, "--tables-only keeps no fields"),
        (f"{'0' * 32} {file}", 1, "no run"),
    ]:
        result = wepy(f"add trajectories w.orch {line}")
        assert (result.status, result.out) == (status, "")
        assert word in result.err and result.err.count("\n") == 1
    assert not Store.open("w.orch").hashes("attachments")


def test_several_that_differ(wepy: Wepy, file: str) -> None:
    """A second one is refused by name; of two that have come together, a merge says so and ends
    with 4."""
    (first,) = wepy(f"add trajectories w.orch {RUN} {file}").lines
    again = wepy(f"add trajectories w.orch {RUN} {file} --tables-only")
    assert again.status == 1 and first in again.err
    wepy(f"reconcile orch b.orch {WEPY / 'first_job.checkpoint.orch.sqlite'}")
    (second,) = wepy(f"add trajectories b.orch {RUN} {file} --fields velocities").lines
    for command in ("reconcile orch", "reconcile orch", "push"):
        merged = wepy(f"{command} w.orch b.orch")
        assert merged.status == 4 and "has attachments that differ" in merged.err
    assert "recorded: attachments that differ" in wepy(f"show w.orch {RUN}").out
    result = wepy(f"get lineage w.orch {RUN}")
    assert result.status == 1 and first in result.err and second in result.err
    Store.open("w.orch").remove("attachments", second)
    assert wepy(f"get lineage w.orch {RUN}").status == 0
