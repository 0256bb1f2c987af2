"""Resamplers, distances and coordinates in a store: plain parameters, the same hash every way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.systems import (
    bits,
    pair_apparatus,
    pair_snapshot,
    pair_state,
    plain_configuration,
    python,
    run_job,
)
from wepystore.api import (
    BinResampler,
    CoordinateDistance,
    HDF5Reporter,
    ImageCoordinate,
    PairDistance,
    PositionCoordinate,
    ReferenceCoordinate,
    REVOResampler,
    RMSDDistance,
    Store,
    XYDistance,
    hash_of,
    load_snapshot,
    save_configuration,
    save_snapshot,
)

PAIR = PairDistance(0, 1, periodic=False)

RESAMPLERS: dict[str, Any] = {
    "REVO": lambda: REVOResampler(PAIR, merge_dist=0.05, char_dist=0.02, pmax=0.5),
    "REVO, greedy": lambda: REVOResampler(
        XYDistance([0, 1]), 0.05, 0.02, 3, weights=False, merge_alg="greedy"
    ),
    "REVO, RMSD": lambda: REVOResampler(RMSDDistance([0, 1], superpose=False), 0.05, 0.02),
    "bins": lambda: BinResampler(ImageCoordinate(PAIR), np.array([0.36, 0.38, 0.4])),
    "bins of a plane": lambda: BinResampler(
        PositionCoordinate(axes=(0, 1)), [[0.1], [0.1, 0.2]], target_count=(1, 2, 3, 3, 2, 1)
    ),
    "bins of a distance": lambda: BinResampler(ReferenceCoordinate(PAIR, pair_state()), [0.01]),
    "REVO of a coordinate": lambda: REVOResampler(
        CoordinateDistance(ImageCoordinate(PAIR), scale=[0.1]), 0.5, 0.2
    ),
}


@pytest.mark.parametrize("name", RESAMPLERS)
def test_a_snapshot_keeps_its_hash(name: str, tmp_path: Path) -> None:
    """I1: made twice, saved, loaded and saved again elsewhere, the hash is one; nothing is a
    pickle, so a run asks nobody for trust."""
    names = [
        hash_of(pair_snapshot(apparatus=pair_apparatus(resampler=RESAMPLERS[name]())))
        for _ in range(2)
    ]
    snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=RESAMPLERS[name]()))
    for k in range(2):
        store = Store.create(tmp_path / f"{k}.orch")
        names.append(save_snapshot(store, snapshot))
        manifest = (tmp_path / f"{k}.orch" / "snapshots" / names[-1][:2] / names[-1]).read_text()
        assert "pickle" not in manifest
        snapshot = load_snapshot(store, names[-1])
    assert len(set(names)) == 1


@pytest.mark.parametrize("name", ["REVO", "bins"])
def test_a_run_is_reproduced_and_recorded(name: str, tmp_path: Path) -> None:
    """R1: two runs of a stored snapshot end in the same hash, different from the start's, with
    all records in the HDF5 file."""
    h5py = pytest.importorskip("h5py")
    store = Store.create(tmp_path / "s.orch")
    start = save_snapshot(
        store, pair_snapshot(apparatus=pair_apparatus(resampler=RESAMPLERS[name]()))
    )
    configuration = save_configuration(store, plain_configuration(reporters=[HDF5Reporter()]))
    ends = [
        run_job(store, start, tmp_path / str(k), configuration=configuration, n_steps=50).end
        for k in range(2)
    ]
    assert ends[0] == ends[1] != start
    (file,) = (tmp_path / "0").glob("*.h5")
    with h5py.File(file) as data:
        resampler = data["runs/0/resampler"]
        fields = {"REVO": "variation", "bins": "bin_idxs"}
        assert len(resampler[fields[name]]) == 3
        assert len(data["runs/0/resampling/decision_id"]) == 3 * 6


SCRIPT = """
import sys
import numpy as np
from tests.systems import pair_apparatus, pair_snapshot
from wepystore.api import BinResampler, CoordinateDistance, REVOResampler, Store, save_snapshot

SCALE = {scale}

def far(state):
    return SCALE * np.linalg.norm(state["positions"][1] - state["positions"][0])

resampler = {resampler}
snapshot = pair_snapshot(apparatus=pair_apparatus(resampler=resampler))
print(save_snapshot(Store.create(sys.argv[1]), snapshot))
"""


@pytest.mark.parametrize(
    "resampler",
    ["REVOResampler(CoordinateDistance(far), 0.05, 0.02)", "BinResampler(far, [0.38, 0.4])"],
)
def test_a_users_function_travels_by_value(resampler: str, tmp_path: Path) -> None:
    """A function of a script is kept by value: the same hash from two processes, another for
    another constant in it, and it works where the script is not."""
    hashes = []
    for k, scale in enumerate((1.0, 1.0, 2.0)):
        script = tmp_path / f"script{k}.py"
        script.write_text(SCRIPT.format(resampler=resampler, scale=scale))
        hashes.append(python(script, tmp_path / f"{k}.orch", PYTHONHASHSEED=str(k + 1)))
        script.unlink()
    assert hashes[0] == hashes[1] != hashes[2]
    snapshot = load_snapshot(Store.open(tmp_path / "0.orch"), hashes[0])
    after, _, _ = snapshot.apparatus.resampler.resample(snapshot.walkers)
    assert bits(after) == bits(snapshot.walkers)  # All are in one place: nothing to do.
