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
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import positive_number
from wepystore.cli.console import Console, Page
from wepystore.cli.running import folder_of
from wepystore.errors import FailedError

if TYPE_CHECKING:
    from wepystore.orchestrator.job.job_status import JobReader, JobStatus

_INTERVAL_S, _LONGEST_S = "2", 86400.0
#: What else there is to do ends with it, as with a signal or a time limit of a run itself.
TO_RESUME = 75


class JobGoneError(FailedError):
    """{job_dir} has gone: a run that fails before its first cycle is done takes its folder away"""


def main(args: dict[str, Any], console: Console) -> int:
    """Look on."""
    folder = folder_of(args["JOB_DIR"], "JOB_DIR")
    interval = positive_number(args["--interval"] or _INTERVAL_S, "--interval", _LONGEST_S)
    from wepystore.orchestrator.job.job_status import JobReader

    reader = JobReader(folder)
    if args["--once"]:
        status = reader.read()
        _tell(status, args["--json"], console)
    elif args["--json"]:
        status = _print_json(_looks(reader, interval), console)
    elif Page.can_be_drawn():
        status = _draw(_looks(reader, interval), console)
    else:
        status = _print_lines(_looks(reader, interval), console)
    return 0 if status.state in ("complete", "running", "not begun") else TO_RESUME


def _looks(reader: JobReader, interval: float) -> Iterator[JobStatus]:
    """How the job stands, again and again, until it is over."""
    has_run = was_killed = False
    while True:
        status = reader.read()
        if has_run and status.state == "not begun":
            raise JobGoneError(job_dir=reader.job_dir)
        has_run = has_run or status.state == "running"
        # On another host's disk what a process has written last may come after its lock has gone.
        if status.is_over and (status.state != "killed" or was_killed or not has_run):
            yield status
            return
        was_killed = status.state == "killed"
        if not was_killed:
            yield status
        time.sleep(interval)


def _tell(status: JobStatus, as_json: bool, console: Console) -> None:
    from wepystore.cli import job_text

    if as_json:
        console.json_line(job_text.to_json(status))
        return
    for line in job_text.page(status):
        console.out(line)


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


def _print_lines(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    """A line whenever something has changed, and the page at the end."""
    from wepystore.cli import job_text

    before = None
    for status in looks:
        line = job_text.line(status)
        if status.is_over:
            _tell(status, False, console)
        elif line != before:
            console.out(line)
        console.flush()
        before = line
    return status


def _draw(looks: Iterator[JobStatus], console: Console) -> JobStatus:
    """A page that is drawn anew; the last one stays."""
    from wepystore.cli import job_text

    with Page() as page:
        for status in looks:
            page.draw(job_text.page(status))
    _tell(status, False, console)
    return status


__all__ = ["main"]
