"""Runs of walkers held as arrays: the same end as ever, whoever carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.systems import bits, plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    DashboardReporter,
    DoubleWell,
    Ensemble,
    FamilyTreeReporter,
    HDF5Reporter,
    NoResampler,
    OverdampedLangevinRunner,
    PositionCoordinate,
    Prepared,
    ProcessMapper,
    RandomWalkRunner,
    RandomWalkTargetBC,
    SerialMapper,
    Snapshot,
    Store,
    TargetBC,
    Walker,
    load_snapshot,
    prepare_store,
)


def walk(n_dims: int = 2) -> Apparatus:
    runner = RandomWalkRunner(0.4, n_dims)
    return Apparatus(runner, RandomWalkTargetBC(8, [runner.initial_state()]), NoResampler())


def wells() -> Apparatus:
    runner = OverdampedLangevinRunner(DoubleWell(0.5), dt=0.01)
    target = TargetBC(PositionCoordinate(), [runner.initial_state(-1.0)], 1.0)
    return Apparatus(runner, target, NoResampler())


def prepared(folder: Path, apparatus: Apparatus, form: Any, *parts: Any) -> Prepared:
    start = apparatus.boundary_conditions.initial_states[0]
    walkers: Sequence[Any] = [Walker(start, 1 / 9)] * 9
    return prepare_store(
        folder / "start.orch", Snapshot(form(walkers), apparatus), plain_configuration(*parts)
    )


@pytest.mark.parametrize("make", [walk, wells])
def test_mapper_form_and_checkpoints_leave_no_trace(tmp_path: Path, make: Any) -> None:
    """R1: list or ensemble, serial or two processes, checkpoints or none: one start, one end.

    The walkers that are loaded again have the bits of those that were saved (I1)."""
    reporters = [HDF5Reporter(), DashboardReporter(), FamilyTreeReporter()]
    variants: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (list, (SerialMapper(),), {}),
        (Ensemble.of, (SerialMapper(),), {"checkpoint_freq": 2}),
        (Ensemble.of, (ProcessMapper(2),), {"n_workers": 2}),
        (list, (SerialMapper(), reporters), {}),
    ]
    ends = set()
    for number, (form, parts, options) in enumerate(variants):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = prepared(folder, make(), form, *parts)
        outcome = run_job(
            made.store, made.snapshot_hash, folder / "job", n_cycles=7, n_steps=20, **options
        )
        assert outcome.reproducible
        ends.add((outcome.start, outcome.end))
    assert len(ends) == 1
    start, end = ends.pop()
    assert start != end


def test_a_run_goes_on_from_its_end(tmp_path: Path) -> None:
    """What was an ensemble is loaded as walkers and goes on as if it had always been."""
    made = prepared(tmp_path, walk(1), Ensemble.of)
    first = run_job(made.store, made.snapshot_hash, tmp_path / "one")
    store = Store.open(tmp_path / "one" / "checkpoint.orch")
    loaded = load_snapshot(store, first.end)
    again = Snapshot(Ensemble.of(loaded.walkers), loaded.apparatus)
    assert bits(again.walkers) == bits(loaded.walkers)
    ends = []
    for number, snapshot in enumerate((loaded, again)):
        folder = tmp_path / f"again{number}"
        next_ = prepare_store(folder / "next.orch", snapshot, plain_configuration())
        assert next_.snapshot_hash == first.end
        ends.append(run_job(next_.store, first.end, folder / "job").end)
    assert ends[0] == ends[1]
