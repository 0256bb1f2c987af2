"""wepystore.api does what the command line does: run, resume, verify, reconcile, read."""

from __future__ import annotations

import inspect
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import pair_apparatus, pair_snapshot, plain_configuration, tree_of
from wepystore import api
from wepystore.api import (
    Distance,
    HDF5Reporter,
    JobExistsError,
    Manager,
    NoBC,
    Prepared,
    Progress,
    RequestError,
    Resampler,
    Snapshot,
    Store,
    UnfitError,
    UnknownHashError,
    UntrustedError,
    UsageError,
    Walker,
    Watcher,
    WepystoreError,
    WExploreResampler,
    WrongPartError,
    hash_of,
    load_configuration,
    load_run,
    load_snapshot,
    plan_reconcile,
    reconcile,
    resume,
    run,
    verify,
)
from wepystore.orchestrator.run.request import Means, RunRequest
from wepystore.records import bundle

__all__ = ["wepy"]

SHORT: dict[str, Any] = {"n_steps": 10, "n_cycles": 3}


class Mine(Distance):
    """A user's own distance."""

    def image(self, state: Any) -> Any:
        return state["positions"][1, :1] - state["positions"][0, :1]

    def image_distance(self, image_a: Any, image_b: Any) -> float:
        return float(np.abs(image_a - image_b)[0])


def own_snapshot() -> Snapshot:
    resampler = WExploreResampler(
        Mine(), max_n_regions=(10, 10), max_region_sizes=(0.02, 0.005), pmax=0.5
    )
    return pair_snapshot(apparatus=pair_apparatus(resampler=resampler))


@pytest.mark.parametrize("made", [pair_snapshot, own_snapshot])
def test_a_loop_over_seeds(made: Any, tmp_path: Path) -> None:
    """One snapshot begins any number of runs, and neither it nor the configuration is changed by
    them: not their walkers, not the resampler's regions, not the reporters."""
    snapshot, configuration = made(), plain_configuration(reporters=[HDF5Reporter()])
    before = hash_of(snapshot), hash_of(configuration)
    ends = []
    for k, seed in enumerate((1, 2, 1)):
        done = run(snapshot, configuration, seed=seed, job_dir=tmp_path / f"{k}", **SHORT)
        assert done.complete and done.start == before[0]
        assert (done.job_dir / f"{done.start}.wepy.h5").exists()
        ends.append(done.end)
    assert ends[0] == ends[2] != ends[1]
    assert (hash_of(snapshot), hash_of(configuration)) == before
    assert len(snapshot.walkers) == 6
    assert not snapshot.apparatus.resampler.state()


def test_it_is_the_run_of_the_command_line(
    pair_store: Prepared, tmp_path: Path, wepy: Wepy
) -> None:
    """From a store, by name; from the objects; from exported files; and by `wepy run`: one end."""
    store, md5 = pair_store.store, pair_store.snapshot_hash
    snapshot = load_snapshot(store, md5)
    configuration = load_configuration(store, pair_store.config_hash)
    bundle.save(snapshot, tmp_path / "s")
    bundle.save(configuration, tmp_path / "c")
    line = wepy("run orch --seed=5 --n-cycles=3 --job-dir=typed", store.path, "default", 100, 10)
    expected = line.lines[-1].split(", ")[-1]
    for k, (start, more) in enumerate(
        [
            ("default", {"store": store}),
            (md5[:8], {"store": str(store.path), "configuration": configuration}),
            (snapshot, {"configuration": configuration}),
            (tmp_path / "s", {"configuration": str(tmp_path / "c")}),
        ]
    ):
        assert run(start, seed=5, job_dir=f"{k}", **more, **SHORT).end == expected
    record = load_run(
        Store.open("0/checkpoint.orch"), Store.open("0/checkpoint.orch").hashes("runs")[0]
    )
    assert (record.n_cycles, record.seed) == (3, 5)


class Counting(Watcher):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.cycles: list[int] = []

    def cycle_done(self, progress: Progress) -> None:
        self.cycles.append(progress.n_cycles_done)


def test_resume_verify_and_reconcile(pair_store: Prepared, tmp_path: Path) -> None:
    """Longer by two cycles: the end of a run that had them at once. It is repeated to the bit, and
    brought where it is to be kept."""
    job, seen = tmp_path / "job", Counting()
    first = run("default", store=pair_store.store, seed=2, job_dir=job, watcher=seen, **SHORT)
    done = resume(str(job), n_cycles=5, watcher=seen)
    assert seen.cycles == [1, 2, 3, 4, 5]
    at_once = run(
        "default", store=pair_store.store, seed=2, n_steps=10, n_cycles=5, job_dir=tmp_path / "1"
    )
    assert done.end == at_once.end != first.end
    verdict = verify(done.store, done.record or "", n_workers=1)
    assert verdict.reproduced and verdict.end == done.end
    target = tmp_path / "kept.orch"
    before = tree_of(tmp_path)
    plan = plan_reconcile(target, done.store, at_once.store)
    assert tree_of(tmp_path) == before
    outcome = reconcile(target, done.store, at_once.store)
    assert not outcome.left and not outcome.conflicts
    assert len(outcome.entries) == len(plan.entries) > 0
    assert done.end in Store.open(target).hashes("snapshots")
    assert not reconcile(target, done.store).entries


def test_in_a_thread(pair_store: Prepared, tmp_path: Path) -> None:
    """Signals belong to the main thread; a run does without them elsewhere."""
    ends = []

    def work() -> None:
        ends.append(
            run("default", store=pair_store.store, seed=2, job_dir=tmp_path / "a", **SHORT).end
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ends == [
        run("default", store=pair_store.store, seed=2, job_dir=tmp_path / "b", **SHORT).end
    ]


def test_manager(tmp_path: Path) -> None:
    """The two lines that wepy's examples end in; each call is a run that is recorded."""
    start = pair_snapshot()
    parts = start.apparatus
    manager = Manager(
        start.walkers,
        runner=parts.runner,
        resampler=parts.resampler,
        boundary_conditions=parts.boundary_conditions,
    )
    walkers, (runner, boundary, resampler) = manager.run_simulation(
        3, 10, seed=1, job_dir=tmp_path / "one"
    )
    assert len(walkers) == 6 and sum(walker.weight for walker in walkers) == pytest.approx(1)
    assert type(runner) is type(parts.runner) and type(boundary) is type(parts.boundary_conditions)
    assert resampler.state() and not parts.resampler.state()
    again, _ = manager.run_simulation(3, [10, 10, 10], seed=1, job_dir=tmp_path / "two")
    assert [w.state.equals(v.state) for w, v in zip(walkers, again, strict=True)] == [True] * 6
    with pytest.raises(UnfitError, match="different lengths"):
        manager.run_simulation(2, [10, 20])
    plain = Manager([Walker(start.walkers[0].state, 1.0)], parts.runner)
    assert type(plain.snapshot.apparatus.boundary_conditions) is NoBC


def test_mistakes_are_errors_that_say_so(pair_store: Prepared, tmp_path: Path) -> None:
    """Below WepystoreError, by kind, or Python's own; nothing is written."""
    snapshot, configuration = pair_snapshot(), plain_configuration()
    job = tmp_path / "job"
    for wrong, options in (
        (RequestError, {"n_steps": 0, "n_cycles": 3}),
        (RequestError, {"n_steps": 10, "n_cycles": "3"}),
        # It would never end.
        (RequestError, {"n_steps": 10}),
        (RequestError, {"n_steps": 10, "n_cycles": None}),
        (UsageError, {"n_steps": 10, "n_cycles": 3, "job_name": "a/b"}),
        (TypeError, {"n_steps": 10, "n_cycels": 3}),
        (TypeError, {"n_cycles": 3}),
    ):
        with pytest.raises(wrong):
            run(snapshot, configuration, job_dir=job, **options)
    with pytest.raises(WrongPartError, match="configuration"):
        run(snapshot, snapshot, job_dir=job, **SHORT)  # type: ignore[arg-type]
    with pytest.raises(WrongPartError, match="snapshot"):
        run(configuration, snapshot, job_dir=job, **SHORT)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="without a store takes two files"):
        run("default", job_dir=job, **SHORT)
    with pytest.raises(WepystoreError):
        run("no such tag", store=pair_store.store, job_dir=job, **SHORT)
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "no file", tmp_path / "nor this", job_dir=job, **SHORT)
    with pytest.raises(WepystoreError):
        resume(job)
    with pytest.raises(UnknownHashError):
        verify(pair_store.store, "0" * 32)
    assert not job.exists()
    run(snapshot, configuration, job_dir=job, **SHORT)
    with pytest.raises(JobExistsError):
        run(snapshot, configuration, job_dir=job, **SHORT)
    with pytest.raises(TypeError, match="n_steps"):
        resume(job, n_steps=20)
    with pytest.raises(RequestError, match="n_cycles is '5'"):
        resume(job, n_cycles="5")


def test_what_is_not_trusted_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is asked for trust, as by `wepy run`; objects in memory are the caller's own."""
    store = Store.create(tmp_path / "s.orch")
    md5 = api.save_snapshot(store, own_snapshot())
    api.save_configuration(store, plain_configuration())
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "nobody"))
    with pytest.raises(UntrustedError):
        run(md5, store=store, job_dir=tmp_path / "job", **SHORT)
    run(own_snapshot(), plain_configuration(), job_dir=tmp_path / "job", **SHORT)


@pytest.mark.parametrize(
    ("function", "request_"), [(run, RunRequest), (resume, RunRequest), (verify, Means)]
)
def test_help_is_a_reference(function: Any, request_: type[Means]) -> None:
    """Every option stands in the signature with its type and default, and is described: nothing is
    declared twice. Of a job that is resumed just those that may change."""
    shown = inspect.signature(function).parameters
    text = inspect.getdoc(function) or ""
    for name, parameter in inspect.signature(request_).parameters.items():
        # Of a job that is resumed only what may change.
        assert (name in shown) == bool(re.search(rf"^(\w+, )*{name}\b.* : ", text, re.M))
        if function is not resume:
            assert shown[name].default == parameter.default
        elif name in shown and name != "job_dir":
            assert shown[name].default is None
            RunRequest(n_steps=1).merged({name: None})
        else:
            with pytest.raises(TypeError):
                RunRequest(n_steps=1).merged({name: "x"})


def test_every_public_thing_is_described() -> None:
    """`help(wepystore.api)` has words for each of its names."""
    assert not [name for name in api.__all__ if not inspect.getdoc(getattr(api, name))]
    assert issubclass(Resampler, api.Component)
