"""Snapshots and configurations that wepy 1.2 wrote: trusted, run and converted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Wepy, wepy
from tests.compat.conftest import REPOSITORY, InWepy
from wepystore.api import (
    OpenMMRunner,
    PairDistance,
    UnbindingBC,
    WExploreResampler,
    load_snapshot,
)
from wepystore.store import Store

__all__ = ["wepy"]

FIXTURES = REPOSITORY / "fixtures" / "wepy1"
START, END = "a553a890d72e2c89e5013cce73b8ae02", "80611cb15a878cbb4390b1e814a0af04"
JOB_CONFIG = "57769c014f55a02dd8c48157da0080fa"

Theirs = Callable[..., Any]


@pytest.fixture
def theirs(in_wepy: InWepy, tmp_path: Path) -> Theirs:
    """`wepystore WORDS` by the interpreter that has wepy; trusts what is in tmp_path's own list."""

    def run(line: str, *more: object, **environment: str) -> Any:
        return in_wepy(
            *("-m", "wepystore", *line.split(), *more),
            **{"WEPY_TRUST": str(tmp_path / "trusted"), **environment},
        )

    return run


@pytest.fixture
def store(theirs: Theirs, tmp_path: Path) -> Path:
    """The two databases of wepy 1.x in one store."""
    path = tmp_path / "new.orch"
    done = theirs("reconcile orch", path, *sorted(FIXTURES.glob("*.sqlite")))
    assert done.returncode == 0, done.stderr
    return path


def test_run_and_go_on(theirs: Theirs, store: Path, tmp_path: Path) -> None:
    """Untrusted: 5, one line, no job folder. Trusted: the end hash is printed, the same in a second
    process; the stores are whole, the old entry has its bytes, and the end runs on."""
    words = ("--seed=3", "--n-cycles=3", store, END, 600, 10)
    refused = theirs("run orch", "--job-dir", tmp_path / "no", *words)
    assert refused.returncode == 5
    assert refused.stderr.count("\n") == 1 and "wepy trust" in refused.stderr
    assert not (tmp_path / "no").exists()
    assert theirs("trust --store", store).returncode == 0
    ends = []
    for name in ("one", "two"):
        done = theirs("run orch", "--job-dir", tmp_path / name, *words)
        assert done.returncode == 0, done.stderr
        start, end = done.stdout.removeprefix("Run start and end hashes: ").strip().split(", ")
        assert start == END
        ends.append(end)
    assert ends[0] == ends[1]
    job = tmp_path / "one" / "checkpoint.orch"
    checked = theirs("fsck --sha256", job)
    assert (checked.returncode, checked.stdout) == (0, "")
    kept, old = Store.open(job), Store.open(store)
    assert kept.file("snapshots", END).read_bytes() == old.file("snapshots", END).read_bytes()
    files = {path.name.removeprefix(f"{END}.") for path in (tmp_path / "one").iterdir()}
    # As its configuration in wepy said: those of wepy's four reporters.
    assert {"wepy.h5", "dash.org", "restree.gexf", "init_top.pdb", "walkers.dcd"} <= files
    on = theirs("run orch --n-cycles=1 --job-dir", tmp_path / "on", job, ends[0], 600, 10)
    assert on.returncode == 0, on.stderr


def test_run_from_files(theirs: Theirs, store: Path, tmp_path: Path) -> None:
    """The exported files of wepy 1.x run by `run snapshot`, trusted by their names."""
    config = tmp_path / "c.pkl"
    assert theirs("get config -O", config, store, JOB_CONFIG).returncode == 0
    snapshot = FIXTURES / f"{START}.snap.dill.pkl"
    words = ("--n-cycles=1", "--job-dir", tmp_path / "job", snapshot, config, 600, 10)
    assert theirs("run snapshot", *words).returncode == 5
    for file in (snapshot, config):
        assert theirs("trust", file).returncode == 0
    done = theirs("run snapshot", *words)
    assert done.returncode == 0, done.stderr
    assert f"hashes: {START}, " in done.stdout


def test_what_the_pickles_need_is_named(theirs: Theirs, store: Path, tmp_path: Path) -> None:
    """Without the module of the author's own, one line says which it is and where to put it."""
    assert theirs("trust --store", store).returncode == 0
    done = theirs(
        *("run orch --n-cycles=1 --job-dir", tmp_path / "job", store, END, 600, 10),
        PYTHONPATH=str(REPOSITORY),
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "lj_compat" in done.stderr and "PYTHONPATH" in done.stderr


def test_convert_with_a_distance_of_the_users_own(
    theirs: Theirs, store: Path, wepy: Wepy, tmp_path: Path
) -> None:
    """Native but for the class of the user's distance, which the notes name; once more gives the
    same hash; the old entry stays. This interpreter has neither wepy nor the user's module: it runs
    what was made, and its walkers end where those of the interpreter with wepy do."""
    before = Store.open(store).file("snapshots", END).read_bytes()
    assert theirs("convert", store, END).returncode == 5
    theirs("trust --store", store)
    tried = theirs("convert --dry-run", store, END)
    assert (tried.returncode, tried.stdout) == (0, "")
    assert len(Store.open(store).hashes("snapshots")) == 2
    done = theirs("convert --json", store, END)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["needs_wepy"] is False and told["needing"] == {}
    assert any("PairDistance, a class of your own, stays pickled" in n for n in told["notes"])
    assert theirs("convert", store, END).stdout == told["hash"] + "\n"
    opened = Store.open(store)
    assert opened.file("snapshots", END).read_bytes() == before
    parts = opened.manifest("snapshots", told["hash"])["apparatus"]
    assert parts["runner"]["component"]["class"] == "OpenMMRunner"
    assert parts["boundary_conditions"]["component"]["class"] == "UnbindingBC"
    assert parts["resampler"]["component"]["class"] == "WExploreResampler"
    assert "pickle" in parts["resampler"]["component"]["params"]["distance"]
    config = theirs("convert", store, JOB_CONFIG)
    assert config.returncode == 0, config.stderr
    reporters = opened.manifest("configs", config.stdout.strip())["reporters"]
    assert [each["component"]["class"] for each in reporters] == [
        *("HDF5Reporter", "DashboardReporter", "FamilyTreeReporter"),
        *("InitTopologyReporter", "WalkerReporter"),
    ]
    with pytest.raises(ModuleNotFoundError):
        __import__("lj_compat")
    words = ("--seed=3", "--n-cycles=3", "--n-workers=2", "--configuration", config.stdout.strip())
    last = (store, told["hash"], 600, 10)
    assert wepy("run orch", *words, "--job-dir", tmp_path / "here", *last).status == 5
    assert wepy("trust", store, told["hash"]).status == 0
    here = wepy("run orch", *words, "--job-dir", tmp_path / "here", *last)
    assert here.status == 0, here.err
    there = theirs("run orch", *words, "--job-dir", tmp_path / "there", *last)
    assert there.returncode == 0, there.stderr
    one, two = (
        load_snapshot(job, job.ref("default-snapshot")).walkers
        for job in (Store.open(tmp_path / n / "checkpoint.orch") for n in ("here", "there"))
    )
    assert [walker.weight for walker in one] == [walker.weight for walker in two]
    assert all(a.state.equals(b.state) for a, b in zip(one, two, strict=True))


def test_convert_what_goes_on_needing_wepy(
    theirs: Theirs, in_wepy: InWepy, wepy: Wepy, tmp_path: Path
) -> None:
    """A user's resampler has no counterpart: what is made is stored, its hash printed, the status
    is 3, and the last line names the part, its class and the reason; dry-run does so too."""
    script = Path(__file__).with_name("use_wepy.py")
    made = in_wepy(script, tmp_path, "own")
    assert made.returncode == 0, made.stderr
    path, md5 = tmp_path / "own.orch", json.loads(made.stdout)["own"]
    assert theirs("trust --store", path).returncode == 0
    tried = theirs("convert --dry-run", path, md5)
    assert (tried.returncode, tried.stdout) == (3, "")
    done = theirs("convert", path, md5)
    assert done.returncode == 3
    assert done.stdout.strip() in Store.open(path).hashes("snapshots")
    last = done.stderr.splitlines()[-1]
    assert "wepy must be installed wherever this is used" in last
    assert "resampler: OwnREVO: a class of your own" in last and "runner" not in last
    # So it is: without wepy the run ends with one line that names it.
    assert wepy("trust --store", path).status == 0
    run = wepy("run orch --n-cycles=1 --job-dir", tmp_path / "no", path, done.stdout.strip(), 60, 5)
    assert run.status == 1 and run.err.count("\n") == 1 and "wepy" in run.err


def test_convert_to_what_needs_no_wepy(
    in_wepy: InWepy, theirs: Theirs, wepy: Wepy, tmp_path: Path
) -> None:
    """A snapshot of wepy's own classes alone is native afterwards: this interpreter, which has no
    wepy, loads and runs it; states to the bit, distances, regions and boundary as in wepy."""
    script = Path(__file__).with_name("use_wepy.py")
    made = in_wepy(script, tmp_path, "legacy")
    assert made.returncode == 0, made.stderr
    expected = json.loads(made.stdout)["legacy"]
    path = tmp_path / "s.orch"
    wepy("create orch", path)
    added = wepy("add snapshot", path, tmp_path / f"{expected['md5']}.snap.dill.pkl")
    assert added.out == expected["md5"] + "\n"
    assert theirs("trust", path, expected["md5"]).returncode == 0
    done = theirs("convert --json", path, expected["md5"])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["needs_wepy"] is False
    with pytest.raises(ModuleNotFoundError):
        __import__("wepy")
    snapshot = load_snapshot(Store.open(path), told["hash"])
    walkers, parts = snapshot.walkers, snapshot.apparatus
    assert (type(parts.runner), type(parts.boundary_conditions), type(parts.resampler)) == (
        *(OpenMMRunner, UnbindingBC, WExploreResampler),
    )
    assert type(parts.resampler.distance) is PairDistance
    assert [walker.weight for walker in walkers] == expected["weights"]
    for name in ("positions", "velocities", "box_vectors"):
        assert [walker.state[name].tolist() for walker in walkers] == expected[name]
    assert [float(walker.state["time"]) for walker in walkers] == expected["times"]
    states = [walker.state for walker in walkers]
    assert parts.resampler.distance.images(states).tolist() == expected["images"]
    parts.boundary_conditions.set_rng(np.random.default_rng(1))
    progress = parts.boundary_conditions.warp_walkers(walkers, 1)[3]
    np.testing.assert_allclose(progress["min_distances"], expected["min_distances"], rtol=1e-15)
    regions = parts.resampler.state()["branches"]
    assert [leaf for _, leaf in regions] == expected["regions"]
    assert len(regions) > 1
    wepy("add config", path, _configuration(tmp_path))
    run = wepy("run orch --n-cycles=2 --job-dir", tmp_path / "job", path, told["hash"], 600, 10)
    assert run.status == 0, run.err


def _configuration(folder: Path) -> Path:
    from wepystore.api import Configuration, SerialMapper
    from wepystore.records import bundle

    bundle.save(Configuration(SerialMapper()), folder / "c.pkl")
    return folder / "c.pkl"
