"""Run by the interpreter that has wepy: every mixture of its components and this package's.

Usage: python mix_wepy.py FOLDER
Prints JSON; the jobs are in FOLDER.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from use_wepy import (
    our_runner,
    our_unbinding,
    our_wexplore,
    revo,
    start_state,
    topology,
    unbinding,
    walkers,
    wepy_runner,
    wexplore,
)

from wepystore.api import (
    Apparatus,
    Configuration,
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    NoBC,
    OpenMMRunner,
    PairDistance,
    ProcessMapper,
    REVOResampler,
    SerialMapper,
    Snapshot,
    Store,
    WalkerReporter,
    prepare_store,
)
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.resume import resume
from wepystore.orchestrator.run.run import run
from wepystore.orchestrator.run.start import start_from
from wepystore.orchestrator.run.watching import RunOutcome, Watcher

from wepy.boundary_conditions.boundary import NoBC as WepyNoBC  # isort: skip
from wepy.hdf5 import WepyHDF5  # isort: skip
from wepy.reporter import dashboard, hdf5, openmm, restree  # isort: skip
from wepy.reporter import walker, walker_pkl  # isort: skip
from wepy.reporter.receptor.dashboard import ReceptorBCDashboardSection  # isort: skip
from wepy.reporter.revo.dashboard import REVODashboardSection  # isort: skip
from wepy.reporter.wexplore.dashboard import WExploreDashboardSection  # isort: skip
from wepy.resampling.distances.distance import AtomPairDistance, Distance  # isort: skip
from wepy.runners.openmm import UNIT_NAMES, OpenMMWalker  # isort: skip
from wepy.util.mdtraj import mdtraj_to_json_topology  # isort: skip
from wepy.work_mapper.mapper import Mapper, WorkerMapper  # isort: skip

N_CYCLES, N_STEPS = 2, 20
FIELDS = ("positions", "velocities", "box_vectors")


def json_topology() -> str:
    return mdtraj_to_json_topology(mdtraj.Topology.from_openmm(topology()))


def step_of(runner: Any) -> dict[str, Any]:
    """What wepy's section asks for: its runner, or else the step."""
    if isinstance(runner, OpenMMRunner):
        return {"step_time": runner.step_size * openmm.units("picosecond")}
    return {"runner": runner}


def wepys_reporters(parts: Apparatus) -> list[Any]:
    """All of wepy's, with paths in the directory that the user is in, as scripts have them."""
    resampler, bc = parts.resampler, parts.boundary_conditions
    is_revo = "REVO" in type(resampler).__name__
    section = REVODashboardSection if is_revo else WExploreDashboardSection
    has_progress = "Unbinding" in type(bc).__name__
    return [
        hdf5.WepyHDF5Reporter(
            file_path="results.wepy.h5",
            mode="w",
            save_fields=FIELDS,
            topology=json_topology(),
            resampler=resampler,
            boundary_conditions=bc,
            units=dict(UNIT_NAMES),
        ),
        dashboard.DashboardReporter(
            file_path="wepy.dash.org",
            mode="w",
            resampler_dash=section(resampler=resampler),
            runner_dash=openmm.OpenMMRunnerDashboardSection(**step_of(parts.runner)),
            bc_dash=ReceptorBCDashboardSection(bc=bc) if has_progress else None,
        ),
        *(
            [
                restree.ResTreeReporter(
                    file_path="tree.gexf",
                    mode="w",
                    resampler=resampler,
                    boundary_conditions=bc,
                    default_node_radius=3.0,
                    row_spacing=5.0,
                    step_spacing=20.0,
                    progress_key="min_distances",
                    max_progress_value=1.0,
                )
            ]
            if has_progress
            else []
        ),
        walker.WalkerReporter(
            file_paths=["init.pdb", "walkers.dcd"],
            modes=["w", "w"],
            init_state=start_state(),
            json_topology=json_topology(),
        ),
        walker_pkl.WalkerPklReporter(save_dir="./", freq=1, num_backups=2),
    ]


def our_reporters(parts: Apparatus) -> list[Any]:
    return [
        HDF5Reporter(save_fields=FIELDS),
        DashboardReporter(),
        FamilyTreeReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
    ]


PAIR = [(0, 1)]


class LengthDistance(Distance):
    """A user's; its images are numbers and no arrays."""

    def image(self, state: Any) -> Any:
        return np.linalg.norm(state["positions"][0] - state["positions"][1])

    def image_distance(self, image_a: Any, image_b: Any) -> Any:
        return abs(image_a - image_b)


class PlacesDistance(LengthDistance):
    """As in wepy's example, and of the rank of receptor images: shape (n_atoms, 3)."""

    def image(self, state: Any) -> Any:
        return state["positions"]

    def image_distance(self, image_a: Any, image_b: Any) -> Any:
        a, b = (np.linalg.norm(image[0] - image[1]) for image in (image_a, image_b))
        return abs(a - b)


DISTANCES = {
    "pair": lambda: AtomPairDistance(PAIR, False),
    "number": LengthDistance,
    "places": PlacesDistance,
}
RUNNERS = {"ours": our_runner, "wepy's": wepy_runner}
RESAMPLERS = {
    "ours": lambda: our_wexplore(PairDistance(periodic=False)),
    "wepy's": lambda: wexplore(AtomPairDistance(PAIR, False)),
    "our REVO": lambda: REVOResampler(PairDistance(periodic=False), 1.5, 0.02, pmax=0.5),
    "wepy's REVO": lambda: revo(AtomPairDistance(PAIR, False), start_state()),
}
BOUNDARIES = {"ours": our_unbinding, "wepy's": unbinding, "our NoBC": NoBC, "wepy's NoBC": WepyNoBC}
MAPPERS = {
    "ours": SerialMapper,
    "wepy's": Mapper,
    "our processes": lambda: ProcessMapper(2),
    "wepy's processes": lambda: WorkerMapper(num_workers=2),
}
BOTH = ("ours", "wepy's")


def mixtures() -> list[tuple[str, ...]]:
    """Runner, resampler, boundary conditions, mapper. All have the reporters of both."""
    all_of_three = [
        (*names, BOTH[number % 2]) for number, names in enumerate(itertools.product(*[BOTH] * 3))
    ]
    some = [
        ("ours", "our REVO", "wepy's", "wepy's"),
        ("wepy's", "our REVO", "ours", "ours"),
        ("wepy's", "wepy's REVO", "wepy's NoBC", "wepy's"),
        ("ours", "wepy's REVO", "our NoBC", "ours"),
        ("wepy's", "wepy's", "ours", "our processes"),
        ("ours", "ours", "wepy's", "wepy's processes"),
    ]
    return [*all_of_three, *some]


class Killed(BaseException):
    """What nothing here catches."""


class Onlooker(Watcher):
    """Says nothing; ends it all after a cycle."""

    def __init__(self, killed_after: int = 0) -> None:
        self.killed_after = killed_after
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def cycle_done(self, progress: Any) -> None:
        if progress.n_cycles_done == self.killed_after:
            raise Killed


def parts_of(runner: str, resampler: str, bc: str) -> Apparatus:
    return Apparatus(RUNNERS[runner](), BOUNDARIES[bc](), RESAMPLERS[resampler]())


def prepared(folder: Path, parts: Apparatus, mapper: Any, reporters: list[Any]) -> Store:
    start = walkers(start_state(), OpenMMWalker)
    configuration = Configuration(mapper, reporters)
    return prepare_store(folder / "s.orch", Snapshot(start, parts), configuration).store


def job(
    store: Store, folder: Path, watcher: Onlooker, n_cycles: int, freq: int | None = None
) -> RunOutcome:
    options = RunRequest(
        seconds=600,
        n_steps=N_STEPS,
        n_cycles=n_cycles,
        job_dir=folder,
        job_name="job",
        seed=11,
        checkpoint_freq=freq,
    )
    return run(start_from(store, "default", None), options, watcher)


def mixture(folder: Path, names: tuple[str, ...]) -> dict[str, object]:
    *three, mapper = names
    parts = parts_of(*three)
    reporters = [*our_reporters(parts), *wepys_reporters(parts)]
    watcher = Onlooker()
    store = prepared(folder, parts, MAPPERS[mapper](), reporters)
    outcome = job(store, folder / "job", watcher, N_CYCLES)
    return {"end": outcome.end, "remarks": watcher.remarks}


def interrupted(folder: Path) -> dict[str, object]:
    """All of wepy's, with distances of all kinds: whole, and killed twice and gone on with."""
    found = {}
    for name, distance in DISTANCES.items():
        where = folder / name
        parts = Apparatus(wepy_runner(), unbinding(), wexplore(distance()))
        # Of all distances the file, of one of them the other reporters too.
        reporters = wepys_reporters(parts)[: None if name == "pair" else 1]
        store = prepared(where, parts, Mapper(), reporters)
        whole = job(store, where / "whole", Onlooker(), 7)
        try:
            job(store, where / "job", Onlooker(3), 7, 2)
        except Killed:
            watcher = Onlooker(5)
        try:
            resume(where / "job", {}, watcher)
        except Killed:
            watcher = Onlooker()
        end = resume(where / "job", {}, watcher)
        found[name] = {
            "ends": [whole.end, end.end],
            "remarks": watcher.remarks,
            "folder": str(where),
            "read": [read(where / which / "job.results.wepy.h5") for which in ("whole", "job")],
        }
    return found


def read(path: Path) -> dict[str, object]:
    """What wepy makes of a file."""
    with WepyHDF5(str(path), mode="r") as file:
        records = file.resampler_records([0])
        return {
            "regions": [[int(r.cycle_idx), list(map(int, r.new_leaf_id))] for r in records],
            "warps": [[int(r.cycle_idx), int(r.walker_idx)] for r in file.warping_records([0])],
            "n_cycles": file.num_run_cycles(0),
        }


def main(folder: Path) -> None:
    found = []
    for number, names in enumerate(mixtures()):
        where = folder / str(number)
        where.mkdir()
        try:
            seen = mixture(where, names)
        except Exception:
            # One that does not run is to be named, and not to hide the others.
            seen = {"failed": traceback.format_exc()}
        found.append({"names": names, "folder": str(where), **seen})
    json.dump({"mixtures": found, "interrupted": interrupted(folder)}, sys.stdout)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main(Path(sys.argv[1]))
