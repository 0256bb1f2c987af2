"""The real wepy 1.2 reads several runs of a store in one file, joined as the store joins them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.systems import pair_apparatus, pair_snapshot, pair_state, plain_configuration, run_job
from wepystore.api import (
    Store,
    UnbindingBC,
    export_runs,
    load_frames,
    load_lineages,
    prepare_store,
    reconcile,
    resume,
)

#: A; B, which goes on from its end; A when it has gone on itself; C, another from A's start.
N_CYCLES = {"A": 30, "B": 20, "longer A": 32, "C": 7}
N_WALKERS = 6


class Made(NamedTuple):
    store: Path
    runs: dict[str, str]
    ends: dict[str, str]
    file: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("runs")
    boundary = UnbindingBC(
        0.385, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False
    )
    snapshot = pair_snapshot(N_WALKERS, pair_apparatus(boundary_conditions=boundary))
    prepared = prepare_store(folder / "all.orch", snapshot, plain_configuration())
    store, start = prepared.store, prepared.snapshot_hash
    done = {"A": run_job(store, start, folder / "A", n_cycles=N_CYCLES["A"], n_steps=60)}
    reconcile(store.path, folder / "A")
    store = Store.open(folder / "all.orch")
    more: dict[str, Any] = {"n_steps": 60}
    done["B"] = run_job(store, done["A"].end, folder / "B", n_cycles=N_CYCLES["B"], **more)
    done["C"] = run_job(store, start, folder / "C", n_cycles=N_CYCLES["C"], seed=2, **more)
    done["longer A"] = resume(folder / "A", n_cycles=N_CYCLES["longer A"])
    reconcile(store.path, *(folder / job for job in "ABC"))
    runs = {name: each.record for name, each in done.items()}
    file = folder / "all.h5"
    export_runs(store.path, file)
    return Made(store.path, runs, {name: each.end for name, each in done.items()}, file)


@pytest.fixture(scope="module")
def read(made: Made, wepy_python: str) -> dict[str, Any]:
    script = Path(__file__).with_name("read_runs_with_wepy.py")
    command = [wepy_python, "-W", "ignore", str(script), str(made.file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_is_cut_where_another_left_it(made: Made, read: dict[str, Any]) -> None:
    """Each cycle is there once, and runs go on from each other's last cycles; snapshots stand at
    both ends of each."""
    by_end = dict(zip(read["ends"], range(4), strict=True))
    first, last = by_end[made.ends["A"]], by_end[made.ends["longer A"]]
    left = by_end[made.ends["B"]]
    assert {first, last, left, by_end[made.ends["C"]]} == set(range(4))
    assert [read["n_cycles"][k] for k in (first, last, left)] == [30, 2, 20]
    assert read["continuations"] == sorted([[last, first], [left, first]])
    assert read["starts"][last] == read["starts"][left] == made.ends["A"]


def test_wepys_spans_are_our_histories(made: Made, read: dict[str, Any]) -> None:
    """50, 32 and 7 cycles, never 52; with the parents that our lineages have, and trajectories
    that begin anew where they do, at every warp."""
    names = {50: "B", 32: "longer A", 7: "C"}
    assert sorted(span["n_cycles"] for span in read["spans"]) == sorted(names)
    n_warps = 0
    for span in read["spans"]:
        run, n_cycles = made.runs[names[span["n_cycles"]]], span["n_cycles"]
        lineages = load_lineages(made.store, run)
        parents = lineages.parents.reshape(n_cycles, N_WALKERS)
        assert parents[1:].tolist() == span["parents"][:-1]
        anew = np.where(lineages.warped.reshape(n_cycles, N_WALKERS), -1, 0)
        assert anew.tolist() == span["discontinuities"]
        assert len(span["warps"]) == len(lineages.warps)
        n_warps += len(lineages.warps)
        frames = load_frames(made.store, run, joined=True)
        assert np.array_equal(np.float32(span["positions"]), frames.walker(0))
    assert n_warps > 10


def test_named_runs_come_with_what_led_to_them(made: Made, tmp_path: Path) -> None:
    """And no others; of a run that went on only the cycles that count."""
    told = export_runs(made.store, tmp_path / "b.h5", [made.runs["B"]])
    spans = [(each.run, each.start, each.stop, each.continues) for each in told.runs]
    assert spans == [(made.runs["A"], 0, 30, None), (made.runs["B"], 0, 20, 0)]
    told = export_runs(made.store, tmp_path / "a.h5", [made.runs["A"], made.runs["longer A"]])
    assert [each[1:] for each in told.runs] == [(0, 32, None)]
