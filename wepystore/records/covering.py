"""Which runs others tell all of (D3): the checkpoints of a run that has gone on since, and runs
that were done again and went further."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wepystore.errors import DamagedError
from wepystore.records.attached import recorded_runs
from wepystore.records.frame_rows import CycleFrames, groups_of
from wepystore.records.frames import Frames
from wepystore.records.recording import N_WALKERS, Recording, buffers_of
from wepystore.records.run import RunRecord, place_in
from wepystore.records.run_frames import Integers, read_cycles, read_frames
from wepystore.records.tables import RunTables, read_recording
from wepystore.store import canonical
from wepystore.store.names import Ref
from wepystore.store.store import DEFAULTS, Store


def superfluous(store: Store) -> dict[str, str]:
    """The records of runs that nobody needs beside a longer one that covers them, and that one; of
    what is recorded of them, or attached to them.

    Not those whose end, or themselves, a tag or the default names, nor those from whose end another
    run goes on: they say where it left. Raises DamagedError.
    """
    runs = recorded_runs(store)
    held = {record.start.md5 for record in runs.values()} | set(store.tags().values())
    held.add(store.ref(DEFAULTS["snapshots"]) or "")
    return {
        md5: longest
        for md5, longest in longest_of(store, runs).items()
        if runs[md5].n_cycles < runs[longest].n_cycles and not {md5, runs[md5].end.md5} & held
    }


def longest_of(store: Store, runs: Mapping[str, RunRecord]) -> dict[str, str]:
    """For each of these runs the longest of them that covers it, or is equal to it, perhaps itself.
    What is not here as a whole covers nothing."""
    alike: dict[bytes, list[str]] = {}
    for md5 in sorted(runs, key=lambda md5: (-runs[md5].n_cycles, md5)):
        alike.setdefault(_beginning(runs[md5]), []).append(md5)
    found = {}
    for left in alike.values():
        while left:
            longest, *others = left
            covers = _Covering(store, longest, runs[longest])
            found[longest] = longest
            left = []
            for md5 in others:
                if covers(runs[md5]):
                    found[md5] = longest
                else:
                    left.append(md5)
    return found


def _beginning(record: RunRecord) -> bytes:
    """What runs have in common of which one may cover the other."""
    return canonical.dumps(place_in(record, 0) | {"begun": None})


class _Covering:
    """Asks of one run whether it covers others that are no longer, and begin alike."""

    def __init__(self, store: Store, md5: str, record: RunRecord) -> None:
        self._store, self._md5, self._record = store, md5, record
        # Checkpoints of one block are compared with the same one, one after the other.
        self._last: dict[int, list[CycleFrames]] = {}

    @functools.cached_property
    def _tables(self) -> RunTables | None:
        """None where something of it is missing."""
        entry = self._record.recording
        parts = self._store.references("runs", self._md5)
        if entry is None or self._store.lacking([*parts, entry]):
            return None
        recording = read_recording(self._store, self._record)
        assert recording is not None
        return RunTables([(self._md5, recording, recording.n_cycles)], self._store.object)

    def __call__(self, other: RunRecord) -> bool:
        one = self._record
        if one.recording is None or other.recording is None:
            return False
        if one.n_cycles == other.n_cycles:
            return (one.end, one.recording) == (other.end, other.recording)
        # The tables alone might agree by chance, if nothing is resampled.
        if not (one.reproducible and other.reproducible) and not _is_one_execution(one, other):
            return False
        try:
            shorter = read_recording(self._store, other)
            if not (shorter and self._tables and begins_with(self._tables, shorter)):
                return False
            return self._has_frames_of(shorter)
        except DamagedError:
            return False

    def _has_frames_of(self, shorter: Recording) -> bool:
        """Whether the frames of a recording, as far as they are here, are the first of this one."""
        assert self._tables is not None
        one, other = self._tables.recording.frames, shorter.frames
        if other is None:
            return True
        if one is None or one.settings != other.settings:
            return False
        if not self._store.has("frames", other.entry.md5):
            # Of equal states these are equal, and there is nothing here to be lost.
            return True
        if self._frames is None:
            return False
        their = read_frames(self._store, shorter, "its frames")
        return frames_begin_with(self._store, self._frames, self._counts, their, self._last)

    @functools.cached_property
    def _counts(self) -> Integers:
        """Its walkers in each cycle."""
        assert self._tables is not None
        return self._tables[N_WALKERS]

    @functools.cached_property
    def _frames(self) -> Frames | None:
        """None where they are elsewhere."""
        assert self._tables is not None
        recording = self._tables.recording
        summary = recording.frames
        if summary is None or not self._store.has("frames", summary.entry.md5):
            return None
        return read_frames(self._store, recording, f"the frames of {self._md5}")


def _is_one_execution(one: RunRecord, other: RunRecord) -> bool:
    """Whether these are checkpoints of one job: they tell of a same moment in the past."""
    if one.execution.begun is None or one.execution.begun != other.execution.begun:
        return False
    moments = one.execution.checkpoints or ()
    return any(moment in moments for moment in other.execution.checkpoints or ())


def begins_with(longer: RunTables, shorter: Recording) -> bool:
    """Whether the cycles of one recording are the first of another.

    Blocks that are the same object are not read, nor are the objects of the shorter one: their
    names tell which bytes they have. Raises DamagedError.
    """
    if _frame(longer.recording) != _frame(shorter) or shorter.n_cycles > longer.recording.n_cycles:
        return False
    parts, first = longer.recording.tables, 0
    is_same = True
    for place, part in enumerate(shorter.tables):
        is_same = is_same and place < len(parts) and parts[place] == part
        stop = first + part.n_cycles
        if not is_same and Ref.of(*buffers_of(longer.cycles(first, stop))) != part.ref:
            return False
        first = stop
    return True


def frames_begin_with(
    store: Store,
    longer: Frames,
    counts: Integers,
    shorter: Frames,
    last: dict[int, list[CycleFrames]] | None = None,
) -> bool:
    """As begins_with, of frames; `counts` are the walkers in each cycle of the longer, `last` as of
    read_cycles."""
    if (longer.fields, longer.every) != (shorter.fields, shorter.every):
        return False
    if not np.array_equal(longer.atoms, shorter.atoms):  # type: ignore[arg-type]
        return False
    first, is_same = 0, True
    for place, block in enumerate(shorter.blocks):
        is_same = is_same and longer.blocks[place : place + 1] == (block,)
        stop = first + block.n_cycles
        if not is_same:
            where = "the frames of a longer run"
            here = read_cycles(store, longer, counts, first, stop, where, last)
            refs = [Ref.of(*group.buffers()) for group in groups_of(shorter, here)]
            if refs != [part.ref for part in block.parts]:
                return False
        first = stop
    return True


def _frame(recording: Recording) -> Recording:
    """All of the tables that is not of the cycles."""
    return replace(recording, tables=(), block_cycles=1, frames=None)
