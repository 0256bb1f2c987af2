"""What a benchmark hands out: rows of a table, each a figure with the limit it is held to.

A benchmark is a module `bench_NAME.py` that can be run as a program:

    def rows(arguments: list[str]) -> Iterator[Row]:
        yield Row("10 steps a cycle", ratio, "x bare OpenMM", most=10.0)

    if __name__ == "__main__":
        sys.exit(table.main(__doc__, rows))

`rows` yields each figure as soon as it is known. It raises Lacking where something that it needs is
not there, Misused where the arguments make no sense. The program prints the rows and ends with 0, 1
where a limit is missed, 77 where something is lacking, 2 where it was misused. Without arguments it
takes a minute or two at most; what takes longer, or asks for more of the machine, is an entry of

    LEFT_OUT = {"--long": "ten minutes"}

in the module: arguments, and why `bin/bench` leaves them out. "" stands for the call without any.
A module that has no `rows`, but prints what it finds and exits 1 where a limit is missed, works
too: it counts as one row.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

MET, MISSED, MISUSED, LACKING = 0, 1, 2, 77
#: The file that a benchmark's program adds its rows to, one line of JSON each.
ROWS_FILE = "WEPY_BENCH_ROWS"


class Lacking(Exception):
    """Something that the benchmark needs is not here; says what, and how to get it."""


class Misused(Exception):
    """The arguments make no sense; says which."""


@dataclass(frozen=True)
class Row:
    """A figure. `unit` may say against what ("x np.save"); `most` and `least` are its limits."""

    what: str
    figure: float
    unit: str = ""
    most: float | None = None
    least: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether it keeps its limits. No figure (NaN) keeps any."""
        if self.most is not None and not self.figure <= self.most:
            return False
        return self.least is None or self.figure >= self.least

    @property
    def limited(self) -> bool:
        """Whether it has a limit at all."""
        return self.most is not None or self.least is not None

    @property
    def limit(self) -> str:
        """In words, without the unit."""
        words = [] if self.most is None else [f"≤ {number(self.most)}"]
        return ", ".join(words if self.least is None else [*words, f"≥ {number(self.least)}"])

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing."""
        return ("met" if self.met else "missed") if self.limited else ""

    def better(self, other: Row) -> Row:
        """Of two measurements of one thing the one nearer to its limit's good side."""
        if self.least is not None:
            return self if self.figure >= other.figure else other
        return self if self.figure <= other.figure else other


def number(value: float) -> str:
    """Three digits, and all digits of a large one."""
    if math.isnan(value):
        return "—"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def texts(row: Row) -> tuple[str, str, str, str, str]:
    """(what, figure with unit, limit, verdict, detail)."""
    said = f"{number(row.figure)} {row.unit}".rstrip()
    return row.what, said, row.limit, row.verdict, row.detail


def plain(row: Row) -> str:
    """A line for the terminal."""
    what, figure, limit, verdict, detail = texts(row)
    held = f"limit {limit}: {verdict.upper() if verdict == 'missed' else verdict}" if limit else ""
    return f"{what:52} {figure:28} {held:22} {detail}".rstrip()


def markdown(title: str, rows: Iterable[Row]) -> list[str]:
    """Lines of a table under a heading, as docs/benchmarks.md has them."""
    lines = [f"### {title}", "", "| what | figure | limit | |", "|---|---|---|---|"]
    for row in rows:
        what, figure, limit, verdict, detail = texts(row)
        shown = f"{figure} ({detail})" if detail else figure
        cells = (what, shown, limit, "**missed**" if verdict == "missed" else verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def best(first: Sequence[Row], second: Sequence[Row]) -> list[Row]:
    """Row by row the better of two runs of one benchmark."""
    again = {row.what: row for row in second}
    kept = [row.better(again.pop(row.what)) if row.what in again else row for row in first]
    return [*kept, *again.values()]


def load(file: Path) -> list[Row]:
    """The rows that a program has added to a file."""
    if not file.exists():
        return []
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def main(
    doc: str | None,
    rows: Callable[[list[str]], Iterable[Row]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run as a program: print the rows as they come; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        print((doc or "").strip())
        return MET
    file = os.environ.get(ROWS_FILE)
    status = MET
    try:
        for row in rows(words):
            row = replace(row, figure=float(row.figure))
            print(plain(row), flush=True)
            if file:
                with open(file, "a", encoding="utf-8") as out:
                    out.write(json.dumps(asdict(row)) + "\n")
            if not row.met:
                status = MISSED
    except Lacking as error:
        print(f"not here: {error}", file=sys.stderr)
        return LACKING
    except Misused as error:
        print(f"{error}\n\n{(doc or '').strip()}", file=sys.stderr)
        return MISUSED
    return status
