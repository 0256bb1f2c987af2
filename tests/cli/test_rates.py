"""`wepy rates`: one answer, for people, for programs and for tables."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.systems import save_run
from wepystore.api import load_run, save_snapshot
from wepystore.cli.main import main

N_CYCLES = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of a walk to 2. Only read it."""
    found = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(2, n_walkers=16, per_bin=6))
    found.runs((1, 2, 3), N_CYCLES)
    return found


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """What `wepy rates` comes to, and what it writes."""
    status = main(["rates", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_what_people_read(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The number, what the interval means, whether it is steady, and how much it rests on."""
    status, out, err = said(capsys, place.store.path)
    assert status == 0 and err == ""
    facts = dict(
        re.split(r"\s{1,}", line, maxsplit=1) for line in out.split("\n\n")[0].splitlines()
    )
    assert [*facts] == [
        *("rate", "MFPT", "interval", "steady", "RED", "counted", "events", "ancestors")
    ]
    assert re.fullmatch(r"0\.\d+ \(0\.\d+ to 0\.\d+\) 1/steps", facts["rate"])
    assert facts["interval"] == "95 %, from the spread between 3 independent runs"
    assert facts["counted"] == "60 cycles of 3 independent runs, 60 steps: the last half of each"
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split()[:4] == ["of", "cycles", "events", "effective"] and len(table) == 4
    assert len({line.index("  ") > 0 for line in table}) == 1


def test_one_run_is_said_to_be_optimistic(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Its interval is from parts of itself; a store or two words name it."""
    run = place.store.hashes("runs")[0]
    status, out, _ = said(capsys, place.store.path, run[:12])
    assert status == 0 and "four parts of this run: optimistic" in out
    assert "20 cycles of 1 independent run, 20 steps" in out and "\n\n" not in out


def test_the_store_may_be_left_out(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the first word is a run."""
    run = place.store.hashes("runs")[1]
    expected = said(capsys, place.store.path, run)[1]
    monkeypatch.setenv("WEPY_ORCH", str(place.store.path))
    assert said(capsys, run)[1] == expected
    assert "3 independent runs" in said(capsys)[1]
    record = load_run(place.store, run)
    pair = f"{record.start.md5[:9]},{record.end.md5[:9]}"
    assert said(capsys, pair)[1] == expected
    status, _, err = said(capsys, run, place.store.path)
    assert status == 2 and "ORCH comes first" in err
    status, _, err = said(capsys, "nowhere/at-all.orch")
    assert status == 1 and "no store at" in err


def test_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What DESIGN names, of all together and of each run, and each arrival with its K."""
    status, out, _ = said(capsys, place.store.path, "--json", "--events", "--burn-in", "10")
    found: dict[str, Any] = json.loads(out)
    assert status == 0 and found["unit"] == "steps"
    assert found["window"] == "a burn-in of 10 cycles"
    pool, *others = found["rates"]
    assert {
        *("flux", "interval", "mfpt", "mfpt_interval", "unit", "window", "events"),
        *("effective_events", "stationary", "reason", "of", "target", "runs", "heaviest"),
    } <= pool.keys()
    assert pool["mfpt"] == 1 / pool["flux"] and pool["of"] == "pool" and len(others) == 3
    assert pool["stationary"] in (True, False, None) and pool["window"] == [10, 39]
    events = found["events"]
    assert len(events) == pool["events"]
    total = sum(event["weight"] for event in events)
    assert total / 90 == pytest.approx(pool["flux"])
    assert [event["weight"] for event in events] == sorted(
        (event["weight"] for event in events), reverse=True
    )
    first = events[0]
    words = ["get", "lineage", str(place.store.path), first["lineage_of"]]
    assert main([*words, "--warp", str(first["warp"]), "--json"]) == 0
    (lineage,) = json.loads(capsys.readouterr().out)
    last = lineage["cycles"][-1]
    assert all(last[name] == first[name] for name in ("run", "cycle", "walker", "weight"))


def test_csv(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each rate, or each arrival, with a heading; no field is a list."""
    rows = list(csv.DictReader(said(capsys, place.store.path, "--csv")[1].splitlines()))
    assert [row["of"] for row in rows] == ["pool", "unit", "unit", "unit"]
    low, flux, high = (float(rows[0][n]) for n in ("interval_low", "flux", "interval_high"))
    assert low < flux < high and len(rows[0]["runs"].split()) == 3
    assert rows[0]["target"] == "" and rows[0]["first_cycle"] == "20"
    events = said(capsys, place.store.path, "--csv", "--events")[1].splitlines()
    assert events[0] == ("lineage_of,warp,run,cycle,joined_cycle,walker,weight,target,destination")
    assert len(events) == int(rows[0]["events"]) + 1


def test_between_states(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Both directions, and how much of the weight came from where; into the target of the warps it
    is what it is without states."""
    words = ["--from", "progress < 1", "--to", "progress >= 2"]
    status, out, _ = said(capsys, place.store.path, *words)
    there, back, table = out.split("\n\n")
    assert status == 0 and there.startswith("from       progress < 1, to progress >= 2\n")
    assert "100 % was last in progress < 1" in there
    assert back.splitlines()[1] == "rate       none: no event"
    assert table.splitlines()[0].split()[:2] == ["of", "into"]
    plain = said(capsys, place.store.path)[1]
    assert there.splitlines()[1:3] == plain.splitlines()[:2]
    found = json.loads(said(capsys, place.store.path, "--json", *words)[1])["rates"]
    assert [row["destination"] for row in found[:2]] == ["progress >= 2", "progress < 1"]
    rows = said(capsys, place.store.path, "--events", *words)[1].splitlines()
    assert len(rows) == 1 + found[0]["events"] and rows[1].endswith("progress >= 2")


def test_the_flux_along_a_coordinate(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table, as JSON, as CSV; the last value is the target, and what goes there the rate."""
    rate = json.loads(said(capsys, place.store.path, "--json")[1])["rates"][0]
    words = [place.store.path, "--through", "progress"]
    found = json.loads(said(capsys, *words, "--json")[1])
    assert found["points"][-1]["at"] == 2.0 and found["unit"] == "steps"
    assert found["points"][-1]["flux"] == pytest.approx(rate["flux"])
    rows = said(capsys, *words, "--csv")[1].splitlines()
    assert rows[0] == "at,flux,low,high" and len(rows) == 1 + len(found["points"])
    status, out, err = said(capsys, *words)
    assert status == 0 and not err and len(out.splitlines()) == len(rows)
    assert out.startswith("progress/distance") and "net flux (1/steps)" in out
    status, out, err = said(capsys, *words, "--events")
    assert status == 2 and not out and "does not go together" in err


def test_states_by_a_function_of_ones_own(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is code, and run only if that is asked for; then it is as the progress is."""
    file = tmp_path / "own.py"
    file.write_text("def place(positions, box_vectors):\n    return positions[:, 0, 0]\n")
    words = ["--from", f"{file}:place < 1", "--to", f"{file}:place >= 2"]
    status, out, err = said(capsys, place.store.path, *words)
    assert status == 5 and not out and "is code" in err
    status, out, _ = said(capsys, place.store.path, "--trust", *words)
    plain = said(capsys, place.store.path)[1]
    assert status == 0 and out.splitlines()[1:3] == plain.splitlines()[:2]


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--burn-in", "40"], 2, "a burn-in of 40 cycles leaves nothing of run"),
        (["--burn-in", "-3"], 2, "--burn-in is -3"),
        (["--window", "5"], 2, "--window is '5' and must be A:B"),
        (["--window", "a:b"], 2, "must be A:B"),
        (["--window", "9:3"], 2, "the window 9:3 leaves nothing"),
        (["--window", "1:3", "--burn-in", "2"], 2, "do not go together"),
        (["--json", "--csv"], 2, "do not go together"),
        (["--unit", "ns"], 2, "how long a step is is not known of all runs"),
        (["--unit", "hours"], 2, "the units are ps, ns"),
        (["ffff"], 1, "no run"),
        (["--from", "progress<1"], 2, "--from and --to go together"),
        (["--from", "progress", "--to", "progress>1"], 2, "'progress' is no state"),
        (["--from", "progress<2", "--to", "progress>=1"], 2, "are not apart"),
        (["--from", "progress<1", "--to", "progress>9"], 1, "no walker went from one"),
        (["--from", "progres<1", "--to", "progress>1"], 2, "progres"),
    ],
)
def test_what_cannot_be_asked(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    text: str,
) -> None:
    """One line that says why, and no number."""
    found, out, err = said(capsys, place.store.path, *words)
    assert (found, out) == (status, "") and text in err
    assert len([line for line in err.splitlines() if "error" in line]) == 1


def test_what_has_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty store, no event, other boundary conditions, a run without a recording."""
    place = Place(tmp_path, walk_snapshot(3))
    assert said(capsys, place.store.path)[::2] == (
        1,
        f"wepy: error: no run of {place.store.path} can be counted: there are no runs\n",
    )
    run = place.run(1, 2).record
    status, out, err = said(capsys, place.store.path)
    assert status == 1 and not out and "no walker was warped" in err
    start = save_snapshot(place.store, walk_snapshot(2))
    place.run(1, 20, start)
    status, out, err = said(capsys, place.store.path)
    assert status == 1 and not out and "do not belong together" in err and "threshold" in err
    bare = load_run(place.store, run)
    nothing = save_run(place.store, type(bare)(**{**vars(bare), "recording": None}))
    status, out, err = said(capsys, place.store.path, nothing)
    assert status == 1 and not out and "nothing is recorded" in err


def test_what_does_not_count_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the reason; the answer stays alone on stdout."""
    place = Place(tmp_path, walk_snapshot(2, n_walkers=16, per_bin=6))
    place.runs((1, 2), 30)
    shorter = place.run(1, 20, n_steps=1).record
    _, out, err = said(capsys, place.store.path)
    assert "2 independent runs" in out and "four parts of each of 2" in out
    assert err.startswith(f"run {shorter} does not count: it is the beginning of run ")
