"""`wepy report`: a page, figures, and what is typed to make them again."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy
from tests.report.conftest import Made, made  # noqa: F401
from tests.systems import save_run
from wepystore.api import Store, load_run
from wepystore.cli.main import main


def test_a_page_is_written(wepy: Wepy, made: Made) -> None:  # noqa: F811
    """report.html, or as it is named; one that is there stays unless --force is given."""
    assert wepy("report", made.path) == (0, "report.html\n", "")
    again = wepy("report", made.path)
    assert (again.status, again.out) == (1, "") and "report.html is there already" in again.err
    assert wepy("report --force", made.path).status == 0
    assert wepy("report -O mine.html --title 'My runs'", made.path, made.runs[0][:8]).status == 0
    assert "<h1>My runs</h1>" in Path("mine.html").read_text()


def test_its_commands_do_it_again(wepy: Wepy, made: Made) -> None:  # noqa: F811
    """What the page says is to be typed runs, ends in the same bits, and makes the same page."""
    line = "report --burn-in 5 --along progress -O a.html"
    assert wepy(line, made.path, made.runs[1]).status == 0
    page = Path("a.html").read_text()
    (block,) = re.findall(r"again</h3><pre>(.*?)</pre>", page, re.DOTALL)
    run, verify, report = unescape(block).strip().splitlines()
    for line in (run, verify, report.replace("a.html", "b.html")):
        assert main(shlex.split(line)[1:]) == 0, line
    assert Path("b.html").read_text().replace("b.html", "a.html") == page
    assert Path(f"again-{made.runs[1][:8]}", "checkpoint.orch").is_dir()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--as gif --figures out", "figures are svg, png, pdf"),
        ("--window 3", "must be A:B"),
        ("--burn-in 1000", "burn-in"),
        ("--unit parsecs", "the units are ps"),
        ("-O nowhere/report.html", "there is no directory nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(wepy: Wepy, made: Made, line: str, said: str) -> None:  # noqa: F811
    """And nothing is written."""
    done = wepy(f"report {line}", made.path)
    assert done.status in (1, 2) and said in done.err and done.err.count("\n") == 1
    assert not list(Path().iterdir())


def test_a_run_without_a_recording(wepy: Wepy, made: Made, tmp_path: Path) -> None:  # noqa: F811
    """It says why there is nothing to report; beside others it is named in the report."""
    shutil.copytree(made.path, tmp_path / "a.orch")
    store = Store.open(tmp_path / "a.orch")
    bare = save_run(store, replace(load_run(store, made.runs[0]), recording=None, seed=77))
    done = wepy("report", store.path, bare)
    assert done.status == 1 and f"nothing is recorded of run {bare}" in done.err
    assert wepy("report", store.path).status == 0
    assert f"run {bare[:8]} is left out: nothing is recorded" in Path("report.html").read_text()


def test_figures_are_files(wepy: Wepy, made: Made) -> None:  # noqa: F811
    """In a folder that is made, and with --output the page too."""
    pytest.importorskip("vl_convert", reason="vl-convert-python: pip install 'wepystore[report]'")
    done = wepy("report --figures out", made.path, made.runs[0])
    assert done.status == 0 and "out/rate.svg" in done.lines
    assert sorted(map(str, Path("out").iterdir())) == sorted(done.lines)
    assert not Path("report.html").exists()


def test_a_title_of_any_bytes_and_a_file_that_is_there(
    wepy: Wepy,
    made: Made,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It is shown escaped; and what would not be written in the end is not begun."""
    page = tmp_path / "odd.html"
    done = wepy("report", "--title", "odd\udcff", "-O", page, made.path)
    assert (done.status, done.out) == (0, f"{page}\n"), done.err
    assert "odd\\udcff" in page.read_text()
    figures = tmp_path / "figures"
    done = wepy("report", "-O", page, "--figures", figures, made.path)
    assert done.status == 1 and "--force" in done.err and not figures.exists()
