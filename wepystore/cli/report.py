"""Write what runs have shown to one file for people to look at.

Usage:
  wepy report [options] [ORCH] [RUN...]

RUN is START,END as 'wepy ls runs' prints it, the hash of a run's record or its first digits, or a
tag; without any it is all runs of the store. With a run come those that led to its start. Which
runs and cycles count is as for 'wepy rates'. The file is HTML that shows itself in any browser, and
loads nothing from anywhere.

Options:
  -O --output FILE  The file to write [default: report.html].
  -f --force        Replace FILE if it is there.
  --title TEXT      What stands at its top.
  --window A:B      Count the cycles from A to before B of each chain for rates and profiles.
  --burn-in N       Leave out the first N cycles of each chain, and count all others.
  --unit UNIT       Of times: ps, ns, us, ms, s, steps or cycles. Rates are in 1/UNIT.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import runs_of
from wepystore.cli.console import Console
from wepystore.cli.outputs import check_directory, write_text
from wepystore.cli.rates import _window as window_of


def main(args: dict[str, Any], console: Console) -> int:
    """Write the report, and print its name."""
    chosen = window_of(args)
    store, runs = runs_of(args)
    check_directory(args["--output"])

    from wepystore.answers.windows import Window
    from wepystore.report.making import make_report
    from wepystore.report.page import report_html

    window = Window(*chosen["window"]) if "window" in chosen else Window(chosen.get("burn_in"))
    report = make_report(
        store, runs, title=args["--title"] or "", window=window, unit=args["--unit"]
    )
    write_text(args["--output"], report_html(report), args["--force"])
    console.out(args["--output"])
    return 0
