"""What is recorded of a run, as blocks of cycles that fill up and are written behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from wepystore.records.values import Sink
from wepystore.store.names import Ref

#: A piece has at most such a part of a block's cycles.
_PIECES = 16
#: And so many at most: to join thousands takes longer than a checkpoint.
_PIECE_CYCLES = 256

#: What is recorded of a stretch of cycles, in memory.
S = TypeVar("S")
#: What a manifest says of the objects that it is in.
P = TypeVar("P")
_Part = TypeVar("_Part", covariant=True)

#: An object, as buffers that are written one after the other.
Object = Sequence[Any]


class Pending(Protocol):
    """Objects on their way into the store."""

    def done(self) -> bool: ...

    def result(self) -> list[Ref]: ...


class Form(Protocol[S, _Part]):
    """How stretches of cycles become objects."""

    def joined(self, stretches: Sequence[S]) -> S:
        """One stretch of several that follow each other."""

    def objects(self, stretch: S) -> list[Object]:
        """What is to be written of one."""

    def part(self, n_cycles: int, stretch: S, refs: Sequence[Ref]) -> _Part:
        """What the manifest says of one whose objects these are."""


#: Takes a full block between checkpoints; it may have it written while the run goes on.
Put = Callable[[S], Pending]


@dataclass
class _Piece(Generic[S, P]):
    """Some cycles of the block that is not full yet."""

    n_cycles: int
    stretch: S
    part: P | None = None


class Series(Generic[S, P]):
    """The tables, or the frames, of one run while it goes on.

    Parameters
    ----------
    form : Form
    block_cycles : int
    blocks : sequence
        Full ones that there are.
    pieces : sequence of (number of cycles, stretch, part)
        What there is besides.

    Attributes
    ----------
    put : callable or None
        Where full blocks go; None while nobody takes them.
    """

    def __init__(
        self,
        form: Form[S, P],
        block_cycles: int,
        blocks: Sequence[P] = (),
        pieces: Sequence[tuple[int, S, P]] = (),
    ) -> None:
        self._form, self.block_cycles = form, block_cycles
        self._blocks = list(blocks)
        self._pieces = [_Piece(*each) for each in pieces]
        self._going: tuple[S, Pending] | None = None
        self.put: Put[S] | None = None

    def is_full_with(self, n_cycles: int) -> bool:
        """Whether the block is, with so many cycles that are to be added."""
        return sum(piece.n_cycles for piece in self._pieces) + n_cycles == self.block_cycles

    def add(self, n_cycles: int, stretch: S) -> None:
        """Take in the cycles that follow, of the block that is not full yet."""
        self._pieces.append(_Piece(n_cycles, stretch))

    def rest(self) -> S | None:
        """The cycles since the last full block; None if there are none."""
        return self._form.joined([p.stretch for p in self._pieces]) if self._pieces else None

    def state(self) -> tuple[Any, ...]:
        """What `restore` takes back."""
        return self._blocks[:], self._pieces[:], self._going

    def restore(self, state: tuple[Any, ...]) -> None:
        """As it was when this was its state."""
        blocks, pieces, self._going = state
        self._blocks, self._pieces = blocks[:], pieces[:]

    def close(self) -> None:
        """The block is full: have it written. One at a time is on its way."""
        self.settle()
        stretch = self.rest()
        assert stretch is not None
        assert self.put is not None
        self._going = stretch, self.put(stretch)
        self._pieces = []

    def settle(self, wait: bool = True) -> None:
        """Note the block that was on its way. Written once more if that has failed, so what is
        raised here is what cannot be done; nothing is lost by it."""
        if self._going is None or not (wait or self._going[1].done()):
            return
        stretch, pending = self._going
        assert self.put is not None
        try:
            refs = pending.result()
        except OSError:
            refs = self.put(stretch).result()
        self._blocks.append(self._form.part(self.block_cycles, stretch, refs))
        self._going = None

    def write(self, sink: Sink, last: bool) -> list[P]:
        """Put what is new; all that there is then. `last`: what is left over becomes one piece."""
        self.settle()
        # Pieces that follow each other become one when the later one has as many cycles, so there
        # are few of them, and no cycle is written often; but no checkpoint writes half a block.
        most = min(self.block_cycles // _PIECES, _PIECE_CYCLES)
        while len(self._pieces) > 1 and (
            last or self._pieces[-2].n_cycles <= min(self._pieces[-1].n_cycles, most // 2)
        ):
            *self._pieces, one, other = self._pieces
            joined = self._form.joined([one.stretch, other.stretch])
            self._pieces.append(_Piece(one.n_cycles + other.n_cycles, joined))
        for piece in self._pieces:
            if piece.part is None:
                refs = sink.put_many("objects", self._form.objects(piece.stretch))
                piece.part = self._form.part(piece.n_cycles, piece.stretch, refs)
        return [*self._blocks, *(p.part for p in self._pieces if p.part is not None)]
