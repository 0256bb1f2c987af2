"""Components of the real wepy 1.2 under this package's manager, from and into its stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.compat.conftest import InWepy
from wepystore.store import Store

N_WALKERS, N_CYCLES = 8, 6

NAMES = (
    "all of wepy: WExplore",
    "all of wepy: REVO",
    "all of wepy: nothing",
    "our runner, wepy's WExplore, a user's distance",
    "our runner, wepy's REVO",
    "wepy's runner, our WExplore, a user's distance",
    "wepy's runner, all else ours",
    "wepy's random walk",
)


@pytest.fixture(scope="module")
def found(in_wepy: InWepy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What use_wepy.py, run by the interpreter that has wepy, saw."""
    script = Path(__file__).with_name("use_wepy.py")
    done = in_wepy(script, tmp_path_factory.mktemp("wepy"))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_what_is_repaired(found: dict[str, Any]) -> None:
    """prepare_wepy names what it added to wepy 1.2, and finds nothing to add the second time."""
    assert found["again"] == []
    assert "wepy.runners.openmm.get_parameter_derivs" in found["repaired"]
    assert "networkx.Graph.node" in found["repaired"]


def test_every_combination_was_run(found: dict[str, Any]) -> None:
    """Each resampler of wepy's with wepy's and with our runner, and the other way round."""
    assert set(found["witnessed"]) == set(found["stored"]) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_cycles_of_mixed_components(found: dict[str, Any], name: str) -> None:
    """Weights are conserved, every record is true of the states that it is about, walkers between
    components are ours, and the process's own random numbers stay as they were."""
    seen = found["witnessed"][name]
    assert seen["faults"] == []
    if name != "all of wepy: nothing":
        # Otherwise there was nothing that a record could have been wrong about.
        assert seen["clones"] and seen["merges"]
    if name in ("all of wepy: WExplore", "our runner, wepy's REVO", "wepy's random walk"):
        assert seen["warps"]


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_end(found: dict[str, Any], name: str) -> None:
    """R1: the end hash is the same once more, for three of them in two worker processes, though
    wepy's components draw from global generators, and its runner lets OpenMM choose a seed."""
    one, two = found["stored"][name]["ends"]
    assert one == two


def test_running_on(found: dict[str, Any]) -> None:
    """A job goes on from another job's end, with other random numbers."""
    for name in ("all of wepy: WExplore", "wepy's random walk"):
        assert found["stored"][name]["further"] != found["stored"][name]["ends"][0]


def test_gone_on_with(found: dict[str, Any]) -> None:
    """R2: a run that went through a store in its middle ends as one that did not, to the hash,
    though wepy's resamplers are pickled."""
    for straight, through_a_store in found["gone on with"].values():
        assert straight == through_a_store


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_kept_to_the_bit(found: dict[str, Any], name: str) -> None:
    """Every field of wepy's state is in the stored snapshot with the same bytes."""
    assert found["stored"][name]["start kept to the bit"] is True


@pytest.mark.parametrize("name", NAMES)
def test_what_the_run_left(found: dict[str, Any], name: str) -> None:
    """The job folder has every reporter's file; the HDF5 file has all cycles and records, and its
    weights sum to 1; the record names wepy, and what wepy computes with."""
    stored = found["stored"][name]
    folder = Path(stored["folder"]) / "one"
    with h5py.File(folder / "job.wepy.h5") as file:
        run = file["runs/0"]
        frames = run["trajectories"]
        assert len(frames) == N_WALKERS
        weights = np.array([frames[f"{k}/weights"][:, 0] for k in range(N_WALKERS)])
        assert weights.shape == (N_WALKERS, N_CYCLES)
        np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=0, atol=N_WALKERS * 2e-16)
        assert len(run["resampling/decision_id"]) == N_WALKERS * N_CYCLES
        atoms = 1 if "walk" in name else 2
        assert frames["0/positions"].shape[:2] == (N_CYCLES, atoms)
        if "wepy's WExplore" in name or name.endswith(": WExplore"):
            images = run["resampler/image"][:]
            assert len(images) == len(run["resampler/distance"]) > 0
            assert all(image.shape == (1,) for image in images)
    names = {path.name for path in folder.iterdir()}
    assert {"job.dash.org", "job.restree.gexf"} <= names
    if "walk" not in name:
        assert {"job.init_top.pdb", "job.walkers.dcd"} <= names
    store = Store.open(folder / "checkpoint.orch")
    (record,) = (store.manifest("runs", md5) for md5 in store.hashes("runs"))
    assert record["environment"]["wepy"] == "1.2"
    assert {"networkx", "geomm"} <= record["environment"].keys()
    with h5py.File(folder / "job.wepy.h5") as file:
        table = file["runs/0/resampling"]
        decisions = table["decision_id"][:, 0]
        cloned = sum(len(slots) - 1 for slots in table["target_idxs"][:][decisions == 2])
        merged = int((decisions == 3).sum())
    counted = record["execution"]
    assert (counted["n_cloned"], counted["n_merged"]) == (cloned, merged)
    assert f"- clones :: {cloned}\n- merges :: {merged}\n" in (folder / "job.dash.org").read_text()


@pytest.fixture(scope="module")
def repeated(found: dict[str, Any], in_wepy: InWepy) -> dict[str, Any]:
    """Every run verified by another process, under another hash seed."""
    folder = Path(found["stored"][NAMES[0]]["folder"]).parent
    script = Path(__file__).with_name("use_wepy.py")
    done = in_wepy(script, folder, "again", PYTHONHASHSEED="77")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("name", NAMES)
def test_promised_and_repeated(found: dict[str, Any], repeated: dict[str, Any], name: str) -> None:
    """R1: the record of a run of wepy's own components on the Reference platform says that it is
    reproducible, and so it is, by another process, under another hash seed."""
    verdict = repeated[Path(found["stored"][name]["folder"]).name]
    assert verdict["promised"] is True
    assert verdict["reproduced"] is True
    assert verdict["differences"] == []


def test_promised_and_repeated_on_the_cpu_platform(
    found: dict[str, Any], repeated: dict[str, Any]
) -> None:
    """wepy's OpenMM runner gets one thread and a fixed order of sums on the CPU platform, so that
    two workers and one end in the same bits; the record says with which properties."""
    properties = {"Threads": "1", "DeterministicForces": "true"}
    assert found["promises"]["CPU"] == [True, properties]
    assert repeated["CPU"]["promised"] and repeated["CPU"]["reproduced"]


@pytest.mark.parametrize("name", ["own resampler", "own runner"])
def test_nothing_is_promised_for_a_class_of_the_users_own(
    found: dict[str, Any], repeated: dict[str, Any], name: str
) -> None:
    """What else a class derived from wepy's draws from is not known: the record says so."""
    assert found["promises"][name][0] is False
    assert repeated[name]["promised"] is False
