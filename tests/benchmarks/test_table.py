"""bin/bench: figures are held to their limits, in any order, and nothing is left out unsaid."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks import table
from tests.benchmarks.table import Row
from tests.systems import REPOSITORY, environment

GOOD, BAD = Row("a ratio", 2.0, "x", most=3.0), Row("a rate", 90.0, "/s", least=100.0)


def lines_of(folder: Path, **modules: str) -> dict[str, bench.Benchmark]:
    """Benchmarks as read from such texts."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return {name: bench.Benchmark.read(folder / f"{name}.py") for name in modules}


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (GOOD, True),
        (BAD, False),
        (Row("at its limit", 3.0, most=3.0), True),
        (Row("none", float("nan"), most=3.0), False),
        (Row("none", float("nan"), least=3.0), False),
        (Row("no limit", 1e9), True),
    ],
)
def test_a_limit_is_kept_or_missed(row: Row, met: bool) -> None:
    """At most, at least, and at the limit; what could not be measured misses it."""
    assert row.met is met


def test_a_program_prints_its_rows_and_says_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0, 1 where a limit is missed, 77 where something is lacking, 2 where it was misused; rows
    that were measured before are handed on whole."""

    def rows(words: list[str]) -> Iterator[Row]:
        yield GOOD
        if "missing" in words:
            yield BAD
        if "lacking" in words:
            raise table.Lacking("a GPU")
        if "misused" in words:
            raise table.Misused("no such word")

    file = tmp_path / "rows"
    monkeypatch.setenv(table.ROWS_FILE, str(file))
    assert table.main("doc", rows, []) == 0
    assert table.main("doc", rows, ["missing"]) == 1
    said = capsys.readouterr().out
    assert "a ratio" in said and "limit ≤ 3: met" in said and "limit ≥ 100: MISSED" in said
    assert table.load(file) == [GOOD, GOOD, BAD]
    assert table.main("doc", rows, ["lacking"]) == 77
    assert table.main("doc", rows, ["misused"]) == 2
    assert "a GPU" in capsys.readouterr().err


def test_of_two_tries_the_better_counts() -> None:
    """The lower where there is a most, the higher where there is a least; no row is lost."""
    found = table.best(
        [GOOD, BAD], [Row("a ratio", 4.0, most=3.0), Row("a rate", 110.0, least=1.0)]
    )
    assert [row.figure for row in found] == [2.0, 110.0]
    assert table.best([GOOD], [BAD]) == [GOOD, BAD]


def test_the_tables_of_the_page_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two marks, all else is left; docs/benchmarks.md has these marks."""
    assert bench.BEGIN in bench.PAGE.read_text()
    assert bench.END in bench.PAGE.read_text()
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench.BEGIN} -->\nold\n{bench.END}\nafter\n")
    monkeypatch.setattr(bench, "PAGE", page)
    outcome = bench.Outcome(bench.Call("bench_x", "--long"), "X.", [GOOD, BAD], 1)
    bench.write(bench.page("A machine.", [outcome], ["`bench_y`: a GPU"]))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| a ratio | 2 x | ≤ 3 | met |" in text
    assert "| a rate | 90 /s | ≥ 100 | **missed** |" in text
    assert "`bench_x --long`" in text and "- `bench_y`: a GPU" in text


def test_what_is_left_out_can_be_asked_for(tmp_path: Path) -> None:
    """LEFT_OUT names calls that are run by --all only, "" the one without arguments."""
    known = lines_of(
        tmp_path,
        bench_plain='"""Plain."""\n',
        bench_more='"""More."""\nLEFT_OUT = {"--long": "an hour"}\n',
        bench_dear='"""Dear."""\nLEFT_OUT = {"": "an hour"}\n',
    )
    assert [call.text for call in bench.chosen(known, [], False)] == ["bench_plain", "bench_more"]
    assert {call.text for call in bench.chosen(known, [], True)} == {
        "bench_plain",
        "bench_more",
        "bench_more --long",
        "bench_dear",
    }
    assert bench.chosen(known, ["dear --few"], False) == [bench.Call("bench_dear", "--few")]
    with pytest.raises(SystemExit) as status:
        bench.chosen(known, ["plane"], False)
    assert status.value.code == 2


@pytest.mark.parametrize(
    ("program", "status", "rows"),
    [
        ("print('as good as it gets')", 0, True),
        ("import sys; sys.exit(1)", 1, False),
        ("raise RuntimeError('broken')", 70, None),
    ],
)
def test_a_benchmark_without_rows_counts_by_its_exit_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    status: int,
    rows: bool | None,
) -> None:
    """A row that is met or missed; a traceback is a failure, not a limit missed."""
    folder = tmp_path / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "bench_foreign.py").write_text(f'"""Foreign."""\n{program}\n')
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    found = bench.measure(bench.Call("bench_foreign"), "Foreign.", tmp_path)
    assert found.status == status
    assert found.bad is (status != 0)
    assert [row.met for row in found.rows] == ([] if rows is None else [rows])


def test_every_benchmark_says_what_it_measures() -> None:
    """One line each in --list; no sentence is cut short."""
    for benchmark in bench.benchmarks().values():
        assert benchmark.title.endswith("."), benchmark.name
        assert all(benchmark.left_out.values()), benchmark.name


def test_bench_runs_what_is_named() -> None:
    """The whole way: a benchmark in a process of its own, its table in Markdown, status 0."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--markdown", "cycle 3"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "### `bench_cycle 3`" in done.stdout
    assert "| 3 steps a cycle |" in done.stdout
