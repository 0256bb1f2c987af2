"""The flux of weight into a target while a run goes on, in a memory of constant size.

The cycles so far are cut into blocks of one length. Once there are 64, pairs of them
are joined: 32 of twice the length. So at any time the run is known in 32 to 64 pieces
(fewer in its first cycles), which is a function of the cycles alone: a run that was
killed and resumed has the same.

What is told is the rate in the last half. At first no walker is near the target, and a mean over
all cycles would carry that start along for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wepystore.estimates.ratios import N_BATCHES, effective_of, of_parts

#: Blocks are joined in pairs when there are so many.
_MOST_BLOCKS = 64
#: The window is a half of the run, in so many parts.
_N_PARTS = N_BATCHES
#: Fewer warps of equal weight make no figure.
_FEWEST = 4.0


class Block(NamedTuple):
    """Some cycles: how many, the time of one walker in them, and what was warped."""

    n_cycles: int = 0
    time: float = 0.0
    weight: float = 0.0
    squares: float = 0.0
    n_warps: int = 0

    @property
    def rate(self) -> float:
        """Warped weight over time."""
        return self.weight / self.time if self.time else 0.0


_NOTHING = Block()


def _sum(blocks: Sequence[Block]) -> Block:
    return Block(*(sum(numbers) for numbers in zip(*blocks, strict=True))) if blocks else Block()


@dataclass(frozen=True)
class Estimate:
    """The rate in the last half of a run.

    Attributes
    ----------
    first, last : int
        The first and the last cycle of the window, counted from 1.
    rate, low, high : float
        1 / unit of time; the interval is made from this run alone.
    n_warps : int
    effective : float
        So many warps of equal weight tell as much: (sum w)^2 / sum w^2.
    before : float
        The rate before the window.
    """

    first: int
    last: int
    rate: float
    low: float
    high: float
    n_warps: int
    effective: float
    before: float

    @property
    def tells(self) -> bool:
        """Whether it is a figure, and not what one or two warps make, or miss."""
        return self.effective >= _FEWEST and not self.falls

    @property
    def rises(self) -> bool:
        """Whether the rate was lower before, beyond what the interval leaves to chance."""
        return self.before < self.low

    @property
    def falls(self) -> bool:
        """Whether the rate was higher before, beyond what the interval leaves to chance."""
        return self.before > self.high


@dataclass(frozen=True)
class Flux:
    """What was warped in each stretch of a run.

    Attributes
    ----------
    first : int
        Cycles of the run that are not in it.
    length : int
        Cycles in each of `blocks`.
    current : Block
        The cycles since, fewer than `length`.
    """

    first: int = 0
    length: int = 1
    blocks: tuple[Block, ...] = ()
    current: Block = _NOTHING

    def after(self, time: float, weights: Sequence[float]) -> Flux:
        """This and one more cycle, in which walkers of these weights were warped."""
        return self.after_cycles(time, [weights])

    def after_cycles(self, time: float, warped: Iterable[Sequence[float]]) -> Flux:
        """This and as many more cycles, to the bit as one after the other; of each the weights."""
        blocks, length = self.blocks, self.length
        n_cycles, total, weight, squares, n_warps = self.current
        for weights in warped:
            n_cycles, total = n_cycles + 1, total + time
            if weights:
                weight += math.fsum(weights)
                squares += math.fsum(each * each for each in weights)
                n_warps += len(weights)
            if n_cycles == length:
                blocks = (*blocks, Block(n_cycles, total, weight, squares, n_warps))
                n_cycles, total, weight, squares, n_warps = _NOTHING
                if len(blocks) == _MOST_BLOCKS:
                    blocks = tuple(_sum(blocks[k : k + 2]) for k in range(0, _MOST_BLOCKS, 2))
                    length *= 2
        return Flux(self.first, length, blocks, Block(n_cycles, total, weight, squares, n_warps))

    def windows(self) -> list[tuple[int, int, Block]]:
        """(first cycle, last cycle, what was warped) of up to eleven stretches, from 1.

        The last four are the parts of the window that `estimate` looks at. Cycles
        that do not yet fill a block are not among them.
        """
        per = len(self.blocks) // (2 * _N_PARTS)
        if not per:
            return []
        ends = list(range(len(self.blocks), 0, -per))[::-1]
        found, begun = [], 0
        for end in ends:
            first = self.first + begun * self.length + 1
            last = self.first + end * self.length
            found.append((first, last, _sum(self.blocks[begun:end])))
            begun = end
        return found

    def estimate(self) -> Estimate | None:
        """The rate in the last half; None while nothing was warped there, or the run is too short.

        The interval is exp(± t s / m) about the rate m: s the standard error that
        four parts of the window give, or, if that is more, the one that as many
        independent warps of these weights would have.
        """
        windows = self.windows()
        parts = [block for _, _, block in windows[-_N_PARTS:]]
        whole = _sum(parts)
        if not whole.weight > 0 or not whole.time > 0:
            return None
        effective = effective_of(whole.weight, whole.squares)
        weights, times = [part.weight for part in parts], [part.time for part in parts]
        found = of_parts(weights, times, between=False, effective=effective)
        before = _sum([block for _, _, block in windows[:-_N_PARTS]])
        return Estimate(
            first=windows[-_N_PARTS][0],
            last=windows[-1][1],
            rate=found.value,
            low=found.low,
            high=found.high,
            n_warps=whole.n_warps,
            effective=effective,
            before=before.rate,
        )

    @classmethod
    def of(cls, state: Any) -> Flux:
        """Of its fields, as JSON has kept them. Raises ValueError, TypeError or KeyError."""
        blocks = tuple(_block(each) for each in state["blocks"])
        first, length, current = int(state["first"]), int(state["length"]), _block(state["current"])
        if first < 0 or length < 1 or len(blocks) >= _MOST_BLOCKS or current.n_cycles >= length:
            raise ValueError("these are no blocks of a run")
        return cls(first, length, blocks, current)


def rate_lines(flux: Flux, unit: str) -> Iterator[str]:
    """What a page says of the rate, in 1/`unit`, with no more digits than are known.

    Hill relation: in the steady state the rate is the flux of weight into the target, and
    one over the mean first passage time (Hill, Free Energy Transduction in Biology, 1977).
    """
    windows, found = flux.windows(), flux.estimate()
    if found is not None and found.tells:
        yield (
            f"- window :: cycles {found.first} to {found.last}, the last half: {found.n_warps} "
            f"warps, which tell as much as {found.effective:.2g} of equal weight"
        )
        yield f"- rate :: {found.rate:.2g} 1/{unit} ({found.low:.2g} to {found.high:.2g})"
        yield (
            f"- mean first passage time :: {1 / found.rate:.2g} {unit} "
            f"({1 / found.high:.2g} to {1 / found.low:.2g})"
        )
        yield (
            "- interval :: for 95 %, from four parts of this run alone: what it has not met is not "
            "in it; runs with other seeds tell more"
        )
        yield f"- steady :: {_steady(found, unit)}"
    elif found is not None:
        yield (
            f"- rate :: not known yet: {found.n_warps} warps in cycles {found.first} to "
            f"{found.last}, the last half, tell as much as {found.effective:.2g} of equal weight; "
            f"{found.rate:.2g} 1/{unit} there, {found.before:.2g} in the first half"
        )
    elif windows:
        first, last = windows[-_N_PARTS][0], windows[-1][1]
        yield f"- rate :: none yet: no warp in cycles {first} to {last}, the last half"
    else:
        yield "- rate :: none yet: the run is too short"
    if windows:
        yield f"| cycles | flux (1/{unit}) | warps |"
        yield "|-"
        for first, last, block in windows:
            yield f"| {first} to {last} | {block.rate:.2g} | {block.n_warps} |"


def _steady(found: Estimate, unit: str) -> str:
    before = f"{found.before:.2g} 1/{unit} in the first half"
    if found.rises:
        return (
            f"no: {before}, which is below the interval. While the flux still rises, this rate is "
            "a lower bound, and the time an upper one"
        )
    return f"as far as this run can tell: {before}, which is within the interval"


def _block(state: Any) -> Block:
    n_cycles, time, weight, squares, n_warps = state
    return Block(int(n_cycles), float(time), float(weight), float(squares), int(n_warps))
