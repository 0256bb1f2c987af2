"""The family tree of a run, pruned to who led to an arrival or to a walker of the last cycle.

Of the walkers of all cycles only ancestors of these are left. Where one has a single child that is
left, both are of one *branch*: the tree is drawn branch by branch. A walker that was warped ends
its branch, and whoever goes on from its place begins a tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.lineages import Lineages
from wepystore.report.thinning import Ints

#: To so many of each a tree is pruned.
MOST_ARRIVALS, MOST_STAYED = 40, 40

#: Whom a branch led to.
ARRIVED, STAYED = 1, 2


@dataclass(frozen=True, eq=False)
class Pedigree:
    """What is left of a family tree, one row a walker that is left, ordered by cycle.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Which of all walkers of all cycles it is.
    cycle : ndarray of int, shape (n,)
    parent : ndarray of int, shape (n,)
        Its place among `rows`; -1 where a tree begins.
    branch : ndarray of int, shape (n,)
        Numbered in the order in which they begin.
    led_to : ndarray of int, shape (n,)
        ARRIVED, STAYED, or both of them added.
    leaf : ndarray of int, shape (n,)
        ARRIVED or STAYED of those that the tree was pruned to, else 0.
    """

    rows: Ints
    cycle: Ints
    parent: Ints
    branch: Ints
    led_to: Ints
    leaf: Ints

    def branch_parent(self) -> Ints:
        """For each branch the place of the walker that it comes from; -1 where it begins a tree."""
        first: Ints = np.full(self.branch.max(initial=-1) + 1, len(self.rows))
        np.minimum.at(first, self.branch, np.arange(len(self.branch)))
        found: Ints = self.parent[first]
        return found

    def heights(self) -> NDArray[np.float64]:
        """A height for each branch, such that no two of one tree lie on each other: leaves are
        evenly apart, and each branch is in the middle of what it led to."""
        comes_from = self.branch_parent()
        above = np.where(comes_from >= 0, self.branch[comes_from], -1)
        children: dict[int, list[int]] = {}
        for branch, parent in enumerate(above.tolist()):
            children.setdefault(parent, []).append(branch)
        height = np.zeros(len(above))
        place = 0
        # Leaves in the order in which a walk through the tree meets them.
        stack = children.get(-1, [])[::-1]
        order = []
        while stack:
            branch = stack.pop()
            order.append(branch)
            below = children.get(branch, [])
            if not below:
                height[branch] = place
                place += 1
            stack += below[::-1]
        for branch in reversed(order):
            below = children.get(branch, [])
            if below:
                height[branch] = height[below].mean()
        return height


def pedigree_of(
    lineages: Lineages, most_arrivals: int = MOST_ARRIVALS, most_stayed: int = MOST_STAYED
) -> Pedigree:
    """The tree of those that arrived with most weight, and of the heaviest of the last cycle."""
    n_walkers = lineages.n_walkers
    first = np.append(0, np.cumsum(n_walkers))
    cycle_of = np.repeat(np.arange(len(n_walkers)), n_walkers)
    known = lineages.parents >= 0
    parent = np.full(len(cycle_of), -1)
    parent[known] = first[cycle_of[known] - 1] + lineages.parents[known]
    parent[known] = np.where(lineages.warped[parent[known]], -1, parent[known])
    leaf = _leaves(lineages, first, most_arrivals, most_stayed)
    led_to = leaf.copy()
    _mark_ancestors(led_to, parent.tolist(), cycle_of)
    rows = np.flatnonzero(led_to)
    place = np.full(len(led_to), -1)
    place[rows] = np.arange(len(rows))
    parents = np.where(parent[rows] >= 0, place[parent[rows]], -1)
    cycles: Ints = cycle_of[rows]
    branch = _branches(cycles, parents)
    return Pedigree(rows, cycles, parents, branch, led_to[rows], leaf[rows])


def _mark_ancestors(led_to: Ints, parent: list[int], cycle_of: Ints) -> None:
    """Mark who led to those that are marked.

    Parameters
    ----------
    led_to : ndarray of int, shape (n,)
        Of each walker of each cycle; changed.
    parent : list of int
        For each the row of its parent; -1 where there is none.
    cycle_of : ndarray of int, shape (n,)
    """
    rows = np.flatnonzero(led_to)
    leaves: dict[int, list[int]] = {}
    for row, cycle in zip(rows.tolist(), cycle_of[rows].tolist(), strict=True):
        leaves.setdefault(cycle, []).append(row)
    whom = dict(zip(rows.tolist(), led_to[rows].tolist(), strict=True))
    # Few are left of each cycle: plain numbers are quicker than arrays.
    waiting: list[int] = []
    for cycle in range(max(leaves, default=-1), -1, -1):
        before = {}
        for row in {*waiting, *leaves.get(cycle, ())}:
            above = parent[row]
            if above >= 0:
                before[above] = whom[above] = whom.get(above, 0) | whom[row]
        waiting = list(before)
    led_to[list(whom)] = list(whom.values())


def _leaves(lineages: Lineages, first: Ints, most_arrivals: int, most_stayed: int) -> Ints:
    found = np.zeros(len(lineages.weights), np.int64)
    begin, end = first[-2:] if len(first) > 1 else (0, 0)
    stayed = np.argsort(-lineages.weights[begin:end], kind="stable")[:most_stayed]
    found[begin + stayed] = STAYED
    warps = lineages.warps
    heaviest = np.argsort(-warps.weight, kind="stable")[:most_arrivals]
    found[first[warps.cycle[heaviest]] + warps.walker[heaviest]] = ARRIVED
    return found


def _branches(cycle: Ints, parent: Ints) -> Ints:
    """The branch of each walker that is left."""
    n_children = np.bincount(parent[parent >= 0], minlength=len(parent))
    begins = (parent < 0) | (n_children[parent] > 1)
    branch = np.full(len(parent), -1)
    branch[begins] = np.arange(begins.sum())
    # All of a cycle have their parents in the one before.
    ends = np.flatnonzero(np.diff(cycle, append=-1))
    begin = 0
    for end in (ends + 1).tolist():
        here = slice(begin, end)
        branch[here] = np.where(begins[here], branch[here], branch[parent[here]])
        begin = end
    return branch
