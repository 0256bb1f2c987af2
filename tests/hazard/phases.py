"""The real `wepy`, saying at every moment what it is doing: `python -m tests.hazard.phases FILE …`.

FILE is mapped into memory, so what was written last is there however the process ends. Each
function below is called as ever; only its beginning and end are noted.
"""

from __future__ import annotations

import functools
import mmap
import sys
from collections.abc import Callable
from typing import Any

#: What the process does; the place in this tuple is the byte in the file.
PHASES = (
    "starting",
    "preparing",
    "announcing",
    "opening",
    "dynamics",
    "deciding",
    "reporting",
    "flushing",
    "handing",
    "cleaning",
    "between",
)
#: What the thread beside the run does; the place in this tuple is the second byte.
BESIDE = ("nothing", "removing", "recording", "checkpointing")
#: Cycles of a full block of the tables, and of the frames, so that there are many of them.
BLOCK_CYCLES, FRAMES_CYCLES = 7, 4
SIZE = 2 + 4 * len(PHASES)


class Noted:
    """The mapped file: byte 0 the phase, byte 1 the thread's, then how often each was entered."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), SIZE)

    @property
    def phase(self) -> str:
        return PHASES[self.memory[0]]

    @property
    def beside(self) -> str:
        return BESIDE[self.memory[1]]

    def entered(self, phase: str) -> int:
        at = 2 + 4 * PHASES.index(phase)
        return int.from_bytes(self.memory[at : at + 4], "little")

    def enter(self, phase: str) -> int:
        """Begin a phase; the one before."""
        before = self.memory[0]
        number = PHASES.index(phase)
        at = 2 + 4 * number
        self.memory[at : at + 4] = (self.entered(phase) + 1).to_bytes(4, "little")
        self.memory[0] = number
        return before


def during(noted: Noted, phase: str, owner: Any, name: str) -> None:
    """Note `phase` while owner.name runs."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        before = noted.enter(phase)
        try:
            return function(*args, **kwargs)
        finally:
            noted.memory[0] = before

    setattr(owner, name, wrapper)


def beside(noted: Noted, phase: str, owner: Any, name: str) -> None:
    """Note `phase` in the second byte while owner.name runs, in whichever thread."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        noted.memory[1] = BESIDE.index(phase)
        try:
            return function(*args, **kwargs)
        finally:
            noted.memory[1] = 0

    setattr(owner, name, wrapper)


def main() -> None:
    """Put the notes in place, then be `wepy`."""
    noted = Noted(sys.argv.pop(1))
    from wepystore.cli.main import entry_point
    from wepystore.engine.manager import CycleManager
    from wepystore.orchestrator.job.job import Job
    from wepystore.orchestrator.run import recorder
    from wepystore.orchestrator.run.checkpoint import Checkpointer
    from wepystore.orchestrator.run.session import Session
    from wepystore.orchestrator.run.writer import Writer
    from wepystore.records import frames
    from wepystore.reporters import dashboard, family_tree, hdf5, structures

    during(noted, "preparing", Job, "__init__")
    during(noted, "announcing", Job, "publish")
    during(noted, "between", Session, "run")
    during(noted, "opening", CycleManager, "init")
    during(noted, "deciding", CycleManager, "run_cycle")
    during(noted, "dynamics", CycleManager, "_propagate")
    during(noted, "handing", Checkpointer, "begin")
    beside(noted, "checkpointing", Checkpointer, "_write")
    recorder.block_cycles_for = lambda n_walkers: BLOCK_CYCLES
    frames.block_cycles_for = lambda n_walkers, frame_bytes, every: FRAMES_CYCLES
    during(noted, "cleaning", CycleManager, "cleanup")
    beside(noted, "removing", Checkpointer, "_remove")
    beside(noted, "recording", Writer, "_write_block")
    for reporter in (
        hdf5.HDF5Reporter,
        dashboard.DashboardReporter,
        structures.WalkerReporter,
        family_tree.FamilyTreeReporter,
    ):
        during(noted, "flushing", reporter, "flush")
        during(noted, "reporting", reporter, "report")
    entry_point()


if __name__ == "__main__":
    main()
