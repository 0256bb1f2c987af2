"""The history of a store as a graph: snapshots are its points, runs lead from one to another."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from wepystore.store import Store
from wepystore.store.runs import Run


class Row(NamedTuple):
    """One line of the drawing.

    Attributes
    ----------
    strokes : list of (str, int)
        What to draw in each column, two characters wide, and the number of the branch it
        belongs to.
    snapshot : str or None
        The snapshot on this line; None for lines that only connect.
    run : Run or None
        The run that is told of on this line: it ended in the snapshot above.
    n_branches : int
        How many different snapshots runs lead to from this one.
    """

    strokes: list[tuple[str, int]]
    snapshot: str | None = None
    run: Run | None = None
    n_branches: int = 0


class History(NamedTuple):
    """All snapshots, those included that only a run names. Runs to themselves, and those within
    circles, which only made-up records make, are told of, and not followed.

    Attributes
    ----------
    parents, children : dict of str to list of str
        For each snapshot those that runs led from and to, sorted.
    runs : dict of str to list of Run
        For each snapshot that a run ended in, all that did.
    n_branches : dict of str to int
        To how many other snapshots runs lead, for those from which some do.
    in_order : list of str
        Every snapshot after all that it descends from.
    """

    parents: dict[str, list[str]]
    children: dict[str, list[str]]
    runs: dict[str, list[Run]]
    n_branches: dict[str, int]
    in_order: list[str]


def history_of(snapshots: Iterable[str], runs: Iterable[Run]) -> History:
    """The graph of these runs, and of snapshots that may have none."""
    led_to: dict[str, list[Run]] = {}
    for run in runs:
        led_to.setdefault(run.end, []).append(run)
    for same in led_to.values():
        same.sort(key=lambda run: run[1:])
    everything, after = _ends(snapshots, runs)
    n_branches = {md5: len(ends) for md5, ends in after.items()}
    in_order = _in_order(everything, after)
    if len(in_order) < len(everything):
        after = _without_circles(after)
        in_order = _in_order(everything, after)
    children: dict[str, list[str]] = {md5: sorted(after.get(md5, ())) for md5 in sorted(everything)}
    parents: dict[str, list[str]] = {md5: [] for md5 in children}
    for md5, ends in children.items():
        for end in ends:
            parents[end].append(md5)
    return History(parents, children, led_to, n_branches, in_order)


def ancestors_first(snapshots: Iterable[str], runs: Iterable[Run]) -> list[str]:
    """All snapshots, each after all that it descends from; ties in order of hash."""
    everything, after = _ends(snapshots, runs)
    in_order = _in_order(everything, after)
    # Only made-up records can go round in a circle; they are shown all the same.
    return in_order + sorted(everything.difference(in_order))


def _ends(snapshots: Iterable[str], runs: Iterable[Run]) -> tuple[set[str], dict[str, set[str]]]:
    """All snapshots, and those that runs led to from each of them, itself left out."""
    everything = set(snapshots)
    after: dict[str, set[str]] = {}
    for run in runs:
        everything.update((run.start, run.end))
        if run.start != run.end:
            after.setdefault(run.start, set()).add(run.end)
    return everything, after


def _in_order(everything: set[str], after: dict[str, set[str]]) -> list[str]:
    """Every snapshot after all that lead to it, ties in order of hash. Those in a circle, and
    what comes after one, are left out."""
    waiting = dict.fromkeys(everything, 0)
    for ends in after.values():
        for end in ends:
            waiting[end] += 1
    ready = [md5 for md5, n in waiting.items() if n == 0]
    heapq.heapify(ready)
    done: list[str] = []
    while ready:
        md5 = heapq.heappop(ready)
        done.append(md5)
        for end in after.get(md5, ()):
            waiting[end] -= 1
            if waiting[end] == 0:
                heapq.heappush(ready, end)
    return done


def _without_circles(after: dict[str, set[str]]) -> dict[str, set[str]]:
    # Imported only here: it takes longer than drawing thousands of runs.
    import networkx as nx

    graph = nx.DiGraph([(start, end) for start, ends in after.items() for end in ends])
    member = {
        md5: number
        for number, members in enumerate(nx.strongly_connected_components(graph))
        for md5 in members
    }
    return {
        start: {end for end in ends if member[end] != member[start]}
        for start, ends in after.items()
    }


def latest_first(history: History) -> list[str]:
    """Every snapshot after all its descendants, a line of continuations in one piece: of several
    branches the longest is the line, and the others stand right above where they left it."""
    lengths = _lengths(history)

    def in_turn(md5s: Iterable[str]) -> list[str]:
        # What is last here is first to be taken from a stack.
        return sorted(md5s, key=lambda md5: (-lengths[md5], md5), reverse=True)

    done: list[str] = []
    begun: set[str] = set()
    stack = in_turn(md5 for md5, before in history.parents.items() if not before)
    while stack:
        md5 = stack[-1]
        if md5 in begun:
            stack.pop()
            if lengths.pop(md5, None) is not None:
                done.append(md5)
            continue
        begun.add(md5)
        stack += in_turn(end for end in history.children[md5] if end not in begun)
    return done


def _lengths(history: History) -> dict[str, int]:
    """How many runs follow each snapshot, one after the other, at most."""
    lengths: dict[str, int] = {}
    for md5 in reversed(history.in_order):
        lengths[md5] = max((lengths[end] + 1 for end in history.children[md5]), default=0)
    return lengths


def drawing(history: History) -> Iterator[Row]:
    """The graph line by line, latest snapshots first, with a column for each open branch."""
    columns: list[str | None] = []
    branches: list[int] = []
    n_branches = 0
    for node in latest_first(history):
        waiting = [k for k, wanted in enumerate(columns) if wanted == node]
        if len(waiting) > 1:
            yield _joined(columns, branches, waiting)
            _trim(columns, branches)
        if waiting:
            place = waiting[0]
        else:
            place = _free(columns, branches)
            branches[place] = n_branches
            n_branches += 1
        columns[place] = node
        yield Row(
            _upright(columns, branches, place),
            snapshot=node,
            n_branches=history.n_branches.get(node, 0),
        )
        parents = history.parents[node]
        columns[place] = parents[0] if parents else None
        for run in history.runs.get(node, ()):
            yield Row(_upright(columns, branches), run=run)
        opened = []
        for parent in parents[1:]:
            k = _free(columns, branches)
            columns[k] = parent
            branches[k] = n_branches
            n_branches += 1
            opened.append(k)
        # A free column may be on the left; what is drawn goes from the leftmost to the others.
        if opened:
            first, *others = sorted([place, *opened])
            yield Row(_connection(columns, branches, first, others, "┐", "┬"))
        elif parents and columns.count(parents[0]) > 1:
            # Joined at once: of thousands of runs from one start each had a column otherwise.
            alike = [k for k, wanted in enumerate(columns) if wanted == parents[0]]
            yield _joined(columns, branches, alike)
        _trim(columns, branches)


def _joined(columns: list[str | None], branches: list[int], places: Sequence[int]) -> Row:
    """The line on which columns end in the first of them."""
    row = Row(_connection(columns, branches, places[0], places[1:], "┘", "┴"))
    for k in places[1:]:
        columns[k] = None
    return row


def _trim(columns: list[str | None], branches: list[int]) -> None:
    while columns and columns[-1] is None:
        columns.pop()
        branches.pop()


def _free(columns: list[str | None], branches: list[int]) -> int:
    for k, wanted in enumerate(columns):
        if wanted is None:
            return k
    columns.append(None)
    branches.append(0)
    return len(columns) - 1


def _upright(
    columns: list[str | None], branches: list[int], place: int | None = None
) -> list[tuple[str, int]]:
    return [
        ("● " if k == place else "  " if wanted is None else "│ ", branches[k])
        for k, wanted in enumerate(columns)
    ]


def _connection(
    columns: list[str | None],
    branches: list[int],
    first: int,
    others: Sequence[int],
    last_stroke: str,
    stroke: str,
) -> list[tuple[str, int]]:
    """A line that joins column `first` with others to its right."""
    drawn = []
    last = others[-1]
    for k, wanted in enumerate(columns):
        if k == first:
            drawn.append(("├─", branches[k]))
        elif first < k < last:
            # A branch that only passes by is crossed.
            plain = "┼─" if wanted is not None else "──"
            drawn.append((f"{stroke}─" if k in others else plain, branches[last]))
        elif k == last:
            drawn.append((f"{last_stroke} ", branches[k]))
        else:
            drawn.append(("  " if wanted is None else "│ ", branches[k]))
    return drawn


def history(store: Store | str | os.PathLike[str]) -> Any:
    """Which runs led from which snapshot to which, for networkx.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.

    Returns
    -------
    networkx.MultiDiGraph
        Its nodes are the hashes of snapshots, with `here`, which is False where the store has no
        more than a run that names it, and `tags`, a list of names. Its edges are the runs, by
        the hash of their record as key, with `record`, a RunRecord.

    Raises
    ------
    WepystoreError : DamagedError for a record or a tag that cannot be read.
    """
    import networkx as nx

    from wepystore.records.library import load_runs, opened

    store = opened(store)
    graph = nx.MultiDiGraph()
    for md5, record in load_runs(store).items():
        graph.add_edge(record.start.md5, record.end.md5, md5, record=record)
    here = store.hashes("snapshots")
    graph.add_nodes_from(here)
    for facts in graph.nodes.values():
        facts.update(here=False, tags=[])
    graph.add_nodes_from(here, here=True)
    for tag, md5 in store.tags().items():
        if md5 in graph:
            graph.nodes[md5]["tags"].append(tag)
    return graph
