"""Small molecular systems, and ways to run them, for tests of all rooms."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from tests.warm import EARLY, Warm
from wepystore.api import (
    Apparatus,
    Configuration,
    OpenMMRunner,
    PairDistance,
    Prepared,
    SerialMapper,
    Snapshot,
    Store,
    UnbindingBC,
    Walker,
    WalkerState,
    WExploreResampler,
    as_walker_state,
    reconcile,
)
from wepystore.orchestrator.run.request import RunRequest
from wepystore.orchestrator.run.run import run
from wepystore.orchestrator.run.start import start_from
from wepystore.orchestrator.run.watching import Begun, RunOutcome, Watcher
from wepystore.records.run import RunRecord, encode_run
from wepystore.records.sinks import Remembering

REPOSITORY = Path(__file__).resolve().parents[1]
Done = subprocess.CompletedProcess[str]
SIGMA_NM = 0.335


def pair_system() -> openmm.System:
    """Two argon-like particles that attract each other; no box."""
    system = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(39.9)
        force.addParticle(0.0, SIGMA_NM, 41.84)
    system.addForce(force)
    return system


def pair_topology(n_atoms: int = 2) -> app.Topology:
    """As many argon atoms, each a residue of its own."""
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(n_atoms):
        topology.addAtom("Ar", app.Element.getBySymbol("Ar"), topology.addResidue("Ar", chain))
    return topology


def pair_state(distance: float = 2 ** (1 / 6) * SIGMA_NM) -> WalkerState:
    """The pair at a distance in nm, at rest."""
    return as_walker_state([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], np.eye(3) * 4.0)


def langevin(step_ps: float = 0.002) -> openmm.LangevinIntegrator:
    """300 K, 1/ps."""
    return openmm.LangevinIntegrator(300.0, 1.0, step_ps)


def pair_runner(**options: Any) -> OpenMMRunner:
    """The pair on the Reference platform."""
    options.setdefault("platform", "Reference")
    return OpenMMRunner(pair_system(), pair_topology(), langevin(), **options)


def pair_apparatus(**parts: Any) -> Apparatus:
    """Runner, unbinding boundary and WExplore for the pair; `parts` replace some of them.

    The boundary and the regions are narrow, so that a few short cycles warp, clone and merge.
    """
    parts.setdefault("runner", pair_runner())
    parts.setdefault(
        "boundary_conditions",
        UnbindingBC(0.42, [pair_state()], ligand_idxs=[0], receptor_idxs=[1], periodic=False),
    )
    parts.setdefault(
        "resampler",
        WExploreResampler(
            PairDistance(0, 1, periodic=False),
            max_n_regions=(10, 10),
            max_region_sizes=(0.02, 0.005),
            pmax=0.5,
        ),
    )
    return Apparatus(**parts)


def pair_snapshot(n_walkers: int = 6, apparatus: Apparatus | None = None) -> Snapshot:
    """So many pairs in one state, of equal weight."""
    start = pair_state()
    # Of fewer than four none can be merged below the apparatus's pmax, which nobody may build.
    make = Snapshot if n_walkers > 3 else Snapshot.as_found
    return make(
        [Walker(start, 1 / n_walkers) for _ in range(n_walkers)], apparatus or pair_apparatus()
    )


def salt_system(n_side: int = 4, spacing: float = 0.5) -> tuple[openmm.System, WalkerState]:
    """A small periodic box of charged Lennard-Jones particles with PME."""
    box = n_side * spacing
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * box))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setCutoffDistance(0.45 * box)
    grid = np.array(list(np.ndindex(n_side, n_side, n_side)))
    for cell in grid:
        system.addParticle(30.0)
        force.addParticle(0.5 if cell.sum() % 2 else -0.5, 0.3, 0.5)
    system.addForce(force)
    positions = grid * spacing + 0.03 * np.random.default_rng(5).normal(size=grid.shape)
    return system, as_walker_state(positions, np.eye(3) * box)


def salt_apparatus(platform: str = "CPU") -> tuple[Apparatus, WalkerState]:
    """The box on a platform, WExplore on two of its particles."""
    system, state = salt_system()
    return (
        Apparatus(
            OpenMMRunner(
                system, pair_topology(len(state["positions"])), langevin(), platform=platform
            ),
            None,
            WExploreResampler(
                PairDistance(0, 1),
                max_n_regions=(10, 10),
                max_region_sizes=(0.01, 0.002),
                pmax=0.5,
            ),
        ),
        state,
    )


@dataclass
class Recorder(Watcher):
    """A watcher that remembers what it was told."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    on_cycle: Any = None
    on_checkpoint: Any = None

    def begun(self, what: Begun) -> None:
        self.events.append(("begun", what.seed, what.n_walkers))

    def cycle_done(self, progress: Any) -> None:
        self.events.append(("cycle", progress))
        if self.on_cycle is not None:
            self.on_cycle(progress)

    def checkpoint_written(self, end: str, n_cycles: int, seconds: float) -> None:
        self.events.append(("checkpoint", end, n_cycles))
        if self.on_checkpoint is not None:
            self.on_checkpoint(n_cycles)

    def stopping(self, signal_name: str) -> None:
        self.events.append(("stopping", signal_name))

    def remark(self, text: str) -> None:
        self.events.append(("remark", text))


def run_job(
    store: Store,
    snapshot: str,
    job_dir: Path,
    watcher: Any = None,
    configuration: str | None = None,
    **options: Any,
) -> RunOutcome:
    """Run from a snapshot of a store: 3 cycles of 10 steps with seed 1 unless told otherwise."""
    for name, value in {
        "seconds": 1e6,
        "n_steps": 10,
        "n_cycles": 3,
        "seed": 1,
        "job_name": "job",
    }.items():
        options.setdefault(name, value)
    start = start_from(store, snapshot, configuration)
    given = {name: value for name, value in options.items() if value is not None}
    return run(start, RunRequest(job_dir=job_dir, **given), watcher or Recorder())


def run_in_turn(
    prepared: Prepared, folder: Path, lengths: Sequence[int], **options: Any
) -> tuple[Store, list[str]]:
    """Runs of so many cycles, each from where the one before ended: one store with all of them, and
    their records. Their jobs are folder/job0 and so on."""
    store, start, runs = prepared.store, prepared.snapshot_hash, []
    for place, n_cycles in enumerate(lengths):
        job = folder / f"job{place}"
        done = run_job(store, start, job, n_cycles=n_cycles, **options)
        reconcile(folder / "all.orch", job)
        store, start = Store.open(folder / "all.orch"), done.end
        assert done.record is not None
        runs.append(done.record)
    return store, runs


def plain_configuration(mapper: Any = None, reporters: Sequence[Any] = ()) -> Configuration:
    """Serial and silent unless told otherwise."""
    return Configuration(work_mapper=mapper or SerialMapper(), reporters=list(reporters))


def save_run(store: Store, record: RunRecord) -> str:
    """Put a run's record into a store; its hash."""
    with store.batch() as batch:
        return encode_run(record, Remembering(batch, {})).md5


def bits(walkers: Sequence[Any]) -> str:
    """A digest of all weights and states, to the bit."""
    digest = hashlib.sha256()
    for walker in walkers:
        digest.update(np.float64(walker.weight).tobytes())
        for name in sorted(walker.state):
            array = np.asarray(walker.state[name])
            digest.update(f"{name} {array.shape} {array.dtype}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process that imports this very checkout."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}


@cache
def _warm(**early: str) -> Warm:
    return Warm(sys.executable, environment(**early))


def _run(words: Sequence[object], cwd: Path | None, more: dict[str, str]) -> Done:
    warm = _warm(**{name: more[name] for name in EARLY if name in more})
    return warm.run([str(word) for word in words], environment(**more), cwd)


def python(
    script: Path | str, *arguments: str | os.PathLike[str], cwd: Path | None = None, **more: str
) -> str:
    """Run a script (a path) in a process of its own; what it printed. Fails with its stderr."""
    done = _run([script, *arguments], cwd, more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def program(*words: object, cwd: Path | None = None, **more: str) -> Done:
    """What `wepy WORDS` did, in a process of its own with `more` in its environment."""
    return _run(["-m", "wepystore", *words], cwd, more)


def tree_of(root: Path) -> dict[str, tuple[int, int, str]]:
    """Every file under a directory with its size, time of change and MD5."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.md5(path.read_bytes()).hexdigest(),
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
