"""Gathers what happens in a run, and brings it into the store with each checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.component import Text
from wepystore.engine.ensemble import weights_of
from wepystore.engine.kept_frames import Recording as Choice
from wepystore.engine.protocols import StructureCapabilities
from wepystore.engine.record_fields import RecordColumns, together
from wepystore.engine.record_tables import REPORT_KEYS
from wepystore.engine.resamplers.decision import decision_numbers
from wepystore.orchestrator.run.environment import step_size_ps
from wepystore.orchestrator.run.series import Object, Pending, Series
from wepystore.orchestrator.run.timer import Timer
from wepystore.records import frames as frames_module
from wepystore.records.errors import CannotRecordError
from wepystore.records.frame_fields import fields_of, frames_of
from wepystore.records.frame_rows import CycleFrames, grouped, groups_of
from wepystore.records.frames import Block, FrameField, Frames, FramesSummary, encode_frames
from wepystore.records.frames import Part as FramePart
from wepystore.records.recording import (
    Columns,
    Layout,
    Part,
    Recording,
    block_cycles_for,
    buffers_of,
    encode_recording,
    forms_of,
    joined,
)
from wepystore.records.times import Times
from wepystore.records.values import Sink
from wepystore.store.names import EntryRef, Ref

#: Frames of the cycles of a stretch of which they are kept.
Shots = list[CycleFrames]


class _Tables:
    """How tables become objects (series.Form)."""

    joined = staticmethod(joined)

    def objects(self, stretch: Columns) -> list[Object]:
        return [buffers_of(stretch)]

    def part(self, n_cycles: int, stretch: Columns, refs: Sequence[Ref]) -> Part:
        return Part(n_cycles, refs[0])


class _Frames:
    """How frames become objects (series.Form)."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def joined(self, stretches: Sequence[Shots]) -> Shots:
        return [shot for stretch in stretches for shot in stretch]

    def objects(self, stretch: Shots) -> list[Object]:
        return [group.buffers() for group in groups_of(self._frames, stretch)]

    def part(self, n_cycles: int, stretch: Shots, refs: Sequence[Ref]) -> Block:
        n_walkers = max((len(next(iter(arrays.values()))) for arrays, _ in stretch), default=0)
        sizes = grouped(n_walkers, len(stretch), self._frames.frame_bytes)
        return Block(n_cycles, tuple(map(FramePart, sizes, refs)))


class Taker(Protocol):
    """Where full blocks go."""

    def take_tables(self, objects: Callable[[], list[Object]], columns: Columns) -> Pending: ...

    def take_frames(self, objects: Callable[[], list[Object]], shots: Shots) -> Pending: ...


@dataclass(frozen=True)
class SoFar:
    """What earlier sessions of a run have recorded.

    Attributes
    ----------
    recording : Recording
    pieces : sequence of Columns
        The tables of those of its parts that are no full blocks.
    frames : Frames or None
    shots : sequence of Shots
        The frames of those of their blocks that are not full.
    times : Times or None
        How long its cycles took, if that is kept.
    timed : sequence of Columns
        Those of its parts that are no full blocks.
    """

    recording: Recording
    pieces: Sequence[Columns] = ()
    frames: Frames | None = None
    shots: Sequence[Shots] = ()
    times: Times | None = None
    timed: Sequence[Columns] = ()


class Recorder:
    """The recording of one run while it goes on.

    Parameters
    ----------
    layout : Layout
    recorded : SoFar
        What there is.
    choice : engine.recording.Recording
        Which frames are to be kept of a run whose first cycle is to come.
    has_box : bool
        Whether the box of the states is one.
    has_all_atoms : bool
        Whether walkers have all atoms, and not just those of which frames are kept.

    Attributes
    ----------
    taker : Taker or None
        Where full blocks go when they are full; None while nobody takes them.
    timer : Timer or None
        Notes besides how long the cycles take, which is no part of the recording.
    times : Times or None
        What it has noted, as it was written last.
    """

    def __init__(
        self,
        layout: Layout,
        recorded: SoFar,
        choice: Choice | None = None,
        has_box: bool = True,
        frames_block: int | None = None,
        has_all_atoms: bool = True,
    ) -> None:
        self._layout, self._has_all_atoms = layout, has_all_atoms
        self._recording = recording = recorded.recording
        parts = recording.tables
        rest = parts[recording.n_full :]
        counts = [part.n_cycles for part in rest]
        self._tables: Series[Columns, Part] = Series(
            _Tables(),
            recording.block_cycles,
            parts[: recording.n_full],
            list(zip(counts, recorded.pieces, rest, strict=True)),
        )
        self._choice, self._has_box, self._frames_block = choice, has_box, frames_block
        self._frames: Frames | None = None
        self._film: Series[Shots, Block] | None = None
        if recorded.frames is not None:
            self._load(recorded.frames, recorded.shots)
        self._taker: Taker | None = None
        self.timer: Timer | None = None
        self.times: Times | None = None
        self._is_first = True
        # The first cycle whose records, and whose frames, are not in a piece yet.
        self._first = self._first_shot = recording.n_cycles
        self._n_cycles = recording.n_cycles
        self._weights: list[NDArray[np.float64]] = []
        self._records: list[Mapping[str, Any]] = []
        self._shots: Shots = []

    @classmethod
    def begun(
        cls,
        manager: Any,
        n_steps: int,
        choice: Choice | None = None,
        like: SoFar | None = None,
    ) -> Recorder:
        """Of a run whose first cycle is to come; a repetition has blocks as those it is `like`.

        Raises CannotRecordError: a component declares records that are neither numbers nor text.
        """
        layout = Layout.of(manager.resampler, manager.boundary_conditions)
        can = StructureCapabilities(manager.runner)
        size = like.recording.block_cycles if like is not None else None
        recording = Recording(
            n_steps=n_steps,
            block_cycles=size or block_cycles_for(len(manager.init_walkers)),
            columns=tuple(layout.names()),
            decisions=decision_numbers(manager.resampler),
            summaries=layout.summaries,
            topology=Text(can.topology) if can.topology else None,
            masses=can.masses,
            step_size_ps=step_size_ps(manager.runner),
        )
        frames_block = None
        if like is not None:
            frames_block = like.frames.block_cycles if like.frames is not None else None
            choice = choice if like.frames is not None else None
        return cls(layout, SoFar(recording), choice, can.has_box, frames_block)

    @classmethod
    def gone_on(cls, manager: Any, recorded: SoFar) -> Recorder:
        """Of a run that has come to the end of what is `recorded`.

        Raises CannotRecordError: that has other columns than the components declare.
        """
        layout = Layout.of(manager.resampler, manager.boundary_conditions)
        forms = forms_of(layout.columns(0, [], []))
        if recorded.recording.columns != tuple(forms) or any(
            forms_of(each) != forms for each in recorded.pieces
        ):
            problem = (
                "what was recorded so far has other columns than its components declare here; go "
                "on with those, and the version, that it was begun with"
            )
            raise CannotRecordError(where="the rest of this run", problem=problem)
        return cls(layout, recorded)

    def keep_times(self, recorded: SoFar | None) -> None:
        """From now on also note how long cycles take, after what earlier sessions have noted."""
        if recorded is not None and recorded.times is not None:
            self.timer = Timer(recorded.times, recorded.timed)
        else:
            self.timer = Timer(Times(self._recording.block_cycles))

    @property
    def taker(self) -> Taker | None:
        return self._taker

    @taker.setter
    def taker(self, taker: Taker) -> None:
        self._taker = taker
        form = _Tables()
        self._tables.put = lambda columns: taker.take_tables(lambda: form.objects(columns), columns)
        if (timer := self.timer) is not None:
            timer.put_with(
                lambda columns: taker.take_tables(lambda: timer.objects(columns), columns)
            )
        self._connect()

    def _connect(self) -> None:
        taker, frames = self._taker, self._frames
        if taker is not None and self._film is not None and frames is not None:
            form = _Frames(frames)
            self._film.put = lambda shots: taker.take_frames(lambda: form.objects(shots), shots)

    def _load(self, frames: Frames, shots: Sequence[Shots] = ()) -> None:
        """Put in a film: from now on there are frames."""
        self._frames = frames
        assert not isinstance(frames.atoms, Ref)
        self._atoms = frames.atoms if self._has_all_atoms else None
        rest = frames.blocks[frames.n_full :]
        pieces = [(b.n_cycles, taken, b) for b, taken in zip(rest, shots, strict=True)]
        full = frames.blocks[: frames.n_full]
        self._film = Series(_Frames(frames), frames.block_cycles, full, pieces)

    def _begin_film(self, walkers: Sequence[Any]) -> None:
        """Which frames are kept is known from the first cycle on: what states hold is up to their
        runner."""
        choice, self._choice = self._choice, None
        fields = fields_of(walkers, choice, self._has_box) if choice is not None else ()
        if choice is not None and fields:
            size = sum(field.n_bytes for field in fields)
            every = choice.every
            n_cycles = self._frames_block or frames_module.block_cycles_for(
                len(walkers), size, every
            )
            self._load(Frames(fields, every, n_cycles, atoms=choice.atoms))
            self._connect()

    def kept(self, walkers: Sequence[Any]) -> tuple[tuple[FrameField, ...], int]:
        """The fields of which frames will be kept, as far as walkers at the start tell, and every
        how many cycles. Raises CannotRecordError for atoms that there are not."""
        if self._frames is not None:
            return self._frames.fields, self._frames.every
        if self._choice is None:
            return (), 1
        fields = fields_of(walkers, self._choice, self._has_box, at_start=True)
        return fields, self._choice.every

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in one cycle, of what the reporters are told of it. It counts once it is kept."""
        walkers = report["new_walkers"]
        weights = np.array(weights_of(walkers))
        if self._choice is not None:
            self._begin_film(walkers)
        if self._film is not None:
            # What is written needs no memory any more.
            self._film.settle(wait=False)
        shot = None
        if self._frames is not None and self._n_cycles % self._frames.every == 0:
            shot = frames_of(walkers, self._frames.fields, self._atoms)
        # Copies: a component may use its records again.
        records = {t: _copied(report.get(key)) for t, key in REPORT_KEYS.items()}
        self._added = weights, records, shot
        if self.timer is not None:
            self.timer.add(report)

    def keep(self) -> None:
        """The cycle is whole. If what is before it cannot be written, it has not been."""
        before = self._state()
        weights, records, shot = self._added
        # Held on to, the frames of a cycle would be in memory for as long as the next one takes.
        del self._added
        try:
            self._weights.append(weights)
            self._records.append(records)
            self._shots += [shot] if shot is not None else []
            self._n_cycles += 1
            self._tables.settle(wait=False)
            full = self._tables.is_full_with(self._n_cycles - self._first)
            # The first cycle at once: what is wrong shows up at once.
            if full or self._is_first:
                self._gather_tables()
            if full:
                self._tables.close()
            if self._film is not None:
                self._film.settle(wait=False)
                if self._film.is_full_with(self._n_cycles - self._first_shot):
                    self._gather_frames()
                    self._film.close()
            if self.timer is not None:
                self.timer.keep()
        except BaseException:
            self._restore(before)
            raise
        self._is_first = False

    def _state(self) -> tuple[Any, ...]:
        film = self._film.state() if self._film is not None else None
        new = self._weights[:], self._records[:], self._shots[:]
        counts = self._first, self._first_shot, self._n_cycles
        timed = self.timer.state() if self.timer is not None else None
        return self._tables.state(), film, counts, new, timed

    def _restore(self, state: tuple[Any, ...]) -> None:
        tables, film, counts, new, timed = state
        self._tables.restore(tables)
        if self._film is not None:
            self._film.restore(film)
        self._first, self._first_shot, self._n_cycles = counts
        self._weights, self._records, self._shots = new
        if self.timer is not None:
            self.timer.restore(timed)

    @property
    def n_bytes(self) -> int:
        """The size of what was written last."""
        return self._recording.total_bytes

    def _gather(self) -> None:
        """Make pieces of the cycles since the last ones."""
        self._gather_tables()
        self._gather_frames()

    def _gather_tables(self) -> None:
        if self._first < self._n_cycles:
            columns = self._layout.columns(self._first, self._weights, self._records)
            self._tables.add(self._n_cycles - self._first, columns)
            self._first = self._n_cycles
            self._weights, self._records = [], []

    def _gather_frames(self) -> None:
        if self._film is not None and self._first_shot < self._n_cycles:
            self._film.add(self._n_cycles - self._first_shot, self._shots)
            self._first_shot = self._n_cycles
            self._shots = []

    def settle(self) -> None:
        """Wait for what is on its way."""
        for each in (self._tables, self._film, self.timer):
            if each is not None:
                each.settle()

    def rest(self) -> tuple[Columns | None, Shots | None]:
        """Tables and frames of the cycles since the last full block of each; None if there are
        none."""
        self._gather()
        return self._tables.rest(), self._film.rest() if self._film is not None else None

    def write(self, sink: Sink, last: bool = False) -> EntryRef:
        """Put all that is new, and the manifest of the recording so far."""
        self._gather()
        tables = tuple(self._tables.write(sink, last))
        if self.timer is not None:
            self.times = self.timer.write(sink, last)
        summary = None
        if self._frames is not None and self._film is not None:
            blocks = tuple(self._film.write(sink, last))
            self._frames = replace(self._frames, blocks=blocks)
            summary = FramesSummary.of(self._frames, encode_frames(self._frames, sink))
        self._recording = replace(self._recording, tables=tables, frames=summary)
        return encode_recording(self._recording, sink)


def _copied(data: Any) -> Any:
    """A copy of a list of records, or of the dict of progress."""
    if isinstance(data, Mapping):
        return {name: np.array(values) for name, values in data.items()}
    if isinstance(data, RecordColumns) and data.columns:
        return together([data], data.columns)
    return [dict(record) for record in data or ()]
