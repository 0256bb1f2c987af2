"""Checkpoints: the snapshots and run records of a job's own store while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from wepystore.engine.component import Text
from wepystore.records.library import Remembering, load_run
from wepystore.records.run import RunRecord, encode_run
from wepystore.records.snapshot import Apparatus, Snapshot, encode_snapshot
from wepystore.store.names import EntryRef, Ref
from wepystore.store.store import Store

#: A checkpoint that the next one supersedes stays until the one after that, so that
#: whoever is just copying it has a whole interval to finish.
_KEPT = 2


class Checkpointer:
    """Writes checkpoints of one run into the job's store and takes superseded ones away.

    Every checkpoint is a whole run so far: a snapshot and a record from the
    start to it. A job that is killed leaves the last one, ready to be
    reconciled or run on from. The end of the run is the last checkpoint; it
    leaves the start, the end and one record.

    Parameters
    ----------
    store : Store
    apparatus : Apparatus
        As it runs: its state is read at every checkpoint.
    record : callable
        (end, n_cycles) -> RunRecord

    Attributes
    ----------
    run : str or None
        The record of the last checkpoint.
    """

    def __init__(
        self,
        store: Store,
        apparatus: Apparatus,
        record: Callable[[EntryRef, int], RunRecord],
    ) -> None:
        self.store = store
        self._apparatus = apparatus
        self._record = record
        self.run: str | None = None
        self._texts: dict[Text, Ref] = {}
        self._written: list[list[tuple[str, str]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wepystore-remove")
        self._removing: Future[list[tuple[str, str]]] | None = None
        self.seconds: list[float] = []

    def write(self, walkers: Sequence[Any], n_cycles: int, last: bool = False) -> EntryRef:
        """Make a checkpoint durable; then take away what it supersedes. The end's reference."""
        begun = time.perf_counter()
        # Before the batch: it must not count on an object that is just going.
        self.finish_removing()
        with self.store.batch() as batch:
            sink = Remembering(batch, self._texts)
            snapshot = Snapshot(walkers, self._apparatus)
            end = EntryRef("snapshots", encode_snapshot(snapshot, sink))
            run = encode_run(self._record(end, n_cycles), sink)
        self.run = run.md5
        # Whoever finds a killed job's store goes on from "default"; it moves before what it
        # pointed to goes.
        self.store.set_ref("default-snapshot", end.md5)
        # Only what was not there before is ours to take away again.
        new = [entry for entry in batch.new if entry != ("runs", run.md5)]
        self._written.append([*new, ("runs", run.md5)])
        self._supersede(1 if last else _KEPT)
        if last:
            self.finish_removing()
        self.seconds.append(time.perf_counter() - begun)
        return end

    def _supersede(self, kept: int) -> None:
        """Take away all but the last `kept` checkpoints."""
        superseded = {entry for entries in self._written[:-kept] for entry in entries}
        self._written = self._written[-kept:]
        if superseded:
            # Freeing the pages of large files takes as long as a tenth of the checkpoint;
            # the next cycle need not wait for it, the end of the run does.
            self._removing = self._thread.submit(self._remove, superseded)

    def adopt(
        self,
        start: EntryRef,
        config: EntryRef,
        mine: Callable[[RunRecord], bool],
        end: str | None,
        run: str | None,
    ) -> None:
        """Take over what an earlier process of this run has left, killed at any instant.

        Its checkpoints are superseded as if they had been written here: all but the
        last by the next one, the last in its turn. So is what no record names any more,
        or not yet. The records of a run that was complete stay, and so does what
        somebody tagged.

        Parameters
        ----------
        start, config : EntryRef
        mine : callable
            Whether a record is of this run.
        end, run : str or None
            Snapshot and record of the checkpoint to go on from.
        """
        keep = {("snapshots", start.md5), ("configs", config.md5)}
        keep |= {("snapshots", md5) for md5 in self._tagged()}
        old: list[tuple[str, str]] = []
        for md5 in self.store.list("runs"):
            record = load_run(self.store, md5)
            if mine(record) and not record.execution.get("complete"):
                old.append(("runs", md5))
            else:
                keep |= {(each.kind, each.md5) for each in (record.start, record.end)}
        runner = self._runner_of(start.md5)
        old += [
            ("snapshots", md5)
            for md5 in self.store.list("snapshots")
            if ("snapshots", md5) not in keep and self._runner_of(md5) == runner
        ]
        gone = {md5 for kind, md5 in old if kind == "snapshots"}
        needed = {
            ref.md5
            for kind in ("snapshots", "configs")
            for md5 in self.store.list(kind)
            if kind == "configs" or md5 not in gone
            for _, ref in self.store.references(kind, md5)
        }
        old += [("objects", md5) for md5 in self.store.list("objects") if md5 not in needed]
        last = [entry for entry in (("snapshots", end), ("runs", run)) if entry in old]
        if end is not None:
            self.store.set_ref("default-snapshot", end)
        self.run = run
        # What the last one shares with older ones is handed on to it when those go.
        self._written = [[entry for entry in old if entry not in last], last]

    def finish(self) -> None:
        """Take away everything that the last checkpoint supersedes."""
        self._supersede(1)
        self.finish_removing()

    def _tagged(self) -> set[str]:
        return {md5 for tag in self.store.tag_names() if (md5 := self.store.ref(f"tags/{tag}"))}

    def _runner_of(self, snapshot: str) -> Any:
        """What a snapshot says of its runner; a snapshot with another one is not of this run."""
        runner = self.store.manifest("snapshots", snapshot).get("apparatus", {}).get("runner")
        component = runner.get("component") if isinstance(runner, dict) else None
        if isinstance(component, dict):
            return {key: value for key, value in component.items() if key != "state"}
        return runner

    def finish_removing(self) -> None:
        """Wait until what the last checkpoint superseded is gone."""
        if self._removing is not None:
            # What a kept checkpoint has in common with a superseded one goes with it later.
            self._written[0] += self._removing.result()
            self._removing = None

    def _remove(self, entries: set[tuple[str, str]]) -> list[tuple[str, str]]:
        """Take entries away, but for those still needed, which are given back."""
        # What names something goes, durably, before what it names: no reader, not even
        # after a crash, sees a name whose parts are gone (S4, backwards).
        shared: list[tuple[str, str]] = []
        tagged = self._tagged()
        for kind in ("runs", "snapshots"):
            for each, md5 in sorted(entries):
                if each != kind:
                    continue
                if kind == "snapshots" and (md5 in tagged or self._named_by_runs(md5)):
                    shared.append((kind, md5))
                else:
                    self.store.remove(kind, md5)
        needed = {
            ref.md5
            for kind in ("snapshots", "configs")
            for md5 in self.store.list(kind)
            for _, ref in self.store.references(kind, md5)
        }
        for kind, md5 in sorted(entries):
            if kind == "objects" and md5 in needed:
                shared.append((kind, md5))
            elif kind == "objects":
                # If a crash undoes this, an object is left that nothing names: harmless.
                self.store.remove(kind, md5, durable=False)
        return shared

    def _named_by_runs(self, snapshot: str) -> bool:
        # Dynamics may come back to a snapshot it has been at (no steps, frozen atoms).
        return any(
            ref.md5 == snapshot
            for run in self.store.list("runs")
            for _, ref in self.store.references("runs", run)
        )
