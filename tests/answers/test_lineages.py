"""Lineages: every step of one is where the state truly came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest

from tests.answers.made import EMPTY, INT, RESAMPLING, WARPING, tables_of, tables_of_run
from tests.reporters.recorded import Recording, record, replay
from wepystore.answers.lineages import Lineage, Lineages
from wepystore.api import NoSuchWalkerError, NoSuchWarpError, UntraceableError
from wepystore.engine.record_tables import RecordField, parents
from wepystore.errors import DamagedError, FailedError
from wepystore.records.recording import Layout, buffers_of
from wepystore.records.tables import RunTables
from wepystore.reporters.family_tree import FamilyTreeReporter

N_CYCLES, N_WALKERS = 40, 8


@pytest.fixture(scope="module")
def shown() -> Recording:
    return record(N_CYCLES, N_WALKERS)


@pytest.fixture(scope="module")
def lineages(shown: Recording) -> Lineages:
    """Of the run as one."""
    return Lineages(tables_of_run(shown))


def path_of(lineage: Lineage) -> list[tuple[int, int]]:
    """Cycles, as they are counted through, and walkers."""
    return [*zip(lineage.joined_cycle.tolist(), lineage.walker.tolist(), strict=True)]


def test_a_lineage_goes_where_the_states_went(lineages: Lineages, shown: Recording) -> None:
    """The states themselves say whose each was; a state that nobody had before is where a lineage
    begins anew. The weights are those after the segments."""
    before: dict[tuple[int, int], int | None] = {}
    for report in shown.reports:
        places = {id(walker.state): i for i, walker in enumerate(report["new_walkers"])}
        for slot, walker in enumerate(report["resampled_walkers"]):
            before[report["cycle_idx"] + 1, slot] = places.get(id(walker.state))
    some_anew = 0
    for cycle in range(N_CYCLES):
        for walker in range(N_WALKERS):
            expected, at = [(cycle, walker)], walker
            while expected[0][0] and (parent := before[expected[0][0], at]) is not None:
                expected.insert(0, (expected[0][0] - 1, parent))
                at = parent
            found = lineages.of(walker, cycle)
            assert path_of(found) == expected
            assert found.begins_anew == (expected[0][0] > 0)
            some_anew += found.begins_anew
            told = [shown.reports[c]["new_walkers"][w].weight for c, w in expected]
            assert found.weight.tolist() == told
    assert some_anew


def test_lineages_are_the_paths_of_the_family_tree(
    lineages: Lineages, shown: Recording, tmp_path: Any
) -> None:
    """What the file of the reporter says, for every walker of every cycle."""
    tree = nx.read_gexf(replay(FamilyTreeReporter(), tmp_path / "job", shown))
    for node in tree:
        cycle, walker = map(int, node.split("-"))
        expected = [node]
        while above := [*tree.predecessors(expected[0])]:
            expected = above + expected
        assert [f"{c}-{w}" for c, w in path_of(lineages.of(walker, cycle))] == expected


def test_through_warps_a_lineage_goes_back_to_the_start(lineages: Lineages) -> None:
    """The walker before a warp is then the parent of those that begin anew."""
    for warp in range(len(lineages.warps)):
        cycle, walker = lineages.warps.cycle[warp], lineages.warps.walker[warp]
        whole = lineages.of(walker, cycle, through_warps=True)
        short = lineages.of_warp(warp)
        assert path_of(whole)[-len(short) :] == path_of(short)
        assert len(whole) == cycle + 1 and not whole.begins_anew
        if short.begins_anew:
            above, anew = path_of(whole)[-len(short) - 1], short.joined_cycle[0]
            assert above[0] == anew - 1
            warped = {
                *zip(lineages.warps.cycle.tolist(), lineages.warps.walker.tolist(), strict=True)
            }
            assert above in warped
    assert any(lineages.of_warp(k).begins_anew for k in range(len(lineages.warps)))


def test_arrivals_by_number_and_by_weight(lineages: Lineages, shown: Recording) -> None:
    """In the order of the records, and the heaviest first."""
    warps = [(r["cycle_idx"], warp) for r in shown.reports for warp in r["warp_data"]]
    assert len(lineages.warps) == len(warps) > 3
    for k, (cycle, warp) in enumerate(warps):
        found = lineages.of_warp(k)
        assert path_of(found)[-1] == (cycle, warp["walker_idx"].item())
        assert found.weight[-1] == warp["weight"].item()
        assert (found.warp, found.target) == (k, warp["target_idx"].item())
    assert path_of(lineages.of_warp(-1)) == path_of(lineages.of_warp(len(warps) - 1))
    heaviest = lineages.heaviest_arrivals(3)
    expected = sorted((warp["weight"].item() for _, warp in warps), reverse=True)[:3]
    assert [each.weight[-1] for each in heaviest] == expected
    assert len(lineages.heaviest_arrivals(10**6)) == len(warps)
    assert lineages.heaviest_arrivals(0) == lineages.heaviest_arrivals(-1) == []
    assert lineages.heaviest_arrivals(2, target=7) == []
    cycle_weights = [walker.weight for walker in shown.reports[-1]["new_walkers"]]
    assert lineages.heaviest_walker() == int(np.argmax(cycle_weights))


def test_lineages_go_through_continued_runs(lineages: Lineages, shown: Recording) -> None:
    """Wherever a run ended and another began: each cycle with the run that it is of, and its number
    there."""
    for lengths in ((13, 27), (1, 5, 34), (5, 30, 4, 1)):
        joined = Lineages(tables_of_run(shown, lengths))
        firsts = np.cumsum([0, *lengths])
        for walker in range(N_WALKERS):
            found, whole = joined.of(walker), lineages.of(walker)
            assert path_of(found) == path_of(whole)
            assert found.weight.tolist() == whole.weight.tolist()
            runs = [int(found.runs[k]) for k in found.run]
            told = [int(firsts[run] + c) for run, c in zip(runs, found.cycle, strict=True)]
            assert told == found.joined_cycle.tolist()
            assert [*found.runs] == [*dict.fromkeys(map(str, runs))]
            assert all(c < lengths[run] for run, c in zip(runs, found.cycle, strict=True))


def made_up(rng: np.random.Generator, n_cycles: int) -> tuple[list[Any], list[dict[str, Any]]]:
    """Cycles with more and fewer walkers, in up to three steps, some without records."""
    n_walkers, weights, records = 4, [], []
    for _ in range(n_cycles):
        weights.append(np.full(n_walkers, 1 / n_walkers))
        told: list[dict[str, Any]] = []
        for step in sorted(rng.permutation(5)[: rng.integers(4)].tolist()):
            n_slots = int(rng.integers(2, 7))
            slots = rng.permutation(n_slots)
            owners = rng.integers(n_walkers, size=n_slots)
            for walker in range(n_walkers):
                mine = slots[owners == walker]
                number = 3 if not len(mine) else 2
                told.append(
                    {
                        "decision_id": number,
                        "step_idx": step,
                        "walker_idx": walker,
                        "target_idxs": [0] if number == 3 else mine,
                    }
                )
            n_walkers = n_slots
        records.append({"resampling": [told[k] for k in rng.permutation(len(told))], "warping": []})
    return weights, records


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_a_cycle_are_composed(seed: int) -> None:
    """Whatever the order of the records, with walkers that come and go: as the engine's own way
    to read them one cycle after the other."""
    weights, records = made_up(np.random.default_rng(seed), 30)
    found = Lineages(tables_of(weights, records)).parents
    expected = [np.full(len(weights[0]), -1)]
    for each, here, after in zip(records, weights, weights[1:], strict=False):
        expected.append(np.array(parents(each["resampling"], len(here)), int))
        assert len(expected[-1]) == len(after)
    assert found.tolist() == np.concatenate(expected).tolist()


def resampled(**change: Any) -> dict[str, Any]:
    """Two walkers that change places."""
    rows = [
        {"decision_id": [1], "step_idx": [0], "walker_idx": [k], "target_idxs": [1 - k]}
        for k in (0, 1)
    ]
    return {**EMPTY, "resampling": [{**row, **change} for row in rows]}


TWO = [np.array([0.5, 0.5])] * 2


def of_two(first: dict[str, Any], without: str = "", **change: RecordField) -> Lineages:
    """Of two cycles, the first with these records, by a component that does not declare a field, or
    declares another one."""
    fields = [change.get(f.name, f) for f in RESAMPLING if f.name != without]
    layout = Layout({"resampling": fields, "warping": WARPING})
    return Lineages(tables_of(TWO, [first, EMPTY], layout=layout))


def test_what_a_component_does_not_say_is_taken_from_the_order() -> None:
    """Without walker_idx a record is of the walker in its place, without step_idx of one step;
    whether no record has it or only some."""
    assert of_two(resampled()).parents.tolist() == [-1, -1, 1, 0]
    for name in ("walker_idx", "step_idx"):
        assert of_two(resampled(), without=name).parents.tolist() == [-1, -1, 1, 0]
    some = resampled()
    del some["resampling"][1]["walker_idx"]
    assert of_two(some).parents.tolist() == [-1, -1, 1, 0]


def test_what_is_not_told_is_no_parent() -> None:
    """A slot that nobody goes on in, a walker that is not there, a slot beyond all reason."""
    assert of_two(resampled(target_idxs=[0])).parents.tolist() == [-1, -1, 1, -1]
    assert of_two(resampled(walker_idx=[2])).parents.tolist() == [-1, -1, -1, -1]
    for far in (-1, 2, 1 << 40, (1 << 63) - 1):
        assert of_two(resampled(target_idxs=[far])).parents.tolist() == [-1] * 4
        assert of_two(resampled(walker_idx=[far])).parents[0] == -1
    assert not Lineages(tables_of(TWO, [resampled(target_idxs=[5]), EMPTY])).of(0).begins_anew


def step(number: int, **slots: int) -> list[dict[str, Any]]:
    """Records of one step: w0=3 for a walker 0 that goes on in slot 3."""
    rows = [(int(name[1:]), slot) for name, slot in slots.items()]
    told = {"decision_id": 1, "step_idx": number}
    return [{**told, "walker_idx": walker, "target_idxs": [slot]} for walker, slot in rows]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Slots are counted through, and one too far would be one of the next step, or the last.
        (step(0, w0=4, w1=1), step(0, w0=1)),
        ([*step(0, w1=0), *step(1, w5=0, w0=1)], []),
        ([*step(0, w0=5, w1=0), *step(1, w1=1), *step(2, w9=0, w1=1)], []),
    ],
)
def test_slots_beyond_all_are_not_those_of_another_step(first: Any, second: Any) -> None:
    """What a stranger makes up is nobody's parent: walker 0 of the last cycle has none."""
    weights, records = [*TWO, *TWO[:1]], [{**EMPTY, "resampling": first}]
    if second:
        records.append({**EMPTY, "resampling": second})
    n_cycles = len(records) + 1
    records.append(EMPTY)
    assert Lineages(tables_of(weights[:n_cycles], records)).parents[-2] == -1


@pytest.mark.parametrize(
    ("without", "change", "said"),
    [
        ("decision_id", {}, "record no decision_id in resampling"),
        ("target_idxs", {}, "record no target_idxs in resampling"),
        ("", {"walker_idx": RecordField("walker_idx", (2,), INT)}, "walker_idx .* not one number"),
        ("", {"step_idx": RecordField("step_idx", (1,), np.dtype(float))}, "step_idx .* no number"),
        ("", {"step_idx": RecordField("step_idx", None, INT)}, "step_idx .* not one number"),
    ],
)
def test_what_cannot_be_traced_is_said(without: str, change: dict[str, Any], said: str) -> None:
    """Of a component that records something else."""
    rows = resampled()
    for row in rows["resampling"]:
        if "walker_idx" in change:
            row["walker_idx"] = [0, 0]
        if "step_idx" in change:
            row["step_idx"] = [np.nan] if change["step_idx"].dtype.kind == "f" else [0, 0]
    with pytest.raises(UntraceableError, match=said):
        of_two(rows, without, **change)


@pytest.mark.parametrize("walker", [2, -1, 1 << 40])
def test_a_warp_of_nobody_is_damage(walker: int) -> None:
    """Records that a stranger has made up."""
    warps = {**EMPTY, "warping": [{"walker_idx": [walker], "target_idx": [0]}]}
    with pytest.raises(DamagedError, match="warping records are of walkers that are not there"):
        of_two(warps)


def test_warps_without_a_target() -> None:
    """target_idx need not be recorded, but then nobody can ask for it."""
    layout = Layout({"resampling": RESAMPLING, "warping": WARPING[:1]})
    warped = {**EMPTY, "warping": [{"walker_idx": [1]}]}
    found = Lineages(tables_of(TWO, [warped, EMPTY], layout=layout))
    assert found.of_warp(0).target is None and found.of(1).begins_anew
    assert len(found.of(1)) == 1 and len(found.of(0)) == 2
    with pytest.raises(UntraceableError, match="no target_idx"):
        found.heaviest_arrivals(1, target=0)


@pytest.mark.parametrize("dtype", [bool, int])
def test_through_a_warp_that_is_no_jump_a_lineage_goes_on(dtype: type) -> None:
    """Where its record says that it is continuous; where it does not say, it is none."""
    fields = (*WARPING, RecordField("continuous", (1,), np.dtype(dtype)))
    layout = Layout({"resampling": RESAMPLING, "warping": fields})
    warps = [
        {"walker_idx": [0], "target_idx": [0], "continuous": [True]},
        {"walker_idx": [1], "target_idx": [0], "continuous": [False]},
        {"walker_idx": [2], "target_idx": [0]},
    ]
    warped = {**EMPTY, "warping": warps}
    found = Lineages(tables_of([np.full(4, 0.25)] * 2, [warped, EMPTY], layout=layout))
    assert found.warped.tolist() == [False, True, True, False, *[False] * 4]
    assert [len(found.of(walker)) for walker in (0, 1, 3)] == [2, 1, 2]
    assert len(found.warps) == 3 and not found.of(0).begins_anew
    assert len(found.of(1, through_warps=True)) == 2


@pytest.mark.parametrize("cycle", [-1, 1 << 40])
def test_records_of_no_cycle_are_damage(cycle: int) -> None:
    """Numbers of cycles that a stranger has made up, or that are in no order."""
    layout = Layout({"resampling": RESAMPLING, "warping": WARPING})
    tables = tables_of(TWO, [resampled(), EMPTY], layout=layout)
    columns = {**tables.cycles(0, 2)}
    for wrong in ([cycle, cycle], [1, 0]):
        columns["resampling/cycle_idx"] = np.array(wrong)
        data = b"".join(map(bytes, buffers_of(columns)))
        strange = RunTables([("0", tables.recording, 2)], lambda ref, data=data: data)
        with pytest.raises(DamagedError, match="not of its cycles, one after the other"):
            Lineages(strange)


def test_who_is_not_there(lineages: Lineages) -> None:
    """Errors name what there is."""
    for walker, cycle, said in (
        (8, -1, "has no walker 8 in cycle 39: there are walkers 0 to 7"),
        (-1, 3, "has no walker -1 in cycle 3"),
        (0, 40, "cycle 40: there are cycles 0 to 39"),
        (0, -41, "cycle -41: there are cycles 0 to 39"),
    ):
        with pytest.raises(NoSuchWalkerError, match=said):
            lineages.of(walker, cycle)
    n_warps = len(lineages.warps)
    for warp in (n_warps, -n_warps - 1):
        with pytest.raises(NoSuchWarpError, match=f"warp {warp}: there are warps 0 to"):
            lineages.of_warp(warp)
    nothing = Lineages(tables_of([], []))
    with pytest.raises(NoSuchWalkerError, match="there are no cycles"):
        nothing.heaviest_walker()
    with pytest.raises(FailedError, match="no walker was warped"):
        nothing.of_warp(0)


def test_they_show_themselves(lineages: Lineages, shown: Recording) -> None:
    """In a terminal and in a notebook, and what came from a stranger is escaped."""
    text = repr(lineages)
    assert text == f"<Lineages: 40 cycles; {len(lineages.warps)} warps>"
    found = Lineages(tables_of_run(shown, (13, 27))).of(2, 30, through_warps=True)
    assert repr(found).startswith("<Lineage: 31 cycles of 2 runs; to walker 2 in cycle 30, weight ")
    page = found._repr_html_()
    assert page.count("<tr>") == 12 and "…" in page
    assert "<script" not in replace(found, runs=("<script>", "1"))._repr_html_()
    assert "begun anew after a warp" in repr(
        next(each for k in range(N_WALKERS) if (each := lineages.of(k)).begins_anew)
    )
