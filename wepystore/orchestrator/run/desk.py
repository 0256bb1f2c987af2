"""The reporters of a job, called in turn: what fails in one of them bears its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wepystore.engine.manager import named
from wepystore.engine.protocols import RemarkCapabilities, ReporterCapabilities
from wepystore.orchestrator.job.job import RESERVED
from wepystore.records.configuration import Configuration
from wepystore.reporters.placing import placed


class Desk:
    """Reporters and monitor of a configuration, with their files named by a job.

    Parameters
    ----------
    configuration : Configuration
    prefix : Path
        Job folder and job name.

    Attributes
    ----------
    placed : Placed
        Them, the folders that they need, and which path became which.
    """

    def __init__(self, configuration: Configuration, prefix: Path) -> None:
        reserved = [str(prefix.parent / name) for name in RESERVED]
        self.placed = placed(configuration.reporters, configuration.monitor, str(prefix), reserved)

    def tell(self, method: str, n_done: int, *args: Any, **facts: Any) -> None:
        """Call a method of each reporter that has it, after `n_done` cycles."""
        for reporter in self.placed.reporters:
            with named(reporter, n_done):
                getattr(ReporterCapabilities(reporter), method)(*args, **facts)

    def remarks(self, n_done: int) -> Iterator[str]:
        """What the reporters have to say once their files are open."""
        for reporter in self.placed.reporters:
            with named(reporter, n_done):
                remarks = [str(text) for text in RemarkCapabilities(reporter).remarks]
            yield from remarks
