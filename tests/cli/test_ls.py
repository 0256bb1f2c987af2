"""`wepy ls`: hashes, one a line, and what is not whole."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Wepy, World
from tests.systems import run_job
from wepystore.api import Prepared
from wepystore.cli import ls
from wepystore.cli.common import size_text, time_text
from wepystore.store import Store, canonical


def test_one_hash_a_line(wepy: Wepy, world: World) -> None:
    """stdout carries the hashes, sorted, and runs as START, END; nothing on stderr."""
    assert wepy("ls snapshots w.orch") == (0, "\n".join(sorted(world[1:3])) + "\n", "")
    assert wepy("ls configs w.orch") == (0, world.config + "\n", "")
    assert wepy("ls runs w.orch") == (0, f"{world.start}, {world.end}\n", "")


def test_an_empty_store_lists_nothing(wepy: Wepy) -> None:
    """No lines, no heading, exit status 0."""
    wepy("init")
    for more in ("", " --long"):
        assert wepy("ls snapshots" + more) == (0, "", "")
    assert json.loads(wepy("ls runs --json").out) == []


def test_long_and_json_tell_more(wepy: Wepy, world: World) -> None:
    """Sizes, states and names; the same hashes."""
    world.store.set_ref("default-snapshot", world.start)
    world.store.set_ref("tags/bound", world.start)
    table = wepy("ls snapshots w.orch --long").lines
    assert table[0].split() == ["HASH", "WALKERS", "SIZE", "STATE", "NAMES"]
    assert len(table) == 3
    line = next(line for line in table if line.startswith(world.start))
    assert "complete" in line and line.endswith("default, tag: bound")
    items = json.loads(wepy("ls snapshots w.orch --json").out)
    assert {item["hash"] for item in items} == {world.start, world.end}
    assert {item["state"] for item in items} == {"complete"}
    (run,) = json.loads(wepy("ls runs w.orch --json").out)
    assert (run["start"], run["end"], run["n_cycles"]) == (world.start, world.end, 12)
    assert run["hash"] == world.run and run["config"] == world.config
    assert wepy("ls runs w.orch -l").lines[1].split()[:3] == [world.start, world.end, "12"]
    assert world.config in wepy("ls configs w.orch -l").out


def test_half_a_store_is_listed_as_that(wepy: Wepy, world: World) -> None:
    """S5: what is incomplete or damaged is listed, and reported with exit status 3; a damaged
    JSON is no traceback."""
    part = world.store.references("snapshots", world.end)[-1][1].md5
    world.store.remove("objects", part)
    result = wepy("ls snapshots w.orch")
    assert result.status == 3 and len(result.lines) == 2
    assert part in result.err and world.end in result.err and result.err.count("\n") == 1
    assert "incomplete" in wepy("ls snapshots w.orch --long").out
    states = {i["hash"]: i["state"] for i in json.loads(wepy("ls snapshots w.orch --json").out)}
    assert states == {world.start: "complete", world.end: "incomplete"}
    assert wepy("ls runs w.orch").status == 3
    (world.store.path / "refs" / "tags" / "rot").write_text("x")
    assert "refs/tags/rot is damaged" in wepy("ls snapshots w.orch --long").err
    (world.store.path / "refs" / "tags" / "rot").unlink()
    world.store.file("runs", world.run).write_text('{"start": ')
    world.store.file("configs", world.config).write_text("")
    for kind in ("runs", "configs"):
        for more in ("", "--long", "--json"):
            result = wepy(f"ls {kind} w.orch {more}")
            assert result.status == 3 and "damaged" in result.err
            assert result.err.count("\n") == 1


def test_very_many_are_listed_without_a_look_into_each(
    wepy: Wepy, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 10,000 the plain listing is names alone, and says so; --long and --json look (S5)."""
    world.store.remove("objects", world.store.references("snapshots", world.end)[-1][1].md5)
    monkeypatch.setattr(ls, "MANY", 1)
    result = wepy("ls snapshots w.orch")
    assert result[:2] == (0, "\n".join(sorted(world[1:3])) + "\n")
    assert "--long" in result.err and result.err.count("\n") == 1
    assert wepy("ls snapshots w.orch --json").status == 3
    assert wepy("ls runs w.orch").status == 3


def told(store: Store, world: World, **execution: object) -> str:
    """A run record with these circumstances: 12 cycles of 10 steps."""
    record = store.manifest("runs", world.run) | {"execution": execution}
    return store.put("runs", canonical.dumps(record)).md5


def test_what_runs_were_is_listed(wepy: Wepy, world: World) -> None:
    """Date, sampled time, warps, size and what ended it, in the long table, in the log and as JSON;
    an old record, which does not tell, has a dash, and null."""
    full = told(
        world.store,
        world,
        begun="2026-11-28T10:15:30+00:00",
        n_walkers=48,
        step_size_ps=0.002,
        n_warped=7,
        recorded_bytes=1500,
        complete=False,
        ended_by="SIGTERM",
    )
    old = told(world.store, world)
    rows = [line.split("  ") for line in wepy("ls runs -l w.orch").lines]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0][4:9] == ["BEGUN", "SAMPLED", "WARPS", "RECORDED", "ENDED BY"]
    seen = sorted(row[4:9] for row in cells[1:])
    assert seen == [
        ["-"] * 5,
        ["-"] * 5,
        ["2026-11-28 10:15 UTC", "11.5 ps", "7", "1.5 kB", "SIGTERM"],
    ]
    items = {item["hash"]: item for item in json.loads(wepy("ls runs --json w.orch").out)}
    assert items[full]["sampled_ps"] == pytest.approx(48 * 12 * 10 * 0.002)
    assert items[full]["n_walkers"] == 48 and items[full]["ended_by"] == "SIGTERM"
    assert items[full]["begun"] == "2026-11-28T10:15:30+00:00"
    assert items[full]["recorded_bytes"] == 1500
    told_of = ("begun", "sampled_ps", "n_warped", "n_walkers", "ended_by", "complete")
    for key in (*told_of, "recorded_bytes"):
        assert items[old][key] is None
    text = wepy("log w.orch").out
    line = "seed 1, 11.5 ps sampled, 7 warps, 1.5 kB recorded, begun 2026-11-28 10:15 UTC"
    line += ", ended by SIGTERM"
    assert line in text and f"config {world.config[:8]}…, seed 1\n" in text
    assert line in wepy("log --graph w.orch").out
    (entry,) = [each for each in json.loads(wepy("log --json w.orch").out) if each["runs"]]
    assert {run["sampled_ps"] for run in entry["runs"]} == {None, items[full]["sampled_ps"]}


def test_a_run_that_goes_on(wepy: Wepy, world: World) -> None:
    """The record of a run that goes on or was killed is told as not ended; one that was
    stopped before there was `ended_by`, by what stopped it; a complete one by its limit."""
    told(world.store, world, complete=False, ended_by=None)
    told(world.store, world, complete=False, stopped_by="until")
    told(world.store, world, complete=True, ended_by="seconds")
    rows = wepy("ls runs -l w.orch").lines[1:]
    assert [sum(word in row for row in rows) for word in ("not ended", "until", "seconds")] == [
        *(1, 1, 1)
    ]
    text = wepy("log w.orch").out
    assert text.count("not ended") == text.count("ended by until") == 1
    assert "seconds" not in text


def test_a_run_of_this_program_tells_when_it_began(
    wepy: Wepy, pair_store: Prepared, tmp_path: Path
) -> None:
    """Of the record of a real run, the key that is read is the one that is written."""
    run_job(pair_store.store, "default", tmp_path / "job")
    year = datetime.datetime.now(datetime.UTC).strftime("%Y-")
    assert f", begun {year}" in wepy("log job").out
    assert f"  {year}" in wepy("ls runs -l job").out


def test_what_is_recorded_is_told(wepy: Wepy, pair_store: Prepared, tmp_path: Path) -> None:
    """Sampled time, warps, cycles and bytes of a real run: the same in the listings, which read no
    recording for it, and in what is shown of it."""
    run_job(pair_store.store, "default", tmp_path / "job")
    (item,) = json.loads(wepy("ls runs --json job").out)
    told = json.loads(wepy(f"show --json job {item['hash']}").out)
    assert told["recorded"]["n_cycles"] == item["n_cycles"] == 3
    assert told["recorded"]["bytes"] == item["recorded_bytes"] > 1000
    assert told["recorded"]["tables"][-1] == "warping" and told["n_warped"] == item["n_warped"]
    assert told["sampled_ps"] == item["sampled_ps"] == pytest.approx(6 * 3 * 10 * 0.002)
    size = size_text(item["recorded_bytes"])
    text = wepy(f"show job {item['hash']}").out
    assert f"  recorded: 3 cycles, {size}; weights, " in text and "  sampled: 0.36 ps\n" in text
    frames = told["recorded"]["frames"]
    assert frames["fields"] == ["positions"] and frames["n_atoms"] == 2 and frames["here"]
    size_of_frames = size_text(frames["bytes"])
    assert f"  frames: positions of 2 atoms, float32, {size_of_frames}\n" in text
    # Not a tree of columns and objects: that is for programs.
    assert "    times: of 3 cycles, " in text and "block_cycles" not in text
    assert told["manifest"]["execution"]["times"]["n_cycles"] == 3
    assert f"  {size}  " in wepy("ls runs -l job").out
    assert f", {size} recorded, " in wepy("log job").out
    shutil.rmtree(tmp_path / "job" / "checkpoint.orch" / "recordings")
    shown = wepy(f"show job {item['hash']}")
    assert "  recorded: not here\n" in shown.out and shown.status == 3


@pytest.mark.parametrize(
    ("ps", "text"),
    [(0.0, "0 ps"), (0.002, "0.002 ps"), (999.4, "999 ps"), (999.9, "1 ns"), (2.43e9, "2.43 ms")],
)
def test_times_as_people_read_them(ps: float, text: str) -> None:
    """In the unit that gives few digits."""
    assert time_text(ps) == text


def test_strange_circumstances_are_shown_in_one_line(wepy: Wepy, world: World) -> None:
    """Whatever a stranger's record tells, the table keeps its lines."""
    told(world.store, world, begun="a\nb" * 50, ended_by="x\ny", complete=False, n_warped=True)
    assert len(wepy("ls runs -l w.orch").lines) == 3
    assert len(wepy("log w.orch").lines) == 4
