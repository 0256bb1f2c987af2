"""What was warped in a run, cycle by cycle, from its recording."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.records.parts import read_columns
from wepystore.records.recording import CYCLE_IDX, Part, Recording
from wepystore.records.values import reading
from wepystore.reporters.flux import Flux
from wepystore.store.store import Store

_CYCLES, _WEIGHTS = f"warping/{CYCLE_IDX}", "warping/weight"


def flux_after(
    flux: Flux, n_done: int, recording: Recording, cycle_time: float, store: Store
) -> Flux:
    """A flux up to `n_done` cycles of a run, and the cycles since.

    Parameters
    ----------
    recording : Recording
        Of that run. Of its objects those are looked at that hold any of these cycles, and in them
        these columns.
    cycle_time : float
        The time of one walker in a cycle.

    Raises DamagedError, MissingError.
    """
    first = 0
    for part in recording.tables:
        begin, stop = max(first, n_done), first + part.n_cycles
        if begin < stop:
            cycles, weights = _warps(part, recording, store)
            ends = np.searchsorted(cycles, np.arange(begin, stop + 1)).tolist()
            held = weights.tolist()
            warped = (held[first_warp:last] for first_warp, last in pairwise(ends))
            flux = flux.after_cycles(cycle_time, warped)
        first = stop
    return flux


def _warps(
    part: Part, recording: Recording, store: Store
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """In which cycle each warp was, and its weight; without those that do not tell it."""
    wanted = (_CYCLES, _WEIGHTS)
    if not set(wanted) <= set(recording.columns):
        return np.empty(0), np.empty(0)
    where = "what was warped"
    found = read_columns(part, recording.columns, wanted, store, where)
    with reading("table", where):
        cycles, weights = (np.asarray(found[name]) for name in wanted)
        if not len(cycles):
            return np.empty(0), np.empty(0)
        weights = weights.reshape(len(cycles), -1)[:, 0].astype(np.float64)
        told = np.isfinite(weights)
        return cycles[told], weights[told]
