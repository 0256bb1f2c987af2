"""The frames of a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from wepystore.engine.kept_frames import Recording as Choice
from wepystore.orchestrator.run.series import Object, Put, Series
from wepystore.records import frames as frames_module
from wepystore.records.frame_fields import fields_of, frames_of
from wepystore.records.frame_rows import CycleFrames, grouped, groups_of
from wepystore.records.frames import (
    Block,
    FrameField,
    Frames,
    FramesSummary,
    Part,
    encode_frames,
)
from wepystore.records.values import Sink
from wepystore.store.names import Ref

#: Frames of the cycles of a stretch of which they are kept.
Shots = list[CycleFrames]


class _Form:
    """How frames become objects (series.Form); of a cycle of which none are kept there is None."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def gathered(self, first_cycle: int, cycles: Sequence[CycleFrames | None]) -> Shots:
        return [shot for shot in cycles if shot is not None]

    def joined(self, stretches: Sequence[Shots]) -> Shots:
        return [shot for stretch in stretches for shot in stretch]

    def n_bytes(self, stretch: Shots) -> int:
        return sum(array.nbytes for arrays, _ in stretch for array in arrays.values())

    def objects(self, stretch: Shots) -> list[Object]:
        return [group.buffers() for group in groups_of(self._frames, stretch)]

    def part(self, n_cycles: int, stretch: Shots, refs: Sequence[Ref]) -> Block:
        n_walkers = max((len(next(iter(arrays.values()))) for arrays, _ in stretch), default=0)
        sizes = grouped(n_walkers, len(stretch), self._frames.frame_bytes)
        return Block(n_cycles, tuple(map(Part, sizes, refs)))


class Film:
    """Which frames are kept is known from the first cycle on: what states hold is up to their
    runner.

    Parameters
    ----------
    choice : engine.kept_frames.Recording or None
        Which frames are to be kept of a run whose first cycle is to come; None for none.
    has_box : bool
        Whether the box of the states is one.
    block_cycles : int or None
        Of a full block; None for as many as the walkers of the first cycle decide.
    """

    def __init__(
        self, choice: Choice | None = None, has_box: bool = True, block_cycles: int | None = None
    ) -> None:
        self._choice, self._has_box, self._block_cycles = choice, has_box, block_cycles
        self._put: Put[Shots] | None = None
        self._has_all_atoms = True
        self._frames: Frames | None = None
        #: None as long as there are no frames.
        self.series: Series[CycleFrames | None, Shots, Block] | None = None

    @classmethod
    def of(
        cls, frames: Frames | None, shots: Sequence[Shots] = (), has_all_atoms: bool = True
    ) -> Film:
        """Of a run of which there are these frames, and no others will be.

        Parameters
        ----------
        shots : sequence of Shots
            The frames of those of their blocks that are not full.
        has_all_atoms : bool
            Whether walkers have all atoms, and not just those of which frames are kept.
        """
        found = cls()
        found._has_all_atoms = has_all_atoms
        if frames is not None:
            found._load(frames, shots)
        return found

    def _load(self, frames: Frames, shots: Sequence[Shots] = ()) -> None:
        """From now on there are frames."""
        self._frames = frames
        rest = frames.blocks[frames.n_full :]
        pieces = [(b.n_cycles, taken, b) for b, taken in zip(rest, shots, strict=True)]
        full = frames.blocks[: frames.n_full]
        self.series = Series(_Form(frames), frames.block_cycles, full, pieces, frames.every)
        self.series.put = self._put

    def put_with(self, put: Put[Shots]) -> None:
        """Where full blocks go."""
        self._put = put
        if self.series is not None:
            self.series.put = put

    def kept(self, walkers: Sequence[Any]) -> tuple[tuple[FrameField, ...], int]:
        """The fields of which frames will be kept, as far as walkers at the start tell, and every
        how many cycles. Raises CannotRecordError for atoms that there are not."""
        if self._frames is not None:
            return self._frames.fields, self._frames.every
        if self._choice is None:
            return (), 1
        fields = fields_of(walkers, self._choice, self._has_box, at_start=True)
        return fields, self._choice.every

    def shot(self, walkers: Sequence[Any], cycle_idx: int) -> CycleFrames | None:
        """What is kept of a cycle, after its segments."""
        if self._choice is not None:
            self._begin(walkers, self._choice)
        frames = self._frames
        if frames is None or cycle_idx % frames.every:
            return None
        assert not isinstance(frames.atoms, Ref)
        atoms = frames.atoms if self._has_all_atoms else None
        return frames_of(walkers, frames.fields, atoms)

    def _begin(self, walkers: Sequence[Any], choice: Choice) -> None:
        self._choice = None
        fields = fields_of(walkers, choice, self._has_box)
        if fields:
            size, every = sum(field.n_bytes for field in fields), choice.every
            n_cycles = self._block_cycles or frames_module.block_cycles_for(
                len(walkers), size, every
            )
            self._load(Frames(fields, every, n_cycles, atoms=choice.atoms))

    def so_far(self, last: bool) -> Callable[[Sink], FramesSummary | None]:
        """What puts all that is new, and the manifest of the frames so far (see Series.so_far)."""
        frames, series = self._frames, self.series
        if frames is None or series is None:
            return lambda sink: None
        blocks = series.so_far(last)

        def put(sink: Sink) -> FramesSummary:
            found = replace(frames, blocks=tuple(blocks(sink)))
            return FramesSummary.of(found, encode_frames(found, sink))

        return put
