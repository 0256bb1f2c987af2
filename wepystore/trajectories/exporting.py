"""What is asked of a run, written to files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from wepystore.answers.lineages import Lineage
from wepystore.records.library import (
    AnyStore,
    find_frames,
    load_run,
    load_tables,
    opened,
)
from wepystore.records.recording import N_WALKERS, WEIGHTS
from wepystore.records.run_frames import Integers, RunFrames
from wepystore.records.tables import RunTables
from wepystore.store.resolving import resolve
from wepystore.trajectories.atoms import KeptAtoms
from wepystore.trajectories.checking import check_frames
from wepystore.trajectories.drafts import Drafts
from wepystore.trajectories.errors import (
    NoSuchCyclesError,
    NoSuchTrajectoryError,
    NotForFormatError,
    WrongChoiceError,
)
from wepystore.trajectories.files import (
    HDF5,
    check_ending,
    understood,
    write_trajectories,
)
from wepystore.trajectories.frame_places import FramePlaces, make_read_only
from wepystore.trajectories.molecular import Trajectory
from wepystore.trajectories.moving import Moves
from wepystore.trajectories.pieces import piece_of, topology_of
from wepystore.trajectories.wepy_hdf5 import Choice, write_hdf5


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
    link: bool = False,
    verify: bool = False,
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
        Atoms by which all frames, of all walkers, are laid over the first. In a .h5 box,
        velocities and forces are turned as well; the other formats keep the box as it was.
    whole : bool
        Whether molecules that the box has cut are made whole, as its bonds tell.
    link : bool
        Whether the frames stay in the store (only of .h5, of all atoms, as they are): the file
        has some kilobytes, and says where on this machine they are. It and the objects become
        read-only, since HDF5 would write to them.
    verify : bool
        Whether all that is written is compared with what was recorded, byte by byte, before.
    replace : bool
        Whether files that are there are replaced.

    Returns
    -------
    list of str
        The files.

    Raises
    ------
    WepystoreError : as load_frames, and for what there is not; NotAsRecordedError.
    FileExistsError : one is there.
    """
    file = os.fspath(file)
    suffix = check_ending(file)
    _check_choice(every, walkers, cycles)
    store = opened(store)
    md5 = resolve(store, run, ("runs",))[1]
    tables = load_tables(store, md5, joined, verify)
    runs = find_frames(store, md5, joined, verify)
    frames = RunFrames(store, runs)
    kept = KeptAtoms(md5, frames, topology_of(store, tables.recording))
    places = None if atoms is None else kept.places(atoms)
    start, stop, _ = cycles.indices(len(frames.n_walkers))
    inside = frames.cycles[(frames.cycles >= start) & (frames.cycles < stop)][::every]
    if not len(inside):
        raise NoSuchCyclesError(run=md5, count=len(frames.n_walkers))
    _check_walkers(md5, walkers, int(frames.n_walkers[start:stop].max()))
    if link:
        _check_link(suffix, atoms is not None, align is not None or whole)
    walker = 0 if walkers is None else walkers[0]
    moves = _moves(md5, frames, kept, align, whole, inside, walker)
    if verify:
        some = None if walkers is None else np.repeat(walkers, len(inside))
        check_frames(store, runs, np.tile(inside, len(walkers or [0])), some)
    if suffix in HDF5:
        starts = {span.first_cycle: load_run(store, span.run).start for span in tables.runs}
        end = load_run(store, md5).end if stop == len(frames.n_walkers) else None
        held = FramePlaces(store, runs)
        piece = piece_of(store, tables, frames, held, (start, stop), (starts.get(start), end))
        with Drafts(replace) as drafts, understood(file):
            choice = Choice(walkers, every, places, moves, link)
            draft = drafts.new(file)
            write_hdf5(draft, file, [piece], kept, choice)
            if link:
                make_read_only(draft)
        return drafts.files
    found = _trajectories(md5, tables, frames, inside, walkers)
    return write_trajectories(file, found, kept, places=places, moves=moves, replace=replace)


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
    verify: bool = False,
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
    atoms, every, align, whole, verify, replace
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
    _check_choice(every)
    if not lineages:
        raise WrongChoiceError(name="lineages", given="empty", wanted="one at least")
    store = opened(store)
    md5 = resolve(store, run, ("runs",))[1]
    runs = find_frames(store, md5, joined, verify)
    frames = RunFrames(store, runs)
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
    if verify:
        each = found.values()
        pairs = [np.concatenate(e) for e in ([t.cycles for t in each], [t.walkers for t in each])]
        check_frames(store, runs, *pairs)
    first = next(iter(found.values()))
    moves = _moves(md5, frames, kept, align, whole, first.cycles, int(first.walkers[0]))
    return write_trajectories(file, found, kept, places=places, moves=moves, replace=replace)


def _check_choice(
    every: int, walkers: Sequence[int] | None = None, cycles: slice = slice(None)
) -> None:
    """Raise WrongChoiceError for what no file can be of."""
    if every < 1:
        raise WrongChoiceError(name="every", given=every, wanted="1 or more")
    if walkers is not None and not len(walkers):
        wanted = "numbers of walkers, or None for all"
        raise WrongChoiceError(name="walkers", given="empty", wanted=wanted)
    if cycles.step not in (None, 1):
        wanted = "without a step: every leaves out cycles between"
        raise WrongChoiceError(name="cycles", given=cycles, wanted=wanted)


def _check_link(suffix: str, some: bool, moved: bool) -> None:
    """Raise NotForFormatError for frames that cannot stay as they are in the store."""
    if suffix not in HDF5:
        raise NotForFormatError(what="linking", suffix=suffix)
    if some or moved:
        what = "linking some of the atoms" if some else "linking frames that are moved"
        raise NotForFormatError(what=what, suffix=suffix)


def _moves(
    run: str,
    frames: RunFrames,
    kept: KeptAtoms,
    align: str | Sequence[int] | None,
    whole: bool,
    cycles: Integers,
    walker: int,
) -> Moves | None:
    """What is done to frames of which the first is that of the walker in the first of the cycles
    that it is there in."""
    if align is None and not whole:
        return None
    counts = frames.n_walkers[cycles]
    there = cycles[counts > walker]
    if not len(there):
        raise NoSuchTrajectoryError(run=run, walker=walker, count=int(counts.max()))
    by = None if align is None else kept.places(align)
    return Moves(run, frames, kept, by, whole, (int(there[0]), walker))


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
