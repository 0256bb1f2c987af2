"""What is recorded of a run, as blocks of cycles that fill up and are written behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from wepystore.records.values import Sink
from wepystore.store.names import Ref

#: A piece has at most such a part of a block's cycles.
_PIECES = 16
#: And so many at most of which something is kept: to join thousands takes longer than a checkpoint.
_PIECE_CYCLES = 256

#: What there is of one cycle.
R = TypeVar("R")
#: Bytes that are written again rather than in one more piece.
_LITTLE = 1 << 14

#: What is recorded of a stretch of cycles, in memory.
S = TypeVar("S")
#: What a manifest says of the objects that it is in.
P = TypeVar("P")
_Cycle = TypeVar("_Cycle", contravariant=True)
_Part = TypeVar("_Part", covariant=True)

#: An object, as buffers that are written one after the other.
Object = Sequence[Any]


class Pending(Protocol):
    """Objects on their way into the store."""

    def done(self) -> bool: ...

    def result(self) -> list[Ref]: ...


class Form(Protocol[_Cycle, S, _Part]):
    """How cycles become a stretch of them, and stretches objects."""

    def gathered(self, first_cycle: int, cycles: Sequence[_Cycle]) -> S:
        """The stretch of these cycles, of which the first has this number."""

    def joined(self, stretches: Sequence[S]) -> S:
        """One stretch of several that follow each other."""

    def n_bytes(self, stretch: S) -> int:
        """The size of what one holds."""

    def objects(self, stretch: S) -> list[Object]:
        """What is to be written of one."""

    def part(self, n_cycles: int, stretch: S, refs: Sequence[Ref]) -> _Part:
        """What the manifest says of one whose objects these are."""


#: Takes the objects of a full block, and what they are made of, between checkpoints; it may have
#: them made and written while the run goes on.
Put = Callable[[Callable[[], list[Object]], S], Pending]


@dataclass
class _Piece(Generic[S, P]):
    """Some cycles of the block that is not full yet."""

    n_cycles: int
    stretch: S
    part: P | None = None


class Series(Generic[R, S, P]):
    """The tables, the frames or the times of one run while it goes on.

    Parameters
    ----------
    form : Form
    block_cycles : int
    blocks : sequence
        Full ones that there are.
    pieces : sequence of (number of cycles, stretch, part)
        What there is besides.
    every : int
        Something is kept of one of so many cycles.

    Attributes
    ----------
    put : callable or None
        Where full blocks go; None while nobody takes them.
    """

    def __init__(
        self,
        form: Form[R, S, P],
        block_cycles: int,
        blocks: Sequence[P] = (),
        pieces: Sequence[tuple[int, S, P]] = (),
        every: int = 1,
    ) -> None:
        self._form, self.block_cycles, self._every = form, block_cycles, every
        self._blocks = list(blocks)
        self._pieces = [_Piece(*each) for each in pieces]
        # Of the block that is not full yet, those that are in no piece.
        self._cycles: list[R] = []
        self._first = len(blocks) * block_cycles + sum(piece.n_cycles for piece in self._pieces)
        self._going: tuple[S, Pending] | None = None
        self.put: Put[S] | None = None

    def make_room(self) -> None:
        """Before a cycle is added: one block at a time is on its way. Raises as settle; then the
        cycle has not been."""
        self.settle(wait=self._is_full_with_one_more())

    def add(self, cycle: R, at_once: bool = False) -> None:
        """Take in the next cycle, for which there is room; `at_once` to see what is wrong with it.
        What the form raises is raised before anything has changed."""
        is_full = self._is_full_with_one_more()
        if not is_full and not at_once:
            self._cycles.append(cycle)
            return
        self._gather([*self._cycles, cycle])
        if is_full:
            self._close()

    def _is_full_with_one_more(self) -> bool:
        return (self._first + len(self._cycles) + 1) % self.block_cycles == 0

    def rest(self) -> S | None:
        """The cycles since the last full block; None if there are none."""
        self._gather(self._cycles)
        return self._form.joined([p.stretch for p in self._pieces]) if self._pieces else None

    def _gather(self, cycles: list[R]) -> None:
        """Make a piece of the cycles that follow the last one."""
        if cycles:
            self._pieces.append(_Piece(len(cycles), self._form.gathered(self._first, cycles)))
            self._first += len(cycles)
            self._cycles = []

    def _close(self) -> None:
        """The block is full: have it written."""
        stretch = self._form.joined([piece.stretch for piece in self._pieces])
        assert self.put is not None and self._going is None
        self._going = stretch, self.put(lambda: self._form.objects(stretch), stretch)
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
            refs = self.put(lambda: self._form.objects(stretch), stretch).result()
        self._blocks.append(self._form.part(self.block_cycles, stretch, refs))
        self._going = None

    def so_far(self, last: bool) -> Callable[[Sink], list[P]]:
        """What puts all that is new by now, and gives all that there is; it may do so while more
        cycles are added, but not while another one of these does. `last`: what is left over becomes
        one piece."""
        self._gather(self._cycles)
        if (n_pieces := self._becoming_one(last)) > 1:
            self._pieces, many = self._pieces[:-n_pieces], self._pieces[-n_pieces:]
            joined = self._form.joined([piece.stretch for piece in many])
            self._pieces.append(_Piece(sum(piece.n_cycles for piece in many), joined))
        blocks, going, pieces = self._blocks[:], self._going, self._pieces[:]

        def put(sink: Sink) -> list[P]:
            if going is not None:
                stretch, pending = going
                try:
                    refs = pending.result()
                except OSError:
                    refs = sink.put_many("objects", self._form.objects(stretch))
                blocks.append(self._form.part(self.block_cycles, stretch, refs))
            for piece in pieces:
                if piece.part is None:
                    refs = sink.put_many("objects", self._form.objects(piece.stretch))
                    piece.part = self._form.part(piece.n_cycles, piece.stretch, refs)
            return [*blocks, *(piece.part for piece in pieces if piece.part is not None)]

        return put

    def _becoming_one(self, last: bool) -> int:
        """How many of the last pieces become one."""
        if last or len(self._pieces) < 2:
            return len(self._pieces)
        # Those that follow each other do when the later one has as many cycles, or both are next
        # to nothing, so there are few of them, and no cycle is written often; but no checkpoint
        # writes half a block.
        most = min(self.block_cycles // _PIECES, _PIECE_CYCLES * self._every)
        found = n_cycles = n_bytes = 0
        for piece in reversed(self._pieces):
            size = self._form.n_bytes(piece.stretch)
            is_little = n_cycles + piece.n_cycles <= most and n_bytes + size <= _LITTLE
            if found and not is_little and piece.n_cycles > min(n_cycles, most // 2):
                break
            found, n_cycles, n_bytes = found + 1, n_cycles + piece.n_cycles, n_bytes + size
        return found
