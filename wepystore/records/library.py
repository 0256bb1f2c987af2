"""Snapshots, configurations and run records in a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from wepystore.engine.fit import check_type
from wepystore.records.attached import Attached
from wepystore.records.bundle import decode, encode
from wepystore.records.configuration import Configuration
from wepystore.records.errors import MalformedRecordError
from wepystore.records.histories import Step, history_of_run
from wepystore.records.recording import N_WALKERS, Recording
from wepystore.records.run import RunRecord, read_record, read_records
from wepystore.records.run_frames import (
    FramesElsewhereError,
    FramesOfRun,
    NoFramesError,
    RunFrames,
    read_frames,
)
from wepystore.records.sinks import Memory, Remembering
from wepystore.records.snapshot import Snapshot
from wepystore.records.tables import NotRecordedError, RunTables, read_recording
from wepystore.records.times import NoTimesError, joined, read_stretches, times_of
from wepystore.records.trust import Asked, arguments, users_own
from wepystore.store import formats, names
from wepystore.store.pickles.pickled import Pickled, parts_in
from wepystore.store.places import root_of
from wepystore.store.resolving import resolve
from wepystore.store.store import Store

AnyStore = Store | str | os.PathLike[str]


def opened(store: AnyStore) -> Store:
    """The store at a path, or in the job folder that is there. Raises as Store.open."""
    return store if isinstance(store, Store) else Store.open(root_of(store))


def save_snapshot(store: AnyStore, snapshot: Snapshot) -> str:
    """Put a snapshot into a store, durably; its hash."""
    check_type(snapshot, Snapshot, "save_snapshot(store, snapshot)")
    return save(store, snapshot)


def save_configuration(store: AnyStore, configuration: Configuration) -> str:
    """Put a configuration into a store, durably; its hash."""
    check_type(configuration, Configuration, "save_configuration(store, configuration)")
    return save(store, configuration)


def save(store: AnyStore, thing: Snapshot | Configuration) -> str:
    """Put either into a store, durably; its hash."""
    with opened(store).batch() as batch:
        return encode(thing, Remembering(batch, {}))[1].md5


#: Told of the pickled parts before any is loaded; raises to prevent it.
Check = Callable[[Sequence[Pickled]], None]


def load_snapshot(store: AnyStore, name: str = "default", check: Check | None = None) -> Snapshot:
    """A snapshot of a store, verified.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    name : str
        A hash, a prefix of one, a tag, or "default".
    check : callable or None
        Loading a pickle runs what is in it (S9), so without `check` an UntrustedPickleError is
        raised if a part was neither made nor trusted by whoever runs this. With it, it is called
        with the pickled parts, and may raise.

    Raises
    ------
    WepystoreError : UnknownHashError and AmbiguousHashError for the name, MissingError and
        IncompleteError, DamagedEntryError, UntrustedPickleError, PickleLoadError.
    """
    snapshot: Snapshot = _decoded(store, "snapshots", name, check)
    return snapshot


def load_configuration(
    store: AnyStore, name: str = "default", check: Check | None = None
) -> Configuration:
    """A configuration of a store, verified; everything as in load_snapshot."""
    configuration: Configuration = _decoded(store, "configs", name, check)
    return configuration


def _hash_of(store: Store, kind: str, name: str) -> str:
    return name if names.is_hash(name) else resolve(store, name, (kind,))[1]


def _decoded(store: AnyStore, kind: str, name: str, check: Check | None) -> Any:
    store = opened(store)
    md5 = _hash_of(store, kind, name)
    found = store.read_manifest(kind, md5)
    parts = [] if formats.stands_for(found.value) else parts_in(found)
    if check is None:
        what = f"{names.ONE[kind]} {md5}"
        users_own().require([Asked(what, arguments(store.path, md5), parts)])
    else:
        check(parts)
    return decode(found)


def load_run(store: AnyStore, name: str) -> RunRecord:
    """The record of a run, verified: `name` is its hash, a prefix of it, or a tag."""
    store = opened(store)
    return read_record(store, _hash_of(store, "runs", name))


def load_runs(store: AnyStore) -> dict[str, RunRecord]:
    """All runs of a store, by the hashes of their records. Raises as load_run."""
    return read_records(opened(store))


def load_tables(
    store: AnyStore, name: str, joined: bool = False, verify: bool = False
) -> RunTables:
    """What is recorded of a run, as arrays.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    name : str
        Hash of the run's record, a prefix of it, or a tag.
    joined : bool
        Whether before its cycles those come of the runs that led to its start, from where the first
        of them began: each cycle once, of a run that was left before its end only those up to
        there, numbered through. `runs` of what is returned says which run they are of.
    verify : bool
        Whether the bytes of each object of which something is read are verified, which takes as
        long as to read and hash all of it. Otherwise its name and size are checked, and that what
        is read goes together. The record and the manifest are verified in any case.

    Raises
    ------
    WepystoreError : as load_run; NotRecordedError for a run without a recording;
        AttachmentsDifferError where different ones are attached to it; NotJoinableError where runs
        that differ have led to one start, or record other columns, and where the run that one of
        them continues is not in the store.
    """
    store = opened(store)
    found = _recorded(store, _hash_of(store, "runs", name), joined)
    return RunTables(found, store.object if verify else store)


def load_frames(
    store: AnyStore, name: str, joined: bool = False, verify: bool = False
) -> RunFrames:
    """The frames that are kept of a run.

    Parameters
    ----------
    store, name, joined, verify : as of load_tables

    Raises
    ------
    WepystoreError : as load_tables; NoFramesError for a run of which none were kept,
        FramesElsewhereError where they are not in this store.
    """
    store = opened(store)
    run = _hash_of(store, "runs", name)
    return RunFrames(store, find_frames(store, run, joined, verify), verify)


def load_times(store: AnyStore, name: str) -> dict[str, NDArray[Any]]:
    """How long each cycle of a run took, in the execution that its record is of, verified.

    Parameters
    ----------
    store, name : as of load_tables

    Returns
    -------
    dict
        One number for each cycle: `cycle_idx`; `ended`, seconds since 1970, UTC; in seconds
        `runner_s`, `bc_s`, `resampling_s`, `reporting_s`, and `checkpoint_s` of the checkpoint
        before it; `n_segments`. One for each segment, in each cycle in the order of the walkers:
        `segment_s`, `worker`, and `walker_idx`, -1 where the mapper did not tell.

    Raises
    ------
    WepystoreError : as load_run; NoTimesError for a run of which they are not kept.
    """
    store = opened(store)
    run = _hash_of(store, "runs", name)
    times = times_of(read_record(store, run), f"run {run}")
    if times is None:
        raise NoTimesError(run=run)
    where = f"the times of {run}"
    stretches = read_stretches(times.parts, store.object, where)
    try:
        return joined(stretches)
    except MemoryError as problem:
        raise MalformedRecordError(where=where, what="table of times", problem=problem) from None


def find_frames(
    store: Store, run: str, joined: bool = False, verify: bool = False
) -> list[FramesOfRun]:
    """What RunFrames takes of a run, or of those that led to its end. Raises as load_frames."""
    return [frames_of_run(store, *each, verify) for each in _recorded(store, run, joined)]


def frames_of_run(
    store: Store, run: str, recording: Recording, n_cycles: int, verify: bool = False
) -> FramesOfRun:
    """What RunFrames takes of one run, of which so many cycles count. Raises as load_frames."""
    if recording.frames is None:
        raise NoFramesError(run=run)
    if not store.is_there("frames", recording.frames.entry.md5):
        # They are gone with their run where a job that goes on has superseded it just now.
        read_record(store, run)
        raise FramesElsewhereError.of(store, run, recording)
    frames = read_frames(store, recording, f"the frames of {run}")
    source = store.object if verify else store
    counts = RunTables([(run, recording, recording.n_cycles)], source)[N_WALKERS]
    return FramesOfRun(run, frames, counts, n_cycles, recording.n_steps)


def _recorded(store: Store, run: str, joined: bool) -> list[tuple[str, Recording, int]]:
    """Of a run, or of those that led to its end: hash, recording, and how many cycles count."""
    if joined:
        steps = history_of_run(store, run)
    else:
        record = Attached(store).to(run, read_record(store, run))
        steps = [Step(run, record, record.n_cycles)]
    found = []
    for md5, record, n_cycles in steps:
        recording = read_recording(store, record)
        if recording is None:
            raise NotRecordedError(run=md5)
        found.append((md5, recording, n_cycles))
    return found


def hash_of(thing: Snapshot | Configuration) -> str:
    """The hash that `thing` has, or would have, in any store (I1)."""
    if not isinstance(thing, Configuration):
        check_type(thing, Snapshot, "hash_of(snapshot), or hash_of(configuration)")
    return encode(thing, Memory())[1].md5
