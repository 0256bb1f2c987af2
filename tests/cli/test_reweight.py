"""`wepy reweight`: the rate that runs lead to, in lines, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.answers.studies import Place, walk_snapshot
from tests.cli.conftest import Wepy
from wepystore.answers.reweighting import load_reweighting
from wepystore.api import load_runs
from wepystore.cli.reweight import _lines

COMMAND = "reweight --along progress"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("reweight"), walk_snapshot(3, n_walkers=24))
    place.runs((1, 2, 3), 20)
    return place


def test_for_people(wepy: Wepy, place: Place) -> None:
    """Rate, what it depends on, and what it is beside, each in a line."""
    found = wepy(COMMAND, place.store.path)
    assert (found.status, found.err) == (0, "")
    names = ["rate", "MFPT", "interval", "bins", "recorded", "relaxation", "left out"]
    names += ["counted", "arrivals"]
    assert [line[:10].rstrip() for line in found.lines] == names
    told = {line[:10].rstrip(): line[11:] for line in found.lines}
    expected = load_reweighting(place.store, "progress")
    assert told["rate"].startswith(f"{expected.rate.value:.2g} (")
    assert told["rate"].endswith(" 1/steps")
    assert "between 3 independent runs" in told["interval"]
    assert told["bins"].startswith("3; the rate is ") and "no more apart" in told["bins"]
    assert told["counted"] == "1440 segments of 3 independent runs"
    assert told["arrivals"].startswith(f"{expected.n_arrivals}; they tell as much as ")
    assert told["recorded"].endswith(f": {expected.recorded_rate / expected.rate.value:.2g} of it")
    cycles = wepy(f"{COMMAND} --unit cycles --distribution", place.store.path)
    assert cycles.lines[len(names) :][:2] == ["", "from  to  steady  recorded"]
    assert len(cycles.lines) == len(names) + 2 + 3


def test_some_of_the_runs(wepy: Wepy, place: Place) -> None:
    """By the first digits of their records; of one the interval is optimistic."""
    run = next(iter(load_runs(place.store)))
    found = wepy(COMMAND, place.store.path, run[:10])
    assert found.status == 0
    assert "four parts of this run: optimistic" in found.out
    assert "480 segments of 1 independent run\n" in found.out


def test_json(wepy: Wepy, place: Place) -> None:
    """All numbers, and bins one after the other."""
    found = json.loads(wepy(f"{COMMAND} --json --bins 0.5,2.5,90", place.store.path).out)
    expected = load_reweighting(place.store, "progress", bins=[0.5, 2.5, 90])
    assert found["flux"] == expected.rate.value
    assert found["interval"] == list(expected.interval or ())
    assert found["mfpt_interval"][0] < found["mfpt"] < found["mfpt_interval"][1]
    assert (found["along"], found["unit"]) == ("progress/distance", "steps")
    assert (found["n_bins"], found["coarser"]["n_bins"], found["finer"]["n_bins"]) == (4, 2, 5)
    assert [unit["run"] for unit in found["units"]] == [
        unit.chains[0].run for unit in expected.study.units
    ]
    assert [(each["from"], each["to"]) for each in found["bins"]] == [
        (None, 0.5),
        (0.5, 2.5),
        (2.5, 90.0),
        (90.0, None),
    ]
    assert [each["kept"] for each in found["bins"]] == [True, True, False, False]


def test_between_states(wepy: Wepy, place: Place) -> None:
    """From which to which is told first, and the first is a row of the distribution."""
    states = "--from 'progress < 1' --to 'progress >= 3'"
    found = wepy(f"{COMMAND} {states} --distribution", place.store.path)
    assert found.status == 0
    assert found.lines[0] == "from       progress < 1, to progress >= 3"
    assert [line.split()[0] for line in found.lines[-3:]] == ["in", "2", "2"]
    told = json.loads(wepy(f"{COMMAND} {states} --json", place.store.path).out)
    assert told["states"] == ["progress < 1", "progress >= 3"]
    shares = [told["initial"]["probability"], *(each["probability"] for each in told["bins"])]
    assert sum(shares) == pytest.approx(1)


def test_what_does_not_count_is_named(wepy: Wepy, place: Place, tmp_path: Path) -> None:
    """On stderr."""
    here = Place(tmp_path, walk_snapshot(2))
    for n_cycles in (20, 8):
        here.run(1, n_cycles, n_steps=1)
    found = wepy(COMMAND, here.store.path)
    assert found.status == 0
    assert "does not count: it is the beginning of" in found.err


def test_csv(wepy: Wepy, place: Place) -> None:
    """The bins as a table."""
    found = wepy(f"{COMMAND} --csv", place.store.path)
    rows = list(csv.DictReader(found.lines))
    expected = load_reweighting(place.store, "progress")
    assert [row["from"] for row in rows] == ["", "1.0", "2.0"]
    assert [float(row["probability"]) for row in rows] == expected.probabilities.tolist()
    assert {row["kept"] for row in rows} == {"true"}


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--json --csv", 2, "--json and --csv do not go together"),
        ("--from 'progress < 1'", 2, "--from and --to go together"),
        ("--bins few", 2, "--bins is 'few' and must be"),
        ("--bins 1", 2, "1 is no number from 2 to 500"),
        ("--bins 2,1", 2, "each larger than the one before"),
        ("--unit ns", 2, "times are not known in ns"),
    ],
)
def test_what_is_refused(wepy: Wepy, place: Place, options: str, status: int, said: str) -> None:
    """In one line."""
    found = wepy(f"{COMMAND} {options}", place.store.path)
    assert (found.status, found.out) == (status, "")
    assert said in found.err and found.err.count("\n") == 1


def test_bins_that_matter(wepy: Wepy, place: Place) -> None:
    """In one bin for all walkers nothing but the mean of the flux is known. Where bins half as wide
    give half as much again, or none can be told in them, that is said."""
    told = json.loads(wepy(f"{COMMAND} --bins 50,60 --json", place.store.path).out)
    assert told["flux"] == pytest.approx(told["recorded_flux"], rel=0.1)
    found = load_reweighting(place.store, "progress", bins=[50, 60])
    assert "2 bins that nobody visited" in "\n".join(_lines(found))
    for rate, said in ((1.4, False), (1.6, True), (0.6, True), (None, True)):
        finer = found.finer._replace(rate=rate and rate * found.rate.value)
        wide = replace(found.rate, low=0.5 * found.rate.value, high=2 * found.rate.value)
        other = replace(found, finer=finer, rate=wide)
        assert other.bins_matter is said
        assert ("they matter, so take more" in "\n".join(_lines(other))) is said
    narrow = replace(found.rate, low=0.9 * found.rate.value, high=1.1 * found.rate.value)
    finer = found.finer._replace(rate=1.2 * found.rate.value)
    assert replace(found, finer=finer, rate=narrow).bins_matter


def test_without_arrivals(wepy: Wepy, tmp_path: Path) -> None:
    """No number stands for what nobody saw."""
    place = Place(tmp_path, walk_snapshot(5))
    place.runs((1,), 3)
    found = wepy(COMMAND, place.store.path)
    assert (found.status, found.out) == (1, "")
    assert "no walker was warped" in found.err
