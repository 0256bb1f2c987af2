"""Numbers that a stranger's snapshot, configuration, record or job gives are bounded by sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import pair_snapshot, plain_configuration, run_job
from wepystore.api import DaskMapper, ProcessMapper, SerialMapper, prepare_store
from wepystore.engine.errors import ComponentError
from wepystore.errors import DamagedError
from wepystore.orchestrator.errors import MalformedJobError
from wepystore.orchestrator.job.job import SPEC, JobSpec
from wepystore.orchestrator.run.mapping import choose_mapper, useful_workers
from wepystore.records import npy
from wepystore.records.library import load_run
from wepystore.records.sinks import Memory
from wepystore.records.values import decode_states
from wepystore.reporters.dashboard import DashboardReporter
from wepystore.reporters.dashboard_state import read_lines, state_path
from wepystore.reporters.family_tree import FamilyTreeReporter, gexf
from wepystore.store import canonical


@pytest.mark.parametrize(
    ("mapper", "asked", "started"),
    [
        (ProcessMapper(24), None, 3),
        (ProcessMapper(2), None, 2),
        (ProcessMapper(None, [{"Threads": "1"}] * 24), None, 3),
        (ProcessMapper(2), 24, 3),
        (ProcessMapper(24), 2, 2),
        (choose_mapper(DaskMapper(n_workers=24), None), None, 3),
        (SerialMapper(), 24, 3),
        (SerialMapper(), None, None),
        # A cluster's workers are there in any case.
        (DaskMapper("tcp://x:1"), None, None),
        (DaskMapper("tcp://x:1", 24), 24, 3),
    ],
)
def test_no_more_workers_than_walkers(mapper: Any, asked: int | None, started: int | None) -> None:
    """Whoever asked for them: the configuration, properties for each, `--n-workers`."""
    assert useful_workers(asked, 3, mapper) == started


def test_a_run_starts_no_more(tmp_path: Path) -> None:
    """Of a stored configuration with 24 workers and two walkers: two are started, as the dashboard
    and the record say."""
    configuration = plain_configuration(ProcessMapper(24), [DashboardReporter()])
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(2), configuration)
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=1)
    (page,) = (tmp_path / "job").glob("*.dash.org")
    (*_, line) = read_lines(state_path(str(page)), str(page))
    workers = json.loads(line)["totals"]["workers"]
    assert sorted(workers) == ["0", "1"]
    inner = type(made.store).open(tmp_path / "job" / "checkpoint.orch")
    (run,) = inner.hashes("runs")
    assert load_run(inner, run).execution.n_workers == 2


@pytest.mark.parametrize("number", [10**12, 10**400, 10_001, 0, -1, True, 2.0, "2"])
def test_workers_that_no_machine_has(number: Any) -> None:
    """Are refused where a mapper is made, and so where one is decoded."""
    for make in (ProcessMapper, lambda n: DaskMapper(n_workers=n)):
        with pytest.raises(ComponentError, match="n_workers must be a whole number"):
            make(number)
    with pytest.raises(ComponentError, match="n_workers must be"):
        ProcessMapper(None, [{}] * 10_001)


def test_numbers_of_a_job_and_a_record(tmp_path: Path) -> None:
    """Cycles, steps, workers and seeds beyond what `wepy run` takes are refused in job.json and in
    a run record."""
    made = prepare_store(tmp_path / "s.orch", pair_snapshot(2), plain_configuration())
    run_job(made.store, made.snapshot_hash, tmp_path / "job", n_cycles=1)
    file = tmp_path / "job" / SPEC
    good = json.loads(file.read_bytes())
    inner = type(made.store).open(tmp_path / "job" / "checkpoint.orch")
    (run,) = inner.hashes("runs")
    record: Any = inner.manifest("runs", run)
    for name in ("n_cycles", "n_steps", "n_workers", "checkpoint_freq", "seed"):
        most = 2**63 - 1 if name == "seed" else 10**12
        file.write_bytes(canonical.dumps({**good, name: most}))
        assert getattr(JobSpec.read(file).request, name) == most
        for number in (most + 1, 10**400):
            file.write_bytes(canonical.dumps({**good, name: number}))
            with pytest.raises(MalformedJobError, match=f"its {name} is"):
                JobSpec.read(file)
            if name in record:
                md5 = inner.put("runs", canonical.dumps({**record, name: number})).md5
                with pytest.raises(DamagedError, match=f"{name} is"):
                    load_run(inner, md5)


def test_states_of_nothing_are_not_counted_out() -> None:
    """A stack of 10^12 states of no numbers is 128 bytes long: no more states than walkers."""
    memory = Memory()
    for n_states in (10**12, 3, 0, -1, True, 2.0):
        ref = memory.put("objects", npy.header((max(0, int(n_states)), 0), "<f8"))
        group = {"n_states": n_states, "fields": {"x": ref.to_json()}}
        value = {"index": [0, 0], "groups": [group]}
        with pytest.raises(DamagedError, match="states"):
            decode_states(value, lambda ref: memory.entries["objects", ref.md5], "it")
    ref = memory.put("objects", npy.stack_buffers([np.zeros(3)], "x"))
    group = {"n_states": 1, "fields": {"x": ref.to_json()}}
    value = {"index": [0], "groups": [group] * 10**5}
    with pytest.raises(DamagedError, match="too few walkers"):
        decode_states(value, lambda ref: memory.entries["objects", ref.md5], "it")


@pytest.mark.parametrize(
    "change",
    [
        {"totals": {"wall_s": "x", "n_cycles": 1}},
        {"totals": {"n_cycles": 1, "n_steps": 10**400}},
        {"totals": {"n_cycles": 1, "parts_s": {"a": "b"}}},
        {"totals": {"n_cycles": 1, "workers": {"a": [1]}}},
        {"totals": {"n_cycles": 1, "extremes": {"a": 3}}},
        {"totals": {"n_cycles": 1}, "warps": [[1]]},
        {"totals": {"n_cycles": 1}, "warps": ["abcd"]},
        {"totals": {"n_cycles": 1}, "now": {"a": [1]}},
        {"totals": []},
    ],
)
def test_a_dashboard_that_lies_is_counted_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    """Figures of another kind in the page of a stranger's job are passed over."""
    state = {"warps": [], "since": 0, "n_steps": 5, "now": {}, **change}
    (tmp_path / "j.dash.org").write_text(f"# wepystore-state: {json.dumps(state)}\n")
    reporter = DashboardReporter()
    reporter.bind(tmp_path / "j")
    reporter.resume(1)
    reporter.init(init_walkers=pair_snapshot(2).walkers)
    reporter.cleanup()
    assert "from cycle 1 on" in (tmp_path / "j.dash.org").read_text()


def test_a_tree_that_lies_is_refused(tmp_path: Path) -> None:
    """What says that it holds as many cycles as any job may have: they are not counted out."""
    snapshot = pair_snapshot(2)
    reporter = FamilyTreeReporter()
    reporter.bind(tmp_path / "j")
    reporter.init(init_walkers=snapshot.walkers)
    reporter.report(cycle_idx=0, new_walkers=snapshot.walkers)
    reporter.cleanup()
    spool = tmp_path / ".j.restree.gexf.spool"
    header, data = spool.read_bytes()[:1024], spool.read_bytes()[1024:]
    rows = np.frombuffer(data, gexf.row_dtype(0)).copy()
    rows["cycle"][-1] = 10**12 - 1
    for row in (rows[:1], rows[1:]):
        gexf.seal(row)
    spool.write_bytes(header + rows.tobytes())
    again = FamilyTreeReporter()
    again.bind(tmp_path / "j")
    again.resume(10**12)
    with pytest.raises(OSError, match="what it holds of cycle 1 is damaged"):
        again.init(init_walkers=snapshot.walkers)
