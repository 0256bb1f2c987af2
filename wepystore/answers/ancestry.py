"""Where walkers who arrived came from: from how many, and how long they took (for RED).

A recording does not say where the initial state ends. What is taken for it is where half of all
weight is that counts, by the progress that the boundary conditions record: the half that is farther
from the target. It is left by a walker that crosses that median for the last time before it
arrives. Who begins anew after a warp begins there, and so do all when a run begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.arrivals import Arrivals, Floats
from wepystore.answers.columns import Ints, Records, read_columns
from wepystore.answers.parents import parent_rows_of
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
    parents = parent_rows(arrivals.chain)
    durations = None if state is None else _durations(arrivals, parents, state)
    start = int(counts.argmax())
    # Of what was before nothing is asked.
    first = arrivals.first[start:] - arrivals.first[start]
    parents = parents[arrivals.first[start] :] - arrivals.first[start]
    rows = np.maximum(-1, arrivals.rows - arrivals.first[start])
    origins = np.where(rows < 0, -1, earliest(parents, first, rows))
    return Traced(np.where(origins < first[1], origins, -1), durations)


def _durations(arrivals: Arrivals, parents: Ints, state: InitialState) -> Ints:
    progress = _progress_of(arrivals, state.field)
    assert progress is not None
    inside = state.has(progress)
    warped = np.zeros(len(parents), bool)
    warped[arrivals.ended_rows] = True
    # The last row is of nobody.
    stops = inside | (parents < 0) | warped[parents]
    parents = np.where(stops, -1, parents)
    found = earliest(parents, arrivals.first, arrivals.rows)
    cycle = np.searchsorted(arrivals.first, found, "right") - 1
    taken: Ints = np.maximum(1, arrivals.cycle - cycle + ~inside[found])
    return taken


def parent_rows(chain: Chain) -> Ints:
    """Of each walker of each cycle the row of its parent, -1 where there is none. Raises
    UntraceableError, DamagedError."""
    columns = read_columns(chain.tables, ["resampling"], more=())
    records = Records(columns, "resampling", chain.run)
    return parent_rows_of(records, chain.tables.recording.decisions.get("SQUASH", _SQUASH))


def earliest(parents: Ints, first: Ints, asked: Ints | None = None) -> Ints:
    """For each row the earliest one that it descends from, perhaps itself.

    Parameters
    ----------
    parents : ndarray of int, shape (n,)
        Of each row one of the cycle before; below 0 for none.
    first : ndarray of int, shape (n_cycles + 1,)
        Where the rows of each cycle begin.
    asked : ndarray of int, or None
        Rows; None for all.
    """
    found, n_cycles, counts = np.arange(len(parents)), len(first) - 1, np.diff(first)
    length = math.isqrt(n_cycles) + 1
    # Within stretches of so many cycles, all at once; then from one to the next.
    for place in range(1, min(length, n_cycles)):
        cycles = slice(place, n_cycles, length)
        here = counts[cycles]
        ends = np.cumsum(here)
        rows = np.repeat(first[:-1][cycles] - ends + here, here) + np.arange(ends[-1])
        before = parents[rows]
        found[rows] = np.where(before < 0, rows, found[before])
    for cycle in range(length, n_cycles, length):
        begin = slice(first[cycle], first[cycle + 1])
        before = parents[begin]
        found[begin] = np.where(before < 0, found[begin], found[found[before]])
    return found[found if asked is None else found[asked]]
