"""Gathers what happens in a run, and brings it into the store with each checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

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
from wepystore.orchestrator.run.film import Film, Shots
from wepystore.orchestrator.run.series import Object, Pending, Series
from wepystore.orchestrator.run.timer import Timer
from wepystore.records.errors import CannotRecordError
from wepystore.records.frames import Frames
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

#: Of a cycle: the weights of its walkers, and its records by tables.
_Happened = tuple[NDArray[np.float64], Mapping[str, Any]]


class _Tables:
    """How tables become objects (series.Form)."""

    joined = staticmethod(joined)

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def gathered(self, first_cycle: int, cycles: Sequence[_Happened]) -> Columns:
        weights, records = zip(*cycles, strict=True)
        return self._layout.columns(first_cycle, weights, records)

    def n_bytes(self, stretch: Columns) -> int:
        return sum(array.nbytes for array in stretch.values())

    def objects(self, stretch: Columns) -> list[Object]:
        return [buffers_of(stretch)]

    def part(self, n_cycles: int, stretch: Columns, refs: Sequence[Ref]) -> Part:
        return Part(n_cycles, refs[0])


class Taker(Protocol):
    """Where full blocks go (series.Put)."""

    def take_tables(self, objects: Callable[[], list[Object]], columns: Columns) -> Pending: ...

    def take_frames(self, objects: Callable[[], list[Object]], shots: Shots) -> Pending: ...


class Written(NamedTuple):
    """What is in the store of a recording: its entry, the size of what that names, and the times
    that are kept besides."""

    entry: EntryRef
    n_bytes: int
    times: Times | None


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
    film : Film

    Attributes
    ----------
    film : Film
        The frames.
    timer : Timer or None
        Notes besides how long the cycles take, which is no part of the recording.
    """

    def __init__(self, layout: Layout, recorded: SoFar, film: Film) -> None:
        self._recording = recording = recorded.recording
        parts = recording.tables
        rest = parts[recording.n_full :]
        counts = [part.n_cycles for part in rest]
        self._tables: Series[_Happened, Columns, Part] = Series(
            _Tables(layout),
            recording.block_cycles,
            parts[: recording.n_full],
            list(zip(counts, recorded.pieces, rest, strict=True)),
        )
        self.film = film
        self.timer: Timer | None = None
        self._n_cycles = recording.n_cycles
        self._is_first = True

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
        return cls(layout, SoFar(recording), Film(choice, can.has_box, frames_block))

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
        return cls(layout, recorded, Film.of(recorded.frames, recorded.shots))

    def keep_times(self, recorded: SoFar | None) -> None:
        """From now on also note how long cycles take, after what earlier sessions have noted."""
        if recorded is not None and recorded.times is not None:
            self.timer = Timer(recorded.times, recorded.timed)
        else:
            self.timer = Timer(Times(self._recording.block_cycles))

    def put_with(self, taker: Taker) -> None:
        """Where full blocks go when they are full."""
        self._tables.put = taker.take_tables
        self.film.put_with(taker.take_frames)
        if self.timer is not None:
            self.timer.series.put = taker.take_tables

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in one cycle, of what the reporters are told of it. It counts once it is kept. If
        what is before it cannot be written, it has not been."""
        walkers = report["new_walkers"]
        weights = np.array(weights_of(walkers))
        # Copies: a component may use its records again.
        records = {t: _copied(report.get(key)) for t, key in REPORT_KEYS.items()}
        # What is written needs no memory any more.
        timed = self.timer.series if self.timer is not None else None
        for each in (self._tables, self.film.series, timed):
            if each is not None:
                each.make_room()
        self._added = (weights, records), self.film.shot(walkers, self._n_cycles)
        if self.timer is not None:
            self.timer.add(report)

    def keep(self) -> None:
        """The cycle is whole, unless its records are none."""
        happened, shot = self._added
        # Held on to, the frames of a cycle would be in memory for as long as the next one takes.
        del self._added
        # The first cycle at once: what is wrong shows up at once.
        self._tables.add(happened, at_once=self._is_first)
        self._is_first = False
        if self.film.series is not None:
            self.film.series.add(shot)
        if self.timer is not None:
            self.timer.keep()
        self._n_cycles += 1

    def rest(self) -> tuple[Columns | None, Shots | None]:
        """Tables and frames of the cycles since the last full block of each; None if there are
        none."""
        film = self.film.series
        return self._tables.rest(), film.rest() if film is not None else None

    def so_far(self, last: bool = False) -> Callable[[Sink], Written]:
        """What puts all that is new by now, and the manifest of the recording (see
        Series.so_far)."""
        tables, film = self._tables.so_far(last), self.film.so_far(last)
        timer = self.timer.so_far(last) if self.timer is not None else None

        def put(sink: Sink) -> Written:
            parts = tuple(tables(sink))
            times = timer(sink) if timer is not None else None
            recording = replace(self._recording, tables=parts, frames=film(sink))
            return Written(encode_recording(recording, sink), recording.total_bytes, times)

        return put


def _copied(data: Any) -> Any:
    """A copy of a list of records, or of the dict of progress."""
    if isinstance(data, Mapping):
        return {name: np.array(values) for name, values in data.items()}
    if isinstance(data, RecordColumns) and data.columns:
        return together([data], data.columns)
    return [dict(record) for record in data or ()]
