"""What there is nothing of: a figure says why, and the rest of the report is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.browser import Page
from tests.systems import plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    Configuration,
    DoubleWell,
    NoBC,
    NoResampler,
    OverdampedLangevinRunner,
    PositionCoordinate,
    Report,
    Snapshot,
    TargetBC,
    Walker,
    WalkerState,
    make_report,
    prepare_store,
    report_html,
)
from wepystore.api import Recording as RecordingChoice
from wepystore.report.errors import NothingToShowError
from wepystore.report.figures.landscape import edges_of

LEFT = WalkerState(positions=[[-1.0]])


def reported(folder: Path, n_walkers: int, bc: Any, resampler: Any, **how: Any) -> Report:
    """The report of one run."""
    apparatus = Apparatus(OverdampedLangevinRunner(DoubleWell(1.0)), bc, resampler)
    snapshot = Snapshot([Walker(LEFT, 1 / n_walkers) for _ in range(n_walkers)], apparatus)
    usual = plain_configuration().work_mapper
    made = prepare_store(
        folder / "a.orch", snapshot, Configuration(usual, recording=RecordingChoice(fields=()))
    )
    done = run_job(made.store, made.snapshot_hash, folder / "job", **{"n_cycles": 8, **how})
    return make_report(folder / "job", [done.record or ""])


def whys(report: Report) -> dict[str, str]:
    """Why figures show nothing."""
    return {
        figure.name: data
        for figure in report.figures
        for data in figure.data.values()
        if isinstance(data, str)
    }


def test_one_walker_that_goes_nowhere(page: Page, tmp_path: Path) -> None:
    """One walker, no boundary, no resampling, no frames: each figure is drawn, or says why not."""
    report = reported(tmp_path, 1, NoBC(), NoResampler(), n_cycles=1)
    found = whys(report)
    assert "no arrival" in found["rate"] or "no walker" in found["rate"]
    assert "bins or regions" in found["occupancy"]
    assert not {"weights", "effective-walkers", "time"} & set(found)
    file = tmp_path / "report.html"
    file.write_text(report_html(report))
    page.open(file)
    for name, why in found.items():
        assert why in page.value(f"document.querySelector('#{name}').innerText")
    assert page.value("document.querySelectorAll('#drawn-weights svg.marks').length") == 1
    assert page.complaints == []


def test_nobody_has_arrived(page: Page, tmp_path: Path) -> None:
    """No rate is made of no event, and what has no warps is drawn without them."""
    bc = TargetBC(PositionCoordinate(), [LEFT], threshold=50.0)
    report = reported(tmp_path, 6, bc, BinResampler(PositionCoordinate(), [0.0], 3))
    assert "no walker was warped" in whys(report)["rate"]
    assert report.headlines[0].value == "none"
    assert not report.rates
    file = tmp_path / "report.html"
    file.write_text(report_html(report))
    page.open(file)
    assert page.value("document.querySelectorAll('#drawn-progress-1 g.mark-rect path').length") > 1
    assert page.complaints == []


def test_several_targets(tmp_path: Path) -> None:
    """Each has a rate of its own in the table, and what is said first is of all of them."""
    states = [LEFT, WalkerState(positions=[[-0.9]])]
    bc = TargetBC(PositionCoordinate(), states, threshold=0.0)
    report = reported(
        tmp_path, 12, bc, BinResampler(PositionCoordinate(), [-0.5], 6), n_cycles=30, n_steps=50
    )
    rows = {row["target"]: row for row in map(dict, report.rates)}
    assert set(rows) == {"all", "0", "1"}
    arrivals = {target: int(row["arrivals"]) for target, row in rows.items()}
    assert arrivals["all"] == arrivals["0"] + arrivals["1"] > 0
    assert report.headlines[0].name == "Rate into all targets"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_coordinate_that_is_no_number(value: float) -> None:
    """Where a walker has no place it is drawn nowhere; where none has one, it says so."""

    with pytest.raises(NothingToShowError, match="is a number"):
        edges_of(np.array([value, value]))
    edges = edges_of(np.array([value, 2.0, 2.0]))
    assert edges[0] < 2.0 < edges[-1] and np.isfinite(edges).all()


class Strange(TargetBC):
    """A user's own, which calls its coordinate what it likes."""

    PROGRESS_FIELDS = ("</script><script>window.hacked=1</script>\u202e[0].x",)
    PROGRESS_RECORD_FIELDS = PROGRESS_FIELDS


def test_a_coordinate_may_be_called_anything(page: Page, tmp_path: Path) -> None:
    """A stranger's names go through all figures as text, and none of it acts."""
    bc = Strange(PositionCoordinate(), [LEFT], threshold=0.0)
    resampler = BinResampler(PositionCoordinate(), [-0.5], 4)
    told = "<img src=http://127.0.0.1:9/x onerror=window.hacked=1>"
    report = reported(tmp_path, 8, bc, resampler, n_cycles=20, n_steps=50, narration=told)
    assert not whys(report).keys() & {"progress-1", "ways", "profile-1"}
    file = tmp_path / "report.html"
    file.write_text(report_html(report))
    seen = len(page.requests)
    page.open(file)
    assert page.value("window.hacked") is None
    assert not [url for url in page.requests[seen:] if url.startswith("http")]
    assert "window.hacked=1</script>" in page.value(
        "document.querySelector('#progress-1 h3').innerText"
    )
    assert told in page.value("document.body.innerText")
    assert page.value("document.querySelectorAll('#drawn-ways g.mark-trail path').length") > 0
    assert page.complaints == []
