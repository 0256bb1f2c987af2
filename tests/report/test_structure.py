"""Structures along a lineage, in a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import Page
from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import load_frames, load_lineages, make_report, prepare_store, report_html
from wepystore.coordinates.errors import SelectionTextError
from wepystore.report.structure import Structure

N_CYCLES = 6


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("structure")
    made = prepare_store(folder / "a.orch", pair_snapshot(), plain_configuration())
    run_job(made.store, made.snapshot_hash, folder / "job", n_cycles=N_CYCLES)
    return folder / "job"


def structure(job: Path, atoms: str = "not water") -> Structure:
    found = make_report(job, atoms=atoms).structure
    assert isinstance(found, Structure)
    return found


def test_it_is_the_lineage(job: Path) -> None:
    """Each frame is that of the store, turned and moved at most; weights and cycles are the
    lineage's."""
    run = make_report(job).study.units[0].chains[0].run
    lineages = load_lineages(job, run)
    lineage = lineages.of(lineages.heaviest_walker())
    kept = lineage.frames_of(load_frames(job, run, joined=True))
    shown = structure(job)
    places = np.array(shown.frames).reshape(N_CYCLES, 2, 3)
    expected = 10 * np.linalg.norm(kept[:, 0] - kept[:, 1], axis=1)
    assert np.linalg.norm(places[:, 0] - places[:, 1], axis=1) == pytest.approx(expected, abs=0.02)
    assert np.abs(places - places[0]).max() < 1.0
    assert shown.cycle == list(range(N_CYCLES))
    assert shown.weight == pytest.approx(lineage.weight, rel=1e-2)
    lines = shown.pdb.splitlines()
    assert [line[:4] for line in lines] == ["ATOM", "ATOM", "END"]
    assert [float(lines[0][k : k + 8]) for k in (30, 38, 46)] == pytest.approx(
        places[0, 0], abs=0.01
    )


def test_only_what_is_selected(job: Path) -> None:
    """A selection of atoms; what it cannot mean is an error."""
    assert len(structure(job, "index 1").frames[0]) == 3
    with pytest.raises(SelectionTextError):
        make_report(job, atoms="nonsense (")


def test_it_can_be_turned_through_time(job: Path, page: Page, tmp_path: Path) -> None:
    """A canvas, a slider that tells cycle and weight; no complaint and no request."""
    file = tmp_path / "report.html"
    file.write_text(report_html(make_report(job, atoms="not water")))
    seen = len(page.requests)
    page.open(file)
    assert page.value("document.querySelectorAll('#seen canvas').length") > 0
    assert "cycle 0, weight 0." in page.value("document.querySelector('#where').textContent")
    page.value(
        "(() => { const s = document.querySelector('#frame'); s.value = 4;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    assert "cycle 4" in page.value("document.querySelector('#where').textContent")
    assert page.complaints == []
    assert not [url for url in page.requests[seen:] if url.startswith("http")]


def test_where_there_are_no_frames_it_says_so(job: Path, tmp_path: Path) -> None:
    """And the rest of the report is there."""
    from tests.report.test_nothing import LEFT, reported
    from wepystore.api import BinResampler, PositionCoordinate, TargetBC

    bc = TargetBC(PositionCoordinate(), [LEFT], threshold=50.0)
    reported(tmp_path, 4, bc, BinResampler(PositionCoordinate(), [0.0], 2))
    report = make_report(tmp_path / "job", atoms="not water")
    assert "no frames" in str(report.structure)
    assert str(report.structure) in report_html(report)
