"""Show how a job stands, while it runs or after.

Usage:
  wepy watch [options] JOB_DIR

JOB_DIR is the job folder of a `wepy run`, here or on a file system that both hosts see. On a
terminal it is a page that is drawn anew; elsewhere a line is printed where something has changed.
It ends when the job does, or with Ctrl-C. The run is not disturbed: in its folder nothing is
written, and no lock is taken.

Exit status 0 if the job has done all it was asked for, or still runs (--once); 75 if
`wepy resume` would go on with it.

Options:
  --once              Show it once, and end.
  --interval SECONDS  How often to look [default: 2].
  --json              Print a line of JSON whenever something has changed.
  --html FILE         Write a report too, as `wepy report` does, and anew after each checkpoint.
  -f --force          Replace FILE if it is there when this begins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import positive_number
from wepystore.cli.console import Console, Page
from wepystore.cli.outputs import check_new, write_text
from wepystore.cli.running import folder_of
from wepystore.errors import FailedError, UsageError, WepystoreError
from wepystore.store.places import CHECKPOINT

if TYPE_CHECKING:
    from wepystore.orchestrator.job.job_status import JobReader, JobStatus

_INTERVAL_S, _LONGEST_S = "2", 86400.0
#: To make a report takes seconds of a processor: no more than this part of the time.
_REPORT_SHARE = 0.05
#: As a run ends that is not at its end.
TO_RESUME = 75


class JobGoneError(FailedError):
    """{job_dir} has gone: a run that fails before its first cycle is done takes its folder away"""


def main(args: dict[str, Any], console: Console) -> int:
    """Look on."""
    folder = _folder_of(args["JOB_DIR"])
    interval = positive_number(args["--interval"] or _INTERVAL_S, "--interval", _LONGEST_S)
    report = None if args["--html"] is None else _Report(args["--html"], folder, args["--force"])
    from wepystore.orchestrator.job.job_status import JobReader

    reader = JobReader(folder)
    looks = iter([reader.read()]) if args["--once"] else _looks(reader, interval)
    if report is not None:
        looks = report.kept_fresh(looks, console)
    if args["--json"]:
        status = _print_json(looks, console)
    elif args["--once"]:
        status = _print_page(looks, console)
    elif Page.can_be_drawn():
        status = _draw(looks, console)
    else:
        status = _print_lines(looks, console)
    return TO_RESUME if status.state in ("stopped", "killed") else 0


def _folder_of(text: str) -> Path:
    folder = folder_of(text, "JOB_DIR")
    # The store of a job is as good a name for it.
    return folder.parent if folder.name == CHECKPOINT else folder


def _looks(reader: JobReader, interval: float) -> Iterator[JobStatus]:
    """How the job stands, again and again, until it is over."""
    has_run = was_killed = False
    while True:
        status = reader.read()
        if has_run and status.state == "not begun":
            raise JobGoneError(job_dir=reader.job_dir)
        # On another host's disk what a process has written last may come after its lock has gone.
        in_doubt = status.state == "killed" and has_run and not was_killed
        if not in_doubt:
            yield status
            if status.is_over:
                return
        has_run, was_killed = has_run or status.state == "running", in_doubt
        time.sleep(interval)


def _print_json(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    from wepystore.cli import job_text

    before = None
    for status in looks:
        told = job_text.to_json(status)
        if told != before:
            console.json_line(told)
            console.flush()
        before = told
    return status


def _print_page(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    from wepystore.cli import job_text

    for status in looks:
        for label, text in job_text.page(status):
            console.out(f"{label}: {text}")
    return status


def _print_lines(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    """A line whenever something has changed, and the page at the end."""
    from wepystore.cli import job_text

    before = None
    for status in looks:
        line = job_text.line(status)
        if status.is_over:
            _print_page(iter([status]), console)
        elif line != before:
            console.out(line)
        console.flush()
        before = line
    return status


def _draw(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    """A page that is drawn anew; the last one stays."""
    from wepystore.cli import job_text

    last: list[JobStatus] = []
    try:
        with Page() as page:
            for status in looks:
                last = [status]
                page.draw(job_text.page(status), job_text.part_done(status))
    finally:
        _print_page(iter(last), console)
    return status


class _Report:
    """A file with the report of a job.

    Parameters
    ----------
    file : str
    folder : Path
        The job's; the file is not in it.
    force : bool
        Whether a file that is there may be replaced.

    Raises UsageError, NoSuchDirectoryError, FileExistsAlreadyError.
    """

    def __init__(self, file: str, folder: Path, force: bool) -> None:
        check_new(file, force)
        inside = os.path.realpath(folder)
        if os.path.commonpath([inside, os.path.realpath(file)]) == inside:
            raise UsageError(f"--html is {file}, which is in the job's folder: name another place")
        self._file, self._replace = file, force
        self._record: str | None = None
        self._next = 0.0

    def kept_fresh(self, looks: Iterator[JobStatus], console: Console) -> Iterator[JobStatus]:
        """What is seen; each checkpoint is reported before it is shown."""
        for status in looks:
            over = status.is_over
            due = status.record not in (None, self._record) and time.monotonic() >= self._next
            if status.record is not None and (due or (over and status.record != self._record)):
                self._try(status, over)
            elif over and self._record is None:
                console.warn(f"{self._file} was not written: no checkpoint was there")
            yield status

    def _try(self, status: JobStatus, over: bool) -> None:
        begun = time.monotonic()
        try:
            self._write(status)
        except WepystoreError:
            # The checkpoint may just have been superseded: the next one will do.
            if over:
                raise
        now = time.monotonic()
        self._next = now + (now - begun) / _REPORT_SHARE

    def _write(self, status: JobStatus) -> None:
        from wepystore.report.making import make_report
        from wepystore.report.page import report_html

        assert status.record is not None
        store, job = status.job_dir / CHECKPOINT, status.job_dir.absolute().name
        report = make_report(store, [status.record], title=f"Job {job}")
        write_text(self._file, report_html(report), self._replace)
        self._record, self._replace = status.record, True
