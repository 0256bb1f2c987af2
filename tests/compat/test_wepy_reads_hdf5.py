"""The real wepy 1.2 reads our file, and finds in it what truly happened."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.answers.made import tables_of_run
from tests.reporters.recorded import Recording, record, replay
from wepystore.answers.lineages import Lineages
from wepystore.reporters.hdf5 import HDF5Reporter

N_CYCLES, N_WALKERS = 40, 8


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record(N_CYCLES, N_WALKERS)


@pytest.fixture(scope="module")
def read(
    recording: Recording, wepy_python: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What wepy says of a file of a run with clones, merges, new regions and warps."""
    path = replay(HDF5Reporter(), tmp_path_factory.mktemp("wepy") / "job", recording)
    script = Path(__file__).with_name("read_with_wepy.py")
    done = subprocess.run(
        [wepy_python, "-W", "ignore", str(script), path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def true_parents(recording: Recording) -> list[list[int | None]]:
    """For each cycle and slot, the walker whose state went there; None for a warped one's."""
    table = []
    for report in recording.reports:
        before = {id(walker.state): i for i, walker in enumerate(report["new_walkers"])}
        table.append([before.get(id(walker.state)) for walker in report["resampled_walkers"]])
    return table


def test_wepy_counts_what_there_is(read: dict[str, Any]) -> None:
    """Runs, cycles, trajectories, atoms, and the settings."""
    assert read["num_runs"] == 1
    assert read["num_cycles"] == read["contig_cycles"] == read["mdtraj_frames"] == N_CYCLES
    assert read["num_trajs"] == read["num_init_walkers"] == N_WALKERS
    assert read["num_atoms"] == 2
    assert read["mdtraj_atoms"] == ["Ar", "Ar"]
    assert read["feature_shapes"]["positions"] == [2, 3]
    assert read["record_fields"]["warping"] == ["walker_idx", "target_idx", "weight"]
    assert read["decisions"] == {"NOTHING": 1, "CLONE": 2, "SQUASH": 3, "KEEP_MERGE": 4}


def test_wepy_reads_the_states_and_weights(read: dict[str, Any], recording: Recording) -> None:
    """get_traj_field gives the states after dynamics, bit for bit."""
    for walker in range(N_WALKERS):
        told = [report["new_walkers"][walker] for report in recording.reports]
        for name in ("positions", "velocities", "box_vectors"):
            assert read[name][walker] == [each.state[name].tolist() for each in told]
        assert read["weights"][walker] == [[each.weight] for each in told]


def test_wepy_reads_the_records(read: dict[str, Any], recording: Recording) -> None:
    """Warping, boundary and progress records, and one resampling record per walker and cycle."""
    assert read["warping_records"] == [
        [r["cycle_idx"], *(warp[name].item() for name in ("walker_idx", "target_idx", "weight"))]
        for r in recording.reports
        for warp in r["warp_data"]
    ]
    assert read["progress_records"] == [
        [r["cycle_idx"], r["progress_data"]["min_distances"]] for r in recording.reports
    ]
    assert read["resampling_rows"] == N_CYCLES * N_WALKERS
    assert len(read["resampler_records"]) == sum(
        len(r["resampler_data"]) for r in recording.reports
    )


def test_wepys_contig_tree_finds_the_true_parents(
    read: dict[str, Any], recording: Recording
) -> None:
    """The parents are those that the states themselves show, warped walkers apart."""
    for found, true in zip(read["parents"], true_parents(recording), strict=True):
        for parent, expected in zip(found, true, strict=True):
            assert expected is None or parent == expected


def test_wepys_contig_tree_marks_the_warped_walkers(
    read: dict[str, Any], recording: Recording
) -> None:
    """A discontinuity is where a warp was, and nowhere else."""
    for found, report in zip(read["discontinuities"], recording.reports, strict=True):
        warped = {warp["walker_idx"].item() for warp in report["warp_data"]}
        assert {i for i, value in enumerate(found) if value == -1} == warped
    warps = [
        [0, warp["walker_idx"].item(), r["cycle_idx"]]
        for r in recording.reports
        for warp in r["warp_data"]
    ]
    assert sorted(map(list, read["warp_trace"])) == sorted(warps)


def test_a_lineage_traced_by_wepy_is_the_true_one(
    read: dict[str, Any], recording: Recording
) -> None:
    """The positions along a walker's ancestors are those the walker truly had."""
    lineage = read["lineages"][0]
    assert lineage[-1] == [0, read["final_trace"][0][0], N_CYCLES - 1]
    assert len(lineage) == N_CYCLES
    for (_, before, cycle), (_, after, next_cycle) in pairwise(lineage):
        assert next_cycle == cycle + 1
        true = true_parents(recording)[cycle][after]
        assert true is None or before == true
    assert read["lineage_positions"] == [
        recording.reports[cycle]["new_walkers"][walker].state["positions"].tolist()
        for _, walker, cycle in lineage
    ]


def test_wepys_macrostate_network_finds_the_true_weights(
    read: dict[str, Any], recording: Recording
) -> None:
    """Weights summed over the frames in which the two atoms are near each other, and far."""
    true = {"0": 0.0, "1": 0.0}
    for report in recording.reports:
        for walker in report["new_walkers"]:
            first, second = walker.state["positions"]
            true[str(int(np.linalg.norm(first - second) < 0.38))] += walker.weight
    assert read["macrostate_weights"] == pytest.approx(true)


def test_our_lineages_are_wepys(read: dict[str, Any], recording: Recording) -> None:
    """From the recording of that run: the parents of every walker, where trajectories end, and the
    lineage of the last walker through all warps."""
    lineages = Lineages(tables_of_run(recording))
    parents = lineages.parents.reshape(N_CYCLES, N_WALKERS)
    assert parents[1:].tolist() == read["parents"][:-1]
    anew = lineages.warped.reshape(N_CYCLES, N_WALKERS)
    assert np.where(anew, -1, 0).tolist() == read["discontinuities"]
    assert not anew.all() and anew.any()
    found = lineages.of(read["final_trace"][0][0], through_warps=True)
    told = zip(found.walker.tolist(), found.joined_cycle.tolist(), strict=True)
    assert [[0, walker, cycle] for walker, cycle in told] == read["lineages"][0]
