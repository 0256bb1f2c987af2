"""wepystore.api does what the command line does: run, resume, verify, reconcile, read."""

from __future__ import annotations

import builtins
import inspect
import re
import threading
from pathlib import Path
from typing import Any, get_type_hints

import mypy.api
import numpy as np
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.systems import REPOSITORY, pair_apparatus, pair_snapshot, plain_configuration, tree_of
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
    history,
    load_configuration,
    load_run,
    load_runs,
    load_snapshot,
    plan_reconcile,
    reconcile,
    resume,
    run,
    verify,
)
from wepystore.orchestrator.run.request import (
    JobOptions,
    Means,
    MeansOptions,
    RunRequest,
    SessionOptions,
)
from wepystore.orchestrator.run.request import options as options_of
from wepystore.records import bundle
from wepystore.records.trust import tell

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


@pytest.mark.parametrize(
    ("function", "typed", "request_"),
    [
        (run, JobOptions, RunRequest),
        (resume, SessionOptions, RunRequest),
        (verify, MeansOptions, Means),
    ],
)
def test_options_have_the_types_of_the_request(
    function: Any, typed: Any, request_: type[Means]
) -> None:
    """What a type checker is told of each option is what its declaration says, or None for not
    given, or a text for a path; and it is told of all that may be given."""
    own = inspect.signature(inspect.unwrap(function)).parameters
    assert list(own.values())[-1].annotation == f"Unpack[{typed.__name__}]"
    told = {n: h for n, h in get_type_hints(function).items() if n in ("n_steps", "n_cycles")}
    told |= get_type_hints(typed)
    declared = get_type_hints(request_)
    for name, option in options_of(request_).items():
        assert (name in told) == (function is not resume or not option.fixed)
        if name in told and name != "job_dir":
            assert told[name] | None == declared[name] | None
    assert told.keys() <= declared.keys()


def test_a_type_checker_knows_the_options(tmp_path: Path) -> None:
    """mypy finds in a script what would be refused when it runs, and nothing else."""
    script = tmp_path / "script.py"
    wrong = ["n_cycels=3", "n_cycles='3'", "seed=1.5", "job_dir=3"]
    lines = [f"run('a', 'b', n_steps=10, {each})" for each in ("seed=None", "job_dir='x'", *wrong)]
    lines += ["resume('a', seed=1)", "verify('a', 'b', n_cycles=1)", "reconcile('a')"]
    script.write_text("\n".join(["from wepystore.api import *", *lines]))
    cache = ("--cache-dir", str(REPOSITORY / ".mypy_cache"))
    said, _, _ = mypy.api.run(["--config-file", str(REPOSITORY / "setup.cfg"), *cache, str(script)])
    found = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert found == set(range(4, 11)), said


def test_a_wrong_option_is_told_by_name(tmp_path: Path) -> None:
    """A TypeError with the function's name and the nearest option; nothing is made."""
    given = {**SHORT, "job_dir": tmp_path / "job"}
    for name, near in (("n_cycels", "n_cycles"), ("n_step", "n_steps"), ("job_dri", "job_dir")):
        with pytest.raises(TypeError, match=rf"^run\(\) has no option '{name}'.*'{near}'\?$"):
            run(pair_snapshot(), plain_configuration(), **given, **{name: 3})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^resume\(\) has no option 'n_cylces'.*'n_cycles'\?$"):
        resume(tmp_path, n_cylces=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^verify\(\) has no option 'xyz': help\(verify\)$"):
        verify(tmp_path, "0" * 32, xyz=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^run\(\) missing .* 'n_steps'$"):
        run(pair_snapshot(), plain_configuration(), n_cycles=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^reconcile\(\) missing .* 'source'$"):
        reconcile(tmp_path / "new.orch")  # type: ignore[call-arg]
    assert not list(tmp_path.iterdir())


def test_what_a_notebook_has_at_hand(pair_store: Prepared, tmp_path: Path) -> None:
    """Numbers of numpy's, paths as texts, a Store in place of its path; an object for one and a
    name or a file for the other."""
    store, md5 = pair_store.store, pair_store.snapshot_hash
    given: dict[str, Any] = {"n_steps": np.int32(10), "n_cycles": np.int64(3), "seed": np.int64(7)}
    limit: Any = {"seconds": np.float32(600)}
    done = run(md5, store=store, job_dir=str(tmp_path / "a"), **limit, **given)
    assert (done.n_cycles, done.seed) == (3, 7)
    more: Any = {"n_cycles": np.int64(4)}
    assert resume(str(done.job_dir), **more).n_cycles == 4
    bundle.save(plain_configuration(), tmp_path / "c")
    ends = {
        run(load_snapshot(store, md5), other, job_dir=tmp_path / f"{k}", store=of, **given).end
        for k, (other, of) in enumerate([("default", store), (tmp_path / "c", None)])
    }
    assert ends == {done.end}
    assert reconcile(tmp_path / "kept.orch", store, Store.open(done.store)).entries
    for wrong in (True, np.float64(3), "3", np.array([3, 3])):
        with pytest.raises(RequestError):
            run(md5, store=store, n_steps=10, n_cycles=wrong)  # type: ignore[arg-type]


def test_reading(pair_store: Prepared, tmp_path: Path) -> None:
    """By hash, first digits, tag or "default", of a store, its path or a job folder; records as
    objects, and the history as a graph."""
    store = pair_store.store
    done = run("default", store=store, seed=2, job_dir=tmp_path / "job", **SHORT)
    longer = resume(done.job_dir, n_cycles=4)
    job = Store.open(done.store)
    job.set_ref("tags/bound", done.end)
    for named in ("bound", done.end, done.end[:8]):
        for place in (job, str(done.store), done.job_dir):
            assert hash_of(load_snapshot(place, named)) == done.end
    assert hash_of(load_snapshot(job)) == longer.end
    assert hash_of(load_configuration(job)) == pair_store.config_hash
    runs = load_runs(done.job_dir)
    assert {record.n_cycles for record in runs.values()} == {3, 4}
    assert runs[longer.record or ""] == load_run(job, (longer.record or "")[:8])
    graph = history(done.job_dir)
    assert set(graph.edges(keys=True)) == {
        (done.start, done.end, done.record),
        (done.start, longer.end, longer.record),
    }
    assert graph.edges[done.start, longer.end, longer.record]["record"].n_cycles == 4
    assert graph.nodes[done.end] == {"here": True, "tags": ["bound"]}
    job.remove("snapshots", done.start)
    assert history(job).nodes[done.start] == {"here": False, "tags": []}


def test_what_is_read_asks_for_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run does, unless the program judges by itself."""
    store = Store.create(tmp_path / "s.orch")
    md5 = api.save_snapshot(store, own_snapshot())
    load_snapshot(store, md5)
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "nobody"))
    with pytest.raises(UntrustedError, match=f"snapshot {md5} .*wepy trust {store.path} {md5}"):
        load_snapshot(store, md5)
    seen: list[Any] = []
    load_snapshot(store, md5, seen.extend)
    assert [part.of for part in seen] == ["Mine"]


def test_at_a_prompt(pair_store: Prepared, tmp_path: Path) -> None:
    """Each shows what it is, in one line that can be read."""
    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=own_snapshot().apparatus.resampler))
    done = run("default", store=pair_store.store, seed=2, job_dir=tmp_path / "job", **SHORT)
    words = {
        "Snapshot(6 walkers, OpenMMRunner, UnbindingBC, WExploreResampler)": snapshot,
        "Apparatus(runner=OpenMMRunner(": snapshot.apparatus,
        "Configuration(work_mapper=SerialMapper()": plain_configuration(reporters=[HDF5Reporter()]),
        "Store(": pair_store.store,
        "RunOutcome(start='": done,
        "RunRecord(": load_run(done.job_dir, done.record or ""),
        "Verdict(run='": verify(done.job_dir, done.record or ""),
        "Plan('": plan_reconcile(tmp_path / "new.orch", done.job_dir),
        "Outcome('": reconcile(tmp_path / "new.orch", done.job_dir),
    }
    for begin, thing in words.items():
        shown = repr(thing)
        assert shown.startswith(begin)
        assert len(shown) < 700 and "\n" not in shown and "object at 0x" not in shown


def test_a_manager_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of any of its runs, or of another manager's, whose parts and walkers it is
    given: the history tells so."""
    monkeypatch.chdir(tmp_path)
    parts = pair_snapshot().apparatus
    manager = Manager(pair_snapshot().walkers, parts.runner, resampler=parts.resampler)
    walkers, (runner, boundary, resampler) = manager.run_simulation(3, 10, seed=1)
    manager.continue_run_simulation(0, 2, [10, 10], seed=1)
    manager.continue_run_simulation(-1, 1, 10, seed=1, job_dir="third")
    first, second, third = manager.runs
    assert (first.end, second.end) == (second.start, third.start)
    assert [done.n_cycles for done in manager.runs] == [3, 2, 1]
    other = Manager(walkers, runner, None, resampler, boundary)
    other.continue_run_simulation(0, 2, 10, seed=1, job_dir="other")
    assert (other.runs[0].start, other.runs[0].end) == (second.start, second.end)
    timed = Manager(walkers, runner)
    timed.run_simulation(None, 10, seconds=1e-9, job_dir="timed")
    assert (timed.runs[0].n_cycles, timed.runs[0].ended_by) == (1, "seconds")


def test_a_manager_where_no_trust_can_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a home that is read-only: what its runs have pickled is its own all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEPY_TRUST", str(tmp_path / "nobody"))
    before = tell(lambda sha256: None)
    try:
        parts = own_snapshot().apparatus
        manager = Manager(pair_snapshot().walkers, parts.runner, resampler=parts.resampler)
        steps: Any = np.full(1, 10)
        manager.run_simulation(1, steps)
        manager.continue_run_simulation(0, 1, steps[0])
    finally:
        tell(before)
    with pytest.raises(UntrustedError):
        load_snapshot(manager.runs[0].store)


def test_errors_that_are_told_of_can_be_caught() -> None:
    """Each that the words of a function name, and the base class of each exit status."""
    named = set()
    for function in map(vars(api).get, api.__all__):
        if inspect.isfunction(function):
            named |= set(re.findall(r"\b[A-Z]\w+Error\b", inspect.getdoc(function) or ""))
    assert len(named) > 20
    internal = {"DecisionError", "MalformedHashError", "SeveralHashesError"}
    assert named - set(api.__all__) - internal <= set(vars(builtins))
    assert {kind.__name__ for kind in WepystoreError.__subclasses__()} <= set(api.__all__)


def test_every_public_thing_is_described() -> None:
    """`help(wepystore.api)` has words for each of its names."""
    assert not [name for name in api.__all__ if not inspect.getdoc(getattr(api, name))]
    assert issubclass(Resampler, api.Component)
