"""DashboardReporter: the page says what the run did, and costs the same at any length."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.reporters import DashboardReporter


@pytest.fixture(scope="module")
def page(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = replay(DashboardReporter(), tmp_path_factory.mktemp("dash") / "job", recording)
    return Path(path).read_text()


def test_the_page_has_a_section_for_each_question(page: str) -> None:
    """What is asked of a running job is answered under a heading of its own."""
    assert page.startswith("#+TITLE: job\n")
    headings = re.findall(r"^\*+ (.*)$", page, re.M)
    assert headings == [
        "Simulation",
        "Weights",
        "Progress",
        "Resampler",
        "Boundary conditions",
        "Latest warps",
        "Performance",
        "Workers",
    ]


def test_sampled_time_and_steps_are_right(page: str) -> None:
    """40 cycles of 60 steps of 2 fs are 4.8 ps a walker, 38.4 ps for eight."""
    assert "- cycles :: 40\n" in page
    assert "- steps :: 2400 of each walker, 19200 in all\n" in page
    assert "- sampled time of each walker :: 4.8 ps\n" in page
    assert "- sampled time of all walkers :: 38.4 ps\n" in page
    assert "ns/day" in page


def test_warps_and_their_rate_are_right(page: str, recording: Recording) -> None:
    """The rate is the warped weight over the sampled time of one walker."""
    warps = [
        (report["cycle_idx"], warp) for report in recording.reports for warp in report["warp_data"]
    ]
    total = sum(float(warp["weight"][0]) for _, warp in warps)
    assert f"- warps :: {len(warps)}\n" in page
    assert f"- warped weight :: {total:.6g}\n" in page
    assert f"- rate so far :: {total / 4.8:.6g} 1/ps" in page
    section = page.partition("** Latest warps")[2].partition("* Performance")[0]
    listed = [line.split("|") for line in section.splitlines() if re.match(r"\| \d", line)]
    expected = [
        [cycle, int(warp["walker_idx"][0]), f"{float(warp['weight'][0]):.6g}"]
        for cycle, warp in reversed(warps[-20:])
    ]
    assert [[int(row[1]), int(row[2]), row[4].strip()] for row in listed] == expected


def test_weights_and_progress_are_those_of_the_last_cycle(page: str, recording: Recording) -> None:
    """Smallest and largest weight, and progress now and ever."""
    weights = [walker.weight for walker in recording.reports[-1]["resampled_walkers"]]
    assert f"- smallest :: {min(weights):.6g}\n" in page
    assert f"- largest :: {max(weights):.6g}\n" in page
    now = recording.reports[-1]["progress_data"]["min_distances"]
    ever = [value for r in recording.reports for value in r["progress_data"]["min_distances"]]
    figures = [min(now), np.mean(now), max(now), min(ever), max(ever)]
    row = " | ".join(f"{figure:.6g}" for figure in figures)
    assert f"| min_distances | {row} |\n" in page


def test_a_resumed_page_counts_on(recording: Recording, tmp_path: Path) -> None:
    """R2: sums kept in the page at a flush are those that a resumed job goes on with."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    first.flush()
    for report in recording.reports[20:24]:
        first.report(**report)
    first.flush()
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    page = Path(resumed.path).read_text()
    assert "- steps :: 2400 of each walker, 19200 in all\n" in page
    assert f"- warps :: {sum(len(r['warp_data']) for r in recording.reports)}\n" in page
    assert "from cycle" not in page


def test_warps_are_listed_once_where_two_flushes_tell_of_one_cycle(
    recording: Recording, tmp_path: Path
) -> None:
    """A flush keeps the cycle before it too, which is that of a flush one cycle earlier."""
    n_cycles = 1 + next(k for k, r in enumerate(recording.reports) if k and r["warp_data"])
    pages = []
    for name in ("whole", "resumed"):
        reporter = open_reporter(DashboardReporter(), tmp_path / name, recording)
        for report in recording.reports[: n_cycles + 1]:
            reporter.report(**report)
            reporter.flush()
        if name == "resumed":
            reporter = open_reporter(
                DashboardReporter(), tmp_path / name, recording, resume_at=n_cycles
            )
            reporter.report(**recording.reports[n_cycles])
            reporter.flush()
        pages.append(Path(reporter.path).read_text())
    lists = [[line for line in page.splitlines() if line.count("|") == 5] for page in pages]
    assert len(lists[0]) > 1
    assert lists[0] == lists[1]


def test_a_cycle_in_which_another_reporter_failed_is_counted_once(
    recording: Recording, tmp_path: Path
) -> None:
    """R2: a full disk ends a cycle that this reporter has seen; the checkpoint that is written
    then is of the cycle before, and the job goes on from there."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    first.report(**recording.reports[20])
    first.flush()
    first.cleanup()
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    page = Path(resumed.path).read_text()
    assert "- steps :: 2400 of each walker, 19200 in all\n" in page
    assert f"- warps :: {sum(len(r['warp_data']) for r in recording.reports)}\n" in page
    ever = [value for r in recording.reports for value in r["progress_data"]["min_distances"]]
    assert f"| {min(ever):.6g} | {max(ever):.6g} |\n" in page
    assert "from cycle" not in page


def test_a_page_that_was_lost_is_begun_anew_and_says_so(
    recording: Recording, tmp_path: Path
) -> None:
    """Figures that cover a part of the run are never shown as if they covered all."""
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    page = Path(resumed.path).read_text()
    assert "- cycles :: 40\n" in page
    assert "- figures below :: from cycle 20 on\n" in page
    assert "- steps :: 1200 of each walker, 9600 in all\n" in page


def test_it_never_shows_a_torn_page(recording: Recording, tmp_path: Path) -> None:
    """The page is replaced whole: the one a reader holds open stays as it was."""
    reporter = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    with open(reporter.path) as held:
        reporter.report(**recording.reports[0])
        reporter.flush()
        assert "- cycles :: 0\n" in held.read()
    assert "- cycles :: 1\n" in Path(reporter.path).read_text()
