"""read_job: what the run, its dashboard and whoever looks on tell of one run is the same."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.systems import Recorder, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    CycleFailedError,
    DashboardReporter,
    PositionCoordinate,
    Prepared,
    RandomWalkRunner,
    RandomWalkTargetBC,
    SerialMapper,
    Snapshot,
    Walker,
    load_snapshot,
    prepare_store,
    read_job,
    resume,
)
from wepystore.cli import job_text
from wepystore.cli.run_display import describe
from wepystore.orchestrator.job.progress_file import PROGRESS, read_progress
from wepystore.orchestrator.run import pulse
from wepystore.reporters import dashboard
from wepystore.reporters.flux import rate_lines

N_WALKERS = 20


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Walks from 0 that go back there from 6, in bins."""
    runner = RandomWalkRunner(probability=0.45)
    origin = runner.initial_state()
    apparatus = Apparatus(
        runner,
        RandomWalkTargetBC(6, [origin]),
        BinResampler(PositionCoordinate(), edges=[k + 0.5 for k in range(6)], pmax=1.0),
    )
    start = Snapshot([Walker(origin, 1 / N_WALKERS)] * N_WALKERS, apparatus)
    path = tmp_path_factory.mktemp("walks") / "walks.orch"
    return prepare_store(path, start, Configuration(SerialMapper(), [DashboardReporter()]))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page and pulse are written in each cycle."""
    monkeypatch.setattr(pulse, "_EVERY_S", 0.0)
    monkeypatch.setattr(pulse, "_SHARE", 1e9)
    monkeypatch.setattr(dashboard, "_EVERY_S", 0.0)


def facts(page: str) -> dict[str, str]:
    """The lines `- label :: value` of a dashboard."""
    return dict(re.findall(r"^- (.*?) :: (.*)$", page, re.M))


def test_three_tell_the_same(walks: Prepared, tmp_path: Path) -> None:
    """Page, progress line and look, after each cycle of a run and of the session that resumes it:
    cycles, weights, clones, merges, warps, rate and its interval, time left."""
    job, seen = tmp_path / "job", []

    def compare(progress: Any) -> None:
        status = read_job(job)
        standing, page = status.standing, (job / "job.dash.org").read_text()
        seen.append(progress.n_cycles_done)
        assert status.state == "running" and standing.n_cycles == progress.n_cycles_done
        # The line of the run is made of what it tells itself, and that of `wepy watch` too.
        assert job_text.line(status) == describe(progress)
        assert standing.flux == progress.flux and standing.weights == progress.spread
        told = facts(page)
        assert told["cycles"] == str(progress.n_cycles_done)
        assert told["walkers"] == str(progress.spread.n_walkers)
        assert told["smallest"] == f"{progress.weight_min:.3g}"
        assert told["largest"] == f"{progress.weight_max:.3g}"
        assert f"as much as {progress.spread.effective:.1f} equal walkers" in told["entropy"]
        assert (told["clones"], told["merges"], told["warps"]) == tuple(
            map(str, (progress.n_cloned, progress.n_merged, progress.n_warped))
        )
        lines = list(rate_lines(progress.flux, progress.unit))
        assert not progress.n_warped or "\n".join(lines) in page
        shown = [f"{label}: {text}" for label, text in job_text.page(status)]
        for line in lines if progress.n_warped else ():
            assert line.startswith("|") or line[2:].replace(" :: ", ": ", 1) in shown
        rate = re.search(r"rate ([\d.e-]+) 1/steps \((\S+ to [\d.e-]+)", describe(progress))
        assert (rate is not None) == told.get("rate", "n").startswith(tuple("0123456789"))
        assert rate is None or told["rate"] == f"{rate[1]} 1/steps ({rate[2]})"

    watcher = Recorder(on_cycle=compare)
    run_job(walks.store, walks.snapshot_hash, job, watcher, n_cycles=60, checkpoint_freq=7)
    resume(job, n_cycles=90, watcher=watcher)
    assert seen == list(range(1, 91))
    # After the end the same, of what is in the store alone.
    status, [*_, (_, last)] = read_job(job), [e for e in watcher.events if e[0] == "cycle"]
    assert status.state == "complete" and read_progress(job) is None
    assert status.standing.flux == last.flux and status.standing.weights == last.spread
    assert status.standing.flux.estimate() is not None
    assert status.kept_cycles == status.standing.n_cycles == 90
    (dash,) = job.glob("*.dash.org")
    assert "\n".join(rate_lines(status.standing.flux, "steps")) in dash.read_text()
    assert repr(status).endswith("job': complete, 90 of 90 cycles, 90 kept>")
    assert "<th>rate</th><td>rate " in status._repr_html_()


def test_its_seconds_were_over(walks: Prepared, tmp_path: Path) -> None:
    """Before all cycles were done: something is left, and the page says why it stopped; a job that
    was asked for SECONDS alone has done all."""
    job = tmp_path / "job"
    run_job(walks.store, walks.snapshot_hash, job, seconds=1e-6, n_cycles=10**6)
    status = read_job(job)
    assert (status.state, status.ended_by, status.is_over) == ("stopped", "seconds", True)
    assert ("state", "stopped: SECONDS were over") in list(job_text.page(status))
    run_job(walks.store, walks.snapshot_hash, tmp_path / "all", seconds=1e-6, n_cycles=None)
    assert read_job(tmp_path / "all").state == "complete"


def test_a_failed_cycle(walks: Prepared, tmp_path: Path) -> None:
    """Stopped by an error, from whose checkpoint it can go on."""
    job = tmp_path / "job"

    class Failing(DashboardReporter):
        def report(self, **report: Any) -> None:
            if report["cycle_idx"] == 4:
                raise OSError(5, "the disk is broken", "here")

    configuration = Configuration(SerialMapper(), [Failing()])
    made = prepare_store(
        tmp_path / "x.orch", load_snapshot(walks.store, walks.snapshot_hash), configuration
    )
    with pytest.raises(CycleFailedError):
        run_job(made.store, made.snapshot_hash, job, n_cycles=9)
    status = read_job(job)
    assert (status.state, status.ended_by, status.kept_cycles) == ("stopped", "error", 4)
    assert ("state", "stopped: a cycle failed") in list(job_text.page(status))


@pytest.mark.parametrize(
    "change",
    [
        *({"n_cycles": value} for value in (-1, 1e30, "7", None, True, [])),
        *({"flux": value} for value in (None, {}, {"first": 0, "length": 0, "blocks": []}, 3)),
        *({"workers": value} for value in ({"0": 3}, {"0": [1, "x"]}, [[]], {"0": [1, 1e400]})),
        *({"weights": value} for value in ([1, 1, 1, 1], {"a": 1}, [[], [], [], [], []])),
        *({"components": value} for value in ({"resampler": []}, 3)),
        {"format": 2},
        {"at": -1},
    ],
)
def test_what_no_run_tells_is_not_shown(
    walks: Prepared, tmp_path: Path, change: dict[str, Any]
) -> None:
    """In the file that a process has left behind anything may stand by now."""
    job = tmp_path / "job"
    kept: list[bytes] = []
    watcher = Recorder(on_cycle=lambda progress: kept.append((job / PROGRESS).read_bytes()))
    run_job(walks.store, walks.snapshot_hash, job, watcher)
    (job / PROGRESS).write_text(json.dumps({**json.loads(kept[1]), **change}))
    (job / ".lock").write_text(
        json.dumps({"lock": "wepystore job", "host": "elsewhere", "pid": 1, "since": "then"})
    )
    status = read_job(job)
    assert (status.state, status.standing.n_cycles) == ("running", 3)  # That of the record.
    assert list(job_text.page(status)) and job_text.to_json(status)


@pytest.mark.parametrize("what", ["bomb", "deep", "huge", "link", "pipe", "folder"])
def test_whatever_lies_in_its_place_is_passed_over(
    walks: Prepared, tmp_path: Path, what: str
) -> None:
    """No link is followed, no pipe is waited for, nothing large is read."""
    job = tmp_path / "job"
    run_job(walks.store, walks.snapshot_hash, job)
    for name in (PROGRESS, ".lock"):
        file = job / name
        if what == "bomb":
            file.write_text("[" * 100_000)
        elif what == "deep":
            file.write_text('{"a":' * 2000 + "1" + "}" * 2000)
        elif what == "huge":
            with open(file, "wb") as sparse:
                sparse.truncate(1 << 40)
        elif what == "link":
            file.symlink_to("/etc/passwd")
        elif what == "pipe":
            os.mkfifo(file)
        else:
            file.mkdir()
    status = read_job(job)
    assert (status.state, status.holder) == ("complete", None)
