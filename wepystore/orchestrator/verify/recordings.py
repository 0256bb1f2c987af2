"""Where two recordings of one run part."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.orchestrator.run.film import Shots
from wepystore.orchestrator.run.recorder import Recorder
from wepystore.orchestrator.run.series import Object, Pending
from wepystore.records.frame_rows import CycleFrames
from wepystore.records.frames import Block, Frames, kept_cycles
from wepystore.records.parts import read_parts
from wepystore.records.recording import (
    CONTINUAL,
    CYCLE_IDX,
    LENGTHS,
    MISSING,
    N_WALKERS,
    WEIGHTS,
    Columns,
    Part,
    Recording,
    joined,
)
from wepystore.records.run_frames import Integers, read_block
from wepystore.records.sinks import Hashing, Remembering
from wepystore.records.tables import RunTables
from wepystore.store.names import EntryRef, Ref
from wepystore.store.store import Store

#: How a column of the frames begins.
FRAMES = "frames"

#: What manifests tell of a run as a whole. How long blocks are is up to the version.
_FACTS = {
    "recordings": (
        *("n_steps", "columns", "decisions", "summaries"),
        *("topology", "masses", "step_size_ps"),
    ),
    FRAMES: ("fields", "every", "atoms"),
}


@dataclass(frozen=True)
class Parting:
    """The first thing in which two recordings of one run differ.

    Attributes
    ----------
    cycle_idx : int
    column : str
        Of the tables, such as "weights" or "resampling/decision_id", or a field of the frames, as
        "frames/positions".
    walker_idx : int or None
        None where the column is not of walkers.
    """

    cycle_idx: int
    column: str
    walker_idx: int | None = None


class Recorded:
    """A recording in a store, beside which another one of the same run comes to be.

    Parameters
    ----------
    store : Store
    recording : Recording
    frames : Frames or None
        None where none were kept, or they are elsewhere.

    Attributes
    ----------
    parting : Parting or None
        The first thing that differs, of what was compared.
    """

    def __init__(self, store: Store, recording: Recording, frames: Frames | None) -> None:
        self._store, self._recording, self._frames = store, recording, frames
        self._n_tables = self._n_frames = 0
        self.parting: Parting | None = None

    @functools.cached_property
    def _counts(self) -> Integers:
        """Walkers in each cycle, as they were recorded."""
        runs = [("it", self._recording, self._recording.n_cycles)]
        return RunTables(runs, self._store.object)[N_WALKERS]

    def take_tables(self, objects: Callable[[], list[Object]], columns: Columns) -> Pending:
        """Compare a full block of the tables."""
        refs = [Ref.of(*each) for each in objects()]
        number, tables = self._n_tables, self._recording.tables
        self._n_tables += 1
        if number >= len(tables) or [tables[number].ref] != refs:
            self._compare(columns, number, tables[number : number + 1])
        return _Done(refs)

    def take_frames(self, objects: Callable[[], list[Object]], shots: Shots) -> Pending:
        """Compare a full block of the frames."""
        assert self._frames is not None
        refs = [Ref.of(*each) for each in objects()]
        number, blocks = self._n_frames, self._frames.blocks
        self._n_frames += 1
        if number >= len(blocks) or [part.ref for part in blocks[number].parts] != refs:
            self._compare_frames(shots, number, blocks[number : number + 1])
        return _Done(refs)

    def take_rest(self, columns: Columns | None, shots: Shots | None) -> None:
        """Compare what came after the last full blocks."""
        if columns is not None:
            self._compare(columns, self._n_tables, self._recording.tables[self._n_tables :])
        if self._frames is not None:
            # Without a film now there are none, and then there were some.
            rest = self._frames.blocks[self._n_frames :]
            self._compare_frames(shots or [], self._n_frames, rest)

    def other_facts(self, entry: EntryRef, recorder: Recorder) -> list[str]:
        """What this recording, of this entry, tells of the run as a whole and the other one
        otherwise: keys of its manifest, and of that of its frames. What it does not tell, as one of
        an older version, is not compared, nor are frames that are elsewhere."""
        sink = Hashing()
        recorder.so_far(last=True)(Remembering(sink, {}))
        now = {kind: json.loads(manifest) for kind, manifest in sink.manifests.items()}
        then = self._store.manifest(entry.kind, entry.md5, entry.ref)
        found = _other_values(then, now[entry.kind], _FACTS[entry.kind])
        if self._frames is None:
            return found
        if FRAMES not in now:
            return [*found, FRAMES]
        kept = EntryRef.from_json(then[FRAMES]["entry"], "a recording")
        then = self._store.manifest(FRAMES, kept.md5, kept.ref)
        others = _other_values(then, now[FRAMES], _FACTS[FRAMES])
        return [*found, *(f"{FRAMES}/{key}" for key in others)]

    def _compare(self, columns: Columns, number: int, parts: Sequence[Part]) -> None:
        first = number * self._recording.block_cycles
        names = self._recording.columns
        then = read_parts(parts, names, self._store.object, "a recording")
        self._note(
            first_difference(joined(then), columns, first) if then else Parting(first, N_WALKERS)
        )

    def _compare_frames(self, shots: Shots, number: int, blocks: Sequence[Block]) -> None:
        assert self._frames is not None
        first = number * self._frames.block_cycles
        then: list[CycleFrames] = []
        for block in blocks:
            kept = kept_cycles(first, block.n_cycles, self._frames.every)
            here = self._counts[kept.start : kept.stop : kept.step].tolist()
            then += read_block(self._store, self._frames, block, here, "its frames")
            first += block.n_cycles
        first = number * self._frames.block_cycles
        for place, (now, before) in enumerate(zip_longest(shots, then)):
            cycle_idx = first + place * self._frames.every
            self._note(_difference(before, now, cycle_idx))

    def _note(self, found: Parting | None) -> None:
        """Of what differs the first cycle counts, and of one cycle its tables."""
        if found is not None and (self.parting is None or found.cycle_idx < self.parting.cycle_idx):
            self.parting = found


@dataclass(frozen=True)
class _Done:
    """Nothing is written: what there is to wait for has been done."""

    refs: list[Ref]

    def done(self) -> bool:
        return True

    def result(self) -> list[Ref]:
        return self.refs


def _other_values(
    then: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str]
) -> list[str]:
    """The keys that both have, and that have not the same value."""
    return [key for key in keys if key in then and key in now and then[key] != now[key]]


def _difference(
    then: CycleFrames | None, now: CycleFrames | None, cycle_idx: int
) -> Parting | None:
    """Where the frames of one cycle part."""
    if then is None or now is None:
        return Parting(cycle_idx, FRAMES)
    for name in sorted(now[0].keys() | then[0].keys()):
        old, new = then[0].get(name), now[0].get(name)
        if old is None or new is None or old.shape != new.shape or old.dtype != new.dtype:
            return Parting(cycle_idx, f"{FRAMES}/{name}")
        differs = [a.tobytes() != b.tobytes() for a, b in zip(old, new, strict=True)]
        if any(differs):
            return Parting(cycle_idx, f"{FRAMES}/{name}", differs.index(True))
    if sorted(then[1]) != sorted(now[1]):
        return Parting(cycle_idx, f"{FRAMES}/{MISSING}")
    return None


def first_difference(then: Columns, now: Columns, first_cycle: int) -> Parting | None:
    """Where two stretches of the same cycles part; None if they have the same bits.

    Of several columns that differ in one cycle the first by its place in a cycle: weights, then
    the others by name.
    """
    found: list[tuple[int, bool, str, int | None]] = []
    for name in then.keys() | now.keys():
        if name not in then or name not in now:
            found.append((first_cycle, True, name, None))
            continue
        a, b = then[name], now[name]
        row = _first_other(a, b)
        if row is not None and name != MISSING:
            cycle, walker = _whose(then if row < len(a) else now, name, row, first_cycle)
            found.append((cycle, name != WEIGHTS, name, walker))
    if not found:
        # What is missing is told apart from 0 and NaN here alone.
        is_same = _first_other(then[MISSING], now[MISSING]) is None
        return None if is_same else Parting(first_cycle, MISSING)
    cycle, _, name, walker = min(found, key=lambda each: each[:3])
    return Parting(cycle, name.removesuffix(f"/{LENGTHS}"), walker)


def _first_other(a: NDArray[np.generic], b: NDArray[np.generic]) -> int | None:
    """The first row that differs in a bit; the first that one has not."""
    n_rows = min(len(a), len(b))
    if a.dtype != b.dtype or a.shape[1:] != b.shape[1:]:
        return 0
    if a[:n_rows].tobytes() != b[:n_rows].tobytes():
        same = a[:n_rows].reshape(n_rows, -1).view(np.uint8) == b[:n_rows].reshape(n_rows, -1).view(
            np.uint8
        )
        return int(np.argmin(same.all(axis=1)))
    return n_rows if len(a) != len(b) else None


def _whose(columns: Columns, name: str, row: int, first_cycle: int) -> tuple[int, int | None]:
    """The cycle of a row, and the walker that it is of, as far as a recording tells, which may be
    a stranger's."""
    try:
        return _told(columns, name, row, first_cycle)
    except (KeyError, IndexError):
        return first_cycle, None


def _told(columns: Columns, name: str, row: int, first_cycle: int) -> tuple[int, int | None]:
    if name == N_WALKERS:
        return first_cycle + row, None
    if name == WEIGHTS:
        ends = np.cumsum(columns[N_WALKERS])
        cycle = int(np.searchsorted(ends, row, side="right"))
        return first_cycle + cycle, row - int(ends[cycle] - columns[N_WALKERS][cycle])
    table = name.split("/")[0]
    lengths = columns.get(f"{name}/{LENGTHS}")
    walker = None
    if lengths is not None:
        ends = np.cumsum(lengths)
        value, row = row, int(np.searchsorted(ends, row, side="right"))
        # Of progress there is a value for each walker.
        walker = value - int(ends[row] - lengths[row]) if table == CONTINUAL else None
    if table == CONTINUAL:
        return first_cycle + row, walker
    of = columns.get(f"{table}/walker_idx")
    if of is not None and of.dtype.kind == "i" and row < len(of):
        walker = int(of.reshape(len(of), -1)[row, 0])
    return int(columns[f"{table}/{CYCLE_IDX}"][row]), walker
