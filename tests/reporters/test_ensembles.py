"""Reporters are shown ensembles and lazy records, and write what they write for lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wepystore.api import (
    DashboardReporter,
    Ensemble,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    NoResampler,
    RandomWalkRunner,
    RandomWalkTargetBC,
    Reporter,
    SerialMapper,
    Walker,
    WalkerReporter,
)
from wepystore.engine.manager import CycleManager
from wepystore.engine.rng import Streams

REPORTERS: tuple[type[Reporter], ...] = (
    HDF5Reporter,
    DashboardReporter,
    FamilyTreeReporter,
    InitTopologyReporter,
    WalkerReporter,
)


class Listing:
    """Passes a runner's ensembles and lazy records on as lists of walkers and dicts."""

    def __init__(self, reporters: Sequence[Any]) -> None:
        self.reporters = reporters

    def init(self, *, init_walkers: Any, **parts: Any) -> None:
        for reporter in self.reporters:
            reporter.init(init_walkers=list(init_walkers), **parts)

    def report(self, **report: Any) -> None:
        assert isinstance(report["new_walkers"], Ensemble)
        assert not isinstance(report["resampling_data"], list)
        plain = {
            name: list(value) if name.endswith(("walkers", "ing_data")) else value
            for name, value in report.items()
        }
        plain["progress_data"] = {n: list(v) for n, v in report["progress_data"].items()}
        for reporter in self.reporters:
            reporter.report(**plain)

    def cleanup(self, **parts: Any) -> None:
        for reporter in self.reporters:
            reporter.cleanup(**parts)


def run(folder: Path, as_lists: bool) -> None:
    folder.mkdir()
    reporters = []
    for cls in REPORTERS:
        reporter = cls()
        reporter.bind(folder / "job")
        reporters.append(reporter)
    runner = RandomWalkRunner(0.4, n_dims=3)
    origin = runner.initial_state()
    walkers: Any = [Walker(origin, 1 / 7)] * 7
    manager = CycleManager(
        init_walkers=walkers if as_lists else Ensemble.of(walkers),
        runner=runner,
        boundary_conditions=RandomWalkTargetBC(9, [origin]),
        resampler=NoResampler(),
        work_mapper=SerialMapper(),
        streams=Streams(3),
        reporters=[Listing(reporters)] if as_lists else reporters,
    )
    manager.init()
    walkers = manager.init_walkers
    for cycle_idx in range(12):
        walkers = manager.run_cycle(walkers, 6, cycle_idx).walkers
    manager.cleanup()


def contents(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of an HDF5 file."""
    found: dict[str, Any] = {}

    def note(place: str, item: Any) -> None:
        for key, value in item.attrs.items():
            found[f"{place}@{key}"] = np.asarray(value).tolist()
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[place] = [np.asarray(v).tolist() for v in value] if np.ndim(value) else value
            return
        # Not visititems: it shows a dataset of two names once.
        for name in item:
            note(f"{place}/{name}", item[name])

    with h5py.File(path) as file:
        note("", file)
    return found


def told(page: str) -> str:
    """What a dashboard says of the walkers; the rest depends on the clock."""
    return page[page.index("* Weights") : page.index("* Performance")]


def test_every_reporter_writes_the_same_for_ensembles_and_for_lists(tmp_path: Path) -> None:
    """Trajectories, records, tree and page; of the page all but what depends on the clock."""
    run(tmp_path / "arrays", as_lists=False)
    run(tmp_path / "lists", as_lists=True)
    arrays, lists = ({p.name: p for p in (tmp_path / n).iterdir()} for n in ("arrays", "lists"))
    assert (
        arrays.keys()
        == lists.keys()
        == {
            "job.wepy.h5",
            "job.dash.org",
            ".job.dash.org.state",
            "job.restree.gexf",
            ".job.restree.gexf.spool",
        }
    )
    found = contents(arrays["job.wepy.h5"])
    assert found == contents(lists["job.wepy.h5"])
    assert len(found["/runs/0/trajectories/6/positions"]) == 12
    assert len(found["/runs/0/warping/walker_idx"]) > 0
    assert len(found["/runs/0/resampling/decision_id"]) == 7 * 12
    assert len(found["/runs/0/progress/distance"][11]) == 7
    trees = [paths["job.restree.gexf"].read_text() for paths in (arrays, lists)]
    assert trees[0] == trees[1]
    pages = [told(paths["job.dash.org"].read_text()) for paths in (arrays, lists)]
    assert pages[0] == pages[1] and "| distance |" in pages[0]
