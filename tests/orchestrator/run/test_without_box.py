"""Systems that are not periodic: no box where nobody gave one, and none in files for others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.engine.runners.openmm.test_transfer import take_the_documented_way
from tests.systems import (
    bits,
    pair_apparatus,
    pair_runner,
    pair_state,
    plain_configuration,
    run_job,
    salt_apparatus,
    salt_system,
)
from wepystore.api import (
    HDF5Reporter,
    InitTopologyReporter,
    NoResampler,
    OpenMMRunner,
    Snapshot,
    UnbindingBC,
    Walker,
    WalkerReporter,
    WalkerState,
    as_walker_state,
    load_snapshot,
    prepare_store,
)
from wepystore.cli.main import main
from wepystore.engine.runners.openmm.transfer import choose_seeder

FAR = pair_state(1.9)
FIELDS = ["positions", "time", "velocities"]


def bare_state() -> WalkerState:
    return as_walker_state(pair_state()["positions"])


def snapshot(state: WalkerState, platform: str = "Reference", **parts: Any) -> Snapshot:
    """Four pairs that a few short cycles warp, clone and merge."""
    apparatus = pair_apparatus(
        runner=pair_runner(platform=platform),
        boundary_conditions=UnbindingBC(
            0.42, [state], ligand_idxs=[0], receptor_idxs=[1], periodic=False
        ),
        **parts,
    )
    return Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_no_box_begets_none(platform: str, tmp_path: Path) -> None:
    """R1, R2: through segments, warps, workers, checkpoints and a resume; one hash for all."""
    made = prepare_store(
        tmp_path / "x.orch", snapshot(bare_state(), platform), plain_configuration()
    )
    ends = set()
    for name, mapper in (("serial", None), ("workers", 2)):
        done = run_job(
            made.store,
            "default",
            tmp_path / name,
            n_steps=40,
            n_cycles=4,
            n_workers=mapper,
            checkpoint_freq=1,
        )
        ends.add(done.end)
        end = load_snapshot(made.store.open(tmp_path / name / "checkpoint.orch"), done.end)
        assert all(sorted(walker.state) == FIELDS for walker in end.walkers)
    assert len(ends) == 1


def test_a_box_that_was_given_is_kept(tmp_path: Path) -> None:
    """To the bit, and beside walkers without one."""
    runner = pair_runner()
    boxed = runner.run_segment(Walker(pair_state(), 0.5), 20, seed=3).state
    assert np.array_equal(boxed["box_vectors"], np.eye(3) * 4.0)
    bare = runner.run_segment(Walker(bare_state(), 0.5), 20, seed=3).state
    assert sorted(bare) == FIELDS
    for name in FIELDS:
        assert np.array_equal(bare[name], boxed[name])
    again = runner.run_segment(Walker(boxed, 0.5), 20, seed=4).state
    assert np.array_equal(again["box_vectors"], np.eye(3) * 4.0)
    assert sorted(runner.run_segment(Walker(bare, 0.5), 20, seed=4).state) == FIELDS


def test_without_a_box_the_fast_way_gives_the_documented_bits(monkeypatch: Any) -> None:
    """R1: states as they come out and copies of them, by checkpoints and by OpenMM's calls."""

    def ends() -> str:
        walkers, runner = [Walker(bare_state(), 0.5), Walker(pair_state(0.4), 0.5)], pair_runner()
        for seed in range(1, 4):
            walkers = [runner.run_segment(walker, 15, seed=seed) for walker in walkers]
            walkers[1] = copy.deepcopy(walkers[1])
        return bits(walkers)

    fast = ends()
    take_the_documented_way(monkeypatch, choose_seeder)
    assert ends() == fast


def test_a_volume_needs_a_box() -> None:
    """What OpenMM says of the volume of a system without one is left out with it."""
    runner = pair_runner(state_fields=("positions", "velocities", "box_volume", "box_vectors"))
    bare = runner.run_segment(Walker(bare_state(), 1.0), 5, seed=1).state
    assert sorted(bare) == ["positions", "velocities"]
    boxed = runner.run_segment(Walker(pair_state(), 1.0), 5, seed=1).state
    assert boxed["box_volume"] == pytest.approx(64.0)


def test_a_periodic_state_without_a_box_gets_the_systems() -> None:
    """Whatever walker the context held before (R1)."""
    system, state = salt_system(n_side=2, spacing=0.6)
    runner = OpenMMRunner(system, None, _verlet(), platform="Reference")
    bare = WalkerState(**{n: state[n] for n in ("positions", "velocities", "time")})
    wide = WalkerState(**{**state.dict(), "box_vectors": state["box_vectors"] * 1.1, "time": 7.0})
    first = runner.run_segment(Walker(bare, 1.0), 5, seed=1)
    runner.run_segment(Walker(wide, 1.0), 5, seed=1)
    assert bits([runner.run_segment(Walker(bare, 1.0), 5, seed=1)]) == bits([first])
    assert np.array_equal(first.state["box_vectors"], state["box_vectors"])


def _verlet() -> Any:
    import openmm

    return openmm.VariableVerletIntegrator(1e-4)


def files_of_a_run(folder: Path, start: Snapshot) -> str:
    """What the names of its files begin with: of HDF5, structure and walkers."""
    reporters = [HDF5Reporter(), InitTopologyReporter(), WalkerReporter()]
    made = prepare_store(folder / "x.orch", start, plain_configuration(reporters=reporters))
    run_job(made.store, "default", folder / "job", job_name="pair", n_cycles=2)
    return str(folder / "job" / "pair")


@pytest.mark.parametrize("state", [FAR, as_walker_state(FAR["positions"])])
def test_other_programs_see_no_box(state: WalkerState, tmp_path: Path) -> None:
    """No unit cell in PDB, DCD and HDF5: the distances that mdtraj finds are true."""
    mdtraj = pytest.importorskip("mdtraj")
    apparatus = pair_apparatus(boundary_conditions=None, resampler=NoResampler())
    start = Snapshot([Walker(state, 0.5) for _ in range(2)], apparatus)
    prefix = files_of_a_run(tmp_path, start)
    frames = mdtraj.load(f"{prefix}.walkers.dcd", top=f"{prefix}.init_top.pdb")
    assert frames.unitcell_lengths is None
    assert mdtraj.compute_distances(frames, [(0, 1)]) == pytest.approx(1.9, abs=0.01)
    assert mdtraj.load(f"{prefix}.init_top.pdb").unitcell_lengths is None
    with h5py.File(f"{prefix}.wepy.h5") as file:
        for walkers in ("trajectories", "init_walkers"):
            for each in file["runs/0"][walkers].values():
                assert sorted(each) == ["positions", "velocities", "weights"]


def test_a_periodic_run_writes_its_box(tmp_path: Path) -> None:
    """mdtraj's nearest images then are those of the simulation."""
    mdtraj = pytest.importorskip("mdtraj")
    apparatus, state = salt_apparatus("Reference")
    start = Snapshot([Walker(state, 0.25) for _ in range(4)], apparatus)
    prefix = files_of_a_run(tmp_path, start)
    frames = mdtraj.load(f"{prefix}.walkers.dcd", top=f"{prefix}.init_top.pdb")
    assert frames.unitcell_lengths == pytest.approx(2.0, abs=1e-5)
    with h5py.File(f"{prefix}.wepy.h5") as file:
        assert file["runs/0/trajectories/0/box_vectors"].shape == (2, 3, 3)


def test_show_and_verify_take_states_without_a_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`wepy show`, `diff` and `verify` do not miss it."""
    made = prepare_store(tmp_path / "x.orch", snapshot(bare_state()), plain_configuration())
    done = run_job(made.store, "default", tmp_path / "job", n_cycles=2)
    store = str(tmp_path / "job" / "checkpoint.orch")
    assert main(["show", store, done.end]) == 0
    assert main(["diff", store, done.start, done.end]) in (0, 1)
    assert main(["verify", store, done.start, done.end]) == 0
    assert "bug" not in capsys.readouterr().err
