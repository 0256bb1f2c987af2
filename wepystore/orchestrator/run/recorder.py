"""Gathers what happens in a run, and brings it into the store with each checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine.component import Text
from wepystore.engine.ensemble import weights_of
from wepystore.engine.protocols import StructureCapabilities
from wepystore.engine.record_fields import RecordColumns, together
from wepystore.engine.record_tables import REPORT_KEYS
from wepystore.engine.resamplers.decision import decision_numbers
from wepystore.records.errors import CannotRecordError
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
from wepystore.records.values import Sink
from wepystore.store.names import EntryRef, Ref

#: A piece has at most such a part of a block's cycles.
_PIECES = 16

#: Takes a full block, between checkpoints.
Put = Callable[[Columns], Ref]


@dataclass
class _Piece:
    """Some cycles of the block that is not full yet."""

    n_cycles: int
    columns: Columns
    ref: Ref | None = None


class Recorder:
    """The recording of one run while it goes on.

    Parameters
    ----------
    layout : Layout
    recording : Recording
        As far as there is one.
    pieces : sequence of Columns
        The tables of those of its parts that are no full blocks.

    Attributes
    ----------
    put_block : callable or None
        Where full blocks go when they are full; None while nobody takes them.
    """

    def __init__(
        self, layout: Layout, recording: Recording, pieces: Sequence[Columns] = ()
    ) -> None:
        self._layout = layout
        self._recording = recording
        parts = recording.tables
        self._blocks = list(parts[: recording.n_full])
        rest = zip(parts[recording.n_full :], pieces, strict=True)
        self._pieces = [_Piece(part.n_cycles, columns, part.ref) for part, columns in rest]
        self.put_block: Put | None = None
        self._is_first = True
        self._first = recording.n_cycles
        self._weights: list[NDArray[np.float64]] = []
        self._records: list[Mapping[str, Any]] = []

    @classmethod
    def begun(cls, manager: Any, n_steps: int, block_cycles: int | None = None) -> Recorder:
        """Of a run whose first cycle is to come; a repetition has blocks as there were.

        Raises CannotRecordError: a component declares records that are neither numbers nor text.
        """
        layout = Layout.of(manager.resampler, manager.boundary_conditions)
        topology = StructureCapabilities(manager.runner).topology
        recording = Recording(
            n_steps=n_steps,
            block_cycles=block_cycles or block_cycles_for(len(manager.init_walkers)),
            columns=tuple(layout.names()),
            decisions=decision_numbers(manager.resampler),
            summaries=layout.summaries,
            topology=Text(topology) if topology else None,
        )
        return cls(layout, recording)

    @classmethod
    def gone_on(cls, manager: Any, recording: Recording, pieces: Sequence[Columns]) -> Recorder:
        """Of a run that has come to the end of `recording`; `pieces` as in the constructor.

        Raises CannotRecordError: that has other columns than the components declare.
        """
        layout = Layout.of(manager.resampler, manager.boundary_conditions)
        forms = forms_of(layout.columns(0, [], []))
        if recording.columns != tuple(forms) or any(forms_of(each) != forms for each in pieces):
            problem = (
                "what was recorded so far has other columns than its components declare here; go "
                "on with those, and the version, that it was begun with"
            )
            raise CannotRecordError(where="the rest of this run", problem=problem)
        return cls(layout, recording, pieces)

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in one cycle, of what the reporters are told of it. It counts once it is kept."""
        weights = np.array(weights_of(report["new_walkers"]))
        # Copies: a component may use its records again.
        self._added = weights, {t: _copied(report.get(key)) for t, key in REPORT_KEYS.items()}

    def keep(self) -> None:
        """The cycle is whole. If its block is full, and cannot be written, it has not been."""
        weights, records = self._added
        self._weights.append(weights)
        self._records.append(records)
        full = self._cycles_of_block() == self._recording.block_cycles
        # The first cycle at once: what is wrong shows up at once.
        if not full and not self._is_first:
            return
        before = self._pieces[:], self._first, self._weights[:-1], self._records[:-1]
        try:
            self._gather()
            if full:
                assert self.put_block is not None
                ref = self.put_block(self._rest())
                self._blocks.append(Part(self._recording.block_cycles, ref))
                self._pieces = []
        except BaseException:
            self._pieces, self._first, self._weights, self._records = before
            raise
        self._is_first = False

    @property
    def n_bytes(self) -> int:
        """The size of what was written last."""
        return self._recording.n_bytes

    def _cycles_of_block(self) -> int:
        return sum(piece.n_cycles for piece in self._pieces) + len(self._weights)

    def _gather(self) -> None:
        """Make a piece of the cycles since the last one."""
        if not self._weights:
            return
        n_cycles = len(self._weights)
        columns = self._layout.columns(self._first, self._weights, self._records)
        self._pieces.append(_Piece(n_cycles, columns))
        self._first += n_cycles
        self._weights, self._records = [], []

    def rest(self) -> Columns | None:
        """The cycles since the last full block; None if there are none."""
        self._gather()
        return self._rest() if self._pieces else None

    def _rest(self) -> Columns:
        return joined([piece.columns for piece in self._pieces])

    def write(self, sink: Sink, last: bool = False) -> EntryRef:
        """Put all that is new, and the manifest of the recording so far."""
        self._gather()
        # Pieces that follow each other become one when the later one has as many cycles, so there
        # are few of them, and no cycle is written often; but no checkpoint writes half a block.
        most = self._recording.block_cycles // _PIECES
        while len(self._pieces) > 1 and (
            last or self._pieces[-2].n_cycles <= min(self._pieces[-1].n_cycles, most // 2)
        ):
            *self._pieces, one, other = self._pieces
            columns = joined([one.columns, other.columns])
            self._pieces.append(_Piece(one.n_cycles + other.n_cycles, columns))
        tables = list(self._blocks)
        for piece in self._pieces:
            if piece.ref is None:
                piece.ref = sink.put("objects", buffers_of(piece.columns))
            tables.append(Part(piece.n_cycles, piece.ref))
        self._recording = replace(self._recording, tables=tuple(tables))
        return encode_recording(self._recording, sink)


def _copied(data: Any) -> Any:
    """A copy of a list of records, or of the dict of progress."""
    if isinstance(data, Mapping):
        return {name: np.array(values) for name, values in data.items()}
    if isinstance(data, RecordColumns) and data.columns:
        return together([data], data.columns)
    return [dict(record) for record in data or ()]
