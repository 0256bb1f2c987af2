"""`wepy log --graph`."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.cli.conftest import Wepy, World
from tests.store.helpers import add_run, add_snapshot
from wepystore.cli.console import Console, Drawing
from wepystore.orchestrator.history import drawing, history_of, latest_first
from wepystore.store.runs import Run


def drawn(runs: list[tuple[str, str]], *alone: str) -> list[str]:
    """The drawing of runs between snapshots of one letter."""
    found = [Run(f"{k:02}", start, end, "c", 1) for k, (start, end) in enumerate(runs)]
    lines = []
    for row in drawing(history_of(alone, found)):
        run = f"{row.run.start}-{row.run.end}" if row.run else ""
        lines.append(("".join(s for s, _ in row.strokes) + (row.snapshot or run)).rstrip())
    return lines


def test_a_line_of_continuations() -> None:
    """Latest first, one column."""
    assert drawn([("a", "b"), ("b", "c")]) == ["● c", "│ b-c", "● b", "│ a-b", "● a"]


def test_branches_meet_where_they_began() -> None:
    """Each branch in a column of its own until the snapshot that both started from."""
    assert drawn([("a", "b"), ("a", "c"), ("c", "d")]) == [
        *("● d", "│ c-d", "● c", "│ a-c", "│ ● b", "│ │ a-b", "├─┘", "● a")
    ]


def test_runs_that_end_alike() -> None:
    """Two ways to one snapshot open a second column below it."""
    assert drawn([("a", "c"), ("b", "c"), ("a", "b")]) == [
        *("● c", "│ a-c", "│ b-c", "├─┐", "│ ● b", "│ │ a-b", "├─┘", "● a")
    ]


def test_branches_cross() -> None:
    """A branch that only passes by is crossed, not joined."""
    assert drawn([("a", "c"), ("a", "d"), ("b", "c")]) == [
        *("● c", "│ a-c", "│ b-c", "├─┐", "│ │ ● d", "│ │ │ a-d", "├─┼─┘", "● │ a", "  ● b")
    ]


def test_many_branches_need_few_columns() -> None:
    """Thousands of runs from one start, or a long line with branches everywhere, are drawn in
    three columns: what a line takes does not grow with the history."""
    star = [Run(f"r{k}", "s", f"e{k:04}", "c", 1) for k in range(3000)]
    line = [Run(f"r{k}", f"s{k:04}", f"s{k + 1:04}", "c", 1) for k in range(1000)]
    line += [Run(f"b{k}", f"s{k:04}", f"t{k:04}", "c", 1) for k in range(1000)]
    for runs in (star, line):
        rows = list(drawing(history_of([], runs)))
        assert max(len(row.strokes) for row in rows) <= 3
        assert sum(row.run is not None for row in rows) == len(runs)


def test_several_runs_alone_and_in_circles() -> None:
    """Runs between the same snapshots are all told; a snapshot without runs stands alone; made-up
    circles and runs to themselves end."""
    assert drawn([("a", "b"), ("a", "b")], "z") == ["● b", "│ a-b", "│ a-b", "● a", "● z"]
    circle = drawn([("x", "y"), ("y", "x"), ("z", "z")])
    assert [line[-1] for line in circle if "●" in line] == ["x", "y", "z"]


def test_long_histories() -> None:
    """2,000 continuations and 300 branches, in order and without recursion."""
    runs = [Run(f"r{k}", f"s{k:04}", f"s{k + 1:04}", "c", 1) for k in range(2000)]
    runs += [Run(f"b{k}", "s0000", f"t{k:03}", "c", 1) for k in range(300)]
    graph = history_of([], runs)
    place = {node: k for k, node in enumerate(latest_first(graph))}
    assert all(place[run.end] < place[run.start] for run in runs)
    assert sum(row.snapshot is not None for row in drawing(graph)) == len(place)


def test_graph_of_a_store(wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, branch points, what is not here; plain text when nobody watches; nodes and edges."""
    branch = add_snapshot(world.store, "z")
    add_run(world.store, world.start, branch, world.config, n_cycles=3)
    world.store.set_ref("tags/bound", world.start)
    result = wepy("log --graph w.orch")
    assert result.status == 0 and "\x1b" not in result.out
    assert f"● {world.start} (tag: bound, 2 branches)" in result.out.replace("  ", " ")
    assert f"● {branch}" in result.out and "3 cycles of 10 steps" in result.out
    assert "├─┘" in result.lines
    told = json.loads(wepy("log -g --json w.orch").out)
    assert {node["hash"] for node in told["nodes"]} == {world.start, world.end, branch}
    assert {(e["start"], e["end"]) for e in told["edges"]} == {
        (world.start, world.end),
        (world.start, branch),
    }
    world.store.remove("snapshots", world.end)
    assert f"{world.end} (not in this store)" in wepy("log -g w.orch").out


def test_a_stream_that_has_no_such_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn with | * - where the encoding has no lines."""
    bytes_out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out, encoding="ascii"))
    Drawing(Console()).line([("│ ", 0), ("● ", 1)], "abc", "")
    sys.stdout.flush()
    assert bytes_out.getvalue() == b"| * abc\n"
