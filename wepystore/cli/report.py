"""Write what runs have shown to one file for people to look at.

Usage:
  wepy report [options] [--along COORDINATE]... [ORCH] [RUN...]

RUN is START,END as 'wepy ls runs' prints it, the hash of a run's record or its first digits, or a
tag; without any it is all runs of the store. With a run come those that led to its start. Which
runs and cycles count is as for 'wepy rates'. The file is HTML that shows itself in any browser, and
loads nothing from anywhere.

Options:
  -O --output FILE  The file to write, else report.html.
  -f --force        Replace FILE if it is there.
  --title TEXT      What stands at its top.
  --window A:B      Count the cycles from A to before B of each chain for rates and profiles.
  --burn-in N       Leave out the first N cycles of each chain, and count all others.
  --figures DIR     Write the figures to files in DIR as well, or without --output only these; with
                    the extra 'report' installed.
  --as ENDINGS      As which: svg, png or pdf, or several as svg,pdf [default: svg].
  --along COORDINATE  Show the free energy along this, too, as 'wepy profile' does; as often as you
                    like.
  --structure       Show the structures on the heaviest way to a target as well, without water.
  --atoms ATOMS     Show these atoms of them, such as 'protein or resname LIG'.
  --unit UNIT       Of times: ps, ns, us, ms, s, steps or cycles. Rates are in 1/UNIT.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import runs_of
from wepystore.cli.console import Console
from wepystore.cli.counting import window_of
from wepystore.cli.outputs import check_new, write_bytes, write_text
from wepystore.errors import UsageError

if TYPE_CHECKING:
    from wepystore.report.making import Report


_PAGE = "report.html"
_ENDINGS = ("svg", "png", "pdf")


def main(args: dict[str, Any], console: Console) -> int:
    """Write the report, and print its name."""
    chosen = window_of(args)
    store, runs = runs_of(args)
    endings = _endings(args)
    if args["--output"] is not None or args["--figures"] is None:
        check_new(args["--output"] or _PAGE, args["--force"])

    from wepystore.answers.windows import Window
    from wepystore.report.making import make_report
    from wepystore.report.page import report_html

    window = Window(*chosen["window"]) if "window" in chosen else Window(chosen.get("burn_in"))
    report = make_report(
        store,
        runs,
        title=args["--title"] or "",
        window=window,
        unit=args["--unit"],
        along=args["--along"],
        atoms=args["--atoms"] or ("not water" if args["--structure"] else None),
    )
    if args["--figures"] is not None:
        for file in _drawn(report, args["--figures"], endings, args["--force"]):
            console.out(file)
        if args["--output"] is None:
            return 0
    args["--output"] = args["--output"] or _PAGE
    text = report_html(report, list(_commands(report, args, runs)))
    write_text(args["--output"], text, args["--force"])
    console.out(args["--output"])
    return 0


def _endings(args: dict[str, Any]) -> list[str]:
    """As which figures are written. Raises UsageError."""
    found = [each.strip().lstrip(".").lower() for each in args["--as"].split(",")]
    for each in found:
        if each not in _ENDINGS:
            raise UsageError(f"--as is {args['--as']!r}, and figures are {', '.join(_ENDINGS)}")
    return list(dict.fromkeys(found))


def _drawn(report: Report, folder: str, endings: list[str], replace: bool) -> Iterator[str]:
    """Write each figure to files, and tell their names."""
    from wepystore.report.drawing import drawn_figures

    os.makedirs(folder, exist_ok=True)
    for name, data in drawn_figures(report, endings):
        file = os.path.join(folder, name)
        write_bytes(file, data, replace)
        yield file


def _commands(report: Report, args: dict[str, Any], runs: list[str] | None) -> Iterator[str]:
    """What is typed to run all of it again, to check it, and to make this report again."""
    orch = shlex.quote(str(report.study.store.path))
    told: dict[str, None] = {}
    for each in (each for chain in report.study.chains for each in chain.recorded):
        record = each.record
        if record.seed is None or record.n_steps is None or each.run in told:
            continue
        told[each.run] = None
        platform = record.execution.platform_override
        yield " ".join(
            [
                f"wepy run orch --seed {record.seed} --n-cycles {record.n_cycles}",
                *([f"--platform {shlex.quote(platform)}"] if platform else []),
                f"--configuration {record.config.md5} --job-dir again-{each.run[:8]}",
                f"{orch} {record.start.md5} - {record.n_steps}",
            ]
        )
    for run in told:
        yield f"wepy verify {orch} {run}"
    asked = [
        f"{option} {shlex.quote(args[option])}"
        for option in ("--window", "--burn-in", "--unit", "--title", "--atoms")
        if args[option] is not None
    ]
    asked += ["--structure"] * args["--structure"]
    asked += [f"--along {shlex.quote(text)}" for text in args["--along"]]
    output = f"-O {shlex.quote(args['--output'])}"
    yield " ".join(["wepy report", *asked, output, orch, *(runs or ())])
