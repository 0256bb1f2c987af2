"""Every mixture of wepy's components and this package's, reporters with paths of a script's too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.compat.conftest import InWepy
from wepystore.store import Store

N_WALKERS, N_CYCLES = 8, 2
#: What wepy's reporters were told by the script -> what the job makes of it.
WEPYS_FILES = {"results.wepy.h5", "wepy.dash.org", "init.pdb", "walkers.dcd"}
IMAGES = {"pair": (1,), "number": (1,), "places": (2, 3)}


@pytest.fixture(scope="module")
def found(in_wepy: InWepy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What mix_wepy.py, one process of the interpreter that has wepy, saw."""
    folder = tmp_path_factory.mktemp("mixtures")
    done = in_wepy(Path(__file__).with_name("mix_wepy.py"), folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    # What a script chose is nowhere but in the jobs' folders.
    assert not [path.name for path in folder.iterdir() if path.is_file()]
    return answer


def test_every_mixture_runs(found: dict[str, Any]) -> None:
    """Runner, resampler, boundary conditions, each wepy's or ours, in all eight ways; mappers of
    either, serial and with processes; REVO; no boundary conditions: with all reporters of both."""
    failed = {str(each["names"]): each["failed"] for each in found["mixtures"] if "failed" in each}
    assert not failed
    assert len(found["mixtures"]) == 14
    ends: dict[tuple[str, ...], set[str]] = {}
    for each in found["mixtures"]:
        ends.setdefault(tuple(each["names"][:3]), set()).add(each["end"])
    # R1: two of them ran a second time under another mapper.
    assert len(ends) == 12 and all(len(each) == 1 for each in ends.values())


def test_each_reporter_wrote_into_the_jobs_folder(found: dict[str, Any]) -> None:
    """By the names that the script gave, behind the job's, and that is said; beside them are those
    of this package's reporters."""
    for each in found["mixtures"]:
        job = Path(each["folder"]) / "job"
        names = {path.name for path in job.iterdir()}
        assert {f"job.{name}" for name in WEPYS_FILES} <= names
        assert {"job.wepy.h5", "job.dash.org", "job.restree.gexf"} <= names
        pickles = {path.name for path in (job / "job.WalkerPklReporter").iterdir()}
        assert pickles == {"walkers_cycle_0.pkl", "walkers_cycle_1.pkl"}
        assert any("job.results.wepy.h5, and not results.wepy.h5" in t for t in each["remarks"])


def test_both_kinds_of_reporters_saw_the_same(found: dict[str, Any]) -> None:
    """wepy's HDF5 file and ours of one job hold the same frames and weights to the bit, and as many
    records of decisions, warps and regions."""
    for each in found["mixtures"]:
        job = Path(each["folder"]) / "job"
        with (
            h5py.File(job / "job.results.wepy.h5") as theirs,
            h5py.File(job / "job.wepy.h5") as our,
        ):
            for walker in range(N_WALKERS):
                # Ours writes no box of a system that has none.
                for field in ("positions", "velocities", "weights"):
                    name = f"runs/0/trajectories/{walker}/{field}"
                    assert len(our[name]) == N_CYCLES
                    np.testing.assert_array_equal(theirs[name][:], our[name][:])
            for name in ("resampling/_cycle_idxs", "resampler/_cycle_idxs", "warping/_cycle_idxs"):
                np.testing.assert_array_equal(theirs[f"runs/0/{name}"], our[f"runs/0/{name}"])


@pytest.mark.parametrize("distance", IMAGES)
def test_wepys_wexplore_with_wepys_hdf5(found: dict[str, Any], distance: str) -> None:
    """Images that are arrays, matrices and plain numbers are written as they are, in every cycle in
    which a region forms; killed twice and resumed, the one file, which wepy reads, holds what that
    of a run has that was not killed."""
    seen = found["interrupted"][distance]
    assert seen["ends"][0] == seen["ends"][1]
    whole, killed = seen["read"]
    assert whole == killed
    assert whole["n_cycles"] == 7
    # Regions form in more than one cycle: also after the kill.
    cycles = {cycle for cycle, _ in whole["regions"]}
    assert len(cycles) > 2 and max(cycles) > 3
    files = [Path(seen["folder"]) / job / "job.results.wepy.h5" for job in ("whole", "job")]
    contents = [contents_of(file) for file in files]
    assert contents[0].keys() == contents[1].keys()
    for name, array in contents[0].items():
        assert array.dtype == contents[1][name].dtype, name
        assert all(map(np.array_equal, array, contents[1][name])), name
    images = contents[0]["runs/0/resampler/image"]
    assert images.shape == (len(whole["regions"]), *IMAGES[distance])
    assert np.isfinite(images).all() and (images > 0).any()


def contents_of(file: Path) -> dict[str, Any]:
    """Every table of a file."""
    tables: dict[str, Any] = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda name, thing: (
                tables.update({name: thing[()]})
                if isinstance(thing, h5py.Dataset) and thing.shape
                else None
            )
        )
    return tables


def test_wepys_reporters_go_on_after_a_kill(found: dict[str, Any]) -> None:
    """R2, as far as files do not tell the time: pictures, the tree and the directory of pickles are
    those of a run that was not killed; no reporter begins new files."""
    seen = found["interrupted"]["pair"]
    whole, job = (Path(seen["folder"]) / name for name in ("whole", "job"))
    name = "job.WalkerPklReporter"
    assert sorted(os.listdir(job / name)) == sorted(os.listdir(whole / name))
    assert (job / "job.init.pdb").read_bytes() == (whole / "job.init.pdb").read_bytes()
    pictures, trees = (
        [(each / name).read_bytes() for each in (whole, job)]
        for name in ("job.walkers.dcd", "job.tree.gexf")
    )
    # Both begin with the time of writing: a header of 276 bytes, the tag of the graph's.
    assert len(pictures[0]) > 276 and pictures[0][276:] == pictures[1][276:]
    nodes = [tree.partition(b"<graph ")[2] for tree in trees]
    assert nodes[0].count(b"<node ") > 7 * N_WALKERS and nodes[0] == nodes[1]
    assert not list(job.glob("job.from-*"))
    assert not [text for text in seen["remarks"] if "is not gone on with" in text]


def test_converted_they_are_native(found: dict[str, Any], in_wepy: InWepy) -> None:
    """A configuration of ours that holds reporters and a mapper of wepy's: `convert` makes native
    ones of them, tells what became what, and leaves what has no counterpart in place."""
    store = Path(found["interrupted"]["pair"]["folder"]) / "s.orch"
    md5 = Store.open(store).hashes("configs")[0]
    done = in_wepy("-m", "wepystore", "convert", "--json", store, md5)
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer["needing"]) == ["reporters[5]"]
    assert "WalkerPklReporter has no counterpart" in done.stderr
    assert "reporter WepyHDF5Reporter of wepy is now HDF5Reporter" in done.stderr
    assert "mapper of wepy is now SerialMapper" in done.stderr
    manifest = Store.open(store).manifest("configs", answer["hash"])
    kinds = [each.get("type") for each in manifest["reporters"]]
    assert len(kinds) == 6
    only = Path(found["interrupted"]["number"]["folder"]) / "s.orch"
    md5 = Store.open(only).hashes("configs")[0]
    done = in_wepy("-m", "wepystore", "convert", only, md5)
    assert done.returncode == 0, done.stderr
    run = in_wepy(
        *("-m", "wepystore", "run", "orch", "--n-cycles=2", "--job-name=job"),
        *("--job-dir", only.parent / "native", "--configuration", done.stdout.strip()),
        *(only, "default", 600, 10),
    )
    assert run.returncode == 0, run.stderr
    assert (only.parent / "native" / "job.wepy.h5").exists()
    assert "and not" not in run.stderr
