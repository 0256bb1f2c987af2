"""The page: one file that draws itself, in a real browser, and lets nobody's words act."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.report.browser import Page
from tests.report.conftest import Made
from wepystore.api import Figure, Report, make_report, report_html
from wepystore.report.page import json_text

#: What a stranger might call things.
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=http://127.0.0.1/x onerror=window.hacked=1>"
)


@pytest.fixture(scope="module")
def report(made: Made) -> Report:
    return make_report(made.path)


@pytest.fixture(scope="module")
def shown(report: Report, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report, open and drawn."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report_html(report, ["wepy report"]))
    page.open(file)
    return page


def marks(page: Page, name: str) -> int:
    """How many things a figure has drawn for its data."""
    inside = f"#drawn-{name} svg g.mark-"
    kinds = ("rect", "line", "area", "symbol", "trail", "rule", "text")
    selectors = ",".join(f"{inside}{kind}.role-mark > *" for kind in kinds)
    return int(page.value(f"document.querySelectorAll({json.dumps(selectors)}).length"))


def test_every_figure_is_drawn(report: Report, shown: Page) -> None:
    """Each has as many marks as its data asks for, and none tells of an error."""
    first = report.runs[0].label
    for figure in report.figures:
        data = figure.data.get("") or figure.data[first]
        if isinstance(data, str):
            assert data in shown.value(f"document.querySelector('#{figure.name}').innerText")
        else:
            assert marks(shown, figure.name) >= 2, figure.name


def test_cells_are_all_there(report: Report, shown: Page) -> None:
    """One rectangle for each cell that walkers visited."""
    (figure,) = (each for each in report.figures if each.name == "progress-1")
    held = figure.data[report.runs[0].label]
    assert not isinstance(held, str)
    drawn = "document.querySelectorAll('#drawn-progress-1 g.mark-rect.role-mark > path').length"
    assert shown.value(drawn) == len(held["cells"]["cell"]) > 100


def test_it_complains_of_nothing_and_asks_for_nothing(shown: Page) -> None:
    """No error or warning in the console, no request to anywhere."""
    assert shown.complaints == []
    assert shown.fetched == [] and any(url.startswith("file:") for url in shown.requests)


def test_another_run_is_shown(report: Report, shown: Page) -> None:
    """A click on the name of a run draws its figures."""
    before = shown.value("document.querySelector('#drawn-weights svg').innerHTML")
    shown.value("document.querySelectorAll('input[name=run]')[1].click()")
    shown.wait("document.documentElement.dataset.drawn === 'all'")
    assert shown.value("document.querySelector('#drawn-weights svg').innerHTML") != before
    shown.value("document.querySelectorAll('input[name=run]')[0].click()")
    shown.wait("document.documentElement.dataset.drawn === 'all'")


def test_what_is_pointed_at_is_told(shown: Page) -> None:
    """A tooltip with the numbers of the cell under the pointer."""
    x, y = _middle(shown, "#drawn-progress-1 g.mark-rect.role-mark > path:nth-child(40)")
    shown.mouse("mouseMoved", x, y)
    shown.mouse("mouseMoved", x + 0.5, y)
    shown.wait("document.querySelector('#vg-tooltip-element.visible') !== null")
    told = shown.value("document.querySelector('#vg-tooltip-element').innerText")
    assert "weight a cycle" in told and "from cycle" in told
    # Each line in one row: nothing of the page's own look meddles with it.
    cell = "document.querySelector('#vg-tooltip-element td.key')"
    assert shown.value(f"getComputedStyle({cell}).display") == "table-cell"


def test_a_figure_can_be_enlarged(shown: Page) -> None:
    """Ctrl and the wheel change the axis, the wheel alone scrolls the page."""
    axis = "document.querySelector('#drawn-weights g.role-axis-label').textContent"
    x, y = _middle(shown, "#drawn-weights svg")
    before = shown.value(axis)
    shown.mouse("mouseMoved", x, y)
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300, modifiers=2)
    shown.wait(f"{axis} !== {json.dumps(before)}")
    enlarged, place = shown.value(axis), shown.value("window.scrollY")
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=300)
    shown.wait(f"window.scrollY > {place}")
    assert shown.value(axis) == enlarged


def test_in_the_dark_and_on_paper(shown: Page, tmp_path: Path) -> None:
    """Text has the colour of the page: light on dark, and black in print whatever the display."""
    colours = (
        "[getComputedStyle(document.querySelector('#weights svg text')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    shown.look(dark=True)
    text, ground = map(_brightness, shown.value(colours))
    assert text > 180 and ground < 60
    shown.look(dark=True, media="print")
    text, ground = map(_brightness, shown.value(colours))
    assert text < 60 and ground > 240
    shown.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    shown.look()
    assert shown.complaints == []


def _brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def _middle(page: Page, selector: str) -> tuple[float, float]:
    """Where something is, scrolled into sight."""
    found = page.value(
        f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
        "e.scrollIntoView({block: 'center', behavior: 'instant'});"
        "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    return found[0], found[1]


def test_nobodys_words_act(report: Report, page: Page, tmp_path: Path) -> None:
    """Names of runs and fields, titles and what else is a stranger's are text, wherever it is."""
    first, weights = (
        next(each for each in report.figures if each.name == name)
        for name in ("progress-1", "weights")
    )
    spec = json.loads(json.dumps(first.spec).replace("progress_coordinate", HOSTILE[:-1]))
    figures = (
        Figure("progress-1", HOSTILE, HOSTILE, spec, first.data, "Paths"),
        Figure("weights", "w", "c", weights.spec, {"": HOSTILE}, "Paths"),
    )
    runs = tuple(
        type(run)(HOSTILE, run.colour, *3 * [[(HOSTILE, HOSTILE)]]) for run in report.runs[:1]
    )
    headline = type(report.headlines[0])(HOSTILE, HOSTILE, HOSTILE)
    row = [(HOSTILE, HOSTILE)]
    hostile = Report(HOSTILE, (headline,), (HOSTILE,), runs, figures, [row], HOSTILE, report.study)
    text = report_html(hostile, [HOSTILE])
    assert "<script>window" not in text and "<img src=http:" not in text
    file = tmp_path / "hostile.html"
    file.write_text(text)
    seen = len(page.requests)
    page.open(file)
    assert page.value("window.hacked") is None
    assert [u for u in page.requests[seen:] if u.startswith("http")] == []
    assert page.complaints == []
    assert "onerror" in page.value("document.querySelector('h1').innerText")


def test_the_policy_stops_what_slips_through(page: Page, report: Report, tmp_path: Path) -> None:
    """Were there a script or a picture in the page after all, the browser would let neither act."""
    text = report_html(report).replace("</header>", "<script>window.hacked=1</script></header>", 1)
    file = tmp_path / "broken.html"
    file.write_text(text)
    page.open(file)
    assert page.value("window.hacked") is None
    assert any("Content Security Policy" in each for each in page.complaints)
    page.complaints.clear()


def test_data_cannot_end_its_block() -> None:
    """No letter that means anything to HTML is in the JSON, and it is the same JSON."""
    value = {"a": "</script><!--&\u2028", "b": [1.5, None]}
    text = json_text(value)
    assert json.loads(text) == value and not set("<>&") & set(text)


def test_it_is_small(report: Report) -> None:
    """At most 2 MB."""
    assert len(report_html(report).encode()) < 2_000_000
