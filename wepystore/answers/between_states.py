"""Rates between two states that coordinates tell, with or without warps.

Each walker has the colour of the state that its history was in last, back through clones, merges
and continued runs: so has WESTPA's w_direct. The rate from A into B is the weight that comes into B
in a cycle of walkers whose colour was A, over the weight of all walkers whose colour was A when the
cycle began. Values are those after the segments, before warps and resampling. A walker that begins
anew after a warp begins with colour A, the state that is left: where the boundary conditions put
walkers back is what a rate with warps is from. Who has been in neither state yet has no colour.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.ancestry import earliest, parent_rows
from wepystore.answers.arrivals import Arrivals, warps_of
from wepystore.answers.columns import Ints
from wepystore.answers.errors import StatesOverlapError, StateTextError
from wepystore.answers.measured import Along, Measure, measure_of, measured
from wepystore.answers.study import Chain, Study
from wepystore.records.recording import WEIGHTS

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ONE_SIDED = re.compile(rf"(.+?)\s*(<=|>=|<|>)\s*({_NUMBER})")
_TWO_SIDED = re.compile(rf"({_NUMBER})\s*(<=|<)\s*(.+?)\s*(<=|<)\s*({_NUMBER})")


class Bounds(NamedTuple):
    """Between which values a coordinate is; without the ends where these are open.

    Attributes
    ----------
    along : str, Coordinate or callable
        As of measure_of.
    low, high : float
    low_open, high_open : bool
    """

    along: Along
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True

    def hold(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these are between them."""
        above = values > self.low if self.low_open else values >= self.low
        below = values < self.high if self.high_open else values <= self.high
        inside: NDArray[np.bool_] = above & below
        return inside


@dataclass(frozen=True)
class State:
    """Values of coordinates: of one or, all of them at once, of several.

    Attributes
    ----------
    text : str
    bounds : tuple of Bounds
    """

    text: str
    bounds: tuple[Bounds, ...]

    @classmethod
    def read(cls, text: str) -> State:
        """Of a text such as "progress < 0.4", "-80 < torsion(@phi-2) <= -40", or several of these
        with "and" between them. Raises StateTextError."""
        parts = re.split(r"\s+and\s+|\s*&+\s*", text.strip())
        return cls(" ".join(text.split()), tuple(_bounds(part, text) for part in parts))


AState = State | str


def _bounds(part: str, text: str) -> Bounds:
    if match := _TWO_SIDED.fullmatch(part.strip()):
        low, first, along, second, high = match.groups()
        found = Bounds(along, float(low), float(high), first == "<", second == "<")
    elif match := _ONE_SIDED.fullmatch(part.strip()):
        along, sign, number = match.groups()
        value, is_open = float(number), len(sign) == 1
        if sign[0] == "<":
            found = Bounds(along, high=value, high_open=is_open)
        else:
            found = Bounds(along, low=value, low_open=is_open)
    else:
        raise StateTextError(text=text, part=part.strip())
    if not found.low < found.high:
        raise StateTextError(text=text, part=part.strip())
    return found


def transitions_of(
    study: Study, states: tuple[AState, AState]
) -> tuple[tuple[str, str], dict[int, tuple[Arrivals, Arrivals]]]:
    """Who went from one state to the other.

    Parameters
    ----------
    study : Study
    states : two of State or str

    Returns
    -------
    names : of the states
    arrivals : for the id of each chain the arrivals in the second state, and those in the first

    Raises
    ------
    WepystoreError : StateTextError, StatesOverlapError; as measure_of and measured;
        UntraceableError, UnusableWeightsError, DamagedError.
    """
    names, colours = colours_of(study, states)
    return names, {chain: _between(each) for chain, each in colours.items()}


class Colours(NamedTuple):
    """Which state the histories of walkers were in last; a row for each walker of each cycle.

    Attributes
    ----------
    warps : Arrivals
    in_a, in_b : ndarray of bool
        Who was in the first and in the second state after the segment.
    parents : ndarray of int
        The row of the walker whose state the segment began from; -1 where nobody knows.
    anew : ndarray of bool
        Whether it began where a warp leads.
    before : ndarray of int
        The colour in the segment: 0 of the first state, 1 of the second, -1 of neither.
    """

    warps: Arrivals
    in_a: NDArray[np.bool_]
    in_b: NDArray[np.bool_]
    parents: Ints
    anew: NDArray[np.bool_]
    before: Ints


def colours_of(
    study: Study, states: tuple[AState, AState]
) -> tuple[tuple[str, str], dict[int, Colours]]:
    """As transitions_of, for the id of each chain the colours of its walkers."""
    a, b = (State.read(each) if isinstance(each, str) else each for each in states)
    measures = {
        bounds.along: measure_of(study, bounds.along) for each in (a, b) for bounds in each.bounds
    }
    found = {}
    for chain in study.chains:
        warps = warps_of(chain)
        values = _Values(chain, measures)
        inside = values.inside(a), values.inside(b)
        both = np.flatnonzero(inside[0] & inside[1])
        if len(both):
            cycle = int(np.searchsorted(warps.first, both[0], "right")) - 1
            raise StatesOverlapError(
                a=a.text, b=b.text, walker=both[0] - warps.first[cycle], cycle=cycle, run=chain.run
            )
        found[id(chain)] = _coloured(warps, *inside)
    return (a.text, b.text), found


class _Values:
    """Coordinates of all walkers of a chain; NaN in cycles of which no frames are kept."""

    def __init__(self, chain: Chain, measures: dict[Along, Measure]) -> None:
        self._chain, self._measures = chain, measures
        self._held: dict[Along, NDArray[np.float64]] = {}

    def inside(self, state: State) -> NDArray[np.bool_]:
        """Which walkers of which cycles are in a state, one row for each."""
        found = [bounds.hold(self._of(bounds.along)) for bounds in state.bounds]
        inside: NDArray[np.bool_] = np.logical_and.reduce(found)
        return inside

    def _of(self, along: Along) -> NDArray[np.float64]:
        if along not in self._held:
            chain = self._chain
            known = measured(chain, self._measures[along], np.ones(chain.n_cycles, bool))
            counts = chain.tables["n_walkers"]
            if known.values.ndim != 1:
                label = self._measures[along].label
                raise StateTextError(text=label, part=f"{label}, which is several numbers,")
            values = np.full(int(counts.sum()), np.nan)
            has = np.zeros(len(counts), bool)
            has[known.cycles] = True
            values[np.repeat(has, counts)] = known.values
            self._held[along] = values
        return self._held[along]


def _coloured(warps: Arrivals, in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]) -> Colours:
    parents, first = parent_rows(warps.chain), warps.first
    warped = np.zeros(len(parents), bool)
    warped[warps.ended_rows] = True
    # The last row is of nobody, and who has no parent begins with no colour.
    anew = (parents >= 0) & warped[parents]
    last = earliest(np.where(in_a | in_b | anew, -1, parents), first)
    colour = np.select([in_a[last], in_b[last], anew[last]], [0, 1, 0], -1)
    before = np.where(parents < 0, -1, np.where(anew, 0, colour[parents]))
    return Colours(warps, in_a, in_b, parents, anew, before)


def _between(colours: Colours) -> tuple[Arrivals, Arrivals]:
    """The arrivals in B of those from A, and the other way."""
    chain, first = colours.warps.chain, colours.warps.first
    in_a, in_b, before = colours.in_a, colours.in_b, colours.before
    weights = chain.tables[WEIGHTS]
    cycles = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return (
        _arrivals(chain, first, weights, cycles, in_b & (before == 0), before == 0),
        _arrivals(chain, first, weights, cycles, in_a & (before == 1), before == 1),
    )


def _arrivals(
    chain: Chain,
    first: Ints,
    weights: NDArray[np.float64],
    cycles: Ints,
    arrived: NDArray[np.bool_],
    coloured: NDArray[np.bool_],
) -> Arrivals:
    rows = np.flatnonzero(arrived)
    exposure = np.bincount(cycles[coloured], weights[coloured], chain.n_cycles)
    cycle = cycles[rows]
    return Arrivals(
        chain,
        cycle,
        rows - first[cycle],
        weights[rows],
        first,
        exposure=exposure.astype(np.float64),
        are_warps=False,
    )
