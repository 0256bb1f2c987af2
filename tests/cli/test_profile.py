"""`wepy profile`: bins for people, for programs and for tables; and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.cli.conftest import Wepy
from wepystore.api import load_profile
from wepystore.cli.main import main

N_CYCLES = 40
X = "position(index 0, x)"
BINS = "-0.5:14.5:15"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three runs of a walk. Only read it."""
    found = Place(tmp_path_factory.mktemp("walks"), walk_snapshot(None, n_walkers=24, per_bin=5))
    found.runs((1, 2, 3), N_CYCLES)
    return found


@pytest.fixture
def said(place: Place, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `wepy profile` of the walks comes to, and what it writes."""

    def said(*words: object) -> tuple[int, str, str]:
        status = main(["profile", str(place.store.path), *map(str, words)])
        out, err = capsys.readouterr()
        return status, out, err

    return said


def facts_of(out: str) -> dict[str, str]:
    head = out.split("\n\n")[0].splitlines()
    return {line[:10].strip(): line[11:] for line in head}


def test_what_people_read(said: Any, place: Place) -> None:
    """What it is along, what the intervals mean, whether it is steady; then a line a bin."""
    status, out, err = said("--along", X, f"--bins={BINS}")
    assert (status, err) == (0, "")
    facts = facts_of(out)
    assert [*facts] == ["along", "interval", "steady", "counted"]
    assert facts["along"] == "position(index 0, x) (nm)"
    assert facts["interval"] == "95 %, from the spread between 3 independent runs"
    assert facts["counted"] == "60 cycles of 3 independent runs: the last half of each"
    heading, *rows = out.split("\n\n")[1].splitlines()
    assert heading.split("  ")[0] == "from" and heading.endswith("walkers")
    profile = load_profile(place.store, along=X, bins=np.linspace(-0.5, 14.5, 16))
    assert rows[0].split()[:3] == ["-0.5", "0.5", f"{profile.probability[0]:.3g}"]
    assert f" {profile.low[0]:.2g} to {profile.high[0]:.2g} " in rows[0]
    assert [int(row.split()[-1]) for row in rows] == profile.n_walkers[: len(rows)].tolist()
    assert profile.n_walkers[len(rows) :].sum() == 0


def test_stretches_of_time_and_what_is_outside(said: Any) -> None:
    """A second table of free energies, with the cycles in its heading; what no bin holds."""
    _, out, _ = said("--along", X, "--bins", "0.5,1.5,2.5,3.5", "--windows", 2, "--burn-in", 0)
    facts = facts_of(out)
    assert facts["outside"].endswith("of the weight is in no bin")
    assert facts["counted"].endswith("all cycles")
    heading, *rows = out.split("\n\n")[2].splitlines()
    assert heading.split() == ["from", "to", "0:20", "20:40"] and len(rows) == 3
    assert all(float(each) >= 0 for row in rows for each in row.split()[2:])


def test_json_is_all_of_it(said: Any, place: Place) -> None:
    """Numbers as they are, and null where there is none."""
    _, out, _ = said("--along", X, "--bins=-0.5:20.5:21", "--windows=2", "--json")
    found = json.loads(out)
    profile = load_profile(place.store, along=X, bins=np.linspace(-0.5, 20.5, 22), n_windows=2)
    assert found["probability"] == profile.probability.tolist()
    assert found["walkers"] == profile.n_walkers.tolist()
    assert found["free_energy"][-1] is None and found["low"][-1] is None
    assert found["along"][0]["edges"] == profile.axes[0].edges.tolist()
    assert (found["units"], found["cycles"], found["interval_from"]) == (3, 60, "units")
    assert [each["window"] for each in found["windows"]] == [[0, 19], [20, 39]]
    assert found["stationary"] is profile.stationary and found["reason"] == profile.reason


def test_csv_is_a_table(said: Any, place: Place) -> None:
    """All bins, also those that nobody was in."""
    _, out, _ = said("--along", X, "--bins=-0.5:20.5:21", "--windows=2", "--csv")
    rows = [*csv.DictReader(out.splitlines())]
    profile = load_profile(place.store, along=X, bins=np.linspace(-0.5, 20.5, 22), n_windows=2)
    assert [float(row["probability"]) for row in rows] == profile.probability.tolist()
    assert [row["free_energy"] for row in rows][-1] == ""
    assert [float(row["probability_2"]) for row in rows] == profile.windows[1].probability.tolist()


def test_two_coordinates(said: Any) -> None:
    """A line for each pair of bins with weight in it."""
    words = ("--along", X, "--along", "2*position(index 0, x)")
    _, out, _ = said(*words, "--bins=3", "--bins=0:20:5", "--json")
    found = np.array(json.loads(out)["probability"])
    assert found.shape == (3, 5)
    _, out, _ = said(*words, "--bins=3", "--bins=0:20:5")
    heading, *rows = out.split("\n\n")[1].splitlines()
    assert heading.split("  ")[0] == "from 1" and len(rows) == int((found > 0).sum())
    _, out, _ = said(*words, "--bins=3", "--csv")
    assert out.splitlines()[0].startswith("from_1,to_1,from_2,to_2,probability")
    assert len(out.splitlines()) == 10


def test_a_bar_on_a_terminal(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free energy drawn; the longest is that of the least likely bin."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    _, out, _ = said("--along", X, f"--bins={BINS}")
    bars = [row.count("█") for row in out.split("\n\n")[1].splitlines()[1:]]
    assert bars[0] == 0 and max(bars) == 24 and bars[:4] == sorted(bars[:4])


OWN = """
import numpy as np

def square(positions, boxes):
    return positions[:, 0, 0] ** 2

square.unit = "nm2"

def wrong(positions, boxes):
    return positions.no_such_thing

def lies(positions, boxes):
    return 1.0

lies.period = -3
print_me = 3
"""


def test_a_function_of_ones_own(said: Any, place: Place, tmp_path: Path) -> None:
    """It is code: run only if its user says so, or its very bytes are trusted."""
    file = tmp_path / "mine.py"
    file.write_text("open('ran', 'w')\n" + OWN)
    status, out, err = said("--along", f"{file}:square")
    assert (status, out) == (5, "") and "--trust" in err and err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    file.write_text(OWN)
    status, out, _ = said("--along", f"{file}:square", "--trust", "--bins=0:9:3", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["along"][0]["coordinate"] == "mine.py:square"
    assert found["along"][0]["unit"] == "nm2"
    same = load_profile(place.store, along=lambda p, b: p[:, 0, 0] ** 2, bins=[0, 3, 6, 9])
    assert found["probability"] == same.probability.tolist()
    for name, said_of in (
        ("sqare", "has no function sqare; did you mean 'square'?"),
        ("print_me", "has no function print_me"),
        ("wrong", "it raised AttributeError"),
        ("lies", "the period of a coordinate is a number above 0"),
    ):
        status, out, err = said("--along", f"{file}:{name}", "--trust")
        assert status in (1, 2) and out == "" and said_of in err and err.count("\n") == 1
    for content, said_of in (
        ("1/0", "running it raised ZeroDivisionError"),
        ("def", "SyntaxError"),
    ):
        file.write_text(content)
        assert said_of in said("--along", f"{file}:square", "--trust")[2]
    file.write_text("raise SystemExit(0)")
    assert "running it raised SystemExit" in said("--along", f"{file}:square", "--trust")[2]
    for name, make in (("folder.py", os.mkdir), ("pipe.py", os.mkfifo)):
        make(tmp_path / name)
        status, out, err = said("--along", f"{tmp_path / name}:f", "--trust")
        assert (status, out) == (1, "") and err.endswith(f"{name} cannot be used: it is no file\n")
    assert "No such file" in said("--along", f"{tmp_path}/no.py:f", "--trust")[2]


def test_trusted_bytes_need_not_be_said_so(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SHA-256, as of pickles: a letter more, and it is not trusted."""
    import hashlib

    file = tmp_path / "mine.py"
    file.write_text(OWN)
    listed = tmp_path / "trusted"
    listed.write_text(hashlib.sha256(file.read_bytes()).hexdigest() + "\n")
    monkeypatch.setenv("WEPY_TRUST", str(listed))
    assert said("--along", f"{file}:square")[0] == 0
    file.write_text(OWN + "#")
    assert said("--along", f"{file}:square")[0] == 5


@pytest.mark.parametrize(
    ("options", "status", "said_of"),
    [
        ("", 2, "along what is missing: --along COORDINATE"),
        (f"--along {X!r} --along progress --along progress", 2, "given thrice"),
        ("--along progress", 1, "record no progress"),
        ("--along distance(index", 2, "no coordinate: the ')' of 'distance' is missing"),
        ("--along rgg(all)", 2, "did you mean 'rg'?"),
        ("--along 'distance(index 0, index 7)'", 2, "there is no atom 7"),
        ("--along 'distance(name CA, index 0)'", 1, "select them by index"),
        (f"--along {X!r} --bins 0", 2, "--bins is 0"),
        (f"--along {X!r} --bins x", 2, "--bins is 'x'"),
        (f"--along {X!r} --bins 1:2", 2, "must be a number, A:B:N, or edges"),
        (f"--along {X!r} --bins 2:1:5", 2, "are no bins: edges rise"),
        (f"--along {X!r} --bins 1,nan", 2, "edges rise"),
        (f"--along {X!r} --bins 5 --bins 6", 2, "more often than --along"),
        (f"--along {X!r} --bins 90:99:3", 1, "no walker is in any bin"),
        (f"--along {X!r} --windows 0", 2, "--windows is 0"),
        (f"--along {X!r} --window 3", 2, "must be A:B"),
        (f"--along {X!r} --window 1:2 --burn-in 3", 2, "do not go together"),
        (f"--along {X!r} --burn-in 400", 2, "leaves nothing of run"),
        (f"--along {X!r} --json --csv", 2, "do not go together"),
    ],
)
def test_what_cannot_be_told(said: Any, options: str, status: int, said_of: str) -> None:
    """One line that names the culprit."""
    import shlex

    found, out, err = said(*shlex.split(options))
    assert (found, out) == (status, "") and said_of in err and len(err.splitlines()) == 1


def test_runs_that_do_not_count_are_named(wepy: Wepy, place: Place) -> None:
    """On stderr, as everything that is not the answer."""
    runs = place.store.hashes("runs")
    result = wepy("profile", "--along", X, place.store.path, *runs[:2])
    assert result.status == 0 and "2 independent runs" in result.out
    assert math.isclose(1, sum(_probabilities(result.out)), rel_tol=0.02)


def _probabilities(out: str) -> list[float]:
    return [float(row.split()[2]) for row in out.split("\n\n")[1].splitlines()[1:]]
