"""Profiles against Boltzmann: of a double well, and of a pair of atoms in a periodic box."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import unit
from scipy.integrate import quad

from tests.systems import pair_topology, plain_configuration, run_job
from wepystore.api import (
    Apparatus,
    BinResampler,
    DoubleWell,
    ImageCoordinate,
    NoBC,
    OpenMMRunner,
    OverdampedLangevinRunner,
    PairDistance,
    PositionCoordinate,
    Profile,
    Snapshot,
    Walker,
    WalkerState,
    as_walker_state,
    load_profile,
    load_runs,
    prepare_store,
    reconcile,
)

KT = 8.31446e-3 * 300.0
DT = 2.5e-4
#: Of five runs each.
N_STUDIES = 24
N_STEPS = 160


def runs_of(folder: Path, snapshot: Snapshot, seeds: range, n_cycles: int, n_steps: int) -> Path:
    """A store with runs of these seeds."""
    made = prepare_store(folder / "start.orch", snapshot, plain_configuration())
    for seed in seeds:
        job = folder / f"job{seed}"
        run_job(made.store, made.snapshot_hash, job, n_cycles=n_cycles, n_steps=n_steps, seed=seed)
        reconcile(folder / "all.orch", job)
    return folder / "all.orch"


def covered(profile: Profile, exact: NDArray[np.float64], fewest: int) -> float:
    """The part of the bins that were seen often of which the interval holds the exact weight."""
    seen = profile.n_walkers >= fewest
    assert seen.sum() >= 10
    inside = (profile.low <= exact) & (exact <= profile.high)
    return float(inside[seen].mean())


def double_well(height: float, n_walkers: int = 60) -> Snapshot:
    """Walkers in both wells, as many in each, and nothing that takes them back."""
    edges = np.linspace(-1.2, 1.2, 13)
    apparatus = Apparatus(
        # With steps this short the chain's own law is Boltzmann's within a hundredth.
        OverdampedLangevinRunner(DoubleWell(height), dt=DT),
        NoBC(),
        BinResampler(PositionCoordinate(), edges, 4),
    )
    wells = [WalkerState(positions=[[x]]) for x in (-1.0, 1.0)]
    walkers = [Walker(wells[k % 2], 1 / n_walkers) for k in range(n_walkers)]
    return Snapshot(walkers, apparatus)


def weights_of(height: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boltzmann's, of the bins."""

    def law(x: float) -> float:
        return float(np.exp(-height * (x * x - 1) ** 2))

    whole = quad(law, -5, 5)[0]
    pairs = itertools.pairwise(edges.tolist())
    return np.array([quad(law, first, last)[0] / whole for first, last in pairs])


@pytest.mark.parametrize(
    ("height", "n_runs", "n_cycles"),
    [
        pytest.param(4.0, 5, 60, id="short"),
        pytest.param(8.0, 10, 1000, id="long", marks=pytest.mark.slow),
    ],
)
def test_a_double_well(height: float, n_runs: int, n_cycles: int, tmp_path: Path) -> None:
    """Over the barrier too, where hardly any walker would be by itself: the intervals hold
    Boltzmann's weights about as often as they say, and the free energy is the potential."""
    store = runs_of(tmp_path, double_well(height), range(1, n_runs + 1), n_cycles, N_STEPS)
    edges = np.linspace(-1.5, 1.5, 31)
    profile = load_profile(store, along="position(index 0, x)", bins=edges)
    exact = weights_of(height, edges)
    assert covered(profile, exact, 30) >= 0.85
    # Deep in the tails a walker is a matter of luck.
    near = np.abs(profile.axes[0].centres) < 1.2
    expected = -np.log(exact[near] / exact.max())
    assert np.abs(profile.free_energy[near] - expected).max() < 1.0
    assert expected.max() > height - 1


def pair_in_a_box(edge: float) -> Snapshot:
    """Two atoms that attract each other weakly, in a cube that repeats itself."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.95)
    force.setUseDispersionCorrection(False)
    force.setReactionFieldDielectric(1.0)
    for _ in range(2):
        system.addParticle(39.9)
        force.addParticle(0.0, 0.34 * unit.nanometer, 4.0 * unit.kilojoule_per_mole)
    system.addForce(force)
    box = np.eye(3) * edge
    system.setDefaultPeriodicBoxVectors(*box)
    integrator = openmm.LangevinMiddleIntegrator(
        300 * unit.kelvin, 2 / unit.picosecond, 0.004 * unit.picosecond
    )
    runner = OpenMMRunner(system, pair_topology(), integrator, platform="Reference")
    resampler = BinResampler(
        ImageCoordinate(PairDistance(0, 1)), [0.34, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 4
    )
    starts = [as_walker_state([[0, 0, 0], [r, 0, 0]], box) for r in (0.4, 0.6, 0.8, 1.0)]
    walkers = [Walker(starts[k % 4], 1 / 32) for k in range(32)]
    return Snapshot(walkers, Apparatus(runner, NoBC(), resampler))


def radial_weights(edge: float, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the distance to the nearest image, where it is less than half of the edge."""

    def law(r: float) -> float:
        reduced = (0.34 / r) ** 6
        energy = 16.0 * (reduced**2 - reduced) if r < 0.95 else 0.0
        return float(np.exp(-energy / KT)) * 4 * np.pi * r * r

    half = edge / 2
    sphere = quad(law, 0.2, half, points=[0.95], limit=200)[0]
    # In the corners nothing acts.
    whole = sphere + edge**3 - 4 / 3 * np.pi * half**3
    pairs = itertools.pairwise(edges.tolist())
    return np.array([quad(law, first, last)[0] / whole for first, last in pairs])


@pytest.mark.slow
def test_a_pair_of_atoms(tmp_path: Path) -> None:
    """OpenMM's Reference platform: the distance by its name, to the nearest image."""
    edge = 2.0
    store = runs_of(tmp_path, pair_in_a_box(edge), range(1, 9), 400, 100)
    edges: Any = np.linspace(0.3, 0.94, 17)
    profile = load_profile(store, along="distance(index 0, index 1)", bins=edges)
    assert profile.outside > 0.3
    assert covered(profile, radial_weights(edge, edges), 100) >= 0.85


@pytest.mark.slow
def test_how_often_intervals_hold(tmp_path: Path) -> None:
    """In studies of five runs each the nominal 95 % intervals of bins that were seen hold the exact
    weight in 90 % of the cases at least, over the barrier too."""
    height, edges = 4.0, np.linspace(-1.4, 1.4, 15)
    exact = weights_of(height, edges)
    store = runs_of(tmp_path, double_well(height), range(1, 1 + 5 * N_STUDIES), 100, N_STEPS)
    runs = sorted(load_runs(store))
    held = []
    for first in range(0, 5 * N_STUDIES, 5):
        profile = load_profile(
            store, runs[first : first + 5], along="position(index 0, x)", bins=edges
        )
        inside = (profile.low <= exact) & (exact <= profile.high)
        held.append(inside[profile.n_walkers >= 30])
    coverage = np.concatenate(held).mean()
    print(f"coverage {coverage:.3f} of {sum(map(len, held))} intervals")
    assert 0.9 <= coverage <= 0.99
