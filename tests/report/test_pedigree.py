"""The pruned family tree is that of the lineages."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import Made
from wepystore.answers.lineages import Lineages
from wepystore.api import load_lineages, load_tables
from wepystore.report.figures.tree import tree_of
from wepystore.report.pedigree import ARRIVED, STAYED, Pedigree, pedigree_of
from wepystore.report.shown import Shown


@pytest.fixture(scope="module")
def lineages(made: Made) -> Lineages:
    return load_lineages(made.path, made.runs[0])


@pytest.fixture(scope="module")
def tree(lineages: Lineages) -> Pedigree:
    return pedigree_of(lineages, most_arrivals=7, most_stayed=5)


def ancestors(lineages: Lineages, most_arrivals: int, most_stayed: int) -> dict[int, int]:
    """Whom each walker of each cycle led to, one lineage after the other."""
    first = np.append(0, np.cumsum(lineages.n_walkers))
    last = len(lineages.n_walkers) - 1
    heaviest = np.argsort(-lineages.weights[first[last] :], kind="stable")[:most_stayed]
    ways = [(lineages.of(int(walker)), STAYED) for walker in heaviest]
    ways += [(each, ARRIVED) for each in lineages.heaviest_arrivals(most_arrivals)]
    found: dict[int, int] = {}
    for way, whom in ways:
        for row in (first[way.joined_cycle] + way.walker).tolist():
            found[row] = found.get(row, 0) | whom
    return found


def test_it_holds_the_ancestors_and_nobody_else(lineages: Lineages, tree: Pedigree) -> None:
    """Of the heaviest that arrived and the heaviest at the end, with whom they led to."""
    expected = ancestors(lineages, 7, 5)
    assert dict(zip(tree.rows.tolist(), tree.led_to.tolist(), strict=True)) == expected
    assert set(tree.led_to.tolist()) == {ARRIVED, STAYED, ARRIVED | STAYED}
    assert (tree.leaf == ARRIVED).sum() == 7 and (tree.leaf == STAYED).sum() == 5


def test_parents_are_in_the_cycle_before(lineages: Lineages, tree: Pedigree) -> None:
    """And are those of the lineages, except where a walker began anew."""
    first = np.append(0, np.cumsum(lineages.n_walkers))
    known = tree.parent >= 0
    assert (tree.cycle[known] == tree.cycle[tree.parent[known]] + 1).all()
    above = first[tree.cycle[known] - 1] + lineages.parents[tree.rows[known]]
    assert (tree.rows[tree.parent[known]] == above).all()
    anew = ~known & (tree.cycle > 0)
    above = first[tree.cycle[anew] - 1] + lineages.parents[tree.rows[anew]]
    assert lineages.warped[above].all()


def test_a_branch_is_unbroken_and_ends_where_it_parts(tree: Pedigree) -> None:
    """Each of its walkers but the last has one child that is left, in the same branch."""
    children: dict[int, list[int]] = {}
    for place, parent in enumerate(tree.parent.tolist()):
        children.setdefault(parent, []).append(place)
    for branch in range(tree.branch.max() + 1):
        places = np.flatnonzero(tree.branch == branch)
        assert (np.diff(tree.cycle[places]) == 1).all()
        for place, following in itertools.pairwise(places):
            assert children[place] == [following]
        assert len(children.get(int(places[-1]), [])) != 1
    comes_from = tree.branch_parent()
    firsts = [int(np.flatnonzero(tree.branch == k)[0]) for k in range(len(comes_from))]
    assert comes_from.tolist() == tree.parent[firsts].tolist()


def test_leaves_have_heights_of_their_own(tree: Pedigree) -> None:
    """Evenly apart; a branch is in the middle of those that it led to."""
    heights, comes_from = tree.heights(), tree.branch_parent()
    above = np.where(comes_from >= 0, tree.branch[comes_from], -1)
    tips = np.setdiff1d(np.arange(len(heights)), above)
    assert sorted(heights[tips].tolist()) == list(range(len(tips)))
    for branch in np.unique(above[above >= 0]):
        assert heights[branch] == pytest.approx(heights[above == branch].mean())


def test_few_points_keep_the_ends_of_all_branches(made: Made, tmp_path: Path) -> None:
    """However coarsely it is drawn, each branch is drawn from where it parted to where it ends."""
    run = Shown("a", load_tables(made.path, made.runs[0]))
    fine, coarse = (tree_of(run, "progress_coordinate", most)["branches"] for most in (10**6, 10))
    assert len(coarse["cycle"]) < len(fine["cycle"])

    def ends(drawn: object) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for branch, cycle in zip(drawn["branch"], drawn["cycle"], strict=True):  # type: ignore[index]
            low, high = found.get(branch, (cycle, cycle))
            found[branch] = min(low, cycle), max(high, cycle)
        return found

    assert ends(coarse) == ends(fine)
