"""Measure what docs/benchmarks.md tells of, and hold it to its limits.

usage: bin/bench [--list] [--all] [--tries N] [--markdown | --write] [NAME…]

    NAME         a benchmark, with or without "bench_"; with arguments in quotes: "nacl --workers"
    --list       name the benchmarks, and what is left out where none is named
    --all        leave nothing out
    --tries N    run one that misses a limit up to N times; the better figures count, and it is said
    --markdown   print the tables as docs/benchmarks.md has them
    --write      put them into docs/benchmarks.md

Each benchmark is a program of its own (python -m tests.benchmarks.NAME), so that none finds what
another has left in its process. Exit status: 1 where a limit is missed or a benchmark fails or one
that was named could not be run, else 0. A machine that does nothing else gives figures that can be
compared; they are ratios where they can be, and processor time where nothing waits.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks import table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
#: Between these lines of the page stand the tables.
BEGIN, END = "<!-- bin/bench --write: from here", "<!-- bin/bench --write: to here -->"


@dataclass(frozen=True)
class Call:
    """A benchmark and its arguments."""

    name: str
    arguments: str = ""

    @property
    def text(self) -> str:
        """As it is typed."""
        return f"{self.name} {self.arguments}".rstrip()


@dataclass(frozen=True)
class Benchmark:
    """What is known of a module without running it: importing some takes seconds."""

    name: str
    title: str
    left_out: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        """From its docstring and LEFT_OUT."""
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        left_out: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LEFT_OUT":
                left_out = ast.literal_eval(node.value)
        doc = (ast.get_docstring(tree) or path.stem).partition("\n\n")[0]
        return cls(path.stem, " ".join(doc.split()), left_out)

    @property
    def calls(self) -> list[Call]:
        """What is run where nothing is said: all of it, but for what is left out."""
        return [] if "" in self.left_out else [Call(self.name)]


@dataclass(frozen=True)
class Outcome:
    """What came of a call: its rows, and the exit status."""

    call: Call
    title: str
    rows: list[table.Row]
    status: int
    said: str = ""

    @property
    def bad(self) -> bool:
        """Whether a limit is missed, or the benchmark failed."""
        return self.status not in (table.MET, table.LACKING)


def benchmarks() -> dict[str, Benchmark]:
    """All of this folder, by name."""
    return {path.stem: Benchmark.read(path) for path in sorted(HERE.glob("bench_*.py"))}


def measure(call: Call, title: str, folder: Path) -> Outcome:
    """Run its program; what it prints is shown as it comes."""
    file = folder / "rows"
    file.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{call.name}", *shlex.split(call.arguments)],
        cwd=ROOT,
        env={**os.environ, table.ROWS_FILE: str(file), "PYTHONPATH": str(ROOT)},
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
    )
    sys.stderr.write(done.stderr)
    rows = table.load(file)
    if not rows and done.returncode in (table.MET, table.MISSED) and not done.stderr:
        # It prints figures of its own; its exit status says whether they keep their limits.
        rows = [table.Row("as it prints", done.returncode, "limits missed", most=0)]
    status = done.returncode
    if status == table.MISSED and all(row.met for row in rows):
        status = 70  # An exception also ends with 1.
    lines = done.stderr.strip().splitlines()
    return Outcome(call, title, rows, status, lines[-1] if lines else "")


def repeated(call: Call, title: str, folder: Path, tries: int) -> Outcome:
    """Run until its limits are kept, at most so many times; row by row the best counts."""
    found = measure(call, title, folder)
    for number in range(2, tries + 1):
        if found.status != table.MISSED:
            break
        print(f"missed; try {number} of {tries}", file=sys.stderr)
        again = measure(call, title, folder)
        rows = table.best(found.rows, again.rows)
        status = table.MET if all(row.met for row in rows) else table.MISSED
        named = Call(call.name, call.arguments)
        found = replace(again, call=named, title=f"{title} Best of {number}.", rows=rows)
        if again.status in (table.MET, table.MISSED):
            found = replace(found, status=status)
    return found


def machine() -> str:
    """What measured, in one sentence."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    import openmm

    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"Commit {commit or 'unknown'}, {datetime.date.today()}: {cores} cores "
        f"({platform.machine()}), Python {platform.python_version()}, "
        f"OpenMM {openmm.Platform.getOpenMMVersion()}, load {load:.1f} at the start."
    )


def page(said: str, outcomes: list[Outcome], left: list[str]) -> str:
    """All tables, and what is not among them, as Markdown."""
    lines = [said, ""]
    for outcome in outcomes:
        if outcome.rows:
            lines += table.markdown(f"`{outcome.call.text}`", outcome.rows)
    if left:
        lines += ["Not measured in this run:", "", *(f"- {line}" for line in left), ""]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the tables into the page, in place of those that it has."""
    old = PAGE.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE} has no place for the tables: a line that starts with {BEGIN}")
    first_line = rest.partition("\n")[0]
    PAGE.write_text(f"{before}{BEGIN}{first_line}\n\n{text}\n{END}{after}", encoding="utf-8")


def chosen(known: dict[str, Benchmark], words: list[str], everything: bool) -> list[Call]:
    """The calls that are meant. Raises SystemExit where there is no such benchmark."""
    calls: list[Call] = []
    for benchmark in [] if words else known.values():
        calls += benchmark.calls
        if everything:
            calls += [Call(benchmark.name, more) for more in benchmark.left_out]
    for word in words:
        name, _, arguments = word.partition(" ")
        name = name if name.startswith("bench_") else f"bench_{name}"
        if name not in known:
            print(f"there is no benchmark {name!r}; bin/bench --list names them", file=sys.stderr)
            raise SystemExit(table.MISUSED)
        calls.append(Call(name, arguments))
        if everything:
            calls += [Call(name, more) for more in known[name].left_out if more]
    return calls


def main(arguments: list[str]) -> int:
    """Run those that are named, or all; print the table; the exit status."""
    parser = argparse.ArgumentParser(prog="bin/bench", add_help=False)
    for flag in ("--list", "--all", "--markdown", "--write"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("name", nargs="*")
    options = parser.parse_args(arguments)
    if options.help:
        print((__doc__ or "").strip())
        return 0
    known = benchmarks()
    if options.list:
        for benchmark in known.values():
            print(f"{benchmark.name:20} {benchmark.title}")
            for more, why in benchmark.left_out.items():
                print(f"{'':20}   left out: {Call(benchmark.name, more).text}: {why}")
        return 0
    calls = chosen(known, options.name, options.all)
    said = machine()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for call in calls:
            title = known[call.name].title
            print(f"\n{call.text}: {title}", file=sys.stderr, flush=True)
            outcomes.append(repeated(call, title, Path(folder), options.tries))
    done = {outcome.call for outcome in outcomes if outcome.status != table.LACKING}
    left = [
        f"`bin/bench '{Call(benchmark.name, more).text}'`: {why}"
        for benchmark in known.values()
        if not options.name
        for more, why in benchmark.left_out.items()
        if Call(benchmark.name, more) not in done
    ]
    lacking = [outcome for outcome in outcomes if outcome.status == table.LACKING]
    left += [
        f"`{outcome.call.text}`: {outcome.said.removeprefix('not here: ')}"
        for outcome in lacking
        if not any(outcome.call.text in line for line in left)
    ]
    text = page(said, outcomes, left)
    if options.write:
        write(text)
    print()
    if options.markdown:
        print(text)
    else:
        summary(said, outcomes, left)
    named_but_lacking = bool(options.name and lacking)
    return int(any(outcome.bad for outcome in outcomes) or named_but_lacking)


def summary(said: str, outcomes: list[Outcome], left: list[str]) -> None:
    """The tables, then what is missed, has failed or was left out, for the terminal."""
    print(said)
    for outcome in outcomes:
        if outcome.rows:
            print(f"\n{outcome.call.text}: {outcome.title}")
            for row in outcome.rows:
                print(f"  {table.plain(row)}")
    if left:
        print("\nNot measured:")
        for line in left:
            print(f"  {line}")
    limited = [row for outcome in outcomes for row in outcome.rows if row.limited]
    missed = [row for row in limited if not row.met]
    print(f"\n{len(limited)} limits: {len(limited) - len(missed)} met, {len(missed)} missed")
    for outcome in outcomes:
        for row in outcome.rows:
            if not row.met:
                print(f"  missed by {outcome.call.text}: {table.plain(row)}")
        if outcome.bad and outcome.status != table.MISSED:
            print(f"  failed ({outcome.status}): {outcome.call.text}: {outcome.said}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
