"""R1: the end hash is a function of start, configuration, seed, steps and cycles alone."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import (
    Recorder,
    pair_apparatus,
    pair_snapshot,
    plain_configuration,
    python,
    run_job,
    salt_apparatus,
)
from wepystore.api import (
    DashboardReporter,
    FamilyTreeReporter,
    HDF5Reporter,
    InitTopologyReporter,
    Prepared,
    ProcessMapper,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    WalkerReporter,
    load_run,
    load_snapshot,
    prepare_store,
    save_configuration,
)
from wepystore.engine.runners.openmm import simulation
from wepystore.engine.runners.openmm.seeding import ReinitializingSeeder
from wepystore.engine.runners.openmm.transfer import DocumentedTransfer
from wepystore.orchestrator.run.resume import resume


@pytest.fixture(scope="module")
def salt_store(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Four small boxes of charged particles with PME, on the CPU platform."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    path: Path = tmp_path_factory.mktemp("salt") / "salt.orch"
    return prepare_store(path, snapshot, plain_configuration())


@pytest.fixture(params=["pair_store", "salt_store"])
def made(request: pytest.FixtureRequest) -> Prepared:
    """The pair on Reference, and PME on CPU."""
    prepared: Prepared = request.getfixturevalue(request.param)
    return prepared


def end_of(made: Prepared, job: Path, **options: Any) -> str:
    return run_job(made.store, made.snapshot_hash, job, **options).end


SCRIPT = """
import sys
from pathlib import Path
from tests.systems import run_job
from wepystore.api import Store
print(run_job(Store.open(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), n_cycles=6,
              n_workers=int(sys.argv[4])).end)
"""


def test_workers_processes_and_hosts_change_nothing(made: Prepared, tmp_path: Path) -> None:
    """Serial and some workers, in this process and in others with another hash seed and another
    number of cores to see: one end hash, and clones and merges on the way."""
    found = {
        f"{n} here": end_of(made, tmp_path / f"here{n}", n_cycles=6, n_workers=n) for n in (1, 3)
    }
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    for n, threads in (("1", "2"), ("2", "5")):
        found[f"{n} there"] = python(
            script,
            made.store.path,
            made.snapshot_hash,
            tmp_path / f"there{n}",
            n,
            PYTHONHASHSEED="5",
            OPENMM_CPU_THREADS=threads,
        )
    assert len(set(found.values())) == 1, found
    end = load_snapshot(Store.open(tmp_path / "here1" / "checkpoint.orch"), found["1 here"])
    assert len({walker.weight for walker in end.walkers}) > 1


MINIMISED = """
import openmm
import os
from tests.systems import salt_system
os.environ["OPENMM_CPU_THREADS"] = "3"
system, state = salt_system()
cpu = openmm.Platform.getPlatformByName("CPU")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), cpu)
context.setPositions(state["positions"])
openmm.LocalEnergyMinimizer.minimize(context)
"""


def test_a_process_that_has_minimised_changes_nothing(salt_store: Prepared, tmp_path: Path) -> None:
    """OpenMM keeps the number of PME's threads that it found first; who has used some before a
    run in the same process, as a notebook does, gets the bits of one thread all the same."""
    script = tmp_path / "run.py"
    script.write_text(MINIMISED + SCRIPT)
    store, md5 = salt_store.store.path, salt_store.snapshot_hash
    for n in ("1", "2"):
        there = python(script, store, md5, tmp_path / f"there{n}", n)
        assert there == end_of(salt_store, tmp_path / f"here{n}", n_cycles=6)
    assert load_record(tmp_path / "there1") == load_record(tmp_path / "here1") == (True, 1)


def load_record(job: Path) -> tuple[bool, int | None]:
    store = Store.open(job / "checkpoint.orch")
    record = load_run(store, store.hashes("runs")[-1])
    return record.reproducible, record.execution.n_workers


def test_a_process_mapper_of_the_configuration_changes_nothing(
    made: Prepared, tmp_path: Path
) -> None:
    """The mapper is part of the configuration, not of the result."""
    store = Store.open(shutil.copytree(made.store.path, tmp_path / "own.orch"))
    configs = [
        save_configuration(store, plain_configuration(mapper))
        for mapper in (SerialMapper(), ProcessMapper(2))
    ]
    ends = [
        run_job(store, made.snapshot_hash, tmp_path / config, configuration=config).end
        for config in configs
    ]
    assert ends[0] == ends[1]


def test_reporters_change_nothing(pair_store: Prepared, tmp_path: Path) -> None:
    """All reporters, in any order, none, or one that draws random numbers: one end hash."""
    full = [
        HDF5Reporter(),
        DashboardReporter(),
        InitTopologyReporter(),
        WalkerReporter(),
        FamilyTreeReporter(),
    ]
    ends = set()
    for number, reporters in enumerate(([], full, full[::-1], [Noisy()])):
        made = prepare_store(
            tmp_path / f"{number}.orch", pair_snapshot(), plain_configuration(reporters=reporters)
        )
        assert made.snapshot_hash == pair_store.snapshot_hash
        ends.add(end_of(made, tmp_path / f"job{number}"))
    assert len(ends) == 1


class Noisy:
    """A user's reporter that uses the global generators."""

    def init(self, **kwargs: Any) -> None: ...

    def report(self, **kwargs: Any) -> None:
        import random

        import numpy as np

        random.seed(np.random.randint(1000))

    def cleanup(self, **kwargs: Any) -> None: ...


def test_checkpoints_and_watchers_change_nothing(made: Prepared, tmp_path: Path) -> None:
    """Nor does the time left, as long as the number of cycles is the same."""
    plain = end_of(made, tmp_path / "a")
    assert plain == end_of(made, tmp_path / "b", checkpoint_freq=1, narration="x", job_name="y")
    assert plain == end_of(made, tmp_path / "c", seconds=1e4, watcher=Recorder())


def test_seed_steps_and_cycles_do_change_it(made: Prepared, tmp_path: Path) -> None:
    """What the result is a function of, it depends on."""
    ends = [
        end_of(made, tmp_path / str(k), **options)
        for k, options in enumerate(({}, {"seed": 2}, {"n_steps": 11}, {"n_cycles": 4}))
    ]
    assert len(set(ends)) == 4


def test_a_drawn_seed_repeats_the_run(pair_store: Prepared, tmp_path: Path) -> None:
    """Without --seed one is drawn; given again, it gives the same end."""
    first = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "a", seed=None)
    other = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "b", seed=None)
    assert first.seed != other.seed
    assert first.end == end_of(pair_store, tmp_path / "c", seed=first.seed)


def test_both_transfers_give_one_end(
    pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast way on Reference is the documented way, over a whole run."""
    fast = end_of(pair_store, tmp_path / "fast", n_cycles=5)
    monkeypatch.setattr(
        simulation,
        "choose_transfer",
        lambda context, state: DocumentedTransfer(context, ReinitializingSeeder(context)),
    )
    assert end_of(pair_store, tmp_path / "slow", n_cycles=5) == fast


def test_pieces_of_segments_change_nothing(
    made: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a segment is interrupted to look at signals."""
    whole = end_of(made, tmp_path / "whole", n_steps=40)
    monkeypatch.setattr(simulation, "_STEP_PIECE_S", 1e-9)
    assert end_of(made, tmp_path / "pieces", n_steps=40) == whole


def test_a_continuation_with_the_same_seed_draws_other_numbers(
    pair_store: Prepared, tmp_path: Path
) -> None:
    """Otherwise the same noise would come twice along one trajectory."""
    first = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "a", n_cycles=1)
    store = Store.open(tmp_path / "a" / "checkpoint.orch")
    second = run_job(store, first.end, tmp_path / "b", n_cycles=1)
    assert second.start == first.end
    once = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "c", n_cycles=2)
    assert second.end != once.end
    # And it is reproducible itself.
    assert run_job(store, first.end, tmp_path / "d", n_cycles=1).end == second.end


def test_the_record_says_where_it_is_not_reproducible(tmp_path: Path) -> None:
    """A user's runner that makes no promise gets none."""
    from tests.engine.mappers.test_mappers import Adder
    from wepystore.api import NoResampler, WalkerState

    class Promising(Adder):
        def pre_cycle(self, **kwargs: Any) -> None: ...

        def post_cycle(self, **kwargs: Any) -> None: ...

        def run_segment(self, walker: Any, length: int, **kwargs: Any) -> Any:
            return Walker(WalkerState(x=walker.state["x"] + length), walker.weight)

    apparatus = pair_apparatus(
        runner=Promising(), boundary_conditions=None, resampler=NoResampler()
    )
    made = prepare_store(
        tmp_path / "x.orch",
        Snapshot([Walker(WalkerState(x=[0.0]), 1.0)], apparatus),
        plain_configuration(),
    )
    outcome = run_job(made.store, made.snapshot_hash, tmp_path / "job")
    store = Store.open(tmp_path / "job" / "checkpoint.orch")
    assert outcome.reproducible is False
    assert load_run(store, store.hashes("runs")[0]).reproducible is False
    assert float(load_snapshot(store, outcome.end).walkers[0].state["x"][0]) == 30.0


@pytest.mark.parametrize(("field", "mixed"), [("numpy", True), ("python", False)])
def test_sessions_with_random_streams_of_two_kinds_promise_nothing(
    field: str, mixed: bool, pair_store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release of numpy may draw other numbers from the same seed: no one repetition need
    end as a run of which it did a part. Of Python's release nothing depends."""
    job = tmp_path / "job"
    run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=2)
    if field == "numpy":
        monkeypatch.setattr(np, "__version__", "9.9")
    else:
        monkeypatch.setattr(platform, "python_version", lambda: "9.9")
    outcome = resume(job, {"n_cycles": 4}, Recorder())
    store = Store.open(job / "checkpoint.orch")
    record = max((load_run(store, md5) for md5 in store.hashes("runs")), key=lambda r: r.n_cycles)
    assert record.execution.resumed_from[-1]["differs"] == [field]
    assert outcome.reproducible is record.reproducible is not mixed
