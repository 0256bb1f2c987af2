"""The typed reading of what a run record tells under `execution`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.systems import REPOSITORY, run_job
from wepystore.api import Prepared
from wepystore.records.circumstances import Circumstances, circumstances_of
from wepystore.records.library import load_run
from wepystore.store import Store


def test_a_run_writes_what_is_read(pair_store: Prepared, tmp_path: Path) -> None:
    """Every key that a run writes is one that is read, under that name and of that type."""
    outcome = run_job(pair_store.store, "default", tmp_path / "job")
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[0])
    told = record.execution
    written = store.manifest("runs", store.hashes("runs")[0])["execution"]
    assert written.keys() == set(Circumstances._fields)
    for key, value in written.items():
        assert getattr(told, key) == value, key
    assert told.begun and told.complete and told.job_name == "job" and told.n_warped == 0
    assert outcome.n_cycles == record.n_cycles == 3


@pytest.mark.parametrize("odd", [None, True, -1, 2**64, "text", [1, [2]], {"a": 1}, 1.5, ()])
def test_what_could_not_be_meant_is_not_there(odd: Any) -> None:
    """S9 and common sense: a record of anybody's is read without a fault, whatever it tells."""
    names = Circumstances._fields
    told = circumstances_of(dict.fromkeys(names, odd) | {"begin": "of another program"})
    for name in names:
        value = getattr(told, name)
        good = {
            "complete": bool,
            "wall_s": int | float,
            "step_size_ps": int | float,
            "n_walkers": int,
            "n_workers": int,
            "n_warped": int,
            "n_cloned": int,
            "n_merged": int,
            "recorded_bytes": int,
            "continues": dict,
            "times": dict,
            "checkpoints": list,
            "resumed_from": list,
        }.get(name, str)
        assert value is None or (isinstance(value, good) and value is not True) or odd is True
    assert circumstances_of(odd) == Circumstances() or isinstance(odd, dict)
    assert told.sampled_ps(10, 10) is None or told.n_walkers is not None


def test_sampled_time() -> None:
    """Walkers times cycles times steps times the step; None where one of them is not known, and
    where numbers of a made-up record are beyond all bounds."""
    told = Circumstances(n_walkers=48, step_size_ps=0.002)
    assert told.sampled_ps(100, 1000) == pytest.approx(9600)
    assert told.sampled_ps(100, None) is None and told.sampled_ps(100, "1") is None
    assert told.sampled_ps(10**400, 10) is None
    assert Circumstances(n_walkers=48).sampled_ps(1, 1) is None
    assert Circumstances(n_walkers=2**62, step_size_ps=1e300).sampled_ps(10**20, 1) is None


@pytest.mark.parametrize(
    "times",
    [
        None,
        {"n_cycles": 0, "seconds": {"bc_s": 1.0}},
        {"n_cycles": 2, "seconds": {"bc_s": "1"}},
        {"n_cycles": 2.0, "seconds": {"bc_s": 1.0}},
        {"n_cycles": 2, "seconds": [1.0]},
        {"seconds": {"bc_s": -1.0}, "n_cycles": 1},
    ],
)
def test_no_mean_cycle_is_made_up(times: Any) -> None:
    """Where a record does not tell, or nothing that could be meant."""
    assert circumstances_of({"times": times}).cycle_s() == {}


def test_the_mean_cycle() -> None:
    """Sums over the cycles, by what they were spent on."""
    told = circumstances_of({"times": {"n_cycles": 4, "seconds": {"runner_s": 2, "bc_s": 0.5}}})
    assert told.cycle_s() == {"runner_s": 0.5, "bc_s": 0.125}


def test_the_format_page_has_every_field() -> None:
    """docs/format.md says of each field of `execution` what it means, and names no other."""
    page = (REPOSITORY / "docs" / "format.md").read_text()
    table = page.partition("| field of `execution` |")[2].partition("\n\n")[0]
    told = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(told) == sorted(Circumstances._fields)


def test_nobody_else_spells_the_keys() -> None:
    """No module but circumstances.py takes a key out of `execution` by its name, so that a misspelt
    one cannot be silent."""
    spelt = re.compile(r"execution(?:\.get\(|\[)[\"'f]")
    wrong = [
        f"{file.relative_to(REPOSITORY)}: {line.strip()}"
        for file in (REPOSITORY / "wepystore").rglob("*.py")
        for line in file.read_text().splitlines()
        if spelt.search(line)
    ]
    assert not wrong
