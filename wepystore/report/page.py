"""A report as one HTML file: text, data, and the player that draws it. It asks nobody for anything.

What strangers wrote, such as names of runs and fields, is text here and never markup or code: it is
escaped, data stands in a block that no browser runs, and the page's own policy lets nothing run but
the two scripts whose hashes it names, and lets nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from wepystore import __version__
from wepystore.report.figure import Figure
from wepystore.report.making import Report, ReportedRun
from wepystore.report.provenance import Facts
from wepystore.report.structure import Structure, as_data

_MOST_NAMED = 12
_SECTIONS = ("Rate", "Profile", "Paths", "Weights and resampling", "Time")


def report_html(report: Report, commands: Sequence[str] = ()) -> str:
    """The page.

    Parameters
    ----------
    report : Report
    commands : sequence of str
        What is typed to do it again.
    """
    player, boot, style = (_part(name) for name in ("vega.min.js", "boot.js", "style.css"))
    shown = report.structure
    scripts = [player, *([_part("3Dmol.min.js")] if isinstance(shown, Structure) else []), boot]
    held = {
        "structure": as_data(shown) if isinstance(shown, Structure) else None,
        "runs": [run.label for run in report.runs],
        "figures": [
            {
                "name": each.name,
                # What a screen is read out as.
                "spec": {**each.spec, "description": each.title},
                "data": each.data,
            }
            for each in report.figures
        ],
    }
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(*scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(report.title)}</title>",
            f"<style>{style}</style></head><body>",
            *_body(report, commands),
            f'<script type="application/json" id="held">{json_text(held)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>",
            "",
        ]
    )


def json_text(value: Any) -> str:
    """JSON that can stand in a page: nothing in it ends the block, or begins another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _part(name: str) -> str:
    return files("wepystore.report").joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _body(report: Report, commands: Sequence[str]) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>{escape(report.title)}</h1>"
    yield f'<p class="lead">{escape(_who(report))}</p>'
    yield '<dl class="headlines">'
    for name, value, note in report.headlines:
        small = f"<small>{escape(note)}</small>" if note else ""
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>"
    yield "</dl></header><main>"
    yield '<noscript><p class="note">The figures are drawn by this page itself: let it run scripts.'
    yield "It loads nothing.</p></noscript>"
    for remark in report.remarks:
        yield f'<p class="note">{escape(remark)}.</p>'
    yield from _chooser(report.runs)
    for section in _SECTIONS:
        figures = [each for each in report.figures if each.section == section]
        if figures:
            yield f"<h2>{escape(section)}</h2>"
        for each in figures:
            yield from _figure(each)
        if section == "Rate":
            yield from _rates(report.rates)
        if section == "Paths" and report.structure is not None:
            yield from _structure(report.structure)
    yield from _what_was_run(report, commands)
    yield "</main>"
    yield from _footer()


def _who(report: Report) -> str:
    names = ", ".join(run.label for run in report.runs[:_MOST_NAMED])
    more = f" and {len(report.runs) - _MOST_NAMED} more" if len(report.runs) > _MOST_NAMED else ""
    return f"Run{'s' * (len(report.runs) > 1)} {names}{more}"


def _chooser(runs: Sequence[ReportedRun]) -> Iterator[str]:
    if len(runs) < 2:
        return
    yield '<fieldset class="runs"><legend>Figures of one run show</legend>'
    for place, run in enumerate(runs):
        checked = " checked" if place == 0 else ""
        yield (
            f'<label><input type="radio" name="run" value="{escape(run.label)}"{checked}>'
            f'<i style="background:{run.colour}"></i>{escape(run.label)}</label>'
        )
    yield "</fieldset>"


def _figure(figure: Figure) -> Iterator[str]:
    yield f'<figure id="{figure.name}"><h3>{escape(figure.title)}</h3>'
    yield f'<div class="drawn" id="drawn-{figure.name}"></div>'
    if any(not isinstance(data, str) for data in figure.data.values()):
        yield f"<figcaption>{escape(figure.caption)}</figcaption>"
    yield "</figure>"


def _what_was_run(report: Report, commands: Sequence[str]) -> Iterator[str]:
    yield "<h2>What was run</h2>"
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in report.runs:
        alike.setdefault(tuple(run.apparatus), []).append(run.label)
    for facts, labels in alike.items():
        if len(alike) > 1:
            yield f"<h3>{escape(', '.join(labels))}</h3>"
        yield "<table><tbody>"
        for name, value in facts:
            yield f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        yield "</tbody></table>"
    yield from _table([(run, run.numbers) for run in report.runs])
    yield from _table([(run, run.hashes) for run in report.runs], mono=True)
    if commands:
        yield "<h3>To do it again</h3><pre>"
        yield escape("\n".join(commands))
        yield "</pre>"


def _structure(shown: Structure | str) -> Iterator[str]:
    yield '<figure id="structure"><h3>Structures on the way</h3>'
    if isinstance(shown, str):
        yield f'<p class="nothing">{escape(shown)}</p></figure>'
        return
    last = len(shown.frames) - 1
    yield '<div class="seen" id="seen"></div><p class="step"><button id="play">Play</button>'
    yield f'<input id="frame" type="range" min="0" max="{last}" value="0" aria-label="frame">'
    yield '<output id="where"></output></p>'
    yield f"<figcaption>{escape(shown.caption)}</figcaption></figure>"


def _rates(rows: Sequence[Facts]) -> Iterator[str]:
    if rows:
        names = "".join(f"<th>{escape(name)}</th>" for name, _ in rows[0])
        yield f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>'
        for facts in rows:
            yield "<tr>" + "".join(f"<td>{escape(value)}</td>" for _, value in facts) + "</tr>"
        yield "</tbody></table></div>"


def _table(rows: Sequence[tuple[ReportedRun, Facts]], mono: bool = False) -> Iterator[str]:
    """A row for each run, under the names of the first."""
    if not rows:
        return
    names = "".join(f"<th>{escape(name)}</th>" for name, _ in rows[0][1])
    kind = ' class="mono"' if mono else ""
    yield f'<div class="scroll"><table{kind}><thead><tr><th>run</th>{names}</tr></thead><tbody>'
    for run, facts in rows:
        cells = "".join(f"<td>{escape(value)}</td>" for _, value in facts)
        dot = f'<i style="background:{run.colour}"></i>'
        yield f"<tr><td>{dot}{escape(run.label)}</td>{cells}</tr>"
    yield "</tbody></table></div>"


_HOW = """Long series are thinned: a figure has at most some hundred stretches of cycles side
by side, all of one length, and a mark tells of all cycles of its stretch, as its caption says;
of warps and of the family tree the heaviest are drawn. Numbers have four digits. Drag to move
a figure, hold Ctrl or Cmd and scroll to enlarge it, double-click to go back; its menu saves it
as SVG or PNG."""


def _footer() -> Iterator[str]:
    yield f"<footer><p>{_HOW}</p>"
    yield f"<p>Made by wepystore {escape(__version__)}, drawn by Vega-Lite (BSD-3-Clause). "
    yield "This file loads nothing.</p></footer>"
