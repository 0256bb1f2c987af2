"""Run by the interpreter that has wepy: a snapshot and configurations as wepy 1.x writes them.

Usage: python report_wepy.py FOLDER [script]
Makes start.snap.dill.pkl and {own,failing,arguments}.config.dill.pkl in FOLDER, and
wepys.arguments.txt by wepy's own simulation manager; with "script" a store, own.orch.
"""

from __future__ import annotations

import base64
import sys
import zlib
from pathlib import Path

import dill
import wepy_reporters
from use_wepy import start_state, unbinding, walkers, wepy_runner, wexplore

import wepystore.api
from wepystore.api import Apparatus, SerialMapper, Snapshot, prepare_store

from wepy.orchestration.configuration import Configuration  # isort: skip
from wepy.orchestration.snapshot import SimApparatus, SimSnapshot  # isort: skip
from wepy.resampling.distances.distance import AtomPairDistance  # isort: skip
from wepy.runners.openmm import OpenMMWalker  # isort: skip
from wepy.sim_manager import Manager  # isort: skip
from wepy.work_mapper.mapper import Mapper  # isort: skip

OWN = (
    wepy_reporters.EnergyReporter,
    wepy_reporters.SummaryReporter,
    wepy_reporters.HandleReporter,
    wepy_reporters.TableReporter,
    wepy_reporters.Killer,
)


def write(path: Path, thing: object) -> None:
    path.write_bytes(base64.b64encode(zlib.compress(dill.dumps(thing, recurse=True))))


def script(folder: Path) -> None:
    """A store of this package's, by a script that makes its reporters itself."""
    parts = [wepy_runner(), unbinding(), wexplore(AtomPairDistance([(0, 1)], False))]
    reporters = [
        wepy_reporters.EnergyReporter(file_path=str(folder / "mine.txt"), mode="x"),
        wepy_reporters.Killer(),
    ]
    snapshot = Snapshot(walkers(start_state(), OpenMMWalker), Apparatus(*parts))
    prepare_store(
        folder / "own.orch", snapshot, wepystore.api.Configuration(SerialMapper(), reporters)
    )


def main(folder: Path) -> None:
    start = walkers(start_state(), OpenMMWalker)
    parts = [wepy_runner(), unbinding(), wexplore(AtomPairDistance([(0, 1)], False))]
    write(folder / "start.snap.dill.pkl", SimSnapshot(start, SimApparatus(parts)))
    kinds = {
        "own": OWN,
        "failing": (wepy_reporters.FailingReporter,),
        "arguments": (wepy_reporters.ArgumentsReporter,),
    }
    for name, classes in kinds.items():
        options = [
            {"unit_name": "kilocalorie_per_mole"} if cls is wepy_reporters.EnergyReporter else {}
            for cls in classes
        ]
        configuration = Configuration(
            config_name="wepys",
            work_dir=str(folder),
            reporter_classes=list(classes),
            reporter_partial_kwargs=options,
            work_mapper_class=Mapper,
        )
        write(folder / f"{name}.config.dill.pkl", configuration)
    manager = Manager(
        start,
        runner=parts[0],
        boundary_conditions=parts[1],
        resampler=parts[2],
        work_mapper=configuration.work_mapper,
        reporters=configuration.reporters,
    )
    manager.run_simulation(2, 20)


if __name__ == "__main__":
    (script if sys.argv[2:] else main)(Path(sys.argv[1]))
