"""What is asked of a run, written to files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wepystore.answers.lineages import Lineage
from wepystore.engine.topology import TopologyError
from wepystore.records.library import AnyStore, load_frames, load_run, load_tables, opened
from wepystore.records.recording import N_WALKERS, WEIGHTS, Recording
from wepystore.records.run_frames import Integers, RunFrames
from wepystore.records.snapshot import decode_walkers
from wepystore.records.tables import RunTables
from wepystore.store.names import EntryRef, Ref
from wepystore.store.resolving import resolve
from wepystore.store.store import Store
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.errors import (
    NoSuchCyclesError,
    NoSuchTrajectoryError,
)
from wepystore.trajectories.files import (
    HDF5,
    check_ending,
    check_hdf5,
    understood,
    write_trajectories,
)
from wepystore.trajectories.molecular import Trajectory
from wepystore.trajectories.wepy_hdf5 import Choice, Piece, write_hdf5


def export_run(
    store: AnyStore,
    run: str,
    file: str | os.PathLike[str],
    *,
    joined: bool = False,
    walkers: Sequence[int] | None = None,
    cycles: slice = slice(None),
    atoms: str | Sequence[int] | None = None,
    every: int = 1,
    align: str | Sequence[int] | None = None,
    whole: bool = False,
    replace: bool = False,
) -> list[str]:
    """Write what is recorded of a run to files that other programs read.

    Parameters
    ----------
    store, run, joined : as of load_frames
    file : str or path
        What it ends in is the format: .h5 for WepyHDF5, with all tables; .dcd, .xtc or .pdb, a file
        for each walker, FILE-W003.dcd, unless only one is asked for. Beside .dcd and .xtc a .pdb
        of the first frame, and beside all three a .csv with the cycles and weights of all frames.
    walkers : sequence of int, or None
        Only of these.
    cycles : slice
        Only of these, counted from 0, or with -1 from the end.
    atoms : str, sequence of int, or None
        Only these: numbers, counted from 0, also as "0-9,12", or a selection in MDTraj's language.
    every : int
        Only each so-manieth of the cycles that there are frames of.
    align : as atoms
        Atoms by which all frames are laid over the first (not of .h5).
    whole : bool
        Whether molecules that the box has cut are made whole (not of .h5).
    replace : bool
        Whether files that are there are replaced.

    Returns
    -------
    list of str
        The files.

    Raises
    ------
    WepystoreError : as load_frames, and for what there is not.
    FileExistsError : one is there.
    """
    file = os.fspath(file)
    suffix = check_ending(file)
    store = opened(store)
    md5 = resolve(store, run, ("runs",))[1]
    tables, frames = load_tables(store, md5, joined), load_frames(store, md5, joined)
    kept = KeptAtoms(md5, frames, topology_of(store, tables.recording))
    places = None if atoms is None else kept.places(atoms)
    start, stop, _ = cycles.indices(len(frames.n_walkers))
    inside = frames.cycles[(frames.cycles >= start) & (frames.cycles < stop)][::every]
    if not len(inside):
        raise NoSuchCyclesError(run=md5, count=len(frames.n_walkers))
    _check_walkers(md5, walkers, int(frames.n_walkers[start:stop].max()))
    if suffix in HDF5:
        check_hdf5(suffix, align is not None, whole)
        piece = piece_of(store, tables, frames, start, stop)
        with Drafts(replace) as drafts, understood(file):
            choice = Choice(walkers, every, places)
            write_hdf5(drafts.new(file), file, [piece], kept, choice)
        return drafts.files
    found = _trajectories(md5, tables, frames, inside, walkers)
    by = None if align is None else kept.places(align)
    return write_trajectories(
        file, found, kept, places=places, align=by, whole=whole, replace=replace
    )


def export_lineages(
    store: AnyStore,
    run: str,
    lineages: Sequence[Lineage],
    file: str | os.PathLike[str],
    *,
    joined: bool = True,
    atoms: str | Sequence[int] | None = None,
    every: int = 1,
    align: str | Sequence[int] | None = None,
    whole: bool = False,
    replace: bool = False,
) -> list[str]:
    """Write the states along lineages to files that other programs read.

    Parameters
    ----------
    store, run, joined
        As of load_lineages, that gave them.
    lineages : sequence of Lineage
        One at least.
    file : str or path
        As of export_run; in a .h5 each is a trajectory of one run without records, and a .dcd, .xtc
        or .pdb there is of each, FILE-L001.dcd, unless it is only one. The .csv of cycles and
        weights is there in any case.
    atoms, every, align, whole, replace
        As of export_run.

    Returns
    -------
    list of str
        The files.

    Raises
    ------
    WepystoreError : as export_run.
    ValueError : a lineage goes through other runs than these.
    FileExistsError : a file is there.
    """
    file = os.fspath(file)
    check_ending(file)
    store = opened(store)
    md5 = resolve(store, run, ("runs",))[1]
    frames = load_frames(store, md5, joined)
    kept = KeptAtoms(md5, frames, topology_of(store, load_tables(store, md5, joined).recording))
    found = {}
    for number, lineage in enumerate(lineages):
        here = lineage.kept(frames)
        if not len(here):
            raise NoSuchCyclesError(run=md5, count=len(frames.n_walkers))
        cycles, some = here.cycles_in(frames), slice(None, None, every)
        found[f"L{number:03}"] = Trajectory(
            md5, frames, cycles[some], here.walker[some], here.weight[some]
        )
    places = None if atoms is None else kept.places(atoms)
    by = None if align is None else kept.places(align)
    return write_trajectories(
        file, found, kept, places=places, align=by, whole=whole, replace=replace
    )


def _check_walkers(run: str, walkers: Sequence[int] | None, count: int) -> None:
    for walker in walkers or ():
        if not 0 <= walker < count:
            raise NoSuchTrajectoryError(run=run, walker=walker, count=count)


def _trajectories(
    run: str, tables: RunTables, frames: RunFrames, cycles: Integers, walkers: Sequence[int] | None
) -> dict[str, Trajectory]:
    """Those of the walkers that are asked for, in these cycles."""
    read = tables.read([N_WALKERS, WEIGHTS])
    begin = np.cumsum(read[N_WALKERS]) - read[N_WALKERS]
    every = range(int(frames.n_walkers[cycles].max())) if walkers is None else walkers
    found = {}
    for walker in dict.fromkeys(every):
        here = cycles[frames.n_walkers[cycles] > walker]
        if not len(here):
            raise NoSuchTrajectoryError(
                run=run, walker=walker, count=int(frames.n_walkers[cycles].max())
            )
        weights = read[WEIGHTS][begin[here] + walker]
        numbers = np.full(len(here), walker)
        found[f"W{walker:03}"] = Trajectory(run, frames, here, numbers, weights)
    return found


def topology_of(store: Store, recording: Recording) -> str | None:
    """The topology that is recorded (JSON), verified; None where there is none."""
    if not isinstance(recording.topology, Ref):
        return recording.topology
    try:
        return store.object(recording.topology).decode()
    except UnicodeDecodeError:
        raise TopologyError(what="the topology text", reason="it is no text") from None


def piece_of(
    store: Store,
    tables: RunTables,
    frames: RunFrames,
    start: int,
    stop: int,
    continues: int | None = None,
) -> Piece:
    """Cycles of a run, or of runs that continue each other, with what is known of them."""
    last = load_run(store, tables.runs[-1].run)
    attributes: dict[str, Any] = {
        "run_record": tables.runs[-1].run,
        "config_hash": last.config.md5,
        "first_cycle": np.int64(start),
        "n_segment_steps": np.int64(tables.recording.n_steps),
        "narration": last.execution.narration or "",
    }
    if last.seed is not None:
        attributes["seed"] = last.seed
    begins = None
    for span in tables.runs:
        if span.first_cycle == start:
            begins = load_run(store, span.run).start
    if begins is not None:
        attributes["start_snapshot_hash"] = begins.md5
    if stop == len(frames.n_walkers):
        attributes["end_snapshot_hash"] = last.end.md5
    walkers = _walkers_of(store, begins) if begins is not None else []
    return Piece(tables, frames, start, stop, walkers, attributes, continues)


def _walkers_of(store: Store, snapshot: EntryRef) -> list[tuple[Mapping[str, Any], float]]:
    manifest = store.manifest("snapshots", snapshot.md5, snapshot.ref)
    walkers = decode_walkers(manifest, store.object, f"snapshot {snapshot.md5}")
    return [(walker.state, walker.weight) for walker in walkers]
