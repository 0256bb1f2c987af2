"""A reporter of wepy's in a job folder of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wepystore.reporters.base import Reporter


class WepyReporter(Reporter):
    """Runs a file reporter that was written for wepy 1.x.

    It is made when the job's folder and name are known, and then called as
    wepy calls it. It is told of every cycle; what it does with its files when a
    job is killed, or gone on with, is its own affair.

    Parameters
    ----------
    reporter_class : type
        With SUGGESTED_EXTENSIONS, and a constructor that takes file_paths and modes.
    options : mapping of str to object
        The other keywords of its constructor.
    """

    def __init__(self, reporter_class: type, options: Mapping[str, Any]) -> None:
        self.reporter_class = reporter_class
        self.options = dict(options)
        self._reporter: Any = None

    def init(self, **parts: Any) -> None:
        """Make the reporter, with files named by the job, and open them."""
        suffixes = getattr(self.reporter_class, "SUGGESTED_EXTENSIONS", ())
        self._reporter = self.reporter_class(
            file_paths=[f"{self.path}.{suffix}" for suffix in suffixes],
            modes=["x"] * len(suffixes),
            **self.options,
        )
        self._reporter.init(**parts)

    def report(self, **report: Any) -> None:
        """Pass a cycle on."""
        self._reporter.report(**report)

    def cleanup(self, **parts: Any) -> None:
        """Let the reporter close its files."""
        if self._reporter is not None:
            self._reporter.cleanup(**parts)
