"""Frames along a lineage: each state was made of the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.made import LENGTHS, N_ATOMS, N_WALKERS, chain
from wepystore.api import load_frames, load_lineages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    return chain(tmp_path_factory.mktemp("chain"))


def assert_one_trajectory(positions: Any) -> None:
    """Atom k of each frame is where the first atom was k frames before, and before the first frame
    all are where walkers begin."""
    for place, frame in enumerate(positions):
        for atom in range(min(place + 1, N_ATOMS)):
            assert np.array_equal(frame[atom], positions[place - atom, 0])
        assert not frame[place + 1 :].any()


def test_the_frames_of_a_lineage_are_one_trajectory(made: tuple[Path, list[str]]) -> None:
    """Through clones, merges and continued runs, from where it began anew."""
    store, runs = made
    lineages, frames = load_lineages(store, runs[-1]), load_frames(store, runs[-1], joined=True)
    assert len(lineages.warps) > 2
    lengths = set()
    for cycle in (5, 14, -1):
        for walker in range(N_WALKERS):
            lineage = lineages.of(walker, cycle)
            positions = lineage.frames_of(frames)
            assert positions.shape == (len(lineage), N_ATOMS, 3)
            assert_one_trajectory(positions)
            lengths.add((len(lineage.runs), lineage.begins_anew))
    assert {(1, False), (3, False)} <= lengths and {(1, True), (2, True)} & lengths
    for warp in range(len(lineages.warps)):
        positions = lineages.of_warp(warp).frames_of(frames)
        assert_one_trajectory(positions)
        assert positions[-1, 0, 0] > 0.9


def test_where_a_run_alone_is_asked_its_frames_are_those(made: tuple[Path, list[str]]) -> None:
    """Cycles are those of the runs, however they are counted; frames of another run are refused."""
    store, runs = made
    joined, frames = load_frames(store, runs[-1], joined=True), load_frames(store, runs[-1])
    lineage = load_lineages(store, runs[-1], joined=False).of(2, through_warps=True)
    whole = load_lineages(store, runs[-1]).of(2, through_warps=True)
    assert len(lineage) == LENGTHS[-1]
    positions = lineage.frames_of(frames)
    assert np.array_equal(positions, lineage.frames_of(joined))
    assert np.array_equal(positions, whole.frames_of(joined)[-len(lineage) :])
    with pytest.raises(ValueError, match=f"not the frames of run {runs[0]}"):
        whole.frames_of(frames)
    with pytest.raises(KeyError, match="velocities"):
        lineage.frames_of(frames, "velocities")


def test_of_frames_that_are_far_apart_the_weights_go_along(tmp_path: Path) -> None:
    """Of each run each third cycle is kept: cycles and weights are those of these."""
    store, runs = chain(tmp_path, every=3)
    lineage = load_lineages(store, runs[-1]).of(4, through_warps=True)
    frames = load_frames(store, runs[-1], joined=True)
    kept, positions = lineage.kept(frames), lineage.frames_of(frames)
    assert kept.cycle.tolist() == [0, 3, 6, 9, 12, 0, 3, 0, 3, 6]
    assert kept.joined_cycle.tolist() == [0, 3, 6, 9, 12, 13, 16, 17, 20, 23]
    assert np.array_equal(kept.weight, lineage.weight[kept.joined_cycle])
    assert len(positions) == len(kept)
    for cycle, walker, frame in zip(kept.joined_cycle, kept.walker, positions, strict=True):
        assert np.array_equal(frame, frames.cycle(int(cycle))[walker])
