"""Which runs of a store count, each cycle once, and which of them are independent of each other.

A *chain* is a run with those that led to its start. Chains that have a run in common, or that drew
the same random numbers from one start, are one *unit*: only units are independent, never cycles.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.answers.errors import NothingToCountError
from wepystore.answers.likeness import check_alike
from wepystore.records.attached import Attached, AttachmentsDifferError, recorded_runs
from wepystore.records.covering import begins_with
from wepystore.records.histories import history_of_run
from wepystore.records.library import AnyStore, frames_of_run, opened
from wepystore.records.recording import Recording
from wepystore.records.run import RunRecord
from wepystore.records.run_frames import RunFrames
from wepystore.records.tables import (
    NotJoinableError,
    NotRecordedError,
    RunSpan,
    RunTables,
    read_recording,
)
from wepystore.store import canonical
from wepystore.store.errors import MissingError
from wepystore.store.resolving import resolve
from wepystore.store.store import Store

#: Why nothing is known of a run.
_UNRECORDED = (NotRecordedError, AttachmentsDifferError, MissingError)


class Recorded(NamedTuple):
    """A run of a chain.

    Attributes
    ----------
    run : str
        Hash of its record.
    record : RunRecord
    recording : Recording
    n_cycles : int
        As many of its cycles are in the chain, from the first on.
    """

    run: str
    record: RunRecord
    recording: Recording
    n_cycles: int

    @property
    def step_ps(self) -> float | None:
        """The length of a step, ps; None where nobody knows."""
        return self.recording.step_size_ps or self.record.execution.step_size_ps or None


@dataclass(frozen=True, eq=False)
class Chain:
    """A run, and before it those that led to its start.

    Attributes
    ----------
    recorded : tuple of Recorded
        The first one first.
    tables : RunTables
        Of all of them, joined.
    counted : ndarray of bool, shape (n_cycles,)
        Which of its cycles no chain before it in its unit has counted.
    store : Store
    """

    recorded: tuple[Recorded, ...]
    tables: RunTables
    counted: NDArray[np.bool_]
    store: Store

    @property
    def run(self) -> str:
        """Hash of the record of the last run."""
        return self.recorded[-1].run

    @property
    def runs(self) -> tuple[RunSpan, ...]:
        """Where the cycles of each run are."""
        return tuple(self.tables.runs)

    @property
    def n_cycles(self) -> int:
        """Of all of its runs."""
        return len(self.counted)

    def durations(self, unit: str) -> NDArray[np.float64]:
        """How long each cycle is, shape (n_cycles,), in "ps", "steps" or "cycles". Raises
        ValueError for what is not known of all of them."""
        return np.repeat([_duration(each, unit) for each in self.recorded], self._lengths)

    def frames(self) -> RunFrames:
        """What is kept of the states, with cycles counted as in `tables`. Raises as load_frames."""
        found = [
            frames_of_run(self.store, each.run, each.recording, each.n_cycles)
            for each in self.recorded
        ]
        return RunFrames(self.store, found)

    @property
    def _lengths(self) -> list[int]:
        return [each.n_cycles for each in self.recorded]

    def __repr__(self) -> str:
        runs = f" of {len(self.recorded)} runs" if len(self.recorded) > 1 else ""
        return f"<Chain {self.run[:8]}: {self.counted.sum()} of {self.n_cycles} cycles count{runs}>"


@dataclass(frozen=True)
class Unit:
    """Chains that are independent of those of all other units.

    Attributes
    ----------
    chains : tuple of Chain
        The longest first.
    """

    chains: tuple[Chain, ...]

    @property
    def n_counted(self) -> int:
        """Cycles, each once."""
        return sum(int(chain.counted.sum()) for chain in self.chains)


@dataclass(frozen=True)
class Study:
    """Runs of one system under one set of boundary conditions.

    Attributes
    ----------
    store : Store
    units : tuple of Unit
        In the order of the hashes of their longest chains.
    left_out : tuple of (run, why)
        Runs that do not count: repeats, records that are the beginning of another, what is not
        recorded.
    apart : tuple of (run, why)
        Runs that count, without those that led to their start.
    unit : str
        In what times are known of all: "ps", or else "steps", or else "cycles".
    """

    store: Store
    units: tuple[Unit, ...]
    left_out: tuple[tuple[str, str], ...]
    apart: tuple[tuple[str, str], ...]
    unit: str

    @property
    def chains(self) -> Iterator[Chain]:
        """Of all units."""
        return (chain for unit in self.units for chain in unit.chains)

    def __repr__(self) -> str:
        chains = sum(len(unit.chains) for unit in self.units)
        counted = sum(unit.n_counted for unit in self.units)
        return f"<Study: {len(self.units)} independent units, {chains} chains, {counted} cycles>"


def load_study(store: AnyStore, runs: Sequence[str] | None = None) -> Study:
    """The runs of a store, told apart.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    runs : sequence of str, or None
        Hashes of records, prefixes or tags; with each come those that led to its start. None for
        all of which something is recorded.

    Raises
    ------
    WepystoreError : NothingToCountError where there is none; NotAlikeError for runs of different
        systems or boundary conditions; of runs that are named, as load_tables.
    """
    store = opened(store)
    named = None
    if runs is not None:
        named = dict.fromkeys(resolve(store, run, ("runs",))[1] for run in runs)
    found = _Gathering(store, recorded_runs(store))
    for md5 in found.records if named is None else named:
        found.take(md5, is_named=named is not None)
    return found.study()


class _Gathering:
    """Takes in runs one after the other."""

    def __init__(self, store: Store, records: Mapping[str, RunRecord]) -> None:
        self.records = records
        self._store, self._attached = store, Attached(store)
        self._chains: list[list[Recorded]] = []
        self._left_out: dict[str, str] = {}
        self._apart: dict[str, str] = {}

    def take(self, md5: str, is_named: bool) -> None:
        """Take in a run, and those that led to it; a named one must be recorded."""
        try:
            last = self._recorded(md5, self.records[md5], self.records[md5].n_cycles)
        except _UNRECORDED as why:
            if is_named:
                raise
            self._left_out[md5] = str(why)
            return
        if not last.n_cycles:
            self._left_out[md5] = "it has no cycles"
            return
        try:
            steps = history_of_run(self._store, md5, self.records)
            chain = [self._recorded(*step) for step in steps if step.n_cycles]
            self._tables(chain)
        except (NotJoinableError, *_UNRECORDED) as why:
            self._apart[md5], chain = str(why), [last]
        self._chains.append(chain)

    def study(self) -> Study:
        """What came of it. Raises NothingToCountError, NotAlikeError, DamagedError."""
        self._leave_out_repeats()
        if not self._chains:
            why = next(iter(self._left_out.values()), "there are no runs")
            raise NothingToCountError(store=self._store.path, why=why)
        ends = [(chain[0].record.start.md5, chain[-1]) for chain in self._chains]
        check_alike(self._store, [(last.run, start, last.recording) for start, last in ends])
        units = [self._unit(chains) for chains in self._independent()]
        held = {each.run for chain in self._chains for each in chain}
        return Study(
            store=self._store,
            units=tuple(sorted(units, key=lambda unit: unit.chains[0].run)),
            left_out=tuple(item for item in self._left_out.items() if item[0] not in held),
            apart=tuple(item for item in self._apart.items() if item[0] in held),
            unit=_common_unit([each for chain in self._chains for each in chain]),
        )

    def _tables(self, chain: Sequence[Recorded]) -> RunTables:
        return RunTables([(each.run, each.recording, each.n_cycles) for each in chain], self._store)

    def _recorded(self, md5: str, record: RunRecord, n_cycles: int) -> Recorded:
        """Raises NotRecordedError, AttachmentsDifferError, MissingError, DamagedError."""
        if record.recording is None:
            # Says so where recordings that differ are attached.
            record = self._attached.to(md5, record)
        recording = read_recording(self._store, record)
        if recording is None:
            raise NotRecordedError(run=md5)
        for part in recording.tables:
            if not self._store.has("objects", part.ref.md5):
                file = self._store.file("objects", part.ref.md5)
                raise MissingError(file=file, needed=f", and run {md5} needs it")
        return Recorded(md5, record, recording, n_cycles)

    def _leave_out_repeats(self) -> None:
        """Keep of the chains those that end in no repeat, and in no beginning of another run."""
        stands_for = self._stands_for
        for md5, longest in stands_for.items():
            if md5 != longest:
                same = self.records[md5].n_cycles == self.records[longest].n_cycles
                how = "the same is recorded of" if same else "it is the beginning of"
                self._left_out[md5] = f"{how} run {longest}"
        self._chains = [c for c in self._chains if stands_for[c[-1].run] == c[-1].run]

    @functools.cached_property
    def _stands_for(self) -> dict[str, str]:
        """For each run of the chains the longest one that tells all of it, perhaps itself."""
        alike: dict[Any, list[Recorded]] = {}
        every = {each.run: each for chain in self._chains for each in chain}
        tips = {chain[-1].run for chain in self._chains}
        # Of equals one that was asked for, and of which there are frames.
        for each in sorted(every.values(), key=lambda each: (*self._rank(each, tips), each.run)):
            record = each.record
            key = (record.start.md5, record.seed, record.n_steps)
            alike.setdefault(key, []).append(each)
        found = {}
        for left in alike.values():
            while left:
                longest, *others = left
                whole = longest._replace(n_cycles=longest.record.n_cycles)
                tables = self._tables([whole])
                left = []
                for each in (longest, *others):
                    if each is longest or _tells_all(longest, tables, each):
                        found[each.run] = longest.run
                    else:
                        left.append(each)
        return found

    def _rank(self, each: Recorded, tips: set[str]) -> tuple[int, bool, bool]:
        frames = each.recording.frames
        has_frames = frames is not None and self._store.has("frames", frames.entry.md5)
        return -each.record.n_cycles, each.run not in tips, not has_frames

    def _independent(self) -> list[list[list[Recorded]]]:
        """The chains by units."""
        found: list[tuple[set[Any], list[list[Recorded]]]] = []
        for chain in self._chains:
            marks, chains = set(self._marks(chain)), [chain]
            rest = []
            for others, held in found:
                if marks & others:
                    marks, chains = marks | others, held + chains
                else:
                    rest.append((others, held))
            found = [*rest, (marks, chains)]
        return [chains for _, chains in found]

    def _marks(self, chain: Sequence[Recorded]) -> Iterator[Any]:
        """What chains have in common that depend on each other."""
        for each in chain:
            record = each.record
            yield self._stands_for[each.run]
            if record.end.md5 in self._cut_off:
                yield "end", record.end.md5
            if record.seed is not None:
                yield "seed", record.start.md5, record.seed
        first = chain[0]
        if first.run in self._apart:
            yield "end", first.record.start.md5
            place = first.record.execution.continues
            if place:
                yield canonical.dumps({**place, "n_cycles": None})

    @functools.cached_property
    def _cut_off(self) -> set[str]:
        """Where the runs begin that are apart."""
        return {self.records[run].start.md5 for run in self._apart}

    def _unit(self, chains: list[list[Recorded]]) -> Unit:
        """Of these chains those that tell what no other does."""
        chains = sorted(chains, key=lambda chain: (-sum(e.n_cycles for e in chain), chain[-1].run))
        counted: dict[str, int] = {}
        found = []
        for chain in chains:
            parts = []
            for each in chain:
                # Of a run only its first cycles can have counted.
                name = self._stands_for[each.run]
                parts.append(np.arange(each.n_cycles) >= counted.get(name, 0))
                counted[name] = max(counted.get(name, 0), each.n_cycles)
            mask = np.concatenate(parts)
            if mask.any():
                found.append(Chain(tuple(chain), self._tables(chain), mask, self._store))
        return Unit(tuple(found))


def _tells_all(longest: Recorded, tables: RunTables, other: Recorded) -> bool:
    """Whether all of what happened in a run is told by one that is no shorter."""
    if other.record.seed is None:
        # Who drew what nobody knows: only what is the same from end to end was copied.
        return longest.recording.tables == other.recording.tables
    return begins_with(tables, other.recording)


def _duration(each: Recorded, unit: str) -> float:
    """Of one cycle. Raises ValueError."""
    if unit == "cycles":
        return 1.0
    n_steps, step_ps = each.recording.n_steps, each.step_ps
    if n_steps is None or (unit == "ps" and step_ps is None) or unit not in ("ps", "steps"):
        raise ValueError(f"how long a cycle of run {each.run} is in {unit} is not known")
    return n_steps * (step_ps or 0.0) if unit == "ps" else float(n_steps)


def _common_unit(every: Sequence[Recorded]) -> str:
    if not all(each.recording.n_steps for each in every):
        return "cycles"
    return "ps" if all(each.step_ps for each in every) else "steps"
