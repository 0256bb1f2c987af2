"""Figures as files of their own, drawn without a browser."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests.report.conftest import Made
from wepystore.api import make_report
from wepystore.report.drawing import drawn_figures
from wepystore.report.errors import PlayerMissingError

ENDINGS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}


def test_each_figure_is_drawn(made: Made) -> None:
    """A figure of all runs is a file, one of each run is as many; each is what its name says."""
    pytest.importorskip("vl_convert", reason="vl-convert-python: pip install 'wepystore[report]'")
    report = make_report(made.path, made.runs[:1])
    (label,) = (run.label for run in report.runs)
    files = dict(drawn_figures(report, ["svg"]))
    few = replace(report, figures=tuple(f for f in report.figures if f.name == "weights"))
    others = dict(drawn_figures(few, list(ENDINGS)))
    assert {file.partition(".")[2]: data[:4] for file, data in others.items()} == ENDINGS
    for figure in report.figures:
        for run, data in figure.data.items():
            name = f"{figure.name}-{run}" if run else figure.name
            drawn = files.pop(f"{name}.svg", b"")
            assert drawn.startswith(b"<svg") != isinstance(data, str)
            if name == f"progress-1-{label}":
                every = ET.fromstring(drawn).iter()
                cells = [each for each in every if "mark-rect" in each.get("class", "")]
                assert sum(len(each) for each in cells) > 100
    assert not files


def test_without_what_draws_it_says_how_to_get_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named, and that the page needs none."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(
        PlayerMissingError, match=r"SVG and PDF .*pip install 'wepystore\[report\]'"
    ):
        next(drawn_figures(make_report(made.path), ["svg", "pdf"]))
