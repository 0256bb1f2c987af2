"""`wepy get lineage`: a walker and its ancestors through continued runs."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from tests.cli.conftest import Wepy
from tests.systems import plain_configuration, run_in_turn, save_run
from wepystore.api import (
    Apparatus,
    BinResampler,
    DoubleWell,
    Lineages,
    OverdampedLangevinRunner,
    PositionCoordinate,
    Snapshot,
    Store,
    TargetBC,
    Walker,
    WalkerState,
    load_frames,
    load_lineages,
    load_run,
    prepare_store,
)

N_FIRST, N_LAST = 30, 5


class Made(NamedTuple):
    """A store with a run and one that continues it, and the lineages of both."""

    path: Path
    runs: list[str]
    lineages: Lineages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("lineage")
    left = WalkerState(positions=[[-1.0]])
    apparatus = Apparatus(
        OverdampedLangevinRunner(DoubleWell(1.0)),
        TargetBC(PositionCoordinate(), [left], threshold=0.5),
        BinResampler(PositionCoordinate(), [-0.5, 0.0], 2),
    )
    snapshot = Snapshot([Walker(left, 1 / 6) for _ in range(6)], apparatus)
    prepared = prepare_store(folder / "start.orch", snapshot, plain_configuration())
    store, runs = run_in_turn(prepared, folder, (N_FIRST, N_LAST), n_steps=40)
    found = load_lineages(store, runs[1])
    assert len(found.warps) > 2 and (found.parents[6:] != np.tile(np.arange(6), 34)).any()
    return Made(store.path, runs, found)


def lines_of(made: Made, walker: int, cycle: int = -1) -> list[str]:
    """What is printed of a walker's lineage."""
    lineage = made.lineages.of(walker, cycle)
    columns = (lineage.run, lineage.cycle, lineage.walker, lineage.weight)
    rows = zip(*(each.tolist() for each in columns), strict=True)
    return [f"{lineage.runs[run]} {' '.join(map(str, rest))}" for run, *rest in rows]


def test_a_lineage_is_a_line_for_each_cycle(wepy: Wepy, made: Made) -> None:
    """Run, cycle in that run, walker and weight, the last one the walker that was asked for."""
    for walker in range(6):
        result = wepy(f"get lineage --walker {walker}", made.path, made.runs[1])
        assert (result.status, result.err) == (0, "")
        assert result.lines == lines_of(made, walker)
        assert result.lines[-1].split()[:3] == [made.runs[1], str(N_LAST - 1), str(walker)]
    early = wepy("get lineage --walker 2 --cycle 7", made.path, made.runs[1])
    assert early.lines == lines_of(made, 2, 7)
    assert wepy("get lineage --walker 2 --cycle=-28", made.path, made.runs[1]) == early
    whole = wepy("get lineage --walker 2 --through-warps", made.path, made.runs[1])
    assert len(whole.lines) == N_FIRST + N_LAST
    assert {line.split()[0] for line in whole.lines} == set(made.runs)
    alone = wepy("get lineage --walker 2 --through-warps --alone", made.path, made.runs[1])
    assert alone.lines == whole.lines[N_FIRST:]


def test_a_run_is_named_as_elsewhere(
    wepy: Wepy, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By START,END, by first digits, in a store found from here."""
    record = load_run(made.path, made.runs[1])
    expected = wepy("get lineage --walker 0", made.path, made.runs[1])
    pair = f"{record.start.md5},{record.end.md5}"
    assert wepy("get lineage --walker 0", made.path, pair) == expected
    monkeypatch.setenv("WEPY_ORCH", str(made.path))
    assert wepy("get lineage --walker 0", made.runs[1][:8]) == expected


def test_arrivals(wepy: Wepy, made: Made) -> None:
    """By their number, or the heaviest of them, which is what comes if nothing is asked for; what
    was chosen is on stderr."""
    warps = made.lineages.warps
    for warp in (0, 1, -1):
        walker, cycle = warps.walker.item(warp), warps.cycle.item(warp)
        result = wepy(f"get lineage --warp={warp}", made.path, made.runs[1])
        assert (result.lines, result.err) == (lines_of(made, walker, cycle), "")
    best = int(np.argmax(warps.weight))
    walker, cycle = warps.walker.item(best), warps.cycle.item(best)
    result = wepy("get lineage", made.path, made.runs[1])
    assert result.lines == lines_of(made, walker, cycle)
    assert result.err == (
        f"warp {best}, the heaviest of {len(warps)}: walker {walker} in cycle {cycle}\n"
    )
    several = wepy("get lineage --heaviest 2", made.path, made.runs[1])
    first = [line.removeprefix("0 ") for line in several.lines if line.startswith("0 ")]
    assert (first, several.err) == (result.lines, "")
    assert {line.split()[0] for line in several.lines} == {"0", "1"}
    target = warps.target.item(best) if warps.target is not None else None
    assert wepy(f"get lineage --to {target}", made.path, made.runs[1]).lines == result.lines


def test_without_arrivals_it_is_the_heaviest_walker(wepy: Wepy, made: Made) -> None:
    """At the end, or in a cycle that is named; stderr says which."""
    walker = made.lineages.heaviest_walker(3)
    result = wepy("get lineage --cycle 3", made.path, made.runs[1])
    assert result.lines == lines_of(made, walker, 3)
    assert result.err == f"walker {walker}, the heaviest in cycle 3\n"


def test_json_and_files(wepy: Wepy, made: Made, tmp_path: Path) -> None:
    """For programs; a file is whole, and is not overwritten unless told."""
    lineage = made.lineages.of_warp(0)
    (facts,) = json.loads(wepy("get lineage --warp 0 --json", made.path, made.runs[1]).out)
    assert (facts["warp"], facts["target"]) == (0, lineage.target)
    assert facts["begins_anew"] is lineage.begins_anew
    assert [each["weight"] for each in facts["cycles"]] == lineage.weight.tolist()
    assert [each["joined_cycle"] for each in facts["cycles"]] == lineage.joined_cycle.tolist()
    assert wepy("get lineage --warp 0 -O a.json", made.path, made.runs[1]).lines == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == [facts]
    assert wepy("get lineage --heaviest 2 -O a.csv", made.path, made.runs[1]).lines == ["a.csv"]
    with open("a.csv") as file:
        rows = [*csv.DictReader(file)]
    best = made.lineages.heaviest_arrivals(2)
    for k, each in enumerate(best):
        mine = [row for row in rows if row["lineage"] == str(k)]
        assert [float(row["weight"]) for row in mine] == each.weight.tolist()
        assert [int(row["joined_cycle"]) for row in mine] == each.joined_cycle.tolist()
    again = wepy("get lineage --warp 1 -O a.csv", made.path, made.runs[1])
    assert again.status == 1 and "--force" in again.err and again.err.count("\n") == 1
    assert wepy("get lineage --warp 1 -O a.csv --force", made.path, made.runs[1]).status == 0
    assert wepy("get lineage --warp 1 -O no/a.csv", made.path, made.runs[1]).status == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_states_along_lineages(wepy: Wepy, made: Made, tmp_path: Path) -> None:
    """In files of the formats of trajectories, whose names are printed."""
    lineage = made.lineages.of_warp(0)
    result = wepy("get lineage --warp 0 -O a.h5", made.path, made.runs[1])
    assert (result.status, result.lines) == (0, ["a.h5", "a.csv"])
    frames = load_frames(made.path, made.runs[1], joined=True)
    with h5py.File("a.h5") as found:
        positions = found["runs/0/trajectories/0/positions"][:]
    assert np.array_equal(positions, lineage.frames_of(frames))
    again = wepy("get lineage --warp 0 --alone -O a.h5", made.path, made.runs[0])
    assert again.status == 1 and "a.h5 is there already" in again.err
    options = "--heaviest 2 --every 2 --force"
    result = wepy(f"get lineage {options} -O a.h5", made.path, made.runs[1])
    assert (result.status, result.lines) == (0, ["a.h5", "a.csv"])
    best = made.lineages.heaviest_arrivals(2)
    with open("a.csv") as file:
        weights = [float(row["weight"]) for row in csv.DictReader(file)]
    assert weights == [*best[0].weight[::2], *best[1].weight[::2]]
    # One dimension is no place of an atom.
    result = wepy("get lineage --warp 0 -O b.dcd", made.path, made.runs[1])
    assert result.status == 1 and "a .h5 file takes anything" in result.err
    assert {each.name for each in tmp_path.iterdir()} == {"a.h5", "a.csv"}


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--walker 6", 1, "no walker 6 in cycle 34: there are walkers 0 to 5"),
        ("--walker -1", 1, "no walker -1"),
        ("--cycle 35", 1, "in cycle 35: there are cycles 0 to 34"),
        ("--warp 10000", 1, "has no warp 10000: there are warps 0 to"),
        ("--to 77", 1, "was warped with target_idx 77; it has"),
        ("--heaviest 1 --to 77", 1, "target_idx 77"),
        ("--heaviest 0", 2, "--heaviest is 0"),
        ("--walker x", 2, "--walker is 'x' and must be a whole number"),
        ("--warp " + "9" * 5000, 2, "must be a whole number"),
        ("--walker 1 --warp 1", 2, "--walker and --warp do not go together"),
        ("--cycle 1 --to 1", 2, "--cycle and --to do not go together"),
        ("--json -O a.csv", 2, "--json is for stdout"),
        ("-O a.png", 2, "a.png ends as nothing that 'wepy get lineage' writes: .csv, .json, .h5"),
        (
            "--atoms 0",
            2,
            "--atoms is for states: write them, with --output, to a file that ends in",
        ),
        ("--every 2 -O a.csv", 2, "--every is for states"),
        ("--every 0 -O a.h5", 2, "--every is 0"),
        ("--walkers 0", 2, "--walkers is for 'wepy get trajectories'"),
        ("-O a.h5 --atoms 1 --walker 0", 2, "has atom 1"),
    ],
)
def test_what_is_not_there(wepy: Wepy, made: Made, options: str, status: int, said: str) -> None:
    """One line, which names the culprit and what there is."""
    result = wepy(f"get lineage {options}", made.path, made.runs[1])
    assert (result.status, result.out) == (status, "")
    assert said in result.err and len(result.err.splitlines()) == 1


def test_runs_of_which_nothing_can_be_said(wepy: Wepy, made: Made) -> None:
    """Without a recording, or one of several between two snapshots, or no run at all."""
    shutil.copytree(made.path, "b.orch")
    record = load_run("b.orch", made.runs[0])
    other = save_run(Store.open("b.orch"), replace(record, recording=None))
    ends = record.start.md5, record.end.md5
    result = wepy("get lineage b.orch", other)
    assert (result.status, result.out) == (1, "")
    assert f"nothing is recorded of run {other}" in result.err
    result = wepy("get lineage b.orch", ",".join(ends))
    assert (result.status, result.out) == (1, "") and "2 runs lead from" in result.err
    assert other in result.err and made.runs[0] in result.err
    result = wepy("get lineage b.orch", ends[0])
    assert result.status == 1 and "is a snapshot" in result.err


def test_options_of_lineages_are_of_nothing_else(wepy: Wepy, made: Made) -> None:
    """`get snapshot --walker 3` would give all of them."""
    result = wepy("get snapshot --walker 3", made.path, load_run(made.path, made.runs[0]).end.md5)
    assert result.status == 2 and "--walker is for 'wepy get lineage'" in result.err
