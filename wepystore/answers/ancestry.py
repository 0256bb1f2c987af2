"""Where walkers who arrived came from: from how many, and how long they took (for RED).

A recording does not say where the initial state ends. What is taken for it is where half of all
weight is that counts, by the progress that the boundary conditions record: the half that is farther
from the target. It is left by a walker that crosses that median for the last time before it
arrives. Who begins anew after a warp begins there, and so do all when a run begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.arrivals import Arrivals, Floats
from wepystore.answers.columns import Ints, Records, read_columns
from wepystore.answers.parents import parents_of
from wepystore.answers.study import Chain
from wepystore.records.recording import CONTINUAL, LENGTHS, WEIGHTS

#: As many walkers of all are enough for their median.
_SAMPLE = 1 << 16
#: As the decisions of this package and of wepy are numbered, where a recording does not say.
_SQUASH = 3

#: The arrivals of a chain, and which of its cycles count.
Counted = tuple[Arrivals, NDArray[np.bool_]]


class InitialState(NamedTuple):
    """Walkers whose progress is at most, or at least, `value`.

    Attributes
    ----------
    field : str
        Name of the column.
    value : float
    is_below : bool
        Whether walkers that are no farther than `value` are in it.
    """

    field: str
    value: float
    is_below: bool

    def has(self, progress: Floats) -> NDArray[np.bool_]:
        """Which of these are in it."""
        inside: NDArray[np.bool_] = (
            progress <= self.value if self.is_below else progress >= self.value
        )
        return inside


class Traced(NamedTuple):
    """Of each arrival of a chain, where it came from.

    Attributes
    ----------
    origins : ndarray of int
        The walker of the first cycle that counts from which it got its weight, back through warps;
        -1 for those before, and where no record says.
    durations : ndarray of int, or None
        Cycles since its ancestors were last in the initial state, 1 or more; None where that is not
        known.
    """

    origins: Ints
    durations: Ints | None


def initial_state(chains: Sequence[Counted]) -> InitialState | None:
    """Of the cycles of chains that count; None where no progress tells it. Raises DamagedError."""
    for name in chains[0][0].chain.tables:
        if name.startswith(f"{CONTINUAL}/") and not name.endswith(f"/{LENGTHS}"):
            found = _of_field(chains, name)
            if found is not None:
                return found
    return None


def _of_field(chains: Sequence[Counted], name: str) -> InitialState | None:
    progress, weights, ends, end_weights = [], [], [], []
    every = 1 + sum(int(arrivals.first[-1]) for arrivals, _ in chains) // _SAMPLE
    for arrivals, counts in chains:
        values = _progress_of(arrivals, name)
        if values is None:
            return None
        rows = np.flatnonzero(np.repeat(counts, np.diff(arrivals.first)))[::every]
        progress.append(values[rows])
        weights.append(arrivals.chain.tables[WEIGHTS][rows])
        inside = counts[arrivals.cycle]
        ends.append(values[arrivals.rows[inside]])
        end_weights.append(arrivals.weight[inside])
    values, held = np.concatenate(progress), np.concatenate(weights)
    arrived, carried = np.concatenate(ends), np.concatenate(end_weights)
    if not len(arrived) or not np.isfinite(values).all() or not np.isfinite(arrived).all():
        return None
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(held[order])
    median = float(values[order][np.searchsorted(shares, shares[-1] / 2)])
    mean = float((arrived * carried).sum() / carried.sum())
    return None if mean == median else InitialState(name, median, mean > median)


def _progress_of(arrivals: Arrivals, name: str) -> Floats | None:
    """A column of one number for each walker of each cycle; None where it is none."""
    found = arrivals.chain.tables[name]
    if found.dtype.kind not in "iuf" or found.shape != (int(arrivals.first[-1]),):
        return None
    return found.astype(np.float64, copy=False)


def trace(arrivals: Arrivals, counts: NDArray[np.bool_], state: InitialState | None) -> Traced:
    """Where the arrivals of a chain came from. Raises UntraceableError, DamagedError.

    Parameters
    ----------
    arrivals, counts : those of a chain, and which of its cycles count
    state : the initial state, if that is known
    """
    parents = parent_rows(arrivals.chain, arrivals.first)
    durations = None if state is None else _durations(arrivals, parents, state)
    start = int(counts.argmax())
    first, last = arrivals.first[start : start + 2].tolist()
    parents[:last] = -1
    origins = earliest(parents, first)[arrivals.rows]
    return Traced(np.where((origins >= first) & (origins < last), origins - first, -1), durations)


def _durations(arrivals: Arrivals, parents: Ints, state: InitialState) -> Ints:
    progress = _progress_of(arrivals, state.field)
    assert progress is not None
    inside = state.has(progress)
    warped = np.zeros(len(parents), bool)
    warped[arrivals.rows] = True
    # The last row is of nobody.
    stops = inside | (parents < 0) | warped[parents]
    found = earliest(np.where(stops, -1, parents))[arrivals.rows]
    cycle = np.searchsorted(arrivals.first, found, "right") - 1
    taken: Ints = np.maximum(1, arrivals.cycle - cycle + ~inside[found])
    return taken


def parent_rows(chain: Chain, first: Ints) -> Ints:
    """Of each walker of each cycle the row of its parent, -1 where there is none; rows begin with
    `first` in each cycle."""
    records = Records(read_columns(chain.tables, ["resampling"]), "resampling", chain.run)
    parents = parents_of(records, chain.tables.recording.decisions.get("SQUASH", _SQUASH))
    before = np.repeat(np.append(0, first[:-2]), np.diff(first))
    return np.where(parents < 0, -1, before + parents)


def earliest(parents: Ints, first: int = 0) -> Ints:
    """For each row the earliest one that it descends from, perhaps itself.

    Parameters
    ----------
    parents : ndarray of int, shape (n,)
        Of each row one before it; -1 for none.
    first : int
        Of rows before this nothing is asked.
    """
    found = np.where(parents < first, np.arange(len(parents)), parents)
    while True:
        # Each time twice as far.
        further = found[found]
        if np.array_equal(further[first:], found[first:]):
            return found
        found = further
