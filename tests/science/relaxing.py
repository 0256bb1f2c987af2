"""A lattice with an intermediate: its flux into the target takes 1,461 cycles to become steady.

Two barriers of 8 kT, and between them a well 5.05 kT deep that has to fill first; one step a cycle.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.science.reference import Chain
from wepystore.api import (
    Apparatus,
    BinResampler,
    PositionCoordinate,
    Snapshot,
    TargetBC,
    Walker,
    WalkerState,
)
from wepystore.engine.runners.base import EnsembleRunner

N_SITES, N_WALKERS = 21, 48
TARGET = N_SITES - 1
#: Cycles.
RELAXATION, MFPT = 1460.6355, 73210.371
#: kT
ENERGIES = np.interp(np.linspace(0, 1, N_SITES), [0, 0.25, 0.5, 0.75, 1], [0, 8, 2.95, 8, 0])
#: Part of the steps that are tried in each direction.
_TRIED = 0.3


def chain() -> Chain:
    """The walk, from the first site; Metropolis."""
    up = _TRIED * np.minimum(1, np.exp(-np.diff(ENERGIES)))
    down = _TRIED * np.minimum(1, np.exp(np.diff(ENERGIES)))
    matrix = np.diag(up, 1) + np.diag(down, -1)
    matrix += np.diag(1 - matrix.sum(axis=1))
    sites = np.arange(N_SITES, dtype=np.float64)
    return Chain(sites, matrix, (sites == 0).astype(np.float64))


@cache
def _below() -> NDArray[np.float64]:
    """The probability to go no farther than each site but the last, from each."""
    return np.cumsum(chain().matrix, axis=1)[:, :-1]


class Lattice(EnsembleRunner):
    """Moves the x of the one atom from site to site."""

    def move(
        self,
        positions: NDArray[np.float64],
        n_steps: int,
        rng: np.random.Generator,
        cycle_idx: int | None,
    ) -> None:
        for _ in range(n_steps):
            sites = positions[:, 0, 0].astype(np.int64)
            drawn = rng.random(len(sites))
            positions[:, 0, 0] = (_below()[sites] <= drawn[:, np.newaxis]).sum(axis=1)


def snapshot(**options: Any) -> Snapshot:
    """All walkers at the first site; those at the last go back there; one bin for each site."""
    start = WalkerState(positions=np.zeros((1, 3)))
    coordinate = PositionCoordinate()
    apparatus = Apparatus(
        Lattice(),
        TargetBC(coordinate, [start], threshold=TARGET - 0.5),
        BinResampler(coordinate, np.arange(0.5, TARGET), 3, **options),
    )
    return Snapshot([Walker(start, 1 / N_WALKERS) for _ in range(N_WALKERS)], apparatus)


#: Places of `fine`, and in each bin of a resampler that has as many as the lattice; its target,
#: and its times in cycles.
N_FINE, FINE_WIDTH, FINE_TARGET = 400, 20, 1.0
FINE_RELAXATION, FINE_MFPT = 1415.965, 42429.43


def fine() -> Chain:
    """The like of it among 400 places, some of which a step passes over: no bin is one place.

    x in [0, 1], reflecting at 0, in cubic slopes between the energies; normal steps that are as
    wide as the lattice's.
    """
    places = (np.arange(N_FINE) + 0.5) / (N_FINE - 1)
    knots, heights = np.linspace(0, 1, 5), np.array([0, 8, 2.95, 8, 0])
    slope = np.minimum(np.searchsorted(knots, places, "right") - 1, 3)
    along = (places - knots[slope]) / 0.25
    force = -np.diff(heights)[slope] * 24 * along * (1 - along)
    variance = 2 * _TRIED / (N_SITES - 1) ** 2
    mean = (places + variance / 2 * force)[:, np.newaxis]
    kernel = sum(np.exp(-((sign * places - mean) ** 2) / (2 * variance)) for sign in (1, -1))
    matrix = kernel / kernel.sum(axis=1, keepdims=True)
    return Chain(places, matrix, (np.arange(N_FINE) == 0).astype(np.float64))
