"""FamilyTreeReporter: the graph is the true family tree of the walkers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from tests.reporters.recorded import Recording, open_reporter, replay
from wepystore.engine.record_tables import parents
from wepystore.reporters.family_tree import FamilyTreeReporter


@pytest.fixture(scope="module")
def path(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> str:
    return replay(FamilyTreeReporter(), tmp_path_factory.mktemp("tree") / "job", recording)


@pytest.fixture(scope="module")
def tree(path: str) -> Any:
    return nx.read_gexf(path)


def test_networkx_reads_a_node_for_each_walker_of_each_cycle(
    tree: Any, recording: Recording
) -> None:
    """Nodes carry weight, progress, region and whether the walker was warped."""
    assert len(tree) == 40 * 8
    for report in recording.reports:
        warped = {int(warp["walker_idx"][0]) for warp in report["warp_data"]}
        regions = {
            int(record["walker_idx"][0]): ".".join(map(str, record["region_assignment"].tolist()))
            for record in report["resampling_data"]
        }
        for place, walker in enumerate(report["new_walkers"]):
            node = tree.nodes[f"{report['cycle_idx']}-{place}"]
            assert node["cycle"] == report["cycle_idx"]
            assert node["walker"] == place
            assert node["weight"] == walker.weight
            assert node["warped"] == (place in warped)
            assert node["min_distances"] == report["progress_data"]["min_distances"][place]
            assert node["region"] == regions[place]


def test_it_is_laid_out(tree: Any) -> None:
    """It lies from left to right by cycle and upwards by progress, a walker as large as its weight,
    those that were warped in a colour of their own."""
    nodes = [node for _, node in tree.nodes.items()]
    looks = [node["viz"] for node in nodes]
    assert all(
        look["position"]["x"] == 20 * n["cycle"] for n, look in zip(nodes, looks, strict=True)
    )
    progress = np.array([node["min_distances"] for node in nodes])
    height = np.array([look["position"]["y"] for look in looks])
    share = (progress - progress.min()) / (progress.max() - progress.min())
    assert height == pytest.approx(1000 * share, abs=0.1)
    weight = np.log([node["weight"] for node in nodes])
    part = (weight - weight.min()) / (weight.max() - weight.min())
    assert [look["size"] for look in looks] == pytest.approx(2 + 12 * part, rel=1e-2)
    assert {look["color"]["r"] == 213 and look["color"]["g"] == 94 for look in looks} == {
        True,
        False,
    }
    assert all(
        (look["color"]["r"], look["color"]["g"]) == (213, 94)
        for node, look in zip(nodes, looks, strict=True)
        if node["warped"]
    )


def test_edges_go_where_the_states_went(tree: Any, recording: Recording) -> None:
    """The states themselves say who descends from whom: the tree must say the same."""
    for report in recording.reports[:-1]:
        cycle = report["cycle_idx"]
        warped = {int(warp["walker_idx"][0]) for warp in report["warp_data"]}
        before = {id(walker.state): i for i, walker in enumerate(report["new_walkers"])}
        for slot, walker in enumerate(report["resampled_walkers"]):
            found = list(tree.predecessors(f"{cycle + 1}-{slot}"))
            parent = before.get(id(walker.state))
            if parent is None:
                # A state that is none of the propagated ones is a warped walker's.
                assert found == []
            else:
                assert parent not in warped
                assert found == [f"{cycle}-{parent}"]


def test_a_warped_walker_has_no_children_and_the_tree_is_a_forest(tree: Any) -> None:
    """A path along edges is one continuous trajectory."""
    assert nx.is_branching(tree)
    assert all(tree.out_degree(name) == 0 for name, node in tree.nodes.items() if node["warped"])


def test_a_continuous_warp_keeps_its_edges(recording: Recording, tmp_path: Path) -> None:
    """What counts as an end is for the boundary conditions to say."""

    class Continuous:
        def warping_discontinuity(self, record: Any) -> bool:
            assert record.walker_idx == record[1]
            return False

    changed = Recording(
        recording.init_walkers, None, recording.resampler, Continuous(), recording.reports
    )
    tree = nx.read_gexf(replay(FamilyTreeReporter(), tmp_path / "job", changed))
    assert tree.number_of_edges() == 39 * 8


@pytest.mark.parametrize("cut", [0, 1, 23, 40])
@pytest.mark.parametrize("orderly", [False, True])
def test_a_resumed_tree_equals_one_never_interrupted(
    path: str, recording: Recording, tmp_path: Path, cut: int, orderly: bool
) -> None:
    """R2, whether the job was killed or ended."""
    first = open_reporter(FamilyTreeReporter(), tmp_path / "job", recording)
    for report in recording.reports[: cut if orderly else cut + 3]:
        first.report(**report)
    if orderly:
        first.cleanup()
    else:
        first.flush()
    resumed = open_reporter(FamilyTreeReporter(), tmp_path / "job", recording, resume_at=cut)
    for report in recording.reports[cut:]:
        resumed.report(**report)
    resumed.cleanup()
    assert Path(resumed.path).read_bytes() == Path(path).read_bytes()
    assert sorted(os.listdir(tmp_path)) == [".job.restree.gexf.spool", "job.restree.gexf"]


def test_without_its_spool_a_tree_does_not_go_on(recording: Recording, tmp_path: Path) -> None:
    """The GEXF, which would lose all cycles so far, is left alone; where neither is there, the tree
    begins anew, and that one is gone on with."""
    made = Path(replay(FamilyTreeReporter(), tmp_path / "job", recording, recording.reports[:3]))
    spool = tmp_path / ".job.restree.gexf.spool"
    before = made.read_bytes()
    for problem in ("its first line is cut off", "it is not there"):
        spool.unlink() if problem == "it is not there" else os.truncate(spool, 0)
        with pytest.raises(OSError, match=rf"cannot be continued: {problem}; .* remove it and"):
            open_reporter(FamilyTreeReporter(), tmp_path / "job", recording, resume_at=3)
        assert made.read_bytes() == before
    made.unlink()
    again = open_reporter(FamilyTreeReporter(), tmp_path / "job", recording, resume_at=3)
    again.report(**recording.reports[3])
    again.cleanup()
    assert {name.partition("-")[0] for name in nx.read_gexf(made)} == {"3"}
    more = open_reporter(FamilyTreeReporter(), tmp_path / "job", recording, resume_at=4)
    more.report(**recording.reports[4])
    more.cleanup()
    assert {name.partition("-")[0] for name in nx.read_gexf(made)} == {"3", "4"}


def test_composing_happens_when_the_run_has_doubled(recording: Recording, tmp_path: Path) -> None:
    """So that a long run spends no more on it, cycle for cycle, than a short one."""
    reporter = open_reporter(FamilyTreeReporter(), tmp_path / "job", recording)
    composed = []
    for report in recording.reports:
        reporter.report(**report)
        reporter.flush()
        if os.path.exists(reporter.path):
            composed.append(os.stat(reporter.path).st_ino)
    assert len(set(composed)) <= 7
    reporter.cleanup()


def test_a_run_of_no_cycles_is_an_empty_graph(recording: Recording, tmp_path: Path) -> None:
    """A job stopped at once leaves a file that opens."""
    assert len(nx.read_gexf(replay(FamilyTreeReporter(), tmp_path / "job", recording, []))) == 0


def test_parents_of_several_steps_in_one_cycle_are_composed() -> None:
    """Decisions may be taken in steps; the parent is the walker before the first."""

    def row(decision: int, targets: list[int], step: int, walker: int) -> dict[str, Any]:
        return {
            "decision_id": np.array([decision]),
            "target_idxs": np.array(targets),
            "step_idx": np.array([step]),
            "walker_idx": np.array([walker]),
        }

    # Step 0: 0 is cloned into slots 0 and 1, 1 is squashed into 2.
    # Step 1: 1 (come from 0) is cloned into 1 and 2, 2 is squashed into 0.
    records = [
        row(2, [0, 1], 0, 0),
        row(3, [2], 0, 1),
        row(4, [2], 0, 2),
        row(4, [0], 1, 0),
        row(2, [1, 2], 1, 1),
        row(3, [0], 1, 2),
    ]
    assert parents(records, 3) == [0, 0, 0]
    assert parents(records[:3], 3) == [0, 0, 2]
    assert parents([], 3) == [0, 1, 2]


def test_resamplers_record_parents_as_the_tree_reads_them(recording: Recording) -> None:
    """Survivors keep their slots, so readers that apply the map twice come out right."""
    for report in recording.reports:
        found = parents(report["resampling_data"], 8)
        assert [found[parent] for parent in found] == found
