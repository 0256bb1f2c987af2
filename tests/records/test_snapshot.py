"""Snapshots and configurations through a store, one file, and pickle."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest

from tests.systems import bits, environment, pair_apparatus, pair_snapshot, pair_state, run_job
from wepystore.api import (
    Apparatus,
    Configuration,
    DashboardReporter,
    Distance,
    FamilyTreeReporter,
    HDF5Reporter,
    NoResampler,
    Prepared,
    ProcessMapper,
    Snapshot,
    Store,
    Walker,
    WExploreResampler,
    hash_of,
    load_configuration,
    load_run,
    load_snapshot,
    save_configuration,
    save_snapshot,
)
from wepystore.engine.component import Component
from wepystore.records import bundle
from wepystore.records.errors import CannotRecordError
from wepystore.store import exports as files


@pytest.fixture(scope="module")
def ended(pair_store: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A job's store and the hash of its end, after twenty cycles with regions and warps."""
    job = tmp_path_factory.mktemp("ended") / "job"
    outcome = run_job(pair_store.store, pair_store.snapshot_hash, job, n_cycles=20)
    return Store.open(job / "checkpoint.orch"), outcome.end


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.create(tmp_path / "a.orch")


def configuration() -> Configuration:
    return Configuration(
        ProcessMapper(2),
        [HDF5Reporter(), DashboardReporter(), FamilyTreeReporter()],
        platform="CPU",
        platform_properties={"Threads": "1"},
    )


def pickles_in(manifest: Any) -> list[Any]:
    """Every {"pickle": …} in a manifest."""
    if isinstance(manifest, dict):
        here = [manifest] if "pickle" in manifest else []
        return here + [found for value in manifest.values() for found in pickles_in(value)]
    if isinstance(manifest, list):
        return [found for value in manifest for found in pickles_in(value)]
    return []


def same_component(a: Any, b: Any) -> bool:
    """Equal class, parameters and state, components within included."""
    if isinstance(a, Component):
        return type(a) is type(b) and same_component(
            [a.params(), a.state()], [b.params(), b.state()]
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_component(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same_component, a, b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return bool(a.equals(b)) if hasattr(a, "equals") else bool(a == b)


def test_a_snapshot_comes_back_to_the_bit(ended: tuple[Store, str], store: Store) -> None:
    """Walkers, parameters and the resampler's regions after twenty cycles: equal, same hash."""
    snapshot = load_snapshot(*ended)
    assert snapshot.apparatus.resampler.tree is not None
    md5 = save_snapshot(store, snapshot)
    again = load_snapshot(store, md5)
    assert md5 == ended[1] == hash_of(again)
    assert bits(again.walkers) == bits(snapshot.walkers)
    for part in ("runner", "boundary_conditions", "resampler"):
        a, b = getattr(snapshot.apparatus, part), getattr(again.apparatus, part)
        assert same_component(a, b), part


def test_a_configuration_comes_back(store: Store) -> None:
    """Mapper, reporters, platform and properties; saved twice it is one entry."""
    made = configuration()
    md5 = save_configuration(store, made)
    again = load_configuration(store, md5)
    assert save_configuration(store, again) == md5 == hash_of(made)
    assert store.hashes("configs") == [md5]
    assert same_component(list(made.reporters), list(again.reporters))
    assert again.work_mapper.params() == {"n_workers": 2}
    assert (again.platform, again.platform_properties) == ("CPU", {"Threads": "1"})
    assert again.monitor is None


def test_a_configuration_holds_no_path(store: Store, tmp_path: Path) -> None:
    """Reporters that have been bound to a job's files have the hash of those that were not."""
    made = configuration()
    before = hash_of(made)
    for reporter in made.reporters:
        reporter.bind(tmp_path / "job")
    assert hash_of(made) == before
    text = store.file("configs", save_configuration(store, made)).read_text()
    assert str(tmp_path) not in text


def test_built_ins_need_no_pickle(ended: tuple[Store, str], store: Store) -> None:
    """S9: a snapshot and a configuration of built-in parts contain no pickle at all."""
    manifest = ended[0].manifest("snapshots", ended[1])
    assert pickles_in(manifest) == []
    assert pickles_in(store.manifest("configs", save_configuration(store, configuration()))) == []
    # And it shows when there is one.
    mine = pair_snapshot(apparatus=pair_apparatus(resampler=WExploreResampler(_Odd())))
    assert len(pickles_in(store.manifest("snapshots", save_snapshot(store, mine)))) == 1


class _Odd(Distance):
    def image(self, state: Any) -> Any:
        return state["positions"]


def test_what_a_snapshot_s_manifest_says(store: Store) -> None:
    """The layout that docs/format.md describes, in canonical JSON."""
    md5 = save_snapshot(store, pair_snapshot(4))
    data = store.file("snapshots", md5).read_bytes()
    manifest = json.loads(data)
    assert set(manifest) == {"type", "format", "walkers", "apparatus"}
    assert manifest["walkers"]["weights"] == [0.25] * 4
    assert manifest["walkers"]["states"] == [0, 0, 0, 0]
    (group,) = manifest["walkers"]["groups"]
    assert group["n_states"] == 1
    assert set(group["fields"]) == {"positions", "velocities", "box_vectors", "time"}
    positions = group["fields"]["positions"]
    array = np.load(store.file("objects", positions["md5"]))
    assert np.array_equal(array, pair_state()["positions"][np.newaxis])
    assert set(manifest["apparatus"]) == {"runner", "boundary_conditions", "resampler"}
    assert manifest["apparatus"]["runner"]["component"]["class"] == "OpenMMRunner"


def test_weights_keep_their_bits(store: Store) -> None:
    """A weight is a float64 in JSON: the shortest text that reads back as the same bits."""
    weights = [0.1, 1e-300, 5e-324, 1 / 3, 0.1 + 0.2]
    walkers = [Walker(pair_state(), weight) for weight in weights]
    made = Snapshot.as_found(walkers, Apparatus.as_found(None, None, NoResampler()))
    again = load_snapshot(store, save_snapshot(store, made))
    assert [walker.weight for walker in again.walkers] == weights


def test_no_walkers_cannot_be_kept(store: Store) -> None:
    """Nor walkers whose state is no collection of arrays; nothing is left in the store."""
    for walkers in ([], [Walker(42, 1.0)], [Walker({"x": "text"}, 1.0)]):
        with pytest.raises((CannotRecordError, ValueError), match=r"walkers|convert"):
            apparatus = Apparatus.as_found(None, None, NoResampler())
            save_snapshot(store, Snapshot.as_found(walkers, apparatus))
    assert store.hashes("snapshots") == store.hashes("objects") == []
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize("load", [pickle.load, dill.load])
def test_an_exported_file_is_the_object(
    ended: tuple[Store, str], tmp_path: Path, load: Any
) -> None:
    """I2: `dill.load(open(f, 'rb'))` gives the Snapshot; so does plain pickle."""
    file = tmp_path / "x.snap.dill.pkl"
    files.write(ended[0], "snapshots", ended[1], file)
    with open(file, "rb") as stream:
        again = load(stream)
    assert isinstance(again, Snapshot)
    assert hash_of(again) == ended[1]
    assert bits(again.walkers) == bits(load_snapshot(*ended).walkers)


def test_get_and_add_give_the_same_hash(
    ended: tuple[Store, str], store: Store, tmp_path: Path
) -> None:
    """I2: out of one store, into another; the same bytes written from memory."""
    file, other = tmp_path / "a.pkl", tmp_path / "b.pkl"
    files.write(ended[0], "snapshots", ended[1], file)
    assert files.add(store, file, "snapshots") == ended[1]
    assert hash_of(load_snapshot(store, ended[1])) == ended[1]
    assert bundle.save(load_snapshot(*ended), other) == ended[1]
    assert other.read_bytes() == file.read_bytes()


def test_a_configuration_in_one_file(store: Store, tmp_path: Path) -> None:
    """I2 for configurations."""
    file = tmp_path / "x.config.dill.pkl"
    md5 = bundle.save(configuration(), file)
    with open(file, "rb") as stream:
        again = dill.load(stream)
    assert isinstance(again, Configuration)
    assert hash_of(again) == md5 == files.add(store, file)


@pytest.mark.parametrize("dumps", [pickle.dumps, dill.dumps])
def test_pickling_an_object_is_exporting_it(ended: tuple[Store, str], dumps: Any) -> None:
    """dill.dumps(snapshot) works anywhere and keeps the identity."""
    for thing in (load_snapshot(*ended), configuration()):
        again = pickle.loads(dumps(thing))
        assert type(again) is type(thing)
        assert hash_of(again) == hash_of(thing)
    assert hash_of(copy.deepcopy(configuration())) == hash_of(configuration())


def test_a_file_with_a_user_s_class_loads_elsewhere(tmp_path: Path) -> None:
    """I2 by value: the class of a script is in the file, and needs no module of that name."""
    script = tmp_path / "make.py"
    script.write_text(
        """
import sys
from tests.systems import pair_apparatus, pair_snapshot
from wepystore.api import Distance, WExploreResampler
from wepystore.records import bundle

class Mine(Distance):
    def image(self, state):
        return state["positions"][0]
    def image_distance(self, a, b):
        return 12.5

print(bundle.save(pair_snapshot(apparatus=pair_apparatus(resampler=WExploreResampler(Mine()))),
                  sys.argv[1]))
"""
    )
    use = (
        "import dill, sys; from wepystore.api import hash_of;"
        "s = dill.load(open(sys.argv[1], 'rb'));"
        "print(hash_of(s), s.apparatus.resampler.distance.image_distance(0, 1))"
    )
    file = tmp_path / "x.pkl"
    md5 = subprocess.check_output(
        [sys.executable, script, file], text=True, env=environment()
    ).strip()
    said = subprocess.check_output(
        [sys.executable, "-c", use, file], text=True, env=environment(), cwd=tmp_path
    )
    assert said.split() == [md5, "12.5"]


def test_a_run_record_comes_back(ended: tuple[Store, str]) -> None:
    """All its fields, through canonical JSON."""
    (md5,) = ended[0].hashes("runs")
    record = load_run(ended[0], md5)
    assert record.end.md5 == ended[1]
    assert (record.n_cycles, record.n_steps, record.seed, record.reproducible) == (20, 10, 1, True)


def test_a_second_snapshot_adds_little(ended: tuple[Store, str], tmp_path: Path) -> None:
    """I4: system, integrator and topology are stored once, however many snapshots name them."""
    store = Store.create(tmp_path / "both.orch")
    snapshot = load_snapshot(*ended)
    save_snapshot(store, pair_snapshot())
    before = set(store.hashes("objects"))
    save_snapshot(store, snapshot)
    new = set(store.hashes("objects")) - before
    sizes = {store.file("objects", md5).read_bytes()[:6] for md5 in new}
    assert sizes == {b"\x93NUMPY"}
