"""DashboardReporter: the page says what the run did, and costs the same at any length."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.dashboard_state import write_lines


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
        "Rate",
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
    """The rate is the warped weight over the sampled time of one walker, in the last half."""
    warps = [
        (report["cycle_idx"], warp) for report in recording.reports for warp in report["warp_data"]
    ]
    total = sum(float(warp["weight"][0]) for _, warp in warps)
    assert f"- warps :: {len(warps)}\n" in page
    assert f"- warped weight :: {total:.3g}\n" in page
    late = [float(warp["weight"][0]) for cycle, warp in warps if cycle >= 20]
    assert f"- window :: cycles 21 to 40, the last half: {len(late)} warps" in page
    assert f"- rate :: {sum(late) / 2.4:.2g} 1/ps (" in page
    assert f"- mean first passage time :: {2.4 / sum(late):.2g} ps (" in page
    table = page.partition("| cycles | flux (1/ps) | warps |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if "to" in line]
    assert [row[0].strip() for row in rows] == [f"{k} to {k + 4}" for k in range(1, 40, 5)]
    assert sum(int(row[2]) for row in rows) == len(warps)
    section = page.partition("** Latest warps")[2].partition("* Performance")[0]
    listed = [line.split("|") for line in section.splitlines() if re.match(r"\| \d", line)]
    expected = [
        [cycle, int(warp["walker_idx"][0]), f"{float(warp['weight'][0]):.3g}"]
        for cycle, warp in reversed(warps[-20:])
    ]
    assert [[int(row[1]), int(row[2]), row[4].strip()] for row in listed] == expected


def test_weights_and_progress_are_those_of_the_last_cycle(page: str, recording: Recording) -> None:
    """Smallest and largest weight, and progress now and ever; the mean is that of the system."""
    weights = [walker.weight for walker in recording.reports[-1]["resampled_walkers"]]
    assert f"- smallest :: {min(weights):.3g}\n" in page
    assert f"- largest :: {max(weights):.3g}\n" in page
    now = recording.reports[-1]["progress_data"]["min_distances"]
    ever = [value for r in recording.reports for value in r["progress_data"]["min_distances"]]
    moved = [walker.weight for walker in recording.reports[-1]["new_walkers"]]
    figures = [min(now), np.average(now, weights=moved), max(now), min(ever), max(ever)]
    row = " | ".join(f"{figure:.4g}" for figure in figures)
    assert f"| min_distances | {row} |\n" in page


@pytest.mark.parametrize("failed", [False, True], ids=["killed", "another reporter failed"])
def test_a_resumed_page_counts_on(recording: Recording, tmp_path: Path, failed: bool) -> None:
    """R2: sums kept in the page at a flush are those that a resumed job goes on with, and each
    cycle is counted once: also where a full disk ended a cycle that this reporter had seen, and
    the checkpoint that was written then is of the cycle before."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    if not failed:
        first.flush()
    for report in recording.reports[20 : 21 if failed else 24]:
        first.report(**report)
    first.flush()
    if failed:
        first.cleanup()
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    page = Path(resumed.path).read_text()
    assert "- steps :: 2400 of each walker, 19200 in all\n" in page
    assert f"- warps :: {sum(len(r['warp_data']) for r in recording.reports)}\n" in page
    ever = [value for r in recording.reports for value in r["progress_data"]["min_distances"]]
    assert f"| {min(ever):.4g} | {max(ever):.4g} |\n" in page
    assert "from cycle" not in page


def test_the_speed_is_that_of_the_session(recording: Recording, tmp_path: Path) -> None:
    """As the progress line has it: a resumed job does not drag the speed of another machine along,
    nor the time between opening the files and the first cycle."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    first.flush()
    memory = Path(tmp_path / ".job.dash.org.state")
    # These took a year.
    lines = [line.partition(" ")[2] for line in memory.read_text().splitlines()]
    slow = [re.sub('"wall_s":[^,]*', '"wall_s":3e7', line) for line in lines]
    write_lines(str(memory), slow)
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    resumed._clock -= 3600.0  # An hour since its file was opened.
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    page = Path(resumed.path).read_text()
    told = re.search(r"^- speed :: (\S+) ns/day in all$", page, re.M)
    # 20 cycles of 8 walkers x 0.12 ps: in an hour 0.46 ns/day, in a year 5e-5.
    assert told is not None and float(told[1].replace(",", "")) > 0.47
    assert "- wall-clock time :: 8333:2" in page


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


def test_the_page_is_for_people_alone(recording: Recording, tmp_path: Path) -> None:
    """What `resume` needs is in a hidden file; a page that is begun anew drops an old one."""
    reporter = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        reporter.report(**report)
    reporter.flush()
    page, state = Path(reporter.path), tmp_path / ".job.dash.org.state"
    assert "wepystore-state" not in page.read_text()
    assert max(map(len, page.read_text().splitlines())) < 200
    assert state.exists()
    open_reporter(DashboardReporter(), tmp_path / "job", recording)
    assert not state.exists()


def test_a_job_of_an_earlier_release_goes_on(recording: Recording, tmp_path: Path) -> None:
    """Its page held the sums at its end, without counts of clones and without fluxes: these are
    said to be unknown, or from here on."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    first.flush()
    state = tmp_path / ".job.dash.org.state"
    old = [json.loads(line.partition(" ")[2]) for line in state.read_text().splitlines()]
    for each in old:
        del each["flux"], each["totals"]["n_cloned"], each["totals"]["n_merged"]
    with open(first.path, "a") as page:
        page.writelines(f"# wepystore-state: {json.dumps(each)}\n" for each in old)
    state.unlink()
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    for report in recording.reports[20:]:
        resumed.report(**report)
    resumed.cleanup()
    text = Path(resumed.path).read_text()
    assert "- steps :: 2400 of each walker, 19200 in all\n" in text
    assert f"- warps :: {sum(len(r['warp_data']) for r in recording.reports)}\n" in text
    assert "- clones :: not known\n" in text
    assert "| 21 to " in text and "| 1 to " not in text


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff\xfe", b"00000000 {}\n"])
def test_a_damaged_memory_is_none(recording: Recording, tmp_path: Path, damage: bytes) -> None:
    """A line whose checksum is another's is not believed: figures are then from here on."""
    first = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    for report in recording.reports[:20]:
        first.report(**report)
    first.flush()
    state = tmp_path / ".job.dash.org.state"
    forged = state.read_bytes().replace(b'"n_warps":', b'"n_warps":9')
    state.write_bytes(damage or forged)
    resumed = open_reporter(DashboardReporter(), tmp_path / "job", recording, resume_at=20)
    resumed.report(**recording.reports[20])
    resumed.cleanup()
    assert "- figures below :: from cycle 20 on\n" in Path(resumed.path).read_text()


def test_it_never_shows_a_torn_page(recording: Recording, tmp_path: Path) -> None:
    """The page is replaced whole: the one a reader holds open stays as it was."""
    reporter = open_reporter(DashboardReporter(), tmp_path / "job", recording)
    with open(reporter.path) as held:
        reporter.report(**recording.reports[0])
        reporter.flush()
        assert "- cycles :: 0\n" in held.read()
    assert "- cycles :: 1\n" in Path(reporter.path).read_text()
