"""`wepy get lineage`: a walker and its ancestors, as lines, as JSON or in files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wepystore.cli.common import MOST, count, find_run, positive_int, store_of
from wepystore.cli.console import Console
from wepystore.cli.outputs import FileExistsAlreadyError, check_directory, cleaned_up, write_text
from wepystore.errors import FailedError, UsageError
from wepystore.store import Store

if TYPE_CHECKING:
    from wepystore.answers.lineages import Lineage, Lineages

#: What is asked for in only one of these ways.
_WAYS = (("--walker", "--cycle"), ("--warp",), ("--heaviest", "--to"))
#: What is said of states, which tables have none of.
_OF_STATES = ("--atoms", "--every", "--align", "--whole")
_COLUMNS = ("run", "cycle", "walker", "weight")
_TABLES = (".csv", ".json")


class NoArrivalError(FailedError):
    """no walker of run {run} was warped{how}"""


class UnknownEndingError(UsageError):
    """{file} ends as nothing that 'wepy get lineage' writes: {endings} are"""


class NoStatesError(UsageError):
    """{option} is for states: write them, with --output, to a file that ends in {endings}"""


def get(args: dict[str, Any], console: Console) -> list[str]:
    """Print the lineages that are asked for; or write them to files, whose names are returned."""
    numbers = _numbers(args)
    file: str | None = args["--output"]
    has_states = file is not None and Path(file).suffix not in _TABLES
    _check_file(file, has_states, args)
    store = store_of(args, "RUN")
    run = find_run(store, args["RUN"])

    from wepystore.answers.lineages import load_lineages

    lineages = load_lineages(store, run, not args["--alone"], args["--verify"])
    found = _asked_for(lineages, run, numbers, args["--through-warps"], console)
    if file is not None and args["--json"]:
        raise UsageError(
            "--json goes to stdout, and --output to a file; name one that ends in .json"
        )
    if file is not None and has_states:
        return _write_states(store, run, found, file, args)
    if file is not None:
        write_text(file, _json(found) if file.endswith(".json") else _csv(found), args["--force"])
        return [file]
    _print(found, args, console)
    return []


def _numbers(args: dict[str, Any]) -> dict[str, int | None]:
    """What the options say which lineage it is; of different ways only one. Raises UsageError."""
    asked = [way for way in _WAYS if any(args[option] is not None for option in way)]
    if len(asked) > 1:
        first, second = (next(o for o in way if args[o] is not None) for way in asked[:2])
        raise UsageError(f"{first} and {second} do not go together")
    for option in ("--heaviest", "--every"):
        if args[option] is not None:
            positive_int(args[option], option)
    return {name: _number(args[name], name) for way in _WAYS for name in way}


def _print(lineages: list[Lineage], args: dict[str, Any], console: Console) -> None:
    if args["--json"]:
        console.json([_facts(lineage) for lineage in lineages])
        return
    for number, lineage in enumerate(lineages):
        before = f"{number} " if args["--heaviest"] is not None else ""
        for row in _rows(lineage):
            console.out(before + " ".join(str(row[name]) for name in _COLUMNS))


def _check_file(file: str | None, has_states: bool, args: dict[str, Any]) -> None:
    """Raise UnknownEndingError, NoStatesError or NoSuchDirectoryError."""
    given = [option for option in _OF_STATES if args[option]]
    if has_states or given:
        from wepystore.trajectories.files import ENDINGS

        if not has_states:
            raise NoStatesError(option=given[0], endings=", ".join(ENDINGS))
        if file is not None and Path(file).suffix not in ENDINGS:
            raise UnknownEndingError(file=file, endings=", ".join((*_TABLES, *ENDINGS)))
    if file is not None:
        if args["--json"]:
            raise UsageError("--json is for stdout; --output with a name in .json writes the same")
        check_directory(file)


def _write_states(
    store: Store, run: str, lineages: list[Lineage], file: str, args: dict[str, Any]
) -> list[str]:
    from wepystore.trajectories.exporting import export_lineages

    try:
        with cleaned_up():
            return export_lineages(
                store,
                run,
                lineages,
                file,
                joined=not args["--alone"],
                atoms=args["--atoms"],
                every=int(args["--every"] or 1),
                align=args["--align"],
                whole=args["--whole"],
                verify=args["--verify"],
                replace=args["--force"],
            )
    except FileExistsError as error:
        raise FileExistsAlreadyError(file=error.filename or file) from None


def _asked_for(
    lineages: Lineages,
    run: str,
    numbers: dict[str, int | None],
    through: bool,
    console: Console,
) -> list[Lineage]:
    walker, cycle, warp, heaviest, target = numbers.values()
    if warp is not None:
        return [lineages.of_warp(warp, through_warps=through)]
    if walker is None and cycle is None:
        found = lineages.heaviest_arrivals(heaviest or 1, target, through_warps=through)
        if found and heaviest is None:
            console.note(
                f"warp {found[0].warp}, the heaviest of {len(lineages.warps)}: walker "
                f"{found[0].walker[-1]} in cycle {found[0].joined_cycle[-1]}"
            )
        if found:
            return found
        if heaviest is not None or target is not None:
            others = f"; it has {count(len(lineages.warps), 'warp')} in all"
            how = "" if target is None else f" with target_idx {target}{others}"
            raise NoArrivalError(run=run, how=how)
    cycle = -1 if cycle is None else cycle
    heavy = walker is None
    walker = lineages.heaviest_walker(cycle) if walker is None else walker
    lineage = lineages.of(walker, cycle, through_warps=through)
    if heavy:
        console.note(f"walker {walker}, the heaviest in cycle {lineage.joined_cycle[-1]}")
    return [lineage]


def _number(text: str | None, word: str) -> int | None:
    if text is None:
        return None
    with suppress(ValueError):
        number = int(text)
        if abs(number) <= MOST:
            return number
    raise UsageError(f"{word} is {text!r} and must be a whole number")


def _rows(lineage: Lineage) -> Iterator[dict[str, Any]]:
    columns = (lineage.run, lineage.cycle, lineage.joined_cycle, lineage.walker, lineage.weight)
    for run, cycle, joined, walker, weight in zip(
        *(each.tolist() for each in columns), strict=True
    ):
        yield {
            "run": lineage.runs[run],
            "cycle": cycle,
            "joined_cycle": joined,
            "walker": walker,
            "weight": weight,
        }


def _facts(lineage: Lineage) -> dict[str, Any]:
    return {
        "warp": lineage.warp,
        "target": lineage.target,
        "begins_anew": lineage.begins_anew,
        "cycles": list(_rows(lineage)),
    }


def _json(lineages: list[Lineage]) -> str:
    return json.dumps([_facts(lineage) for lineage in lineages], indent=2) + "\n"


def _csv(lineages: list[Lineage]) -> str:
    lines = ["lineage,run,cycle,joined_cycle,walker,weight"]
    for number, lineage in enumerate(lineages):
        lines += [",".join(map(str, (number, *row.values()))) for row in _rows(lineage)]
    return "\n".join([*lines, ""])
