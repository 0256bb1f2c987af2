"""The history of a store as a graph: snapshots are its points, runs lead from one to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import networkx as nx

from wepystore.store.runs import Run


@dataclass(frozen=True)
class Row:
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

    strokes: list[tuple[str, int]] = field(default_factory=list)
    snapshot: str | None = None
    run: Run | None = None
    n_branches: int = 0


def graph_of(snapshots: Iterable[str], runs: Iterable[Run]) -> nx.MultiDiGraph:
    """All snapshots, those included that only a run names; one edge for each run, by its hash."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(sorted(snapshots))
    for run in runs:
        graph.add_edge(run.start, run.end, key=run.md5, run=run)
    return graph


def latest_first(graph: nx.MultiDiGraph) -> list[str]:
    """Every snapshot after all its descendants, a line of continuations in one piece.

    Only made-up records can go round in a circle; such runs are not followed.
    """
    lines = _without_circles(graph)
    waiting = {node: lines.out_degree(node) for node in lines}
    ready = sorted((node for node, n in waiting.items() if n == 0), reverse=True)
    done = []
    while ready:
        node = ready.pop()
        done.append(node)
        for parent in sorted(lines.predecessors(node), reverse=True):
            waiting[parent] -= 1
            if waiting[parent] == 0:
                # Last in, first out: what led to this snapshot comes right below it.
                ready.append(parent)
    return done


def _without_circles(graph: nx.MultiDiGraph) -> nx.DiGraph:
    lines = nx.DiGraph(graph)
    lines.remove_edges_from(list(nx.selfloop_edges(lines)))
    if not nx.is_directed_acyclic_graph(lines):
        for members in list(nx.strongly_connected_components(lines)):
            lines.remove_edges_from([(a, b) for a in members for b in members if a != b])
    return lines


def drawing(graph: nx.MultiDiGraph) -> Iterator[Row]:
    """The graph line by line, latest snapshots first, with a column for each open branch."""
    lines = _without_circles(graph)
    columns: list[str | None] = []
    branches: list[int] = []
    n_branches = 0
    for node in latest_first(graph):
        waiting = [k for k, wanted in enumerate(columns) if wanted == node]
        if len(waiting) > 1:
            yield Row(_connection(columns, branches, waiting[0], waiting[1:], "┘", "┴"))
            for k in waiting[1:]:
                columns[k] = None
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
            n_branches=len(set(graph.successors(node)) - {node}),
        )
        parents = sorted(lines.predecessors(node))
        columns[place] = parents[0] if parents else None
        for run in _runs_to(graph, node):
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
        _trim(columns, branches)


def _runs_to(graph: nx.MultiDiGraph, node: str) -> Sequence[Run]:
    runs: list[Run] = [data["run"] for _, _, data in graph.in_edges(node, data=True)]
    return sorted(runs, key=lambda run: run[1:])


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
