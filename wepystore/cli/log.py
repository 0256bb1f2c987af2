"""Show which runs led from which snapshot to which.

Usage:
  wepy log [options] [ORCH]

Prints every snapshot, the latest descendants first, with the runs that ended in it.

Options:
  -g --graph  Draw branches and continuations as lines.
  --json      Print JSON, ancestors first; with --graph its nodes and edges.
"""

from __future__ import annotations

import heapq
from typing import Any

from wepystore.cli.common import date_text, names_of, no_circles, open_store, time_text
from wepystore.cli.console import Console, one_line
from wepystore.errors import DamagedError
from wepystore.records.circumstances import circumstances_of
from wepystore.store import Store
from wepystore.store.runs import Run, run_of

INCOMPLETE = 3


@no_circles()
def main(args: dict[str, Any], console: Console) -> int:
    """Print the history."""
    store = open_store(args["ORCH"])
    names = names_of(store, console)
    runs, damaged = _runs(store)
    here = set(store.list("snapshots"))
    ends: dict[str, list[Run]] = {}
    for run, _ in runs:
        ends.setdefault(run.end, []).append(run)
    records = {run.md5: record for run, record in runs}
    if not args["--graph"] or args["--json"]:
        history = order(here, [run for run, _ in runs])
    if args["--graph"] and args["--json"]:
        console.json(
            {
                "nodes": [
                    {"hash": md5, "names": names.get(md5, []), "here": md5 in here}
                    for md5 in history
                ],
                "edges": [_facts(run, record) for run, record in runs],
            }
        )
    elif args["--graph"]:
        _draw(here, [run for run, _ in runs], records, names, console)
    elif args["--json"]:
        console.json(
            [
                {
                    "hash": md5,
                    "names": names.get(md5, []),
                    "here": md5 in here,
                    "runs": [_facts(run, records[run.md5]) for run in ends.get(md5, ())],
                }
                for md5 in history
            ]
        )
    else:
        for md5 in reversed(history):
            shown = f" ({', '.join(names[md5])})" if md5 in names else ""
            console.out(f"snapshot {md5}{shown}" + ("" if md5 in here else " (not in this store)"))
            for run in ends.get(md5, ()):
                console.out("    " + _line(run, records[run.md5]))
    for text in damaged:
        console.warn(text)
    return INCOMPLETE if damaged else 0


def _draw(
    here: set[str],
    runs: list[Run],
    records: dict[str, dict[str, Any]],
    names: dict[str, list[str]],
    console: Console,
) -> None:
    from wepystore.orchestrator.history import drawing, graph_of

    page = console.drawing()
    for row in drawing(graph_of(here, runs)):
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
            note = "  " + _line(row.run, records[row.run.md5])
        page.line(row.strokes, text, note)


def order(snapshots: set[str], runs: list[Run]) -> list[str]:
    """The hashes of all snapshots, each after all it descends from; ties in order of hash."""
    everything = snapshots | {run.start for run in runs} | {run.end for run in runs}
    parents: dict[str, set[str]] = {md5: set() for md5 in everything}
    children: dict[str, set[str]] = {md5: set() for md5 in everything}
    for run in runs:
        if run.start != run.end:
            parents[run.end].add(run.start)
            children[run.start].add(run.end)
    ready = [md5 for md5 in everything if not parents[md5]]
    heapq.heapify(ready)
    done: list[str] = []
    while ready:
        md5 = heapq.heappop(ready)
        done.append(md5)
        for child in children[md5]:
            parents[child].discard(md5)
            if not parents[child]:
                heapq.heappush(ready, child)
    # Only made-up records can go round in a circle; they are shown all the same.
    return done + sorted(everything.difference(done))


def _runs(store: Store) -> tuple[list[tuple[Run, dict[str, Any]]], list[str]]:
    runs, damaged = [], []
    for md5 in store.list("runs"):
        try:
            record = store.manifest("runs", md5)
            runs.append((run_of(record, md5, store.locate("runs", md5)), record))
        except DamagedError as error:
            damaged.append(str(error))
    return sorted(runs, key=lambda item: item[0][1:]), damaged


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
    words = [f"{run.n_cycles} cycle" + "s" * (run.n_cycles != 1)]
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
        words.append(f"{how.n_warped} warp" + "s" * (how.n_warped != 1))
    if how.begun is not None:
        words.append(f"begun {date_text(how.begun)}")
    if how.complete is False:
        ended = how.ended_by or how.stopped_by
        words.append(f"ended by {one_line(ended)}" if ended else "not ended")
    return f"run {run.start[:8]}…, {run.end[:8]}…: {', '.join(words)}"
