"""The region tree: nearest paths, new regions, limits, and rebuilding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wepystore.engine.resamplers.wexplore.region_tree import (
    NegativeDistanceError,
    NoPlaceError,
    RegionTree,
)


class Line:
    """Positions on a line; the vectorised distance."""

    def image_distance(self, a, b):
        return abs(float(a[0]) - float(b[0]))

    def image_distances(self, image, images):
        return np.abs(images[:, 0] - image[0])


class SlowLine:
    """The same by the protocol's one-to-one distance only."""

    def image_distance(self, a, b):
        return abs(float(a[0]) - float(b[0]))


class Words:
    """Images that are no arrays at all."""

    def image_distance(self, a, b):
        return float(abs(len(a) - len(b)))


def model(branches):
    """{region id: (image number, [child ids])}, from nothing but the list of branches."""
    regions = {(): (0, [])}
    for number, (level, leaf_id) in enumerate(branches):
        for depth in range(level, len(leaf_id)):
            regions[leaf_id[: depth + 1]] = (number, [])
            regions[leaf_id[:depth]][1].append(leaf_id[: depth + 1])
    return regions


def nearest_leaf(branches, images, point):
    """The leaf that the nearest child at each level leads to; the older wins a tie."""
    regions, region = model(branches), ()
    while regions[region][1]:
        region = min(
            regions[region][1], key=lambda child: abs(images[regions[child][0]][0] - point)
        )
    return region


positions = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=1, max_size=25).map(
    lambda xs: np.array(xs)[:, np.newaxis]
)
limits = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def explorations(draw):
    """Limits per level, sizes per level, and a few cycles of walkers' images."""
    max_n_regions = draw(limits)
    sizes = sorted((draw(st.floats(0.05, 3.0)) for _ in max_n_regions), reverse=True)
    return max_n_regions, sizes, draw(st.lists(positions, min_size=1, max_size=4))


def planted(exploration):
    """A tree with its first image."""
    max_n_regions, sizes, cycles = exploration
    tree = RegionTree(Line(), max_n_regions, sizes)
    tree.plant(cycles[0][0])
    return tree


@given(explorations())
@settings(deadline=None)
def test_everyone_is_on_the_nearest_path(exploration):
    """After exploring, each walker's leaf is reached by the nearest image at every level."""
    _, _, cycles = exploration
    tree = planted(exploration)
    for images in cycles:
        leaves, _ = tree.explore(images)
        for leaf, image in zip(leaves, images, strict=True):
            expected = nearest_leaf(tree.branches, tree.images.listed(), image[0])
            assert tree.ids[leaf] == expected


@given(explorations())
@settings(deadline=None)
def test_no_region_has_too_many_children(exploration):
    """No region ever has more than max_n_regions[level] children, and free slots count the rest."""
    max_n_regions, _, cycles = exploration
    tree = planted(exploration)
    for images in cycles:
        tree.explore(images)
    regions = model(tree.branches)
    free = [0] * len(max_n_regions)
    for region, (_, children) in regions.items():
        if len(region) < len(max_n_regions):
            assert 1 <= len(children) <= max_n_regions[len(region)]
            free[len(region)] += max_n_regions[len(region)] - len(children)
    assert tree.free_slots() == free
    assert tree.n_regions() == [
        sum(len(region) == level + 1 for region in regions) for level in range(len(max_n_regions))
    ]


@given(explorations())
@settings(deadline=None)
def test_new_regions_are_far_from_their_siblings(exploration):
    """A region is new only beyond the size of its level, and where no region above could be new."""
    _, sizes, cycles = exploration
    tree = planted(exploration)
    for images in cycles:
        before = len(tree.branches)
        _, new = tree.explore(images)
        held = tree.images.listed()
        for number, region in enumerate(new, start=before):
            level, leaf_id = tree.branches[number]
            assert (region.level, region.leaf_id) == (level, leaf_id)
            regions = model(tree.branches[:number])
            siblings = [held[regions[child][0]] for child in regions[leaf_id[:level]][1]]
            nearest = min(abs(image[0] - region.image[0]) for image in siblings)
            assert nearest == region.distance > sizes[level]


@given(explorations())
@settings(deadline=None)
def test_every_way_to_ask_for_distances_gives_the_same_tree(exploration):
    """One-to-one distances, and images kept in a list, give the tree that stacked ones give."""
    max_n_regions, sizes, cycles = exploration
    fast = RegionTree(Line(), max_n_regions, sizes)
    slow = RegionTree(SlowLine(), max_n_regions, sizes)
    listed = RegionTree(SlowLine(), max_n_regions, sizes)
    fast.plant(cycles[0][0])
    slow.plant(cycles[0][0])
    listed.plant(list(cycles[0][0]))
    for images in cycles:
        leaves, _ = fast.explore(images)
        assert leaves.tolist() == slow.explore(images)[0].tolist()
        assert leaves.tolist() == listed.explore([list(image) for image in images])[0].tolist()
    assert fast.branches == slow.branches == listed.branches
    assert listed.images.stacked is None


@given(explorations())
@settings(deadline=None)
def test_a_rebuilt_tree_is_the_same_tree(exploration):
    """Branches and images are the whole of a tree."""
    max_n_regions, sizes, cycles = exploration
    tree = planted(exploration)
    for images in cycles:
        tree.explore(images)
    again = RegionTree.rebuild(
        Line(), max_n_regions, sizes, tree.branches, tree.images.stacked.copy()
    )
    assert (again.ids, again.children, again.branches) == (tree.ids, tree.children, tree.branches)
    for images in cycles:
        assert again.explore(images)[0].tolist() == tree.explore(images)[0].tolist()


def test_images_need_not_be_arrays():
    """A user's distance may have images of any kind."""
    tree = RegionTree(Words(), [3], [1.5])
    tree.plant("a")
    leaves, new = tree.explore(["a", "bb", "ccc", "dddd"])
    assert [region.image for region in new] == ["ccc"]
    assert leaves.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    "branches",
    [
        [[0, [0, 0]], [1, [0, 2]]],
        [[0, [0, 0]], [1, [3, 1]]],
        [[0, [0, 0, 0]], [1, [0, 1, 0]]],
        [[0, [0, 0]]],
    ],
)
def test_branches_that_make_no_tree_are_refused(branches):
    """A damaged state is an error, not another tree."""
    with pytest.raises(ValueError, match="region tree"):
        RegionTree.rebuild(Line(), [3, 3], [1.0, 0.5], branches, np.zeros((2, 1)))


def test_a_walker_that_blew_up_is_named():
    """A distance that is not a number is an error that names the walker."""
    tree = RegionTree(Line(), [3], [1.0])
    tree.plant(np.array([0.0]))
    with pytest.raises(NoPlaceError, match="walker 1 "):
        tree.explore(np.array([[0.0], [np.nan]]))


class Signed(SlowLine):
    """A mistake that is easily made: the difference in place of the distance."""

    def image_distance(self, a, b):
        return float(a[0]) - float(b[0])


def test_a_distance_below_zero_is_refused():
    """Such walkers would be nearest to whatever region: the class and the walker are named."""
    tree = RegionTree(Signed(), [3], [1.0])
    tree.plant(np.array([0.0]))
    with pytest.raises(NegativeDistanceError, match=r"Signed puts walker 2 at -0\.5 "):
        tree.explore(np.array([[0.0], [0.5], [-0.5]]))
