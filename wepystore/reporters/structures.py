"""Reporters of structures: what a viewer opens next to the trajectories.

A runner without a topology (a model on a grid, a potential in closed form)
has no atoms that a structure file could name; both reporters then write nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.selections import WATER
from wepystore.coordinates.superposition import rotations
from wepystore.engine.protocols import StructureCapabilities
from wepystore.engine.structure_files import pdb_text, write_dcd
from wepystore.engine.topology import openmm_topology
from wepystore.engine.walker import Walker
from wepystore.reporters.base import Reporter, draft_name, named_errors, replace_file
from wepystore.reporters.files import replacing

#: Share of the run's time that rewriting the walkers may take.
_SHARE = 0.05

#: The least time between two rewrites, in seconds: nobody looks more often.
_LEAST_S = 5.0


class InitTopologyReporter(Reporter):
    """Writes `JOB.init_top.pdb`: the first walker as it was when the run began."""

    suffix: ClassVar[str] = ".init_top.pdb"

    def init(self, *, init_walkers: Sequence[Walker], runner: Any = None, **parts: Any) -> None:
        """Write the file; nothing is added to it later."""
        system = StructureCapabilities(runner)
        if not system.topology or (self._resume_at is not None and os.path.exists(self.path)):
            # A resumed job begins at a checkpoint; the file shows the true beginning.
            return
        state = init_walkers[0].state
        box = state.dict().get("box_vectors") if system.has_box else None
        replace_file(self.path, pdb_text(system.topology, state["positions"], box).encode())


class WalkerReporter(Reporter):
    """Writes `JOB.walkers.dcd`: the walkers as they go into the next cycle, one frame each, and
    `JOB.walkers.csv`: their weights.

    Each is laid over the first by all atoms that are not water's, so that a viewer shows how they
    differ and not how they have tumbled; the sides and angles of a box are as they were.

    Rewritten whole, at most every 5 s and for at most about 5 % of the time, at
    each `flush` and at the end. The topology for it is in `JOB.init_top.pdb`.
    """

    suffix: ClassVar[str] = ".walkers.dcd"

    _topology: Any = None
    _walkers: Sequence[Any] | None = None
    _has_box = True
    _solute: NDArray[np.int64] | None = None

    def init(self, *, init_walkers: Sequence[Walker], runner: Any = None, **parts: Any) -> None:
        """Parse the topology."""
        system = StructureCapabilities(runner)
        self._topology = openmm_topology(system.topology) if system.topology else None
        if self._topology is not None:
            self._solute = _solute_of(self._topology)
        self._has_box = bool(system.has_box)
        self._walkers = None
        self._next = time.monotonic() + _LEAST_S

    def report(self, **report: Any) -> None:
        """Hold on to the walkers; write them if that was long enough ago."""
        self._walkers = report["resampled_walkers"]
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write the walkers of the last cycle."""
        if self._topology is None or self._walkers is None:
            return
        began = time.monotonic()
        states = [walker.state.dict() for walker in self._walkers]
        boxes = None
        if self._has_box and all("box_vectors" in state for state in states):
            boxes = [state["box_vectors"] for state in states]
        draft = draft_name(self.path)
        with named_errors(self.path), replacing(self.path, draft) as file:
            positions = _over_the_first([state["positions"] for state in states], self._solute)
            write_dcd(file, self._topology, positions, boxes)
        weights = (f"{place},{float(w.weight)!r}\n" for place, w in enumerate(self._walkers))
        beside = self.path.removesuffix(".dcd") + ".csv"
        replace_file(beside, "".join(("walker,weight\n", *weights)).encode())
        self._walkers = None
        now = time.monotonic()
        self._next = now + max(_LEAST_S, (now - began) / _SHARE)


def _solute_of(topology: Any) -> NDArray[np.int64]:
    """The numbers of all atoms that are not water's, or if there are none of all."""
    every = list(topology.atoms())
    found = [atom.index for atom in every if atom.residue.name not in WATER]
    return np.array(found or [atom.index for atom in every], np.int64)


def _over_the_first(positions: Sequence[Any], solute: Any) -> Iterable[Any]:
    """Each laid over the first by these atoms, one after the other; as they are where that cannot
    be, which whoever writes them may say."""
    try:
        held = np.array([np.asarray(each)[solute] for each in positions], np.float64)
    except (IndexError, ValueError):
        return positions
    # Of squares as well; false of what is no number.
    if held.ndim != 3 or held.shape[-1] != 3 or not held.size or not (np.abs(held) < 1e100).all():
        return positions
    centres = held.mean(axis=1)
    turns = rotations(held - centres[:, None], held[0] - centres[0], least=True)
    return (
        (np.asarray(each) - centre) @ turn + centres[0]
        for each, centre, turn in zip(positions, centres, turns, strict=True)
    )
