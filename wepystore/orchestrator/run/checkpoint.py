"""Checkpoints: the snapshots and run records of a job's own store while it runs."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from wepystore.engine.component import Text
from wepystore.errors import DamagedError
from wepystore.orchestrator.run.recorder import Recorder, Written
from wepystore.orchestrator.run.writer import Writer
from wepystore.records.library import load_run
from wepystore.records.run import RunRecord, Unfinished, encode_run
from wepystore.records.sinks import Held, Remembering
from wepystore.records.snapshot import (
    Apparatus,
    Values,
    as_values,
    encode_apparatus,
    put_snapshot,
)
from wepystore.records.values import Sink
from wepystore.store.graph import NAMING
from wepystore.store.names import EntryRef, Name, Ref
from wepystore.store.system import is_alive

#: A checkpoint that the next one supersedes stays until the one after that, so that
#: whoever is just copying it has a whole interval to finish.
_KEPT = 2

#: In which order superseded entries go, and which kinds may still name them.
_REMOVED = (
    (("runs",), ()),
    (("recordings", "snapshots"), ("runs",)),
    (("frames",), ("recordings",)),
    (("objects",), NAMING),
)


@dataclass
class _Checkpoint:
    """All that is to be written of one, as it was when it was handed over; walkers and what is
    recorded until they are."""

    begun: float
    n_cycles: int
    walkers: Values | None
    manifest: Mapping[str, Any]
    apparatus: Held
    recorded: Callable[[Sink], Written] | None
    record: Unfinished
    is_last: bool
    taken: threading.Event = field(default_factory=threading.Event)


class Durable(NamedTuple):
    """A checkpoint that is there for good: its snapshot, and how many seconds that took."""

    end: EntryRef
    seconds: float


class Handed(NamedTuple):
    """A checkpoint that was handed over: when its walkers need no memory any more, or it has
    failed, and when it is durable."""

    taken: threading.Event
    durable: Future[Durable]


class Checkpointer:
    """Writes checkpoints of one run into the job's store and takes superseded ones away.

    Every checkpoint is a whole run so far: a snapshot and a record from the
    start to it. A job that is killed leaves the last one, ready to be
    reconciled or run on from. The end of the run is the last checkpoint; it
    leaves the start, the end and one record, and ends that earlier processes have
    told of.

    Parameters
    ----------
    writer : Writer
        It does all of it, and writes full blocks in between.
    apparatus : Apparatus
        As it runs: its state is read at every checkpoint.
    record : callable
        n_cycles -> the record of the run so far, but for what it names
    recorder : Recorder or None
        Of what happens in the run; None for one that was begun without.

    Attributes
    ----------
    run : str or None
        The record of the last checkpoint that is durable.
    """

    def __init__(
        self,
        writer: Writer,
        apparatus: Apparatus,
        record: Callable[[int], Unfinished],
        recorder: Recorder | None = None,
    ) -> None:
        self.store, self._writer, self._ledger = writer.store, writer, writer.ledger
        self._apparatus = apparatus
        self._record = record
        self._recorder = recorder
        if recorder is not None:
            recorder.put_with(writer)
        self.run: str | None = None
        # End, cycles and record that an earlier process has told of, and this one goes on from.
        self._from = ("", 0, "")
        # Of long texts: what they are called, and which of them are in the store.
        self._refs: dict[Text, Ref] = {}
        self._texts: dict[Text, Ref] = {}
        # By checkpoint: only what was not there before is ours to take away again.
        self._written: list[list[Name]] = []
        # What each manifest and record of the store names: they never change.
        self._names: dict[str, dict[str, frozenset[Name]]] = {k: {} for k in NAMING}
        self._going: set[Name] = set()
        self._removed: Future[None] | None = None

    def begin(self, walkers: Sequence[Any], n_cycles: int, last: bool = False) -> Handed:
        """Hand over a checkpoint, as all is now; what it supersedes is taken away after it. To be
        called again when that one is durable, so that no two are in memory."""
        begun = time.perf_counter()
        # What the run may change is read here, what is a value in the thread that writes.
        apparatus = Held(self._refs)
        manifest = encode_apparatus(self._apparatus, apparatus)
        self._refs = apparatus.refs()
        made = _Checkpoint(
            begun=begun,
            n_cycles=n_cycles,
            walkers=as_values(walkers),
            manifest=manifest,
            apparatus=apparatus,
            recorded=self._recorder.so_far(last) if self._recorder is not None else None,
            record=self._record(n_cycles),
            is_last=last,
        )
        durable = self._writer.submit(self._write, made, self._removed)
        self._removed = self._writer.submit(self._remove_superseded)
        return Handed(made.taken, durable)

    def write(self, walkers: Sequence[Any], n_cycles: int, last: bool = False) -> EntryRef:
        """Make a checkpoint durable; the end's reference."""
        return self.begin(walkers, n_cycles, last).durable.result().end

    def _write(self, made: _Checkpoint, before: Future[None] | None) -> Durable:
        try:
            if before is not None:
                before.result()
            return self._written_of(made)
        finally:
            made.taken.set()

    def _written_of(self, made: _Checkpoint) -> Durable:
        # What somebody has removed meanwhile is put again.
        self._texts = {
            t: ref for t, ref in self._texts.items() if self.store.has("objects", ref.md5)
        }
        with self._writer.batch() as batch:
            sink = Remembering(batch, self._texts)
            made.apparatus.put_into(sink)
            # Whatever is written needs no memory any more: blocks already are.
            recorded = made.recorded(sink) if made.recorded is not None else None
            made.recorded = None
            assert made.walkers is not None
            end = EntryRef("snapshots", put_snapshot(made.walkers, made.manifest, sink))
            made.walkers = None
            made.taken.set()
            record = made.record(end=end)
            if recorded is not None:
                how = record.execution._replace(recorded_bytes=recorded.n_bytes)
                if recorded.times is not None:
                    how = how._replace(times=recorded.times.to_json())
                record = replace(record, execution=how, recording=recorded.entry)
            run = encode_run(record, sink)
            self._ledger.add(each for each in sink.entries if not self.store.has(*each))
        self.run = run.md5
        # Whoever finds a killed job's store goes on from "default"; it moves before what it
        # pointed to goes.
        self.store.set_ref("default-snapshot", end.md5)
        self._written.append(batch.new)
        # Full blocks belong to no checkpoint: all that follow name them.
        self._ledger.strike(self._writer.blocks)
        self._writer.blocks = []
        if self._from[:2] == (end.md5, made.n_cycles) and self._from[2] != run.md5:
            # No cycle since: the new record says of the same end all that the old one did.
            self._written[0].append(("runs", self._from[2]))
        if made.is_last:
            self._finish(record.execution.complete is True)
        else:
            self._supersede(_KEPT)
        return Durable(end, time.perf_counter() - made.begun)

    def note_time(self, seconds: float) -> None:
        """The run has waited so long for a checkpoint."""
        if self._recorder is not None and self._recorder.timer is not None:
            self._recorder.timer.note_checkpoint(seconds)

    def is_there(self) -> bool:
        """Whether the last checkpoint is in the store as it was written, by its files, frames
        included."""
        try:
            record = load_run(self.store, self.run or "")
            return not any(self.store.missing(*each, whole=True) for each in _held(record))
        except (DamagedError, OSError):
            return False

    def _supersede(self, kept: int) -> None:
        """Take away all but the last `kept` checkpoints."""
        self._going = {entry for entries in self._written[:-kept] for entry in entries}
        self._written = self._written[-kept:]

    def _remove_superseded(self) -> None:
        """Of what the last checkpoint superseded take away what no other one needs."""
        if not self._going:
            return
        shared = self._remove(self._going)
        # What a kept checkpoint has in common with a superseded one goes with it later.
        self._written[0] += shared
        gone = self._going.difference(shared)
        self._going = set()
        # A text that comes again is to be put again.
        for text in [t for t, ref in self._texts.items() if ("objects", ref.md5) in gone]:
            del self._texts[text]

    def adopt(self, start: EntryRef, end: str | None, run: str | None) -> None:
        """Take over what an earlier process of this job has left, killed at any instant.

        Its checkpoints are superseded as if they had been written here: all but the
        last by the next one, the last in its turn. So is what it had written of one that was
        not done, or not yet removed of another. What it has not listed as written (Ledger)
        is not its own and stays, and so does every end that somebody was told of.

        Parameters
        ----------
        start : EntryRef
        end, run : str or None
            Snapshot and record of the checkpoint to go on from.
        """
        listed = [
            each for each in self._ledger.read() if self.store.has(*each) and each[1] != start.md5
        ]
        told = {entry for kind, md5 in listed if kind == "runs" for entry in self._told(md5)}
        own = [entry for entry in listed if entry not in told]
        if run is not None and ("runs", run) in told:
            record = load_run(self.store, run)
            if record.execution.complete is not True:
                self._from = (record.end.md5, record.n_cycles, run)
        held = _held(load_run(self.store, run)) if run is not None else []
        last = [entry for entry in (*held, ("runs", run)) if entry in own]
        if end is not None:
            self.store.set_ref("default-snapshot", end)
        self.run = run
        # What the last one shares with older ones is handed on to it when those go.
        self._written = [[entry for entry in own if entry not in last], last]
        self._clear_tmp(self._ledger.writers)
        self._ledger.replace(own)

    def _clear_tmp(self, writers: Sequence[str]) -> None:
        """Remove what earlier processes were writing: as much as a checkpoint each time."""
        # Of a dead process HOST-NUMBER; not where it has a living namesake here. One on another
        # host would have to write into this very store, with the same number.
        pids = {writer: int(writer.rpartition("-")[2]) for writer in writers}
        begins = tuple(
            f"{writer}-" for writer, pid in pids.items() if pid == os.getpid() or not is_alive(pid)
        )
        # Whoever copied the store may have left tmp/ out; what cannot be removed is left to gc.
        with contextlib.suppress(OSError):
            for path in (self.store.path / "tmp").iterdir():
                if path.name.startswith(begins):
                    path.unlink()

    def _told(self, run: str) -> list[Name]:
        """A record whose end somebody was told of, and that end; nothing for any other."""
        try:
            record = load_run(self.store, run)
        except DamagedError:
            return []
        return [("runs", run), *_held(record)] if record.execution.was_told else []

    def finish(self) -> None:
        """Take away everything that the last checkpoint of a run that is complete supersedes."""
        self._writer.submit(self._finish, True).result()

    def _finish(self, complete: bool) -> None:
        """Take away everything that the last checkpoint supersedes, and bring what is listed as
        written up to date: nothing is left to be removed of a run that is complete."""
        self._supersede(1)
        self._remove_superseded()
        if complete:
            self._ledger.clear()
        else:
            self._ledger.replace(entry for entries in self._written for entry in entries)

    def finish_removing(self) -> None:
        """Wait until what the last checkpoint superseded is gone."""
        if self._removed is not None:
            self._removed.result()

    def close(self) -> None:
        """Wait for all that is under way: nothing is at work in the store any more. Raises as
        finish_removing."""
        self._writer.close()
        self.finish_removing()

    def _remove(self, entries: set[Name]) -> list[Name]:
        """Take entries away, but for those still needed, which are given back."""
        # What names something goes, durably, before what it names: no reader, not even
        # after a crash, sees a name whose parts are gone (S4, backwards).
        shared: list[Name] = []
        tagged = set(self.store.tags().values())
        for kinds, naming in _REMOVED:
            # Dynamics may come back to a snapshot it has been at (no steps, frozen atoms).
            needed = self._named(naming)
            for entry in sorted(each for each in entries if each[0] in kinds):
                if entry in needed or entry[1] in tagged:
                    shared.append(entry)
                else:
                    # If a crash undoes that of an object, one is left that nothing names: harmless.
                    self.store.remove(*entry, durable=entry[0] != "objects")
        self._ledger.strike(entries.difference(shared))
        return shared

    def _named(self, kinds: Sequence[str]) -> set[Name]:
        """What all entries of these kinds name, whoever has put them there."""
        found: set[Name] = set()
        for kind in kinds:
            known, there = self._names[kind], self.store.hashes(kind)
            for md5 in known.keys() - set(there):
                del known[md5]
            for md5 in there:
                if md5 not in known:
                    parts = self.store.references(kind, md5)
                    known[md5] = frozenset((part, ref.md5) for part, ref in parts)
            found.update(*known.values())
        return found


def _held(record: RunRecord) -> list[Name]:
    """What a checkpoint's record names of its own."""
    found = [record.end, record.recording]
    return [(each.kind, each.md5) for each in found if each is not None]
