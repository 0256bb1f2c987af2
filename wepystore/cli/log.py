"""Show which runs led from which snapshot to which.

Usage:
  wepy log [options] [ORCH]

Prints every snapshot, the latest descendants first, with the runs that ended in it.

Options:
  -g --graph  Draw branches and continuations as lines.
  --json      Print JSON, ancestors first; with --graph its nodes and edges.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import (
    INCOMPLETE,
    count,
    date_text,
    names_of,
    no_circles,
    open_store,
    size_text,
    time_text,
)
from wepystore.cli.console import Console, Drawing, one_line
from wepystore.cli.describe import attached_bytes, with_attached
from wepystore.errors import DamagedError
from wepystore.orchestrator.history import ancestors_first, drawing, history_of
from wepystore.records.circumstances import circumstances_of
from wepystore.store import Store
from wepystore.store.runs import Run, run_of

#: Runs and their records.
Runs = dict[Run, dict[str, Any]]


@no_circles()
def main(args: dict[str, Any], console: Console) -> int:
    """Print the history."""
    store = open_store(args["ORCH"])
    names = names_of(store, console)
    runs, damaged = _runs(store)
    here = set(store.hashes("snapshots"))
    if args["--json"]:
        console.json(_json(here, runs, names, args["--graph"]))
    elif args["--graph"]:
        _draw(here, runs, names, console)
    else:
        ends = _by_end(runs)
        for md5 in reversed(ancestors_first(here, runs)):
            shown = f" ({', '.join(names[md5])})" if md5 in names else ""
            console.out(f"snapshot {md5}{shown}" + ("" if md5 in here else " (not in this store)"))
            for run in ends.get(md5, ()):
                console.out("    " + _line(run, runs[run]))
    for text in damaged:
        console.warn(text)
    return INCOMPLETE if damaged else 0


def _draw(here: set[str], runs: Runs, names: dict[str, list[str]], console: Console) -> None:
    page = Drawing(console)
    for row in drawing(history_of(here, runs)):
        text = note = ""
        if row.snapshot is not None:
            text = row.snapshot
            notes = list(names.get(text, ()))
            if row.n_branches > 1:
                notes.append(f"{row.n_branches} branches")
            if text not in here:
                notes.append("not in this store")
            note = f" ({', '.join(notes)})" if notes else ""
        elif row.run is not None:
            note = "  " + _line(row.run, runs[row.run])
        page.line(row.strokes, text, note)


def _json(here: set[str], runs: Runs, names: dict[str, list[str]], graph: bool) -> Any:
    nodes: list[dict[str, Any]] = [
        {"hash": md5, "names": names.get(md5, []), "here": md5 in here}
        for md5 in ancestors_first(here, runs)
    ]
    if graph:
        return {"nodes": nodes, "edges": [_facts(run, record) for run, record in runs.items()]}
    ends = _by_end(runs)
    for node in nodes:
        node["runs"] = [_facts(run, runs[run]) for run in ends.get(node["hash"], ())]
    return nodes


def _by_end(runs: Runs) -> dict[str, list[Run]]:
    ends: dict[str, list[Run]] = {}
    for run in runs:
        ends.setdefault(run.end, []).append(run)
    return ends


def _runs(store: Store) -> tuple[Runs, list[str]]:
    """All runs, in order of their snapshots, and what is wrong with those that are damaged."""
    runs, damaged = {}, []
    attached = attached_bytes(store)
    for md5 in store.hashes("runs"):
        try:
            found = store.read_manifest("runs", md5)
            run = run_of(found.value, md5, found.what)
            runs[run] = with_attached(found.value, attached.get(md5))
        except DamagedError as error:
            damaged.append(str(error))
    return dict(sorted(runs.items(), key=lambda item: item[0][1:])), damaged


def _facts(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    """A run for programs."""
    facts = {"run": run.md5, **run._asdict()}
    del facts["md5"]
    for key in ("n_steps", "seed", "reproducible", "execution"):
        if key in record:
            facts[key] = record[key]
    how = circumstances_of(record.get("execution"))
    facts["sampled_ps"] = how.sampled_ps(run.n_cycles, record.get("n_steps"))
    return facts


def _line(run: Run, record: dict[str, Any]) -> str:
    """A run in one line; what its record does not tell is left out."""
    # What is no number comes from a record that no program of ours has written.
    n_steps, seed = (n if type(n) is int else None for n in map(record.get, ("n_steps", "seed")))
    words = [count(run.n_cycles, "cycle")]
    if n_steps is not None:
        words[0] += f" of {n_steps} steps"
    words.append(f"config {run.config[:8]}…")
    if seed is not None:
        words.append(f"seed {seed}")
    how = circumstances_of(record.get("execution"))
    sampled = how.sampled_ps(run.n_cycles, n_steps)
    if sampled is not None:
        words.append(f"{time_text(sampled)} sampled")
    if how.n_warped is not None:
        words.append(count(how.n_warped, "warp"))
    if how.recorded_bytes is not None:
        words.append(f"{size_text(how.recorded_bytes)} recorded")
    if how.begun is not None:
        words.append(f"begun {date_text(how.begun)}")
    if how.complete is False:
        ended = how.ended_by or how.stopped_by
        words.append(f"ended by {one_line(ended)}" if ended else "not ended")
    return f"run {run.start[:8]}…, {run.end[:8]}…: {', '.join(words)}"
