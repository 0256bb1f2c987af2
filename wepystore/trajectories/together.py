"""Several runs of a store in one WepyHDF5 file, joined where they continue each other."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np

from wepystore.errors import FailedError
from wepystore.records.attached import Attached, AttachmentsDifferError, recorded_runs
from wepystore.records.covering import longest_of
from wepystore.records.histories import Step, history_of_run
from wepystore.records.library import AnyStore, frames_of_run, opened
from wepystore.records.recording import Recording
from wepystore.records.run import RunRecord
from wepystore.records.run_frames import (
    FramesElsewhereError,
    FramesOfRun,
    NoFramesError,
    RunFrames,
)
from wepystore.records.tables import (
    NotJoinableError,
    NotRecordedError,
    RunTables,
    read_recording,
)
from wepystore.store.names import EntryRef
from wepystore.store.resolving import resolve
from wepystore.store.store import Store
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.checking import check_frames
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.errors import NotForFormatError, NothingToWriteError, NotTogetherError
from wepystore.trajectories.files import HDF5, check_ending, understood
from wepystore.trajectories.frame_places import FramePlaces, make_read_only
from wepystore.trajectories.pieces import piece_of, topology_of
from wepystore.trajectories.wepy_hdf5 import Choice, Piece, write_hdf5

#: Why of a run nothing can be in a file.
_UNUSABLE = (NotRecordedError, NoFramesError, FramesElsewhereError, AttachmentsDifferError)


class RunInFile(NamedTuple):
    """What one run of a file is.

    Attributes
    ----------
    run : str
        Hash of a record in the store.
    start, stop : int
        Its cycles from `start` to before `stop`.
    continues : int or None
        Number, in the file, of the run from whose end it goes on.
    """

    run: str
    start: int
    stop: int
    continues: int | None


@dataclass(frozen=True)
class Together:
    """What is in a file of several runs.

    Attributes
    ----------
    runs : list of RunInFile
        In the order of their numbers.
    left_out : {hash of a record: error that says why}
        Runs that nobody named, of which nothing is in the file.
    apart : {hash of a record: error that says why}
        Those that are in it, but not joined to what led to their start.
    """

    runs: list[RunInFile] = field(default_factory=list)
    left_out: dict[str, FailedError] = field(default_factory=dict)
    apart: dict[str, FailedError] = field(default_factory=dict)


def export_runs(
    store: AnyStore,
    file: str | os.PathLike[str],
    runs: Sequence[str] | None = None,
    *,
    link: bool = False,
    verify: bool = False,
    replace: bool = False,
) -> Together:
    """Write several runs to one WepyHDF5 file, each cycle once.

    A run that another one left before its end is cut there, since in such a file a run goes on from
    the last cycle of another: what comes after is a run of its own, that goes on from the first.

    Parameters
    ----------
    store : Store, str or path
    file : str or path
        Its name ends in .h5 or .hdf5.
    runs : sequence of str, or None
        Hashes of records, prefixes or tags; with each come those that led to its start. None for
        all of which there are frames.
    link, verify, replace : bool
        As of export_run.

    Raises
    ------
    WepystoreError : as load_frames, of runs that are named; NotTogetherError for runs of which
        other things are recorded; NothingToWriteError where there is no run at all.
    FileExistsError
    """
    file = os.fspath(file)
    suffix = check_ending(file)
    if suffix not in HDF5:
        raise NotForFormatError(what="more than one run", suffix=suffix)
    store = opened(store)
    plan = _Plan(store, recorded_runs(store), is_named=runs is not None, verify=verify)
    named = None if runs is None else [resolve(store, run, ("runs",))[1] for run in runs]
    for md5 in dict.fromkeys(plan.records if named is None else named):
        plan.ask_for(md5)
    if not plan.chains:
        why = next((f": {problem}" for problem in plan.told.left_out.values()), "")
        raise NothingToWriteError(store=store.path, why=why)
    with Drafts(replace) as drafts, understood(file):
        pieces = plan.pieces()
        first = next(pieces)
        topology = topology_of(store, first.tables.recording)
        atoms = KeptAtoms(first.tables.runs[-1].run, first.frames, topology)
        draft = drafts.new(file)
        write_hdf5(draft, file, chain([first], pieces), atoms, Choice(link=link))
        if link:
            make_read_only(draft)
    return plan.told


class _Plan:
    """Which cycles of which runs a file is to hold."""

    def __init__(
        self, store: Store, records: dict[str, RunRecord], is_named: bool, verify: bool
    ) -> None:
        self.records, self.told = records, Together()
        #: For each run that is asked for those that led to its end.
        self.chains: list[list[Step]] = []
        self._store, self._is_named, self._verify = store, is_named, verify
        self._kept: dict[str, tuple[Recording, FramesOfRun]] = {}

    def ask_for(self, md5: str) -> None:
        """Take in a run, and those that led to its start. Raises as load_frames if it is named."""
        try:
            self._look_at(md5)
        except _UNUSABLE as problem:
            if self._is_named:
                raise
            self.told.left_out[md5] = problem
            return
        steps = self._led_to(md5)
        for place in reversed(range(len(steps) - 1)):
            try:
                self._look_at(steps[place].run)
            except _UNUSABLE as problem:
                self.told.apart[steps[place + 1].run] = problem
                steps = steps[place + 1 :]
                break
        self.chains.append(steps)

    def _led_to(self, md5: str, *later: str) -> list[Step]:
        """Those that led to the end of a run, as far as they are here."""
        record = self.records[md5]
        try:
            return history_of_run(self._store, md5, self.records)
        except NotJoinableError as problem:
            # It is told of the whole history: what is next to this run may well be here.
            ended = {
                each: run
                for each, run in self.records.items()
                if run.end.md5 == record.start.md5 and each not in (md5, *later)
            }
            longest = set(longest_of(self._store, ended).values())
            if len(longest) == 1:
                before = self._led_to(longest.pop(), md5, *later)
            else:
                self.told.apart[md5], before = problem, []
            return [*before, Step(md5, record, record.n_cycles)]

    def _look_at(self, md5: str) -> None:
        """Find what is recorded of a run."""
        if md5 in self._kept:
            return
        record = Attached(self._store).to(md5, self.records[md5])
        recording = read_recording(self._store, record)
        if recording is None:
            raise NotRecordedError(run=md5)
        frames = frames_of_run(self._store, md5, recording, record.n_cycles)
        self._kept[md5] = (recording, frames)

    def pieces(self) -> Iterator[Piece]:
        """What becomes the runs of the file. Raises NotTogetherError before the first."""
        runs = {step.run: self.records[step.run] for steps in self.chains for step in steps}
        # Of runs of which one tells all of the others it is that one whose cycles are written.
        longest = longest_of(self._store, runs)
        needed: dict[str, int] = {}
        cuts: dict[str, set[int]] = defaultdict(set)
        before: dict[str, tuple[str, int]] = {}
        snapshots: dict[tuple[str, int], EntryRef] = {}
        for steps in self.chains:
            for place, step in enumerate(steps):
                run = longest[step.run]
                needed[run] = max(needed.get(run, 0), step.n_cycles)
                snapshots[run, step.record.n_cycles] = step.record.end
                if place:
                    left = steps[place - 1]
                    before[run] = (longest[left.run], left.n_cycles)
                    cuts[longest[left.run]].add(left.n_cycles)
                    snapshots.setdefault(before[run], step.record.start)
        self._check_together(list(needed))
        numbers: dict[tuple[str, int], int] = {}
        for run, n_cycles in needed.items():
            recording, kept = self._kept[run]
            source = self._store.object if self._verify else self._store
            tables = RunTables([(run, recording, recording.n_cycles)], source)
            if self._verify:
                check_frames(self._store, [kept], np.arange(n_cycles), None)
            frames = RunFrames(self._store, [kept])
            places = FramePlaces(self._store, [kept])
            snapshots[run, 0] = self.records[run].start
            start, continues = 0, numbers.get(before.get(run, ("", 0)))
            for stop in sorted({cut for cut in cuts[run] if cut < n_cycles} | {n_cycles}):
                ends = (snapshots.get((run, start)), snapshots.get((run, stop)))
                numbers[run, stop] = len(numbers)
                self.told.runs.append(RunInFile(run, start, stop, continues))
                yield piece_of(self._store, tables, frames, places, (start, stop), ends, continues)
                start, continues = stop, numbers[run, stop]

    def _check_together(self, runs: Sequence[str]) -> None:
        one, kept = self._kept[runs[0]]
        for run in runs[1:]:
            other, others = self._kept[run]
            why = None
            if kept.frames.fields != others.frames.fields:
                why = "frames of other fields, shapes or precision are kept of them"
            elif not np.array_equal(kept.frames.atoms, others.frames.atoms):  # type: ignore[arg-type]
                why = "frames of other atoms are kept of them"
            elif one.topology != other.topology:
                why = "they are of other systems"
            elif one.summaries != other.summaries:
                why = "their components record other things"
            if why is not None:
                raise NotTogetherError(one=runs[0], other=run, why=why)
