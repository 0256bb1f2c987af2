"""Write what runs have shown to one file for people to look at.

Usage:
  wepy report [options]
  wepy report [options] RUN...

The first RUN may be the store; without any other all runs of the store are in the report. RUN is
the hash of a run's record, its first digits, or a tag; with each come the runs that led to its
start. The file is HTML that shows itself in any browser, and loads nothing from anywhere.

Options:
  -O --output FILE  The file to write [default: report.html].
  -f --force        Replace FILE if it is there.
  --title TEXT      What stands at its top.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import find_run, open_store
from wepystore.cli.console import Console
from wepystore.cli.outputs import write_text
from wepystore.store.places import is_place


def main(args: dict[str, Any], console: Console) -> int:
    """Write the report, and print its name."""
    words = list(args["RUN"])
    store = open_store(words.pop(0) if words and is_place(words[0]) else None)
    runs = [find_run(store, word) for word in words] or None

    from wepystore.report.making import make_report
    from wepystore.report.page import report_html

    report = make_report(store, runs, args["--title"] or "")
    write_text(args["--output"], report_html(report), args["--force"])
    console.out(args["--output"])
    return 0
