"""The reporters of a job, called in turn: what fails in one of them bears its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wepystore.engine.manager import named
from wepystore.engine.protocols import RemarkCapabilities, ReporterCapabilities
from wepystore.orchestrator.job.job import RESERVED
from wepystore.records.configuration import Configuration
from wepystore.reporters import files
from wepystore.reporters.placing import placed


class Desk:
    """Reporters and monitor of a configuration, with their files named by a job.

    Parameters
    ----------
    configuration : Configuration
    prefix : Path
        Job folder and job name.
    """

    def __init__(self, configuration: Configuration, prefix: Path) -> None:
        reserved = [str(prefix.parent / name) for name in RESERVED]
        self._placed = placed(configuration.reporters, configuration.monitor, str(prefix), reserved)

    @property
    def onlookers(self) -> dict[str, Any]:
        """What a CycleManager is given."""
        return {"reporters": self._placed.reporters, "monitor": self._placed.monitor}

    def tell(self, method: str, n_done: int, *args: Any, **facts: Any) -> None:
        """Call a method of each reporter that has it, after `n_done` cycles."""
        for reporter in self._placed.reporters:
            with named(reporter, n_done):
                getattr(ReporterCapabilities(reporter), method)(*args, **facts)

    def make_folders(self) -> None:
        """The directories that have to be there."""
        for folder in self._placed.folders:
            files.make_own_folder(folder)

    def remarks_on_names(self) -> list[str]:
        """Which path became which."""
        return self._placed.remarks

    def remarks(self, n_done: int) -> Iterator[str]:
        """What the reporters have to say once their files are open."""
        for reporter in self._placed.reporters:
            with named(reporter, n_done):
                remarks = [str(text) for text in RemarkCapabilities(reporter).remarks]
            yield from remarks
