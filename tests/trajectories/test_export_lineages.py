"""Lineages in files: the states along them, and beside them cycles and weights."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import mdtraj
import numpy as np
import pytest

from tests.answers.made import N_ATOMS, chain
from wepystore.api import (
    Lineage,
    RunFrames,
    WepystoreError,
    export_lineages,
    load_frames,
    load_lineages,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store, and the last of three runs that continue each other."""
    store, runs = chain(tmp_path_factory.mktemp("chain"))
    return store, runs[-1]


def found_in(made: tuple[Path, str]) -> tuple[list[Lineage], RunFrames]:
    """The lineages of three arrivals, and the frames."""
    lineages = load_lineages(*made).heaviest_arrivals(3, through_warps=True)
    assert {len(each.runs) for each in lineages} != {1}
    return lineages, load_frames(*made, joined=True)


def rows_of(file: Path, name: str) -> list[dict[str, str]]:
    with open(file) as held:
        return [row for row in csv.DictReader(held) if row["trajectory"] == name]


def assert_beside(file: Path, name: str, lineage: Lineage) -> None:
    """Which cycle each frame is of, and its weight."""
    rows = rows_of(file, name)
    assert [float(row["weight"]) for row in rows] == lineage.weight.tolist()
    assert [int(row["walker"]) for row in rows] == lineage.walker.tolist()
    assert [int(row["cycle"]) for row in rows] == lineage.cycle.tolist()
    assert [row["run"] for row in rows] == [lineage.runs[run] for run in lineage.run]


def test_in_a_wepy_file_each_is_a_trajectory(made: tuple[Path, str], tmp_path: Path) -> None:
    """With its weights, from where the first of the runs began."""
    lineages, frames = found_in(made)
    files = export_lineages(*made, lineages, tmp_path / "a.h5")
    assert files == [str(tmp_path / "a.h5"), str(tmp_path / "a.csv")]
    with h5py.File(files[0]) as found:
        held = found["runs/0/trajectories"]
        assert sorted(held) == ["0", "1", "2"]
        for number, lineage in enumerate(lineages):
            assert np.array_equal(held[f"{number}/positions"], lineage.frames_of(frames))
            assert held[f"{number}/weights"][:, 0].tolist() == lineage.weight.tolist()
            assert_beside(tmp_path / "a.csv", f"L00{number}", lineage)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".pdb"])
def test_in_other_files_each_is_one(made: tuple[Path, str], tmp_path: Path, suffix: str) -> None:
    """As MDTraj reads them; one alone has the name that was asked for."""
    lineages, frames = found_in(made)
    files = export_lineages(*made, lineages, tmp_path / f"a{suffix}")
    names = [f"a-L00{k}{suffix}" for k in range(3)]
    names += ["a.csv"] if suffix == ".pdb" else ["a.pdb", "a.csv"]
    assert [Path(file).name for file in files] == names
    for number, lineage in enumerate(lineages):
        (alone, *_) = export_lineages(*made, [lineage], tmp_path / f"{number}{suffix}")
        top = {} if suffix == ".pdb" else {"top": tmp_path / "a.pdb"}
        for file in (files[number], alone):
            # To the precision of the formats, in nm.
            assert np.allclose(mdtraj.load(file, **top).xyz, lineage.frames_of(frames), atol=1e-3)
        assert_beside(tmp_path / "a.csv", f"L00{number}", lineage)


def test_of_some_atoms_and_some_cycles(made: tuple[Path, str], tmp_path: Path) -> None:
    """What is left out is left out of both files."""
    (lineage, *_), frames = found_in(made)
    positions = lineage.frames_of(frames)[::3, [1, 4]]
    options: Any = {"atoms": "1,4", "every": 3}
    (file, _) = export_lineages(*made, [lineage], tmp_path / "a.h5", **options)
    with h5py.File(file) as found:
        assert np.array_equal(found["runs/0/trajectories/0/positions"], positions)
    weights = [float(row["weight"]) for row in rows_of(tmp_path / "a.csv", "L000")]
    assert weights == lineage.weight[::3].tolist()
    with pytest.raises(WepystoreError, match=f"has atom {N_ATOMS}"):
        export_lineages(*made, [lineage], tmp_path / "b.h5", atoms=[N_ATOMS])
    with pytest.raises(WepystoreError, match="lineages is empty and must be one at least"):
        export_lineages(*made, [], tmp_path / "b.h5")


@pytest.mark.parametrize("suffix", [".h5", ".dcd"])
def test_all_are_laid_over_the_first_frame_of_the_first(
    made: tuple[Path, str], tmp_path: Path, suffix: str
) -> None:
    """By the atoms that are named, also where these are not written."""
    lineages, frames = found_in(made)
    files = export_lineages(*made, lineages, tmp_path / f"a{suffix}", align="0-2", atoms="0-3")
    first = lineages[0].frames_of(frames)[0, :3]
    for number, lineage in enumerate(lineages):
        if suffix == ".h5":
            with h5py.File(files[0]) as file:
                found = file[f"runs/0/trajectories/{number}/positions"][:]
        else:
            found = mdtraj.load(files[number], top=tmp_path / "a.pdb").xyz
        true = lineage.frames_of(frames)
        middles = found[:, :3].mean(axis=1)
        assert np.allclose(middles, first.mean(axis=0), atol=1e-4)
        # Nothing is bent.
        held = (np.linalg.norm(e[:, :4] - e[:, 3:4], axis=2) for e in (found, true))
        assert np.allclose(*held, atol=1e-4)
        # No small turn brings them nearer.
        for turn in (np.array([[1, e, 0], [-e, 1, 0], [0, 0, 1]]) for e in (0.02, -0.02)):
            turned = (found[:, :3] - middles[:, None]) @ turn + middles[:, None]
            far = ((turned - first) ** 2).sum(axis=(1, 2))
            assert (far > ((found[:, :3] - first) ** 2).sum(axis=(1, 2))).all()


def test_a_lineage_that_no_frame_is_kept_of(tmp_path: Path) -> None:
    """Between two cycles of which frames are: nothing is written."""
    store, runs = chain(tmp_path, every=20)
    lineages = load_lineages(store, runs[0])
    short = [each for k in range(len(lineages.warps)) if (each := lineages.of_warp(k)).begins_anew]
    with pytest.raises(
        WepystoreError, match="of none of those that are asked for there are frames"
    ):
        export_lineages(store, runs[0], short[:1], tmp_path / "a.h5")
    assert not [*tmp_path.glob("a.*")]
