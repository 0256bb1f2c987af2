"""Segments in the workers of a cluster of dask.distributed: with the results of a serial run."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clusters import cluster
from tests.systems import (
    Recorder,
    bits,
    environment,
    pair_runner,
    pair_state,
    plain_configuration,
    run_job,
    salt_apparatus,
)
from tests.waiting import until
from tests.workers import (
    Adder,
    Counter,
    Unopenable,
    numbers,
    orders,
)
from wepystore.api import (
    DaskMapper,
    Prepared,
    ProcessMapper,
    SerialMapper,
    Snapshot,
    Store,
    Walker,
    hash_of,
    load_configuration,
    prepare_store,
    save_configuration,
)
from wepystore.engine.errors import (
    ComponentError,
    MissingDaskError,
    SchedulerError,
    WorkerHungError,
    WorkerStartError,
)
from wepystore.engine.mappers.pack import pack_tasks, unpack_answers
from wepystore.engine.mappers.segment import Task
from wepystore.orchestrator.run.mapping import WITHOUT_SCHEDULER, choose_mapper


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The file of a scheduler with two workers, for tests that kill none."""
    with cluster(tmp_path_factory.mktemp("cluster"), nthreads=2) as (file, _):
        yield file


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The file of a scheduler, and its two workers, for one test, whatever becomes of them."""
    with cluster(tmp_path, nthreads=2) as made:
        yield made


def test_the_runner_travels_once(address: str) -> None:
    """Over three cycles each worker uses the one copy it was sent: what that keeps, its contexts,
    lives on."""
    made = DaskMapper(address)
    made.init(Counter().run_segment)
    counts: dict[int, list[int]] = {}
    for _ in range(3):
        for walker in made.map(numbers(8), [1] * 8):
            pid, n_run, _ = walker.state
            counts.setdefault(pid, []).append(n_run)
    made.cleanup()
    assert os.getpid() not in counts
    assert sum(map(len, counts.values())) == 24
    assert [sorted(each) for each in counts.values()] == [
        list(range(1, len(each) + 1)) for each in counts.values()
    ]


@pytest.mark.parametrize(
    "order", ["kill", "raise", "hang", pytest.param("stop", marks=pytest.mark.slow)]
)
def test_a_lost_worker_s_segments_are_run_again(
    own: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, order: str
) -> None:
    """The results are complete and in order, and go on coming. Who is lost gets nothing more."""
    made = DaskMapper(own[0], segment_timeout=2.0)
    made.init(Adder().run_segment)
    mark = tmp_path / "mark"
    found = made.map(
        numbers(7), [10] * 7, order=orders(7, w3=order), mark=[str(mark)] * 7, cycle_idx=[0] * 7
    )
    assert [walker.state for walker in found] == [k + 10 for k in range(7)]
    assert [walker.state for walker in made.map(numbers(3), [1] * 3)] == [1, 2, 3]
    assert sum(worker.poll() is None for worker in own[1]) == (1 if order == "kill" else 2)
    assert sum(worker.given_up for worker in made._workers.values()) == (order != "raise")
    made.cleanup()


@pytest.mark.parametrize("order", ["kill", pytest.param("hang", marks=pytest.mark.slow)])
def test_a_segment_that_fails_twice_is_named(
    own: tuple[str, list[subprocess.Popen[bytes]]], order: str
) -> None:
    """Not dask's three retries and its own exception: one more try, and cycle, walker, worker."""
    made = DaskMapper(own[0], segment_timeout=2.0)
    made.init(Adder().run_segment)
    until(lambda: len(made._client.nthreads()) == 2)
    with pytest.raises(WorkerHungError) as caught:
        made.map(numbers(4), [1] * 4, order=orders(4, w2=order), cycle_idx=[6] * 4)
    assert re.search(r"cycle 6, walker 2, dask worker \d at tcp://", str(caught.value))
    made.cleanup()


def test_the_end_hash_is_that_of_every_other_mapper(
    pair_store: Prepared, address: str, tmp_path: Path
) -> None:
    """R1, through a whole run: serial, two processes, dask; clones and merges on the way."""
    ends = {}
    shutil.copytree(pair_store.store.path, tmp_path / "pair.orch")
    store = Store.open(tmp_path / "pair.orch")
    for mapper, scheduler in (
        (SerialMapper(), None),
        (ProcessMapper(2), None),
        (DaskMapper(n_workers=2), address),
    ):
        name = type(mapper).__name__
        config = save_configuration(store, plain_configuration(mapper))
        ends[name] = run_job(
            store,
            pair_store.snapshot_hash,
            tmp_path / name,
            configuration=config,
            scheduler=scheduler,
            n_cycles=6,
        ).end
    assert len(set(ends.values())) == 1, ends


@pytest.mark.slow
def test_pme_on_the_cpu_platform_ends_the_same_wherever_it_runs(
    address: str, tmp_path: Path
) -> None:
    """R1 where it is hardest: charges in a periodic box, with OpenMM's threads; serial, in
    processes, with properties of their own, in dask's workers; clones and merges on the way."""
    apparatus, state = salt_apparatus("CPU")
    snapshot = Snapshot([Walker(state, 1 / 8) for _ in range(8)], apparatus)
    ends = {}
    for name, mapper in {
        "serial": SerialMapper(),
        "two": ProcessMapper(2),
        "three": ProcessMapper(3),
        "properties": ProcessMapper(worker_properties=[{"Threads": "1"}, {}]),
        "dask": DaskMapper(n_workers=2),
    }.items():
        made = prepare_store(tmp_path / f"{name}.orch", snapshot, plain_configuration(mapper))
        outcome = run_job(
            made.store,
            made.snapshot_hash,
            tmp_path / name,
            n_steps=20,
            n_cycles=5,
            scheduler=address if name == "dask" else None,
        )
        assert outcome.reproducible
        ends[name] = outcome.end
    assert len(set(ends.values())) == 1, ends


SCRIPT = """
import sys
from wepystore.api import DaskMapper, Walker
from wepystore.records.pickles import dumps

SCALE = 3

class Mine:
    def run_segment(self, walker, length, **kwargs):
        return Walker(walker.state * SCALE, walker.weight)

print("top")
mapper = DaskMapper(sys.argv[1])
mapper.init(Mine().run_segment, dumps=dumps)
print([walker.state for walker in mapper.map([Walker(k, 0.25) for k in range(4)], [1] * 4)])
mapper.cleanup()
"""


def test_a_script_s_own_runner_and_a_quiet_end(address: str, tmp_path: Path) -> None:
    """Code of __main__ travels by value, the script is not run again by the workers, nothing is
    written to stderr and nothing left in the working directory."""
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), address],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["top", "[0, 3, 6, 9]"]
    assert os.listdir(tmp_path) == ["mine.py"]


def test_a_configuration_holds_no_address(tmp_path: Path) -> None:
    """DaskMapper in a configuration has none; with an address it cannot be stored."""
    store = Store.create(tmp_path / "x.orch")
    configuration = plain_configuration(DaskMapper(n_workers=3))
    md5 = save_configuration(store, configuration)
    loaded = load_configuration(store, md5).work_mapper
    assert (loaded.scheduler, loaded.n_workers) == (None, 3)
    assert hash_of(configuration) == md5
    with pytest.raises(ComponentError, match="wepy run --scheduler"):
        save_configuration(store, plain_configuration(DaskMapper("tcp://127.0.0.1:8786")))
    copy = pickle.loads(pickle.dumps(DaskMapper("tcp://a:1", 2)))
    assert (copy.scheduler, copy.n_workers) == ("tcp://a:1", 2)


def test_without_dask_there_is_a_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything of a run is made."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    for configured, scheduler in ((SerialMapper(), "tcp://a:1"), (DaskMapper("tcp://a:1"), None)):
        with pytest.raises(MissingDaskError, match=r"pip install 'wepystore\[dask\]'"):
            choose_mapper(configured, None, scheduler)
    assert isinstance(choose_mapper(SerialMapper(), None), SerialMapper)


def test_without_a_scheduler_a_run_is_on_this_host(
    monkeypatch: pytest.MonkeyPatch, pair_store: Prepared, tmp_path: Path
) -> None:
    """A stored DaskMapper is as many processes then, and what it says of timeouts stays; that is
    told, dask need not be there, and the end is that of every mapper."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    chosen = choose_mapper(DaskMapper(n_workers=3, segment_timeout=9.0), None)
    assert type(chosen) is ProcessMapper
    assert (chosen.n_workers, chosen.segment_timeout) == (3, 9.0)
    assert isinstance(choose_mapper(DaskMapper(n_workers=3), 1), SerialMapper)
    with pytest.raises(ComponentError, match="no scheduler"):
        monkeypatch.undo()
        DaskMapper().init(Adder().run_segment)
    shutil.copytree(pair_store.store.path, tmp_path / "pair.orch")
    store = Store.open(tmp_path / "pair.orch")
    config = save_configuration(store, plain_configuration(DaskMapper(n_workers=2)))
    said = Recorder()
    ends = [
        run_job(store, pair_store.snapshot_hash, tmp_path / name, said, configuration=each).end
        for name, each in (("dask", config), ("serial", None))
    ]
    assert ends[0] == ends[1]
    assert ("remark", WITHOUT_SCHEDULER) in said.events


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "/no/such/file.json"])
def test_an_unreachable_scheduler_is_a_clear_error(address: str) -> None:
    """It is not waited for without end, and nothing is left open."""
    mapper = choose_mapper(SerialMapper(), None, address)
    with pytest.raises(SchedulerError, match=re.escape(address)) as caught:
        mapper.init(Adder().run_segment)
    assert "\n" not in str(caught.value)
    mapper.cleanup()


def test_a_cluster_that_is_there(
    own: tuple[str, list[subprocess.Popen[bytes]]], pair_store: Prepared, tmp_path: Path
) -> None:
    """`wepy run --scheduler`: the end hash of a serial run, the cluster goes on living; then a
    worker is killed in a cycle, and its segments are run by the other."""
    address, workers = own
    wanted = run_job(pair_store.store, pair_store.snapshot_hash, tmp_path / "serial").end
    job = tmp_path / "job"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "wepystore", "run", "orch", "--scheduler", address),
            *("--seed", "1", "--n-cycles", "3", "--job-dir", str(job)),
            *(str(pair_store.store.path), pair_store.snapshot_hash, "100", "10"),
        ],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == wanted
    assert "distributed" not in done.stderr
    assert [worker.poll() for worker in workers] == [None, None]

    mapper = choose_mapper(SerialMapper(), None, address)
    mapper.init(pair_runner().run_segment)
    walkers = [Walker(pair_state(), 0.1) for _ in range(10)]
    seeds = list(range(1, 11))
    before = bits(mapper.map(walkers, [20] * 10, seed=seeds))
    mapper.cleanup()
    mapper.init(Adder().run_segment)
    mark = [str(tmp_path / "mark")] * 6
    found = mapper.map(numbers(6), [5] * 6, order=orders(6, w1="kill"), mark=mark)
    assert [walker.state for walker in found] == [5, 6, 7, 8, 9, 10]
    mapper.cleanup()
    assert sorted(worker.poll() is None for worker in workers) == [False, True]
    serial = SerialMapper()
    serial.init(pair_runner().run_segment)
    assert before == bits(serial.map(walkers, [20] * 10, seed=seeds))


def test_a_cluster_none_of_whose_workers_can_open_the_runner(
    address: str,
) -> None:
    """One after the other is given up, and the last one's failure is the message."""
    mapper = DaskMapper(address)
    mapper.init(Unopenable().run_segment)
    until(lambda: len(mapper._client.nthreads()) == 2)
    with pytest.raises(WorkerStartError, match=r"worker \d at tcp://.* did not start"):
        mapper.map(numbers(4), [1] * 4)
    assert [worker.given_up for worker in mapper._workers.values()] == [True, True]
    mapper.cleanup()


def test_two_runs_in_one_worker_draw_numbers_of_their_own() -> None:
    """R1: a cluster may serve several runs, and its workers have several threads; but all contexts
    of the Reference platform in a process share one generator."""
    from wepystore.engine.mappers import dask_worker

    def segments(token: str, first_seed: int) -> str:
        walkers = [Walker(pair_state(), 0.1)] * 20
        tasks = [Task(k, each, 400, {"seed": first_seed + k}) for k, each in enumerate(walkers)]
        answers = dask_worker.run_batch(token, dask_worker.Parcel(pack_tasks(tasks)))
        return bits([answer.result for answer in unpack_answers(answers.content)])  # type: ignore[union-attr]

    runs = {"a": 1, "b": 1000}
    plugins = [
        dask_worker.SegmentPlugin(token, pickle.dumps(pair_runner().run_segment)) for token in runs
    ]
    for plugin in plugins:
        plugin.setup(None)
    alone = [segments(*each) for each in runs.items()]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(segments, *zip(*runs.items(), strict=True)))
    for plugin in plugins:
        plugin.teardown(None)
    assert together == alone
