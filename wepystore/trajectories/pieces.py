"""What becomes one run of a WepyHDF5 file, out of a store."""

from __future__ import annotations

from typing import Any

import numpy as np

from wepystore.engine.topology import TopologyError
from wepystore.records.library import load_run
from wepystore.records.recording import Recording
from wepystore.records.run_frames import RunFrames
from wepystore.records.snapshot import decode_walkers
from wepystore.records.tables import RunTables
from wepystore.store import formats
from wepystore.store.names import EntryRef, Ref
from wepystore.store.store import Store
from wepystore.trajectories.frame_places import FramePlaces
from wepystore.trajectories.wepy_hdf5 import Piece


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
    places: FramePlaces,
    cycles: tuple[int, int],
    snapshots: tuple[EntryRef | None, EntryRef | None],
    continues: int | None = None,
) -> Piece:
    """Cycles of a run, or of runs that continue each other, with what is known of them.

    Parameters
    ----------
    store : Store
    tables, frames, places
        Of these runs.
    cycles : the first, and before the last
    snapshots : where they begin and end; None where no snapshot is known
    continues : as of Piece
    """
    run, (begin, end) = tables.runs[-1].run, snapshots
    record = load_run(store, run)
    attributes: dict[str, Any] = {
        "run_record": run,
        "config_hash": record.config.md5,
        "first_cycle": np.int64(cycles[0]),
        "narration": record.execution.narration or "",
    }
    walkers = []
    if tables.recording.n_steps is not None:
        attributes["n_segment_steps"] = np.int64(tables.recording.n_steps)
    if record.seed is not None:
        attributes["seed"] = record.seed
    if end is not None:
        attributes["end_snapshot_hash"] = end.md5
    if begin is not None:
        attributes["start_snapshot_hash"] = begin.md5
        manifest = store.manifest("snapshots", begin.md5, begin.ref)
        # All of one of another program's is a pickle.
        if formats.stands_for(manifest) is None:
            found = decode_walkers(manifest, store.object, f"snapshot {begin.md5}")
            walkers = [(walker.state, walker.weight) for walker in found]
    return Piece(tables, frames, places, *cycles, walkers, attributes, continues)
